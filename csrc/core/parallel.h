// Threads that a CPU kernel borrows from its caller (torch's own pool; a plain loop or std::thread in native tests).
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "core/portable.h"

namespace unet_fast {

struct Threads {
  using Body = void (*)(int64_t begin, int64_t end, void* context);
  // Calls body on disjoint ranges that cover [begin, end), no more of them than ranges of `grain` items would be, and
  // returns when all are done.
  void (*run)(int64_t begin, int64_t end, int64_t grain, Body body, void* context);
  int count;  // threads that run at most at the same time
};

static inline void pause_briefly() {
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_ia32_pause();
#endif
}

// Where idle threads sleep (OMP_WAIT_POLICY=PASSIVE), a caller that is done first would fall asleep, too, and be woken
// only after the others are done: for a small operator that takes as long as its work. So it stays awake until they are
// (at most 0.1 ms), and then for what they need to leave.
template <class AreDone>
static inline void stay_awake_until(const AreDone& are_done) {
  constexpr int kPatience = 2048, kToLeave = 32;  // pauses
  for (int i = 0; i < kPatience && !are_done(); ++i) pause_briefly();
  for (int i = 0; i < kToLeave; ++i) pause_briefly();
}

// function(begin, end) on disjoint ranges that cover [0, count). The caller has the first of them.
template <class Function>
static inline void parallel_for(const Threads& threads, int64_t count, int64_t grain, const Function& function) {
  if (count <= 0) return;
  if (threads.count == 1 || count <= grain) {
    function(int64_t{0}, count);
    return;
  }
  struct Loop {
    const Function& function;
    const int64_t count;
    std::atomic<int64_t> done{0};
  } loop{function, count};
  const Threads::Body body = [](int64_t begin, int64_t end, void* context) {
    Loop& loop = *static_cast<Loop*>(context);
    loop.function(begin, end);
    loop.done.fetch_add(end - begin, std::memory_order_relaxed);
    if (begin == 0) stay_awake_until([&] { return loop.done.load(std::memory_order_relaxed) == loop.count; });
  };
  threads.run(0, count, grain, body, &loop);
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

// A step of parallel_phases: function(task, worker) for every task in [0, tasks).
template <class Function>
struct Phase {
  int64_t tasks;
  Function function;
};

template <class Function>
Phase(int64_t, Function) -> Phase<Function>;

// Waits for the few tasks that others are still at.
static inline void wait_until(const std::atomic<int64_t>& done, int64_t wanted) {
  for (int spins = 0; done.load(std::memory_order_acquire) < wanted; ++spins) {
    constexpr int kPatience = 4096;
    if (spins > kPatience) {
      std::this_thread::yield();
    } else {
      pause_briefly();
    }
  }
}

// Several parallel_tasks one after the other, for which the threads are woken only once: on a small layer that costs
// more than the work. A task waits until all tasks of the phases before are done. Those have been taken by threads that
// are running them, so nobody waits in vain, however many threads there really are.
template <class... Functions>
static inline void parallel_phases(const Threads& threads, const Phase<Functions>&... phases) {
  const int64_t total = (phases.tasks + ...);
  std::atomic<int64_t> next{0}, done{0};
  parallel_for(threads, total < threads.count ? total : threads.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < total;) {
        int64_t first = 0;  // task of the phase
        const auto runs = [&](const auto& phase) {
          if (task - first >= phase.tasks) {
            first += phase.tasks;
            return false;
          }
          wait_until(done, first);
          phase.function(task - first, worker);
          done.fetch_add(1, std::memory_order_release);
          return true;
        };
        (runs(phases) || ...);
      }
    }
  });
}

// Tasks of at most `grain` items for a phase: function(item, worker) for every item in [0, count).
template <class Function>
static inline auto phase_of_items(int64_t count, int64_t grain, const Function& function) {
  const auto run = [count, grain, function](int64_t task, int64_t worker) {
    const int64_t end = (task + 1) * grain < count ? (task + 1) * grain : count;
    for (int64_t item = task * grain; item < end; ++item) function(item, worker);
  };
  return Phase<decltype(run)>{(count + grain - 1) / grain, run};
}

}  // namespace unet_fast
