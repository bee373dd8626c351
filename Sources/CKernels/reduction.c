// Sums of gradient slabs and of squares, in a fixed order.
#include "include/reduction_kernels.h"

#include "kernel.h"

KERNEL(void, ck_add,
       (float *restrict y, const float *restrict x, size_t n),
       (y, x, n)) {
  for (size_t i = 0; i < n; i++) y[i] += x[i];
}

KERNEL(double, ck_sum_of_squares,
       (const float *restrict x, size_t n),
       (x, n)) {
#pragma clang fp contract(off) reassociate(off)
  enum { lanes = 16 };
  double sums[lanes] = {0};
  size_t whole = n / lanes * lanes;
  for (size_t i = 0; i < whole; i += lanes)
    for (int lane = 0; lane < lanes; lane++) {
      double value = (double)x[i + (size_t)lane];
      sums[lane] += value * value;
    }
  for (size_t i = whole; i < n; i++) sums[i - whole] += (double)x[i] * (double)x[i];
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
  return sums[0];
}
