#include "ops/stitch_tiles.h"

#include <pybind11/stl.h>

#include <optional>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

void stitch_tiles(const Tensor& tiles, const Tensor& origins, const Tensor& out,
                  const std::optional<Tensor>& covered_by, uintptr_t stream) {
  const Check check("stitch_tiles");
  check.dims(tiles, "tiles", 4, "[T, K, h, w]");
  check.shape(origins, "origins", {tiles.size[0], 2});
  check.dtype(origins, "origins", {DType::int64});
  check.contiguous(origins, "origins");
  check.device(origins, "origins", tiles, "tiles");
  check.dims(out, "out", 3, "[K, H, W]");
  check.shape(out, "out", {tiles.size[1], out.size[1], out.size[2]});
  check.dtype(out, "out", {tiles.dtype});
  check.contiguous(out, "out");
  check.device(out, "out", tiles, "tiles");
  check.that(tiles.device < 0 || covered_by, "covered_by", "a workspace on CUDA", "None");
  if (covered_by) {
    check.shape(*covered_by, "covered_by", {tiles.size[0]});
    check.dtype(*covered_by, "covered_by", {DType::int64});
    check.device(*covered_by, "covered_by", tiles, "tiles");
  }

  const StitchTilesArgs args = {
      .tiles = tiles.data,
      .dtype = tiles.dtype,
      .tile_count = tiles.size[0],
      .planes = tiles.size[1],
      .tile_height = tiles.size[2],
      .tile_width = tiles.size[3],
      .tile_stride_t = tiles.stride[0],
      .tile_stride_k = tiles.stride[1],
      .tile_stride_y = tiles.stride[2],
      .tile_stride_x = tiles.stride[3],
      .origins = origins.as<const int64_t>(),
      .out = out.data,
      .height = out.size[1],
      .width = out.size[2],
      .covered_by = covered_by ? covered_by->as<int64_t>() : nullptr,
  };
  run(tiles, stream, args, stitch_tiles_cpu, stitch_tiles_cuda);
}

}  // namespace

void bind_stitch_tiles(py::module_& module) {
  module.def("stitch_tiles", &stitch_tiles, py::arg("tiles"), py::arg("origins"), py::arg("out"),
             py::arg("covered_by").none(true), py::arg("stream"));
}

}  // namespace unet_fast
