// Sixteen numbers at a time where a row may end within them: n are left, 16 or more for all lanes.
#ifndef CKERNELS_LANES_PART_H
#define CKERNELS_LANES_PART_H

#include "lanes.h"
#include "lanes_bf16.h"

typedef uint8_t bytes16 __attribute__((ext_vector_type(16), aligned(1), may_alias));

/// The mask's factors for n elements.
LANES_TARGET HELPER void load_keep(lanes16 *v, const uint8_t *p, size_t n, float factor) {
  uint8_t buffer[16];
  if (n < 16) {
    for (size_t l = 0; l < 16; l++) buffer[l] = l < n ? p[l] : 0;
    p = buffer;
  }
  *v = __builtin_convertvector(*(const bytes16 *)p, lanes16) * factor;
}

LANES_TARGET HELPER void load_floats(lanes16 *v, const float *p, size_t n) {
  if (n >= 16)
    *v = LOAD16(p);
  else
    load_part16(v, p, n, 0);
}

LANES_TARGET HELPER void store_floats(float *p, const lanes16 *v, size_t n) {
  if (n >= 16)
    STORE16(p, *v);
  else
    store_part16(p, v, n);
}

/// The first n of floats or bfloat16 numbers, from number `at` on.
LANES_TARGET HELPER void load_numbers(lanes16 *v, const void *base, size_t at, size_t n,
                                      int is_bf16) {
  if (is_bf16)
    load_bf16(v, (const uint16_t *)base + at, n);
  else
    load_floats(v, (const float *)base + at, n);
}

LANES_TARGET HELPER void store_numbers(void *base, size_t at, const lanes16 *v, size_t n,
                                       int is_bf16) {
  if (is_bf16)
    store_bf16((uint16_t *)base + at, v, n);
  else
    store_floats((float *)base + at, v, n);
}

/// The sum of x · y over n, in sixteen lanes.
LANES_TARGET HELPER float dot_product(const float *x, const float *y, size_t n) {
  lanes16 sums = 0;
  for (size_t c = 0; c < n; c += 16) {
    lanes16 a, b;
    load_floats(&a, x + c, n - c);
    load_floats(&b, y + c, n - c);
    sums += a * b;
  }
  return sum16(&sums);
}

#endif
