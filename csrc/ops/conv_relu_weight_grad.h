// conv_relu_weight_grad: the gradients of conv_relu for its weight and bias, sums over all pixels. The order of the
// sums depends on the shapes alone.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"
#include "ops/conv_relu.h"

namespace unet_fast {

struct ConvReluWeightGradArgs {
  const void* x;         // [N, H, W, C] dense, the operator's input
  const void* grad;      // [N, H - 2, W - 2, O] dense, gradient of its result
  const void* gate;      // [N, H - 2, W - 2, O] dense, its result, or null: grad reads as 0 where gate <= 0
  DType dtype;           // of all tensors here: bfloat16, float32, or float16 on CUDA; sums are float32
  int64_t images;        // N
  int64_t height;        // H, pixels
  int64_t width;         // W, pixels
  int64_t in_channels;   // C
  int64_t out_channels;  // O
  void* grad_weight;     // [O, C, 3, 3] dense
  void* grad_bias;       // [O] dense
  float* workspace;      // conv_relu_weight_grad_cpu_workspace floats on the CPU, .._cuda_workspace on CUDA
  ConvAlgorithm algorithm;
  SkipWindow skip = {};  // a second source as in ConvReluArgs, on the CPU only where conv_relu_fuses;
                         // grad_weight is then [O, C + its channels, 3, 3]
};

int64_t conv_relu_weight_grad_cpu_workspace(const ConvReluWeightGradArgs& args, const Threads& threads);
int64_t conv_relu_weight_grad_cuda_workspace(const ConvReluWeightGradArgs& args);
void conv_relu_weight_grad_cpu(const ConvReluWeightGradArgs& args, const Threads& threads);
const char* conv_relu_weight_grad_cuda(const ConvReluWeightGradArgs& args, const Stream& stream);
const char* conv_relu_weight_grad_cuda_refuses(const ConvReluWeightGradArgs& args, int device);  // as in conv_relu.h

}  // namespace unet_fast
