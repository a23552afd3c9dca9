// The network's first layer: conv_relu of an image of 1 to 4 channels, whose 9 C products a value cost less than the
// memory for it. Lanes are outputs; a block of pixels is summed in registers and written once, from front to back.
#pragma once

#include "core/parallel.h"
#include "ops/conv_relu.h"

namespace unet_fast::UNET_FAST_ISA {

// float32, C <= 4, no padding, no gate.
bool takes_few_channels(const ConvReluArgs& args);

int64_t few_channels_workspace(const ConvReluArgs& args);  // floats
void few_channels(const ConvReluArgs& args, const Threads& threads);

}  // namespace unet_fast::UNET_FAST_ISA
