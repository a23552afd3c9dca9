#include "binding/pool.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "binding/operators.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

constexpr std::align_val_t kAlignment{64};

class Pool {
 public:
  // The smallest free block that is at most twice too large, or a new one.
  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    ++now_;
    auto best = free_.end();
    for (auto block = free_.begin(); block != free_.end(); ++block) {
      const bool fits = block->bytes >= bytes && block->bytes <= 2 * bytes;
      if (fits && (best == free_.end() || block->bytes < best->bytes)) best = block;
    }
    if (best == free_.end()) {
      release_older_than(kStale);
      const Block fresh = {::operator new(bytes, kAlignment), bytes, now_};
      lent_.emplace(fresh.data, fresh);
      return fresh.data;
    }
    void* const data = best->data;
    lent_.emplace(data, *best);
    free_.erase(best);
    return data;
  }

  void give(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = lent_.find(data);
    free_.push_back({data, found->second.bytes, now_});
    lent_.erase(found);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    release_older_than(0);
  }

  size_t bytes() {
    const std::lock_guard lock(mutex_);
    size_t sum = 0;
    for (const Block& block : free_) sum += block.bytes;
    for (const auto& [data, block] : lent_) sum += block.bytes;
    return sum;
  }

 private:
  struct Block {
    void* data;
    size_t bytes;
    int64_t since;  // when it became free, in blocks taken since the start
  };

  // A network's step takes a few hundred blocks. What was not wanted for longer is of sizes that do not come again.
  static constexpr int64_t kStale = 512;

  void release_older_than(int64_t age) {
    const auto stale =
        std::partition(free_.begin(), free_.end(), [&](const Block& block) { return now_ - block.since < age; });
    for (auto block = stale; block != free_.end(); ++block) ::operator delete(block->data, kAlignment);
    free_.erase(stale, free_.end());
  }

  std::mutex mutex_;
  std::vector<Block> free_;
  std::unordered_map<void*, Block> lent_;
  int64_t now_ = 0;
};

// Leaked on purpose: tensors give their blocks back until the very end of the process.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

// ---- a block as a tensor, by DLPack's interface (version 0): torch.utils.dlpack.from_dlpack takes the capsule

struct DLTensor {
  void* data;
  int32_t device_type, device_id;  // 1, 0: the CPU
  int32_t dims;
  uint8_t type_code, type_bits;  // code 2: float, 4: bfloat16
  uint16_t type_lanes;
  int64_t* size;
  int64_t* stride;  // elements
  uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};

struct PooledTensor {
  DLManagedTensor managed;
  std::vector<int64_t> size, stride;
};

void give_back(DLManagedTensor* managed) {
  give_block(managed->tensor.data);
  delete static_cast<PooledTensor*>(managed->context);
}

constexpr const char* kUnused = "dltensor";  // the name of a capsule that nobody has made a tensor of

py::capsule pooled_empty(const std::vector<int64_t>& size, const std::vector<int64_t>& stride, bool is_bfloat16) {
  size_t bytes = is_bfloat16 ? 2 : 4;
  for (const int64_t n : size) bytes *= static_cast<size_t>(n);
  auto tensor = std::make_unique<PooledTensor>();
  tensor->size = size, tensor->stride = stride;
  tensor->managed = {
      .tensor = {.data = take_block(bytes),
                 .device_type = 1,
                 .device_id = 0,
                 .dims = static_cast<int32_t>(size.size()),
                 .type_code = static_cast<uint8_t>(is_bfloat16 ? 4 : 2),
                 .type_bits = static_cast<uint8_t>(is_bfloat16 ? 16 : 32),
                 .type_lanes = 1,
                 .size = tensor->size.data(),
                 .stride = tensor->stride.data(),
                 .byte_offset = 0},
      .context = tensor.get(),
      .deleter = give_back,
  };
  return py::capsule(&tensor.release()->managed, kUnused, [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, kUnused)) return;
    give_back(static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kUnused)));
  });
}

}  // namespace

void* take_block(size_t bytes) { return pool().take(bytes); }
void give_block(void* block) { pool().give(block); }
void release_free_blocks() { pool().release(); }
size_t pooled_bytes() { return pool().bytes(); }

void bind_pool(py::module_& module) {
  module.def("pooled_empty", &pooled_empty, py::arg("size"), py::arg("stride"), py::arg("is_bfloat16"));
  module.def("release_free_blocks", &release_free_blocks);
  module.def("pooled_bytes", &pooled_bytes);
}

}  // namespace unet_fast
