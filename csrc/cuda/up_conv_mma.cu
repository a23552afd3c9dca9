// up_conv and its data gradient by conv_mma.cuh, with the weight laid out anew for each call: it is small.
#include "cuda/up_conv_mma.h"

#include "cuda/conv_mma.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256;

// weight [C, O, 4] to [4, O, C], or, transposed, to [C, 4, O]: what is summed over lies innermost.
template <class T, bool kTransposed>
__global__ void lay_out_kernel(const T* weight, int64_t in_channels, int64_t out_channels, T* packed) {
  const int64_t count = 4 * in_channels * out_channels, step = static_cast<int64_t>(gridDim.x) * kBlock;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < count; i += step) {
    const int64_t c = kTransposed ? i / (4 * out_channels) : i % in_channels;
    const int64_t o = kTransposed ? i % out_channels : i / in_channels % out_channels;
    const int64_t tap = kTransposed ? i / out_channels % 4 : i / in_channels / out_channels;
    packed[i] = weight[(c * out_channels + o) * 4 + tap];
  }
}

template <class T, bool kTransposed>
const char* lay_out(const UpConvShape& shape, const void* weight, float* workspace, const Stream& stream) {
  return launch(lay_out_kernel<T, kTransposed>, grid_for(4 * shape.in_channels * shape.out_channels, kBlock),
                dim3(kBlock), 0, stream, static_cast<const T*>(weight), shape.in_channels, shape.out_channels,
                reinterpret_cast<T*>(workspace));
}

template <int kTaps>
const char* run(const UpConvShape& shape, const ConvReluArgs& conv, const void* weight, float* workspace,
                const Stream& stream) {
  constexpr int kOutputs = 128;
  const ConvMma plan = plan_conv_mma(conv, shape.height, shape.width, kTaps == 1 ? shape.out_channels : 1, kOutputs);
  const char* error = nullptr;
  visit_cuda_float_type(shape.dtype, [&](auto type) {
    using T = decltype(type);
    error = lay_out<T, kTaps == 2>(shape, weight, workspace, stream);
    if (!error) error = launch_conv_mma<T, kOutputs, kTaps>(plan, stream);
  });
  return error;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

bool up_conv_takes_mma(const UpConvShape& shape, const void* x, const void* y, int device) {
  const bool is_aligned = reinterpret_cast<uintptr_t>(x) % 16 == 0 && reinterpret_cast<uintptr_t>(y) % 16 == 0;
  return is_aligned && (shape.dtype != DType::float32 || shape.tf32) && shape.in_channels % 8 == 0 &&
         shape.out_channels % 8 == 0 && device_traits(device).capability >= 80;
}

int64_t up_conv_mma_workspace(const UpConvShape& shape) {
  return shape.in_channels * shape.out_channels * size_of(shape.dtype);  // 4 values of that size, in floats
}

const char* up_conv_mma(const UpConvArgs& args, const Stream& stream) {
  const UpConvShape& shape = args.shape;
  ConvReluArgs conv = {};
  conv.dtype = shape.dtype;
  conv.x = args.x, conv.images = shape.images, conv.height = shape.height, conv.width = shape.width;
  conv.in_channels = shape.in_channels, conv.out_channels = 4 * shape.out_channels;
  conv.weight = args.workspace, conv.weight_stride_o = shape.in_channels;
  conv.bias = args.bias, conv.y = args.y;
  return run<1>(shape, conv, args.weight, args.workspace, stream);
}

const char* up_conv_data_grad_mma(const UpConvDataGradArgs& args, const Stream& stream) {
  const UpConvShape& shape = args.shape;
  ConvReluArgs conv = {};
  conv.dtype = shape.dtype;
  conv.x = args.grad, conv.images = shape.images, conv.height = 2 * shape.height, conv.width = 2 * shape.width;
  conv.in_channels = shape.out_channels, conv.out_channels = shape.in_channels;
  conv.weight = args.workspace, conv.weight_stride_o = 4 * shape.out_channels;
  conv.weight_stride_y = 2 * shape.out_channels, conv.weight_stride_x = shape.out_channels;
  conv.y = args.grad_x;
  return run<2>(shape, conv, args.weight, args.workspace, stream);
}

}  // namespace unet_fast
