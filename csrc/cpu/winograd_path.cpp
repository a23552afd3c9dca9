// The one place that chooses how a convolution is computed on the CPU.
#include "cpu/few_channels.h"
#include "cpu/split_product.h"
#include "cpu/winograd.h"
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

struct Shape {
  ConvAlgorithm algorithm;
  DType dtype;
  int64_t images, out_height, out_width, in_channels, out_channels;
  bool fused;  // takes on what the direct algorithm cannot
};

Shape shape_of(const ConvReluArgs& args) {
  return {.algorithm = args.algorithm,
          .dtype = args.dtype,
          .images = args.images,
          .out_height = args.height + 2 * args.padding - 2,
          .out_width = args.width + 2 * args.padding - 2,
          .in_channels = args.in_channels + args.skip.channels,
          .out_channels = args.out_channels,
          .fused = args.skip.data || args.pooled || args.crop || args.y_rest || args.first};
}

// Whether the layer is one for Winograd's algorithm, whatever the size of its image.
bool suits(const Shape& shape) {
  if (shape.algorithm == ConvAlgorithm::direct || shape.dtype != DType::float32) return false;
  // Thin layers: half a vector would be padding, and the transforms cost as much as the multiplications that they save.
  // From 16 channels on, each instruction set gains.
  return shape.algorithm == ConvAlgorithm::winograd || smaller(shape.in_channels, shape.out_channels) >= 16;
}

ConvPath choose(const Shape& shape) {
  if (!suits(shape)) return ConvPath::direct;
  const TileGrid grid(shape.images, shape.out_height, shape.out_width);
  if (grid.count() == 0) return ConvPath::direct;
  // Small images: tiles most of which is cut off.
  const int64_t pixels = shape.images * shape.out_height * shape.out_width;
  const bool small = 2 * pixels < kTileOut * kTileOut * grid.count();
  if (small && !shape.fused && shape.algorithm == ConvAlgorithm::automatic) return ConvPath::direct;
  // U outgrows the second-level cache at 256 x 256 channels (9 MB); V of a wide image outgrows it more.
  const bool deep = shape.in_channels * shape.out_channels >= 256 * 256;
  return deep && grid.rows * grid.columns <= 24 * 24 ? ConvPath::deep : ConvPath::wide;
}

}  // namespace

ConvPath conv_path(const ConvReluArgs& args) { return choose(shape_of(args)); }

bool splits_products(int64_t channels, int64_t outputs) {
  // In the thinnest layers half of a panel would be padding; in layers of medium width, V and U are moved as long as
  // the products take; in the widest, U, half as large again, would come from main memory.
  const bool pays = channels > kPanel && outputs <= 512 && (channels <= 64 || channels + outputs >= 384);
  return kSplitProducts && pays;
}

bool conv_fuses(const ConvReluArgs& args) {
  const bool panels_are_whole = !args.skip.data || args.in_channels % kPanel == 0;
  const bool makes_first = !args.first || (takes_few_channels(*args.first) && conv_path(args) == ConvPath::wide);
  return suits(shape_of(args)) && panels_are_whole && makes_first;
}

ConvPath conv_path(const ConvReluWeightGradArgs& args) {
  return choose({args.algorithm, args.dtype, args.images, args.height - 2, args.width - 2,
                 args.in_channels + args.skip.channels, args.out_channels, args.skip.data != nullptr});
}

}  // namespace unet_fast::UNET_FAST_ISA
