// conv_relu_weight_grad on CUDA without tensor cores: a matrix product that sums over the output pixels.
//
//   rows: (ky, kx, c), and a last one whose factor is 1 and gives the bias   columns: output channels   k: pixels
#include "cuda/conv_relu_paths.h"
#include "cuda/gathered_product.cuh"

namespace unet_fast {
namespace {

template <class T>
struct WeightGrad : ChunkedSum {
  static constexpr bool kNeighbouringRows = true;
  ConvReluWeightGradArgs args;
  int64_t channels;  // of both sources

  explicit WeightGrad(const ConvReluWeightGradArgs& args)
      : ChunkedSum(9 * (args.in_channels + args.skip.channels) + 1, args.out_channels,
                   args.images * (args.height - 2) * (args.width - 2), args.workspace),
        args(args),
        channels(args.in_channels + args.skip.channels) {}

  struct Row {
    int64_t ky, kx, c;
    bool bias;
  };

  UNET_FAST_METHOD Row row(int64_t row) const {
    const int64_t tap = row / channels;
    return {tap / 3, tap % 3, row % channels, row == rows - 1};
  }

  UNET_FAST_METHOD float a(const Row& row, int64_t pixel) const {
    if (row.bias) return 1;
    const int64_t line = pixel / (args.width - 2), x = pixel % (args.width - 2) + row.kx;
    const int64_t image = line / (args.height - 2), y = line % (args.height - 2) + row.ky;
    if (row.c >= args.in_channels) {
      return to_float(static_cast<const T*>(args.skip.data)[image * args.skip.image_stride + y * args.skip.row_stride +
                                                            x * args.skip.channels + row.c - args.in_channels]);
    }
    return to_float(
        static_cast<const T*>(args.x)[((image * args.height + y) * args.width + x) * args.in_channels + row.c]);
  }

  UNET_FAST_METHOD float b(int64_t pixel, int64_t o) const {
    const int64_t offset = pixel * columns + o;
    if (args.gate && to_float(static_cast<const T*>(args.gate)[offset]) <= 0) return 0;
    return to_float(static_cast<const T*>(args.grad)[offset]);
  }

  UNET_FAST_METHOD void finish(int64_t row, int64_t o) const {
    const float sum = total(row, o);
    if (row == rows - 1) {
      static_cast<T*>(args.grad_bias)[o] = from_float<T>(sum);
    } else {
      const int64_t tap = row / channels, c = row % channels;
      static_cast<T*>(args.grad_weight)[(o * channels + c) * 9 + tap] = from_float<T>(sum);
    }
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t conv_relu_weight_grad_direct_workspace(const ConvReluWeightGradArgs& args) {
  return WeightGrad<float>(args).workspace();
}

const char* conv_relu_weight_grad_direct(const ConvReluWeightGradArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype,
                        [&](auto type) { error = launch_chunked_sum(WeightGrad<decltype(type)>(args), stream); });
  return error;
}

}  // namespace unet_fast
