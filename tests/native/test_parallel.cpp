// parallel_for covers a range exactly once, and the native tests' threads really are threads: without a data race
// that ThreadSanitizer finds (planted_race.cpp), its silence about the kernels would mean nothing.
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

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  for (const auto& threads : {one_thread(), std_threads()}) {
    for (const int64_t count : {0, 1, 2, 3, 4, 7, 100}) {
      for (const int64_t grain : {1, 2, 3, 16, 1000}) covers_once(threads, count, grain);
    }
  }
  return report();
}
