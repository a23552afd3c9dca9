// The state of a block that runs on emulated tensor cores: what emulator_tensor_core.cpp, which has shared memory and
// what is waited for, has in common with emulator_mma.cpp and emulator_wgmma.cpp.
#pragma once

#include <array>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "cuda/tensor_core.cuh"

namespace unet_fast::emulator {

using Operation = std::function<void()>;

// Shared memory is a window whose first byte has this address: aligned to 16 bytes, as CUDA promises, and to no more.
constexpr SharedAddress kWindow = 1040;
constexpr int kClean = -1;

struct MBarrier {
  bool initialised = false;
  int arrivals = 0, missing = 0;
  int64_t bytes = 0;  // announced and not yet copied
  uint32_t phase = 0;

  void end_phase_if_complete() {
    if (missing == 0 && bytes == 0) ++phase, missing = arrivals;
  }
};

struct NamedBarrier {
  int arrived = 0;
  uint64_t generation = 0;
};

// What a thread has asked for and not yet waited for.
struct Thread {
  std::vector<Operation> open;
  std::deque<std::vector<Operation>> groups;
  std::vector<Operation> open_stores, stores;

  void run_all() {
    for (auto& group : groups) {
      for (auto& operation : group) operation();
      group.clear();
    }
    for (auto& operation : open) operation();
    open.clear();
  }
};

struct Block {
  uint64_t serial = 0;
  unsigned char* memory = nullptr;
  size_t bytes = 0;
  std::map<SharedAddress, MBarrier> mbarriers;
  std::array<NamedBarrier, 16> named;
  std::vector<NamedBarrier> warps;
  std::vector<std::array<std::array<uint32_t, 6>, 32>> exchange;  // by warp and lane
  std::vector<Thread> threads;
  std::vector<int> unfenced;  // by 16 bytes: the thread that wrote them and has not fenced, or kClean
};

// The state of the block that runs.
Block& block();
unsigned linear_thread();
Thread& thread();

// Null where the bytes do not lie in shared memory.
unsigned char* at(SharedAddress address, size_t bytes, const char* what);

template <class T>
T read(SharedAddress address, const char* what) {
  T value = {};
  if (const unsigned char* from = at(address, sizeof value, what)) std::memcpy(&value, from, sizeof value);
  return value;
}

// By ordinary instructions, which TMA does not see before a fence.
template <class T>
void write(SharedAddress address, T value) {
  if (address % sizeof value) fail("a store to shared memory that is not aligned");
  unsigned char* to = at(address, sizeof value, "a store");
  if (!to) return;
  std::memcpy(to, &value, sizeof value);
  block().unfenced[(address - kWindow) / 16] = static_cast<int>(linear_thread());
}

// Until `threads` threads have come.
void rendezvous(NamedBarrier& barrier, int threads, const char* what);

// All lanes show six words, then function(words of all lanes).
template <class Function>
void with_warp(const std::array<uint32_t, 6>& words, const char* what, const Function& function) {
  Block& b = block();
  const unsigned warp = linear_thread() / 32;
  b.exchange[warp][linear_thread() % 32] = words;
  rendezvous(b.warps[warp], 32, what);
  function(b.exchange[warp]);
  rendezvous(b.warps[warp], 32, what);
}

// What an asynchronous operation of this thread may do at once, or only when it is waited for.
void now_or_later(Operation operation);

}  // namespace unet_fast::emulator
