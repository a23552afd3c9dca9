// up_conv on the CPU, where it is not one for up_conv_panels.h: for each parity a of the row, a row product with 2*O
// outputs, since the two pixels (2j, 2j + 1) of a row of y are 2*O neighbours in NHWC memory.
#include "cpu/kernels.h"

#include "cpu/row_product.h"
#include "cpu/up_conv_panels.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int64_t kTaps = 4;  // of a weight [C, O, 2, 2]

RowGeometry forward_shape(const UpConvShape& shape) {
  return {
      .images = shape.images,
      .height = shape.height,
      .width = shape.width,
      .outputs = 2 * shape.out_channels,
      .taps = 1,
      .depth = shape.in_channels,
      .y_step = 1,
      .x_step = shape.in_channels,
  };
}

ImageRows input_rows(const UpConvShape& shape, const void* x) {
  return {
      .data = x,
      .gate = nullptr,
      .dtype = shape.dtype,
      .height = shape.height,
      .row = shape.width * shape.in_channels,
      .margin_rows = 0,
      .margin = 0,
  };
}

// Element `index` of a tensor of the operator's dtype.
void* element(const UpConvShape& shape, const void* tensor, int64_t index) {
  const int64_t bytes = shape.dtype == DType::float32 ? sizeof(float) : sizeof(BFloat16);
  return static_cast<char*>(const_cast<void*>(tensor)) + index * bytes;
}

// weight[c][o][a][b] with k = c and outputs (b, o).
WeightView forward_weight(const UpConvShape& shape, const void* weight, int64_t a) {
  return {
      .data = element(shape, weight, 2 * a),
      .dtype = shape.dtype,
      .tap_stride = 0,
      .k = {shape.in_channels, 0, kTaps * shape.out_channels},
      .o = {shape.out_channels, 1, kTaps},
  };
}

int64_t y_row(const UpConvShape& shape) { return 2 * shape.width * shape.out_channels; }

RowProduct forward(const UpConvArgs& args, int64_t a) {
  return {
      .shape = forward_shape(args.shape),
      .in = input_rows(args.shape, args.x),
      .weight = forward_weight(args.shape, args.weight, a),
      .bias = args.bias,
      .relu = false,
      .out = element(args.shape, args.y, a * y_row(args.shape)),
      .out_dtype = args.shape.dtype,
      .out_row = 2 * y_row(args.shape),
  };
}

// Under a pixel of x lie two rows a of y, in each of them 2*O values (b, o).
RowProduct data_grad(const UpConvDataGradArgs& args) {
  const UpConvShape& shape = args.shape;
  return {
      .shape =
          {
              .images = shape.images,
              .height = shape.height,
              .width = shape.width,
              .outputs = shape.in_channels,
              .taps = 2,
              .depth = 2 * shape.out_channels,
              .y_step = 2,
              .x_step = 2 * shape.out_channels,
          },
      .in =
          {
              .data = args.grad,
              .gate = nullptr,
              .dtype = shape.dtype,
              .height = 2 * shape.height,
              .row = y_row(shape),
              .margin_rows = 0,
              .margin = 0,
          },
      .weight =
          {
              .data = const_cast<void*>(args.weight),
              .dtype = shape.dtype,
              .tap_stride = 2,
              .k = {shape.out_channels, 1, kTaps},
              .o = {shape.in_channels, 0, kTaps * shape.out_channels},
          },
      .bias = nullptr,
      .relu = false,
      .out = args.grad_x,
      .out_dtype = shape.dtype,
      .out_row = shape.width * shape.in_channels,
  };
}

// The first 4 * O floats of the workspace hold the sums of grad over the pixels of each parity (a, b).
RowProductGradient weight_grad(const UpConvWeightGradArgs& args, int64_t a) {
  return {
      .shape = forward_shape(args.shape),
      .in = input_rows(args.shape, args.x),
      .grad = element(args.shape, args.grad, a * y_row(args.shape)),
      .gate = nullptr,
      .grad_dtype = args.shape.dtype,
      .grad_row = 2 * y_row(args.shape),
      .weight = forward_weight(args.shape, args.grad_weight, a),
      .output_sum = args.workspace + a * 2 * args.shape.out_channels,
  };
}

}  // namespace

int64_t up_conv_workspace(const UpConvArgs& args, const Threads& threads) {
  if (takes_panels(args.shape)) return up_conv_panels_workspace(args.shape, threads.count);
  return row_product_workspace(forward(args, 0), threads.count);
}

int64_t up_conv_data_grad_workspace(const UpConvDataGradArgs& args, const Threads& threads) {
  if (takes_panels(args.shape)) return up_conv_panels_workspace(args.shape, threads.count);
  return row_product_workspace(data_grad(args), threads.count);
}

int64_t up_conv_weight_grad_workspace(const UpConvWeightGradArgs& args, const Threads& threads) {
  if (takes_panels(args.shape)) return up_conv_panels_weight_grad_workspace(args, threads.count);
  return whole_lines(kTaps * args.shape.out_channels) +
         row_product_gradient_workspace(weight_grad(args, 0), threads.count);
}

void up_conv(const UpConvArgs& args, const Threads& threads) {
  if (takes_panels(args.shape)) return up_conv_panels(args, threads);
  for (int64_t a = 0; a < 2; ++a) row_product(forward(args, a), args.workspace, threads);
}

void up_conv_data_grad(const UpConvDataGradArgs& args, const Threads& threads) {
  if (takes_panels(args.shape)) return up_conv_panels_data_grad(args, threads);
  row_product(data_grad(args), args.workspace, threads);
}

void up_conv_weight_grad(const UpConvWeightGradArgs& args, const Threads& threads) {
  if (takes_panels(args.shape)) return up_conv_panels_weight_grad(args, threads);
  float* workspace = args.workspace + whole_lines(kTaps * args.shape.out_channels);
  for (int64_t a = 0; a < 2; ++a) row_product_gradient(weight_grad(args, a), workspace, threads);
  write_sums(args.workspace, kTaps, args.shape.out_channels, args.shape.dtype, args.grad_bias);
}

}  // namespace unet_fast::UNET_FAST_ISA
