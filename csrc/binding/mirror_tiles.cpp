#include "ops/mirror_tiles.h"

#include <pybind11/stl.h>

#include <optional>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

void mirror_tiles(const Tensor& image, const Tensor& origins, const std::optional<Tensor>& scale,
                  const std::optional<Tensor>& offset, const Tensor& out, uintptr_t stream) {
  const Check check("mirror_tiles");
  check.dims(image, "image", 3, "[C, H, W]");
  check.image_dtype(image, "image");
  check.that(image.size[0] > 0 && image.size[1] > 0 && image.size[2] > 0, "image", "at least one channel and pixel",
             shape_of(image));
  check.that(origins.dims == 2 && origins.size[1] == 2, "origins", "shape [T, 2]", shape_of(origins));
  check.dtype(origins, "origins", {DType::int64});
  check.contiguous(origins, "origins");
  check.device(origins, "origins", image, "image");
  const auto check_per_channel = [&](const std::optional<Tensor>& factor, const char* argument) {
    if (!factor) return;
    check.shape(*factor, argument, {image.size[0]});
    check.dtype(*factor, argument, {DType::float32});
    check.contiguous(*factor, argument);
    check.device(*factor, argument, image, "image");
  };
  check_per_channel(scale, "scale");
  check_per_channel(offset, "offset");
  check.channels_last(out, "out");
  check.shape(out, "out", {origins.size[0], image.size[0], out.size[2], out.size[3]});
  check.dtype(out, "out", {DType::bfloat16, DType::float32});
  check.device(out, "out", image, "image");

  const MirrorTilesArgs args = {
      .image = image.data,
      .image_dtype = image.dtype,
      .channels = image.size[0],
      .height = image.size[1],
      .width = image.size[2],
      .image_stride_c = image.stride[0],
      .image_stride_y = image.stride[1],
      .image_stride_x = image.stride[2],
      .scale = scale ? scale->as<const float>() : nullptr,
      .offset = offset ? offset->as<const float>() : nullptr,
      .origins = origins.as<const int64_t>(),
      .tiles = origins.size[0],
      .out = out.data,
      .out_dtype = out.dtype,
      .tile_height = out.size[2],
      .tile_width = out.size[3],
  };
  run(image, stream, args, mirror_tiles_cpu, mirror_tiles_cuda);
}

}  // namespace

void bind_mirror_tiles(py::module_& module) {
  module.def("mirror_tiles", &mirror_tiles, py::arg("image"), py::arg("origins"), py::arg("scale").none(true),
             py::arg("offset").none(true), py::arg("out"), py::arg("stream"));
}

}  // namespace unet_fast
