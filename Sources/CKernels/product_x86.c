// Packing for AVX-512, and products of bfloat16 tiles by AVX512-BF16 and AMX.
#if defined(__x86_64__)
#include <immintrin.h>

#define VECTOR __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define LANES_TARGET VECTOR
#define ROUND_BF16(v) ((halves16)_mm512_cvtneps_pbh((__m512)(v)))

#include "product_finish.h"
#include "product_tiles.h"

#define TILES \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

// ---- packing -----------------------------------------------------------------------------------

/// Ones below n, at most 16.
HELPER uint32_t mask_of(size_t n) { return n >= 16 ? 0xffff : (1u << n) - 1; }

VECTOR HELPER __m512 load(const ck_matrix *a, size_t index, uint32_t mask, int is_bf16, float alpha) {
  __m512 x;
  if (is_bf16)
    x = _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(
            _mm256_maskz_loadu_epi16((__mmask16)mask, (const uint16_t *)a->base + index)),
        16));
  else
    x = _mm512_maskz_loadu_ps((__mmask16)mask, (const float *)a->base + index);
  return alpha == 1 ? x : _mm512_mul_ps(x, _mm512_set1_ps(alpha));
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

/// A row of op(A)'s memory, 32 numbers deep, to a row of the tiles. `left` is what remains of the row.
VECTOR HELPER void pack_along(uint16_t *line, const ck_matrix *a, size_t index, size_t left,
                              float alpha, int terms, int is_bf16) {
  __m512i out[3];
  if (is_bf16 && terms == 1 && alpha == 1)
    out[0] = _mm512_maskz_loadu_epi16(left >= 32 ? 0xffffffff : (1u << left) - 1,
                                      (const uint16_t *)a->base + index);
  else
    consecutive(out, load(a, index, mask_of(left), is_bf16, alpha),
                load(a, index + 16, left > 16 ? mask_of(left - 16) : 0, is_bf16, alpha), terms);
  for (int t = 0; t < terms; t++) _mm512_store_si512(line + t * TILE_SIZE, out[t]);
}

/// 16 numbers of two rows of memory, which are one pair of depths, to a row of the tiles.
VECTOR HELPER void pack_across(uint16_t *line, const ck_matrix *a, size_t index, uint32_t even,
                               uint32_t odd, float alpha, int terms, int is_bf16) {
  __m512i out[3];
  if (is_bf16 && terms == 1 && alpha == 1) {
    const uint16_t *row = (const uint16_t *)a->base + index;
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)even, row));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)odd, row + a->stride));
    out[0] = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  } else {
    interleaved(out, load(a, index, even, is_bf16, alpha),
                load(a, index + a->stride, odd, is_bf16, alpha), terms);
  }
  for (int t = 0; t < terms; t++) _mm512_store_si512(line + t * TILE_SIZE, out[t]);
}

