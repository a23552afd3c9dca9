// Finds torch's thread pool in the libtorch that is already loaded. torch_parallel_for and torch_get_num_threads belong
// to libtorch's stable C interface since 2.10; looked up by name, they bind us to no torch version and to no OpenMP.
#include <stdexcept>
#include <string>

#include "binding/run.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace unet_fast {
namespace {

using ParallelFor = int (*)(int64_t begin, int64_t end, int64_t grain, Threads::Body body, void* context);
using NumThreads = int (*)(uint32_t* count);

void* find_in_torch(const char* symbol) {
#ifdef _WIN32
  return reinterpret_cast<void*>(GetProcAddress(GetModuleHandleA("torch_cpu.dll"), symbol));
#else
#ifdef __APPLE__
  const char* library = "libtorch_cpu.dylib";
#else
  const char* library = "libtorch_cpu.so";
#endif
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  return dlsym(handle ? handle : RTLD_DEFAULT, symbol);
#endif
}

struct Pool {
  ParallelFor parallel_for = reinterpret_cast<ParallelFor>(find_in_torch("torch_parallel_for"));
  NumThreads num_threads = reinterpret_cast<NumThreads>(find_in_torch("torch_get_num_threads"));
};

const Pool& pool() {
  static const Pool instance;
  if (!instance.parallel_for || !instance.num_threads) {
    throw std::runtime_error("unet_fast needs torch 2.10 or later (torch_parallel_for is missing): upgrade torch");
  }
  return instance;
}

void run_on_pool(int64_t begin, int64_t end, int64_t grain, Threads::Body body, void* context) {
  if (pool().parallel_for(begin, end, grain, body, context) != 0) throw std::runtime_error("torch_parallel_for failed");
}

}  // namespace

Threads torch_threads() {
  uint32_t count = 1;
  pool().num_threads(&count);
  return {run_on_pool, static_cast<int>(count)};
}

}  // namespace unet_fast
