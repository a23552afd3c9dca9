// up_conv and its gradients for float32 layers whose channels fill panels of 16: plain products of pixels and
// weights. In place, a dozen pixels that lie a power of two apart would share one set of the first-level cache; copied
// into panels they are neighbours, as in Winograd's V (winograd.h).
#pragma once

#include "ops/up_conv.h"
#include "cpu/micro_kernel.h"

namespace unet_fast::UNET_FAST_ISA {

constexpr int64_t kParts = 4;  // the pixels (a, b) of y over one of x, in the order of the weight [C, O, 2, 2]

// `count` neighbouring values into whole panels, which lie `panel` floats apart.
UNET_FAST_FUNCTION void copy_to_panels(const float* from, int64_t count, float* to, int64_t panel) {
  for (int64_t i = 0; i < count; i += kPanel) memcpy(to + i / kPanel * panel, from + i, kPanel * sizeof(float));
}

bool takes_panels(const UpConvShape& shape);

int64_t up_conv_panels_workspace(const UpConvShape& shape, int threads);  // floats, for either of the two
void up_conv_panels(const UpConvArgs& args, const Threads& threads);
void up_conv_panels_data_grad(const UpConvDataGradArgs& args, const Threads& threads);
int64_t up_conv_panels_weight_grad_workspace(const UpConvWeightGradArgs& args, int threads);  // floats
void up_conv_panels_weight_grad(const UpConvWeightGradArgs& args, const Threads& threads);

}  // namespace unet_fast::UNET_FAST_ISA
