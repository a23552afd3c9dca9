#include "ops/warping_error.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

void warping_error(const Tensor& truth, const Tensor& probability, const Tensor& thresholds,
                   const std::optional<Tensor>& mask, int64_t radius, const Tensor& counts,
                   const std::optional<Tensor>& residual, const std::optional<Tensor>& warped,
                   const Tensor& workspace) {
  const Check check("warping_error");
  check.that(truth.device < 0, "truth", "a CPU tensor (this operator has no CUDA kernel)",
             "cuda:" + std::to_string(truth.device));
  check.dims(truth, "truth", 3, "[Z, H, W]");
  const int64_t slices = truth.size[0], height = truth.size[1], width = truth.size[2];
  const int64_t plane = (height + 2) * (width + 2);
  check.that(plane < int64_t{1} << 31, "truth", "fewer than 2^31 pixels per slice", shape_of(truth));
  check.dims(thresholds, "thresholds", 1, "[S]");
  const int64_t levels = thresholds.size[0];
  check.that(radius >= 1 || radius == -1, "radius", "at least 1 pixel, or -1 (the whole image)",
             std::to_string(radius));
  check.dims(workspace, "workspace", 3, "[lanes, planes, pixels]");

  const auto check_tensor = [&](const Tensor& tensor, const char* argument, const std::vector<int64_t>& sizes,
                                std::initializer_list<DType> dtypes) {
    check.shape(tensor, argument, sizes);
    check.dtype(tensor, argument, dtypes);
    check.contiguous(tensor, argument);
    check.device(tensor, argument, truth, "truth");
  };
  check_tensor(truth, "truth", {slices, height, width}, {DType::boolean, DType::uint8});
  check_tensor(probability, "probability", {slices, height, width}, {DType::float32});
  check_tensor(thresholds, "thresholds", {levels}, {DType::float32});
  if (mask) check_tensor(*mask, "mask", {slices, height, width}, {DType::boolean, DType::uint8});
  check_tensor(counts, "counts", {slices, levels, kWarpingErrorTypes}, {DType::int64});
  if (residual) check_tensor(*residual, "residual", {slices, levels, height, width}, {DType::uint8});
  if (warped) check_tensor(*warped, "warped", {slices, levels, height, width}, {DType::uint8});
  check_tensor(workspace, "workspace", {workspace.size[0], kWarpingErrorPlanes, plane}, {DType::int32});
  check.that(workspace.size[0] > 0 || slices * levels == 0, "workspace", "at least one lane", shape_of(workspace));

  const WarpingErrorArgs args = {
      .truth = truth.as<const uint8_t>(),
      .probability = probability.as<const float>(),
      .thresholds = thresholds.as<const float>(),
      .mask = mask ? mask->as<const uint8_t>() : nullptr,
      .slices = slices,
      .levels = levels,
      .height = height,
      .width = width,
      .radius = radius,
      .counts = counts.as<int64_t>(),
      .residual = residual ? residual->as<uint8_t>() : nullptr,
      .warped = warped ? warped->as<uint8_t>() : nullptr,
      .workspace = workspace.as<uint32_t>(),
      .lanes = workspace.size[0],
  };
  run(args, warping_error_cpu);
}

}  // namespace

void bind_warping_error(py::module_& module) {
  module.def("warping_error", &warping_error, py::arg("truth"), py::arg("probability"), py::arg("thresholds"),
             py::arg("mask").none(true), py::arg("radius"), py::arg("counts"), py::arg("residual").none(true),
             py::arg("warped").none(true), py::arg("workspace"));
  module.attr("warping_error_planes") = kWarpingErrorPlanes;
}

}  // namespace unet_fast
