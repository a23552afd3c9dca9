// Two threads write one variable. ThreadSanitizer must end this program with a report.
#include "check.h"

int main() {
  int64_t last = 0;
  unet_fast::parallel_for(unet_fast::test::std_threads(), 2, 1, [&](int64_t begin, int64_t) { last = begin; });
  return 0;
}
