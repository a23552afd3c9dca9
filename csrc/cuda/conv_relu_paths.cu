// The one place that chooses how conv_relu is computed on CUDA.
#include "cuda/conv_relu_paths.h"

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

#ifdef UNET_FAST_SM90A
constexpr bool kHasWgmma = true;
#else
constexpr bool kHasWgmma = false;
#endif

// 16 bytes are what TMA, cp.async and a vector store move at once.
bool is_aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

const char* tensor_cores_refuse(const ConvReluArgs& args, int capability) {
  if (capability < 80) return "is for GPUs of compute capability 8.0 or later";
  if (args.dtype != DType::bfloat16) return "is for bfloat16";
  if (args.gate) return "takes a gradient that went through its gate before";
  const int64_t skip = args.skip.channels;
  if (args.in_channels % 8 || skip % 8 || args.out_channels % 8 || (args.y_rest && args.y_channels % 8)) {
    return "is for numbers of channels that are multiples of 8";
  }
  if (skip && (args.skip.row_stride % 8 || args.skip.image_stride % 8)) {
    return "is for a skip whose rows are multiples of 8 values apart";
  }
  for (const void* pointer : {args.x, args.skip.data, args.weight, const_cast<const void*>(args.y),
                              const_cast<const void*>(args.y_rest), const_cast<const void*>(args.pooled)}) {
    if (!is_aligned(pointer)) return "is for tensors that begin at multiples of 16 bytes";
  }
  constexpr int64_t kMaxPixels = int64_t{1} << 31;  // pixels are numbered by int
  if (args.images * (args.height + 2) * (args.width + 2) >= kMaxPixels) return "is for less than 2^31 pixels";
  return nullptr;
}

const char* wgmma_refuses(const ConvReluArgs& args, int capability) {
  if (capability != 90) return "is for GPUs of compute capability 9.0";
  if (!kHasWgmma) return "is for builds whose CMAKE_CUDA_ARCHITECTURES hold 90a";
  return tensor_cores_refuse(args, capability);
}

const char* direct_refuses(const ConvReluArgs& args, int) {
  const bool is_fused = args.skip.data || args.crop || args.pooled || args.y_rest;
  return is_fused ? "neither reads a skip, nor crops, nor pools" : nullptr;
}

const char* winograd_refuses(const ConvReluArgs&, int) { return "is for the CPU"; }

struct Path {
  ConvAlgorithm algorithm;
  const char* (*refuses)(const ConvReluArgs& args, int capability);
};

// `automatic` takes the first that does not refuse. Wherever tensor cores can be used they are: even a chunk of 64
// channels of which 8 are there costs less than its products one by one.
constexpr Path kPaths[] = {
    {ConvAlgorithm::wgmma, wgmma_refuses},
    {ConvAlgorithm::mma, tensor_cores_refuse},
    {ConvAlgorithm::direct, direct_refuses},
    {ConvAlgorithm::winograd, winograd_refuses},
};

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

ConvChoice choose_conv(const ConvReluArgs& args, int device) {
  const int capability = device_traits(device).capability;
  const char* refusal = nullptr;
  for (const Path& path : kPaths) {
    if (args.algorithm != ConvAlgorithm::automatic && args.algorithm != path.algorithm) continue;
    refusal = path.refuses(args, capability);
    if (!refusal) return {path.algorithm, nullptr};
  }
  return {args.algorithm, refusal};
}

const char* conv_relu_cuda_refuses(const ConvReluArgs& args, int device) { return choose_conv(args, device).refusal; }

bool conv_relu_cuda_fuses(const ConvReluArgs& args, int device) {
  const ConvChoice choice = choose_conv(args, device);
  return !choice.refusal && choice.algorithm != ConvAlgorithm::direct;
}

const char* conv_relu_cuda(const ConvReluArgs& args, const Stream& stream) {
  const ConvChoice choice = choose_conv(args, stream.device);
  if (choice.refusal) return choice.refusal;
  if (args.images == 0) return nullptr;
  if (choice.algorithm == ConvAlgorithm::direct) return conv_relu_direct(args, stream);
  if constexpr (kHasWgmma) {
    if (choice.algorithm == ConvAlgorithm::wgmma) return conv_relu_wgmma(args, stream);
  }
  return conv_relu_mma(args, stream);
}

}  // namespace unet_fast
