// Band softmax, rotary positions, and sums over lists of keys.
#include "include/band_kernels.h"

#include "kernel.h"
#include "lanes_part.h"
#include "softmax.h"

KERNEL(void, ck_band_softmax,
       (float *restrict scores, const int32_t *restrict first, const int32_t *restrict last,
        const int32_t *restrict zeros, size_t rows, size_t columns, size_t stride, float scale),
       (scores, first, last, zeros, rows, columns, stride, scale)) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict s = scores + r * stride;
    size_t low = (size_t)first[r], high = (size_t)last[r];
    softmax_row(s + low, high - low, zeros ? zeros[r] : 0, scale);
    for (size_t i = 0; i < low; i++) s[i] = 0;
    for (size_t i = high; i < columns; i++) s[i] = 0;
  }
}

KERNEL(void, ck_rotary_rows,
       (float *restrict x, const float *restrict cosine, const float *restrict sine, size_t rows,
        size_t stride, size_t heads, size_t width, float direction),
       (x, cosine, sine, rows, stride, heads, width, direction)) {
  size_t half = width / 2;
  for (size_t r = 0; r < rows; r++) {
    const float *restrict c = cosine + r * half;
    const float *restrict s = sine + r * half;
    for (size_t h = 0; h < heads; h++) {
      float *restrict low = x + r * stride + h * width;
      float *restrict high = low + half;
      for (size_t i = 0; i < half; i++) {
        float a = low[i], b = high[i], turn = direction * s[i];
        low[i] = a * c[i] - b * turn;
        high[i] = b * c[i] + a * turn;
      }
    }
  }
}

/// Four dot products of one x, so that x is loaded once and the lanes are summed together.
HELPER void four_dots(float *restrict dots, const float *restrict x, const float *y0,
                      const float *y1, const float *y2, const float *y3, size_t width) {
#pragma clang fp contract(fast)
  lanes16 a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
  size_t c = 0;
  for (; c + 16 <= width; c += 16) {
    lanes16 v = LOAD16(x + c);
    a0 += v * LOAD16(y0 + c);
    a1 += v * LOAD16(y1 + c);
    a2 += v * LOAD16(y2 + c);
    a3 += v * LOAD16(y3 + c);
  }
  // Sixteen lanes of each to four, then a transposed sum.
  const lanes16 *all[4] = {&a0, &a1, &a2, &a3};
  lanes4 quarter[4];
  for (int k = 0; k < 4; k++) {
    lanes16 a = *all[k];
    quarter[k] = __builtin_shufflevector(a, a, 0, 1, 2, 3) +
                 __builtin_shufflevector(a, a, 4, 5, 6, 7) +
                 __builtin_shufflevector(a, a, 8, 9, 10, 11) +
                 __builtin_shufflevector(a, a, 12, 13, 14, 15);
  }
  lanes4 low01 = __builtin_shufflevector(quarter[0], quarter[1], 0, 4, 1, 5);
  lanes4 high01 = __builtin_shufflevector(quarter[0], quarter[1], 2, 6, 3, 7);
  lanes4 low23 = __builtin_shufflevector(quarter[2], quarter[3], 0, 4, 1, 5);
  lanes4 high23 = __builtin_shufflevector(quarter[2], quarter[3], 2, 6, 3, 7);
  lanes4 sum01 = low01 + high01, sum23 = low23 + high23;
  lanes4 sums = __builtin_shufflevector(sum01, sum23, 0, 1, 4, 5) +
                __builtin_shufflevector(sum01, sum23, 2, 3, 6, 7);
  dots[0] = sums[0];
  dots[1] = sums[1];
  dots[2] = sums[2];
  dots[3] = sums[3];
  for (; c < width; c++) {
    dots[0] += x[c] * y0[c];
    dots[1] += x[c] * y1[c];
    dots[2] += x[c] * y2[c];
    dots[3] += x[c] * y3[c];
  }
}

KERNEL(void, ck_gather_dots,
       (float *restrict dots, const float *restrict x, size_t x_stride, const float *restrict y,
        size_t y_stride, const int32_t *restrict index, size_t rows, size_t count, size_t width),
       (dots, x, x_stride, y, y_stride, index, rows, count, width)) {
  for (size_t i = 0; i < rows; i++) {
    const int32_t *restrict key = index + i * count;
    const float *restrict query = x + i * x_stride;
    float *restrict out = dots + i * count;
    size_t r = 0;
    for (; r + 4 <= count; r += 4)
      four_dots(out + r, query, y + (size_t)key[r] * y_stride, y + (size_t)key[r + 1] * y_stride,
                y + (size_t)key[r + 2] * y_stride, y + (size_t)key[r + 3] * y_stride, width);
    for (; r < count; r++) out[r] = dot_product(query, y + (size_t)key[r] * y_stride, width);
  }
}

