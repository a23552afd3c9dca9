// head: 1x1 convolution to the classes (the "conv 1x1" of figure 1), and the softmax of its scores where that is asked
// for. Its data gradient is the same operator with the roles of channels and classes exchanged.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/portable.h"
#include "core/stream.h"

namespace unet_fast {

struct HeadArgs {
  const void* x;            // [N, H, W, C] dense
  DType dtype;              // of all tensors but y: bfloat16, float32, or float16 on CUDA; sums are float32
  int64_t images;           // N
  int64_t height;           // H, pixels
  int64_t width;            // W, pixels
  int64_t channels;         // C
  int64_t classes;          // K
  const void* weight;       // (k, c), read through the strides below
  int64_t weight_stride_k;  // elements
  int64_t weight_stride_c;  // elements
  const void* bias;         // [K] dense or null (0)
  bool softmax;             // whether y is the softmax over the classes, float32 (else the scores, of dtype)
  void* y;                  // [N, H, W, K] dense
  float* workspace;         // CPU: head_cpu_workspace floats; CUDA: unused
};

struct HeadBackwardArgs {
  const void* grad;    // [N, H, W, K] dense, gradient of y
  const void* x;       // [N, H, W, C] dense
  const void* weight;  // [K, C] dense
  DType dtype;         // of all tensors: bfloat16, float32, or float16 on CUDA; sums are float32
  int64_t images;      // N
  int64_t height;      // H, pixels
  int64_t width;       // W, pixels
  int64_t channels;    // C
  int64_t classes;     // K
  void* grad_x;        // [N, H, W, C] dense, or null: not wanted
  void* grad_weight;   // [K, C] dense, or null: not wanted, like the next
  void* grad_bias;     // [K] dense
  float* workspace;    // head_backward_cpu_workspace floats on the CPU, .._cuda_workspace on CUDA

  // grad_x as a head of its own.
  UNET_FAST_METHOD HeadArgs data_grad() const {
    return {
        .x = grad,
        .dtype = dtype,
        .images = images,
        .height = height,
        .width = width,
        .channels = classes,
        .classes = channels,
        .weight = weight,
        .weight_stride_k = 1,
        .weight_stride_c = channels,
        .bias = nullptr,
        .softmax = false,
        .y = grad_x,
        .workspace = workspace,
    };
  }
};

int64_t head_cpu_workspace(const HeadArgs& args, const Threads& threads);
int64_t head_backward_cpu_workspace(const HeadBackwardArgs& args, const Threads& threads);
int64_t head_backward_cuda_workspace(const HeadBackwardArgs& args);

void head_cpu(const HeadArgs& args, const Threads& threads);
void head_backward_cpu(const HeadBackwardArgs& args, const Threads& threads);

const char* head_cuda(const HeadArgs& args, const Stream& stream);
const char* head_backward_cuda(const HeadBackwardArgs& args, const Stream& stream);

}  // namespace unet_fast
