// Compiled instead of the .cu files where there is no nvcc: every CUDA entry point answers in words.
#include "ops/elastic_warp.h"
#include "ops/mirror_tiles.h"
#include "ops/stitch_tiles.h"

namespace unet_fast {
namespace {
constexpr const char* kAbsent =
    "this build of unet_fast has no CUDA kernels: install nvcc and run `pip install .` again, or use CPU tensors";
}

const char* mirror_tiles_cuda(const MirrorTilesArgs&, const Stream&) { return kAbsent; }
const char* stitch_tiles_cuda(const StitchTilesArgs&, const Stream&) { return kAbsent; }
const char* elastic_warp_cuda(const ElasticWarpArgs&, const Stream&) { return kAbsent; }

}  // namespace unet_fast
