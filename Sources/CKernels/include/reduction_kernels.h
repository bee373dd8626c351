// Sums whose order is part of the result.
#ifndef CKERNELS_REDUCTION_H
#define CKERNELS_REDUCTION_H

#include <stddef.h>
#include <stdint.h>

/// y += x, n elements.
void ck_add(float *restrict y, const float *restrict x, size_t n);

/// Sum of x[i]^2 in double precision: element i goes to lane i mod 16, in ascending order, and the
/// lanes are added in pairs (0+8, 1+9, ..., then 0+4, ..., 0+1). The same bits on every machine.
double ck_sum_of_squares(const float *restrict x, size_t n);

#endif
