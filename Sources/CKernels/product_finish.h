// What becomes of a row of 16 finished sums: see ck_finish.
#ifndef CKERNELS_PRODUCT_FINISH_H
#define CKERNELS_PRODUCT_FINISH_H

#include "gelu.h"
#include "include/product_kernels.h"
#include "lanes_part.h"

// A file for one instruction set may define what computes GELU there.
#ifndef FINISH_GELU
#define FINISH_GELU gelu16
#endif

/// Finishes a group of rows of 16 sums, `stride` floats apart.
/// - n: columns left in the matrix, which has `width` columns; the sums belong to rows from `row` and
///   columns from `column` on.
LANES_TARGET HELPER void finish_group(const float *sums, size_t stride, size_t n, size_t row,
                                      size_t column, size_t width, void *c, size_t c_at,
                                      size_t c_stride, const ck_finish *finish, int kind,
                                      int is_bf16, int count) {
  lanes16 x[GELU_GROUP], slope[GELU_GROUP];
  size_t at = row * width + column;
  for (int i = 0; i < count; i++) load_floats(&x[i], sums + (size_t)i * stride, n);
  if (kind == CK_FINISH_GELU || kind == CK_FINISH_BIAS) {
    lanes16 bias;
    load_floats(&bias, finish->bias + column, n);
    for (int i = 0; i < count; i++) x[i] += bias;
  }
  if (kind == CK_FINISH_GELU) {
    FINISH_GELU(x, slope, count, is_bf16);
    for (int i = 0; i < count; i++) {
      size_t place = at + (size_t)i * width;
      if (finish->keep) {
        lanes16 factor;
        load_keep(&factor, finish->keep + place, n, finish->factor);
        x[i] *= factor;
        slope[i] *= factor;
      }
      store_numbers(finish->slope, place, &slope[i], n, is_bf16);
    }
  } else if (kind == CK_FINISH_SLOPE) {
    lanes16 sum;
    load_floats(&sum, finish->sums + column, n);
    for (int i = 0; i < count; i++) {
      load_numbers(&slope[i], finish->slope, at + (size_t)i * width, n, is_bf16);
      x[i] *= slope[i];
      sum += x[i];
    }
    store_floats(finish->sums + column, &sum, n);
  }
  for (int i = 0; i < count; i++)
    store_numbers(c, c_at + (size_t)i * c_stride, &x[i], n, is_bf16);
}

/// The same of any number of rows; C's element `c_at` is the first.
LANES_TARGET HELPER void finish_groups(const float *sums, size_t stride, size_t rows, size_t n,
                                       size_t row, size_t column, size_t width, void *c, size_t c_at,
                                       size_t c_stride, const ck_finish *finish, int kind,
                                       int is_bf16) {
  size_t r = 0;
  for (; r + GELU_GROUP <= rows; r += GELU_GROUP)
    finish_group(sums + r * stride, stride, n, row + r, column, width, c, c_at + r * c_stride,
                 c_stride, finish, kind, is_bf16, GELU_GROUP);
  for (; r < rows; r++)
    finish_group(sums + r * stride, stride, n, row + r, column, width, c, c_at + r * c_stride,
                 c_stride, finish, kind, is_bf16, 1);
}

LANES_TARGET HELPER void finish_rows(const float *sums, size_t stride, size_t rows, size_t n,
                                     size_t row, size_t column, size_t width, void *c, size_t c_at,
                                     size_t c_stride, const ck_finish *finish, int kind,
                                     int is_bf16) {
  // Whole vectors are compiled on their own, without a question for each.
  if (n >= 16)
    finish_groups(sums, stride, rows, 16, row, column, width, c, c_at, c_stride, finish, kind,
                  is_bf16);
  else
    finish_groups(sums, stride, rows, n, row, column, width, c, c_at, c_stride, finish, kind,
                  is_bf16);
}

#endif
