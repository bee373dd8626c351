// Distances, norms and moments of feature rows.
#include <math.h>

#include "include/neighbour_kernels.h"
#include "kernel.h"
#include "lanes_part.h"

HELPER float squared_distance(const float *x, const float *y, size_t n) {
  lanes16 sums = 0;
  for (size_t c = 0; c < n; c += 16) {
    lanes16 a, b;
    load_floats(&a, x + c, n - c);
    load_floats(&b, y + c, n - c);
    a -= b;
    sums += a * a;
  }
  return sum16(&sums);
}

typedef double doubles16 __attribute__((ext_vector_type(16)));
typedef double doubles8 __attribute__((ext_vector_type(8)));
typedef double doubles4 __attribute__((ext_vector_type(4)));

HELPER double sum_of_doubles(const doubles16 *v) {
  doubles8 a = v->lo + v->hi;
  doubles4 b = a.lo + a.hi;
  return (b[0] + b[2]) + (b[1] + b[3]);
}

KERNEL(void, ck_neighbour_distances,
       (float *restrict values, const float *restrict x, size_t x_stride, const float *restrict y,
        size_t y_stride, const int32_t *restrict index, size_t rows, size_t count, size_t width,
        float unit),
       (values, x, x_stride, y, y_stride, index, rows, count, width, unit)) {
  for (size_t i = 0; i < rows; i++)
    for (size_t r = 0; r < count; r++) {
      const float *restrict other = y + (size_t)index[i * count + r] * y_stride;
      float square = unit * unit * squared_distance(x + i * x_stride, other, width);
      values[i * count + r] = -sqrtf(square > 1e-12f ? square : 1e-12f);
    }
}

KERNEL(void, ck_row_squares,
       (float *restrict squares, const float *restrict x, size_t stride, size_t rows,
        size_t width),
       (squares, x, stride, rows, width)) {
  for (size_t r = 0; r < rows; r++) squares[r] = dot_product(x + r * stride, x + r * stride, width);
}

KERNEL(void, ck_normalize_rows,
       (float *restrict x, float *restrict inverse, size_t stride, size_t rows, size_t width),
       (x, inverse, stride, rows, width)) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict row = x + r * stride;
    float norm = sqrtf(dot_product(row, row, width));
    float factor = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
    for (size_t c = 0; c < width; c++) row[c] *= factor;
    inverse[r] = factor;
  }
}

KERNEL(void, ck_normalize_rows_backward,
       (float *restrict d, size_t d_stride, const float *restrict x, size_t x_stride,
        const float *restrict inverse, size_t rows, size_t width),
       (d, d_stride, x, x_stride, inverse, rows, width)) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict g = d + r * d_stride;
    const float *restrict unit = x + r * x_stride;
    float along = dot_product(g, unit, width);
    for (size_t c = 0; c < width; c++) g[c] = inverse[r] * (g[c] - unit[c] * along);
  }
}

KERNEL(void, ck_scaled_rows_minus,
       (float *restrict d, size_t d_stride, const float *restrict factors, const float *restrict x,
        size_t x_stride, size_t rows, size_t width),
       (d, d_stride, factors, x, x_stride, rows, width)) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict out = d + r * d_stride;
    const float *restrict source = x + r * x_stride;
    for (size_t c = 0; c < width; c++) out[c] = factors[r] * source[c] - out[c];
  }
}

KERNEL(void, ck_mean_and_deviation,
       (double *restrict mean, double *restrict deviation, const float *restrict x, size_t stride,
        size_t rows, size_t width),
       (mean, deviation, x, stride, rows, width)) {
  double count = (double)rows * (double)width;
  doubles16 sums = 0, squares = 0;
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      lanes16 v;
      load_floats(&v, x + r * stride + c, width - c);
      sums += __builtin_convertvector(v, doubles16);
    }
  double middle = sum_of_doubles(&sums) / count;
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      size_t n = width - c;
      lanes16 v;
      load_floats(&v, x + r * stride + c, n);
      doubles16 difference = __builtin_convertvector(v, doubles16) - middle;
      for (size_t l = n; l < 16; l++) difference[l] = 0;
      squares += difference * difference;
    }
  *mean = middle;
  *deviation = sqrt(sum_of_doubles(&squares) / (count - 1));
}
