// Winograd's convolution F(4x4, 3x3) for the wide layers of conv_relu: the result is cut into tiles of 4 x 4 pixels,
// and
//
//   for every tile t      V[p][t][c] = (B^T d B)[p]          d: the 6 x 6 pixels of x under the tile
//   for the weight        U[p][c][o] = (G g G^T)[p]          g: 3 x 3 taps
//   for each point p      M[p][t][o] = sum over c of V[p][t][c] * U[p][c][o]     36 small matrix products
//   for every tile t      y[t][o]    = A^T M[t][o] A         4 x 4 pixels, + bias, ReLU
//
// a quarter of the direct multiplications (matrices: winograd_matrices.h). The gradient of the weight is
// G^T (V[p]^T (A dy A^T)[p]) G, and needs the same number of them.
//
//   V   [36 points][panels of 16 channels][tiles][16]   a cache line per tile, read from front to back: product by
//                                                       product by the micro-kernel's 14 tiles, gradient by channels
//   U   [blocks of outputs][36][C][lanes of the block]  read from front to back; for SplitProduct in its own order
//   M   [blocks of outputs][36][tiles][lanes of the block]
//
// Channels are padded with zeros to whole panels, outputs to whole vectors. The planes of the 36 points lie an odd
// number of cache lines apart: a power of two would put all of them into the same cache sets.
#pragma once

#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"
#include "cpu/row_blocks.h"

namespace unet_fast::UNET_FAST_ISA {

// How a convolution is computed. Forward, all schedules of Winograd give the same bits.
enum class ConvPath {
  direct,
  wide,  // a task takes a few tiles through everything
  deep,  // V of many tiles first; then a task takes a block of outputs for them, at all points or at one
};

// The one place that chooses, from the shape, the dtype and args.algorithm, never from the number of threads.
ConvPath conv_path(const ConvReluArgs& args);
ConvPath conv_path(const ConvReluWeightGradArgs& args);

// Whether the products of a layer, forward or for the gradient of x, are SplitProducts. The size of the image does not
// matter, since U is kept for images of all sizes.
bool splits_products(int64_t channels, int64_t outputs);

// Whether Winograd's path takes a second source and the other things that are fused; the direct one does not.
bool conv_fuses(const ConvReluArgs& args);

// For a path that is not direct; float32.
int64_t winograd_packed(const ConvReluArgs& args);  // floats of U
void winograd_pack(const ConvReluArgs& args, float* packed, const Threads& threads);
int64_t winograd_workspace(const ConvReluArgs& args, ConvPath path, int threads);  // floats
void winograd(const ConvReluArgs& args, ConvPath path, const Threads& threads);
int64_t winograd_weight_grad_workspace(const ConvReluWeightGradArgs& args, ConvPath path, int threads);  // floats
void winograd_weight_grad(const ConvReluWeightGradArgs& args, ConvPath path, const Threads& threads);

}  // namespace unet_fast::UNET_FAST_ISA
