// Softmax rows, dropout and gradients.
#include "include/attention_kernels.h"

#include "lanes.h"
#include "multiversion.h"

MULTIVERSION
void ck_softmax_rows(float *scores, size_t rows, size_t columns, size_t stride, float scale) {
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

MULTIVERSION
void ck_dropout_rows(float *restrict dropped, const float *restrict p, const uint8_t *restrict keep,
                     size_t rows, size_t columns, size_t stride, float factor) {
  for (size_t r = 0; r < rows; r++) {
    const float *restrict source = p + r * stride;
    float *restrict target = dropped + r * stride;
    const uint8_t *restrict k = keep + r * columns;
    for (size_t i = 0; i < columns; i++) target[i] = source[i] * ((float)k[i] * factor);
  }
}

MULTIVERSION
void ck_softmax_rows_backward(float *restrict d, const float *restrict p,
                              const uint8_t *restrict keep, size_t rows, size_t columns,
                              size_t stride, float scale, float factor) {
#pragma clang fp reassociate(on)
  for (size_t r = 0; r < rows; r++) {
    float *restrict g = d + r * stride;
    const float *restrict probability = p + r * stride;
    float sum = 0;
    if (keep) {
      const uint8_t *restrict k = keep + r * columns;
      for (size_t i = 0; i < columns; i++) {
        float value = g[i] * ((float)k[i] * factor);
        g[i] = value;
        sum += value * probability[i];
      }
    } else {
      for (size_t i = 0; i < columns; i++) sum += g[i] * probability[i];
    }
    for (size_t i = 0; i < columns; i++) g[i] = scale * probability[i] * (g[i] - sum);
  }
}
