// up_conv on tensor cores (sm_80 and later).
#pragma once

#include "ops/up_conv.h"

namespace unet_fast {

// C and O multiples of 8, images at multiples of 16 bytes; float32 where it may be rounded to TF32. y is the gradient
// in both gradients.
bool up_conv_takes_mma(const UpConvShape& shape, const void* x, const void* y, int device);

// The workspace holds the weight in another order: 4 C O values.
int64_t up_conv_mma_workspace(const UpConvShape& shape);  // floats
const char* up_conv_mma(const UpConvArgs& args, const Stream& stream);
const char* up_conv_data_grad_mma(const UpConvDataGradArgs& args, const Stream& stream);

int64_t up_conv_weight_grad_mma_workspace(const UpConvWeightGradArgs& args);  // floats
const char* up_conv_weight_grad_mma(const UpConvWeightGradArgs& args, const Stream& stream);

}  // namespace unet_fast
