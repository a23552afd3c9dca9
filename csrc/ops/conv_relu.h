// conv_relu: valid 3x3 convolution, bias and ReLU (the "conv 3x3, ReLU" of figure 1). Its data gradient is the same
// operator on the gradient, with zeros around it and the kernel rotated by 180 degrees.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

// How the CPU computes it. Winograd's convolution is float32 alone; bfloat16 and CUDA are always direct.
enum class ConvAlgorithm : int32_t { automatic, direct, winograd };

struct ConvReluArgs {
  const void* x;            // [N, H, W, C] dense
  const void* gate;         // [N, H, W, C] dense or null: x reads as 0 where gate <= 0 (the gradient of ReLU)
  DType dtype;              // of all tensors here: bfloat16 or float32; sums are float32
  int64_t images;           // N
  int64_t height;           // H, pixels
  int64_t width;            // W, pixels
  int64_t in_channels;      // C
  int64_t out_channels;     // O
  int64_t padding;          // p, pixels: zeros that are read around x
  const void* weight;       // (o, c, ky, kx), read through the strides below; ky = kx = 0 here
  int64_t weight_stride_o;  // elements
  int64_t weight_stride_c;  // elements
  int64_t weight_stride_y;  // elements; negative, like the next, where the kernel is rotated
  int64_t weight_stride_x;  // elements
  const void* bias;         // [O] dense or null (0)
  bool relu;                // y = max(y, 0)
  void* y;                  // [N, H + 2 p - 2, W + 2 p - 2, O] dense
  float* workspace;         // CPU: conv_relu_cpu_workspace floats; CUDA: unused
  ConvAlgorithm algorithm;  // automatic: by shape, see cpu/winograd.h
};

int64_t conv_relu_cpu_workspace(const ConvReluArgs& args, const Threads& threads);
void conv_relu_cpu(const ConvReluArgs& args, const Threads& threads);
const char* conv_relu_cuda(const ConvReluArgs& args, const Stream& stream);  // null, or what CUDA said

}  // namespace unet_fast
