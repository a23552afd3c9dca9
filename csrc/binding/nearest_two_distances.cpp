#include "ops/nearest_two_distances.h"

#include <pybind11/stl.h>

#include <algorithm>
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

// Bytes; the labels are checked in the name of `op`.
int64_t nearest_two_workspace(const Tensor& labels, const std::string& op) {
  const InstanceMaps maps = instance_maps(Check(op.c_str()), labels, std::nullopt);
  return labels.device < 0 ? nearest_two_workspace_cpu(maps, torch_threads().count) : nearest_two_workspace_cuda(maps);
}

void nearest_two_distances(const Tensor& labels, const std::optional<int64_t>& ignore_label,
                           const std::optional<int64_t>& reach, const Tensor& d1, const Tensor& d2,
                           const Tensor& workspace, uintptr_t stream) {
  const Check check("nearest_two_distances");
  const InstanceMaps maps = instance_maps(check, labels, ignore_label);
  check_distance_side(check, maps);
  check.that(!reach || *reach >= 0, "reach", "at least 0 pixels", std::to_string(reach.value_or(0)));
  const auto check_out = [&](const Tensor& out, const char* argument) {
    check.shape(out, argument, {maps.images, maps.height, maps.width});
    check.dtype(out, argument, {DType::float32});
    check.contiguous(out, argument);
    check.device(out, argument, labels, "labels");
  };
  check_out(d1, "d1");
  check_out(d2, "d2");
  const int slots = check_nearest_two_workspace(check, workspace, labels, maps);

  const NearestTwoDistancesArgs args = {
      .maps = maps,
      .reach = static_cast<int32_t>(std::min<int64_t>(reach.value_or(kUnlimitedReach), kUnlimitedReach)),
      .d1 = d1.as<float>(),
      .d2 = d2.as<float>(),
      .workspace = workspace.data,
      .slots = slots,
  };
  run(labels, stream, args, nearest_two_distances_cpu, nearest_two_distances_cuda);
}

}  // namespace

void bind_nearest_two_distances(py::module_& module) {
  module.def("nearest_two_workspace", &nearest_two_workspace, py::arg("labels"), py::arg("op"));
  module.def("nearest_two_distances", &nearest_two_distances, py::arg("labels"), py::arg("ignore_label").none(true),
             py::arg("reach").none(true), py::arg("d1"), py::arg("d2"), py::arg("workspace"), py::arg("stream"));
}

}  // namespace unet_fast
