// head on CUDA: as cuda/head_few_classes.h has it, or, for more classes and other numbers of channels, as matrix
// products, the softmax in a second pass.
#include "cuda/gathered_product.cuh"
#include "cuda/head_few_classes.h"
#include "cuda/softmax.cuh"

namespace unet_fast {
namespace {

// rows: pixels   columns: classes   k: channels
template <class T>
struct Head {
  static constexpr bool kNeighbouringRows = false;
  HeadArgs args;
  int64_t rows, columns;

  explicit Head(const HeadArgs& args)
      : args(args), rows(args.images * args.height * args.width), columns(args.classes) {}

  using Row = int64_t;
  UNET_FAST_METHOD int64_t first(int64_t chunk) const { return chunk * args.channels; }
  UNET_FAST_METHOD Row row(int64_t pixel) const { return pixel; }
  UNET_FAST_METHOD float a(Row pixel, int64_t c) const {
    return to_float(static_cast<const T*>(args.x)[pixel * args.channels + c]);
  }
  UNET_FAST_METHOD float b(int64_t c, int64_t k) const {
    return to_float(static_cast<const T*>(args.weight)[k * args.weight_stride_k + c * args.weight_stride_c]);
  }
  UNET_FAST_METHOD void write(int64_t pixel, int64_t k, int64_t, float sum) const {
    if (args.bias) sum += to_float(static_cast<const T*>(args.bias)[k]);
    if (args.softmax) {
      static_cast<float*>(args.y)[pixel * columns + k] = sum;
    } else {
      static_cast<T*>(args.y)[pixel * columns + k] = from_float<T>(sum);
    }
  }
};

constexpr int kSoftmaxBlock = 128;

__global__ void __launch_bounds__(kSoftmaxBlock) softmax_kernel(float* y, int64_t pixels, int classes) {
  const int64_t step = int64_t{gridDim.x} * kSoftmaxBlock;
  for (int64_t pixel = int64_t{blockIdx.x} * kSoftmaxBlock + threadIdx.x; pixel < pixels; pixel += step) {
    softmax<0>(y + pixel * classes, classes);
  }
}

// rows: channels, and a last one whose factor is 1 and gives the bias   columns: classes   k: pixels
template <class T>
struct WeightGrad : ChunkedSum {
  static constexpr bool kNeighbouringRows = true;
  HeadBackwardArgs args;

  explicit WeightGrad(const HeadBackwardArgs& args)
      : ChunkedSum(args.channels + 1, args.classes, args.images * args.height * args.width, args.workspace),
        args(args) {}

  using Row = int64_t;
  UNET_FAST_METHOD Row row(int64_t c) const { return c; }
  UNET_FAST_METHOD float a(Row c, int64_t pixel) const {
    if (c == rows - 1) return 1;
    return to_float(static_cast<const T*>(args.x)[pixel * args.channels + c]);
  }
  UNET_FAST_METHOD float b(int64_t pixel, int64_t k) const {
    return to_float(static_cast<const T*>(args.grad)[pixel * columns + k]);
  }
  UNET_FAST_METHOD void finish(int64_t c, int64_t k) const {
    const T sum = from_float<T>(total(c, k));
    if (c == rows - 1) {
      static_cast<T*>(args.grad_bias)[k] = sum;
    } else {
      static_cast<T*>(args.grad_weight)[k * args.channels + c] = sum;
    }
  }
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* head_cuda(const HeadArgs& args, const Stream& stream) {
  if (takes_few_classes(args)) return head_few_classes(args, stream);
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) { error = launch_product(Head<decltype(type)>(args), 1, stream); });
  if (error || !args.softmax) return error;
  const int64_t pixels = args.images * args.height * args.width;
  return launch(softmax_kernel, grid_for(pixels, kSoftmaxBlock), kSoftmaxBlock, 0, stream, static_cast<float*>(args.y),
                pixels, static_cast<int>(args.classes));
}

int64_t head_backward_cuda_workspace(const HeadBackwardArgs& args) {
  if (takes_few_classes(args)) return head_backward_few_classes_workspace(args);
  return WeightGrad<float>(args).workspace();
}

const char* head_backward_cuda(const HeadBackwardArgs& args, const Stream& stream) {
  if (takes_few_classes(args)) return head_backward_few_classes(args, stream);
  const char* error = args.grad_x ? head_cuda(args.data_grad(), stream) : nullptr;
  if (error || !args.grad_weight) return error;
  visit_cuda_float_type(args.dtype,
                        [&](auto type) { error = launch_chunked_sum(WeightGrad<decltype(type)>(args), stream); });
  return error;
}

}  // namespace unet_fast
