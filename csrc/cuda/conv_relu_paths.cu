// The one place that chooses how conv_relu and the gradient of its weight are computed on CUDA.
#include "cuda/conv_relu_paths.h"

#include <algorithm>
#include <type_traits>

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

#ifdef UNET_FAST_SM90A
constexpr bool kHasWgmma = true;
#else
constexpr bool kHasWgmma = false;
#endif

// What tensor cores ask for.
struct Layer {
  int capability;  // of the GPU
  DType dtype;
  bool gated, by_name;  // by_name: not `automatic`
  int64_t images, height, width;
  int64_t channels[4];  // of all tensors
  int64_t skip_strides[2];
  const void* pointers[7];
};

const char* tensor_cores_refuse(const Layer& layer) {
  if (layer.capability < 80) return "is for GPUs of compute capability 8.0 or later";
  if (layer.gated) return "takes a gradient that went through its gate before";
  for (const int64_t channels : layer.channels) {
    if (channels % 8) return "is for numbers of channels that are multiples of 8";
  }
  for (const int64_t stride : layer.skip_strides) {
    if (stride % 8) return "is for a skip whose rows are multiples of 8 values apart";
  }
  // 16 bytes are what TMA, cp.async and a vector store move at once.
  for (const void* pointer : layer.pointers) {
    if (reinterpret_cast<uintptr_t>(pointer) % 16) return "is for tensors that begin at multiples of 16 bytes";
  }
  constexpr int64_t kMaxPixels = int64_t{1} << 31;  // pixels are numbered by int
  if (layer.images * (layer.height + 2) * (layer.width + 2) >= kMaxPixels) return "is for less than 2^31 pixels";
  return nullptr;
}

const char* half_refuses(const Layer& layer) {
  const bool is_half = layer.dtype == DType::bfloat16 || layer.dtype == DType::float16;
  return is_half ? tensor_cores_refuse(layer) : "is for bfloat16 and float16";
}

const char* mma_refuses(const Layer& layer) {
  const bool rounds = layer.dtype == DType::float32 && !layer.by_name;
  return rounds ? "rounds float32 to TF32 only where it is asked for by its name" : tensor_cores_refuse(layer);
}

const char* wgmma_refuses(const Layer& layer) {
  if (layer.capability != 90) return "is for GPUs of compute capability 9.0";
  if (!kHasWgmma) return "is for builds whose CMAKE_CUDA_ARCHITECTURES hold 90a";
  return half_refuses(layer);
}

template <class Args>
Layer layer_of(const Args& args, int device) {
  Layer layer = {device_traits(device).capability,
                 args.dtype,
                 args.gate != nullptr,
                 args.algorithm != ConvAlgorithm::automatic,
                 args.images,
                 args.height,
                 args.width,
                 {args.in_channels, args.skip.channels, args.out_channels},
                 {args.skip.row_stride, args.skip.image_stride},
                 {args.x, args.skip.data}};
  if constexpr (std::is_same_v<Args, ConvReluArgs>) {
    layer.channels[3] = args.y_rest ? args.y_channels : 0;
    const void* const results[] = {args.weight, args.y, args.y_rest, args.pooled, args.mask};
    for (int i = 0; i < 5; ++i) layer.pointers[2 + i] = results[i];
  } else {
    layer.pointers[2] = args.grad;
  }
  return layer;
}

template <class Args, const char* (*refuses)(const Layer&)>
const char* refuses_layer(const Args& args, int device) {
  return refuses(layer_of(args, device));
}

template <class Args>
struct Path {
  ConvAlgorithm algorithm;
  const char* (*refuses)(const Args& args, int device);
  const char* (*run)(const Args& args, const Stream& stream);
};

const char* run_wgmma(const ConvReluArgs& args, const Stream& stream) {
  if constexpr (kHasWgmma) return conv_relu_wgmma(args, stream);
  return nullptr;
}

const char* run_wgmma(const ConvReluWeightGradArgs& args, const Stream& stream) {
  if constexpr (kHasWgmma) return conv_relu_weight_grad_wgmma(args, stream);
  return nullptr;
}

