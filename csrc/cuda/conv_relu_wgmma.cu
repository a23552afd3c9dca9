// conv_relu by conv_wgmma.cuh. Compiled for sm_90a alone.
#include "cuda/conv_relu_paths.h"
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
  const auto* first_tap = static_cast<const BFloat16*>(args.weight) +
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

template <int kChannelGroups>
const char* launch_conv(const ConvWgmma& conv, const Stream& stream) {
  const int blocks = device_traits(stream.device).multiprocessors, tiles = conv.tiles.count();
  return launch(conv_wgmma_kernel<kChannelGroups>, dim3(tiles < blocks ? tiles : blocks), dim3(kConvThreads),
                ConvShared<kChannelGroups>::kBytes, stream, conv);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* conv_relu_wgmma(const ConvReluArgs& args, const Stream& stream) {
  const auto chunks_of = [](int64_t channels) { return static_cast<int>((channels + kChunk - 1) / kChunk); };
  ConvWgmma conv = {};
  conv.tiles = conv_tiles(args.images, args.height + 2 * args.padding - 2, args.width + 2 * args.padding - 2,
                          args.out_channels, args.pooled != nullptr);
  conv.chunks = chunks_of(args.in_channels);
  conv.skip_chunks = chunks_of(args.skip.channels);
  conv.in_channels = static_cast<int>(args.in_channels);
  conv.padding = static_cast<int>(args.padding);
  conv.crop = static_cast<int>(args.crop);
  conv.rotated = args.weight_stride_x < 0;
  conv.relu = args.relu;
  conv.pools = args.pooled != nullptr;
  conv.has_rest = args.y_rest != nullptr;
  conv.bias = static_cast<const BFloat16*>(args.bias);
  conv.out_channels = static_cast<int>(args.out_channels);
  conv.y_channels = static_cast<int>(args.y_rest ? args.y_channels : args.out_channels);
  if (const char* error = encode_maps(args, conv)) return error;
  return conv.tiles.channel_groups == 2 ? launch_conv<2>(conv, stream) : launch_conv<1>(conv, stream);
}

}  // namespace unet_fast
