// The inner loop of every convolution and of every weight gradient: a block of sums that stays in registers.
#pragma once

#include <cstdint>

#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {

// sum[i][lane] = sum over rows r < rows and steps s < depth of a(r, i, s) * b[r][s][lane]
//
// A block is `items` x `vectors` registers. Each step loads `vectors` vectors of b and, for every item, broadcasts one
// value of a.
//   Use::product    items are pixels, steps are input channels and taps, lanes are output channels. The sums begin with
//                   a bias, and replace what was in memory.
//   Use::panels     the same, where a lies in panels of kPanel steps, [rows][any number of items][kPanel]: every
//                   address is an offset from one pointer, and the loop over a panel has a known end. The sums may
//                   begin with what is in memory.
//   Use::gradient   items are input channels and taps, steps are pixels, lanes are output channels. Items are
//                   neighbours (a_item == group). The sums may be added to what is in memory.
//
// group 2 serves blocks of at most half a vector of outputs without idle lanes. A step covers two values a0 a1 of a,
// broadcast as a0 a1 a0 a1 ..., and lanes 2j and 2j + 1 hold their products for output j.
struct MicroKernelArgs {
  const float* a;     // the `group` values of row r, item i, step s begin at a[r * a_row + i * a_item + s * a_step]
  int64_t a_row;      // floats
  int64_t a_item;     // floats; panels: kPanel
  int64_t a_step;     // floats; panels: 1
  const float* b;     // [rows][depth][vectors * kLanes] dense
  int64_t rows;       // R
  int64_t depth;      // S; panels: kPanel
  const float* bias;  // product: [vectors * kLanes], or null (0)
  bool relu;          // product, not panels: max(sum, 0) in the end
  float* sum;         // [items][vectors * kLanes]; product of group 2: [items][kLanes / 2], pairs of lanes added
  int64_t sum_item;   // floats between items

  // Every step, or one of prefetch_steps(use), asks for the cache line at `next` in the second-level cache, then goes
  // on by next_step floats.
  const float* next;
  int64_t next_step = 0;

  bool streams = false;  // panels: whole cache lines of sums go past the caches
  bool adds = false;     // panels: the sums begin with what is in memory; gradient: they are added to it
};

using MicroKernel = void (*)(const MicroKernelArgs& args);

enum class Use { product, panels, gradient };

constexpr int64_t kPanel = 16;  // a cache line of a

constexpr int kMaxVectors = 2;
constexpr int kMaxLanes = kMaxVectors * kLanes;  // of a block
constexpr int kMaxItems = kRegisters == 32 ? 14 : 12;

// Items that fit into the registers beside `vectors` of b and one broadcast.
constexpr int max_items(int vectors) { return kRegisters == 32 ? 14 : 12 / vectors; }

// Panels with few registers pass over b so often that a line of what comes next is wanted every few steps only.
constexpr int64_t prefetch_steps(Use use) { return use == Use::panels && kRegisters == 16 ? 4 : 1; }

// 1 <= items <= max_items(vectors); vectors is 1 or 2; group is 1, or 2 with vectors 1 and not for panels.
MicroKernel micro_kernel(Use use, int vectors, int group, int items);

}  // namespace unet_fast::UNET_FAST_ISA
