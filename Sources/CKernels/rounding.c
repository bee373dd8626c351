// Rounding of floats to bf16, and their packing into 16 bits.
#include "include/rounding_kernels.h"

#include "lanes.h"
#include "multiversion.h"

typedef uint16_t halves16 __attribute__((ext_vector_type(16), aligned(2), may_alias));

/// Adds half of what is cut off, and a unit less of it when the last bit kept is 0: ties go to even. A
/// NaN would become infinity when only bits cut off are set, so it gets the quiet bit instead.
HELPER void round16(lanes16 *x) {
  words16 bits = (words16)*x;
  words16 rounded = bits + 0x7FFF + ((bits >> 16) & 1);
  words16 chosen = (bits & 0x7FFFFFFF) > 0x7F800000 ? bits | 0x00400000 : rounded;
  *x = (lanes16)(chosen & 0xFFFF0000);
}

MULTIVERSION
void ck_round_bf16(float *x, size_t n) {
  size_t i = 0;
  lanes16 v;
  for (; i + 16 <= n; i += 16) {
    v = LOAD16(x + i);
    round16(&v);
    STORE16(x + i, v);
  }
  load_part16(&v, x + i, n - i, 0);
  round16(&v);
  store_part16(x + i, &v, n - i);
}

MULTIVERSION
void ck_add_bf16(float *restrict y, const float *restrict x, size_t n) {
  size_t i = 0;
  lanes16 v, w;
  for (; i + 16 <= n; i += 16) {
    v = LOAD16(y + i) + LOAD16(x + i);
    round16(&v);
    STORE16(y + i, v);
  }
  load_part16(&v, y + i, n - i, 0);
  load_part16(&w, x + i, n - i, 0);
  v += w;
  round16(&v);
  store_part16(y + i, &v, n - i);
}

MULTIVERSION
void ck_pack_bf16(uint16_t *restrict packed, const float *restrict x, size_t n) {
  size_t i = 0;
  lanes16 v;
  for (; i + 16 <= n; i += 16) {
    v = LOAD16(x + i);
    round16(&v);
    *(halves16 *)(packed + i) = __builtin_convertvector((words16)v >> 16, halves16);
  }
  load_part16(&v, x + i, n - i, 0);
  round16(&v);
  for (size_t l = 0; i + l < n; l++) packed[i + l] = (uint16_t)(((words16)v)[l] >> 16);
}

MULTIVERSION
void ck_unpack_bf16(float *restrict y, const uint16_t *restrict packed, size_t n) {
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    words16 bits = __builtin_convertvector(*(const halves16 *)(packed + i), words16) << 16;
    STORE16(y + i, (lanes16)bits);
  }
  for (; i < n; i++) {
    union {
      uint32_t bits;
      float value;
    } word = {(uint32_t)packed[i] << 16};
    y[i] = word.value;
  }
}
