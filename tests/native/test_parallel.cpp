// parallel_for covers a range exactly once, parallel_phases keeps its phases apart, and the native tests' threads
// really are threads: without a data race that ThreadSanitizer finds (planted_race.cpp), its silence about the kernels
// would mean nothing.
#include "core/parallel.h"

#include <mutex>

#include "check.h"

namespace unet_fast::test {
namespace {

void covers_once(const Threads& threads, int64_t count, int64_t grain) {
  std::mutex mutex;
  int64_t shortest = count;
  Buffer<int> visits(count, [](int64_t) { return 0; });
  parallel_for(threads, count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[i];
    const std::lock_guard lock(mutex);
    if (end - begin < shortest) shortest = end - begin;
  });
  const std::string what = text(count, " items, grain ", grain, ", ", threads.count, " threads");
  for (int64_t i = 0; i < count; ++i) check_equal(visits[i], 1, text(what, ": visits of ", i));
  if (count > 0) check(shortest >= (grain < count ? grain : count), text(what, ": a range of ", shortest));
}

// Every task of a phase finds all of the phase before done; no worker's number is used twice at a time.
void phases_follow_each_other(const Threads& threads, int64_t first_tasks, int64_t second_items) {
  const std::string what = text(first_tasks, " tasks, then ", second_items, " items, ", threads.count, " threads");
  Buffer<int> first(first_tasks, [](int64_t) { return 0; }), second(second_items, [](int64_t) { return 0; });
  Buffer<int> third(1, [](int64_t) { return 0; }), busy(threads.count, [](int64_t) { return 0; });
  const auto work = [&](int64_t worker, int& mark) {
    check_equal(++busy[worker], 1, text(what, ": tasks at once under worker ", worker));
    ++mark;
    --busy[worker];
  };
  int64_t missing = 0;
  parallel_phases(threads, Phase{first_tasks, [&](int64_t task, int64_t worker) { work(worker, first[task]); }},
                  phase_of_items(second_items, 3, [&](int64_t item, int64_t worker) { work(worker, second[item]); }),
                  Phase{int64_t{1}, [&](int64_t, int64_t worker) {
                          for (int64_t i = 0; i < first_tasks; ++i) missing += first[i] != 1;
                          for (int64_t i = 0; i < second_items; ++i) missing += second[i] != 1;
                          work(worker, third[0]);
                        }});
  check_equal(missing, 0, text(what, ": not done once before the third phase"));
  check_equal(third[0], 1, text(what, ": visits of the third phase"));
}

// A thread pool that runs everything on the caller, as torch's does within a parallel region.
void run_in_turn(int64_t begin, int64_t end, int64_t, Threads::Body body, void* context) { body(begin, end, context); }

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  for (const auto& threads : {one_thread(), std_threads()}) {
    for (const int64_t count : {0, 1, 2, 3, 4, 7, 100}) {
      for (const int64_t grain : {1, 2, 3, 16, 1000}) covers_once(threads, count, grain);
    }
  }
  for (const auto& threads : {one_thread(), std_threads(), unet_fast::Threads{run_in_turn, 4}}) {
    for (const int64_t tasks : {0, 1, 5, 64}) {
      for (const int64_t items : {0, 1, 3, 50}) phases_follow_each_other(threads, tasks, items);
    }
  }
  return report();
}
