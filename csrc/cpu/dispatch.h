// Which instruction set the CPU kernels run with.
#pragma once

#include "cpu/kernels.h"

namespace unet_fast {

constexpr int kInstructionSets = 4;

// Tables that this build holds and this machine can run, best first; the rest of the array is null.
const CpuKernels* const* supported_cpu_kernels();

const CpuKernels& cpu_kernels();                        // the table in use; the best one unless told otherwise
bool use_instruction_set(const char* instruction_set);  // false where it is unknown or not supported here

}  // namespace unet_fast
