// elastic_warp on CUDA: one block per row of a crop, one thread per pixel of the row and all its channels. What depends
// on the row alone is computed once per thread and row; neighbouring threads read neighbouring places.
#include "ops/elastic_warp.h"

#include "core/mirror.h"
#include "core/warp.h"
#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 128;

// Offsets of the kTaps pixels around `at` along one axis, and the place between the inner two.
template <int kTaps>
struct Taps {
  int64_t offset[kTaps];
  float fraction;

  __device__ Taps(float at, int64_t origin, int64_t size, int64_t stride) {
    const int32_t floor = floor_to_int(at);
    fraction = at - static_cast<float>(floor);
    for (int k = 0; k < kTaps; ++k) offset[k] = mirror_index(origin + floor - (kTaps / 2 - 1) + k, size) * stride;
  }
};

template <class In>
__device__ float interpolate(const In* plane, const Taps<2>& y, const Taps<2>& x) {
  const In *upper = plane + y.offset[0], *lower = plane + y.offset[1];
  const float a = to_float(upper[x.offset[0]]), b = to_float(upper[x.offset[1]]);
  const float c = to_float(lower[x.offset[0]]), d = to_float(lower[x.offset[1]]);
  return linear(linear(a, b, x.fraction), linear(c, d, x.fraction), y.fraction);
}

template <class In>
__device__ float interpolate(const In* plane, const Taps<4>& y, const Taps<4>& x) {
  const CubicWeights<float> weights = cubic_weights(x.fraction);
  float rows[4];
  for (int k = 0; k < 4; ++k) {
    const In* row = plane + y.offset[k];
    rows[k] = cubic(to_float(row[x.offset[0]]), to_float(row[x.offset[1]]), to_float(row[x.offset[2]]),
                    to_float(row[x.offset[3]]), weights);
  }
  return cubic(rows[0], rows[1], rows[2], rows[3], cubic_weights(y.fraction));
}

// Label at (at_y, at_x) of sample b to pixel (y, x) of its crop, unless that lies in the margin.
template <class Bits>
__device__ void warp_label(const ElasticWarpArgs& args, int64_t b, int64_t y, int64_t x, float at_y, float at_x) {
  const int64_t width = args.out_width - 2 * args.labels_margin, height = args.out_height - 2 * args.labels_margin;
  const int64_t out_y = y - args.labels_margin, out_x = x - args.labels_margin;
  if (out_y < 0 || out_y >= height || out_x < 0 || out_x >= width) return;
  const int64_t image_y = mirror_index(args.origin[2 * b] + nearest_to_int(at_y), args.height);
  const int64_t image_x = mirror_index(args.origin[2 * b + 1] + nearest_to_int(at_x), args.width);
  const Bits* labels = static_cast<const Bits*>(args.labels) + args.source[b] * args.labels_stride_n;
  static_cast<Bits*>(args.out_labels)[(b * height + out_y) * width + out_x] =
      labels[image_y * args.labels_stride_y + image_x * args.labels_stride_x];
}

template <class In, class Out, int kTaps>
__global__ void elastic_warp_kernel(ElasticWarpArgs args) {
  const float step_y = grid_step(args.out_height), step_x = grid_step(args.out_width);
  for (int64_t row = blockIdx.x; row < args.samples * args.out_height; row += gridDim.x) {
    const int64_t b = row / args.out_height, y = row % args.out_height;
    if (args.source[b] < 0 || args.source[b] >= args.images) continue;
    const WarpRow warp = warp_row(args.affine + 6 * b, args.displacement + 18 * b, static_cast<float>(y), step_y);
    const In* image = static_cast<const In*>(args.image) + args.source[b] * args.image_stride_n;
    for (int64_t x = threadIdx.x; x < args.out_width; x += kBlock) {
      const BSplineWeights<float> weights = bspline_weights(static_cast<float>(x) * step_x);
      const float at_y = warp_coordinate(warp.y, static_cast<float>(x), weights);
      const float at_x = warp_coordinate(warp.x, static_cast<float>(x), weights);
      const Taps<kTaps> taps_y(at_y, args.origin[2 * b], args.height, args.image_stride_y);
      const Taps<kTaps> taps_x(at_x, args.origin[2 * b + 1], args.width, args.image_stride_x);
      Out* out = static_cast<Out*>(args.out) + (row * args.out_width + x) * args.channels;
      for (int64_t c = 0; c < args.channels; ++c) {
        const float value = interpolate(image + c * args.image_stride_c, taps_y, taps_x);
        const GreyChange grey = grey_change(args, b, c);
        const float changed = grey.has_gamma() ? grey.curved(value) : grey.linear(value);
        out[c] = from_float<Out>(grey.has_noise() ? grey.add_noise(changed, y * args.out_width + x) : changed);
      }
      if (!args.labels) continue;
      switch (size_of(args.labels_dtype)) {
        case 1: warp_label<uint8_t>(args, b, y, x, at_y, at_x); break;
        case 2: warp_label<uint16_t>(args, b, y, x, at_y, at_x); break;
        case 4: warp_label<uint32_t>(args, b, y, x, at_y, at_x); break;
        default: warp_label<uint64_t>(args, b, y, x, at_y, at_x); break;
      }
    }
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* elastic_warp_cuda(const ElasticWarpArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const dim3 grid = grid_for(args.samples * args.out_height, 1);
  visit_image_type(args.image_dtype, [&](auto in) {
    visit_float_type(args.out_dtype, [&](auto out) {
      using In = decltype(in);
      using Out = decltype(out);
      error = args.cubic ? launch(elastic_warp_kernel<In, Out, 4>, grid, kBlock, 0, stream, args)
                         : launch(elastic_warp_kernel<In, Out, 2>, grid, kBlock, 0, stream, args);
    });
  });
  return error;
}

}  // namespace unet_fast
