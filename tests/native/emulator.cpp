// The machine that runs one block at a time. A fiber takes one thread after another as long as they run through; only
// a thread that waits keeps its fiber, and another fiber goes on with the rest. So a kernel without barriers never
// switches stacks.
#include "emulator.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fiber.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace unet_fast::emulator {
namespace {

// Limits of every GPU since sm_80; dynamic shared memory as on sm_90.
constexpr unsigned kMaxBlock = 1024, kMaxBlockZ = 64, kMaxGridYZ = 65535, kMaxGridX = 0x7fffffff;
constexpr size_t kMaxSharedBytes = 227 * 1024;
// 0xffff... is a NaN in bfloat16, float32 and float64, and -1 as an integer.
constexpr int kPoison = 0xff;

class Random {
 public:
  void seed(uint64_t value) { state_ = value; }

  uint64_t below(uint64_t count) {  // splitmix64; the bias of % does not matter here
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % count;
  }

  template <class T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

 private:
  uint64_t state_ = 1;
};

std::string text(uint3 index) {
  char text[64];
  std::snprintf(text, sizeof text, "(%u, %u, %u)", index.x, index.y, index.z);
  return text;
}

std::string text(const std::source_location& where) {
  const std::string path = where.file_name();
  return path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(where.line());
}

uint3 unravel(uint64_t index, dim3 size) {
  return {static_cast<unsigned>(index % size.x), static_cast<unsigned>(index / size.x % size.y),
          static_cast<unsigned>(index / size.x / size.y)};
}

class Machine {
 public:
  Random random;

  const char* run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* context);
  void wait_until(bool (*ready)(const void*), const void* context, const char* what, const std::source_location& where);
  void barrier(const std::source_location& where);
  void* dynamic_shared() const { return shared_.get(); }
  size_t dynamic_shared_bytes() const { return shared_bytes_; }
  uint64_t block_serial() const { return block_serial_; }
  void later(std::function<void()> function) { later_.push_back(std::move(function)); }
  void fail(const std::string& message) {
    if (error_.empty()) error_ = "in block " + text(blockIdx) + ": " + message;
  }

 private:
  struct Waiting {
    Fiber* fiber;
    uint3 thread;
    bool (*ready)(const void*);
    const void* context;
    const char* what;
    std::source_location where;
  };
  struct Barrier {
    size_t arrived = 0;
    uint64_t generation = 0;
    std::source_location where;  // of the first thread that arrived
  };
  struct BarrierPassed {
    const Barrier* barrier;
    uint64_t generation;
  };
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  bool run_block();
  void run_threads(Fiber& fiber);
  void resume(Fiber& fiber);
  void starve(std::vector<Waiting>& ready);
  bool run_one_of_later();
  void report_deadlock();

  void (*body_)(void*) = nullptr;
  void* context_ = nullptr;
  std::unique_ptr<void, Free> shared_;
  size_t shared_bytes_ = 0;

  std::vector<unsigned> order_;  // of the threads of the block
  size_t started_ = 0, finished_ = 0;
  std::vector<Waiting> waiting_;
  Barrier barrier_;
  std::vector<std::function<void()>> later_;
  uint64_t block_serial_ = 0, starved_warp_ = 0;
  std::string error_;

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* current_ = nullptr;
};

const char* Machine::run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* context) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return nullptr;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMaxBlock || block.z > kMaxBlockZ) return "emulator: a block of 0 or too many threads";
  if (grid.x > kMaxGridX || grid.y > kMaxGridYZ || grid.z > kMaxGridYZ) return "emulator: the grid is too large";
  if (shared_bytes > kMaxSharedBytes) return "emulator: more shared memory than any GPU has";

  body_ = body, context_ = context;
  gridDim = grid, blockDim = block;
  shared_bytes_ = shared_bytes;
  shared_.reset(std::malloc(shared_bytes));  // of exactly this size, so that AddressSanitizer knows its end
  order_.resize(threads);
  for (unsigned i = 0; i < threads; ++i) order_[i] = i;
  std::vector<uint32_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  for (uint32_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  random.shuffle(blocks);
  for (const uint32_t index : blocks) {
    blockIdx = unravel(index, grid);
    if (!run_block()) break;
  }
  shared_.reset();
  if (error_.empty()) return nullptr;
  static std::string last_error;  // outlives the launch
  last_error = std::exchange(error_, {});
  return last_error.c_str();
}

