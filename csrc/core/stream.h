// The CUDA stream that a kernel is launched on, borrowed from the caller. No CUDA header is needed to name it.
#pragma once

namespace unet_fast {

struct Stream {
  int device;    // index of the CUDA device that holds the tensors
  void* handle;  // cudaStream_t
};

}  // namespace unet_fast
