#include "cuda/tensor_core.cuh"

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace unet_fast {
namespace {

using emulator::fail;
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
Block& block() {
  static Block state;
  if (state.serial != emulator::block_serial()) {
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    state = {};
    state.serial = emulator::block_serial();
    state.memory = static_cast<unsigned char*>(emulator::dynamic_shared());
    state.bytes = emulator::dynamic_shared_bytes();
    state.warps.resize((threads + 31) / 32);
    state.exchange.resize((threads + 31) / 32);
    state.threads.resize(threads);
    state.unfenced.assign(state.bytes / 16 + 1, kClean);
  }
  return state;
}

unsigned linear_thread() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }
Thread& thread() { return block().threads[linear_thread()]; }

// Null where the bytes do not lie in shared memory.
unsigned char* at(SharedAddress address, size_t bytes, const char* what) {
  Block& b = block();
  const size_t offset = address - kWindow;
  if (address < kWindow || offset + bytes > b.bytes) {
    fail(std::string(what) + " outside of shared memory");
    return nullptr;
  }
  return b.memory + offset;
}

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

float bfloat16(uint32_t bits) { return to_float(BFloat16{static_cast<uint16_t>(bits)}); }

void rendezvous(NamedBarrier& barrier, int threads, const char* what) {
  struct Passed {
    const NamedBarrier* barrier;
    uint64_t generation;
  } passed{&barrier, barrier.generation};
  if (++barrier.arrived == threads) barrier.arrived = 0, ++barrier.generation;
  emulator::wait_until(
      [](const void* context) {
        const Passed& passed = *static_cast<const Passed*>(context);
        return passed.barrier->generation != passed.generation;
      },
      &passed, what, std::source_location::current());
}

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

// The address within a swizzled tile of a byte that would lie at `address` without the swizzle. TMA and wgmma both take
// the row from the address itself.
SharedAddress swizzle(SharedAddress address) { return address ^ ((address >> 7 & 7) << 4); }

// One value after the other of a box, in the order in which they lie in shared memory: visit(address, pointer to global
// memory, or null outside of the tensor).
template <class Visit>
void visit_box(const TensorMap& map, SharedAddress shared, const std::array<int, 4>& first, const Visit& visit) {
  if (shared % 1024) fail("a TMA box that does not begin at a multiple of 1024 bytes");
  SharedAddress place = shared;
  for (int i3 = 0; i3 < map.box[3]; ++i3) {
    for (int i2 = 0; i2 < map.box[2]; ++i2) {
      for (int i1 = 0; i1 < map.box[1]; ++i1) {
        for (int i0 = 0; i0 < map.box[0]; ++i0, place += 2) {
          const int64_t c[4] = {int64_t{first[0]} + i0, int64_t{first[1]} + i1, int64_t{first[2]} + i2,
                                int64_t{first[3]} + i3};
          int64_t offset = 0;
          bool is_inside = true;
          for (int k = 0; k < 4; ++k) {
            is_inside &= c[k] >= 0 && c[k] < map.size[k];
            offset += c[k] * map.stride[k];
          }
          visit(swizzle(place), is_inside ? static_cast<uint16_t*>(const_cast<void*>(map.data)) + offset : nullptr);
        }
      }
    }
  }
}

// What an asynchronous operation of this thread may do at once, or only when it is waited for.
void now_or_later(Operation operation) {
  Thread& t = thread();
  if (emulator::random_below(2)) {
    t.run_all();
    operation();
  } else {
    t.open.push_back(std::move(operation));
  }
}

// Values (row, 0..15) of a wgmma operand.
void load_operand(const Block& b, uint64_t descriptor, int row, bool by_columns, float (&values)[16]) {
  const SharedAddress start = (descriptor & 0x3fff) << 4, next = (descriptor >> 16 & 0x3fff) << 4,
                      eight = (descriptor >> 32 & 0x3fff) << 4;
  for (int k = 0; k < 16; ++k) {
    const SharedAddress place = by_columns ? start + row / 64 * next + k / 8 * eight + k % 8 * 128 + row % 64 * 2
                                           : start + row / 8 * eight + row % 8 * 128 + k * 2;
    const size_t offset = swizzle(place) - size_t{kWindow};
    if (offset + 2 > b.bytes) return fail("an operand outside of shared memory");
    BFloat16 value;
    std::memcpy(&value, b.memory + offset, sizeof value);
    values[k] = to_float(value);
  }
}

void check_descriptor(uint64_t descriptor) {
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7)) fail("an operand's descriptor is not one of a swizzled tile");
}

