// The CPU kernels of one instruction set, and the table through which they are chosen at load.
// Every .cpp beside this file is compiled once per instruction set with UNET_FAST_ISA = generic, avx2 or avx512 and
// defines its functions in that namespace. No std containers here: see core/portable.h.
#pragma once

#include "ops/mirror_tiles.h"
#include "ops/warping_error.h"

namespace unet_fast {

template <class Args>
using CpuKernel = void (*)(const Args& args, const Threads& threads);

struct CpuKernels {
  const char* instruction_set;
  CpuKernel<MirrorTilesArgs> mirror_tiles;
  CpuKernel<WarpingErrorArgs> warping_error;
};

#ifdef UNET_FAST_ISA
namespace UNET_FAST_ISA {

extern const CpuKernels kernels;

void mirror_tiles(const MirrorTilesArgs& args, const Threads& threads);
void warping_error(const WarpingErrorArgs& args, const Threads& threads);

}  // namespace UNET_FAST_ISA
#endif

}  // namespace unet_fast
