// Transforms of weights, vector by vector of outputs. In memory the taps of a channel are neighbours, not the outputs,
// so a run of channels is first turned around in a buffer that stays in the first-level cache.
#include "cpu/winograd_tiles.h"

namespace unet_fast::UNET_FAST_ISA {
namespace {

constexpr int kTaps = 3;  // along each axis

// [channel of the run][tap][lane]
struct Turned {
  alignas(64) float values[kChannelRun][kTaps * kTaps][kMaxLanes];
};

}  // namespace

void transform_weights(const WeightTaps& weight, const LaneBlock& block, int64_t begin, int64_t end, float* u,
                       int64_t plane) {
  Turned turned;
  for (int64_t lane = 0; lane < block.lanes(); ++lane) {
    const float* taps = weight.data + (block.first + lane) * weight.stride_o;
    for (int64_t c = begin; c < end; ++c) {
      float (&to)[kTaps * kTaps][kMaxLanes] = turned.values[c - begin];
      for (int tap = 0; tap < kTaps * kTaps; ++tap) {
        const int64_t offset = c * weight.stride_c + tap / kTaps * weight.stride_y + tap % kTaps * weight.stride_x;
        to[tap][lane] = lane < block.count ? taps[offset] : 0.0f;
      }
    }
  }
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t lane = 0; lane < block.lanes(); lane += kLanes) {
      transform_twice<transform_weight, kTaps, kTileIn>(
          [&](int y, int x) { return load(turned.values[c - begin][y * kTaps + x] + lane); },
          [&](int y, int x, Vector value) { store(u + (y * kTileIn + x) * plane + c * block.lanes() + lane, value); });
    }
  }
}

void transform_weight_gradients(const float* u, int64_t plane, const LaneBlock& block, int64_t begin, int64_t end,
                                int64_t channels, bool add, float* grad_weight) {
  Turned turned;
  for (int64_t c = begin; c < end; ++c) {
    for (int64_t lane = 0; lane < block.lanes(); lane += kLanes) {
      transform_twice<transform_weight_gradient, kTileIn, kTaps>(
          [&](int y, int x) { return load(u + (y * kTileIn + x) * plane + c * block.lanes() + lane); },
          [&](int y, int x, Vector value) { store(turned.values[c - begin][y * kTaps + x] + lane, value); });
    }
  }
  for (int64_t lane = 0; lane < block.count; ++lane) {
    float* taps = grad_weight + ((block.first + lane) * channels + begin) * kTaps * kTaps;
    for (int64_t c = 0; c < end - begin; ++c) {
      for (int tap = 0; tap < kTaps * kTaps; ++tap) {
        const float value = turned.values[c][tap][lane];
        *taps = add ? *taps + value : value;
        ++taps;
      }
    }
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
