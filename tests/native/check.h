// What the native tests share: checks that print what they saw, random numbers, buffers of exact size, threads, and
// every device (each instruction set, and CUDA on the emulator) in turn.
//
// A test compares with a plain loop in double. Failures are counted; main() returns report(). With
// UNET_FAST_EMULATOR_ALONE no CPU kernel is run and the first failure is the end (tests/test_planted_faults.py).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <source_location>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/dtype.h"
#include "core/parallel.h"
#include "core/stream.h"
#include "cpu/dispatch.h"
#ifdef UNET_FAST_EMULATOR
#include "emulator.h"
#endif

namespace unet_fast::test {

using Where = std::source_location;

// ---- checks ---------------------------------------------------------------------------------------------------------

inline int failures = 0;

inline void fail(const std::string& message, const Where& where) {
  constexpr int kMaxPrinted = 20;
  if (++failures <= kMaxPrinted)
    std::fprintf(stderr, "%s:%d: %s\n", where.file_name(), int(where.line()), message.c_str());
#ifdef UNET_FAST_EMULATOR_ALONE
  std::exit(1);
#endif
}

// The exit status of main().
inline int report() {
  if (failures) std::fprintf(stderr, "%d checks failed\n", failures);
  return failures ? 1 : 0;
}

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  stream.precision(9);
  (stream << ... << parts);
  return stream.str();
}

inline void check(bool holds, const std::string& what, const Where& where = Where::current()) {
  if (!holds) fail(what, where);
}

template <class Got, class Want>
void check_equal(const Got& got, const Want& want, const std::string& what, const Where& where = Where::current()) {
  if (!(got == want)) fail(text(what, ": got ", got, ", wanted ", want), where);
}

// |got - want| <= absolute + relative * |want|; a NaN equals a NaN only, an infinity itself only.
inline bool is_close(double got, double want, double relative, double absolute) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) && std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return got == want;
  return std::abs(got - want) <= absolute + relative * std::abs(want);
}

inline void check_close(double got, double want, double relative, double absolute, const std::string& what,
                        const Where& where = Where::current()) {
  if (!is_close(got, want, relative, absolute)) {
    fail(text(what, ": got ", got, ", wanted ", want, ", off by ", std::abs(got - want)), where);
  }
}

template <class T>
double to_double(T value) {
  if constexpr (std::is_same_v<T, BFloat16> || std::is_same_v<T, Float16>) {
    return to_float(value);
  } else {
    return static_cast<double>(value);
  }
}

// Two arrays with size() and []. One failure, naming how many elements are off and the worst of them.
template <class Got, class Want>
void check_all_close(const Got& got, const Want& want, double relative, double absolute, const std::string& what,
                     const Where& where = Where::current()) {
  if (got.size() != want.size()) return fail(text(what, ": ", got.size(), " values, wanted ", want.size()), where);
  size_t wrong = 0, worst = 0;
  double worst_excess = -1;
  for (size_t i = 0; i < want.size(); ++i) {
    const double a = to_double(got[i]), b = to_double(want[i]);
    if (is_close(a, b, relative, absolute)) continue;
    ++wrong;
    double excess = std::abs(a - b) / (absolute + relative * std::abs(b));
    if (std::isnan(excess)) excess = INFINITY;
    if (excess > worst_excess) worst = i, worst_excess = excess;
  }
  if (wrong) {
    fail(text(what, ": ", wrong, " of ", want.size(), " values are off; the worst is [", worst, "]: got ",
              to_double(got[worst]), ", wanted ", to_double(want[worst])),
         where);
  }
}

// ---- memory and random numbers --------------------------------------------------------------------------------------

// `size` elements and not a byte more, so that AddressSanitizer sees an overrun. The bytes are 0xff at first, a NaN
// in every floating-point type: an element that a kernel forgets to write is seen.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size) : size_(size), data_(std::malloc(bytes())) { poison(); }

  template <class Function>  // element i is function(i)
  Buffer(int64_t size, const Function& function) : Buffer(size) {
    for (int64_t i = 0; i < size; ++i) data()[i] = function(i);
  }

  void poison() {
    if (size_) std::memset(data_.get(), 0xff, bytes());
  }
  T* data() { return static_cast<T*>(data_.get()); }
  const T* data() const { return static_cast<const T*>(data_.get()); }
  size_t size() const { return static_cast<size_t>(size_); }
  size_t bytes() const { return size() * sizeof(T); }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }
  bool operator==(const Buffer& other) const {  // the same bits
    return size_ == other.size_ && (size_ == 0 || std::memcmp(data(), other.data(), bytes()) == 0);
  }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  int64_t size_;
  std::unique_ptr<void, Free> data_;
};

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, uint8_t>) return DType::uint8;
  if constexpr (std::is_same_v<T, uint16_t>) return DType::uint16;
  if constexpr (std::is_same_v<T, uint32_t>) return DType::uint32;
  if constexpr (std::is_same_v<T, int16_t>) return DType::int16;
  if constexpr (std::is_same_v<T, int32_t>) return DType::int32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::int64;
  if constexpr (std::is_same_v<T, BFloat16>) return DType::bfloat16;
  if constexpr (std::is_same_v<T, Float16>) return DType::float16;
  if constexpr (std::is_same_v<T, float>) return DType::float32;
  if constexpr (std::is_same_v<T, double>) return DType::float64;
  if constexpr (std::is_same_v<T, bool>) return DType::boolean;
}

