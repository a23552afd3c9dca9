// The emulator itself: barriers hold, and the faults that it is there to find are found.
#include "cuda/device.cuh"

#include "check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace unet_fast::test {
namespace {

constexpr int kBlock = 64, kOrders = 20;

__global__ void where_am_i(uint3* indices) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  indices[block * blockDim.x * blockDim.y * blockDim.z + thread] = {
      blockIdx.x * 100 + threadIdx.x, blockIdx.y * 100 + threadIdx.y, blockIdx.z * 100 + threadIdx.z};
}

void every_index_once() {
  const dim3 grid(3, 2, 2), block(5, 4, 3);
  Buffer<uint3> indices(12 * 60);
  check(launch(where_am_i, grid, block, 0, Stream{}, indices.data()) == nullptr, "launch");
  int64_t i = 0;
  for (unsigned bz = 0; bz < 2; ++bz)
    for (unsigned by = 0; by < 2; ++by)
      for (unsigned bx = 0; bx < 3; ++bx)
        for (unsigned tz = 0; tz < 3; ++tz)
          for (unsigned ty = 0; ty < 4; ++ty)
            for (unsigned tx = 0; tx < 5; ++tx, ++i) {
              const uint3 got = indices[i];
              check(got.x == bx * 100 + tx && got.y == by * 100 + ty && got.z == bz * 100 + tz, text("index ", i));
            }
}

// The sum of kBlock values of each block. In the planted faults the barrier is missing in the first step only.
template <bool kFirstBarrier, bool kStatic>
__global__ void block_sum(const int* values, int* sums) {
  __shared__ __align__(16) int fixed[kBlock];
  int* partial = kStatic ? fixed : dynamic_shared<int>();
  const int thread = static_cast<int>(threadIdx.x);
  partial[thread] = values[blockIdx.x * kBlock + threadIdx.x];
  if constexpr (kFirstBarrier) __syncthreads();
  for (int half = kBlock / 2; half > 0; half /= 2) {
    if (thread < half) partial[thread] += partial[thread + half];
    __syncthreads();
  }
  if (thread == 0) sums[blockIdx.x] = partial[0];
}

// How many of kOrders random orders give the right sums.
int right_sums(void (*kernel)(const int*, int*)) {
  constexpr int kBlocks = 5;
  const Buffer<int> values(kBlocks * kBlock, [](int64_t i) { return static_cast<int>(i * i % 1009); });
  Buffer<int> expected(kBlocks, [](int64_t) { return 0; });
  for (int i = 0; i < kBlocks * kBlock; ++i) expected[i / kBlock] += values[i];
  int right = 0;
  for (int order = 0; order < kOrders; ++order) {
    emulator::seed(order);
    Buffer<int> sums(kBlocks);
    const char* error = launch(kernel, kBlocks, kBlock, kBlock * sizeof(int), Stream{}, values.data(), sums.data());
    check(error == nullptr, text("block_sum: ", error ? error : ""));
    right += sums == expected;
  }
  return right;
}

void barriers_hold() {
  check_equal(right_sums(block_sum<true, false>), kOrders, "orders with the right sums, dynamic shared memory");
  check_equal(right_sums(block_sum<true, true>), kOrders, "orders with the right sums, static shared memory");
}

void a_missing_barrier_is_seen() {
  const int right = right_sums(block_sum<false, false>);
  check(right < kOrders, text("without a barrier ", right, " of ", kOrders, " orders still gave the right sums"));
}

// Thread t hands its value to thread t + 1 in each of several rounds. Without the second barrier a thread writes for
// the next round before its neighbour has read.
template <bool kSecondBarrier>
__global__ void pass_on(int rounds, int* out) {
  int* slots = dynamic_shared<int>();
  int value = static_cast<int>(threadIdx.x);
  for (int round = 0; round < rounds; ++round) {
    slots[threadIdx.x] = value;
    __syncthreads();
    value = slots[(threadIdx.x + 1) % kBlock];
    if constexpr (kSecondBarrier) __syncthreads();
  }
  out[threadIdx.x] = value;
}

int right_rotations(void (*kernel)(int, int*)) {
  constexpr int kRounds = 3;
  int right = 0;
  for (int order = 0; order < kOrders; ++order) {
    emulator::seed(order);
    Buffer<int> out(kBlock);
    check(launch(kernel, 1, kBlock, kBlock * sizeof(int), Stream{}, kRounds, out.data()) == nullptr, "pass_on");
    bool same = true;
    for (int i = 0; i < kBlock; ++i) same &= out[i] == (i + kRounds) % kBlock;
    right += same;
  }
  return right;
}

void a_missing_second_barrier_is_seen() {
  check_equal(right_rotations(pass_on<true>), kOrders, "orders with the right rotation");
  const int right = right_rotations(pass_on<false>);
  check(right < kOrders, text("without a barrier ", right, " of ", kOrders, " orders still gave the right rotation"));
}

