// Values that lie side by side and are moved 16 bytes at once: what is bound by memory needs it to reach its speed.
#pragma once

#include <initializer_list>

#include "cuda/tensor_core.cuh"

namespace unet_fast {
namespace {

template <class T>
constexpr int kVector = 16 / sizeof(T);

template <class T, int kCount>
struct alignas(kCount < kVector<T> ? kCount * sizeof(T) : 16) Values {
  T value[kCount];
};

template <int kCount, class T>
__device__ __forceinline__ void load_values(float (&to)[kCount], const T* from) {
  const Values<T, kCount> values = *reinterpret_cast<const Values<T, kCount>*>(from);
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = to_float(values.value[i]);
}

template <int kCount, class T>
__device__ __forceinline__ void store_values(T* to, const float (&from)[kCount]) {
  Values<T, kCount> values;
  if constexpr (sizeof(T) == 2 && kCount % 2 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 2) {
      const uint32_t pair = pack_pair<T>(from[i], from[i + 1]);
      memcpy(&values.value[i], &pair, sizeof pair);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) values.value[i] = from_float<T>(from[i]);
  }
  *reinterpret_cast<Values<T, kCount>*>(to) = values;
}

// The first `count` of kCount values, and zeros; `count` may be less than 0.
template <int kCount, class T>
__device__ __forceinline__ void load_some_values(float (&to)[kCount], const T* from, int count) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) to[i] = i < count ? to_float(from[i]) : 0.0f;
}

template <int kCount, class T>
__device__ __forceinline__ void store_some_values(T* to, const float (&from)[kCount], int count) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < count) to[i] = from_float<T>(from[i]);
  }
}

// Whether pixels of so many channels are whole vectors.
template <class T>
bool are_vectors(int64_t channels, std::initializer_list<const void*> pointers) {
  bool are = channels % kVector<T> == 0;
  for (const void* pointer : pointers) are = are && reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  return are;
}

}  // namespace
}  // namespace unet_fast
