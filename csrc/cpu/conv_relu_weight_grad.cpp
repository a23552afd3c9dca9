// conv_relu_weight_grad on the CPU: the gradient of the row product that conv_relu is.
#include "cpu/kernels.h"

#include "cpu/few_channels.h"
#include "cpu/row_product.h"
#include "cpu/winograd.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

// The first O floats of the workspace hold the gradient of the bias.
RowProductGradient as_gradient(const ConvReluWeightGradArgs& args) {
  const int64_t out_width = args.width - 2;
  return {
      .shape =
          {
              .images = args.images,
              .height = args.height - 2,
              .width = out_width,
              .outputs = args.out_channels,
              .taps = 3,
              .depth = 3 * args.in_channels,
              .y_step = 1,
              .x_step = args.in_channels,
          },
      .in =
          {
              .data = args.x,
              .gate = nullptr,
              .dtype = args.dtype,
              .height = args.height,
              .row = args.width * args.in_channels,
              .margin_rows = 0,
              .margin = 0,
          },
      .grad = args.grad,
      .gate = args.gate,
      .grad_dtype = args.dtype,
      .grad_row = out_width * args.out_channels,
      .weight =
          {
              .data = args.grad_weight,
              .dtype = args.dtype,
              .tap_stride = 3,
              .k = {args.in_channels, 1, 9},
              .o = {args.out_channels, 0, 9 * args.in_channels},
          },
      .output_sum = args.workspace,
  };
}

}  // namespace

int64_t conv_relu_weight_grad_workspace(const ConvReluWeightGradArgs& args, const Threads& threads) {
  const ConvPath path = conv_path(args);
  if (path != ConvPath::direct) return winograd_weight_grad_workspace(args, path, threads.count);
  if (takes_few_channels(args)) return few_channels_weight_grad_workspace(args);
  return whole_lines(args.out_channels) + row_product_gradient_workspace(as_gradient(args), threads.count);
}

void conv_relu_weight_grad(const ConvReluWeightGradArgs& args, const Threads& threads) {
  const ConvPath path = conv_path(args);
  if (path != ConvPath::direct) return winograd_weight_grad(args, path, threads);
  if (takes_few_channels(args)) return few_channels_weight_grad(args, threads);
  row_product_gradient(as_gradient(args), args.workspace + whole_lines(args.out_channels), threads);
  write_sums(args.workspace, 1, args.out_channels, args.dtype, args.grad_bias);
}

}  // namespace unet_fast::UNET_FAST_ISA
