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

/// As ck_layernorm, with y rounded.
void ck_layernorm_bf16(uint16_t *y, float *mean, float *rstd, const float *x, const float *gamma,
                       const float *beta, size_t rows, size_t width, size_t y_stride,
                       size_t x_stride);

#endif
