// Adds the parts of a convolution's sums; see conv_splits.h.
#include "cuda/conv_splits.h"

#include "core/dtype.h"
#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256;

struct Splits {
  ConvReluArgs args;
  int splits;
  int64_t height, width;  // of the result before y is cropped
};

// Value o of a pixel: the sum, bias and ReLU.
template <class T>
__device__ __forceinline__ float result_of(const Splits& s, int64_t pixel, int64_t o) {
  const ConvReluArgs& args = s.args;
  const int64_t count = args.images * s.height * s.width * args.out_channels;
  const float* part = args.workspace + pixel * args.out_channels + o;
  float sum = 0;
  for (int i = 0; i < s.splits; ++i) sum += part[i * count];
  if (args.bias) sum += to_float(static_cast<const T*>(args.bias)[o]);
  return args.relu && sum < 0 ? 0.0f : sum;
}

template <class T>
__device__ __forceinline__ void store(const Splits& s, int64_t image, int64_t y, int64_t x, int64_t o, T value) {
  const ConvReluArgs& args = s.args;
  const int64_t height = s.height - 2 * args.crop, width = s.width - 2 * args.crop;
  y -= args.crop, x -= args.crop;
  if (y < 0 || y >= height || x < 0 || x >= width) return;
  const int64_t pixel = (image * height + y) * width + x,
                y_channels = args.y_rest ? args.y_channels : args.out_channels;
  if (o >= y_channels) {
    static_cast<T*>(args.y_rest)[pixel * (args.out_channels - y_channels) + o - y_channels] = value;
    return;
  }
  const int64_t at = pixel * y_channels + o;
  const bool is_closed = args.mask && to_float(static_cast<const T*>(args.mask)[at]) <= 0;
  static_cast<T*>(args.y)[at] = is_closed ? T{} : value;
}

// A thread has one channel of kSide x kSide pixels, of which the maximum is stored too where that is 2.
template <class T, int kSide>
__global__ void add_splits_kernel(Splits s) {
  const ConvReluArgs& args = s.args;
  const int64_t rows = s.height / kSide, columns = s.width / kSide, o_count = args.out_channels;
  const int64_t count = args.images * rows * columns * o_count, step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < count; i += step) {
    const int64_t o = i % o_count, window = i / o_count, x = window % columns * kSide, line = window / columns;
    const int64_t y = line % rows * kSide, image = line / rows;
    float most = 0;
    for (int j = 0; j < kSide * kSide; ++j) {
      const int64_t at_y = y + j / kSide, at_x = x + j % kSide;
      const float value = result_of<T>(s, (image * s.height + at_y) * s.width + at_x, o);
      store(s, image, at_y, at_x, o, from_float<T>(value));
      if (j == 0 || value > most || value != value) most = value;
    }
    if constexpr (kSide == 2) static_cast<T*>(args.pooled)[i] = from_float<T>(most);
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* add_conv_splits(const ConvReluArgs& args, int splits, const Stream& stream) {
  const Splits s = {args, splits, args.height + 2 * args.padding - 2, args.width + 2 * args.padding - 2};
  const int64_t count = args.images * s.height * s.width * args.out_channels;
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    error = args.pooled ? launch(add_splits_kernel<T, 2>, grid_for(count / 4, kBlock), dim3(kBlock), 0, stream, s)
                        : launch(add_splits_kernel<T, 1>, grid_for(count, kBlock), dim3(kBlock), 0, stream, s);
  });
  return error;
}

}  // namespace unet_fast
