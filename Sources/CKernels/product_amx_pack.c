// Packs floats or bfloat16 numbers into AMX tiles, by AVX-512.
#if defined(__x86_64__)
#include "pairs_x86.h"
#include "product_amx.h"

/// How numbers are packed: known when the code is compiled.
typedef struct {
  int terms;
  numbers from;
} packing;

// ---- one term: a tile's depths are in order ----------------------------------------------------

/// A row of op(A)'s memory, 32 numbers deep, to a row of the tiles; of the last ones those in `mask`.
VECTOR HELPER void pack_along(uint16_t *line, const ck_matrix *a, size_t index, uint32_t mask,
                              float alpha, packing how) {
  _mm512_store_si512(line, pairs_along(a->base, index, mask, alpha, how.from));
}

/// 16 numbers of two rows of memory, which are one pair of depths, to a row of the tiles.
VECTOR HELPER void pack_across(uint16_t *line, const ck_matrix *a, size_t index, uint32_t even,
                               uint32_t odd, float alpha, packing how) {
  _mm512_store_si512(line, pairs_across(a->base, index, a->stride, even, odd, alpha, how.from));
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
VECTOR HELPER void pack_rounded(uint16_t *tiles, const ck_matrix *a, size_t rows, size_t depth,
                                float alpha, int is_transposing, packing how) {
  size_t steps = steps_of(depth), panel = steps * TILE_SIZE;
  size_t panels = (rows + TILE_ROWS - 1) / TILE_ROWS;
  // Whole vectors go without masks, which would cost more than all the rest.
  if (a->transposed) {
    size_t whole = rows / TILE_ROWS * TILE_ROWS;
    uint32_t rest = mask_of(rows - whole);
    for (size_t d = 0; d < steps * TILE_DEPTH; d += 2) {
      uint16_t *line = tiles + d / TILE_DEPTH * TILE_SIZE + d % TILE_DEPTH / 2 * TILE_DEPTH;
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
        for (size_t s = 0; s < whole; s++, line += TILE_SIZE, index += TILE_DEPTH)
          pack_along(line, a, index, 0xffffffff, alpha, how);
        if (rest) pack_along(line, a, index, rest, alpha, how);
      } else {
        for (size_t s = 0; s < steps; s++, line += TILE_SIZE) pack_along(line, a, 0, 0, alpha, how);
      }
    }
  }
  if (is_transposing)
    for (size_t t = 0; t < panels * panel; t += TILE_SIZE) transpose(tiles + t);
}

// ---- several terms: depths are in order for two, and for three depth d is followed by depth d + 16 -

/// Two terms of B meet rows of A that are read in place, in their order.
HELPER int is_in_order(packing how) { return how.terms == 2; }

/// What is left of x after part `term` went.
VECTOR HELPER __m512i take(__m512i *x, int term) {
  if (term == 2) return *x;
  __m512i high = _mm512_and_si512(_mm512_add_epi32(*x, _mm512_set1_epi32(0x8000)),
                                  _mm512_set1_epi32((int)0xffff0000));
  *x = (__m512i)_mm512_sub_ps(_mm512_castsi512_ps(*x), _mm512_castsi512_ps(high));
  return high;
}

/// 16 pairs, each of a number of `first` and one of `second`, to a line of the tile of each part.
VECTOR HELPER void store_parts(uint16_t *line, __m512i first, __m512i second, packing how) {
  for (int t = 0; t < how.terms; t++)
    _mm512_store_si512(line + t * TILE_SIZE,
                       _mm512_or_si512(take(&second, t), _mm512_srli_epi32(take(&first, t), 16)));
}

/// 16 rows of memory, `step` numbers apart, and two vectors of each, `skip` numbers apart: the rows and numbers
/// that count.
typedef struct {
  size_t index, step, skip;
  size_t rows[2];
  uint32_t mask[2];
} source;

