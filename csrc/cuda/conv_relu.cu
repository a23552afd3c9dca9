// conv_relu on CUDA without tensor cores: a matrix product whose left side is gathered from the image on the fly.
//
//   rows: output pixels   columns: output channels   k = (ky, kx, c)
#include "cuda/conv_relu_paths.h"
#include "cuda/gathered_product.cuh"

namespace unet_fast {
namespace {

template <class T>
struct ConvRelu {
  static constexpr bool kNeighbouringRows = false;
  ConvReluArgs args;
  int64_t out_height, out_width, rows, columns;

  explicit ConvRelu(const ConvReluArgs& args)
      : args(args),
        out_height(args.height + 2 * args.padding - 2),
        out_width(args.width + 2 * args.padding - 2),
        rows(args.images * out_height * out_width),
        columns(args.out_channels) {}

  struct Row {
    int64_t image, y, x;  // the input pixel under tap (0, 0)
  };

  UNET_FAST_METHOD int64_t first(int64_t chunk) const { return chunk * 9 * args.in_channels; }

  UNET_FAST_METHOD Row row(int64_t pixel) const {
    const int64_t line = pixel / out_width;
    return {line / out_height, line % out_height - args.padding, pixel % out_width - args.padding};
  }

  UNET_FAST_METHOD float a(const Row& row, int64_t k) const {
    const int64_t tap = k / args.in_channels, c = k % args.in_channels;
    const int64_t y = row.y + tap / 3, x = row.x + tap % 3;
    if (y < 0 || y >= args.height || x < 0 || x >= args.width) return 0;
    const int64_t offset = ((row.image * args.height + y) * args.width + x) * args.in_channels + c;
    if (args.gate && to_float(static_cast<const T*>(args.gate)[offset]) <= 0) return 0;
    return to_float(static_cast<const T*>(args.x)[offset]);
  }

  UNET_FAST_METHOD float b(int64_t k, int64_t o) const {
    const int64_t tap = k / args.in_channels, c = k % args.in_channels;
    return to_float(
        static_cast<const T*>(args.weight)[o * args.weight_stride_o + c * args.weight_stride_c +
                                           tap / 3 * args.weight_stride_y + tap % 3 * args.weight_stride_x]);
  }

  UNET_FAST_METHOD void write(int64_t pixel, int64_t o, int64_t, float sum) const {
    if (args.bias) sum += to_float(static_cast<const T*>(args.bias)[o]);
    if (args.relu && sum < 0) sum = 0;
    if (args.mask && to_float(static_cast<const T*>(args.mask)[pixel * columns + o]) <= 0) sum = 0;
    static_cast<T*>(args.y)[pixel * columns + o] = from_float<T>(sum);
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* conv_relu_direct(const ConvReluArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype,
                        [&](auto type) { error = launch_product(ConvRelu<decltype(type)>(args), 1, stream); });
  return error;
}

}  // namespace unet_fast
