// The matrices of Winograd's convolution F(4, 3) in one dimension, each as a function on vectors of channels.
//
// Four outputs of a 3-tap filter are the coefficients of a product of polynomials, read backwards. The product has six
// coefficients, so its values at six points fix it (Toom and Cook), and at a point a product of polynomials is a
// product of numbers: 6 multiplications in place of 4 * 3, and 36 in place of 144 in two dimensions. With the points
// p = 0, a, -a, b, -b and infinity
//
//   y = A^T [ (G g) * (B^T d) ]        for 6 inputs d, 3 taps g, 4 outputs y
//
//        | 1 1  1 1  1 0 |           | 1     0       0   | / a^2 b^2               | a^2 b^2  0  -a^2-b^2  0   1 0 |
//        | 0 a -a b -b 0 |           | 1     a      a^2  | / 2 a^2 (a^2 - b^2)     | 0  -a b^2  -b^2   a   1   0 |
//  A^T = | 0 a2 a2 b2 b2 0 |     G = | 1    -a      a^2  | / 2 a^2 (a^2 - b^2)   B^T = | 0   a b^2  -b^2  -a   1   0 |
//        | 0 a3-a3 b3-b3 1 |         | 1     b      b^2  | / 2 b^2 (b^2 - a^2)     | 0  -a^2 b  -a^2   b   1   0 |
//                                    | 1    -b      b^2  | / 2 b^2 (b^2 - a^2)     | 0   a^2 b  -a^2  -b   1   0 |
//                                    | 0     0       1   |                         | 0  a^2 b^2  0  -a^2-b^2  0 1 |
//
// (a2 = a^2 and so on). A^T evaluates at the points, transposed; G evaluates the filter and divides by the denominators
// of Lagrange's interpolation; B^T holds the numerators, prod over q != p of (x - q). a = 3/4 and b = 3/2 lose half as
// many bits as the textbook's 1 and 2, because the powers of the points stay near 1.
#pragma once

#include "cpu/vector.h"

namespace unet_fast::UNET_FAST_ISA {

constexpr int kTileOut = 4;                 // m: output pixels of a tile, along each axis
constexpr int kTileIn = 6;                  // m + 2: input pixels of a tile, and points, along each axis
constexpr int kPoints = kTileIn * kTileIn;  // in two dimensions

constexpr float kA = 0.75f, kA2 = kA * kA, kA3 = kA2 * kA;
constexpr float kB = 1.5f, kB2 = kB * kB, kB3 = kB2 * kB;

// B^T d. The rows of a point and its negative share their even and their odd part.
UNET_FAST_FUNCTION void transform_input(const Vector (&d)[6], Vector (&out)[6]) {
  const Vector even_a = d[4] - kB2 * d[2], odd_a = d[3] - kB2 * d[1];
  const Vector even_b = d[4] - kA2 * d[2], odd_b = d[3] - kA2 * d[1];
  out[0] = kA2 * kB2 * d[0] + (d[4] - (kA2 + kB2) * d[2]);
  out[1] = kA * odd_a + even_a;
  out[2] = even_a - kA * odd_a;
  out[3] = kB * odd_b + even_b;
  out[4] = even_b - kB * odd_b;
  out[5] = kA2 * kB2 * d[1] + (d[5] - (kA2 + kB2) * d[3]);
}

// A^T m.
UNET_FAST_FUNCTION void transform_output(const Vector (&m)[6], Vector (&out)[4]) {
  const Vector sum_a = m[1] + m[2], difference_a = m[1] - m[2];
  const Vector sum_b = m[3] + m[4], difference_b = m[3] - m[4];
  out[0] = (m[0] + sum_a) + sum_b;
  out[1] = kA * difference_a + kB * difference_b;
  out[2] = kA2 * sum_a + kB2 * sum_b;
  out[3] = kA3 * difference_a + (kB3 * difference_b + m[5]);
}

// A y: the gradient of y on its way back to the points.
UNET_FAST_FUNCTION void transform_gradient(const Vector (&y)[4], Vector (&out)[6]) {
  const Vector even_a = kA2 * y[2] + y[0], odd_a = kA3 * y[3] + kA * y[1];
  const Vector even_b = kB2 * y[2] + y[0], odd_b = kB3 * y[3] + kB * y[1];
  out[0] = y[0];
  out[1] = even_a + odd_a;
  out[2] = even_a - odd_a;
  out[3] = even_b + odd_b;
  out[4] = even_b - odd_b;
  out[5] = y[3];
}

// The rows of G for the points 0, +-a, +-b: (1, +-p, p^2) times these.
constexpr float kG0 = static_cast<float>(1 / (0.5625 * 2.25));
constexpr float kGa = static_cast<float>(1 / (2 * 0.5625 * (0.5625 - 2.25)));
constexpr float kGb = static_cast<float>(1 / (2 * 2.25 * (2.25 - 0.5625)));

// G g.
UNET_FAST_FUNCTION void transform_weight(const Vector (&g)[3], Vector (&out)[6]) {
  const Vector even_a = kA2 * kGa * g[2] + kGa * g[0], even_b = kB2 * kGb * g[2] + kGb * g[0];
  out[0] = kG0 * g[0];
  out[1] = kA * kGa * g[1] + even_a;
  out[2] = even_a - kA * kGa * g[1];
  out[3] = kB * kGb * g[1] + even_b;
  out[4] = even_b - kB * kGb * g[1];
  out[5] = g[2];
}

// G^T u: the gradient of the points on its way back to the taps.
UNET_FAST_FUNCTION void transform_weight_gradient(const Vector (&u)[6], Vector (&out)[3]) {
  const Vector sum_a = kGa * (u[1] + u[2]), difference_a = kGa * (u[1] - u[2]);
  const Vector sum_b = kGb * (u[3] + u[4]), difference_b = kGb * (u[3] - u[4]);
  out[0] = kG0 * u[0] + (sum_a + sum_b);
  out[1] = kA * difference_a + kB * difference_b;
  out[2] = kA2 * sum_a + (kB2 * sum_b + u[5]);
}

// One of the above along both axes, M in M^T: in(y, x) is asked for kIn x kIn vectors, column by column, and
// out(y, x, value) is told kOut x kOut of them.
template <auto kTransform, int kIn, int kOut, class In, class Out>
UNET_FAST_FUNCTION void transform_twice(const In& in, const Out& out) {
  // In one long block few registers are given to the columns, which go through memory anyway.
  constexpr int kUnrolled = kRegisters == 32 ? 6 : 1;
  Vector columns[kOut][kIn];
#pragma GCC unroll kUnrolled
  for (int x = 0; x < kIn; ++x) {
    Vector column[kIn], transformed[kOut];
#pragma GCC unroll 6
    for (int y = 0; y < kIn; ++y) column[y] = in(y, x);
    kTransform(column, transformed);
#pragma GCC unroll 6
    for (int y = 0; y < kOut; ++y) columns[y][x] = transformed[y];
  }
#pragma GCC unroll kUnrolled
  for (int y = 0; y < kOut; ++y) {
    Vector row[kOut];
    kTransform(columns[y], row);
#pragma GCC unroll 6
    for (int x = 0; x < kOut; ++x) out(y, x, row[x]);
  }
}

}  // namespace unet_fast::UNET_FAST_ISA
