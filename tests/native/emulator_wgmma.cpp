// The instructions of sm_90a: TMA and its barriers, products by a warpgroup.
#include "emulator_block.h"

namespace unet_fast {

using emulator::at;
using emulator::Block;
using emulator::block;
using emulator::fail;
using emulator::kClean;
using emulator::kWindow;
using emulator::linear_thread;
using emulator::MBarrier;
using emulator::now_or_later;
using emulator::Operation;
using emulator::read;
using emulator::Thread;
using emulator::thread;
using emulator::with_warp;
using emulator::write;

namespace {

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

// Values (row, 0..15) of a wgmma operand.
template <class T>
void load_operand(const Block& b, uint64_t descriptor, int row, bool by_columns, float (&values)[16]) {
  const SharedAddress start = (descriptor & 0x3fff) << 4, next = (descriptor >> 16 & 0x3fff) << 4,
                      eight = (descriptor >> 32 & 0x3fff) << 4;
  const int count = by_columns ? 1 : 8;  // that lie side by side
  for (int k = 0; k < 16; k += count) {
    const SharedAddress place = by_columns ? start + row / 64 * next + k / 8 * eight + k % 8 * 128 + row % 64 * 2
                                           : start + row / 8 * eight + row % 8 * 128 + k * 2;
    const size_t offset = swizzle(place) - size_t{kWindow};
    if (offset + 2 * count > b.bytes) return fail("an operand outside of shared memory");
    T value[8];
    std::memcpy(value, b.memory + offset, 2 * count);
    for (int i = 0; i < count; ++i) values[k + i] = to_float(value[i]);
  }
}

void check_descriptor(uint64_t descriptor) {
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7)) fail("an operand's descriptor is not one of a swizzled tile");
}

// The part of a warpgroup's product whose sums this thread holds.
template <class T>
void multiply(float* d, int columns, uint64_t a, uint64_t b, bool accumulates, bool by_columns) {
  check_descriptor(a), check_descriptor(b);
  const int t = static_cast<int>(linear_thread() % 128), row = t / 32 * 16 + t % 32 / 4, column = 2 * (t % 4);
  now_or_later([=] {
    const Block& shared = block();
    float left[2][16] = {}, right[16] = {};
    for (int half = 0; half < 2; ++half) load_operand<T>(shared, a, row + 8 * half, by_columns, left[half]);
    for (int j = 0; j < columns / 8; ++j) {
      for (int e = 0; e < 2; ++e) {
        load_operand<T>(shared, b, 8 * j + column + e, by_columns, right);
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
  const int own = static_cast<int>(linear_thread());
  for (int& writer : block().unfenced) {
    if (writer == own) writer = kClean;
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

template <class T>
void multiply_64x256(float (&d)[128], uint64_t a, uint64_t b, bool accumulates) {
  multiply<T>(d, 256, a, b, accumulates, false);
}
template void multiply_64x256<BFloat16>(float (&)[128], uint64_t, uint64_t, bool);
template void multiply_64x256<Float16>(float (&)[128], uint64_t, uint64_t, bool);

template <class T>
void multiply_64x192_by_columns(float (&d)[96], uint64_t a, uint64_t b) {
  multiply<T>(d, 192, a, b, true, true);
}
template void multiply_64x192_by_columns<BFloat16>(float (&)[96], uint64_t, uint64_t);
template void multiply_64x192_by_columns<Float16>(float (&)[96], uint64_t, uint64_t);

}  // namespace unet_fast
