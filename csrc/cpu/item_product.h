// Any number of items through the micro-kernel: in pieces that fill the registers, as equal as possible.
#pragma once

#include "cpu/row_blocks.h"

namespace unet_fast::UNET_FAST_ISA {

class ItemProduct {
 public:
  ItemProduct(Use use, int vectors, int64_t items)
      : use_(use),
        lanes_(vectors * kLanes),
        items_(items),
        pieces_(items, max_items(vectors)),
        smaller_(items / pieces_.pieces),
        kernels_{micro_kernel(use, vectors, 1, static_cast<int>(smaller_)),
                 micro_kernel(use, vectors, 1, static_cast<int>(larger(smaller_, divide_up(items, pieces_.pieces))))} {}

  // a and sum are those of item 0. What the next product of this size will find at args.next is asked for along the
  // way: its b, or, for a gradient, its sums.
  UNET_FAST_METHOD void run(MicroKernelArgs args) const {
    const int64_t steps = args.rows * args.depth;
    args.next_step = divide_up((use_ == Use::gradient ? items_ : steps) * lanes_, pieces_.pieces * steps);
    for (int64_t piece = 0; piece < pieces_.pieces; ++piece) {
      const int64_t items = pieces_.begin(piece + 1) - pieces_.begin(piece);
      kernels_[items > smaller_](args);
      args.a += items * args.a_item;
      args.sum += items * args.sum_item;
      args.next += steps * args.next_step;
    }
  }

 private:
  const Use use_;
  const int64_t lanes_, items_;
  const Pieces pieces_;
  const int64_t smaller_;
  const MicroKernel kernels_[2];  // for a piece of the smaller and of the larger size
};

}  // namespace unet_fast::UNET_FAST_ISA
