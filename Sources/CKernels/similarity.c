// Distances, norms and moments of feature rows.
#include <math.h>

#include "include/neighbour_kernels.h"
#include "lanes.h"
#include "multiversion.h"

HELPER float squared_distance(const float *restrict x, const float *restrict y, size_t width) {
#pragma clang fp reassociate(on) contract(fast)
  float sum = 0;
  for (size_t c = 0; c < width; c++) {
    float difference = x[c] - y[c];
    sum += difference * difference;
  }
  return sum;
}

HELPER float product(const float *restrict x, const float *restrict y, size_t width) {
#pragma clang fp reassociate(on) contract(fast)
  float sum = 0;
  for (size_t c = 0; c < width; c++) sum += x[c] * y[c];
  return sum;
}

MULTIVERSION
void ck_neighbour_distances(float *restrict values, const float *restrict x, size_t x_stride,
                            const float *restrict y, size_t y_stride,
                            const int32_t *restrict index, size_t rows, size_t count, size_t width,
                            float unit) {
  for (size_t i = 0; i < rows; i++)
    for (size_t r = 0; r < count; r++) {
      const float *restrict other = y + (size_t)index[i * count + r] * y_stride;
      float square = unit * unit * squared_distance(x + i * x_stride, other, width);
      values[i * count + r] = -sqrtf(square > 1e-12f ? square : 1e-12f);
    }
}

MULTIVERSION
void ck_row_squares(float *restrict squares, const float *restrict x, size_t stride, size_t rows,
                    size_t width) {
  for (size_t r = 0; r < rows; r++) squares[r] = product(x + r * stride, x + r * stride, width);
}

MULTIVERSION
void ck_normalize_rows(float *restrict x, float *restrict inverse, size_t stride, size_t rows,
                       size_t width) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict row = x + r * stride;
    float norm = sqrtf(product(row, row, width));
    float factor = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
    for (size_t c = 0; c < width; c++) row[c] *= factor;
    inverse[r] = factor;
  }
}

MULTIVERSION
void ck_normalize_rows_backward(float *restrict d, size_t d_stride, const float *restrict x,
                                size_t x_stride, const float *restrict inverse, size_t rows,
                                size_t width) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict g = d + r * d_stride;
    const float *restrict unit = x + r * x_stride;
    float along = product(g, unit, width);
    for (size_t c = 0; c < width; c++) g[c] = inverse[r] * (g[c] - unit[c] * along);
  }
}

MULTIVERSION
void ck_scaled_rows_minus(float *restrict d, size_t d_stride, const float *restrict factors,
                          const float *restrict x, size_t x_stride, size_t rows, size_t width) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict out = d + r * d_stride;
    const float *restrict source = x + r * x_stride;
    for (size_t c = 0; c < width; c++) out[c] = factors[r] * source[c] - out[c];
  }
}

MULTIVERSION
void ck_mean_and_deviation(double *restrict mean, double *restrict deviation,
                           const float *restrict x, size_t stride, size_t rows, size_t width) {
#pragma clang fp reassociate(on)
  double sum = 0, squares = 0, count = (double)rows * (double)width;
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c++) sum += (double)x[r * stride + c];
  double middle = sum / count;
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c++) {
      double difference = (double)x[r * stride + c] - middle;
      squares += difference * difference;
    }
  *mean = middle;
  *deviation = sqrt(squares / (count - 1));
}
