// The one product behind the network's convolutions, on rows of NHWC images that are read as flat rows of floats:
//
//   out[n][y][x][o] = bias[o] + sum over r < R, k < K of  in[n][y * y_step + r][x * x_step + k] * weight[r][k][o]
//
//                          R   K    y_step  x_step  outputs
//   3x3 convolution        3   3C   1       C       O        the values under three taps of a row are neighbours
//     its data gradient    3   3*O  1       O       C        on the gradient with two zeros around, kernel rotated
//   2x2 up-convolution     1   C    1       C       2*O      (x parity, channel); once for each parity of y
//     its data gradient    2   2*O  2       2*O     C
//   1x1 convolution        1   C    1       C       K
//
// and the gradient of `weight` and `bias` in it.
#pragma once

#include "core/dtype.h"
#include "core/parallel.h"
#include "cpu/micro_kernel.h"

namespace unet_fast::UNET_FAST_ISA {

// Scratch memory is handed out in whole cache lines, so that no vector lies across two.
UNET_FAST_FUNCTION int64_t whole_lines(int64_t floats) { return (floats + 15) / 16 * 16; }

// A batch of dense NHWC images, read as float32 with zeros around.
struct ImageRows {
  const void* data;     // [N, H, W * C]
  const void* gate;     // [N, H, W * C] or null: data reads as 0 where gate <= 0 (the gradient of ReLU)
  DType dtype;          // of data and gate: bfloat16 or float32
  int64_t height;       // H, rows
  int64_t row;          // W * C, values
  int64_t margin_rows;  // zero rows above and below
  int64_t margin;       // zero values left and right of each row
};

struct RowGeometry {
  int64_t images;   // N
  int64_t height;   // h, output rows of an image
  int64_t width;    // w, output pixels of a row
  int64_t outputs;  // O of a pixel
  int64_t taps;     // R, input rows under an output row
  int64_t depth;    // K, values of each of them under an output pixel
  int64_t y_step;   // input rows from an output row to the next
  int64_t x_step;   // input values from an output pixel to the next
};

// An index i = outer * inner_count + inner into a tensor where the two parts have strides of their own.
struct SplitIndex {
  int64_t inner_count;
  int64_t outer_stride;  // elements
  int64_t inner_stride;  // elements
  UNET_FAST_METHOD int64_t offset(int64_t i) const {
    return i / inner_count * outer_stride + i % inner_count * inner_stride;
  }
};

// weight[r][k][o], wherever it lies.
struct WeightView {
  void* data;
  DType dtype;         // bfloat16 or float32
  int64_t tap_stride;  // elements from r to r + 1
  SplitIndex k;
  SplitIndex o;
};

struct RowProduct {
  RowGeometry shape;
  ImageRows in;
  WeightView weight;  // read
  const void* bias;   // [weight.o.inner_count] of weight.dtype (that of output o at o % inner_count), or null (0)
  bool relu;          // out = max(out, 0)
  void* out;          // row y of image n begins at (n * h + y) * out_row; its w * O values are dense
  DType out_dtype;    // bfloat16 or float32
  int64_t out_row;    // elements
  const void* mask = nullptr;  // like out, or null: out is stored as 0 where mask <= 0 (the gradient of ReLU)
};

struct RowProductGradient {
  RowGeometry shape;
  ImageRows in;
  const void* grad;   // gradient of out: row y of image n begins at (n * h + y) * grad_row; its w * O values are dense
  const void* gate;   // likewise, or null: grad reads as 0 where gate <= 0
  DType grad_dtype;   // of grad and gate: bfloat16 or float32
  int64_t grad_row;   // elements
  WeightView weight;  // written: the gradient of weight
  float* output_sum;  // [O] written: the sum of grad over all pixels, the gradient of bias
};

int64_t row_product_workspace(const RowProduct& product, int threads);  // floats
void row_product(const RowProduct& product, float* workspace, const Threads& threads);

// The sums run over fixed chunks of rows and then over the chunks, whatever the number of threads.
int64_t row_product_gradient_workspace(const RowProductGradient& gradient, int threads);  // floats
void row_product_gradient(const RowProductGradient& gradient, float* workspace, const Threads& threads);

// out[i] = sum over r < repeats of sums[r * count + i]: turns output sums into the gradient of a bias.
void write_sums(const float* sums, int64_t repeats, int64_t count, DType dtype, void* out);

}  // namespace unet_fast::UNET_FAST_ISA
