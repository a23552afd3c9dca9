// conv_relu_weight_grad by conv_weight_grad_mma.cuh.
#include "cuda/conv_relu_paths.h"
#include "cuda/conv_weight_grad_mma.cuh"

namespace unet_fast {
namespace {

WeightGradMma plan(const ConvReluWeightGradArgs& args) {
  WeightGradMma grad = {};
  grad.left = args.grad, grad.left_channels = static_cast<int>(args.out_channels);
  grad.images = static_cast<int>(args.images);
  grad.height = static_cast<int>(args.height - 2), grad.width = static_cast<int>(args.width - 2);
  const int64_t row = args.width * args.in_channels;
  grad.right[0] = {args.x, args.in_channels, row, args.height * row};
  grad.right[1] = args.skip;
  plan_weight_grad_mma<3>(grad);
  return grad;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t conv_relu_weight_grad_mma_workspace(const ConvReluWeightGradArgs& args) { return plan(args).sums.workspace(); }

const char* conv_relu_weight_grad_mma(const ConvReluWeightGradArgs& args, const Stream& stream) {
  WeightGradMma grad = plan(args);
  grad.sums.take(args.workspace);
  const char* error = nullptr;
  visit_half_type(args.dtype, [&](auto type) {
    error = launch_weight_grad_mma<decltype(type), 3>(grad, args.grad_weight, args.grad_bias, stream);
  });
  return error;
}

}  // namespace unet_fast