// `automatic` takes the first that does not refuse. Wherever tensor cores can be used they are: even a chunk of 64
// channels of which 8 are there costs less than its products one by one.
constexpr Path<ConvReluArgs> kPaths[] = {
    {ConvAlgorithm::wgmma, refuses_layer<ConvReluArgs, wgmma_refuses>, run_wgmma},
    {ConvAlgorithm::mma, refuses_layer<ConvReluArgs, mma_refuses>, conv_relu_mma},
    {ConvAlgorithm::direct, [](const ConvReluArgs& args, int) { return few_channels_refuses(args); },
     conv_relu_few_channels},
    {ConvAlgorithm::direct,
     [](const ConvReluArgs& args, int) -> const char* {
       const bool is_fused = args.skip.data || args.crop || args.pooled || args.y_rest;
       return is_fused ? "neither reads a skip, nor crops, nor pools" : nullptr;
     },
     conv_relu_direct},
};

constexpr Path<ConvReluWeightGradArgs> kWeightGradPaths[] = {
    {ConvAlgorithm::wgmma, refuses_layer<ConvReluWeightGradArgs, wgmma_refuses>, run_wgmma},
    {ConvAlgorithm::mma, refuses_layer<ConvReluWeightGradArgs, mma_refuses>, conv_relu_weight_grad_mma},
    {ConvAlgorithm::direct, [](const ConvReluWeightGradArgs& args, int) { return few_channels_refuses(args); },
     conv_relu_weight_grad_few_channels},
    {ConvAlgorithm::direct, [](const ConvReluWeightGradArgs&, int) -> const char* { return nullptr; },
     conv_relu_weight_grad_direct},
};

// A path, or why there is none.
template <class Args>
struct Choice {
  const Path<Args>* path = nullptr;
  const char* refusal = "is not for CUDA";
};

template <class Args, size_t kCount>
Choice<Args> choose(const Path<Args> (&paths)[kCount], const Args& args, int device) {
  Choice<Args> choice;
  for (const Path<Args>& path : paths) {
    if (args.algorithm != ConvAlgorithm::automatic && args.algorithm != path.algorithm) continue;
    choice.refusal = path.refuses(args, device);
    if (!choice.refusal) {
      choice.path = &path;
      break;
    }
  }
  return choice;
}

Choice<ConvReluArgs> choose(const ConvReluArgs& args, int device) { return choose(kPaths, args, device); }

Choice<ConvReluWeightGradArgs> choose(const ConvReluWeightGradArgs& args, int device) {
  return choose(kWeightGradPaths, args, device);
}

template <class Args>
const char* run(const Args& args, const Stream& stream) {
  const Choice<Args> choice = choose(args, stream.device);
  return choice.path ? choice.path->run(args, stream) : choice.refusal;
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* conv_relu_cuda_refuses(const ConvReluArgs& args, int device) { return choose(args, device).refusal; }

ConvAlgorithm conv_relu_cuda_algorithm(const ConvReluArgs& args, int device) {
  const Choice<ConvReluArgs> choice = choose(args, device);
  return choice.path ? choice.path->algorithm : ConvAlgorithm::automatic;
}

bool conv_relu_cuda_fuses(const ConvReluArgs& args, int device) {
  const ConvAlgorithm algorithm = conv_relu_cuda_algorithm(args, device);
  return algorithm == ConvAlgorithm::mma || algorithm == ConvAlgorithm::wgmma;
}

// Enough for each path, like the next.
int64_t conv_relu_cuda_workspace(const ConvReluArgs& args) {
  const int64_t mma = conv_relu_mma_workspace(args);
  if constexpr (kHasWgmma) return std::max(mma, conv_relu_wgmma_workspace(args));
  return mma;
}

const char* conv_relu_cuda(const ConvReluArgs& args, const Stream& stream) {
  return args.images == 0 ? nullptr : run(args, stream);
}

const char* conv_relu_weight_grad_cuda_refuses(const ConvReluWeightGradArgs& args, int device) {
  return choose(args, device).refusal;
}

int64_t conv_relu_weight_grad_cuda_workspace(const ConvReluWeightGradArgs& args) {
  int64_t floats = std::max(conv_relu_weight_grad_direct_workspace(args), conv_relu_weight_grad_mma_workspace(args));
  if (!few_channels_refuses(args)) floats = std::max(floats, conv_relu_weight_grad_few_channels_workspace(args));
  if constexpr (kHasWgmma) return std::max(floats, conv_relu_weight_grad_wgmma_workspace(args));
  return floats;
}

const char* conv_relu_weight_grad_cuda(const ConvReluWeightGradArgs& args, const Stream& stream) {
  return args.images == 0 ? conv_relu_weight_grad_direct(args, stream) : run(args, stream);
}

}  // namespace unet_fast
