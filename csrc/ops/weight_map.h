// weight_map: equation (2) of the paper, w(x) = w_c(x) + border * exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), where d1 and
// d2 are the distances to the nearest and to the second nearest instance. With fewer than two instances the second term
// is 0.
#pragma once

#include <cstdint>

#include "core/instance.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

struct WeightMapArgs {
  InstanceMaps maps;          // as labelled, before any gap is cut
  const uint8_t* classes;     // [N, H, W] dense: class of each pixel, 255 ignored (weight 0)
  const float* class_weight;  // [K] dense: w_c
  int64_t class_count;        // K, 1..255
  float border;               // w0, at least 0
  float sigma;                // pixels, above 0
  bool everywhere;            // the border term: on every pixel, or only on those of class 0
  float* out;                 // [N, H, W] dense
  void* workspace;            // nearest_two_workspace_* bytes, 8-byte aligned
  int slots;                  // CPU: see NearestTwoDistancesArgs
  // CPU: receives a class found that has no weight, or -1. CUDA does not write it; such a pixel weighs NaN.
  int32_t* bad_class;
};

void weight_map_cpu(const WeightMapArgs& args, const Threads& threads);
const char* weight_map_cuda(const WeightMapArgs& args, const Stream& stream);  // null, or what CUDA said

}  // namespace unet_fast
