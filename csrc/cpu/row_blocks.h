// How a row product is cut for the micro-kernel: outputs into blocks of at most two vectors, weights packed in the
// order in which they are used, and rows of the input brought into the form that the micro-kernel reads.
#pragma once

#include "cpu/row_product.h"

namespace unet_fast::UNET_FAST_ISA {

UNET_FAST_FUNCTION int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
UNET_FAST_FUNCTION int64_t larger(int64_t a, int64_t b) { return a < b ? b : a; }
UNET_FAST_FUNCTION int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Outputs [first, first + count) of every pixel, and the micro-kernel that computes them.
struct OutputBlock {
  int64_t first, count;
  int vectors, group;
  int64_t steps;  // K / group
  UNET_FAST_METHOD int64_t lanes() const { return vectors * kLanes; }
  UNET_FAST_METHOD int64_t weights(const RowGeometry& shape) const { return shape.taps * steps * lanes(); }
  UNET_FAST_METHOD bool whole() const { return count * group == lanes(); }  // no idle lane
};

// The block that begins at output `first`: two vectors wide as long as that leaves less than half a vector idle, at the
// end one vector, or half of one in groups of two.
static inline OutputBlock output_block(const RowGeometry& shape, int64_t first) {
  const int64_t left = shape.outputs - first;
  if (2 * left > 3 * kLanes) return {first, smaller(left, kMaxLanes), 2, 1, shape.depth};
  if (2 * left <= kLanes && shape.depth % 2 == 0) return {first, left, 1, 2, shape.depth / 2};
  return {first, smaller(left, kLanes), 1, 1, shape.depth};
}

// Outputs [first, first + count) of every pixel: two vectors, or one where no more is left. Their weights and biases
// are those of `offset` outputs later: the blocks of a second output follow those of the first.
struct LaneBlock {
  int64_t first, count, offset;
  int vectors;
  LaneBlock(int64_t index, int64_t outputs, int64_t offset = 0)
      : first(index * kMaxLanes),
        count(smaller(outputs - first, kMaxLanes)),
        offset(offset),
        vectors(static_cast<int>(divide_up(count, kLanes))) {}
  UNET_FAST_METHOD int64_t lanes() const { return vectors * kLanes; }
  static int64_t blocks(int64_t outputs) { return divide_up(outputs, kMaxLanes); }
};

// Cuts `count` into the fewest pieces of at most `most`, of equal size as far as possible.
struct Pieces {
  int64_t count, pieces;
  Pieces(int64_t count, int64_t most) : count(count), pieces(divide_up(count, most)) {}
  UNET_FAST_METHOD int64_t begin(int64_t piece) const { return count * piece / pieces; }
  UNET_FAST_METHOD int64_t size(int64_t piece) const { return begin(piece + 1) - begin(piece); }
  UNET_FAST_METHOD int64_t piece_of(int64_t i) const { return (pieces * (i + 1) - 1) / count; }
};

// visit(packed, offset) for every weight of a block: its place among the packed weights [R][steps][lanes], where a step
// of group 2 has two values of k side by side for each output, and its offset in the tensor. The inner loops run over
// what lies closest in the tensor, in pieces small enough for the first-level cache on the other side.
template <class Visit>
static inline void visit_weights(const RowGeometry& shape, const WeightView& weight, const OutputBlock& block,
                                 const Visit& visit) {
  constexpr int64_t kPiece = 8;
  const int64_t inner_count = weight.k.inner_count, outer_count = shape.depth / inner_count;
  const int64_t pair_bit = block.group - 1;  // k = 2 step + pair for group 2, k = step for group 1
  int64_t lane_offset[kMaxLanes];
  for (int64_t lane = 0; lane < block.count; ++lane) lane_offset[lane] = weight.o.offset(block.first + lane);
  const bool lanes_are_close = weight.o.inner_stride < weight.k.inner_stride;
  const int64_t piece = lanes_are_close ? 1 : kPiece;
  // Wide layers have long strides, which the machine does not foresee.
  const int64_t element = weight.dtype == DType::float32 ? sizeof(float) : sizeof(BFloat16);
  const int64_t span = lanes_are_close ? lane_offset[block.count - 1] - lane_offset[0] : kPiece * weight.k.inner_stride;
  for (int64_t inner = 0; inner < inner_count; inner += piece) {
    const int64_t inner_end = smaller(inner + piece, inner_count);
    for (int64_t lane_begin = 0; lane_begin < block.count; lane_begin += lanes_are_close ? kMaxLanes : 1) {
      const int64_t lane_end = lanes_are_close ? block.count : lane_begin + 1;
      const int64_t next = lane_offset[lane_begin] + (inner + kPiece) * weight.k.inner_stride;
      if (inner + kPiece < inner_count) prefetch(static_cast<char*>(weight.data) + next * element, span * element);
      for (int64_t r = 0; r < shape.taps; ++r) {
        for (int64_t outer = 0; outer < outer_count; ++outer) {
          const int64_t offset = r * weight.tap_stride + outer * weight.k.outer_stride;
          for (int64_t i = inner; i < inner_end; ++i) {
            const int64_t k = outer * inner_count + i;
            const int64_t packed = (r * block.steps + (k >> pair_bit)) * block.lanes() + (k & pair_bit);
            for (int64_t lane = lane_begin; lane < lane_end; ++lane) {
              visit(packed + lane * block.group, offset + lane_offset[lane] + i * weight.k.inner_stride);
            }
          }
        }
      }
    }
  }
}

// Reads rows of images: in place where they are float32 and as they should be, through a buffer otherwise.
class RowReader {
 public:
  static bool in_place(const ImageRows& rows) {
    return rows.dtype == DType::float32 && !rows.gate && rows.margin_rows == 0 && rows.margin == 0;
  }
  static int64_t row_floats(const ImageRows& rows) { return rows.row + 2 * rows.margin; }
  static int64_t buffer_floats(const ImageRows& rows, int64_t most_rows) {
    return in_place(rows) ? 0 : whole_lines(most_rows * row_floats(rows));
  }

