// conv_relu by conv_wgmma.cuh. Compiled for sm_90a alone.
#include "cuda/conv_relu_paths.h"
#include "cuda/conv_splits.h"
#include "cuda/conv_wgmma.cuh"

namespace unet_fast {
namespace {

int64_t magnitude(int64_t value) { return value < 0 ? -value : value; }

// The tensor maps of what a layer reads and writes. Maps of what it does not have stay as they are: nobody reads them.
const char* encode_maps(const ConvReluArgs& args, ConvWgmma& conv) {
  const ConvTiles& tiles = conv.tiles;
  const int slab_height = tiles.tile_height() + 2;
  const int64_t in_channels = args.in_channels + args.skip.channels;
  const int64_t height = args.height + 2 * args.padding - 2, width = args.width + 2 * args.padding - 2;
  const int64_t y_height = height - 2 * args.crop, y_width = width - 2 * args.crop;
  // A rotated kernel begins at its last tap.
  const auto* first_tap = static_cast<const uint16_t*>(args.weight) +
                          (conv.rotated ? 2 * args.weight_stride_y + 2 * args.weight_stride_x : 0);
  const BoxedTensor weight = {
      first_tap,
      {in_channels, args.out_channels, 3, 3},
      {args.weight_stride_c, args.weight_stride_o, magnitude(args.weight_stride_x), magnitude(args.weight_stride_y)},
      {kChunk, tiles.tile_channels(), 1, 1}};
  const auto half_of = [&](const void* data, int64_t channels) {
    return boxed_images(data, args.images, y_height, y_width, channels, tiles.height / 2, tiles.width);
  };
  if (const char* error = encode(weight, conv.weight)) return error;
  if (const char* error =
          encode(boxed_images(args.x, args.images, args.height, args.width, args.in_channels, slab_height, tiles.width),
                 conv.x)) {
    return error;
  }
  if (args.skip.data) {
    const BoxedTensor skip = boxed_images(args.skip.data, args.images, args.height, args.width, args.skip.channels,
                                          args.skip.row_stride, args.skip.image_stride, slab_height, tiles.width);
    if (const char* error = encode(skip, conv.skip)) return error;
  }
  if (const char* error = encode(half_of(args.y, conv.y_channels), conv.y)) return error;
  if (args.y_rest) {
    if (const char* error = encode(half_of(args.y_rest, args.out_channels - conv.y_channels), conv.rest)) return error;
  }
  if (!args.pooled) return nullptr;
  return encode(boxed_images(args.pooled, args.images, height / 2, width / 2, args.out_channels, tiles.height / 2,
                             tiles.width / 2),
                conv.pooled);
}

// Everything but the tensor maps and the workspace.
ConvWgmma plan(const ConvReluArgs& args) {
  const auto chunks_of = [](int64_t channels) { return static_cast<int>((channels + kChunk - 1) / kChunk); };
  ConvWgmma conv = {};
  const int64_t height = args.height + 2 * args.padding - 2, width = args.width + 2 * args.padding - 2;
  conv.tiles = conv_tiles(args.images, height, width, args.out_channels, args.pooled != nullptr);
  conv.chunks = chunks_of(args.in_channels);
  conv.skip_chunks = chunks_of(args.skip.channels);
  conv.in_channels = static_cast<int>(args.in_channels);
  conv.padding = static_cast<int>(args.padding);
  conv.crop = static_cast<int>(args.crop);
  conv.rotated = args.weight_stride_x < 0;
  conv.relu = args.relu;
  conv.pools = args.pooled != nullptr;
  conv.has_rest = args.y_rest != nullptr;
  conv.bias = args.bias;
  conv.mask = args.mask;
  conv.out_channels = static_cast<int>(args.out_channels);
  conv.y_channels = static_cast<int>(args.y_rest ? args.y_channels : args.out_channels);
  conv.height = static_cast<int>(height), conv.width = static_cast<int>(width);
  conv.splits = conv_splits(conv.tiles.count(), conv.chunks + int64_t{conv.skip_chunks});
  return conv;
}

template <class T, int kChannelGroups>
const char* launch_conv(const ConvWgmma& conv, const Stream& stream) {
  const int blocks = device_traits(stream.device).multiprocessors, parts = conv.tiles.count() * conv.splits;
  return launch(conv_wgmma_kernel<T, kChannelGroups>, dim3(parts < blocks ? parts : blocks), dim3(kConvThreads),
                ConvShared<kChannelGroups>::kBytes, stream, conv);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t conv_relu_wgmma_workspace(const ConvReluArgs& args) { return conv_splits_workspace(args, plan(args).splits); }

const char* conv_relu_wgmma(const ConvReluArgs& args, const Stream& stream) {
  ConvWgmma conv = plan(args);
  conv.partial = args.workspace;
  if (const char* error = encode_maps(args, conv)) return error;
  const char* error = nullptr;
  visit_half_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    error = conv.tiles.channel_groups == 2 ? launch_conv<T, 2>(conv, stream) : launch_conv<T, 1>(conv, stream);
  });
  return error || conv.splits == 1 ? error : add_conv_splits(args, conv.splits, stream);
}

}  // namespace unet_fast
