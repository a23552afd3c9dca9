// The argument `algorithm` of conv_relu and of its gradients.
#pragma once

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

}  // namespace unet_fast