__global__ void some_return_early(int threads_at_barrier) {
  if (static_cast<int>(threadIdx.x) >= threads_at_barrier) return;
  __syncthreads();
}

__global__ void two_barriers() {
  if (threadIdx.x % 2) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void unequal_rounds() {
  for (unsigned i = 0; i <= threadIdx.x / 32; ++i) __syncthreads();
}

void check_reported(const char* error, const std::string& wanted, const Where& where = Where::current()) {
  const std::string got = error ? error : "no error";
  check(got.find(wanted) != std::string::npos, text("wanted an error with \"", wanted, "\", got: ", got), where);
}

void divergent_barriers_are_reported() {
  check_reported(launch(some_return_early, 3, kBlock, 0, Stream{}, kBlock - 1), "deadlock: 63 of 64 threads");
  check_reported(launch(some_return_early, 3, kBlock, 0, Stream{}, 1), "__syncthreads() at test_emulator.cpp:");
  check_reported(launch(unequal_rounds, 1, kBlock, 0, Stream{}), "deadlock: 32 of 64 threads");
  check_reported(launch(two_barriers, 1, kBlock, 0, Stream{}), "divergent barriers");
  check(launch(some_return_early, 3, kBlock, 0, Stream{}, kBlock) == nullptr, "a launch after an error");
}

void bad_launches_are_reported() {
  check_reported(launch(two_barriers, 1, 1025, 0, Stream{}), "block");
  check_reported(launch(two_barriers, 1, 0, 0, Stream{}), "block");
  check_reported(launch(two_barriers, dim3(1, 65536), 1, 0, Stream{}), "grid");
  check_reported(launch(two_barriers, 1, 1, 1 << 18, Stream{}), "shared memory");
  check(launch(two_barriers, 0, 1, 0, Stream{}) == nullptr, "an empty grid is no launch");
}

__global__ void read_shared(float* out) { out[blockIdx.x] = dynamic_shared<float>()[threadIdx.x]++; }

void shared_memory_is_poisoned() {
  Buffer<float> out(4, [](int64_t) { return 0; });
  check(launch(read_shared, 4, 1, sizeof(float), Stream{}, out.data()) == nullptr, "read_shared");
  for (int i = 0; i < 4; ++i) check(std::isnan(out[i]), text("fresh shared memory was ", out[i]));
}

#ifdef __SANITIZE_ADDRESS__

__global__ void write_shared(int index, bool behind_barrier) {
  if (behind_barrier) __syncthreads();
  if (threadIdx.x == 0) dynamic_shared<volatile float>()[index] = 1;
}

__global__ void write_own_stack(int index) {
  volatile float own[4] = {};
  __syncthreads();
  own[index] = 1;
}

// Whether function() ends a forked child with a report of a sanitizer.
template <class Function>
bool is_caught(const Function& function) {
  int report[2];
  if (pipe(report) != 0) return false;
  const pid_t child = fork();
  if (child == 0) {
    dup2(report[1], STDERR_FILENO);
    function();
    _exit(0);
  }
  close(report[1]);
  std::string printed;
  char part[4096];
  for (ssize_t bytes; (bytes = read(report[0], part, sizeof part)) > 0;) printed.append(part, bytes);
  close(report[0]);
  int status = 0;
  waitpid(child, &status, 0);
  const bool is_reported = printed.find("AddressSanitizer") != std::string::npos ||  // or UndefinedBehaviorSanitizer's
                           printed.find("runtime error") != std::string::npos;
  return status != 0 && is_reported;
}

void out_of_bounds_is_caught() {
  const auto write = [](int index, bool behind_barrier) {
    return [=] { launch(write_shared, 2, kBlock, 10 * sizeof(float), Stream{}, index, behind_barrier); };
  };
  check(!is_caught(write(9, true)), "the last element is no error");
  check(is_caught(write(10, false)), "one element too far is caught");
  check(is_caught(write(10, true)), "one element too far behind a barrier is caught");
  check(is_caught(write(-1, true)), "one element before the first is caught");
  const auto write_stack = [](int index) { return [=] { launch(write_own_stack, 1, kBlock, 0, Stream{}, index); }; };
  check(!is_caught(write_stack(3)), "a thread's own array is no error");
  check(is_caught(write_stack(4)), "an overrun of a thread's own array is caught");
}

#endif

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  every_index_once();
  barriers_hold();
  a_missing_barrier_is_seen();
  a_missing_second_barrier_is_seen();
  divergent_barriers_are_reported();
  bad_launches_are_reported();
  shared_memory_is_poisoned();
#ifdef __SANITIZE_ADDRESS__
  out_of_bounds_is_caught();
#endif
  return report();
}
