// Packing for AVX-512, and products of bfloat16 tiles by AVX512-BF16 and AMX.
#if defined(__x86_64__)
#include <immintrin.h>

#define VECTOR __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define LANES_TARGET VECTOR
#define ROUND_BF16(v) ((halves16)_mm512_cvtneps_pbh((__m512)(v)))

#include "product_finish.h"
#include "product_tiles.h"
#include "transpose16.h"

#define TILES \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

// ---- packing -----------------------------------------------------------------------------------

/// Ones below n, at most 16.
HELPER uint32_t mask_of(size_t n) { return n >= 16 ? 0xffff : (1u << n) - 1; }

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

VECTOR static void pack(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha,
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

// ---- AVX512-BF16 -------------------------------------------------------------------------------

/// Sums of 16 rows and 16 columns.
VECTOR HELPER void multiply_tile_pair(__m512 sums[16], const uint16_t *a, const uint16_t *b,
                                      size_t steps, int terms, fetch_list *ahead) {
  for (size_t s = 0; s < steps; s++)
    for (int p = first_product_pair(terms); p < PRODUCT_PAIRS; p++) {
      const uint16_t *left = a + (s * (size_t)terms + product_pairs[p][0]) * TILE_SIZE;
      const uint16_t *right = b + (s * (size_t)terms + product_pairs[p][1]) * TILE_SIZE;
      fetch_line(ahead);
      for (size_t d = 0; d < TILE_DEPTH; d += 2) {
        __m512bh line = (__m512bh)_mm512_load_si512(right + d * 16);
        for (size_t r = 0; r < 16; r++) {
          __m512i both = _mm512_set1_epi32(*(const int32_t *)(left + r * TILE_DEPTH + d));
          sums[r] = _mm512_dpbf16_ps(sums[r], (__m512bh)both, line);
        }
      }
    }
}

/// Tiles that a part's operands are deep.
HELPER size_t steps_of(const product_part *p) { return (p->depth + TILE_DEPTH - 1) / TILE_DEPTH; }

VECTOR static void multiply_vector(const product_part *p, int terms, int add, fetch_list *ahead) {
  size_t panel = steps_of(p) * (size_t)terms * TILE_SIZE;
  for (size_t j = 0; j < p->columns; j += TILE_ROWS)
    for (size_t i = 0; i < p->rows; i += TILE_ROWS) {
      __mmask16 mask = (__mmask16)mask_of(p->columns - j);
      float *target = (float *)p->c + i * p->stride + j;
      __m512 sums[16];
      for (size_t r = 0; r < 16; r++)
        sums[r] = _mm512_maskz_loadu_ps(add && i + r < p->rows ? mask : 0, target + r * p->stride);
      multiply_tile_pair(sums, p->a + i / TILE_ROWS * panel, p->b + j / TILE_ROWS * panel,
                         steps_of(p), terms, ahead);
      for (size_t r = 0; r < 16 && i + r < p->rows; r++)
        _mm512_mask_storeu_ps(target + r * p->stride, mask, sums[r]);
    }
}

VECTOR static void finish_vector(const product_part *p, const finished_part *f,
                                 fetch_list *ahead) {
  size_t panel = steps_of(p) * TILE_SIZE;
  for (size_t j = 0; j < p->columns; j += TILE_ROWS)
    for (size_t i = 0; i < p->rows; i += TILE_ROWS) {
      __m512 sums[16];
      for (size_t r = 0; r < 16; r++) sums[r] = _mm512_setzero_ps();
      multiply_tile_pair(sums, p->a + i / TILE_ROWS * panel, p->b + j / TILE_ROWS * panel,
                         steps_of(p), 1, ahead);
      float part[16 * 16] __attribute__((aligned(64)));
      for (size_t r = 0; r < 16; r++) _mm512_store_ps(part + r * 16, sums[r]);
      finish_rows(part, 16, p->rows - i < TILE_ROWS ? p->rows - i : TILE_ROWS, p->columns - j,
                  f->row + i, f->column + j, f->n, p->c, i * p->stride + j, p->stride, f->finish,
                  f->finish->kind, 1);
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

/// Lines that are asked for in the time of four products of tiles.
enum { FETCHED_LINES = 6 };

/// Adds to the four tiles of C, those from column `column` of the part on, what the panels give. Where the
/// second panel of an operand would lie outside, the first is computed again and dropped.
TILES HELPER void multiply_panels(const product_part *p, size_t column, int terms,
                                  fetch_list *ahead) {
  size_t steps = steps_of(p), next = (size_t)terms * TILE_SIZE, panel = steps * next;
  const uint16_t *a0 = p->a, *a1 = p->rows > TILE_ROWS ? a0 + panel : a0;
  const uint16_t *b0 = p->b + column / TILE_ROWS * panel;
  const uint16_t *b1 = column + TILE_ROWS < p->columns ? b0 + panel : b0;
  for (size_t s = 0; s < steps; s++) {
    for (int line = 0; line < FETCHED_LINES * terms; line++) fetch_line(ahead);
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
    a0 += next, a1 += next, b0 += next, b1 += next;
  }
}

enum { PANEL_COLUMNS = PANEL_ROWS };

/// Columns of the part that are left from `column` on, of at most two tiles.
HELPER size_t columns_from(const product_part *p, size_t column) {
  if (column >= p->columns) return 0;
  return p->columns - column < PANEL_COLUMNS ? p->columns - column : PANEL_COLUMNS;
}

TILES HELPER void multiply_tiles(const product_part *p, int terms, int add, fetch_list *ahead) {
  use_all_tiles();
  float stand_ins[4][TILE_ROWS * 16] __attribute__((aligned(64)));
  for (size_t j = 0; j < p->columns; j += PANEL_COLUMNS) {
    float *c = (float *)p->c + j;
    ahead->now = 0;
    ahead->parts[0] = runs(c + PANEL_COLUMNS, 4 * p->stride, p->rows,
                           4 * columns_from(p, j + PANEL_COLUMNS));
    float *places[4];
    tile_target targets[4];
    for (size_t t = 0; t < 4; t++) {
      size_t row = t / 2 * TILE_ROWS, column = t % 2 * TILE_ROWS;
      places[t] = c + row * p->stride + column;
      targets[t] = target_of(places[t], p->stride, row < p->rows ? p->rows - row : 0,
                             j + column < p->columns ? p->columns - j - column : 0, stand_ins[t],
                             add);
    }
    if (add) {
      _tile_loadd(0, targets[0].place, targets[0].stride * 4);
      _tile_loadd(1, targets[1].place, targets[1].stride * 4);
      _tile_loadd(2, targets[2].place, targets[2].stride * 4);
      _tile_loadd(3, targets[3].place, targets[3].stride * 4);
    } else {
      _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
    }
    multiply_panels(p, j, terms, ahead);
    _tile_stored(0, targets[0].place, targets[0].stride * 4);
    _tile_stored(1, targets[1].place, targets[1].stride * 4);
    _tile_stored(2, targets[2].place, targets[2].stride * 4);
    _tile_stored(3, targets[3].place, targets[3].stride * 4);
    for (size_t t = 0; t < 4; t++) settle(targets[t], places[t], p->stride);
  }
  _tile_release();
}

TILES static void multiply_tile(const product_part *p, int terms, int add, fetch_list *ahead) {
  if (terms == 1)
    multiply_tiles(p, 1, add, ahead);
  else if (terms == 2)
    multiply_tiles(p, 2, add, ahead);
  else
    multiply_tiles(p, 3, add, ahead);
}

TILES HELPER void finish_tiles(const product_part *p, const finished_part *f, int kind,
                               fetch_list *ahead) {
  use_all_tiles();
  // In the first-level cache.
  enum { WIDTH = PANEL_COLUMNS };
  float part[PANEL_ROWS * WIDTH] __attribute__((aligned(64)));
  for (size_t j = 0; j < p->columns; j += WIDTH) {
    size_t coming = 2 * columns_from(p, j + WIDTH);
    size_t next = f->row * f->n + f->column + j + WIDTH;
    ahead->now = 0;
    ahead->parts[0] = runs((uint16_t *)p->c + j + WIDTH, 2 * p->stride, p->rows, coming);
    if (kind != CK_FINISH_STORE)
      ahead->parts[1] = runs((uint16_t *)f->finish->slope + next, 2 * f->n, p->rows, coming);
    _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
    multiply_panels(p, j, 1, ahead);
    _tile_stored(0, part, WIDTH * 4);
    _tile_stored(1, part + TILE_ROWS, WIDTH * 4);
    _tile_stored(2, part + TILE_ROWS * WIDTH, WIDTH * 4);
    _tile_stored(3, part + TILE_ROWS * WIDTH + TILE_ROWS, WIDTH * 4);
    for (size_t h = j; h < p->columns && h < j + WIDTH; h += TILE_ROWS)
      finish_rows(part + h - j, WIDTH, p->rows, p->columns - h, f->row, f->column + h, f->n, p->c,
                  h, p->stride, f->finish, kind, 1);
  }
  _tile_release();
}

TILES static void finish_tile(const product_part *p, const finished_part *f, fetch_list *ahead) {
  switch (f->finish->kind) {
    case CK_FINISH_GELU: return finish_tiles(p, f, CK_FINISH_GELU, ahead);
    case CK_FINISH_SLOPE: return finish_tiles(p, f, CK_FINISH_SLOPE, ahead);
    default: return finish_tiles(p, f, CK_FINISH_STORE, ahead);
  }
}

const product_code product_code_tile = {pack, multiply_tile, finish_tile};

#else
typedef int no_x86;
#endif
