// conv_relu by conv_mma.cuh.
#include "cuda/conv_mma.cuh"
#include "cuda/conv_relu_paths.h"

namespace unet_fast {
namespace {

template <int kOutputs>
const char* launch_conv(ConvMma conv, const Stream& stream) {
  conv.blocks = static_cast<int>((conv.args.out_channels + kOutputs - 1) / kOutputs);
  const int64_t tiles = conv.args.images * conv.rows * conv.columns * conv.blocks;
  return launch(conv_mma_kernel<kOutputs>, dim3(static_cast<unsigned>(tiles)), dim3(kMmaThreads),
                kMmaStages * kMmaStageBytes<kOutputs>, stream, conv);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* conv_relu_mma(const ConvReluArgs& args, const Stream& stream) {
  const auto pieces = [](int64_t length, int piece) { return static_cast<int>((length + piece - 1) / piece); };
  ConvMma conv = {};
  conv.args = args;
  conv.out_height = static_cast<int>(args.height + 2 * args.padding - 2);
  conv.out_width = static_cast<int>(args.width + 2 * args.padding - 2);
  conv.rows = pieces(conv.out_height, kMmaHeight);
  conv.columns = pieces(conv.out_width, kMmaWidth);
  conv.chunks = pieces(args.in_channels, kMmaChunk);
  conv.skip_chunks = pieces(args.skip.channels, kMmaChunk);
  return args.out_channels > 64 ? launch_conv<128>(conv, stream) : launch_conv<64>(conv, stream);
}

}  // namespace unet_fast