  RowReader(const ImageRows& rows, float* buffer) : rows_(rows), buffer_(buffer) {}

  // Rows [first, first + count) of an image with its margin, row_floats() apart.
  const float* read(int64_t image, int64_t first, int64_t count) {
    if (in_place(rows_)) return static_cast<const float*>(rows_.data) + (image * rows_.height + first) * rows_.row;
    const int64_t step = row_floats(rows_);
    // What the last call has read already moves to the front.
    const int64_t known = image == image_ && first >= first_ && first < end_ ? end_ - first : 0;
    if (known) memmove(buffer_, buffer_ + (first - first_) * step, known * step * sizeof(float));
    for (int64_t row = known; row < count; ++row) {
      fill(image, first + row - rows_.margin_rows, buffer_ + row * step);
    }
    image_ = image, first_ = first, end_ = first + larger(known, count);
    return buffer_;
  }

 private:
  void fill(int64_t image, int64_t y, float* out) const {
    if (y < 0 || y >= rows_.height) {
      memset(out, 0, row_floats(rows_) * sizeof(float));
      return;
    }
    memset(out, 0, rows_.margin * sizeof(float));
    memset(out + rows_.margin + rows_.row, 0, rows_.margin * sizeof(float));
    visit_float_type(rows_.dtype, [&](auto type) {
      using T = decltype(type);
      const int64_t begin = (image * rows_.height + y) * rows_.row;
      const T* data = static_cast<const T*>(rows_.data) + begin;
      const T* gate = static_cast<const T*>(rows_.gate) + (rows_.gate ? begin : 0);
      float* inside = out + rows_.margin;
      if (rows_.gate) {
        for (int64_t i = 0; i < rows_.row; ++i) {
          const float value = to_float(data[i]);
          inside[i] = to_float(gate[i]) <= 0 ? 0 : value;
        }
      } else {
        for (int64_t i = 0; i < rows_.row; ++i) inside[i] = to_float(data[i]);
      }
    });
  }

  const ImageRows& rows_;
  float* buffer_;
  int64_t image_ = -1, first_ = 0, end_ = 0;
};

}  // namespace unet_fast::UNET_FAST_ISA
