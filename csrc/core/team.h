// Threads that stay awake from one loop to the next.
//
// Where idle threads sleep, to wake one takes 0.1 ms and more, on a small operator as much as its work. A team borrows
// the threads once for many loops: its leader runs a function in which operators come one after the other, and the
// others wait for ranges of their loops without sleeping.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "core/parallel.h"

namespace unet_fast {

class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}

  // Threads::run of the team, for its leader alone. Ranges are as torch's pool of so many threads would cut them.
  void run(int64_t begin, int64_t end, int64_t grain, Threads::Body body, void* context) {
    const auto divide = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    const int64_t most = grain > 0 ? divide(end - begin, grain) : end - begin;
    const int64_t size = divide(end - begin, most < threads_ ? most : threads_), ranges = divide(end - begin, size);
    loop_ = {body, context, begin, end, size};
    done_.store(0, std::memory_order_relaxed);
    left_.store(ranges, std::memory_order_release);
    while (take_range()) continue;
    wait_until(done_, ranges);
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  // What the others do until the leader closes the team. Who waits for long, since the leader has much to do alone,
  // lets others have the processor (after 0.2 ms), then naps (after some 2 ms).
  void serve() {
    constexpr int kPauses = 4096, kYields = 4096;
    serving_.fetch_add(1, std::memory_order_relaxed);
    for (int spins = 0; !closed_.load(std::memory_order_acquire); ++spins) {
      if (take_range()) {
        spins = 0;
      } else if (spins < kPauses) {
        pause_briefly();
      } else if (spins < kPauses + kYields) {
        std::this_thread::yield();
      } else {
        spins = kPauses + kYields;
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
    serving_.fetch_sub(1, std::memory_order_relaxed);
  }

  void close() {
    closed_.store(true, std::memory_order_release);
    stay_awake_until([&] { return serving_.load(std::memory_order_relaxed) == 0; });
  }

 private:
  struct Loop {
    Threads::Body body;
    void* context;
    int64_t begin, end, size;  // of a range
  };

  // Runs one of the ranges that are left. Who has taken one may read loop_, which stays until all are done.
  bool take_range() {
    int64_t left = left_.load(std::memory_order_relaxed);
    do {
      if (left == 0) return false;
    } while (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acquire, std::memory_order_relaxed));
    const int64_t begin = loop_.begin + (left - 1) * loop_.size, end = begin + loop_.size;
    try {
      loop_.body(begin, end < loop_.end ? end : loop_.end, loop_.context);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    done_.fetch_add(1, std::memory_order_release);
    return true;
  }

  const int threads_;
  Loop loop_{};
  std::atomic<int64_t> left_{0}, done_{0};
  std::atomic<int> serving_{0};
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::exception_ptr failure_;
};

}  // namespace unet_fast
