// Sixteen bfloat16 numbers at a time, to and from floats.
#ifndef CKERNELS_LANES_BF16_H
#define CKERNELS_LANES_BF16_H

#include "lanes.h"

typedef uint16_t halves16 __attribute__((ext_vector_type(16), aligned(2), may_alias));

// The instruction set of what includes this, where it has one; it may then have ROUND_BF16 too.
#ifndef LANES_TARGET
#define LANES_TARGET
#endif

/// The first n of v as bfloat16, to nearest, ties to even; not a number stays one.
LANES_TARGET HELPER void store_bf16(uint16_t *p, const lanes16 *v, size_t n) {
#ifdef ROUND_BF16
  halves16 halves = ROUND_BF16(*v);
#else
  words16 u = (words16)*v;
  words16 rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  words16 result = (u & 0x7fffffff) > 0x7f800000 ? (u >> 16 | 0x40) : rounded;
  halves16 halves = __builtin_convertvector(result, halves16);
#endif
  if (n >= 16) {
    *(halves16 *)p = halves;
    return;
  }
  for (size_t l = 0; l < n; l++) p[l] = halves[l];
}

LANES_TARGET HELPER void load_bf16(lanes16 *v, const uint16_t *p, size_t n) {
  uint16_t buffer[16];
  if (n < 16) {
    for (size_t l = 0; l < 16; l++) buffer[l] = l < n ? p[l] : 0;
    p = buffer;
  }
  *v = (lanes16)(__builtin_convertvector(*(const halves16 *)p, words16) << 16);
}

#endif
