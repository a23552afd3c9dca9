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
        pieces_(divide_up(items, max_items(vectors))),
        smaller_(items / pieces_),
        larger_pieces_(items % pieces_),
        kernels_{micro_kernel(use, vectors, 1, static_cast<int>(smaller_)),
                 micro_kernel(use, vectors, 1, static_cast<int>(divide_up(items, pieces_)))} {}

  // a and sum are those of item 0. What the next product of this size will find at args.next is asked for along the
  // way: its b, or, for a gradient, its sums.
  UNET_FAST_METHOD void run(const MicroKernelArgs& args) const {
    run(args, (use_ == Use::gradient ? items_ : args.rows * args.depth) * lanes_);
  }

  // The same where other things will be needed next, so many floats.
  UNET_FAST_METHOD void run(MicroKernelArgs args, int64_t next_floats) const {
    const int64_t prefetches = args.rows * args.depth / prefetch_steps(use_);  // of a piece
    args.next_step = divide_up(next_floats, pieces_ * prefetches);
    for (int64_t piece = 0; piece < pieces_; ++piece) {
      const bool is_larger = piece < larger_pieces_;
      const int64_t items = smaller_ + is_larger;
      kernels_[is_larger](args);
      args.a += items * args.a_item;
      args.sum += items * args.sum_item;
      args.next += prefetches * args.next_step;
    }
  }

 private:
  const Use use_;
  const int64_t lanes_, items_;
  const int64_t pieces_, smaller_, larger_pieces_;  // so many; items of the smaller ones; how many have one more
  const MicroKernel kernels_[2];                    // for a piece of the smaller and of the larger size
};

}  // namespace unet_fast::UNET_FAST_ISA
