// conv_relu_weight_grad by conv_weight_grad_wgmma.cuh. Compiled for sm_90a alone.
#include "cuda/conv_relu_paths.h"
#include "cuda/conv_weight_grad_wgmma.cuh"

namespace unet_fast {
namespace {

// The tile of 128 pixels of which the fewest cover the images; its width a multiple of 8, at most 32 (see kSlabBytes).
void choose_tile(const ConvReluWeightGradArgs& args, WeightGradWgmma& grad) {
  const auto pieces = [](int64_t length, int piece) { return static_cast<int>((length + piece - 1) / piece); };
  for (const int width : {16, 32, 8}) {
    const int height = kGradPixels / width;
    const int rows = pieces(args.height - 2, height), columns = pieces(args.width - 2, width);
    if (grad.width && rows * columns >= grad.rows * grad.columns) continue;
    grad.height = height, grad.width = width, grad.rows = rows, grad.columns = columns;
  }
  grad.images = static_cast<int>(args.images);
}

WeightGradWgmma plan(const ConvReluWeightGradArgs& args) {
  const auto blocks_of = [](int64_t channels) {
    return static_cast<int>((channels + kGradChannels - 1) / kGradChannels);
  };
  WeightGradWgmma grad = {};
  choose_tile(args, grad);
  grad.out_channels = static_cast<int>(args.out_channels);
  grad.x_channels = static_cast<int>(args.in_channels);
  grad.skip_channels = static_cast<int>(args.skip.channels);
  grad.out_blocks = blocks_of(args.out_channels);
  grad.x_blocks = blocks_of(args.in_channels);
  grad.in_blocks = grad.x_blocks + blocks_of(args.skip.channels);
  // As many shares as fill an H100 once, each of several tiles: what a share writes is more than what a tile reads. By
  // the shape alone: the same bits on every GPU.
  constexpr int kBlocks = 132, kTilesOfShare = 4;
  const int tiles = grad.images * grad.rows * grad.columns, most = tiles / kTilesOfShare;
  const int shares = kBlocks / (grad.out_blocks * grad.in_blocks);
  grad.shares = shares < most ? shares : most;
  if (grad.shares < 1) grad.shares = 1;
  return grad;
}

const char* encode_maps(const ConvReluWeightGradArgs& args, WeightGradWgmma& grad) {
  if (const char* error = encode(boxed_images(args.grad, args.images, args.height - 2, args.width - 2,
                                              args.out_channels, grad.height, grad.width),
                                 grad.grad)) {
    return error;
  }
  const int slab_height = grad.height + 2;
  if (const char* error =
          encode(boxed_images(args.x, args.images, args.height, args.width, args.in_channels, slab_height, grad.width),
                 grad.x)) {
    return error;
  }
  if (!args.skip.data) return nullptr;
  return encode(boxed_images(args.skip.data, args.images, args.height, args.width, args.skip.channels,
                             args.skip.row_stride, args.skip.image_stride, slab_height, grad.width),
                grad.skip);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t conv_relu_weight_grad_wgmma_workspace(const ConvReluWeightGradArgs& args) {
  return plan(args).shares * args.out_channels * (9 * (args.in_channels + args.skip.channels) + 1);
}

const char* conv_relu_weight_grad_wgmma(const ConvReluWeightGradArgs& args, const Stream& stream) {
  WeightGradWgmma grad = plan(args);
  const int64_t channels = args.in_channels + args.skip.channels, weights = 9 * args.out_channels * channels;
  grad.partial = args.workspace;
  grad.bias_partial = args.workspace + grad.shares * weights;
  if (const char* error = encode_maps(args, grad)) return error;
  const dim3 blocks(static_cast<unsigned>(grad.shares * grad.out_blocks * grad.in_blocks));
  if (const char* error =
          launch(weight_grad_wgmma_kernel, blocks, dim3(kGradThreads), kGradSharedBytes, stream, grad)) {
    return error;
  }
  return launch(finish_weight_grad_kernel, grid_for(weights + args.out_channels, kFinishThreads), dim3(kFinishThreads),
                0, stream, grad.partial, grad.bias_partial, grad.shares, args.out_channels, channels,
                static_cast<BFloat16*>(args.grad_weight), static_cast<BFloat16*>(args.grad_bias));
}

}  // namespace unet_fast