/// Transposes the 16 x 16 pairs of a tile.
VECTOR HELPER void transpose(uint16_t *tile) {
  __m512i r[16], t[16];
  for (int i = 0; i < 16; i++) r[i] = _mm512_load_si512(tile + i * TILE_DEPTH);
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++)
    for (int h = 0; h < 2; h++) {
      r[4 * i + 2 * h] = _mm512_unpacklo_epi64(t[4 * i + h], t[4 * i + 2 + h]);
      r[4 * i + 2 * h + 1] = _mm512_unpackhi_epi64(t[4 * i + h], t[4 * i + 2 + h]);
    }
  for (int i = 0; i < 4; i++)
    for (int h = 0; h < 2; h++) {
      t[8 * h + i] = _mm512_shuffle_i32x4(r[8 * h + i], r[8 * h + i + 4], 0x88);
      t[8 * h + i + 4] = _mm512_shuffle_i32x4(r[8 * h + i], r[8 * h + i + 4], 0xdd);
    }
  for (int i = 0; i < 8; i++) {
    _mm512_store_si512(tile + i * TILE_DEPTH, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
    _mm512_store_si512(tile + (i + 8) * TILE_DEPTH, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
  }
}

/// Memory is read row by row, so that it streams; what comes out along the wrong axis of a tile is
/// transposed there, in the cache.
VECTOR HELPER void pack_as(uint16_t *tiles, const ck_matrix *a, size_t rows, size_t depth,
                           float alpha, int terms, int paired, int is_bf16) {
  size_t steps = (depth + TILE_DEPTH - 1) / TILE_DEPTH;
  size_t step = (size_t)terms * TILE_SIZE, panel = steps * step;
  size_t panels = (rows + TILE_ROWS - 1) / TILE_ROWS;
  if (a->transposed)
    for (size_t d = 0; d < steps * TILE_DEPTH; d += 2) {
      uint16_t *line = tiles + d / TILE_DEPTH * step + d % TILE_DEPTH / 2 * TILE_DEPTH;
      for (size_t i = 0; i < rows; i += TILE_ROWS, line += panel) {
        uint32_t mask = mask_of(rows - i);
        pack_across(line, a, d * a->stride + i, d < depth ? mask : 0, d + 1 < depth ? mask : 0,
                    alpha, terms, is_bf16);
      }
    }
  else
    for (size_t i = 0; i < panels * TILE_ROWS; i++) {
      uint16_t *line = tiles + i / TILE_ROWS * panel + i % TILE_ROWS * TILE_DEPTH;
      for (size_t s = 0; s < steps; s++, line += step)
        pack_along(line, a, i * a->stride + s * TILE_DEPTH, i < rows ? depth - s * TILE_DEPTH : 0,
                   alpha, terms, is_bf16);
    }
  if (paired != !!a->transposed)
    for (size_t t = 0; t < panels * panel; t += TILE_SIZE) transpose(tiles + t);
}

VECTOR static void pack(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha,
                        int terms, int paired) {
#define PACK(TERMS) \
  a.is_bf16 ? pack_as(tiles, &a, rows, depth, alpha, TERMS, paired, 1) \
            : pack_as(tiles, &a, rows, depth, alpha, TERMS, paired, 0)
  if (terms == 1)
    PACK(1);
  else if (terms == 2)
    PACK(2);
  else
    PACK(3);
#undef PACK
}

// ---- AVX512-BF16 -------------------------------------------------------------------------------

/// Sums of 16 rows and 16 columns.
VECTOR HELPER void multiply_tile_pair(__m512 sums[16], const uint16_t *a, const uint16_t *b,
                                      size_t steps, int terms) {
  for (size_t s = 0; s < steps; s++)
    for (int p = first_product_pair(terms); p < PRODUCT_PAIRS; p++) {
      const uint16_t *left = a + (s * (size_t)terms + product_pairs[p][0]) * TILE_SIZE;
      const uint16_t *right = b + (s * (size_t)terms + product_pairs[p][1]) * TILE_SIZE;
      for (size_t d = 0; d < TILE_DEPTH; d += 2) {
        __m512bh line = (__m512bh)_mm512_load_si512(right + d * 16);
        for (size_t r = 0; r < 16; r++) {
          __m512i both = _mm512_set1_epi32(*(const int32_t *)(left + r * TILE_DEPTH + d));
          sums[r] = _mm512_dpbf16_ps(sums[r], (__m512bh)both, line);
        }
      }
    }
}

VECTOR static void multiply_vector(const uint16_t *a, const uint16_t *b, size_t rows,
                                   size_t columns, size_t depth, int terms, int add, float *c,
                                   size_t stride) {
  size_t steps = (depth + TILE_DEPTH - 1) / TILE_DEPTH;
  size_t panel = steps * (size_t)terms * TILE_SIZE;
  for (size_t j = 0; j < columns; j += TILE_ROWS)
    for (size_t i = 0; i < rows; i += TILE_ROWS) {
      __mmask16 mask = (__mmask16)mask_of(columns - j);
      float *target = c + i * stride + j;
      __m512 sums[16];
      for (size_t r = 0; r < 16; r++)
        sums[r] = _mm512_maskz_loadu_ps(add && i + r < rows ? mask : 0, target + r * stride);
      multiply_tile_pair(sums, a + i / TILE_ROWS * panel, b + j / TILE_ROWS * panel, steps, terms);
      for (size_t r = 0; r < 16 && i + r < rows; r++)
        _mm512_mask_storeu_ps(target + r * stride, mask, sums[r]);
    }
}

VECTOR static void finish_vector(const uint16_t *a, const uint16_t *b, size_t rows, size_t columns,
                                 size_t depth, uint16_t *c, size_t stride, size_t n, size_t row,
                                 size_t column, const ck_finish *finish) {
  size_t steps = (depth + TILE_DEPTH - 1) / TILE_DEPTH;
  size_t panel = steps * TILE_SIZE;
  for (size_t j = 0; j < columns; j += TILE_ROWS)
    for (size_t i = 0; i < rows; i += TILE_ROWS) {
      __m512 sums[16];
      for (size_t r = 0; r < 16; r++) sums[r] = _mm512_setzero_ps();
      multiply_tile_pair(sums, a + i / TILE_ROWS * panel, b + j / TILE_ROWS * panel, steps, 1);
      float part[16 * 16] __attribute__((aligned(64)));
      for (size_t r = 0; r < 16; r++) _mm512_store_ps(part + r * 16, sums[r]);
      finish_rows(part, 16, rows - i < TILE_ROWS ? rows - i : TILE_ROWS, columns - j, row + i,
                  column + j, n, c, i * stride + j, stride, finish, finish->kind, 1);
    }
}

const product_code product_code_vector = {pack, multiply_vector, finish_vector};

// ---- AMX ---------------------------------------------------------------------------------------

/// All eight tiles: 16 rows of 64 bytes.
typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_configuration __attribute__((aligned(64)));

/// A part of C, 16 x 16, or its stand-in where C ends within it.
typedef struct {
  float *place;
  size_t stride;
  size_t rows, columns;
} tile_target;

VECTOR HELPER tile_target target_of(float *c, size_t stride, size_t rows, size_t columns,
                                    float *stand_in, int add) {
  if (rows >= TILE_ROWS && columns >= TILE_ROWS)
    return (tile_target){c, stride, TILE_ROWS, TILE_ROWS};
  if (add)
    for (size_t r = 0; r < TILE_ROWS; r++)
      _mm512_store_ps(stand_in + r * 16, _mm512_maskz_loadu_ps(
                                             r < rows ? (__mmask16)mask_of(columns) : 0,
                                             c + r * stride));
  return (tile_target){stand_in, 16, rows, columns};
}

VECTOR HELPER void settle(tile_target target, float *c, size_t stride) {
  if (target.place == c) return;
  for (size_t r = 0; r < target.rows && r < TILE_ROWS; r++)
    _mm512_mask_storeu_ps(c + r * stride, (__mmask16)mask_of(target.columns),
                          _mm512_load_ps(target.place + r * 16));
}

// Tiles 0 to 3 hold C, 4 and 5 two tiles of A, 6 and 7 two of B.
#define LOAD_A(t) \
  _tile_loadd(4, a0 + (t) * TILE_SIZE, 64), _tile_loadd(5, a1 + (t) * TILE_SIZE, 64)
#define LOAD_B(t) \
  _tile_loadd(6, b0 + (t) * TILE_SIZE, 64), _tile_loadd(7, b1 + (t) * TILE_SIZE, 64)
#define MULTIPLY                                                                         \
  _tile_dpbf16ps(0, 4, 6), _tile_dpbf16ps(1, 4, 7), _tile_dpbf16ps(2, 5, 6), \
      _tile_dpbf16ps(3, 5, 7)

TILES HELPER void use_all_tiles(void) {
  tile_configuration configuration = {.palette = 1};
  for (int t = 0; t < 8; t++) {
    configuration.row_bytes[t] = 64;
    configuration.rows[t] = TILE_ROWS;
  }
  _tile_loadconfig(&configuration);
}

/// Adds to the four tiles of C what `steps` tiles of each panel give.
TILES HELPER void multiply_panels(const uint16_t *a0, const uint16_t *a1, const uint16_t *b0,
                                  const uint16_t *b1, size_t steps, int terms) {
  for (size_t s = 0; s < steps; s++) {
    if (terms == 1) {
      LOAD_A(0), LOAD_B(0), MULTIPLY;
    } else if (terms == 2) {
      LOAD_A(0), LOAD_B(1), MULTIPLY;
      LOAD_B(0), MULTIPLY;
      LOAD_A(1), MULTIPLY;
    } else {
      LOAD_A(0), LOAD_B(2), MULTIPLY;
      LOAD_B(1), MULTIPLY;
      LOAD_B(0), MULTIPLY;
      LOAD_A(2), MULTIPLY;
      LOAD_A(1), MULTIPLY;
      LOAD_B(1), MULTIPLY;
    }
    size_t next = (size_t)terms * TILE_SIZE;
    a0 += next, a1 += next, b0 += next, b1 += next;
  }
}

TILES HELPER void multiply_tiles(const uint16_t *a, const uint16_t *b, size_t rows, size_t columns,
                                 size_t depth, int terms, int add, float *c, size_t stride) {
  use_all_tiles();
  size_t steps = (depth + TILE_DEPTH - 1) / TILE_DEPTH;
  size_t panel = steps * (size_t)terms * TILE_SIZE;
  float stand_ins[4][TILE_ROWS * 16] __attribute__((aligned(64)));
  // Row by row, as C lies in memory.
  for (size_t i = 0; i < rows; i += 2 * TILE_ROWS)
    for (size_t j = 0; j < columns; j += 2 * TILE_ROWS) {
      // Where the second tile would lie outside, the first is computed again and dropped.
      const uint16_t *a0 = a + i / TILE_ROWS * panel, *a1 = i + TILE_ROWS < rows ? a0 + panel : a0;
      const uint16_t *b0 = b + j / TILE_ROWS * panel;
      const uint16_t *b1 = j + TILE_ROWS < columns ? b0 + panel : b0;
      float *c0 = c + i * stride + j;
      float *places[4] = {c0, c0 + TILE_ROWS, c0 + TILE_ROWS * stride,
                          c0 + TILE_ROWS * stride + TILE_ROWS};
      tile_target targets[4];
      for (size_t t = 0; t < 4; t++) {
        size_t row = i + t / 2 * TILE_ROWS, column = j + t % 2 * TILE_ROWS;
        targets[t] = target_of(places[t], stride, row < rows ? rows - row : 0,
                               column < columns ? columns - column : 0, stand_ins[t], add);
      }
      if (add) {
        _tile_loadd(0, targets[0].place, targets[0].stride * 4);
        _tile_loadd(1, targets[1].place, targets[1].stride * 4);
        _tile_loadd(2, targets[2].place, targets[2].stride * 4);
        _tile_loadd(3, targets[3].place, targets[3].stride * 4);
      } else {
        _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
      }
      multiply_panels(a0, a1, b0, b1, steps, terms);
      _tile_stored(0, targets[0].place, targets[0].stride * 4);
      _tile_stored(1, targets[1].place, targets[1].stride * 4);
      _tile_stored(2, targets[2].place, targets[2].stride * 4);
      _tile_stored(3, targets[3].place, targets[3].stride * 4);
      for (size_t t = 0; t < 4; t++) settle(targets[t], places[t], stride);
    }
  _tile_release();
}

TILES static void multiply_tile(const uint16_t *a, const uint16_t *b, size_t rows, size_t columns,
                                size_t depth, int terms, int add, float *c, size_t stride) {
  if (terms == 1)
    multiply_tiles(a, b, rows, columns, depth, 1, add, c, stride);
  else if (terms == 2)
    multiply_tiles(a, b, rows, columns, depth, 2, add, c, stride);
  else
    multiply_tiles(a, b, rows, columns, depth, 3, add, c, stride);
}

TILES HELPER void finish_tiles(const uint16_t *a, const uint16_t *b, size_t rows, size_t columns,
                               size_t depth, uint16_t *c, size_t stride, size_t n, size_t row,
                               size_t column, const ck_finish *finish, int kind) {
  use_all_tiles();
  size_t steps = (depth + TILE_DEPTH - 1) / TILE_DEPTH;
  size_t panel = steps * TILE_SIZE;
  // 32 x 32, in the first-level cache.
  float part[2 * TILE_ROWS * 2 * TILE_ROWS] __attribute__((aligned(64)));
  enum { WIDTH = 2 * TILE_ROWS };
  for (size_t i = 0; i < rows; i += WIDTH)
    for (size_t j = 0; j < columns; j += WIDTH) {
      const uint16_t *a0 = a + i / TILE_ROWS * panel, *a1 = i + TILE_ROWS < rows ? a0 + panel : a0;
      const uint16_t *b0 = b + j / TILE_ROWS * panel;
      const uint16_t *b1 = j + TILE_ROWS < columns ? b0 + panel : b0;
      _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
      multiply_panels(a0, a1, b0, b1, steps, 1);
      _tile_stored(0, part, WIDTH * 4);
      _tile_stored(1, part + TILE_ROWS, WIDTH * 4);
      _tile_stored(2, part + TILE_ROWS * WIDTH, WIDTH * 4);
      _tile_stored(3, part + TILE_ROWS * WIDTH + TILE_ROWS, WIDTH * 4);
      for (size_t h = 0; h < WIDTH && j + h < columns; h += TILE_ROWS)
        finish_rows(part + h, WIDTH, rows - i < WIDTH ? rows - i : WIDTH, columns - j - h, row + i,
                    column + j + h, n, c, i * stride + j + h, stride, finish, kind, 1);
    }
  _tile_release();
}

TILES static void finish_tile(const uint16_t *a, const uint16_t *b, size_t rows, size_t columns,
                              size_t depth, uint16_t *c, size_t stride, size_t n, size_t row,
                              size_t column, const ck_finish *finish) {
#define FINISH(KIND) \
  finish_tiles(a, b, rows, columns, depth, c, stride, n, row, column, finish, KIND)
  switch (finish->kind) {
    case CK_FINISH_GELU: return FINISH(CK_FINISH_GELU);
    case CK_FINISH_SLOPE: return FINISH(CK_FINISH_SLOPE);
    default: return FINISH(CK_FINISH_STORE);
  }
#undef FINISH
}

const product_code product_code_tile = {pack, multiply_tile, finish_tile};

#else
typedef int no_x86;
#endif
