// The arguments `algorithm` and `skip` of conv_relu and of its gradients.
#pragma once

#include <optional>
#include <string>

#include "binding/check.h"
#include "ops/conv_relu.h"

namespace unet_fast {

// `where` is the tensor whose dtype and device must allow the algorithm.
inline ConvAlgorithm algorithm_of(const Check& check, const std::string& name, const Tensor& where) {
  if (name == "auto") return ConvAlgorithm::automatic;
  if (name == "direct") return ConvAlgorithm::direct;
  check.that(name == "winograd", "algorithm", "\"auto\", \"direct\" or \"winograd\"", '"' + name + '"');
  check.that(where.dtype == DType::float32 && where.device < 0, "algorithm",
             "\"auto\" or \"direct\", as \"winograd\" is for float32 on the CPU",
             std::string("\"winograd\" for ") + name_of(where.dtype) + (where.device < 0 ? " on the CPU" : " on CUDA"));
  return ConvAlgorithm::winograd;
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
