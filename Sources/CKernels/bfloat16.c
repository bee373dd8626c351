// Numbers kept or sent as bfloat16.
#include "include/bfloat16_kernels.h"

#include "kernel.h"
#include "lanes_part.h"

KERNEL(void, ck_floats_to_bf16,
       (uint16_t *restrict y, size_t y_stride, const float *restrict x, size_t x_stride,
        size_t rows, size_t width),
       (y, y_stride, x, x_stride, rows, width)) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      lanes16 v;
      load_floats(&v, x + r * x_stride + c, width - c);
      store_bf16(y + r * y_stride + c, &v, width - c);
    }
}

KERNEL(void, ck_bf16_to_floats,
       (float *restrict y, size_t y_stride, const uint16_t *restrict x, size_t x_stride,
        size_t rows, size_t width),
       (y, y_stride, x, x_stride, rows, width)) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      lanes16 v;
      load_bf16(&v, x + r * x_stride + c, width - c);
      store_floats(y + r * y_stride + c, &v, width - c);
    }
}

enum { GROUP = 4 };

/// Sixteen columns, or the last n, of x times mask · factor.
HELPER void keep_part(lanes16 *v, const uint8_t *keep, size_t n, float factor) {
  if (!keep) {
    *v *= factor;
    return;
  }
  lanes16 m;
  load_keep(&m, keep, n, factor);
  *v *= m;
}

/// `rows` rows of ck_keep_to_bf16, whose sums over columns go to memory once.
HELPER void keep_rows(uint16_t *y, size_t y_stride, float *sums, const float *x, size_t x_stride,
                      const uint8_t *keep, size_t keep_stride, size_t width, float factor,
                      size_t rows) {
  for (size_t c = 0; c < width; c += 16) {
    size_t n = width - c;
    lanes16 sum;
    if (sums) load_floats(&sum, sums + c, n);
    for (size_t r = 0; r < rows; r++) {
      lanes16 v;
      load_floats(&v, x + r * x_stride + c, n);
      keep_part(&v, keep ? keep + r * keep_stride + c : NULL, n, factor);
      if (sums) sum += v;
      store_bf16(y + r * y_stride + c, &v, n);
    }
    if (sums) store_floats(sums + c, &sum, n);
  }
}

KERNEL(void, ck_keep_to_bf16,
       (uint16_t *restrict y, size_t y_stride, float *restrict sums, const float *restrict x,
        size_t x_stride, const uint8_t *restrict keep, size_t keep_stride, size_t rows,
        size_t width, float factor),
       (y, y_stride, sums, x, x_stride, keep, keep_stride, rows, width, factor)) {
  size_t r = 0;
#define ROWS(COUNT)                                                                     \
  keep_rows(y + r * y_stride, y_stride, sums, x + r * x_stride, x_stride,               \
            keep ? keep + r * keep_stride : NULL, keep_stride, width, factor, COUNT)
  for (; r + GROUP <= rows; r += GROUP) ROWS(GROUP);
  for (; r < rows; r++) ROWS(1);
#undef ROWS
}

/// Columns c on of `rows` rows, added to the sums.
HELPER void sum_rows(float *sums, const uint16_t *x, size_t stride, size_t width, size_t rows) {
  for (size_t c = 0; c < width; c += 16) {
    lanes16 sum, v;
    load_floats(&sum, sums + c, width - c);
    for (size_t r = 0; r < rows; r++) {
      load_bf16(&v, x + r * stride + c, width - c);
      sum += v;
    }
    store_floats(sums + c, &sum, width - c);
  }
}

KERNEL(void, ck_column_sums_bf16,
       (float *restrict sums, const uint16_t *restrict x, size_t rows, size_t width, size_t stride,
        int accumulate),
       (sums, x, rows, width, stride, accumulate)) {
  if (!accumulate)
    for (size_t c = 0; c < width; c++) sums[c] = 0;
  size_t r = 0;
  for (; r + GROUP <= rows; r += GROUP) sum_rows(sums, x + r * stride, stride, width, GROUP);
  for (; r < rows; r++) sum_rows(sums, x + r * stride, stride, width, 1);
}

KERNEL(void, ck_keep_from_bf16,
       (float *restrict y, size_t y_stride, const uint16_t *restrict x, size_t x_stride,
        const uint8_t *restrict keep, size_t keep_stride, size_t rows, size_t width, float factor),
       (y, y_stride, x, x_stride, keep, keep_stride, rows, width, factor)) {
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < width; c += 16) {
      size_t n = width - c;
      lanes16 v;
      load_bf16(&v, x + r * x_stride + c, n);
      keep_part(&v, keep ? keep + r * keep_stride + c : NULL, n, factor);
      store_floats(y + r * y_stride + c, &v, n);
    }
}
