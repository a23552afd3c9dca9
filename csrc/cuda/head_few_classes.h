// head on CUDA for up to 8 classes: at the speed of memory.
#pragma once

#include "ops/head.h"

namespace unet_fast {

bool takes_few_classes(const HeadArgs& args);
const char* head_few_classes(const HeadArgs& args, const Stream& stream);

bool takes_few_classes(const HeadBackwardArgs& args);
int64_t head_backward_few_classes_workspace(const HeadBackwardArgs& args);  // floats
const char* head_backward_few_classes(const HeadBackwardArgs& args, const Stream& stream);

}  // namespace unet_fast
