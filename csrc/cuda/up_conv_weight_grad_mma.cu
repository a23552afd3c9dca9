// The gradient of up_conv's weight by conv_weight_grad_mma.cuh.
#include "cuda/conv_weight_grad_mma.cuh"
#include "cuda/up_conv_mma.h"

namespace unet_fast {
namespace {

template <class T>
WeightGradMma plan(const UpConvWeightGradArgs& args) {
  const UpConvShape& shape = args.shape;
  WeightGradMma grad = {};
  grad.left = args.x, grad.left_channels = static_cast<int>(shape.in_channels);
  grad.images = static_cast<int>(shape.images);
  grad.height = static_cast<int>(shape.height), grad.width = static_cast<int>(shape.width);
  const int64_t row = 2 * shape.width * shape.out_channels;
  grad.right[0] = {args.grad, shape.out_channels, row, 2 * shape.height * row};
  plan_weight_grad_mma<T, 2>(grad);
  return grad;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t up_conv_weight_grad_mma_workspace(const UpConvWeightGradArgs& args) {
  int64_t floats = 0;
  visit_cuda_float_type(args.shape.dtype, [&](auto type) { floats = plan<decltype(type)>(args).sums.workspace(); });
  return floats;
}

const char* up_conv_weight_grad_mma(const UpConvWeightGradArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.shape.dtype, [&](auto type) {
    WeightGradMma grad = plan<decltype(type)>(args);
    grad.sums.take(args.workspace);
    error = launch_weight_grad_mma<decltype(type), 2>(grad, args.grad_weight, args.grad_bias, stream);
  });
  return error;
}

}  // namespace unet_fast
