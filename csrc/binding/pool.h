// Memory that is used again. A fresh page costs more than a microsecond when it is first written, which on the widest
// layers is as much as the convolution: blocks of results and scratch memory that have become free are kept and lent
// out again, so that a network in its second pass touches no fresh page.
#pragma once

#include <cstddef>

namespace unet_fast {

// `bytes` of memory, aligned to a page; from any thread.
void* take_block(size_t bytes);
void give_block(void* block);
// Returns to the operating system what is not in the neighbourhood of a block that is lent.
void release_free_blocks();
size_t lent_bytes();

// A block for the time of a call.
class ScratchBlock {
 public:
  explicit ScratchBlock(size_t bytes) : data_(bytes ? take_block(bytes) : nullptr) {}
  ~ScratchBlock() {
    if (data_) give_block(data_);
  }
  ScratchBlock(const ScratchBlock&) = delete;
  ScratchBlock& operator=(const ScratchBlock&) = delete;
  void* data() const { return data_; }

 private:
  void* const data_;
};

}  // namespace unet_fast
