// parallel_for covers a range exactly once, parallel_phases keeps its phases apart, also in a team, and the native
// tests' threads really are threads: without a data race that ThreadSanitizer finds (planted_race.cpp), its silence
// about the kernels would mean nothing.
#include "core/parallel.h"

#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "check.h"
#include "core/team.h"

namespace unet_fast::test {
namespace {

void covers_once(const Threads& threads, int64_t count, int64_t grain) {
  std::mutex mutex;
  int64_t ranges = 0;
  Buffer<int> visits(count, [](int64_t) { return 0; });
  parallel_for(threads, count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[i];
    const std::lock_guard lock(mutex);
    ++ranges;
  });
  const std::string what = text(count, " items, grain ", grain, ", ", threads.count, " threads");
  for (int64_t i = 0; i < count; ++i) check_equal(visits[i], 1, text(what, ": visits of ", i));
  check(ranges <= (count + grain - 1) / grain, text(what, ": ", ranges, " ranges"));
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

constexpr int kTeam = 3;
Team* team = nullptr;

// test(threads), of a team of kTeam that this thread leads.
template <class Test>
void in_a_team(const Test& test) {
  Team led(kTeam);
  team = &led;
  std::vector<std::thread> others;
  for (int i = 1; i < kTeam; ++i) others.emplace_back([&] { led.serve(); });
  const auto run = [](int64_t begin, int64_t end, int64_t grain, Threads::Body body, void* context) {
    team->run(begin, end, grain, body, context);
  };
  test(Threads{run, kTeam});
  led.close();
  for (std::thread& thread : others) thread.join();
}

// Each range waits for all others: this ends where all threads of the team take part.
void all_take_part(const Threads& threads) {
  std::atomic<int64_t> there{0};
  parallel_for(threads, kTeam, 1, [&](int64_t begin, int64_t end) {
    there.fetch_add(end - begin);
    wait_until(there, kTeam);
  });
  check_equal(there.load(), kTeam, "threads of a team that take part");
}

void failures_reach_the_leader(const Threads& threads) {
  for (int64_t failing = 0; failing < kTeam; ++failing) {
    bool caught = false;
    try {
      parallel_for(threads, kTeam, 1, [&](int64_t begin, int64_t end) {
        if (begin <= failing && failing < end) throw std::runtime_error("planted");
      });
    } catch (const std::runtime_error&) {
      caught = true;
    }
    check(caught, text("the failure of range ", failing, " in a team"));
    covers_once(threads, 100, 1);
  }
}

// Of a function(threads) under all kinds of threads: one, several, a team, and four that take turns.
template <class Test>
void on_all_threads(const Test& test) {
  for (const auto& threads : {one_thread(), std_threads(), Threads{run_in_turn, 4}}) test(threads);
  in_a_team(test);
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  for (const int64_t count : {0, 1, 2, 3, 4, 7, 100}) {
    for (const int64_t grain : {1, 2, 3, 16, 1000}) {
      on_all_threads([&](const auto& threads) { covers_once(threads, count, grain); });
    }
  }
  for (const int64_t tasks : {0, 1, 5, 64}) {
    for (const int64_t items : {0, 1, 3, 50}) {
      on_all_threads([&](const auto& threads) { phases_follow_each_other(threads, tasks, items); });
    }
  }
  in_a_team([](const auto& threads) {
    all_take_part(threads);
    failures_reach_the_leader(threads);
  });
  return report();
}
