// up_conv on tensor cores (sm_80 and later).
#pragma once

#include "ops/up_conv.h"

namespace unet_fast {

// bfloat16, C and O multiples of 8, images at multiples of 16 bytes. For both directions.
bool up_conv_takes_mma(const UpConvShape& shape, const void* x, const void* y, int device);

// The workspace holds the weight in another order: 4 C O values of bfloat16.
int64_t up_conv_mma_workspace(const UpConvShape& shape);  // floats
const char* up_conv_mma(const UpConvArgs& args, const Stream& stream);
const char* up_conv_data_grad_mma(const UpConvDataGradArgs& args, const Stream& stream);

}  // namespace unet_fast
