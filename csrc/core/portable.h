// Lets one function run on the host, inside a CUDA kernel, and in files that are compiled once per instruction set.
//
// Files in csrc/cpu are compiled several times with different flags. A function with external linkage that is defined
// in a header would leave one weak copy per object, and the linker could keep the AVX-512 copy for an older machine.
// So everything in csrc/core is internal to its translation unit (UNET_FAST_FUNCTION) or always inlined
// (UNET_FAST_METHOD); tests/test_symbols.py proves it.
#pragma once

#if defined(__CUDACC__)
#define UNET_FAST_FUNCTION static __host__ __device__ __forceinline__
#define UNET_FAST_METHOD __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define UNET_FAST_FUNCTION static __forceinline
#define UNET_FAST_METHOD __forceinline
#else
#define UNET_FAST_FUNCTION static inline __attribute__((always_inline, unused))
#define UNET_FAST_METHOD inline __attribute__((always_inline))
#endif
