// How products sum in AVX-512's lanes, for a file that says of what (TARGET).
#ifndef CKERNELS_PRODUCT_LANES_AVX512_H
#define CKERNELS_PRODUCT_LANES_AVX512_H

#include "lanes_avx512.h"
#include "lanes_bf16.h"

// 28 of the 32 registers hold sums.
#define TILE_ROWS 14
#define TILE_VECTORS 2
#define PACKED 16
#define FETCH_DEPTHS 1
#define FETCHES 1
// For loads ahead, across the branches of a fetch, the compiler would take registers from the sums.
#ifndef HOLD
#define HOLD(v) __asm__ volatile("" : "+v"(v)::"memory")
#endif
#define EACH_NUMBER_OF_ROWS(X) \
  X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)

TARGET HELPER void load_columns(lanes16 *v, const float *p, size_t n) {
  *v = (lanes16)_mm512_maskz_loadu_ps((__mmask16)mask_of(n), p);
}

TARGET HELPER void store_columns(float *p, const lanes16 *v, size_t n) {
  _mm512_mask_storeu_ps(p, (__mmask16)mask_of(n), (__m512)*v);
}

TARGET HELPER void store_halves(uint16_t *p, const lanes16 *v, size_t n) {
#ifdef ROUND_BF16
  __m256i halves = (__m256i)ROUND_BF16(*v);
#else
  lanes16 x = *v;
  round16(&x);
  __m256i halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)x, 16));
#endif
  _mm256_mask_storeu_epi16(p, (__mmask16)mask_of(n), halves);
}

/// By way of a copy, because a lanes16 may lie where no __m512i may.
TARGET HELPER void transpose_lines(lanes16 *lines) {
  __m512i r[16];
  for (int i = 0; i < 16; i++) r[i] = (__m512i)lines[i];
  transpose16(r);
  for (int i = 0; i < 16; i++) lines[i] = (lanes16)r[i];
}

#endif
