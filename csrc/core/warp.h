// Where elastic_warp reads: an affine map plus a B-spline displacement field (section 3.1 of the paper), and the
// weights of the pixels around that place. Each expression is float32 multiplications and additions in a fixed order,
// compiled without contraction (cmake/cpu.cmake, cmake/cuda.cmake): all instruction sets and CUDA give the same bits.
#pragma once

#include <cstdint>

#include "core/portable.h"

namespace unet_fast {

// Here and in what takes them, Number is float, or a vector of it that is computed lane by lane.
template <class Number>
struct BSplineWeights {
  Number first, middle, last;  // factors of the values at the control points 0, 1 and 2
};

// The cubic B-spline that interpolates d0, d1, d2 at 0, 1, 2 with mirror boundary is, at 0 <= f <= 2,
//     u(f) = first d0 + middle d1 + last d2.
// With spline coefficients c (c[-1] = c[1], c[3] = c[1]) interpolation asks (c[k-1] + 4 c[k] + c[k+1]) / 6 = d[k], so
//         | 4 2 0 |-1       | 14 -8  2 |
//     c = | 1 4 1 |   6 d = | -4 16 -4 | d / 8      (the prefilter).
//         | 0 2 4 |         |  2 -8 14 |
// For f = t <= 1, u(t) = b0 c1 + b1 c0 + b2 c1 + b3 c2 with the B-spline's pieces b0 = (1-t)^3/6,
// b1 = (3t^3-6t^2+4)/6, b2 = (-3t^3+3t^2+3t+1)/6, b3 = t^3/6. Inserting c leaves the cubics below, whose factors are
// exact in float32; the other half is their mirror image.
UNET_FAST_FUNCTION BSplineWeights<float> bspline_weights(float f) {
  const bool left = f < 1.0f;
  const float t = left ? f : 2.0f - f;
  const float square = t * t;
  const float near = 1.0f - square * (2.25f - 1.25f * t);
  const float middle = square * (3.0f - 2.0f * t);
  const float far = 0.75f * (square * (t - 1.0f));
  return {left ? near : far, middle, left ? far : near};
}

// Distance of two pixels in units of the 3x3 control grid, whose outer points lie on the first and the last pixel.
UNET_FAST_FUNCTION float grid_step(int64_t pixels) { return pixels > 1 ? 2.0f / static_cast<float>(pixels - 1) : 0.0f; }

// One coordinate of the source along one row of the output: all that does not depend on x.
struct WarpAxis {
  float affine_y, affine_x, shift;  // affine_y + affine_x * x + shift
  float first, middle, last;        // the field's control values at this row
};

struct WarpRow {
  WarpAxis y, x;
};

UNET_FAST_FUNCTION WarpAxis warp_axis(const float* affine, const float* displacement, float y,
                                      const BSplineWeights<float>& w) {
  const float* d = displacement;
  return {affine[0] * y,
          affine[1],
          affine[2],
          (w.first * d[0] + w.middle * d[3]) + w.last * d[6],
          (w.first * d[1] + w.middle * d[4]) + w.last * d[7],
          (w.first * d[2] + w.middle * d[5]) + w.last * d[8]};
}

// affine [2, 3], displacement [2, 3, 3], y: row of the output, step: grid_step(height).
UNET_FAST_FUNCTION WarpRow warp_row(const float* affine, const float* displacement, float y, float step) {
  const BSplineWeights<float> weights = bspline_weights(y * step);
  return {warp_axis(affine, displacement, y, weights), warp_axis(affine + 3, displacement + 9, y, weights)};
}

// Coordinates stay in the range of int32.
constexpr float kFarCoordinate = 1 << 30;

// NaN becomes the lower bound.
UNET_FAST_FUNCTION float limit_coordinate(float s) {
  const float bounded = s > -kFarCoordinate ? s : -kFarCoordinate;
  return bounded < kFarCoordinate ? bounded : kFarCoordinate;
}

template <class Number>
UNET_FAST_FUNCTION Number unlimited_coordinate(const WarpAxis& row, Number x, const BSplineWeights<Number>& w) {
  const Number affine = (row.affine_y + row.affine_x * x) + row.shift;
  return affine + ((w.first * row.first + w.middle * row.middle) + w.last * row.last);
}

// The coordinate, in pixels from the crop's corner, that output pixel x of the row reads.
UNET_FAST_FUNCTION float warp_coordinate(const WarpAxis& row, float x, const BSplineWeights<float>& w) {
  return limit_coordinate(unlimited_coordinate(row, x, w));
}

// Floor for |s| <= 2^30, without a library call where SSE4 is missing.
UNET_FAST_FUNCTION int32_t floor_to_int(float s) {
  const int32_t truncated = static_cast<int32_t>(s);
  return truncated - (s < static_cast<float>(truncated) ? 1 : 0);
}

// The pixel nearest to s; ties go up, as in scipy's order 0.
UNET_FAST_FUNCTION int32_t nearest_to_int(float s) { return floor_to_int(s + 0.5f); }

// a at t = 0, b at t = 1.
template <class Number>
UNET_FAST_FUNCTION Number linear(Number a, Number b, Number t) {
  return a + t * (b - a);
}

template <class Number>
struct CubicWeights {
  Number w0, w1, w2, w3;  // factors of the pixels at -1, 0, 1 and 2
};

// Cubic convolution at 0 <= t < 1 (Keys 1981, a = -1/2). At t = 0 exactly 0, 1, 0, 0.
template <class Number>
UNET_FAST_FUNCTION CubicWeights<Number> cubic_weights(Number t) {
  const Number s = 1.0f - t, square = t * t;
  const Number w0 = -0.5f * (t * (s * s));
  const Number w3 = -0.5f * (s * square);
  const Number w1 = 1.0f - square * (2.5f - 1.5f * t);
  return {w0, w1, 1.0f - ((w0 + w1) + w3), w3};
}

template <class Number>
UNET_FAST_FUNCTION Number cubic(Number p0, Number p1, Number p2, Number p3, const CubicWeights<Number>& w) {
  return ((w.w0 * p0 + w.w1 * p1) + w.w2 * p2) + w.w3 * p3;
}

}  // namespace unet_fast
