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
#include <vector>

#include "binding/dlpack.h"
#include "binding/operators.h"
#include "binding/tensor.h"

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

// ---- a block as a tensor

struct PooledTensor {
  dlpack::ManagedTensor managed;
  int64_t size[Tensor::kMaxDims], stride[Tensor::kMaxDims];
};

void give_back(dlpack::ManagedTensor* managed) {
  give_block(managed->view.data);
  delete static_cast<PooledTensor*>(managed->owner);
}

// From this size on, malloc takes fresh pages and gives them back again.
constexpr size_t kPooledBytes = size_t{1} << 20;

// An uninitialised tensor on the CPU, or None where it is small or its dtype is none of ours. channels_last: [N, C, H,
// W] that lies in memory as [N, H, W, C].
py::object pooled_empty(const std::vector<int64_t>& size, py::handle dtype, bool channels_last) {
  const int dims = static_cast<int>(size.size());
  DType type;
  if (dims > Tensor::kMaxDims || !read_dtype(dtype, type)) return py::none();
  auto tensor = std::make_unique<PooledTensor>();
  std::copy(size.begin(), size.end(), tensor->size);
  int64_t step = 1;
  const auto lay = [&](int dim) {
    tensor->stride[dim] = step;
    step *= size[dim];
  };
  if (channels_last) lay(1);
  for (int dim = dims - 1; dim >= 0; --dim) {
    if (!channels_last || dim != 1) lay(dim);
  }
  const size_t bytes = static_cast<size_t>(step) * size_of(type);
  if (bytes < kPooledBytes) return py::none();
  tensor->managed = {
      .version = dlpack::kVersion,
      .owner = tensor.get(),
      .deleter = give_back,
      .flags = 0,
      .view = {.data = take_block(bytes),
               .device_type = dlpack::kCpu,
               .device = 0,
               .dims = dims,
               .type = dlpack_type(type),
               .size = tensor->size,
               .stride = tensor->stride,
               .byte_offset = 0},
  };
  void* result = nullptr;  // owns `tensor`, whatever comes
  if (dlpack::exchange().tensor_of(&tensor.release()->managed, &result) != 0) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(static_cast<PyObject*>(result));
}

}  // namespace

void* take_block(size_t bytes) { return pool().take(bytes); }
void give_block(void* block) { pool().give(block); }
void release_free_blocks() { pool().release(); }
size_t lent_bytes() { return pool().lent_bytes(); }

void bind_pool(py::module_& module) {
  module.def("pooled_empty", &pooled_empty, py::arg("size"), py::arg("dtype"), py::arg("channels_last"));
  module.def("release_free_blocks", &release_free_blocks);
  module.def("lent_bytes", &lent_bytes);
}

}  // namespace unet_fast
