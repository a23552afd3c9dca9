#include "binding/pool.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

#include "binding/operators.h"

namespace py = pybind11;

namespace unet_fast {
namespace {

// Segments of address space, of which pages become memory when they are first written. A block is the first free range
// of the lowest address that is large enough, so that what is lent, whatever the sizes, stays together in the pages
// that were written before.
class Pool {
 public:
  void* take(size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    auto range = free_.begin();
    while (range != free_.end() && range->second < bytes) ++range;
    if (range == free_.end()) range = add_segment(bytes);
    char* const data = range->first;
    const size_t left = range->second - bytes;
    free_.erase(range);
    if (left) free_.emplace(data + bytes, left);
    lent_.emplace(data, bytes);
    return data;
  }

  void give(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = lent_.find(static_cast<char*>(data));
    auto range = free_.emplace(found->first, found->second).first;
    lent_.erase(found);
    const auto next = std::next(range);
    if (next != free_.end() && adjoin(range, next)) {
      range->second += next->second;
      free_.erase(next);
    }
    if (range != free_.begin() && adjoin(std::prev(range), range)) {
      std::prev(range)->second += range->second;
      free_.erase(range);
    }
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto segment = segments_.begin(); segment != segments_.end();) {
      const auto range = free_.find(segment->first);
      if (range != free_.end() && range->second == segment->second) {
        ::operator delete(segment->first, std::align_val_t{kAlignment});
        free_.erase(range);
        segment = segments_.erase(segment);
      } else {
        ++segment;
      }
    }
  }

  size_t lent_bytes() {
    const std::lock_guard lock(mutex_);
    size_t sum = 0;
    for (const auto& [data, bytes] : lent_) sum += bytes;
    return sum;
  }

 private:
  using Ranges = std::map<char*, size_t>;  // address -> bytes

  static constexpr size_t kAlignment = 4096;  // a page, so that blocks share none
  static constexpr size_t kSegment = size_t{1} << 30;

  // Whether two ranges, one behind the other, are one; segments stay apart.
  bool adjoin(Ranges::iterator range, Ranges::iterator next) const {
    return range->first + range->second == next->first && !segments_.count(next->first);
  }

  Ranges::iterator add_segment(size_t bytes) {
    size_t size = std::max(bytes, kSegment);
    void* data = ::operator new(size, std::align_val_t{kAlignment}, std::nothrow);
    if (!data) data = ::operator new(size = bytes, std::align_val_t{kAlignment});
    segments_.emplace(static_cast<char*>(data), size);
    return free_.emplace(static_cast<char*>(data), size).first;
  }

  std::mutex mutex_;
  Ranges segments_, free_, lent_;
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
  uint8_t type_code, type_bits;  // code 0: int, 1: unsigned, 2: float, 4: bfloat16, 6: bool
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

py::capsule pooled_empty(const std::vector<int64_t>& size, const std::vector<int64_t>& stride, uint8_t type_code,
                         uint8_t type_bits) {
  size_t bytes = type_bits / 8;
  for (const int64_t n : size) bytes *= static_cast<size_t>(n);
  auto tensor = std::make_unique<PooledTensor>();
  tensor->size = size, tensor->stride = stride;
  tensor->managed = {
      .tensor = {.data = take_block(bytes),
                 .device_type = 1,
                 .device_id = 0,
                 .dims = static_cast<int32_t>(size.size()),
                 .type_code = type_code,
                 .type_bits = type_bits,
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
size_t lent_bytes() { return pool().lent_bytes(); }

void bind_pool(py::module_& module) {
  module.def("pooled_empty", &pooled_empty, py::arg("size"), py::arg("stride"), py::arg("type_code"),
             py::arg("type_bits"));
  module.def("release_free_blocks", &release_free_blocks);
  module.def("lent_bytes", &lent_bytes);
}

}  // namespace unet_fast
