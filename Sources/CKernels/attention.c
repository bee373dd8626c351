// Softmax rows, dropout and gradients.
#include "include/attention_kernels.h"

#include "kernel.h"
#include "lanes_part.h"

KERNEL(void, ck_softmax_rows,
       (float *scores, size_t rows, size_t columns, size_t stride, float scale),
       (scores, rows, columns, stride, scale)) {
  size_t whole = columns / 16 * 16, rest = columns - whole;
  for (size_t r = 0; r < rows; r++) {
    float *restrict s = scores + r * stride;
    lanes16 tail;
    load_part16(&tail, s + whole, rest, -3.402823466e38f);
    lanes16 most = tail;
    for (size_t i = 0; i < whole; i += 16) most = LOAD16(s + i) > most ? LOAD16(s + i) : most;
    lanes16 largest = maximum16(&most);
    tail = (tail - largest) * scale;
    exp16(&tail);
    lanes16 sums = tail;
    for (size_t i = 0; i < whole; i += 16) {
      lanes16 e = (LOAD16(s + i) - largest) * scale;
      exp16(&e);
      STORE16(s + i, e);
      sums += e;
    }
    lanes16 inverse = 1.0f / sum16(&sums);
    for (size_t i = 0; i < whole; i += 16) STORE16(s + i, LOAD16(s + i) * inverse);
    tail *= inverse;
    store_part16(s + whole, &tail, rest);
  }
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
