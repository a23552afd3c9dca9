// The ways to compute conv_relu and the gradient of its weight on CUDA. conv_relu_paths.cu holds the tables that
// choose.
#pragma once

#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"

namespace unet_fast {

const char* conv_relu_direct(const ConvReluArgs& args, const Stream& stream);
const char* conv_relu_few_channels(const ConvReluArgs& args, const Stream& stream);
const char* conv_relu_mma(const ConvReluArgs& args, const Stream& stream);
const char* conv_relu_wgmma(const ConvReluArgs& args, const Stream& stream);
int64_t conv_relu_mma_workspace(const ConvReluArgs& args);    // floats
int64_t conv_relu_wgmma_workspace(const ConvReluArgs& args);  // floats

const char* conv_relu_weight_grad_direct(const ConvReluWeightGradArgs& args, const Stream& stream);
const char* conv_relu_weight_grad_few_channels(const ConvReluWeightGradArgs& args, const Stream& stream);
const char* conv_relu_weight_grad_mma(const ConvReluWeightGradArgs& args, const Stream& stream);
const char* conv_relu_weight_grad_wgmma(const ConvReluWeightGradArgs& args, const Stream& stream);
int64_t conv_relu_weight_grad_direct_workspace(const ConvReluWeightGradArgs& args);        // floats
int64_t conv_relu_weight_grad_few_channels_workspace(const ConvReluWeightGradArgs& args);  // floats
int64_t conv_relu_weight_grad_mma_workspace(const ConvReluWeightGradArgs& args);           // floats
int64_t conv_relu_weight_grad_wgmma_workspace(const ConvReluWeightGradArgs& args);         // floats

// Null, or why few_channels.cu cannot compute this.
const char* few_channels_refuses(const ConvReluArgs& args);
const char* few_channels_refuses(const ConvReluWeightGradArgs& args);

}  // namespace unet_fast
