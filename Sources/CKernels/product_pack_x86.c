// Packs floats or bfloat16 numbers into tiles, by AVX-512.
#if defined(__x86_64__)
#include "product_x86.h"
#include "transpose16.h"

/// How numbers are packed: known when the code is compiled.
typedef struct {
  int terms, is_bf16, is_scaled;
} packing;

VECTOR HELPER __m512 load(const ck_matrix *a, size_t index, uint32_t mask, float alpha, packing how) {
  __m512 x;
  if (how.is_bf16)
    x = _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(
            _mm256_maskz_loadu_epi16((__mmask16)mask, (const uint16_t *)a->base + index)),
        16));
  else
    x = _mm512_maskz_loadu_ps((__mmask16)mask, (const float *)a->base + index);
  return how.is_scaled ? _mm512_mul_ps(x, _mm512_set1_ps(alpha)) : x;
}

VECTOR HELPER __m512 high_part(__m512 x) {
  __m512i u = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  return _mm512_castsi512_ps(_mm512_and_si512(u, _mm512_set1_epi32((int)0xffff0000)));
}

/// What is left of x after part `term` went.
VECTOR HELPER __m512 take(__m512 *x, int term) {
  if (term == 2) return *x;
  __m512 high = high_part(*x);
  *x = _mm512_sub_ps(*x, high);
  return high;
}

/// 32 numbers one after the other, one vector for each part.
VECTOR HELPER void consecutive(__m512i out[3], __m512 first, __m512 second, int terms) {
  if (terms == 1) {
    out[0] = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    return;
  }
  const __m512i odd = _mm512_add_epi16(
      _mm512_set1_epi16(1),
      _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26,
                       24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0));
  for (int t = 0; t < terms; t++)
    out[t] = _mm512_permutex2var_epi16(_mm512_castps_si512(take(&first, t)), odd,
                                       _mm512_castps_si512(take(&second, t)));
}

/// 16 pairs, each of a number of `even` and one of `odd`.
VECTOR HELPER void interleaved(__m512i out[3], __m512 even, __m512 odd, int terms) {
  if (terms == 1) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9,
                                           24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
                                           16, 0);
    out[0] = _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
    return;
  }
  for (int t = 0; t < terms; t++)
    out[t] = _mm512_or_si512(_mm512_castps_si512(take(&odd, t)),
                             _mm512_srli_epi32(_mm512_castps_si512(take(&even, t)), 16));
}

/// A row of op(A)'s memory, 32 numbers deep, to a row of the tiles; of the last ones those in `mask`.
VECTOR HELPER void pack_along(uint16_t *line, const ck_matrix *a, size_t index, uint32_t mask,
                              float alpha, packing how) {
  __m512i out[3];
  if (how.is_bf16 && how.terms == 1 && !how.is_scaled)
    out[0] = _mm512_maskz_loadu_epi16(mask, (const uint16_t *)a->base + index);
  else
    consecutive(out, load(a, index, mask & 0xffff, alpha, how),
                load(a, index + 16, mask >> 16, alpha, how), how.terms);
  for (int t = 0; t < how.terms; t++) _mm512_store_si512(line + t * TILE_SIZE, out[t]);
}

/// 16 numbers of two rows of memory, which are one pair of depths, to a row of the tiles.
VECTOR HELPER void pack_across(uint16_t *line, const ck_matrix *a, size_t index, uint32_t even,
                               uint32_t odd, float alpha, packing how) {
  __m512i out[3];
  if (how.is_bf16 && how.terms == 1 && !how.is_scaled) {
    const uint16_t *row = (const uint16_t *)a->base + index;
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)even, row));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)odd, row + a->stride));
    out[0] = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  } else {
    interleaved(out, load(a, index, even, alpha, how), load(a, index + a->stride, odd, alpha, how),
                how.terms);
  }
  for (int t = 0; t < how.terms; t++) _mm512_store_si512(line + t * TILE_SIZE, out[t]);
}

/// Transposes the 16 x 16 pairs of a tile.
VECTOR HELPER void transpose(uint16_t *tile) {
  __m512i rows[16];
  for (int i = 0; i < 16; i++) rows[i] = _mm512_load_si512(tile + i * TILE_DEPTH);
  transpose16(rows);
  for (int i = 0; i < 16; i++) _mm512_store_si512(tile + i * TILE_DEPTH, rows[i]);
}

/// Memory is read row by row, so that it streams; what comes out along the wrong axis of a tile is
/// transposed there, in the cache.
VECTOR HELPER void pack_as(uint16_t *tiles, const ck_matrix *a, size_t rows, size_t depth,
                           float alpha, int paired, packing how) {
  size_t steps = (depth + TILE_DEPTH - 1) / TILE_DEPTH;
  size_t step = (size_t)how.terms * TILE_SIZE, panel = steps * step;
  size_t panels = (rows + TILE_ROWS - 1) / TILE_ROWS;
  // Whole vectors go without masks, which would cost more than all the rest.
  if (a->transposed) {
    size_t whole = rows / TILE_ROWS * TILE_ROWS;
    uint32_t rest = mask_of(rows - whole);
    for (size_t d = 0; d < steps * TILE_DEPTH; d += 2) {
      uint16_t *line = tiles + d / TILE_DEPTH * step + d % TILE_DEPTH / 2 * TILE_DEPTH;
      size_t index = d * a->stride;
      if (d + 1 < depth) {
        for (size_t i = 0; i < whole; i += TILE_ROWS, line += panel)
          pack_across(line, a, index + i, 0xffff, 0xffff, alpha, how);
        if (rest) pack_across(line, a, index + whole, rest, rest, alpha, how);
      } else {
        for (size_t i = 0; i < rows; i += TILE_ROWS, line += panel)
          pack_across(line, a, index + i, d < depth ? mask_of(rows - i) : 0, 0, alpha, how);
      }
    }
  } else {
    size_t whole = depth / TILE_DEPTH;
    uint32_t rest = (1u << depth % TILE_DEPTH) - 1;
    for (size_t i = 0; i < panels * TILE_ROWS; i++) {
      uint16_t *line = tiles + i / TILE_ROWS * panel + i % TILE_ROWS * TILE_DEPTH;
      size_t index = i * a->stride;
      if (i < rows) {
        for (size_t s = 0; s < whole; s++, line += step, index += TILE_DEPTH)
          pack_along(line, a, index, 0xffffffff, alpha, how);
        if (rest) pack_along(line, a, index, rest, alpha, how);
      } else {
        for (size_t s = 0; s < steps; s++, line += step) pack_along(line, a, 0, 0, alpha, how);
      }
    }
  }
  if (paired != !!a->transposed)
    for (size_t t = 0; t < panels * panel; t += TILE_SIZE) transpose(tiles + t);
}

VECTOR void product_pack_x86(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha,
                             int terms, int paired) {
#define PACK(TERMS, SCALED)                                                             \
  a.is_bf16 ? pack_as(tiles, &a, rows, depth, alpha, paired, (packing){TERMS, 1, SCALED}) \
            : pack_as(tiles, &a, rows, depth, alpha, paired, (packing){TERMS, 0, SCALED})
#define PACK_TERMS(TERMS)   \
  if (terms == TERMS) {     \
    if (alpha == 1)         \
      PACK(TERMS, 0);       \
    else                    \
      PACK(TERMS, 1);       \
  }
  PACK_TERMS(1)
  PACK_TERMS(2)
  PACK_TERMS(3)
#undef PACK_TERMS
#undef PACK
}

#else
typedef int no_x86;
#endif
