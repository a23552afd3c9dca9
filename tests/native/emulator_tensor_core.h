// The tensor cores and TMA on the CPU: the names of csrc/cuda/tensor_core.cuh, in which their meaning stands.
//
// What is asynchronous on the GPU happens here at a random time between its earliest and its latest: a TMA load any
// time after it was asked for; a TMA store or a product when it is asked for, or only when the thread waits for it. So
// a forgotten wait, a slot given back too early or a barrier of the wrong parity gives wrong numbers for some order.
// What a rule of PTX forbids is an error of the launch: a TMA store of bytes that are not yet fenced, an address that
// is not aligned, bytes beyond shared memory, copies still in flight when the block ends.
//
// Not emulated: weak memory order, warps that must converge, how fast anything is.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cuda/tensor_map.cuh"

namespace unet_fast {

using SharedAddress = uint32_t;

SharedAddress shared_address(const void* pointer);

template <class T>
uint32_t pack_pair(float low, float high) {
  return from_float<T>(low).bits | static_cast<uint32_t>(from_float<T>(high).bits) << 16;
}
void store_shared(SharedAddress address, uint16_t value);
void store_shared(SharedAddress address, uint32_t value);
void store_shared(SharedAddress address, const uint4& value);
uint4 load_shared(SharedAddress address);
uint32_t load_shared_pair(SharedAddress address);
void named_barrier(int id, int threads);

namespace emulator {
void commit_group();
void wait_for_groups(int allowed);
}  // namespace emulator

void copy_16_bytes(SharedAddress to, const void* from, bool reads);
inline void copies_commit() { emulator::commit_group(); }
template <int kGroups>
void copies_wait() {
  emulator::wait_for_groups(kGroups);
}
void load_matrices(uint32_t (&m)[4], SharedAddress row);
void load_matrices_transposed(uint32_t (&m)[4], SharedAddress row);
uint32_t to_tf32(uint32_t bits);
template <class T>  // defined for BFloat16, Float16 and float, the others for the first two
void multiply_16x8(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

void mbarrier_init(SharedAddress barrier, int arrivals);
inline void mbarrier_fence_init() {}
void mbarrier_arrive(SharedAddress barrier);
void mbarrier_arrive_expecting(SharedAddress barrier, uint32_t bytes);
void mbarrier_wait(SharedAddress barrier, uint32_t parity);

void tma_load(SharedAddress to, const TensorMap& map, SharedAddress barrier, int c0, int c1, int c2, int c3);
void tma_store(const TensorMap& map, SharedAddress from, int c0, int c1, int c2, int c3);
void tma_stores_commit();
void tma_stores_wait_read();
void tma_stores_wait();
void fence_shared_for_tma();
void store_matrices_transposed(SharedAddress column, uint32_t m0, uint32_t m1, uint32_t m2, uint32_t m3);

template <int kRegisters>
void registers_release() {}
template <int kRegisters>
void registers_take() {}

void products_begin();
inline void products_commit() { emulator::commit_group(); }
template <int kGroups>
void products_wait() {
  emulator::wait_for_groups(kGroups);
}
template <class T>
void multiply_64x256(float (&d)[128], uint64_t a, uint64_t b, bool accumulates);
template <class T>
void multiply_64x192_by_columns(float (&d)[96], uint64_t a, uint64_t b);

}  // namespace unet_fast
