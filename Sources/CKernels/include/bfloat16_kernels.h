// Numbers kept or sent as bfloat16.
#ifndef CKERNELS_BFLOAT16_KERNELS_H
#define CKERNELS_BFLOAT16_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/// y [rows, width] = x, rounded to nearest, ties to even.
void ck_floats_to_bf16(uint16_t *y, size_t y_stride, const float *x, size_t x_stride, size_t rows,
                       size_t width);

/// y [rows, width] = x, exactly.
void ck_bf16_to_floats(float *y, size_t y_stride, const uint16_t *x, size_t x_stride, size_t rows,
                       size_t width);

/// y = x · keep · factor, rounded, of [rows, width] with row strides; without a mask (NULL) y = x · factor. Where
/// `sums` is given, sums[c] gains the sum over rows before rounding.
void ck_keep_to_bf16(uint16_t *y, size_t y_stride, float *sums, const float *x, size_t x_stride,
                     const uint8_t *keep, size_t keep_stride, size_t rows, size_t width,
                     float factor);

/// The same from rounded x to floats.
void ck_keep_from_bf16(float *y, size_t y_stride, const uint16_t *x, size_t x_stride,
                       const uint8_t *keep, size_t keep_stride, size_t rows, size_t width,
                       float factor);

/// sums[c] (+)= sum of x over rows; added to when accumulate != 0, else written.
void ck_column_sums_bf16(float *sums, const uint16_t *x, size_t rows, size_t width, size_t stride,
                         int accumulate);

#endif
