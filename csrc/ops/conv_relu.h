// conv_relu: valid 3x3 convolution, bias and ReLU (the "conv 3x3, ReLU" of figure 1). Its data gradient is the same
// operator on the gradient, with zeros around it and the kernel rotated by 180 degrees.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

// How it is computed: the sums as they are written; Winograd's algorithm, for float32 on the CPU; tensor cores on CUDA,
// by mma (sm_80 and later; float32 is rounded to TF32) or wgmma (sm_90a, for types of 16 bits).
enum class ConvAlgorithm : int32_t { automatic, direct, winograd, mma, wgmma };

// A second source beside x, of the same size: a window of a batch of NHWC images, whose pixels are dense.
struct SkipWindow {
  const void* data = nullptr;  // null: there is none
  int64_t channels = 0;
  int64_t row_stride = 0;    // elements
  int64_t image_stride = 0;  // elements
};

struct ConvReluArgs {
  const void* x;            // [N, H, W, C] dense
  const void* gate;         // [N, H, W, C] dense or null: x reads as 0 where gate <= 0 (the gradient of ReLU)
  DType dtype;              // of all tensors here: bfloat16, float32, or float16 on CUDA; sums are float32
  int64_t images;           // N
  int64_t height;           // H, pixels
  int64_t width;            // W, pixels
  int64_t in_channels;      // C, of x
  int64_t out_channels;     // O
  int64_t padding;          // p, pixels: zeros that are read around x
  const void* weight;       // (o, c, ky, kx), read through the strides below; ky = kx = 0 here
  int64_t weight_stride_o;  // elements
  int64_t weight_stride_c;  // elements; 1 for mma and wgmma, whose other strides are multiples of 16 bytes
  int64_t weight_stride_y;  // elements; negative, like the next, where the kernel is rotated
  int64_t weight_stride_x;  // elements
  const void* bias;         // [O] dense or null (0)
  bool relu;                // y = max(y, 0)
  void* y;                  // [N, H + 2 p - 2, W + 2 p - 2, O] dense
  float* workspace;         // conv_relu_cpu_workspace floats on the CPU, .._cuda_workspace on CUDA
  ConvAlgorithm algorithm;  // automatic: by shape, see cpu/winograd_path.cpp and cuda/conv_relu_paths.cu
  // Of the size and dtype of y, dense, or null: y is stored as 0 where mask <= 0 (y is the gradient of a ReLU's
  // result, and is to be that of its input). Not with crop or pooled.
  const void* mask = nullptr;

  // The rest only where conv_relu_fuses(args), on CUDA conv_relu_cuda_fuses: what would else be operators of their own.
  SkipWindow skip = {};           // its channels follow those of x under the weight, whose c runs over both
  int64_t crop = 0;               // pixels along each edge of y that are not stored; y and gate are smaller by them
  void* pooled = nullptr;         // [N, H'/2, W'/2, O] or null: the maximum of 2 x 2 pixels of the H' x W' of y
  void* y_rest = nullptr;         // [N, H', W', O - y_channels] dense or null: outputs from y_channels on
  int64_t y_channels = 0;         // outputs that go to y where there is y_rest
  const float* packed = nullptr;  // CPU: what conv_relu_pack made of the weight, or null

  // CPU: null, or a layer of few channels whose y is x here: it is computed on the way, part by part, and x is not
  // read. Of its fields y, workspace and those from skip on are not used.
  const ConvReluArgs* first = nullptr;
};

// Whether the CPU has these shapes, with skip, crop, pooled, y_rest or first, in one pass.
bool conv_relu_fuses(const ConvReluArgs& args);

// The weight as conv_relu_cpu wants it, for many calls with one weight: transformed by Winograd's algorithm. 0 floats
// where it takes the weight as it is. Holds for one instruction set.
int64_t conv_relu_packed(const ConvReluArgs& args);                     // floats
void conv_relu_pack(const ConvReluArgs& args, const Threads& threads);  // into args.workspace

int64_t conv_relu_cpu_workspace(const ConvReluArgs& args, const Threads& threads);
int64_t conv_relu_cuda_workspace(const ConvReluArgs& args);
void conv_relu_cpu(const ConvReluArgs& args, const Threads& threads);
const char* conv_relu_cuda(const ConvReluArgs& args, const Stream& stream);  // null, or what CUDA said
// Null, or why args.algorithm cannot compute this on the CUDA device, to follow the algorithm's name.
const char* conv_relu_cuda_refuses(const ConvReluArgs& args, int device);
// What computes this on the CUDA device; automatic where nothing can.
ConvAlgorithm conv_relu_cuda_algorithm(const ConvReluArgs& args, int device);
// Whether the CUDA device has these shapes, with skip, crop, pooled or y_rest, in one pass: on tensor cores.
bool conv_relu_cuda_fuses(const ConvReluArgs& args, int device);

}  // namespace unet_fast
