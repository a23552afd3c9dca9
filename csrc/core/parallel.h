// Threads that a CPU kernel borrows from its caller (torch's own pool; a plain loop or std::thread in native tests).
#pragma once

#include <atomic>
#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

struct Threads {
  using Body = void (*)(int64_t begin, int64_t end, void* context);
  // Calls body on disjoint ranges that cover [begin, end), each of at least `grain` items, and returns when all are
  // done.
  void (*run)(int64_t begin, int64_t end, int64_t grain, Body body, void* context);
  int count;  // threads that run at most at the same time
};

// function(begin, end) on disjoint ranges that cover [0, count).
template <class Function>
static inline void parallel_for(const Threads& threads, int64_t count, int64_t grain, const Function& function) {
  if (count <= 0) return;
  if (threads.count == 1 || count <= grain) {
    function(int64_t{0}, count);
    return;
  }
  const Threads::Body body = [](int64_t begin, int64_t end, void* context) {
    (*static_cast<const Function*>(context))(begin, end);
  };
  threads.run(0, count, grain, body, const_cast<void*>(static_cast<const void*>(&function)));
}

// function(task, worker) for every task in [0, tasks): whoever is free takes the next one, so that a thread that is
// held up holds up nobody. Workers are numbered from 0 to at most threads.count - 1; no two run at the same time under
// one number, which therefore says whose scratch memory to use.
template <class Function>
static inline void parallel_tasks(const Threads& threads, int64_t tasks, const Function& function) {
  std::atomic<int64_t> next{0};
  parallel_for(threads, tasks < threads.count ? tasks : threads.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) function(task, worker);
    }
  });
}

}  // namespace unet_fast
