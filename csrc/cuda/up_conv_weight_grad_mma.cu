// The gradient of up_conv's weight by conv_weight_grad_mma.cuh.
#include "cuda/conv_weight_grad_mma.cuh"
#include "cuda/up_conv_mma.h"

namespace unet_fast {
namespace {

WeightGradMma plan(const UpConvWeightGradArgs& args) {
  const UpConvShape& shape = args.shape;
  WeightGradMma grad = {};
  grad.left = args.x, grad.left_channels = static_cast<int>(shape.in_channels);
  grad.images = static_cast<int>(shape.images);
  grad.height = static_cast<int>(shape.height), grad.width = static_cast<int>(shape.width);
  const int64_t row = 2 * shape.width * shape.out_channels;
  grad.right[0] = {args.grad, shape.out_channels, row, 2 * shape.height * row};
  plan_weight_grad_mma<2>(grad);
  return grad;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

bool up_conv_weight_grad_takes_mma(const UpConvWeightGradArgs& args, int device) {
  return args.shape.dtype != DType::float32 && up_conv_takes_mma(args.shape, args.x, args.grad, device);
}

int64_t up_conv_weight_grad_mma_workspace(const UpConvWeightGradArgs& args) { return plan(args).sums.workspace(); }

const char* up_conv_weight_grad_mma(const UpConvWeightGradArgs& args, const Stream& stream) {
  WeightGradMma grad = plan(args);
  grad.sums.take(args.workspace);
  const char* error = nullptr;
  visit_half_type(args.shape.dtype, [&](auto type) {
    error = launch_weight_grad_mma<decltype(type), 2>(grad, args.grad_weight, args.grad_bias, stream);
  });
  return error;
}

}  // namespace unet_fast
