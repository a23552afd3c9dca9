#include "ops/target_classes.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "binding/check.h"
#include "binding/labels.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

void target_classes(const Tensor& labels, const std::string& gap, const std::optional<int64_t>& ignore_label,
                    const Tensor& out, uintptr_t stream) {
  const Check check("target_classes");
  const InstanceMaps maps = instance_maps(check, labels, ignore_label);
  check.that(gap == "scan" || gap == "full8" || gap == "none", "gap", "scan, full8 or none", gap);
  check.shape(out, "out", {labels.size[0], labels.size[1], labels.size[2]});
  check.dtype(out, "out", {DType::uint8});
  check.contiguous(out, "out");
  check.device(out, "out", labels, "labels");

  const TargetClassesArgs args = {
      .maps = maps,
      .gap = gap == "scan"    ? Gap::scan
             : gap == "full8" ? Gap::full8
                              : Gap::none,
      .out = out.as<uint8_t>(),
  };
  run(labels, stream, args, target_classes_cpu, target_classes_cuda);
}

}  // namespace

void bind_target_classes(py::module_& module) {
  module.def("target_classes", &target_classes, py::arg("labels"), py::arg("gap"), py::arg("ignore_label").none(true),
             py::arg("out"), py::arg("stream"));
}

}  // namespace unet_fast
