// Bias, GELU, dropout, residual and column sums.
#include "include/elementwise_kernels.h"

#include "approximations.h"
#include "kernel.h"

KERNEL(void, ck_bias_gelu,
       (float *restrict u, float *restrict slope, const float *restrict bias,
        const uint8_t *restrict keep, size_t rows, size_t width, float factor),
       (u, slope, bias, keep, rows, width, factor)) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict h = u + r * width;
    float *restrict d = slope + r * width;
    if (keep) {
      const uint8_t *restrict k = keep + r * width;
      for (size_t c = 0; c < width; c++) {
        float value, derivative, m = (float)k[c] * factor;
        gelu_and_derivative(h[c] + bias[c], &value, &derivative);
        h[c] = m * value;
        d[c] = m * derivative;
      }
    } else {
      for (size_t c = 0; c < width; c++) {
        float value, derivative;
        gelu_and_derivative(h[c] + bias[c], &value, &derivative);
        h[c] = value;
        d[c] = derivative;
      }
    }
  }
}

// Element i needs element i only, so that y may be base: said to the compiler, which cannot see it.
#define ELEMENTWISE _Pragma("clang loop vectorize(assume_safety)")

KERNEL(void, ck_residual,
       (float *y, const float *base, const float *restrict x, const float *restrict bias,
        const uint8_t *restrict keep, size_t rows, size_t width, size_t y_stride,
        size_t base_stride, size_t x_stride, float factor),
       (y, base, x, bias, keep, rows, width, y_stride, base_stride, x_stride, factor)) {
  for (size_t r = 0; r < rows; r++) {
    float *target = y + r * y_stride;
    const float *from = base + r * base_stride;
    const float *restrict source = x + r * x_stride;
    if (keep && bias) {
      const uint8_t *restrict k = keep + r * width;
      ELEMENTWISE
      for (size_t c = 0; c < width; c++)
        target[c] = from[c] + (source[c] + bias[c]) * ((float)k[c] * factor);
    } else if (keep) {
      const uint8_t *restrict k = keep + r * width;
      ELEMENTWISE
      for (size_t c = 0; c < width; c++)
        target[c] = from[c] + source[c] * ((float)k[c] * factor);
    } else if (bias) {
      ELEMENTWISE
      for (size_t c = 0; c < width; c++) target[c] = from[c] + (source[c] + bias[c]) * factor;
    } else {
      ELEMENTWISE
      for (size_t c = 0; c < width; c++) target[c] = from[c] + source[c] * factor;
    }
  }
}

KERNEL(void, ck_apply_keep,
       (float *y, size_t y_stride, const float *x, size_t x_stride, const uint8_t *restrict keep,
        size_t keep_stride, size_t rows, size_t width, float factor),
       (y, y_stride, x, x_stride, keep, keep_stride, rows, width, factor)) {
  for (size_t r = 0; r < rows; r++) {
    float *target = y + r * y_stride;
    const float *source = x + r * x_stride;
    if (keep) {
      const uint8_t *restrict k = keep + r * keep_stride;
      ELEMENTWISE
      for (size_t c = 0; c < width; c++) target[c] = source[c] * ((float)k[c] * factor);
    } else {
      ELEMENTWISE
      for (size_t c = 0; c < width; c++) target[c] = source[c] * factor;
    }
  }
}

KERNEL(void, ck_multiply_and_sum,
       (float *restrict y, const float *restrict x, float *restrict sums, size_t rows,
        size_t width, int accumulate),
       (y, x, sums, rows, width, accumulate)) {
  if (!accumulate)
    for (size_t c = 0; c < width; c++) sums[c] = 0;
  size_t r = 0;
  // Four rows at a time: a quarter of the traffic on sums.
  for (; r + 4 <= rows; r += 4) {
    float *restrict y0 = y + r * width, *restrict y1 = y0 + width, *restrict y2 = y1 + width,
                    *restrict y3 = y2 + width;
    const float *restrict f = x + r * width;
    for (size_t c = 0; c < width; c++) {
      float a0 = y0[c] * f[c], a1 = y1[c] * f[width + c];
      float a2 = y2[c] * f[2 * width + c], a3 = y3[c] * f[3 * width + c];
      y0[c] = a0;
      y1[c] = a1;
      y2[c] = a2;
      y3[c] = a3;
      sums[c] += (a0 + a1) + (a2 + a3);
    }
  }
  for (; r < rows; r++)
    for (size_t c = 0; c < width; c++) {
      float a = y[r * width + c] * x[r * width + c];
      y[r * width + c] = a;
      sums[c] += a;
    }
}

KERNEL(void, ck_column_sums,
       (float *restrict sums, const float *restrict x, size_t rows, size_t width, size_t stride,
        int accumulate),
       (sums, x, rows, width, stride, accumulate)) {
  if (!accumulate)
    for (size_t c = 0; c < width; c++) sums[c] = 0;
  size_t r = 0;
  // Four rows at a time: a quarter of the traffic on sums.
  for (; r + 4 <= rows; r += 4) {
    const float *restrict x0 = x + r * stride;
    const float *restrict x1 = x0 + stride;
    const float *restrict x2 = x1 + stride;
    const float *restrict x3 = x2 + stride;
    for (size_t c = 0; c < width; c++) sums[c] += (x0[c] + x1[c]) + (x2[c] + x3[c]);
  }
  for (; r < rows; r++) {
    const float *restrict x0 = x + r * stride;
    for (size_t c = 0; c < width; c++) sums[c] += x0[c];
  }
}

KERNEL(void, ck_add_bias,
       (float *restrict y, const float *restrict bias, size_t rows, size_t width, size_t stride),
       (y, bias, rows, width, stride)) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict target = y + r * stride;
    for (size_t c = 0; c < width; c++) target[c] += bias[c];
  }
}
