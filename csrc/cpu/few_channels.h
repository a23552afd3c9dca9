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

// Part of the result for whoever does not want to keep it: few_channels_pack leaves the weights in the workspace, and
// any thread may then compute rows [y, y + rows) and columns [x, x + columns) of an image, into [rows][columns][O].
struct FewChannelsWindow {
  int64_t image, y, x, rows, columns;
};
void few_channels_pack(const ConvReluArgs& args, float* workspace);
void few_channels_window(const ConvReluArgs& args, const float* workspace, const FewChannelsWindow& window, float* to);

// float32, C so small that all sums of a vector of outputs fit into the registers. The sums run over fixed chunks of
// rows and then over the chunks.
bool takes_few_channels(const ConvReluWeightGradArgs& args);
int64_t few_channels_weight_grad_workspace(const ConvReluWeightGradArgs& args);  // floats
void few_channels_weight_grad(const ConvReluWeightGradArgs& args, const Threads& threads);

}  // namespace unet_fast::UNET_FAST_ISA
