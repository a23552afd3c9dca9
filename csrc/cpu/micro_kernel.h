// The inner loop of every convolution and of every weight gradient: a block of sums that stays in registers.
#pragma once

#include <cstdint>

#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {

// sum[i][lane] = start[lane] + sum over rows r < rows and steps s < depth of a(r, i, s) * b[r][s][lane]
//
// A block is `items` x `vectors` registers. Each step loads `vectors` vectors of b and, for every item, broadcasts one
// value of a:  convolution: items are pixels, steps are input channels and taps, lanes are output channels;
//              weight gradient: items are input channels and taps, steps are pixels, lanes are output channels.
//
// group 2 serves blocks of at most half a vector of outputs without idle lanes. A step covers two values a0 a1 of a,
// broadcast as a0 a1 a0 a1 ..., and lanes 2j and 2j + 1 hold their products for output j.
struct MicroKernelArgs {
  const float* a;      // the `group` values of row r, item i, step s begin at a[r * a_row + i * a_item + s * a_step]
  int64_t a_row;       // floats
  int64_t a_item;      // floats
  int64_t a_step;      // floats
  const float* b;      // [rows][depth][vectors * kLanes] dense
  int64_t rows;        // R
  int64_t depth;       // S
  const float* start;  // [vectors * kLanes], or null (0)
  float* sum;          // [items][vectors * kLanes], or [items][kLanes / 2] for group 2 that does not accumulate
  int64_t sum_item;    // floats between items
  bool accumulate;     // add to what `sum` holds, each lane by itself; else
  bool relu;           //   max(sum, 0), and for group 2 first lanes 2j and 2j + 1 added
};

using MicroKernel = void (*)(const MicroKernelArgs& args);

constexpr int kMaxVectors = 2;
constexpr int kMaxLanes = kMaxVectors * kLanes;  // of a block
constexpr int kMaxItems = kRegisters == 32 ? 14 : 12;

// Items that fit into the registers beside `vectors` of b and one broadcast.
constexpr int max_items(int vectors) { return kRegisters == 32 ? 14 : 12 / vectors; }

// 1 <= items <= max_items(vectors); vectors is 1 or 2; group is 1, or 2 with vectors 1.
MicroKernel micro_kernel(int vectors, int group, int items);

}  // namespace unet_fast::UNET_FAST_ISA
