// How the result of a convolution is cut into tiles for conv_wgmma.cuh. A tile is 64 output channels x 256 pixels for
// each of two warpgroups, which lie side by side in the channels or on top of each other in the image:
//
//   kChannelGroups = 2: 128 channels x  height x width          kChannelGroups = 1: 64 channels x 2 height x width
#pragma once

#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

struct ConvTile {
  int image, y, x, channel;  // the first pixel and the first channel
};

struct ConvTiles {
  static constexpr int kPixels = 256, kChannels = 64;

  int channel_groups;         // 1 or 2
  int width, height;          // of one warpgroup's part, pixels: width * height = 256
  int images, rows, columns;  // tiles along the images, y and x
  int channel_blocks;

  UNET_FAST_METHOD int tile_height() const { return channel_groups == 2 ? height : 2 * height; }
  UNET_FAST_METHOD int tile_channels() const { return kChannels * channel_groups; }
  UNET_FAST_METHOD int count() const { return images * rows * columns * channel_blocks; }

  // The blocks of channels of the same pixels follow each other, so that these are read once from global memory.
  UNET_FAST_METHOD ConvTile operator[](int index) const {
    const int block = index % channel_blocks;
    index /= channel_blocks;
    const int x = index % columns;
    index /= columns;
    return {index / rows, index % rows * tile_height(), x * width, block * tile_channels()};
  }
};

// The widths to choose from. A multiple of 8, so that a row of pixels is whole groups of 1024 bytes in shared memory;
// and what the slabs of conv_wgmma.cuh hold: (height + 2) rows up to 384 pixels, or (2 height + 2) rows up to 576.
constexpr int kConvTileWidths[] = {32, 16, 8, 64};
constexpr int kConvPooledWidth = 32;  // where 2 x 2 pixels are pooled: the four then lie in one thread's registers

// The tiles that cover height x width pixels of `images` images with the fewest tiles; the first of these in the table.
inline ConvTiles conv_tiles(int64_t images, int64_t height, int64_t width, int64_t channels, bool pools) {
  ConvTiles best = {};
  for (const int tile_width : kConvTileWidths) {
    ConvTiles tiles = {};
    tiles.channel_groups = channels > ConvTiles::kChannels ? 2 : 1;
    tiles.width = tile_width;
    tiles.height = ConvTiles::kPixels / tile_width;
    if ((pools && tile_width != kConvPooledWidth) || (tiles.channel_groups == 1 && tile_width > 32)) continue;
    const auto pieces = [](int64_t length, int piece) { return static_cast<int>((length + piece - 1) / piece); };
    tiles.images = static_cast<int>(images);
    tiles.rows = pieces(height, tiles.tile_height());
    tiles.columns = pieces(width, tiles.width);
    tiles.channel_blocks = pieces(channels, tiles.tile_channels());
    if (best.width == 0 || tiles.count() < best.count()) best = tiles;
  }
  return best;
}

}  // namespace unet_fast
