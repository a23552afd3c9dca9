// conv_relu on the CPU, a row product: the C values under the three taps of a row are 3C neighbours in NHWC memory.
#include "cpu/kernels.h"

#include "cpu/few_channels.h"
#include "cpu/row_product.h"
#include "cpu/winograd.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

RowProduct as_row_product(const ConvReluArgs& args) {
  const int64_t out_width = args.width + 2 * args.padding - 2;
  return {
      .shape =
          {
              .images = args.images,
              .height = args.height + 2 * args.padding - 2,
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
              .gate = args.gate,
              .dtype = args.dtype,
              .height = args.height,
              .row = args.width * args.in_channels,
              .margin_rows = args.padding,
              .margin = args.padding * args.in_channels,
          },
      .weight =
          {
              .data = const_cast<void*>(args.weight),
              .dtype = args.dtype,
              .tap_stride = args.weight_stride_y,
              .k = {args.in_channels, args.weight_stride_x, args.weight_stride_c},
              .o = {args.out_channels, 0, args.weight_stride_o},
          },
      .bias = args.bias,
      .relu = args.relu,
      .out = args.y,
      .out_dtype = args.dtype,
      .out_row = out_width * args.out_channels,
      .mask = args.mask,
  };
}

}  // namespace

bool conv_relu_fuses(const ConvReluArgs& args) { return conv_fuses(args); }

// Whatever the size of the image: where that is too small for Winograd's path, the packed weight is not used.
int64_t conv_relu_packed(const ConvReluArgs& args) { return conv_fuses(args) ? winograd_packed(args) : 0; }

void conv_relu_pack(const ConvReluArgs& args, const Threads& threads) { winograd_pack(args, args.workspace, threads); }

int64_t conv_relu_workspace(const ConvReluArgs& args, const Threads& threads) {
  const ConvPath path = conv_path(args);
  if (path != ConvPath::direct) return winograd_workspace(args, path, threads.count);
  if (takes_few_channels(args)) return few_channels_workspace(args);
  return row_product_workspace(as_row_product(args), threads.count);
}

void conv_relu(const ConvReluArgs& args, const Threads& threads) {
  const ConvPath path = conv_path(args);
  if (path != ConvPath::direct) return winograd(args, path, threads);
  if (takes_few_channels(args)) return few_channels(args, threads);
  row_product(as_row_product(args), args.workspace, threads);
}

}  // namespace unet_fast::UNET_FAST_ISA
