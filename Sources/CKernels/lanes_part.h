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

#endif
