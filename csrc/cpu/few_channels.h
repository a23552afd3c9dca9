// The network's first layer: conv_relu of an image of 1 to 4 channels, whose 9 C products a value cost less than the
// memory for it. Lanes are outputs. Forward, a block of pixels is summed in registers and written once, from front to
// back; the gradient of the weight reads the gradient of the result once.
#pragma once

#include "core/parallel.h"
#include "ops/conv_relu.h"
#include "ops/conv_relu_weight_grad.h"

namespace unet_fast::UNET_FAST_ISA {

// float32, C <= 4, no padding, no gate.
bool takes_few_channels(const ConvReluArgs& args);
int64_t few_channels_workspace(const ConvReluArgs& args);  // floats
void few_channels(const ConvReluArgs& args, const Threads& threads);

// float32, C so small that all sums of a vector of outputs fit into the registers. The sums run over fixed chunks of
// rows and then over the chunks.
bool takes_few_channels(const ConvReluWeightGradArgs& args);
int64_t few_channels_weight_grad_workspace(const ConvReluWeightGradArgs& args);  // floats
void few_channels_weight_grad(const ConvReluWeightGradArgs& args, const Threads& threads);

}  // namespace unet_fast::UNET_FAST_ISA
