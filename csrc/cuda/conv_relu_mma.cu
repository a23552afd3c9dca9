// conv_relu by conv_mma.cuh.
#include "cuda/conv_mma.cuh"
#include "cuda/conv_relu_paths.h"

namespace unet_fast {
namespace {

ConvMma plan(const ConvReluArgs& args) {
  ConvMma conv = plan_conv_mma(args, args.height + 2 * args.padding - 2, args.width + 2 * args.padding - 2,
                               args.out_channels, args.out_channels > 64 ? 128 : 64);
  conv.splits =
      conv_splits(args.images * conv.rows * conv.columns * conv.blocks, conv.chunks + int64_t{conv.skip_chunks});
  return conv;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

int64_t conv_relu_mma_workspace(const ConvReluArgs& args) { return conv_splits_workspace(args, plan(args).splits); }

const char* conv_relu_mma(const ConvReluArgs& args, const Stream& stream) {
  const ConvMma conv = plan(args);
  const char* error = nullptr;
  visit_cuda_float_type(args.dtype, [&](auto type) {
    using T = decltype(type);
    error = args.out_channels > 64 ? launch_conv_mma<T, 128, 3>(conv, stream) : launch_conv_mma<T, 64, 3>(conv, stream);
  });
  return error || conv.splits == 1 ? error : add_conv_splits(args, conv.splits, stream);
}

}  // namespace unet_fast
