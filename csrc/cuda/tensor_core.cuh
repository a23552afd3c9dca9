// The tensor cores and what feeds them: the only file with PTX. Names are ours, the comments give PTX's.
// With UNET_FAST_EMULATOR the same names come from tests/native/emulator_tensor_core.h.
//
//   sm_80 and later: cp.async -> ldmatrix -> mma.sync, in which a warp multiplies 16 x 16 by 16 x 8
//   sm_90a:          TMA -> wgmma, in which a warpgroup (128 threads) multiplies 64 x 16 by 16 x N from shared memory
//
// The factors are of type T: BFloat16, Float16, or float, of which mma.sync takes the 19 bits of TF32 (8 of exponent,
// 10 of mantissa) and half as many k at once. Sums are float32.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/dtype.h"
#include "cuda/device.cuh"
#include "cuda/tensor_map.cuh"

#ifdef UNET_FAST_EMULATOR
#include "emulator_tensor_core.h"
#else

namespace unet_fast {

using SharedAddress = uint32_t;

__device__ __forceinline__ SharedAddress shared_address(const void* pointer) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(pointer));
}

// Two floats as T of 16 bits, `low` in the lower half.
template <class T>
__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  uint32_t packed;
  if constexpr (std::is_same_v<T, BFloat16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  } else {
    static_assert(std::is_same_v<T, Float16>);
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  }
  return packed;
}

__device__ __forceinline__ void store_shared(SharedAddress address, uint16_t value) {
  asm volatile("st.shared.b16 [%0], %1;" ::"r"(address), "h"(value) : "memory");
}
__device__ __forceinline__ void store_shared(SharedAddress address, uint32_t value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}
__device__ __forceinline__ void store_shared(SharedAddress address, const uint4& v) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
               : "memory");
}
__device__ __forceinline__ uint4 load_shared(SharedAddress address) {
  uint4 v;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address)
               : "memory");
  return v;
}

__device__ __forceinline__ uint32_t load_shared_pair(SharedAddress address) {
  uint32_t v;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
  return v;
}

// Waits until `threads` threads, whole warps, have come to barrier `id` of the block (bar.sync); 0 is __syncthreads().
__device__ __forceinline__ void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ---- sm_80: asynchronous copies by a thread, products by a warp -----------------------------------------------------

// 16 bytes from global to shared memory; zeros where it does not read.
__device__ __forceinline__ void copy_16_bytes(SharedAddress to, const void* from, bool reads) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(reads ? 16 : 0) : "memory");
}
__device__ __forceinline__ void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all but the last kGroups committed groups of this thread have arrived.
template <int kGroups>
__device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

// Four 8 x 8 matrices of 16-bit values: lane l gives the address of row l % 8 of matrix l / 8, and receives of each
// matrix the values (l / 4, 2 (l % 4)) and the next (ldmatrix.x4).
__device__ __forceinline__ void load_matrices(uint32_t (&m)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(row)
               : "memory");
}

// The same of transposed matrices: of each the values (2 (l % 4), l / 4) and (2 (l % 4) + 1, l / 4)
// (ldmatrix.x4.trans).
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&m)[4], SharedAddress row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(row)
               : "memory");
}

// The nearest number of TF32.
__device__ __forceinline__ uint32_t to_tf32(uint32_t bits) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}

#define UNET_FAST_MMA(shape, type)                                                    \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type                \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])               \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

// sum[16 x 8] += a[16 x 32 bytes] b[32 bytes x 8] (mma.sync.m16n8k16, of TF32 .m16n8k8). Lane l holds sum (l / 4,
// 2 (l % 4)), the next, and both eight rows further down; of the factors what load_matrices gives.
template <class T>
__device__ __forceinline__ void multiply_16x8(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    UNET_FAST_MMA("m16n8k16", "bf16");
  } else if constexpr (std::is_same_v<T, Float16>) {
    UNET_FAST_MMA("m16n8k16", "f16");
  } else {
    UNET_FAST_MMA("m16n8k8", "tf32");
  }
}
#undef UNET_FAST_MMA

// ---- sm_90a ---------------------------------------------------------------------------------------------------------
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

// An mbarrier: 8 bytes of shared memory, whose phase ends when `arrivals` threads have arrived and all bytes that were
// announced have been copied.
__device__ __forceinline__ void mbarrier_init(SharedAddress barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
// Makes initialised barriers known to the TMA unit.
__device__ __forceinline__ void mbarrier_fence_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(SharedAddress barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive_expecting(SharedAddress barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
// Until the phase of this parity has ended; the phase before the first counts as one of parity 1.
__device__ __forceinline__ void mbarrier_wait(SharedAddress barrier, uint32_t parity) {
  uint32_t done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(barrier), "r"(parity)
                 : "memory");
  } while (!done);
}

// A box of a tensor of four dimensions, innermost first, from global to shared memory (TMA). What lies outside of the
// tensor reads as zero. 128 bytes of the innermost dimension are a row of the box; see swizzled().
__device__ __forceinline__ void tma_load(SharedAddress to, const TensorMap& map, SharedAddress barrier, int c0, int c1,
                                         int c2, int c3) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
      : "memory");
}
// The way back. What lies outside of the tensor is not written.
__device__ __forceinline__ void tma_store(const TensorMap& map, SharedAddress from, int c0, int c1, int c2, int c3) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
               "r"(from), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
               : "memory");
}
__device__ __forceinline__ void tma_stores_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until shared memory has been read; and until global memory has been written, too.
__device__ __forceinline__ void tma_stores_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}
__device__ __forceinline__ void tma_stores_wait() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }
// Makes what this thread has written to shared memory visible to TMA and wgmma.
__device__ __forceinline__ void fence_shared_for_tma() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Four 8 x 8 matrices of 16-bit values, transposed: lane l gives the address of column l % 8 of matrix l / 8, and of
// each matrix the values (l / 4, 2 (l % 4)) and the next (stmatrix.x4.trans).
__device__ __forceinline__ void store_matrices_transposed(SharedAddress column, uint32_t m0, uint32_t m1, uint32_t m2,
                                                          uint32_t m3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(column), "r"(m0), "r"(m1),
               "r"(m2), "r"(m3)
               : "memory");
}

