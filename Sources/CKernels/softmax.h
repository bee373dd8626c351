// Softmax of a row, in place.
#ifndef CKERNELS_SOFTMAX_H
#define CKERNELS_SOFTMAX_H

#include "lanes.h"

/// s = softmax(scale * s) over n scores and `zeros` scores of zero besides, which have no place.
HELPER void softmax_row(float *restrict s, size_t n, int32_t zeros, float scale) {
  size_t whole = n / 16 * 16, rest = n - whole;
  lanes16 tail;
  load_part16(&tail, s + whole, rest, -3.402823466e38f);
  lanes16 most = tail;
  for (size_t i = 0; i < whole; i += 16) most = LOAD16(s + i) > most ? LOAD16(s + i) : most;
  float largest = maximum16(&most);
  if (zeros > 0 && largest < 0) largest = 0;
  tail = (tail - largest) * scale;
  exp16(&tail);
  lanes16 sums = tail;
  for (size_t i = 0; i < whole; i += 16) {
    lanes16 e = (LOAD16(s + i) - largest) * scale;
    exp16(&e);
    STORE16(s + i, e);
    sums += e;
  }
  float sum = sum16(&sums);
  if (zeros > 0) {
    lanes16 of_zero = -scale * largest;
    exp16(&of_zero);
    sum += (float)zeros * of_zero[0];
  }
  float inverse = 1.0f / sum;
  for (size_t i = 0; i < whole; i += 16) STORE16(s + i, LOAD16(s + i) * inverse);
  tail *= inverse;
  store_part16(s + whole, &tail, rest);
}

#endif
