// The checks themselves can fail, and say by how much.
#include "check.h"

namespace unet_fast::test {
namespace {

// How many failures function() adds; they are taken back.
template <class Function>
int failures_of(const Function& function) {
  const int before = failures;
  function();
  const int added = failures - before;
  failures = before;
  return added;
}

void numbers() {
  check(is_close(1.0, 1.0, 0, 0), "equal");
  check(is_close(1.01, 1.0, 0.011, 0), "within relative");
  check(!is_close(1.01, 1.0, 0.009, 0), "beyond relative");
  check(is_close(0.5, 0, 0, 0.5), "within absolute");
  check(!is_close(NAN, 1, 1, 1) && !is_close(1, NAN, 1, 1) && is_close(NAN, NAN, 0, 0), "NaN equals NaN only");
  check(is_close(INFINITY, INFINITY, 0, 0) && !is_close(INFINITY, -INFINITY, 1, 1), "infinity equals itself");
  check(!is_close(1, INFINITY, 0.1, 0.1), "a number is not close to infinity");
}

void buffers() {
  Buffer<float> got(3, [](int64_t i) { return i; });
  const Buffer<double> want(3, [](int64_t i) { return i; });
  check_equal(failures_of([&] { check_all_close(got, want, 0, 0, "planted"); }), 0, "equal buffers");
  got[1] = 7;
  check_equal(failures_of([&] { check_all_close(got, want, 0, 0, "planted"); }), 1, "one value off");
  check_equal(failures_of([&] { check_all_close(Buffer<float>(3), want, 1, 9, "planted"); }), 1, "unwritten values");
  check_equal(failures_of([&] { check_all_close(Buffer<float>(2), want, 1, 9, "planted"); }), 1, "another size");
  check(!(got == Buffer<float>(3)) && Buffer<float>(0) == Buffer<float>(0), "the same bits");
  check_equal(failures_of([] { check_equal(1, 2, "planted"); }), 1, "unequal numbers");
}

}  // namespace
}  // namespace unet_fast::test

int main() {
  using namespace unet_fast::test;
  numbers();
  buffers();
  return report();
}
