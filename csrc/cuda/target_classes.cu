// target_classes on CUDA. Gap::none and Gap::full8 look at the original map only: one thread per pixel. Gap::scan goes
// through an image row by row in one block. In a row, a pixel that touches a kept pixel of the row above is cut
// (decided at once); any other pixel whose west neighbour W is another instance is cut exactly where W is not. So a
// thread walks west to the first pixel decided at once and counts the steps: one or two in any real image.
#include "ops/target_classes.h"

#include "cuda/device.cuh"

namespace unet_fast {
namespace {

constexpr int kBlock = 256, kScanBlock = 512;
constexpr uint8_t kInstance = 1;

template <class T>
__device__ __forceinline__ uint8_t uncut_class(const LabelMeaning<T>& meaning, T label) {
  return meaning.is_instance(label) ? kInstance : meaning.is_ignored(label) ? kIgnoredClass : uint8_t{0};
}

template <class T>
__global__ void target_classes_kernel(TargetClassesArgs args) {
  const LabelMeaning<T> meaning(args.maps.ignored);
  const T* labels = static_cast<const T*>(args.maps.labels);
  const int64_t step = static_cast<int64_t>(gridDim.x) * kBlock, pixels = args.maps.pixels();
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < pixels; i += step) {
    const int64_t x = i % args.maps.width, y = i / args.maps.width % args.maps.height;
    const T label = labels[i];
    uint8_t result = uncut_class(meaning, label);
    if (result == kInstance && args.gap == Gap::full8) {
      for (int64_t dy = y > 0 ? -1 : 0; dy <= (y + 1 < args.maps.height ? 1 : 0); ++dy) {
        for (int64_t dx = x > 0 ? -1 : 0; dx <= (x + 1 < args.maps.width ? 1 : 0); ++dx) {
          const T neighbour = labels[i + dy * args.maps.width + dx];
          if (meaning.is_instance(neighbour) && neighbour != label) result = 0;
        }
      }
    }
    args.out[i] = result;
  }
}

template <class T>
struct Scan {
  const T* row;         // labels of the row
  const T* north;       // labels of the row above, null in row 0
  const uint8_t* kept;  // classes of the row above
  int64_t width;
  LabelMeaning<T> meaning;

  // Whether a pixel of the row above still is another instance.
  __device__ __forceinline__ bool touches_north(int64_t x) const {
    if (!north) return false;
    for (int64_t neighbour = x > 0 ? x - 1 : 0; neighbour <= (x + 1 < width ? x + 1 : x); ++neighbour) {
      if (kept[neighbour] == kInstance && north[neighbour] != row[x]) return true;
    }
    return false;
  }

  // Whether the instance pixel x is cut.
  __device__ __forceinline__ bool is_cut(int64_t x) const {
    bool after_even_steps = true;
    for (;; --x, after_even_steps = !after_even_steps) {
      if (touches_north(x)) return after_even_steps;
      const bool touches_west = x > 0 && meaning.is_instance(row[x - 1]) && row[x - 1] != row[x];
      if (!touches_west) return !after_even_steps;
    }
  }
};

template <class T>
__global__ void scan_kernel(TargetClassesArgs args) {
  const LabelMeaning<T> meaning(args.maps.ignored);
  for (int64_t image = blockIdx.x; image < args.maps.images; image += gridDim.x) {
    for (int64_t y = 0; y < args.maps.height; ++y) {
      const int64_t first = (image * args.maps.height + y) * args.maps.width;
      const T* row = static_cast<const T*>(args.maps.labels) + first;
      const bool has_north = y > 0;
      const Scan<T> scan = {row, has_north ? row - args.maps.width : nullptr,
                            has_north ? args.out + first - args.maps.width : nullptr, args.maps.width, meaning};
      for (int64_t x = threadIdx.x; x < args.maps.width; x += kScanBlock) {
        const uint8_t result = uncut_class(meaning, row[x]);
        args.out[first + x] = result == kInstance && scan.is_cut(x) ? uint8_t{0} : result;
      }
      __syncthreads();  // the next row reads this one
    }
  }
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* target_classes_cuda(const TargetClassesArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const int64_t pixels = args.maps.pixels();
  visit_label_type(args.maps.dtype, [&](auto label) {
    using T = decltype(label);
    if (args.gap == Gap::scan) {
      const dim3 grid = pixels ? grid_for(args.maps.images, 1) : dim3(0);
      error = launch(scan_kernel<T>, grid, kScanBlock, 0, stream, args);
    } else {
      error = launch(target_classes_kernel<T>, grid_for(pixels, kBlock), kBlock, 0, stream, args);
    }
  });
  return error;
}

}  // namespace unet_fast
