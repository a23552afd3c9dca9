// target_classes on CUDA. Gap::none and Gap::full8 look at the original map only: one thread per pixel. Gap::scan goes
// through an image row by row in one block. In a row, a pixel that touches a kept pixel of the row above is cut
// (decided at once); any other pixel whose west neighbour W is another instance is cut exactly where W is not. So a
// thread walks west to the first pixel decided at once and counts the steps: one or two in any real image. The time is
// that of one row after the other, so rows come to shared memory several at a time, and what was kept stays there;
// rows that are too long for it (more than 4,224 pixels at 8 bytes) are read where they are.
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

// The row above: labels of the pixels that still are instances, else 0.
template <class T>
struct KeptLabels {
  const T* labels;  // null above row 0

  __device__ __forceinline__ explicit operator bool() const { return labels; }
  __device__ __forceinline__ T operator[](int x) const { return labels[x]; }
};

template <class T>
struct KeptClasses {
  const T* labels;  // null above row 0
  const uint8_t* classes;

  __device__ __forceinline__ explicit operator bool() const { return labels; }
  __device__ __forceinline__ T operator[](int x) const { return classes[x] == kInstance ? labels[x] : T{0}; }
};

template <class T, class North>
struct Scan {
  const T* row;  // labels
  North north;
  int width;
  LabelMeaning<T> meaning;

  // Whether a pixel of the row above still is another instance.
  __device__ __forceinline__ bool touches_north(int x) const {
    if (!north) return false;
    for (int neighbour = x > 0 ? x - 1 : 0; neighbour <= (x + 1 < width ? x + 1 : x); ++neighbour) {
      const T kept = north[neighbour];
      if (kept != 0 && kept != row[x]) return true;
    }
    return false;
  }

  // Whether the instance pixel x is cut.
  __device__ __forceinline__ bool is_cut(int x) const {
    bool after_even_steps = true;
    for (;; --x, after_even_steps = !after_even_steps) {
      if (touches_north(x)) return after_even_steps;
      const bool touches_west = x > 0 && meaning.is_instance(row[x - 1]) && row[x - 1] != row[x];
      if (!touches_west) return !after_even_steps;
    }
  }

  __device__ __forceinline__ uint8_t class_of(int x) const {
    const uint8_t result = uncut_class(meaning, row[x]);
    return result == kInstance && is_cut(x) ? uint8_t{0} : result;
  }
};

// `group` rows at a time in shared memory, and two rows of kept labels in turns.
template <class T>
__global__ void __launch_bounds__(kScanBlock, 1) scan_kernel(TargetClassesArgs args, int group) {
  const LabelMeaning<T> meaning(args.maps.ignored);
  const int width = static_cast<int>(args.maps.width), height = static_cast<int>(args.maps.height);
  T* rows = dynamic_shared<T>();
  T* kept = rows + group * width;
  for (int64_t image = blockIdx.x; image < args.maps.images; image += gridDim.x) {
    const T* labels = static_cast<const T*>(args.maps.labels) + image * height * width;
    uint8_t* out = args.out + image * height * width;
    for (int y = 0; y < height; ++y) {
      if (y % group == 0) {
        const int values = min(group, height - y) * width;
        for (int i = threadIdx.x; i < values; i += kScanBlock) rows[i] = labels[static_cast<int64_t>(y) * width + i];
        __syncthreads();  // the rows are there
      }
      const Scan<T, KeptLabels<T>> scan = {
          rows + y % group * width, {y > 0 ? kept + (y - 1) % 2 * width : nullptr}, width, meaning};
      for (int x = threadIdx.x; x < width; x += kScanBlock) {
        const uint8_t result = scan.class_of(x);
        kept[y % 2 * width + x] = result == kInstance ? scan.row[x] : T{0};
        out[static_cast<int64_t>(y) * width + x] = result;
      }
      __syncthreads();  // the next row reads what of this one was kept
    }
  }
}

// The same from global memory.
template <class T>
__global__ void __launch_bounds__(kScanBlock, 1) scan_long_rows_kernel(TargetClassesArgs args) {
  const int width = static_cast<int>(args.maps.width);
  for (int64_t image = blockIdx.x; image < args.maps.images; image += gridDim.x) {
    for (int64_t y = 0; y < args.maps.height; ++y) {
      const int64_t first = (image * args.maps.height + y) * width;
      const T* row = static_cast<const T*>(args.maps.labels) + first;
      const Scan<T, KeptClasses<T>> scan = {
          row, {y > 0 ? row - width : nullptr, args.out + first - width}, width, LabelMeaning<T>(args.maps.ignored)};
      for (int x = threadIdx.x; x < width; x += kScanBlock) args.out[first + x] = scan.class_of(x);
      __syncthreads();  // the next row reads this one
    }
  }
}

template <class T>
const char* launch_scan(const TargetClassesArgs& args, const Stream& stream) {
  constexpr int64_t kMostBytes = 99 * 1024, kBytes = 48 * 1024, kMostRows = 16;  // what a block may have on every GPU
  if (args.maps.pixels() == 0) return nullptr;
  const dim3 grid = grid_for(args.maps.images, 1);
  const int64_t row = args.maps.width * static_cast<int64_t>(sizeof(T));
  if (3 * row > kMostBytes) return launch(scan_long_rows_kernel<T>, grid, kScanBlock, 0, stream, args);
  const int64_t fit = kBytes / row - 2, group = fit < 1 ? 1 : fit < kMostRows ? fit : kMostRows;
  return launch(scan_kernel<T>, grid, kScanBlock, static_cast<size_t>((group + 2) * row), stream, args,
                static_cast<int>(group));
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------

const char* target_classes_cuda(const TargetClassesArgs& args, const Stream& stream) {
  const char* error = nullptr;
  const int64_t pixels = args.maps.pixels();
  visit_label_type(args.maps.dtype, [&](auto label) {
    using T = decltype(label);
    error = args.gap == Gap::scan ? launch_scan<T>(args, stream)
                                  : launch(target_classes_kernel<T>, grid_for(pixels, kBlock), kBlock, 0, stream, args);
  });
  return error;
}

}  // namespace unet_fast
