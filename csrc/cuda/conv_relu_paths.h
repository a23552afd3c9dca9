// The ways to compute conv_relu on CUDA. conv_relu_paths.cu holds the one table that chooses.
#pragma once

#include "ops/conv_relu.h"

namespace unet_fast {

const char* conv_relu_direct(const ConvReluArgs& args, const Stream& stream);
const char* conv_relu_mma(const ConvReluArgs& args, const Stream& stream);
const char* conv_relu_wgmma(const ConvReluArgs& args, const Stream& stream);

struct ConvChoice {
  ConvAlgorithm algorithm;  // never automatic
  const char* refusal;      // null, or why the algorithm that was asked for cannot be had
};

ConvChoice choose_conv(const ConvReluArgs& args, int device);

}  // namespace unet_fast
