// target_classes: the class of every pixel of an instance map, with a background ridge cut between touching instances.
// The paper inserts the ridge "by morphological operations" (section 3); Gap::scan is the authors' released rule.
#pragma once

#include <cstdint>

#include "core/instance.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

// Which pixels of an instance become background.
enum class Gap : int32_t {
  none,
  scan,   // in raster order, in place: where W, NW, N or NE still is another instance; 1 px wide
  full8,  // where one of the 8 neighbours in the original map is another instance; 2 px wide, symmetric
};

struct TargetClassesArgs {
  InstanceMaps maps;
  Gap gap;
  uint8_t* out;  // [N, H, W] dense: 1 instance, 0 background, 255 ignored
};

void target_classes_cpu(const TargetClassesArgs& args, const Threads& threads);
const char* target_classes_cuda(const TargetClassesArgs& args, const Stream& stream);  // null, or what CUDA said

}  // namespace unet_fast
