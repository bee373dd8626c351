// Layer normalisation over the last dimension: y = gamma * (x - mean) * rstd + beta,
// rstd = 1 / sqrt(biased variance + epsilon).
#ifndef CKERNELS_NORMALIZATION_H
#define CKERNELS_NORMALIZATION_H

#include <stddef.h>
#include <stdint.h>

/// x, y: [rows, width] with row strides; mean and rstd [rows] are kept for the backward pass.
void ck_layernorm(float *restrict y, float *restrict mean, float *restrict rstd,
                  const float *restrict x, const float *restrict gamma, const float *restrict beta,
                  size_t rows, size_t width, size_t y_stride, size_t x_stride, float epsilon);

/// Gradient: dx (+)= rstd * (g - mean(g) - xhat * mean(g * xhat)), g = dy * gamma; added to dx when
/// add != 0, else written. dgamma[c] += sum dy * xhat, dbeta[c] += sum dy.
void ck_layernorm_backward(float *restrict dx, float *restrict dgamma, float *restrict dbeta,
                           const float *restrict dy, const float *restrict x,
                           const float *restrict mean, const float *restrict rstd,
                           const float *restrict gamma, size_t rows, size_t width,
                           size_t dx_stride, size_t dy_stride, size_t x_stride, int add);

/// As ck_layernorm, with y rounded; `kept` is x, rounded, for the backward pass. All dense.
void ck_layernorm_bf16(uint16_t *y, uint16_t *kept, float *mean, float *rstd, const float *x,
                       const float *gamma, const float *beta, size_t rows, size_t width, float epsilon);

/// y again, from what was kept of x.
void ck_normalize_bf16(uint16_t *y, const uint16_t *x, const float *mean, const float *rstd,
                       const float *gamma, const float *beta, size_t rows, size_t width);

/// As ck_layernorm_backward, with what was kept of x.
void ck_layernorm_bf16_backward(float *dx, float *dgamma, float *dbeta, const float *dy,
                                const uint16_t *x, const float *mean, const float *rstd,
                                const float *gamma, size_t rows, size_t width, int add);

#endif
