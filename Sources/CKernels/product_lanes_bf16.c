// Products of bfloat16 numbers by AVX512-BF16's dot products.
#if defined(__x86_64__)
#include "pairs_x86.h"

#define TARGET VECTOR
#define LANES_PRODUCT lanes_product_bf16
#define WORD_DEPTHS 2
#define ADD_WORDS(sum, x, y) \
  (sum) = (lanes16)_mm512_dpbf16_ps((__m512)(sum), (__m512bh)(x), (__m512bh)(y))

#include "product_lanes_avx512.h"
#include "product_lanes.h"

// Compiled for each kind of number; whole vectors without masks, which would cost more than all the rest.
#define EACH_KIND(o, LOAD)             \
  if ((o)->x.is_bf16) {                \
    if ((o)->factor == 1)              \
      LOAD(((numbers){1, 0}));         \
    else                               \
      LOAD(((numbers){1, 1}));         \
  } else if ((o)->factor == 1) {       \
    LOAD(((numbers){0, 0}));           \
  } else {                             \
    LOAD(((numbers){0, 1}));           \
  }

TARGET HELPER void load_along(lanes16 *v, const operand *o, const void *p, size_t n) {
  uint32_t mask = n >= 32 ? 0xffffffff : (1u << n) - 1;
#define LOAD(FROM)                                                                  \
  *v = (lanes16)(n >= 32 ? pairs_along(p, 0, 0xffffffff, o->factor, FROM)           \
                         : pairs_along(p, 0, mask, o->factor, FROM))
  EACH_KIND(o, LOAD)
#undef LOAD
}

TARGET HELPER void load_across(lanes16 *v, const operand *o, const void *p, size_t depths,
                               size_t n) {
  size_t stride = depths > 1 ? o->x.stride : 0;
  uint32_t mask = mask_of(n), second = depths > 1 ? mask : 0;
#define LOAD(FROM)                                                                        \
  *v = (lanes16)(n >= 16 && depths > 1                                                    \
                     ? pairs_across(p, 0, stride, 0xffff, 0xffff, o->factor, FROM)        \
                     : pairs_across(p, 0, stride, mask, second, o->factor, FROM))
  EACH_KIND(o, LOAD)
#undef LOAD
}

#endif