// The part of a warpgroup's product whose sums this thread holds.
void multiply(float* d, int columns, uint64_t a, uint64_t b, bool accumulates, bool by_columns) {
  check_descriptor(a), check_descriptor(b);
  const int t = static_cast<int>(linear_thread() % 128), row = t / 32 * 16 + t % 32 / 4, column = 2 * (t % 4);
  now_or_later([=] {
    const Block& shared = block();
    float left[2][16] = {}, right[16] = {};
    for (int half = 0; half < 2; ++half) load_operand(shared, a, row + 8 * half, by_columns, left[half]);
    for (int j = 0; j < columns / 8; ++j) {
      for (int e = 0; e < 2; ++e) {
        load_operand(shared, b, 8 * j + column + e, by_columns, right);
        for (int half = 0; half < 2; ++half) {
          float& sum = d[4 * j + 2 * half + e];
          if (!accumulates) sum = 0;
          for (int k = 0; k < 16; ++k) sum += left[half][k] * right[k];
        }
      }
    }
  });
}

}  // namespace

SharedAddress shared_address(const void* pointer) {
  return kWindow + static_cast<SharedAddress>(static_cast<const unsigned char*>(pointer) - block().memory);
}

uint32_t pack_bfloat16(float low, float high) {
  return from_float<BFloat16>(low).bits | static_cast<uint32_t>(from_float<BFloat16>(high).bits) << 16;
}

void store_shared(SharedAddress address, uint16_t value) { write(address, value); }
void store_shared(SharedAddress address, uint32_t value) { write(address, value); }
uint4 load_shared(SharedAddress address) {
  if (address % 16) fail("a load of 16 bytes that is not aligned");
  return read<uint4>(address, "a load");
}
uint32_t load_shared_pair(SharedAddress address) {
  if (address % 4) fail("a load of 4 bytes that is not aligned");
  return read<uint32_t>(address, "a load");
}

void named_barrier(int id, int threads) { rendezvous(block().named[id], threads, "a named barrier"); }

void emulator::commit_group() {
  Thread& t = thread();
  t.groups.push_back(std::exchange(t.open, {}));
}

void emulator::wait_for_groups(int allowed) {
  Thread& t = thread();
  while (static_cast<int>(t.groups.size()) > allowed) {
    for (auto& operation : t.groups.front()) operation();
    t.groups.pop_front();
  }
}

void copy_16_bytes(SharedAddress to, const void* from, bool reads) {
  if (to % 16 || reinterpret_cast<uintptr_t>(from) % 16) fail("a copy of 16 bytes that is not aligned");
  now_or_later([=] {
    unsigned char* place = at(to, 16, "a copy");
    if (place && reads) std::memcpy(place, from, 16);
    if (place && !reads) std::memset(place, 0, 16);
  });
}

void load_matrices(uint32_t (&m)[4], SharedAddress row) {
  if (row % 16) fail("a matrix's row that is not aligned");
  with_warp({row}, "ldmatrix", [&](const auto& lanes) {
    const unsigned lane = linear_thread() % 32;
    for (int i = 0; i < 4; ++i) m[i] = read<uint32_t>(lanes[8 * i + lane / 4][0] + lane % 4 * 4, "a matrix's row");
  });
}

void multiply_16x8(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  with_warp({a[0], a[1], a[2], a[3], b0, b1}, "mma.sync", [&](const auto& lanes) {
    const auto value = [&](int row, int k, int word) {
      const uint32_t both = lanes[row % 8 * 4 + k % 8 / 2][word];
      return bfloat16(k % 2 ? both >> 16 : both & 0xffff);
    };
    const int lane = static_cast<int>(linear_thread() % 32);
    for (int e = 0; e < 4; ++e) {
      const int row = lane / 4 + e / 2 * 8, column = 2 * (lane % 4) + e % 2;
      for (int k = 0; k < 16; ++k) {
        sum[e] += value(row, k, row / 8 + k / 8 * 2) * value(column, k, 4 + k / 8);
      }
    }
  });
}

