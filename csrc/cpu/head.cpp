// head on the CPU: a row product with one tap, and the softmax of what it gives.
#include "cpu/kernels.h"

#include "cpu/row_product.h"
#include "cpu/softmax.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

template <class Args>
RowGeometry forward_shape(const Args& args) {
  return {
      .images = args.images,
      .height = args.height,
      .width = args.width,
      .outputs = args.classes,
      .taps = 1,
      .depth = args.channels,
      .y_step = 1,
      .x_step = args.channels,
  };
}

template <class Args>
ImageRows input_rows(const Args& args) {
  return {
      .data = args.x,
      .gate = nullptr,
      .dtype = args.dtype,
      .height = args.height,
      .row = args.width * args.channels,
      .margin_rows = 0,
      .margin = 0,
  };
}

RowProduct as_row_product(const HeadArgs& args) {
  return {
      .shape = forward_shape(args),
      .in = input_rows(args),
      .weight =
          {
              .data = const_cast<void*>(args.weight),
              .dtype = args.dtype,
              .tap_stride = 0,
              .k = {args.channels, 0, args.weight_stride_c},
              .o = {args.classes, 0, args.weight_stride_k},
          },
      .bias = args.bias,
      .relu = false,
      .out = args.y,
      .out_dtype = args.softmax ? DType::float32 : args.dtype,
      .out_row = args.width * args.classes,
  };
}

// The first K floats of the workspace hold the gradient of the bias.
RowProductGradient as_gradient(const HeadBackwardArgs& args) {
  return {
      .shape = forward_shape(args),
      .in = input_rows(args),
      .grad = args.grad,
      .gate = nullptr,
      .grad_dtype = args.dtype,
      .grad_row = args.width * args.classes,
      .weight =
          {
              .data = args.grad_weight,
              .dtype = args.dtype,
              .tap_stride = 0,
              .k = {args.channels, 0, 1},
              .o = {args.classes, 0, args.channels},
          },
      .output_sum = args.workspace,
  };
}

}  // namespace

int64_t head_workspace(const HeadArgs& args, const Threads& threads) {
  return row_product_workspace(as_row_product(args), threads.count);
}

int64_t head_backward_workspace(const HeadBackwardArgs& args, const Threads& threads) {
  const int64_t data = args.grad_x ? head_workspace(args.data_grad(), threads) : 0;
  const int64_t weight = whole_lines(args.classes) + row_product_gradient_workspace(as_gradient(args), threads.count);
  return data > weight ? data : weight;
}

void head(const HeadArgs& args, const Threads& threads) {
  row_product(as_row_product(args), args.workspace, threads);
  if (!args.softmax) return;
  constexpr int64_t kGrain = 4096;  // pixels that are worth waking a thread
  parallel_for(threads, args.images * args.height * args.width, kGrain, [&](int64_t begin, int64_t end) {
    softmax(static_cast<float*>(args.y) + begin * args.classes, end - begin, args.classes);
  });
}

void head_backward(const HeadBackwardArgs& args, const Threads& threads) {
  if (args.grad_x) head(args.data_grad(), threads);
  if (!args.grad_weight) return;
  row_product_gradient(as_gradient(args), args.workspace + whole_lines(args.classes), threads);
  write_sums(args.workspace, 1, args.classes, args.dtype, args.grad_bias);
}

}  // namespace unet_fast::UNET_FAST_ISA