// A bound of the relative error of a sum in float32 that is then rounded to T: twice that of the rounding.
template <class T>
constexpr double rounding_of() {
  return std::is_same_v<T, BFloat16> ? 1.0 / 256 : std::is_same_v<T, Float16> ? 1.0 / 1024 : 1e-6;
}

class Random {
 public:
  explicit Random(uint64_t seed = 0) : engine_(seed) {}
  // Uniform in [low, high).
  float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(engine_); }
  // Uniform in low..high, both included.
  int64_t integer(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }

 private:
  std::mt19937_64 engine_;
};

// ---- threads --------------------------------------------------------------------------------------------------------

inline Threads one_thread() {
  const auto run = [](int64_t begin, int64_t end, int64_t, Threads::Body body, void* context) {
    body(begin, end, context);
  };
  return {run, 1};
}

// Fresh std::threads for each call; ranges as small as `grain` allows.
inline Threads std_threads() {
  constexpr int kCount = 3;
  const auto run = [](int64_t begin, int64_t end, int64_t grain, Threads::Body body, void* context) {
    const int64_t items = end - begin, most = grain > 0 ? items / grain : items;
    const int64_t parts = most < 1 ? 1 : most < kCount ? most : kCount;
    std::vector<std::thread> threads;
    for (int64_t part = 0; part < parts; ++part) {
      threads.emplace_back(body, begin + items * part / parts, begin + items * (part + 1) / parts, context);
    }
    for (std::thread& thread : threads) thread.join();
  };
  return {run, kCount};
}

// ---- devices --------------------------------------------------------------------------------------------------------

// One way to run an operator.
template <class Args>
struct Device {
  using Cpu = void (*)(const Args&, const Threads&);
  using Cuda = const char* (*)(const Args&, const Stream&);

  std::string name;
  Cpu cpu;
  Cuda cuda;  // null on the CPU
  Threads threads;

  void run(const Args& args, const Where& where = Where::current()) const {
    if (!cuda) return cpu(args, threads);
    const char* error = cuda(args, Stream{});
    if (error) fail(name + ": " + error, where);
  }
};

// test(device) for each instruction set that this machine has, with one and with three threads.
template <class Args, class Test>
void on_every_cpu(void (*cpu)(const Args&, const Threads&), const Test& test) {
  for (int i = 0; i < kInstructionSets && supported_cpu_kernels()[i]; ++i) {
    const std::string name = supported_cpu_kernels()[i]->instruction_set;
    use_instruction_set(name.c_str());
    test(Device<Args>{name + ", 1 thread", cpu, nullptr, one_thread()});
    test(Device<Args>{name + ", 3 threads", cpu, nullptr, std_threads()});
  }
  use_instruction_set(supported_cpu_kernels()[0]->instruction_set);
}

// The same, and then the emulated CUDA kernel under several orders of its threads. T is the type that is computed with:
// Float16 is for CUDA only.
template <class T, class Args, class Test>
void on_every_device_of(void (*cpu)(const Args&, const Threads&), const char* (*cuda)(const Args&, const Stream&),
                        const Test& test) {
#ifndef UNET_FAST_EMULATOR_ALONE
  if constexpr (!std::is_same_v<T, Float16>) on_every_cpu(cpu, test);
#endif
#ifdef UNET_FAST_EMULATOR
  constexpr uint64_t kOrders = 2;
  for (uint64_t order = 1; order <= kOrders; ++order) {
    emulator::seed(order);
    test(Device<Args>{text("emulated CUDA, order ", order), cpu, cuda, one_thread()});
  }
#else
  (void)cuda;
#endif
}

template <class Args, class Test>
void on_every_device(void (*cpu)(const Args&, const Threads&), const char* (*cuda)(const Args&, const Stream&),
                     const Test& test) {
  on_every_device_of<float>(cpu, cuda, test);
}

}  // namespace unet_fast::test