// The sums run channels outermost, by 64: so much of all rows stays in the nearest cache.

KERNEL(void, ck_gather_sums,
       (float *restrict sums, size_t sums_stride, const float *restrict weights,
        const float *restrict y, size_t y_stride, const int32_t *restrict index, size_t rows,
        size_t count, size_t width),
       (sums, sums_stride, weights, y, y_stride, index, rows, count, width)) {
#pragma clang fp contract(fast)
  size_t c = 0;
  for (; c + 64 <= width; c += 64)
    for (size_t i = 0; i < rows; i++) {
      const int32_t *restrict key = index + i * count;
      const float *restrict w = weights + i * count;
      float *restrict out = sums + i * sums_stride + c;
      lanes16 a0 = {0}, a1 = {0}, a2 = {0}, a3 = {0};
      for (size_t r = 0; r < count; r++) {
        const float *restrict source = y + (size_t)key[r] * y_stride + c;
        lanes16 factor = (lanes16){0} + w[r];
        a0 += factor * LOAD16(source);
        a1 += factor * LOAD16(source + 16);
        a2 += factor * LOAD16(source + 32);
        a3 += factor * LOAD16(source + 48);
      }
      STORE16(out, a0);
      STORE16(out + 16, a1);
      STORE16(out + 32, a2);
      STORE16(out + 48, a3);
    }
  if (c == width) return;
  for (size_t i = 0; i < rows; i++) {
    float *restrict out = sums + i * sums_stride;
    for (size_t b = c; b < width; b++) out[b] = 0;
    for (size_t r = 0; r < count; r++) {
      const float *restrict source = y + (size_t)index[i * count + r] * y_stride;
      float w = weights[i * count + r];
      for (size_t b = c; b < width; b++) out[b] += w * source[b];
    }
  }
}

KERNEL(void, ck_scatter_sums,
       (float *restrict sums, size_t sums_stride, size_t sums_rows, const float *restrict weights,
        const float *restrict x, size_t x_stride, const int32_t *restrict index, size_t rows,
        size_t count, size_t width),
       (sums, sums_stride, sums_rows, weights, x, x_stride, index, rows, count, width)) {
#pragma clang fp contract(fast)
  for (size_t j = 0; j < sums_rows; j++)
    for (size_t c = 0; c < width; c++) sums[j * sums_stride + c] = 0;
  size_t c = 0;
  for (; c + 64 <= width; c += 64)
    for (size_t i = 0; i < rows; i++) {
      const int32_t *restrict key = index + i * count;
      const float *restrict w = weights + i * count;
      const float *restrict source = x + i * x_stride + c;
      lanes16 x0 = LOAD16(source), x1 = LOAD16(source + 16);
      lanes16 x2 = LOAD16(source + 32), x3 = LOAD16(source + 48);
      for (size_t r = 0; r < count; r++) {
        float *restrict out = sums + (size_t)key[r] * sums_stride + c;
        lanes16 factor = (lanes16){0} + w[r];
        STORE16(out, LOAD16(out) + factor * x0);
        STORE16(out + 16, LOAD16(out + 16) + factor * x1);
        STORE16(out + 32, LOAD16(out + 32) + factor * x2);
        STORE16(out + 48, LOAD16(out + 48) + factor * x3);
      }
    }
  if (c == width) return;
  for (size_t i = 0; i < rows; i++) {
    const float *restrict source = x + i * x_stride;
    for (size_t r = 0; r < count; r++) {
      float *restrict out = sums + (size_t)index[i * count + r] * sums_stride;
      float w = weights[i * count + r];
      for (size_t b = c; b < width; b++) out[b] += w * source[b];
    }
  }
}

void ck_gather_columns(float *restrict values, const float *restrict matrix, size_t stride,
                       const int32_t *restrict index, size_t rows, size_t count) {
  for (size_t i = 0; i < rows; i++)
    for (size_t r = 0; r < count; r++)
      values[i * count + r] = matrix[i * stride + (size_t)index[i * count + r]];
}

KERNEL(void, ck_scatter_columns,
       (float *restrict matrix, size_t columns, size_t stride, const float *restrict values,
        const int32_t *restrict index, size_t rows, size_t count),
       (matrix, columns, stride, values, index, rows, count)) {
  for (size_t i = 0; i < rows; i++) {
    float *restrict out = matrix + i * stride;
    for (size_t c = 0; c < columns; c++) out[c] = 0;
    for (size_t r = 0; r < count; r++) out[index[i * count + r]] = values[i * count + r];
  }
}
