// Which path the table of CUDA's convolutions chooses, and the tiles and parts into which a result is cut.
#include <algorithm>
#include <vector>

#include "check.h"
#include "cuda/conv_splits.h"
#include "cuda/conv_tiles.h"
#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"

namespace unet_fast::test {
namespace {

void tiles_cover_every_result_once() {
  for (const int64_t height : {1, 7, 8, 28, 33, 54}) {
    for (const int64_t width : {1, 8, 30, 57, 130}) {
      for (const int64_t channels : {8, 64, 72, 256}) {
        for (const bool pools : {false, true}) {
          const ConvTiles tiles = conv_tiles(2, height, width, channels, pools);
          const std::string name = text(height, " x ", width, ", ", channels, " channels");
          check_equal(tiles.width * tiles.height, ConvTiles::kPixels, name + ": pixels of a warpgroup");
          check(tiles.width % 8 == 0 && (!pools || tiles.width == kConvPooledWidth), name + ": the tile's width");
          const int slab = (tiles.tile_height() + 2) * tiles.width;
          check(slab <= (tiles.channel_groups == 2 ? 384 : 576), name + ": the slab fits");
          std::vector<int> times(2 * height * width * channels);
          for (int i = 0; i < tiles.count(); ++i) {
            const ConvTile tile = tiles[i];
            for (int64_t y = tile.y; y < tile.y + tiles.tile_height() && y < height; ++y) {
              for (int64_t x = tile.x; x < tile.x + tiles.width && x < width; ++x) {
                for (int64_t c = tile.channel; c < tile.channel + tiles.tile_channels() && c < channels; ++c) {
                  ++times[((tile.image * height + y) * width + x) * channels + c];
                }
              }
            }
          }
          check(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }), name + ": each result once");
        }
      }
    }
  }
}

void the_table_chooses() {
  alignas(16) static BFloat16 memory[64];
  ConvReluArgs args = {};
  args.x = args.weight = args.y = memory;
  args.dtype = DType::bfloat16, args.images = 1, args.height = args.width = 5, args.in_channels = 8;
  args.out_channels = 16;
  const auto refusal = [&](ConvAlgorithm algorithm, int capability) -> std::string {
    emulator::use_device(capability, 3);
    args.algorithm = algorithm;
    const char* refusal = conv_relu_cuda_refuses(args, 0);
    return refusal ? refusal : "";
  };
  const auto chosen = [&](int capability) {
    emulator::use_device(capability, 3);
    args.algorithm = ConvAlgorithm::automatic;
    const ConvAlgorithm algorithm = conv_relu_cuda_algorithm(args, 0);
    const bool fuses = algorithm == ConvAlgorithm::mma || algorithm == ConvAlgorithm::wgmma;
    check_equal(conv_relu_cuda_fuses(args, 0), fuses, "tensor cores fuse");
    return algorithm;
  };
  for (const int capability : {80, 86, 89, 90, 100, 120}) {
    for (const DType dtype : {DType::bfloat16, DType::float16}) {
      args.dtype = dtype;
      const bool wanted = chosen(capability) == (capability == 90 ? ConvAlgorithm::wgmma : ConvAlgorithm::mma);
      check(wanted, text("tensor cores of sm_", capability));
    }
    check_equal(refusal(ConvAlgorithm::mma, capability), "", "mma");
    check_equal(refusal(ConvAlgorithm::wgmma, capability),
                capability == 90 ? "" : "is for GPUs of compute capability 9.0", "wgmma");
  }
  check(chosen(75) == ConvAlgorithm::direct, "sm_75 has no bfloat16");
  check_equal(refusal(ConvAlgorithm::winograd, 90), "is not for CUDA", "winograd");
  check_equal(refusal(ConvAlgorithm::automatic, 75), "", "direct takes what nothing else does");
  for (const int64_t channels : {1, 4, 12, 66}) {
    args.in_channels = channels;
    check(chosen(90) == ConvAlgorithm::direct, text(channels, " channels are no multiple of 8"));
  }
  for (const int64_t channels : {8, 24, 72}) {
    args.in_channels = channels;
    check(chosen(90) == ConvAlgorithm::wgmma, text(channels, " channels are filled up with zeros"));
  }
  args.in_channels = 12;
  check_equal(refusal(ConvAlgorithm::wgmma, 90), "is for numbers of channels that are multiples of 8", "12 channels");
  check_equal(refusal(ConvAlgorithm::direct, 90), "", "direct takes 12 channels");
  args.in_channels = 8, args.crop = 1;
  check_equal(refusal(ConvAlgorithm::direct, 90), "neither reads a skip, nor crops, nor pools", "direct crops");
  args.crop = 0, args.x = memory + 1;
  check_equal(refusal(ConvAlgorithm::mma, 90), "is for tensors that begin at multiples of 16 bytes", "alignment");
  args.x = memory, args.dtype = DType::float32;
  check(chosen(90) == ConvAlgorithm::direct, "float32 is rounded only where that is asked for");
  check_equal(refusal(ConvAlgorithm::mma, 90), "", "float32 as TF32");
  check_equal(refusal(ConvAlgorithm::wgmma, 90), "is for bfloat16 and float16", "float32");
  check_equal(text(conv_relu_cuda(args, Stream{})), "is for bfloat16 and float16", "an impossible request is an error");
  emulator::use_device(90, 3);
}

void the_weight_gradients_table_chooses() {
  alignas(16) static BFloat16 memory[64];
  ConvReluWeightGradArgs args = {};
  args.x = args.grad = memory;
  args.images = 1, args.height = args.width = 5, args.in_channels = 8, args.out_channels = 16;
  const auto refusal = [&](DType dtype, ConvAlgorithm algorithm, int capability) -> std::string {
    emulator::use_device(capability, 3);
    args.dtype = dtype, args.algorithm = algorithm;
    const char* refusal = conv_relu_weight_grad_cuda_refuses(args, 0);
    return refusal ? refusal : "";
  };
  check_equal(refusal(DType::float16, ConvAlgorithm::mma, 80), "", "float16 by mma");
  check_equal(refusal(DType::float16, ConvAlgorithm::wgmma, 80), "is for GPUs of compute capability 9.0", "sm_80");
  check_equal(refusal(DType::float32, ConvAlgorithm::mma, 80), "", "float32 as TF32 where mma is asked for");
  check_equal(refusal(DType::float32, ConvAlgorithm::wgmma, 90), "is for bfloat16 and float16", "float32 by wgmma");
  args.gate = memory;
  check_equal(refusal(DType::bfloat16, ConvAlgorithm::mma, 80), "takes a gradient that went through its gate before",
              "gated");
  emulator::use_device(90, 3);
}

// Parts only where tiles leave multiprocessors idle, all of them with something to do, and no more than fit.
void splits_fill_the_gpu() {
  for (const int64_t tiles : {0, 1, 8, 32, 66, 67, 132, 1000}) {
    for (const int64_t chunks : {1, 2, 3, 4, 8, 16, 32}) {
      const int splits = conv_splits(tiles, chunks);
      const std::string name = text(tiles, " tiles, ", chunks, " chunks: ", splits, " parts");
      check(splits == 1 || splits * tiles <= 132, name + " fit at once");
      check(splits == 1 || 2 * splits <= chunks, name + " of at least two chunks");
    }
  }
  check_equal(conv_splits(32, 16), 4, "the deepest layer of one image of the paper's network");
  check_equal(conv_splits(500, 1), 1, "the layers of its top");
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  tiles_cover_every_result_once();
  the_table_chooses();
  the_weight_gradients_table_chooses();
  splits_fill_the_gpu();
  return report();
}
