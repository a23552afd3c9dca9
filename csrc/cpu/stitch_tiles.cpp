// stitch_tiles on the CPU: one task per band of rows of the result. Within a band the tiles are copied in their order,
// so that the last of several overlapping tiles wins, whatever the number of threads.
#include "cpu/kernels.h"

#include <cstring>

namespace unet_fast::UNET_FAST_ISA {
namespace {

UNET_FAST_FUNCTION int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
UNET_FAST_FUNCTION int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Rows [band_begin, band_end) of plane k of the result, 0 where no tile lies.
template <class T>
void copy_band(const StitchTilesArgs& args, int64_t k, int64_t band_begin, int64_t band_end) {
  T* plane = static_cast<T*>(args.out) + k * args.height * args.width;
  memset(plane + band_begin * args.width, 0, static_cast<size_t>((band_end - band_begin) * args.width) * sizeof(T));
  for (int64_t tile = 0; tile < args.tile_count; ++tile) {
    const int64_t origin_y = args.origins[2 * tile], origin_x = args.origins[2 * tile + 1];
    const int64_t y_begin = larger(origin_y, band_begin), y_end = smaller(origin_y + args.tile_height, band_end);
    const int64_t x_begin = larger(origin_x, 0), x_end = smaller(origin_x + args.tile_width, args.width);
    if (x_begin >= x_end) continue;
    const T* from = static_cast<const T*>(args.tiles) + tile * args.tile_stride_t + k * args.tile_stride_k;
    for (int64_t y = y_begin; y < y_end; ++y) {
      const T* row = from + (y - origin_y) * args.tile_stride_y + (x_begin - origin_x) * args.tile_stride_x;
      T* out = plane + y * args.width + x_begin;
      if (args.tile_stride_x == 1) {
        std::memcpy(out, row, static_cast<size_t>(x_end - x_begin) * sizeof(T));
      } else {
        for (int64_t x = 0; x < x_end - x_begin; ++x) out[x] = row[x * args.tile_stride_x];
      }
    }
  }
}

}  // namespace

void stitch_tiles(const StitchTilesArgs& args, const Threads& threads) {
  constexpr int64_t kRowsPerTask = 64, kBandRows = 8;  // a band stays in the cache between its zeros and its pixels
  visit_bits(args.dtype, [&](auto bits) {
    parallel_for(threads, args.planes * args.height, kRowsPerTask, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t k = begin / args.height, first_row = k * args.height;
        const int64_t stop = smaller(smaller(end, first_row + args.height), begin + kBandRows);
        copy_band<decltype(bits)>(args, k, begin - first_row, stop - first_row);
        begin = stop;
      }
    });
  });
}

}  // namespace unet_fast::UNET_FAST_ISA
