// conv_relu_weight_grad by conv_weight_grad_mma.cuh.
#include "cuda/conv_relu_paths.h"
#include "cuda/conv_weight_grad_mma.cuh"

namespace unet_fast {
namespace {

template <class T>
WeightGradMma plan(const ConvReluWeightGradArgs& args) {
  WeightGradMma grad = {};
  grad.left = args.grad, grad.left_channels = static_cast<int>(args.out_channels);
  grad.images = static_cast<int>(args.images);
  grad.height = static_cast<int>(args.height - 2), grad.width = static_cast<int>(args.width - 2);
  const int64_t row = args.width * args.in_channels;
  grad.right[0] = {args.x, args.in_channels, row, args.height * row};
  grad.right[1] = args.skip;
  plan_weight_grad_mma<T, 3>(grad);
  return grad;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t conv_relu_weight_grad_mma_workspace(const ConvReluWeightGradArgs& args) {
  int64_t floats = 0;
  visit_cuda_float_type(args.dtype, [&](auto type) { floats = plan<decltype(type)>(args).sums.workspace(); });
  return floats;
}

const char* conv_relu_weight_grad_mma(const ConvReluWeightGradArgs& args, const Stream& stream) {
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    WeightGradMma grad = plan<decltype(type)>(args);
    grad.sums.take(args.workspace);
    error = launch_weight_grad_mma<decltype(type), 3>(grad, args.grad_weight, args.grad_bias, stream);
  });
  return error;
}

}  // namespace unet_fast
