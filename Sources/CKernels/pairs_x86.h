// Pairs of bfloat16 numbers, one depth and the next, as AVX512-BF16 and AMX multiply them: 16 words at a time,
// from memory of floats or bfloat16 numbers in either orientation.
#ifndef CKERNELS_PAIRS_X86_H
#define CKERNELS_PAIRS_X86_H

#include <immintrin.h>

#include "x86_target.h"

#define VECTOR X86_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#define LANES_TARGET VECTOR
#define ROUND_BF16(v) ((halves16)_mm512_cvtneps_pbh((__m512)(v)))
#define FINISH_GELU gelu_x86

#include "gelu_x86.h"
#include "include/product_kernels.h"
#include "lanes_avx512.h"

/// What lies in memory, and whether it is scaled on its way: known when the code is compiled.
typedef struct {
  int is_bf16, is_scaled;
} numbers;

/// 16 floats from number `index` on; zeros outside the mask, which is not read.
VECTOR HELPER __m512 load_numbers16(const void *base, size_t index, uint32_t mask, float alpha,
                                    numbers from) {
  __m512 x;
  if (from.is_bf16)
    x = _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(
            _mm256_maskz_loadu_epi16((__mmask16)mask, (const uint16_t *)base + index)),
        16));
  else
    x = _mm512_maskz_loadu_ps((__mmask16)mask, (const float *)base + index);
  return from.is_scaled ? _mm512_mul_ps(x, _mm512_set1_ps(alpha)) : x;
}

/// 32 numbers that follow one another in depth, rounded.
VECTOR HELPER __m512i pairs_along(const void *base, size_t index, uint32_t mask, float alpha,
                                  numbers from) {
  if (from.is_bf16 && !from.is_scaled)
    return _mm512_maskz_loadu_epi16(mask, (const uint16_t *)base + index);
  return (__m512i)_mm512_cvtne2ps_pbh(
      load_numbers16(base, index + 16, mask >> 16, alpha, from),
      load_numbers16(base, index, mask & 0xffff, alpha, from));
}

/// 16 numbers of one depth, each beside that of the next, `stride` numbers further; rounded.
VECTOR HELPER __m512i pairs_across(const void *base, size_t index, size_t stride, uint32_t first,
                                   uint32_t second, float alpha, numbers from) {
  if (from.is_bf16 && !from.is_scaled) {
    const uint16_t *row = (const uint16_t *)base + index;
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)first, row));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)second, row + stride));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  }
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(
      order, (__m512i)_mm512_cvtne2ps_pbh(load_numbers16(base, index + stride, second, alpha, from),
                                          load_numbers16(base, index, first, alpha, from)));
}

#endif
