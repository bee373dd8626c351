// Softmax rows, dropout and gradients.
#include "include/attention_kernels.h"

#include "kernel.h"
#include "lanes_part.h"
#include "softmax.h"

KERNEL(void, ck_softmax_rows,
       (float *scores, size_t rows, size_t columns, size_t stride, float scale),
       (scores, rows, columns, stride, scale)) {
  for (size_t r = 0; r < rows; r++) softmax_row(scores + r * stride, columns, 0, scale);
}

KERNEL(void, ck_dropout_rows,
       (float *restrict dropped, const float *restrict p, const uint8_t *restrict keep,
        size_t rows, size_t columns, size_t stride, float factor),
       (dropped, p, keep, rows, columns, stride, factor)) {
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = p + r * stride;
    float *restrict target = dropped + r * stride;
    const uint8_t *restrict k = keep + r * columns;
    for (size_t i = 0; i < columns; i++) target[i] = source[i] * ((float)k[i] * factor);
  }
}

KERNEL(void, ck_softmax_rows_backward,
       (float *restrict d, const float *restrict p, const uint8_t *restrict keep, size_t rows,
        size_t columns, size_t stride, float scale, float factor),
       (d, p, keep, rows, columns, stride, scale, factor)) {
  for (size_t r = 0; r < rows; r++) {
    float *restrict g = d + r * stride;
    const float *restrict probability = p + r * stride;
    lanes16 sums = 0;
    for (size_t i = 0; i < columns; i += 16) {
      lanes16 value, weight;
      load_floats(&value, g + i, columns - i);
      load_floats(&weight, probability + i, columns - i);
      if (keep) {
        lanes16 kept;
        load_keep(&kept, keep + r * columns + i, columns - i, factor);
        value *= kept;
        store_floats(g + i, &value, columns - i);
      }
      sums += value * weight;
    }
    float sum = sum16(&sums);
    for (size_t i = 0; i < columns; i++) g[i] = scale * probability[i] * (g[i] - sum);
  }
}
