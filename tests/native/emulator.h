// CUDA on the CPU: with UNET_FAST_EMULATOR, csrc/cuda/device.cuh takes its names from here and every .cu file is plain
// C++. The threads of a block run one after another on the calling thread, in random order, each until it waits at a
// barrier; blocks run in random order too. So a missing barrier gives a wrong answer for some order, a barrier that not
// all threads reach is reported, and AddressSanitizer sees every access outside of dynamic shared memory.
#pragma once

#include <math.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <source_location>
#include <string>
#include <tuple>

#include "core/stream.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __grid_constant__
// One block runs at a time, so one copy is enough. It is not poisoned: what the block before left there is garbage too.
#define __shared__ static

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace unet_fast {
namespace emulator {

// The order of threads and blocks is drawn from this number on.
void seed(uint64_t value);

// Suspends the calling thread until ready(context); other threads of its block go on. `what` and `where` name the wait
// in the report of a deadlock.
void wait_until(bool (*ready)(const void* context), const void* context, const char* what,
                const std::source_location& where);

void barrier(const std::source_location& where);

void* dynamic_shared();
size_t dynamic_shared_bytes();

// What emulator_tensor_core.cpp builds on.
uint64_t block_serial();                     // another number for each block that runs
uint64_t random_below(uint64_t count);       // in [0, count)
void later(std::function<void()> function);  // at a random time between the steps of the block's threads
void fail(const std::string& message);       // ends the launch with an error

// What device_traits() answers.
void use_device(int capability, int multiprocessors);

// Calls body(context) once for each thread of each block. Returns null or what went wrong.
const char* run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(void* context), void* context);

}  // namespace emulator

// As in device.cuh.
struct DeviceTraits {
  int capability;
  int multiprocessors;
};
DeviceTraits device_traits(int device);

template <class... Parameters, class... Args>
const char* launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, const Stream&,
                   const Args&... args) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
  } call{kernel, {static_cast<Parameters>(args)...}};
  const auto body = [](void* context) {
    const Call& call = *static_cast<const Call*>(context);
    std::apply(call.kernel, call.parameters);
  };
  return emulator::run_grid(grid, block, shared_bytes, body, &call);
}

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulator::dynamic_shared());
}

}  // namespace unet_fast

inline void __syncthreads(const std::source_location& where = std::source_location::current()) {
  unet_fast::emulator::barrier(where);
}

// Vector types, for 8- and 16-byte accesses; UndefinedBehaviorSanitizer sees a misaligned one.
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Device functions that the C library lacks.
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a < b ? b : a; }
inline unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
inline unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((uint64_t{a} * b) >> 32); }
