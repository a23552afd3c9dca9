// up_conv: transposed 2x2 convolution with stride 2 (the "up-conv 2x2" of figure 1). Every pixel of x gives four of y,
// and no two overlap:  y[2i + a][2j + b][o] = bias[o] + sum over c of x[i][j][c] * weight[c][o][a][b]
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

struct UpConvShape {
  DType dtype;           // of all tensors: bfloat16, float32, or float16 on CUDA; sums are float32
  int64_t images;        // N
  int64_t height;        // H, pixels of x
  int64_t width;         // W, pixels of x
  int64_t in_channels;   // C
  int64_t out_channels;  // O
  bool tf32 = false;     // on CUDA: whether float32 may be rounded to TF32, for tensor cores
};

struct UpConvArgs {
  UpConvShape shape;
  const void* x;       // [N, H, W, C] dense
  const void* weight;  // [C, O, 2, 2] dense
  const void* bias;    // [O] dense
  void* y;             // [N, 2H, 2W, O] dense
  float* workspace;    // up_conv_cpu_workspace floats on the CPU, .._cuda_workspace on CUDA
};

struct UpConvDataGradArgs {
  UpConvShape shape;
  const void* grad;    // [N, 2H, 2W, O] dense, gradient of y
  const void* weight;  // [C, O, 2, 2] dense
  void* grad_x;        // [N, H, W, C] dense
  float* workspace;    // up_conv_data_grad_cpu_workspace floats on the CPU, .._cuda_workspace on CUDA
};

struct UpConvWeightGradArgs {
  UpConvShape shape;
  const void* grad;   // [N, 2H, 2W, O] dense, gradient of y
  const void* x;      // [N, H, W, C] dense
  void* grad_weight;  // [C, O, 2, 2] dense
  void* grad_bias;    // [O] dense
  float* workspace;   // up_conv_weight_grad_cpu_workspace floats on the CPU, .._cuda_workspace on CUDA
};

int64_t up_conv_cpu_workspace(const UpConvArgs& args, const Threads& threads);
int64_t up_conv_data_grad_cpu_workspace(const UpConvDataGradArgs& args, const Threads& threads);
int64_t up_conv_weight_grad_cpu_workspace(const UpConvWeightGradArgs& args, const Threads& threads);
int64_t up_conv_cuda_workspace(const UpConvArgs& args);
int64_t up_conv_data_grad_cuda_workspace(const UpConvDataGradArgs& args);
int64_t up_conv_weight_grad_cuda_workspace(const UpConvWeightGradArgs& args);

void up_conv_cpu(const UpConvArgs& args, const Threads& threads);
void up_conv_data_grad_cpu(const UpConvDataGradArgs& args, const Threads& threads);
void up_conv_weight_grad_cpu(const UpConvWeightGradArgs& args, const Threads& threads);

const char* up_conv_cuda(const UpConvArgs& args, const Stream& stream);
const char* up_conv_data_grad_cuda(const UpConvDataGradArgs& args, const Stream& stream);
const char* up_conv_weight_grad_cuda(const UpConvWeightGradArgs& args, const Stream& stream);

}  // namespace unet_fast
