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
#ifdef __linux__
#include <sched.h>
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

// Linux wakes a thread on the processor where it ran last unless it knows of an idle one; in a virtual machine it takes
// one that sleeps for one that is taken away. So a thread that once was on the processor of its caller is woken there
// again and again, and the two take turns while the other processors sleep. Who finds himself there moves on, once.
#ifdef __linux__
int this_processor() { return sched_getcpu(); }

void leave(int processor) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  CPU_CLR(processor, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
int this_processor() { return -1; }
void leave(int) {}
#endif

void run_on_pool(int64_t begin, int64_t end, int64_t grain, Threads::Body body, void* context) {
  struct Call {
    Threads::Body body;
    void* context;
    int64_t begin;
    int processor;  // the caller's
  } call{body, context, begin, this_processor()};
  const auto run = [](int64_t first, int64_t last, void* context) {
    const Call& call = *static_cast<Call*>(context);
    if (first > call.begin && call.processor >= 0 && this_processor() == call.processor) leave(call.processor);
    call.body(first, last, call.context);
  };
  if (pool().parallel_for(begin, end, grain, run, &call) != 0) throw std::runtime_error("torch_parallel_for failed");
}

}  // namespace

Threads torch_threads() {
  uint32_t count = 1;
  pool().num_threads(&count);
  return {run_on_pool, static_cast<int>(count)};
}

}  // namespace unet_fast
