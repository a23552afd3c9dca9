#include "ops/weight_map.h"

#include <pybind11/stl.h>

#include <cmath>
#include <optional>
#include <string>

#include "binding/check.h"
#include "binding/labels.h"
#include "binding/nearest_two.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

void weight_map(const Tensor& labels, const Tensor& class_weight, const Tensor& classes, double border, double sigma,
                const std::string& where, const std::optional<int64_t>& ignore_label, const Tensor& out,
                const Tensor& workspace, uintptr_t stream) {
  const Check check("weight_map");
  const InstanceMaps maps = instance_maps(check, labels, ignore_label);
  check_distance_side(check, maps);
  check.dims(class_weight, "class_weight", 1, "[K]");
  check.that(class_weight.size[0] > 0 && class_weight.size[0] <= kIgnoredClass, "class_weight", "1 to 255 classes",
             shape_of(class_weight));
  check.dtype(class_weight, "class_weight", {DType::float32});
  check.contiguous(class_weight, "class_weight");
  check.device(class_weight, "class_weight", labels, "labels");
  check.shape(classes, "classes", {maps.images, maps.height, maps.width});
  check.dtype(classes, "classes", {DType::uint8});
  check.contiguous(classes, "classes");
  check.device(classes, "classes", labels, "labels");
  check.that(std::isfinite(border) && border >= 0, "border", "a finite number, at least 0", std::to_string(border));
  check.that(std::isfinite(sigma) && sigma > 0, "sigma", "a finite number above 0", std::to_string(sigma));
  check.that(where == "background" || where == "everywhere", "where", "background or everywhere", where);
  check.shape(out, "out", {maps.images, maps.height, maps.width});
  check.dtype(out, "out", {DType::float32});
  check.contiguous(out, "out");
  check.device(out, "out", labels, "labels");
  const int slots = check_nearest_two_workspace(check, workspace, labels, maps);

  int32_t bad_class = -1;
  const WeightMapArgs args = {
      .maps = maps,
      .classes = classes.as<const uint8_t>(),
      .class_weight = class_weight.as<const float>(),
      .class_count = class_weight.size[0],
      .border = static_cast<float>(border),
      .sigma = static_cast<float>(sigma),
      .everywhere = where == "everywhere",
      .out = out.as<float>(),
      .workspace = workspace.data,
      .slots = slots,
      .bad_class = &bad_class,
  };
  run(labels, stream, args, weight_map_cpu, weight_map_cuda);
  check.that(bad_class < 0, "classes", "0 to " + std::to_string(args.class_count - 1) + " or 255",
             std::to_string(bad_class));
}

}  // namespace

void bind_weight_map(py::module_& module) {
  module.def("weight_map", &weight_map, py::arg("labels"), py::arg("class_weight"), py::arg("classes"),
             py::arg("border"), py::arg("sigma"), py::arg("where"), py::arg("ignore_label").none(true), py::arg("out"),
             py::arg("workspace"), py::arg("stream"));
}

}  // namespace unet_fast
