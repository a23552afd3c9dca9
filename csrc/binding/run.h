// Runs an operator on the device of its tensors, without the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>

#include "binding/pool.h"
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

// The same for an operator that needs scratch memory: on the CPU a block of the pool; on CUDA what `allocate` gives, a
// Python function: number of floats -> float32 tensor on the device of the operator.
template <class Args>
void run(const Tensor& where, uintptr_t stream, Args args, void (*cpu)(const Args&, const Threads&),
         const char* (*cuda)(const Args&, const Stream&), const Workspace<Args>& workspace,
         const pybind11::function& allocate) {
  if (where.device < 0) {
    const Threads threads = torch_threads();
    const ScratchBlock block(sizeof(float) * (workspace.cpu ? workspace.cpu(args, threads) : 0));
    args.workspace = static_cast<float*>(block.data());
    run(where, stream, args, cpu, cuda, threads);
  } else {
    const pybind11::object memory =
        allocate(workspace.cuda ? workspace.cuda(args) : 0);  // alive until it is in the stream
    args.workspace = memory.cast<Tensor>().as<float>();
    run(where, stream, args, cpu, cuda);
  }
}

}  // namespace unet_fast
