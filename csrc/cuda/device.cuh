// The device layer: everything the CUDA kernels need from CUDA, in one place.
// With UNET_FAST_EMULATOR the same names come from tests/native/emulator.h, and the kernels run on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/stream.h"

#ifdef UNET_FAST_EMULATOR
#include "emulator.h"
#else
#include <cuda_runtime.h>

namespace unet_fast {

// Makes `device` current and restores the one before: our statically linked runtime keeps its own current device.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    status_ = cudaGetDevice(&previous_);
    if (status_ == cudaSuccess && previous_ != device) status_ = cudaSetDevice(device);
    restore_ = status_ == cudaSuccess && previous_ != device;
  }
  ~DeviceGuard() {
    if (restore_) cudaSetDevice(previous_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  cudaError_t status() const { return status_; }

 private:
  int previous_ = 0;
  bool restore_ = false;
  cudaError_t status_;
};

struct DeviceTraits {
  int capability;       // 90 for sm_90; 0 where CUDA does not say
  int multiprocessors;  // at least 1
};

inline DeviceTraits device_traits(int device) {
  int major = 0, minor = 0, multiprocessors = 1;
  const bool is_known = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
                        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) == cudaSuccess &&
                        cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device) == cudaSuccess;
  return is_known ? DeviceTraits{10 * major + minor, multiprocessors} : DeviceTraits{0, 1};
}

// Launches kernel(args...) on the stream. Returns null, or what CUDA said.
// An empty grid is no launch.
template <class... Parameters, class... Args>
const char* launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, const Stream& stream,
                   const Args&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return nullptr;
  const DeviceGuard guard(stream.device);
  if (guard.status() != cudaSuccess) return cudaGetErrorString(guard.status());
  constexpr size_t kSharedBytesUnasked = 48 * 1024;  // more must be asked for
  if (shared_bytes > kSharedBytesUnasked) {
    const cudaError_t status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (status != cudaSuccess) return cudaGetErrorString(status);
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream.handle);
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...);
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

// The block's dynamic shared memory, 16-byte aligned.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

}  // namespace unet_fast
#endif

namespace unet_fast {

// Blocks for a grid-stride loop over `count` items: enough to fill any GPU, few enough for the grid's limit.
inline dim3 grid_for(int64_t count, int block) {
  constexpr int64_t kMaxBlocks = 1 << 16;
  const int64_t blocks = (count + block - 1) / block;
  return dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks));
}

}  // namespace unet_fast
