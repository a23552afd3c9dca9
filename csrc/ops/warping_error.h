// warping_error: the errors of a segmentation that no topology-preserving warping of the truth explains (Jain et al.
// 2010; one of the three measures of the paper's table 1). A sequential greedy search, one task per slice and
// threshold: there is nothing in it for a GPU, so it exists on the CPU only.
#pragma once

#include <cstdint>

#include "core/parallel.h"

namespace unet_fast {

// What changing the warped truth at one residual pixel to the proposal's value would do.
enum WarpingErrorType : uint8_t {
  kNoError = 0,
  kMerge = 1,           // the proposal joins two objects
  kSplit = 2,           // the proposal cuts an object in two
  kHoleAddition = 3,    // the proposal has a hole that the truth lacks
  kHoleDeletion = 4,    // the proposal fills a hole of the truth
  kObjectAddition = 5,  // the proposal has an object that the truth lacks
  kObjectDeletion = 6,  // the proposal lacks an object of the truth
};
constexpr int kWarpingErrorTypes = 6;

struct WarpingErrorArgs {
  const uint8_t* truth;      // [Z, H, W] dense, not 0 = interior
  const float* probability;  // [Z, H, W] dense, of interior; a pixel of the proposal is interior where it is > t
  const float* thresholds;   // [S] dense
  const uint8_t* mask;       // [Z, H, W] dense, pixels that may change and are counted; or null (all)
  int64_t slices;            // Z
  int64_t levels;            // S
  int64_t height;            // H, pixels
  int64_t width;             // W, pixels; (H + 2)(W + 2) < 2^31
  int64_t radius;            // r >= 1: a split is looked for in a (2r+1)^2 window around the pixel; -1: in the image
  int64_t* counts;           // [Z, S, 6] dense: residual pixels of types 1 to 6
  uint8_t* residual;         // [Z, S, H, W] dense: type of each residual pixel, 0 elsewhere; or null
  uint8_t* warped;           // [Z, S, H, W] dense: the warped truth, 0 or 1; or null
  uint32_t* workspace;       // [lanes, kWarpingErrorPlanes, (H + 2)(W + 2)]
  int64_t lanes;             // tasks that may run at the same time
};
constexpr int kWarpingErrorPlanes = 7;

void warping_error_cpu(const WarpingErrorArgs& args, const Threads& threads);

}  // namespace unet_fast
