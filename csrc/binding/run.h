// Runs an operator on the device of its tensors, without the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "binding/tensor.h"
#include "core/parallel.h"
#include "core/stream.h"

namespace unet_fast {

// torch's own pool, so that torch.set_num_threads() holds for us too.
Threads torch_threads();

template <class Args>
void run(const Tensor& where, uintptr_t stream, const Args& args, void (*cpu)(const Args&, const Threads&),
         const char* (*cuda)(const Args&, const Stream&)) {
  const pybind11::gil_scoped_release no_gil;
  if (where.device < 0) {
    cpu(args, torch_threads());
  } else if (const char* error = cuda(args, Stream{where.device, reinterpret_cast<void*>(stream)})) {
    throw std::runtime_error(std::string("unet_fast on CUDA: ") + error);
  }
}

// The same for an operator that exists on the CPU only; the binding has refused other devices.
template <class Args>
void run(const Args& args, void (*cpu)(const Args&, const Threads&)) {
  const pybind11::gil_scoped_release no_gil;
  cpu(args, torch_threads());
}

// Scratch memory of an operator, alive as long as this object.
class Workspace {
 public:
  // `allocate` is a Python function: number of floats -> float32 tensor on the device of the operator.
  Workspace(const pybind11::function& allocate, int64_t floats)
      : tensor_(allocate(floats)), data_(tensor_.cast<Tensor>().as<float>()) {}
  float* data() const { return data_; }

 private:
  pybind11::object tensor_;
  float* data_;
};

}  // namespace unet_fast
