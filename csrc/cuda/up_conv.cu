// up_conv on CUDA: on tensor cores where up_conv_mma.cu takes it, and without them, as matrix products with one row per
// pixel of x and one column (or k) per (a, b, o), the parities of the pixel of y and its channel.
#include "ops/up_conv.h"

#include <algorithm>

#include "cuda/gathered_product.cuh"
#include "cuda/up_conv_mma.h"

namespace unet_fast {
namespace {

// Where (pixel of x, (a, b, o)) lies in y and (c, (a, b, o)) in the weight.
struct Layout {
  UpConvShape shape;

  UNET_FAST_METHOD int64_t inputs() const { return shape.images * shape.height * shape.width; }
  UNET_FAST_METHOD int64_t in_y(int64_t pixel, int64_t abo) const {
    const int64_t tap = abo / shape.out_channels, line = pixel / shape.width;  // line: image and row of x
    const int64_t y = 2 * line + tap / 2, x = 2 * (pixel % shape.width) + tap % 2;
    return (y * 2 * shape.width + x) * shape.out_channels + abo % shape.out_channels;
  }
  UNET_FAST_METHOD int64_t in_weight(int64_t c, int64_t abo) const {
    return (c * shape.out_channels + abo % shape.out_channels) * 4 + abo / shape.out_channels;
  }
};

template <class T>
struct Forward : Layout {
  static constexpr bool kNeighbouringRows = false;
  UpConvArgs args;
  int64_t rows, columns;

  explicit Forward(const UpConvArgs& args)
      : Layout{args.shape}, args(args), rows(inputs()), columns(4 * args.shape.out_channels) {}

  using Row = int64_t;
  UNET_FAST_METHOD int64_t first(int64_t chunk) const { return chunk * shape.in_channels; }
  UNET_FAST_METHOD Row row(int64_t pixel) const { return pixel; }
  UNET_FAST_METHOD float a(Row pixel, int64_t c) const {
    return to_float(static_cast<const T*>(args.x)[pixel * shape.in_channels + c]);
  }
  UNET_FAST_METHOD float b(int64_t c, int64_t abo) const {
    return to_float(static_cast<const T*>(args.weight)[in_weight(c, abo)]);
  }
  UNET_FAST_METHOD void write(int64_t pixel, int64_t abo, int64_t, float sum) const {
    sum += to_float(static_cast<const T*>(args.bias)[abo % shape.out_channels]);
    static_cast<T*>(args.y)[in_y(pixel, abo)] = from_float<T>(sum);
  }
};

template <class T>
struct DataGrad : Layout {
  static constexpr bool kNeighbouringRows = false;
  UpConvDataGradArgs args;
  int64_t rows, columns;

  explicit DataGrad(const UpConvDataGradArgs& args)
      : Layout{args.shape}, args(args), rows(inputs()), columns(args.shape.in_channels) {}

  using Row = int64_t;
  UNET_FAST_METHOD int64_t first(int64_t chunk) const { return chunk * 4 * shape.out_channels; }
  UNET_FAST_METHOD Row row(int64_t pixel) const { return pixel; }
  UNET_FAST_METHOD float a(Row pixel, int64_t abo) const {
    return to_float(static_cast<const T*>(args.grad)[in_y(pixel, abo)]);
  }
  UNET_FAST_METHOD float b(int64_t abo, int64_t c) const {
    return to_float(static_cast<const T*>(args.weight)[in_weight(c, abo)]);
  }
  UNET_FAST_METHOD void write(int64_t pixel, int64_t c, int64_t, float sum) const {
    static_cast<T*>(args.grad_x)[pixel * columns + c] = from_float<T>(sum);
  }
};

// rows: c, and a last one whose factor is 1 and gives the bias   columns: (a, b, o)   k: pixels of x
template <class T>
struct WeightGrad : Layout, ChunkedSum {
  static constexpr bool kNeighbouringRows = true;
  UpConvWeightGradArgs args;

  explicit WeightGrad(const UpConvWeightGradArgs& args)
      : Layout{args.shape},
        ChunkedSum(args.shape.in_channels + 1, 4 * args.shape.out_channels, inputs(), args.workspace),
        args(args) {}

  using Row = int64_t;
  UNET_FAST_METHOD Row row(int64_t c) const { return c; }
  UNET_FAST_METHOD float a(Row c, int64_t pixel) const {
    if (c == rows - 1) return 1;
    return to_float(static_cast<const T*>(args.x)[pixel * shape.in_channels + c]);
  }
  UNET_FAST_METHOD float b(int64_t pixel, int64_t abo) const {
    return to_float(static_cast<const T*>(args.grad)[in_y(pixel, abo)]);
  }
  // The bias is shared by the four parities: the thread of the first adds all of them.
  UNET_FAST_METHOD void finish(int64_t c, int64_t abo) const {
    if (c < rows - 1) {
      static_cast<T*>(args.grad_weight)[in_weight(c, abo)] = from_float<T>(total(c, abo));
    } else if (abo < shape.out_channels) {
      float sum = 0;
      for (int64_t tap = 0; tap < 4; ++tap) sum += total(c, tap * shape.out_channels + abo);
      static_cast<T*>(args.grad_bias)[abo] = from_float<T>(sum);
    }
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t up_conv_cuda_workspace(const UpConvArgs& args) { return up_conv_mma_workspace(args.shape); }

const char* up_conv_cuda(const UpConvArgs& args, const Stream& stream) {
  if (up_conv_takes_mma(args.shape, args.x, args.y, stream.device)) return up_conv_mma(args, stream);
  const char* error = nullptr;
  visit_cuda_float_type(args.shape.dtype,
                        [&](auto type) { error = launch_product(Forward<decltype(type)>(args), 1, stream); });
  return error;
}

int64_t up_conv_data_grad_cuda_workspace(const UpConvDataGradArgs& args) { return up_conv_mma_workspace(args.shape); }

const char* up_conv_data_grad_cuda(const UpConvDataGradArgs& args, const Stream& stream) {
  if (up_conv_takes_mma(args.shape, args.grad_x, args.grad, stream.device)) return up_conv_data_grad_mma(args, stream);
  const char* error = nullptr;
  visit_cuda_float_type(args.shape.dtype,
                        [&](auto type) { error = launch_product(DataGrad<decltype(type)>(args), 1, stream); });
  return error;
}

int64_t up_conv_weight_grad_cuda_workspace(const UpConvWeightGradArgs& args) {
  return std::max(WeightGrad<float>(args).workspace(), up_conv_weight_grad_mma_workspace(args));
}

const char* up_conv_weight_grad_cuda(const UpConvWeightGradArgs& args, const Stream& stream) {
  if (up_conv_takes_mma(args.shape, args.x, args.grad, stream.device)) return up_conv_weight_grad_mma(args, stream);
  const char* error = nullptr;
  visit_cuda_float_type(args.shape.dtype,
                        [&](auto type) { error = launch_chunked_sum(WeightGrad<decltype(type)>(args), stream); });
  return error;
}

}  // namespace unet_fast