/// One tile, of each part, from 16 rows of memory, which are those of op(A) or of its transpose; asks for the
/// numbers `ahead` of them.
VECTOR HELPER void pack_block(uint16_t *tile, const ck_matrix *a, source from, size_t ahead,
                              float alpha, int is_transposing, packing how) {
  __m512i parts[2][16];
  size_t size = how.from.is_bf16 ? 2 : 4;
  for (size_t i = 0; i < 16; i++) {
    for (size_t h = 0; h < 2; h++) {
      size_t at = from.index + i * from.step + h * from.skip;
      __builtin_prefetch((const char *)a->base + size * (at + ahead), 0, 2);
      uint32_t mask = i < from.rows[h] ? from.mask[h] : 0;
      parts[h][i] = _mm512_castps_si512(load_numbers16(a->base, at, mask, alpha, how.from));
    }
    // Rows of depths: the even ones, then the odd ones.
    if (is_in_order(how) && !a->transposed) {
      const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
      __m512i left = parts[0][i], right = parts[1][i];
      parts[0][i] = _mm512_permutex2var_epi32(left, even, right);
      parts[1][i] = _mm512_permutex2var_epi32(
          left, _mm512_or_si512(even, _mm512_set1_epi32(1)), right);
    }
    if (!is_transposing) store_parts(tile + i * TILE_DEPTH, parts[0][i], parts[1][i], how);
  }
  if (!is_transposing) return;
  transpose16(parts[0]);
  transpose16(parts[1]);
  for (size_t i = 0; i < 16; i++)
    store_parts(tile + i * TILE_DEPTH, parts[0][i], parts[1][i], how);
}

HELPER size_t beyond(size_t n, size_t begin) { return n > begin ? n - begin : 0; }

/// Blocks are packed in the order in which they lie in memory.
VECTOR HELPER void pack_split(uint16_t *tiles, const ck_matrix *a, size_t rows, size_t depth,
                              float alpha, int is_transposing, packing how) {
  size_t steps = steps_of(depth), step = (size_t)how.terms * TILE_SIZE, panel = steps * step;
  size_t panels = (rows + TILE_ROWS - 1) / TILE_ROWS;
  size_t ahead = (a->transposed ? 32 : 16) * a->stride;
  for (size_t t = 0; t < steps * panels; t++) {
    size_t p = a->transposed ? t % panels : t / steps, s = a->transposed ? t / panels : t % steps;
    uint16_t *tile = tiles + p * panel + s * step;
    size_t row = p * TILE_ROWS, d = s * TILE_DEPTH;
    size_t high = rows - row, deep = depth - d, deeper = beyond(depth, d + 16);
    source from = {row * a->stride + d, a->stride, 16, {16, 16}, {0xffff, 0xffff}};
    if (a->transposed) {
      from.index = d * a->stride + row;
      from.step = (is_in_order(how) ? 2 : 1) * a->stride;
      from.skip = (is_in_order(how) ? 1 : 16) * a->stride;
    }
    if (high >= TILE_ROWS && deep >= TILE_DEPTH) {
      pack_block(tile, a, from, ahead, alpha, is_transposing, how);
      continue;
    }
    for (int h = 0; h < 2; h++) {
      size_t left = h ? deeper : deep, lines = is_in_order(how) ? (deep + 1 - (size_t)h) / 2 : left;
      from.rows[h] = a->transposed ? lines : high;
      from.mask[h] = mask_of(a->transposed ? high : left);
    }
    pack_block(tile, a, from, ahead, alpha, is_transposing, how);
  }
}

VECTOR HELPER void pack_as(uint16_t *tiles, const ck_matrix *a, size_t rows, size_t depth,
                           float alpha, int paired, packing how) {
  int is_transposing = paired != !!a->transposed;
  if (how.terms == 1)
    pack_rounded(tiles, a, rows, depth, alpha, is_transposing, how);
  else if (is_transposing)
    pack_split(tiles, a, rows, depth, alpha, 1, how);
  else
    pack_split(tiles, a, rows, depth, alpha, 0, how);
}

VECTOR void amx_pack(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha,
                     int terms, int paired) {
#define PACK(TERMS, SCALED)                                                             \
  a.is_bf16 ? pack_as(tiles, &a, rows, depth, alpha, paired, (packing){TERMS, {1, SCALED}}) \
            : pack_as(tiles, &a, rows, depth, alpha, paired, (packing){TERMS, {0, SCALED}})
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
