// Layer normalisation and its gradient.
#include "include/normalization_kernels.h"

#include <math.h>

#include "multiversion.h"

MULTIVERSION
void ck_layernorm(float *restrict y, float *restrict mean, float *restrict rstd,
                  const float *restrict x, const float *restrict gamma, const float *restrict beta,
                  size_t rows, size_t width, size_t y_stride, size_t x_stride) {
#pragma clang fp reassociate(on)
  float scale = 1.0f / (float)width;
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = x + r * x_stride;
    float *restrict target = y + r * y_stride;
    float sum = 0;
    for (size_t c = 0; c < width; c++) sum += source[c];
    float m = sum * scale;
    float squares = 0;
    for (size_t c = 0; c < width; c++) {
      float d = source[c] - m;
      squares += d * d;
    }
    float s = 1.0f / sqrtf(squares * scale + 1e-5f);
    for (size_t c = 0; c < width; c++) target[c] = (source[c] - m) * s * gamma[c] + beta[c];
    mean[r] = m;
    rstd[r] = s;
  }
}

MULTIVERSION
void ck_layernorm_backward(float *restrict dx, float *restrict dgamma, float *restrict dbeta,
                           const float *restrict dy, const float *restrict x,
                           const float *restrict mean, const float *restrict rstd,
                           const float *restrict gamma, size_t rows, size_t width,
                           size_t dx_stride, size_t dy_stride, size_t x_stride, int add) {
#pragma clang fp reassociate(on)
  float scale = 1.0f / (float)width;
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = x + r * x_stride;
    const float *restrict g = dy + r * dy_stride;
    float *restrict target = dx + r * dx_stride;
    float m = mean[r], s = rstd[r];
    float sum = 0, product = 0;
    for (size_t c = 0; c < width; c++) {
      float normalized = (source[c] - m) * s;
      float weighted = g[c] * gamma[c];
      dgamma[c] += g[c] * normalized;
      dbeta[c] += g[c];
      sum += weighted;
      product += weighted * normalized;
    }
    sum *= scale;
    product *= scale;
    if (add) {
      for (size_t c = 0; c < width; c++) {
        float normalized = (source[c] - m) * s;
        target[c] += s * (g[c] * gamma[c] - sum - normalized * product);
      }
    } else {
      for (size_t c = 0; c < width; c++) {
        float normalized = (source[c] - m) * s;
        target[c] = s * (g[c] * gamma[c] - sum - normalized * product);
      }
    }
  }
}
