// Convolutions of fewer tiles than a GPU has multiprocessors, deep layers of one image: several blocks share a tile's
// sum over the input channels. Their parts are added in their order by conv_splits.cu: the same bits each time.
#pragma once

#include "ops/conv_relu.h"

namespace unet_fast {

// Into how many parts: as many as fill an H100 once, each of at least two chunks of input channels, since what is
// written and read again costs about as much. By the shape alone: the same bits on every GPU.
inline int conv_splits(int64_t tiles, int64_t chunks) {
  constexpr int64_t kBlocks = 132, kLeastChunks = 2;
  const int64_t most = chunks / kLeastChunks, splits = tiles > 0 ? kBlocks / tiles : 1;
  return static_cast<int>(splits < 1 || most < 1 ? 1 : splits < most ? splits : most);
}

// The parts lie in args.workspace, [splits, N, H', W', O] before y is cropped; none where there is one part.
inline int64_t conv_splits_workspace(const ConvReluArgs& args, int splits) {
  const int64_t height = args.height + 2 * args.padding - 2, width = args.width + 2 * args.padding - 2;
  return splits == 1 ? 0 : splits * args.images * height * width * args.out_channels;
}

// From the parts to y, y_rest and pooled.
const char* add_conv_splits(const ConvReluArgs& args, int splits, const Stream& stream);

}  // namespace unet_fast
