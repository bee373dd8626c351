// Sixteen bfloat16 numbers at a time, to and from floats.
#ifndef CKERNELS_LANES_BF16_H
#define CKERNELS_LANES_BF16_H

#include "lanes.h"

typedef uint16_t halves16 __attribute__((ext_vector_type(16), aligned(2), may_alias));

/// Every lane to the nearest bfloat16, still as floats: half of what is cut off is added, and a unit less
/// of it when the last bit kept is 0, so that ties go to even. A NaN would become infinity when only bits
/// cut off are set, so it gets the quiet bit instead.
HELPER void round16(lanes16 *x) {
  words16 bits = (words16)*x;
  words16 rounded = bits + 0x7fff + (bits >> 16 & 1);
  words16 chosen = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x00400000 : rounded;
  *x = (lanes16)(chosen & 0xffff0000);
}

/// The first n of v as bfloat16, rounded as by round16. A file for one instruction set may define
/// ROUND_BF16, which does it there.
LANES_TARGET HELPER void store_bf16(uint16_t *p, const lanes16 *v, size_t n) {
#ifdef ROUND_BF16
  halves16 halves = ROUND_BF16(*v);
#else
  lanes16 x = *v;
  round16(&x);
  halves16 halves = __builtin_convertvector((words16)x >> 16, halves16);
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
