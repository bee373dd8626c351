// Element by element work between the matrix products, fused so that a row is touched once.
#ifndef CKERNELS_ELEMENTWISE_H
#define CKERNELS_ELEMENTWISE_H

#include <stddef.h>
#include <stdint.h>

/// One row block of the MLP's hidden layer: with a = u + bias,
/// hidden = m * GELU(a) and slope = m * GELU'(a), where m = keep * factor (keep may be null: m = 1).
/// u [rows, width] is overwritten with hidden; slope is what the backward pass multiplies by.
/// Error of GELU <= 7 + a^2/2 ulp for |a| <= 13: 7 where it matters, the rest is the rounding of a^2 in
/// the exponential, for negative a with |GELU| below 1e-4.
void ck_bias_gelu(float *restrict u, float *restrict slope, const float *restrict bias,
                  const uint8_t *restrict keep, size_t rows, size_t width, float factor);

/// y[i] = base[i] + x[i] * m with m = keep[i] * factor (keep may be null: m = factor); bias [width] (may be
/// null) is added to x first. [rows, width] with row strides; keep is dense; y may be base.
void ck_residual(float *y, const float *base, const float *restrict x, const float *restrict bias,
                 const uint8_t *restrict keep, size_t rows, size_t width, size_t y_stride,
                 size_t base_stride, size_t x_stride, float factor);

/// y = x * keep * factor, [rows, width] with row strides; without a mask (null) y = x * factor; y may be x.
void ck_apply_keep(float *y, size_t y_stride, const float *x, size_t x_stride,
                   const uint8_t *restrict keep, size_t keep_stride, size_t rows, size_t width,
                   float factor);

/// y *= x, both [rows, width] and dense, and sums[c] = (accumulate ? sums[c] : 0) + sum over rows of
/// the new y[r, c]: gradients through GELU, and of the bias before it.
void ck_multiply_and_sum(float *restrict y, const float *restrict x, float *restrict sums,
                         size_t rows, size_t width, int accumulate);

/// sums[c] = (accumulate ? sums[c] : 0) + sum over rows of x[r, c]: a bias gradient.
void ck_column_sums(float *restrict sums, const float *restrict x, size_t rows, size_t width,
                    size_t stride, int accumulate);

/// y[r, :] += bias for every row.
void ck_add_bias(float *restrict y, const float *restrict bias, size_t rows, size_t width,
                 size_t stride);

#endif