// All warps of a warpgroup: how many registers its threads have from now on.
template <int kRegisters>
__device__ __forceinline__ void registers_release() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void registers_take() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// Before the first product after the accumulators were touched.
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until all but the last kGroups committed groups are done.
template <int kGroups>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
}

// 8 and 32 accumulators as operands, and their numbers in the text of an instruction.
#define UNET_FAST_8(i)                                                                                        \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define UNET_FAST_32(i) UNET_FAST_8(i), UNET_FAST_8(i + 8), UNET_FAST_8(i + 16), UNET_FAST_8(i + 24)
#define UNET_FAST_0_TO_95                                                                                          \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, " \
  "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, " \
  "%68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, " \
  "%90, %91, %92, %93, %94, %95"

#define UNET_FAST_64X256(type)                                                                                        \
  asm volatile(                                                                                                       \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"                                                                   \
      "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type " {" UNET_FAST_0_TO_95                             \
      ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, "    \
      "%114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, %128, %129, p, 1, 1, 0, " \
      "0;\n}"                                                                                                         \
      : UNET_FAST_32(0), UNET_FAST_32(32), UNET_FAST_32(64), UNET_FAST_32(96)                                         \
      : "l"(a), "l"(b), "r"(static_cast<int>(accumulates)))
#define UNET_FAST_64X192(type)                                                                     \
  asm volatile("wgmma.mma_async.sync.aligned.m64n192k16.f32." type "." type " {" UNET_FAST_0_TO_95 \
               "}, %96, %97, 1, 1, 1, 1, 1;"                                                       \
               : UNET_FAST_32(0), UNET_FAST_32(32), UNET_FAST_32(64)                               \
               : "l"(a), "l"(b))

// d[64 x 256] = a[64 x 16] b[16 x 256] (+ d), T of 16 bits, k innermost in both (see rows_descriptor).
// Thread t holds of d, in d[4 j + e], row 16 (t / 32) + t % 32 / 4 + 8 (e / 2), column 8 j + 2 (t % 4) + e % 2.
template <class T>
__device__ __forceinline__ void multiply_64x256(float (&d)[128], uint64_t a, uint64_t b, bool accumulates) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    UNET_FAST_64X256("bf16");
  } else {
    UNET_FAST_64X256("f16");
  }
}

// d[64 x 192] += a[64 x 16] b[16 x 192], T of 16 bits, k outermost in both (see columns_descriptor).
template <class T>
__device__ __forceinline__ void multiply_64x192_by_columns(float (&d)[96], uint64_t a, uint64_t b) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    UNET_FAST_64X192("bf16");
  } else {
    UNET_FAST_64X192("f16");
  }
}

#undef UNET_FAST_64X192
#undef UNET_FAST_64X256
#undef UNET_FAST_0_TO_95
#undef UNET_FAST_32
#undef UNET_FAST_8
#endif

}  // namespace unet_fast
#endif

namespace unet_fast {

// Where 16-byte chunk `chunk` of row `row` lies in a tile with rows of 128 bytes: the eight chunks of a row change
// places, so that the same chunk of eight rows lies in eight different banks. Tiles begin at multiples of 1024 bytes.
UNET_FAST_FUNCTION uint32_t swizzled(int row, int chunk) {
  return static_cast<uint32_t>(row * 128 + ((chunk ^ (row & 7)) << 4));
}

// The descriptor of a wgmma operand in such a tile. Rows of 64 k, eight of them 1024 bytes; 16 k further on is 32
// bytes.
UNET_FAST_FUNCTION uint64_t rows_descriptor(uint32_t address) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kEightRows = uint64_t{1024 >> 4} << 32;
  return ((address & 0x3ffff) >> 4) | uint64_t{1} << 16 | kEightRows | kSwizzle128;
}

// One row per k of 64 operand rows or columns; the next 64 begin `next` bytes on. 16 k further on is 2048 bytes.
UNET_FAST_FUNCTION uint64_t columns_descriptor(uint32_t address, uint32_t next) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kEightRows = uint64_t{1024 >> 4} << 32;
  return ((address & 0x3ffff) >> 4) | uint64_t{next >> 4} << 16 | kEightRows | kSwizzle128;
}

}  // namespace unet_fast
