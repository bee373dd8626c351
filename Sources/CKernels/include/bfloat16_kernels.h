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

/// y = x · keep · factor, rounded, of [rows, width] with row strides; without a mask (NULL) y = x. Where
/// `sums` is given, sums[c] gains the sum over rows before rounding.
void ck_keep_to_bf16(uint16_t *y, size_t y_stride, float *sums, const float *x, size_t x_stride,
                     const uint8_t *keep, size_t keep_stride, size_t rows, size_t width,
                     float factor);

/// The same from rounded x to floats.
void ck_keep_from_bf16(float *y, size_t y_stride, const uint16_t *x, size_t x_stride,
                       const uint8_t *keep, size_t keep_stride, size_t rows, size_t width,
                       float factor);

/// As ck_layernorm, with y rounded; `kept` is x, rounded, for the backward pass. All dense.
void ck_layernorm_bf16(uint16_t *y, uint16_t *kept, float *mean, float *rstd, const float *x,
                       const float *gamma, const float *beta, size_t rows, size_t width);

/// y again, from what was kept of x.
void ck_normalize_bf16(uint16_t *y, const uint16_t *x, const float *mean, const float *rstd,
                       const float *gamma, const float *beta, size_t rows, size_t width);

/// As ck_layernorm_backward, with what was kept of x.
void ck_layernorm_bf16_backward(float *dx, float *dgamma, float *dbeta, const float *dy,
                                const uint16_t *x, const float *mean, const float *rstd,
                                const float *gamma, size_t rows, size_t width, int add);

#endif
