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
  grad.sums.shares =
      weight_grad_shares(int64_t{grad.images} * grad.rows * grad.columns, grad.out_blocks * grad.in_blocks);
  grad.sums.taps = 9;
  grad.sums.rows = grad.sums.biases = args.out_channels;
  grad.sums.columns = args.in_channels + args.skip.channels;
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
  return plan(args).sums.workspace();
}

const char* conv_relu_weight_grad_wgmma(const ConvReluWeightGradArgs& args, const Stream& stream) {
  WeightGradWgmma grad = plan(args);
  grad.sums.take(args.workspace);
  if (const char* error = encode_maps(args, grad)) return error;
  const dim3 blocks(static_cast<unsigned>(grad.sums.shares * grad.out_blocks * grad.in_blocks));
  const char* error = nullptr;
  visit_half_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    error = launch(weight_grad_wgmma_kernel<T>, blocks, dim3(kGradThreads), kGradSharedBytes, stream, grad);
    if (!error) error = finish_weight_grad<T>(grad.sums, args.grad_weight, args.grad_bias, stream);
  });
  return error;
}

}  // namespace unet_fast
