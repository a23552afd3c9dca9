// Finds torch's thread pool in the libtorch that is already loaded. torch_parallel_for and torch_get_num_threads belong
// to libtorch's stable C interface since 2.10; looked up by name, they bind us to no torch version and to no OpenMP.
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include "binding/check.h"
#include "binding/operators.h"
#include "binding/run.h"
#include "core/team.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

namespace py = pybind11;

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
    refuse_torch("torch_parallel_for");
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

thread_local Team* current_team = nullptr;  // that this thread leads

int thread_count() {
  uint32_t count = 1;
  pool().num_threads(&count);
  return static_cast<int>(count);
}

void run_on_team(int64_t begin, int64_t end, int64_t grain, Threads::Body body, void* context) {
  current_team->run(begin, end, grain, body, context);
}

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

// Calls a Python function while the pool's threads, awake, wait for the loops of the operators in it. The caller keeps
// the GIL, which the others never ask for.
py::object with_threads_awake(const py::function& function) {
  const int count = thread_count();
  if (count == 1 || current_team) return function();
  struct Call {
    const py::function& function;
    Team team;
    const std::thread::id leader = std::this_thread::get_id();
    py::object result{};
    std::exception_ptr failure{};
  } call{function, Team(count)};
  const auto body = [](int64_t, int64_t, void* context) {
    Call& call = *static_cast<Call*>(context);
    if (std::this_thread::get_id() != call.leader) return call.team.serve();
    current_team = &call.team;
    try {
      call.result = call.function();
    } catch (...) {
      call.failure = std::current_exception();
    }
    current_team = nullptr;
    call.team.close();
  };
  run_on_pool(0, count, 1, body, &call);
  if (call.failure) std::rethrow_exception(call.failure);
  return call.result;
}

}  // namespace

Threads torch_threads() { return {current_team ? run_on_team : run_on_pool, thread_count()}; }

void bind_torch_threads(py::module_& module) {
  module.def("with_threads_awake", &with_threads_awake, py::arg("function"));
}

}  // namespace unet_fast