bool Machine::run_block() {
  if (shared_bytes_) std::memset(shared_.get(), kPoison, shared_bytes_);
  random.shuffle(order_);
  started_ = finished_ = 0;
  barrier_ = {};
  ++block_serial_;
  later_.clear();
  std::vector<Waiting> ready;
  while (finished_ < order_.size() && error_.empty()) {
    if (started_ < order_.size()) {
      if (idle_.empty()) {
        const auto body = [](Fiber& self, void* machine) { static_cast<Machine*>(machine)->run_threads(self); };
        fibers_.push_back(std::make_unique<Fiber>(body, this));
        idle_.push_back(fibers_.back().get());
      }
      Fiber& fiber = *idle_.back();
      idle_.pop_back();
      resume(fiber);
      continue;
    }
    ready.clear();
    std::erase_if(waiting_, [&](const Waiting& thread) {
      const bool is_ready = thread.ready(thread.context);
      if (is_ready) ready.push_back(thread);
      return is_ready;
    });
    if (random.below(2) || ready.empty()) {
      if (!run_one_of_later() && ready.empty()) report_deadlock();
    }
    random.shuffle(ready);
    starve(ready);
    for (const Waiting& thread : ready) {
      if (!error_.empty()) break;
      threadIdx = thread.thread;
      resume(*thread.fiber);
    }
  }
  if (!later_.empty()) fail("the block has ended and not waited for " + std::to_string(later_.size()) + " copies");
  if (error_.empty()) return true;
  waiting_.clear();
  idle_.clear();
  fibers_.clear();
  return false;
}

// What every fiber does for ever.
void Machine::run_threads(Fiber& fiber) {
  for (;;) {
    while (started_ < order_.size() && error_.empty()) {
      threadIdx = unravel(order_[started_++], blockDim);
      body_(context_);
      ++finished_;
    }
    idle_.push_back(&fiber);
    fiber.suspend();
  }
}

void Machine::resume(Fiber& fiber) {
  current_ = &fiber;
  fiber.resume();
}

void Machine::wait_until(bool (*ready)(const void*), const void* context, const char* what,
                         const std::source_location& where) {
  Fiber& fiber = *current_;
  waiting_.push_back({&fiber, threadIdx, ready, context, what, where});
  fiber.suspend();
}

void Machine::barrier(const std::source_location& where) {
  if (barrier_.arrived == 0) barrier_.where = where;
  if (barrier_.where.line() != where.line() || std::strcmp(barrier_.where.file_name(), where.file_name()) != 0) {
    fail("divergent barriers: thread " + text(threadIdx) + " is at " + text(where) + ", others wait at " +
         text(barrier_.where));
  }
  const BarrierPassed passed{&barrier_, barrier_.generation};
  if (++barrier_.arrived == order_.size()) {
    barrier_.arrived = 0;
    ++barrier_.generation;
  }
  // The last to arrive waits too: whoever goes first is drawn by lot.
  wait_until(
      [](const void* context) {
        const auto& passed = *static_cast<const BarrierPassed*>(context);
        return passed.barrier->generation != passed.generation;
      },
      &passed, "__syncthreads()", where);
}

// Makes one warp wait again, as long as others can run: warps then come as far apart as the barriers let them.
void Machine::starve(std::vector<Waiting>& ready) {
  constexpr uint64_t kRounds = 128;  // on average
  if (random.below(kRounds) == 0) starved_warp_ = random.below((order_.size() + 31) / 32);
  const auto is_starved = [&](const Waiting& thread) {
    const uint3 index = thread.thread;
    return ((index.z * blockDim.y + index.y) * blockDim.x + index.x) / 32 == starved_warp_;
  };
  const auto first = std::stable_partition(ready.begin(), ready.end(), std::not_fn(is_starved));
  if (first == ready.begin()) return;
  waiting_.insert(waiting_.end(), first, ready.end());
  ready.erase(first, ready.end());
}

bool Machine::run_one_of_later() {
  if (later_.empty()) return false;
  const size_t chosen = random.below(later_.size());
  const std::function<void()> function = std::move(later_[chosen]);
  later_.erase(later_.begin() + static_cast<std::ptrdiff_t>(chosen));
  function();
  return true;
}

void Machine::report_deadlock() {
  const Waiting& first = waiting_.front();
  fail("deadlock: " + std::to_string(waiting_.size()) + " of " + std::to_string(order_.size()) +
       " threads wait for ever, the others have returned; thread " + text(first.thread) + " waits for " + first.what +
       " at " + text(first.where));
}

Machine machine;
DeviceTraits device = {90, 3};

}  // namespace

void seed(uint64_t value) { machine.random.seed(value); }

void wait_until(bool (*ready)(const void*), const void* context, const char* what, const std::source_location& where) {
  machine.wait_until(ready, context, what, where);
}

void barrier(const std::source_location& where) { machine.barrier(where); }

void* dynamic_shared() { return machine.dynamic_shared(); }
size_t dynamic_shared_bytes() { return machine.dynamic_shared_bytes(); }
uint64_t block_serial() { return machine.block_serial(); }
uint64_t random_below(uint64_t count) { return machine.random.below(count); }
void later(std::function<void()> function) { machine.later(std::move(function)); }
void fail(const std::string& message) { machine.fail(message); }
void use_device(int capability, int multiprocessors) { device = {capability, multiprocessors}; }

const char* run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void*), void* context) {
  return machine.run_grid(grid, block, shared_bytes, body, context);
}

}  // namespace unet_fast::emulator

unet_fast::DeviceTraits unet_fast::device_traits(int) { return emulator::device; }
