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
         const char* (*cuda)(const Args&, const Stream&), const Threads& threads = torch_threads()) {
  const pybind11::gil_scoped_release no_gil;
  if (where.device < 0) {
    cpu(args, threads);
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

// How many floats of scratch memory an operator wants in args.workspace; null stands for none.
template <class Args>
struct Workspace {
  int64_t (*cpu)(const Args&, const Threads&);
  int64_t (*cuda)(const Args&);
};

// The same for an operator that needs scratch memory. `allocate` is a Python function: number of floats -> float32
// tensor on the device of the operator.
template <class Args>
void run(const Tensor& where, uintptr_t stream, Args args, void (*cpu)(const Args&, const Threads&),
         const char* (*cuda)(const Args&, const Stream&), const Workspace<Args>& workspace,
         const pybind11::function& allocate) {
  const Threads threads = torch_threads();
  const int64_t floats = where.device < 0 ? (workspace.cpu ? workspace.cpu(args, threads) : 0)
                                          : (workspace.cuda ? workspace.cuda(args) : 0);
  const pybind11::object memory = allocate(floats);  // alive until the kernel is done or, on CUDA, in the stream
  args.workspace = memory.cast<Tensor>().as<float>();
  run(where, stream, args, cpu, cuda, threads);
}

}  // namespace unet_fast
