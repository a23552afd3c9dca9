// The arguments `algorithm` and `skip` of conv_relu and of its gradients.
#pragma once

#include <optional>
#include <string>

#include "binding/check.h"
#include "ops/conv_relu.h"

namespace unet_fast {

// `where` is the tensor whose dtype and device must allow the algorithm; what CUDA's ask beyond that, see below.
inline ConvAlgorithm algorithm_of(const Check& check, const std::string& name, const Tensor& where) {
  if (name == "auto") return ConvAlgorithm::automatic;
  if (name == "direct") return ConvAlgorithm::direct;
  const bool is_winograd = name == "winograd", is_mma = name == "mma";
  check.that(is_winograd || is_mma || name == "wgmma", "algorithm",
             "\"auto\", \"direct\", \"winograd\", \"mma\" or \"wgmma\"", '"' + name + '"');
  const bool is_on_cpu = where.device < 0, is_float32 = where.dtype == DType::float32;
  check.that(is_on_cpu == is_winograd && (is_mma || is_float32 == is_winograd), "algorithm",
             "\"auto\" or \"direct\", as \"" + name + "\" is for " +
                 (is_winograd ? "float32 on the CPU"
                  : is_mma    ? "CUDA"
                              : "bfloat16 and float16 on CUDA"),
             '"' + name + "\" for " + name_of(where.dtype) + (is_on_cpu ? " on the CPU" : " on CUDA"));
  return is_winograd ? ConvAlgorithm::winograd : is_mma ? ConvAlgorithm::mma : ConvAlgorithm::wgmma;
}

inline const char* name_of(ConvAlgorithm algorithm) {
  switch (algorithm) {
    case ConvAlgorithm::automatic: return "auto";
    case ConvAlgorithm::direct: return "direct";
    case ConvAlgorithm::winograd: return "winograd";
    case ConvAlgorithm::mma: return "mma";
    case ConvAlgorithm::wgmma: return "wgmma";
  }
  return "";
}

// On CUDA: whether the algorithm can be had for these shapes, on this GPU and with this build.
template <class Args>
void check_algorithm(const Check& check, const std::string& name, const Args& args, const Tensor& where,
                     const char* (*refuses)(const Args& args, int device)) {
  if (where.device < 0) return;
  const char* refusal = refuses(args, where.device);
  check.that(!refusal, "algorithm", "one that can compute this", '"' + name + "\", which " + (refusal ? refusal : ""));
}

// The window of a batch of images that is read beside x.
inline SkipWindow skip_of(const Check& check, const std::optional<Tensor>& skip, const Tensor& x) {
  if (!skip) return {};
  check.dims(*skip, "skip", 4, "[N, C, H, W]");
  check.shape(*skip, "skip", {x.size[0], skip->size[1], x.size[2], x.size[3]});
  check.that(skip->stride[1] == 1 && skip->stride[3] == skip->size[1], "skip",
             "channels_last memory, or a window of it",
             "strides of " + std::to_string(skip->stride[1]) + " and " + std::to_string(skip->stride[3]) +
                 " from channel to channel and from pixel to pixel");
  check.dtype(*skip, "skip", {x.dtype});
  check.device(*skip, "skip", x, "x");
  return {
      .data = skip->data,
      .channels = skip->size[1],
      .row_stride = skip->stride[2],
      .image_stride = skip->stride[0],
  };
}

}  // namespace unet_fast