void mbarrier_init(SharedAddress barrier, int arrivals) {
  at(barrier, 8, "an mbarrier");
  if (barrier % 8) fail("an mbarrier that is not aligned");
  block().mbarriers[barrier] = {true, arrivals, arrivals, 0, 0};
}

void mbarrier_arrive(SharedAddress barrier) { mbarrier_arrive_expecting(barrier, 0); }

void mbarrier_arrive_expecting(SharedAddress barrier, uint32_t bytes) {
  MBarrier& b = block().mbarriers[barrier];
  if (!b.initialised) return fail("an arrival at an mbarrier that was not initialised");
  b.bytes += bytes;
  if (--b.missing < 0) fail("more arrivals at an mbarrier than it waits for");
  b.end_phase_if_complete();
}

void mbarrier_wait(SharedAddress barrier, uint32_t parity) {
  struct Phase {
    const MBarrier* barrier;
    uint32_t parity;
  } phase{&block().mbarriers[barrier], parity};
  if (!phase.barrier->initialised) return fail("a wait for an mbarrier that was not initialised");
  emulator::wait_until(
      [](const void* context) {
        const Phase& phase = *static_cast<const Phase*>(context);
        return (phase.barrier->phase & 1) != phase.parity;
      },
      &phase, "an mbarrier", std::source_location::current());
}

void tma_load(SharedAddress to, const TensorMap& map, SharedAddress barrier, int c0, int c1, int c2, int c3) {
  emulator::later([to, map, barrier, first = std::array<int, 4>{c0, c1, c2, c3}] {
    visit_box(map, to, first, [](SharedAddress address, const uint16_t* from) {
      unsigned char* place = at(address, 2, "a TMA load");
      const uint16_t value = from ? *from : 0;
      if (place) std::memcpy(place, &value, sizeof value);
    });
    MBarrier& b = block().mbarriers[barrier];
    b.bytes -= int64_t{2} * map.box[0] * map.box[1] * map.box[2] * map.box[3];
    b.end_phase_if_complete();
  });
}

void tma_store(const TensorMap& map, SharedAddress from, int c0, int c1, int c2, int c3) {
  const Operation operation = [from, map, first = std::array<int, 4>{c0, c1, c2, c3}] {
    visit_box(map, from, first, [](SharedAddress address, uint16_t* to) {
      const uint16_t value = read<uint16_t>(address, "a TMA store");
      if (block().unfenced[(address - kWindow) / 16] != kClean) fail("a TMA store of bytes that were not fenced");
      if (to) *to = value;
    });
  };
  emulator::random_below(2) ? operation() : thread().open_stores.push_back(operation);
}

void tma_stores_commit() {
  Thread& t = thread();
  for (auto& store : t.open_stores) t.stores.push_back(std::move(store));
  t.open_stores.clear();
}

void tma_stores_wait_read() { tma_stores_wait(); }

void tma_stores_wait() {
  for (auto& store : std::exchange(thread().stores, {})) store();
}

void fence_shared_for_tma() {
  for (int& writer : block().unfenced) {
    if (writer == static_cast<int>(linear_thread())) writer = kClean;
  }
}

void store_matrices_transposed(SharedAddress column, uint32_t m0, uint32_t m1, uint32_t m2, uint32_t m3) {
  with_warp({m0, m1, m2, m3}, "stmatrix", [&](const auto& lanes) {
    const unsigned matrix = linear_thread() % 32 / 8, i = linear_thread() % 8;  // this lane writes column i
    for (unsigned row = 0; row < 8; ++row) {
      const uint32_t both = lanes[row * 4 + i / 2][matrix];
      write(column + 2 * row, static_cast<uint16_t>(i % 2 ? both >> 16 : both));
    }
  });
}

void products_begin() {}

void multiply_64x256(float (&d)[128], uint64_t a, uint64_t b, bool accumulates) {
  multiply(d, 256, a, b, accumulates, false);
}

void multiply_64x192_by_columns(float (&d)[96], uint64_t a, uint64_t b) { multiply(d, 192, a, b, true, true); }

}  // namespace unet_fast
