// Matrix products of floats on AVX-512, with operands fetched ahead.
//
// C is made in tiles of up to 14 rows and 32 columns, which stay in registers over a stretch of the depth.
// 32 columns of B are packed once and stay in the first-level cache while all rows pass by; A is read where
// it lies, or packed if it is transposed. Training walks through far more memory than caches hold, so each
// tile asks for what the next ones need.
#include "include/product_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VECTOR __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define LANES_TARGET VECTOR
#define FINISH_GELU gelu_x86

#include "fetch_ahead.h"
#include "gelu_x86.h"
#include "product_finish.h"
#include "product_memory.h"
#include "product_weights.h"
#include "transpose16.h"

enum {
  TILE_ROWS = 14,
  TILE_COLUMNS = 32,
  /// Of a stretch: 32 columns of B take 32 KB.
  DEPTH = 256,
  /// Rows of A that are passed by 32 columns: 512 KB, a part of the second-level cache.
  BLOCK_ROWS = 32 * TILE_ROWS,
  /// Floats from one depth of packed A to the next.
  PACKED = 16,
};

typedef struct {
  float b[(DEPTH + 16) * TILE_COLUMNS];
  float a[BLOCK_ROWS / TILE_ROWS][DEPTH * PACKED];
} packed_floats;

int ck_has_float_product(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

// ---- one tile ----------------------------------------------------------------------------------

/// A tile of C, and how it is made.
typedef struct {
  float *c;
  size_t stride;
  __mmask16 mask[2];
  float alpha, beta;
} tile;

#define EACH_ROW _Pragma("clang loop unroll(full)") for (size_t i = 0; i < rows; i++)

/// c = alpha · a · b + beta · c of `rows` rows and 16 or 32 columns; a's rows lie `row_step`, its depths
/// `depth_step` floats apart.
VECTOR HELPER void make_tile(const float *a, size_t row_step, size_t depth_step, const float *b,
                             size_t depth, const tile *t, fetch_list *ahead, size_t rows, int wide) {
  __m512 sums[TILE_ROWS][2];
  EACH_ROW sums[i][0] = sums[i][1] = _mm512_setzero_ps();
  for (size_t d = 0; d < depth; d++, a += depth_step, b += TILE_COLUMNS) {
    __m512 left = _mm512_load_ps(b), right = wide ? _mm512_load_ps(b + 16) : left;
    EACH_ROW {
      __m512 x = _mm512_set1_ps(a[i * row_step]);
      sums[i][0] = _mm512_fmadd_ps(x, left, sums[i][0]);
      if (wide) sums[i][1] = _mm512_fmadd_ps(x, right, sums[i][1]);
    }
    // Keeps the compiler from loading ahead across the branches below, for which it would take registers
    // from the sums.
    EACH_ROW {
      __asm__ volatile("" : "+v"(sums[i][0])::"memory");
      if (wide) __asm__ volatile("" : "+v"(sums[i][1])::"memory");
    }
    fetch_line(ahead);
  }
  const __m512 alpha = _mm512_set1_ps(t->alpha), beta = _mm512_set1_ps(t->beta);
  EACH_ROW for (int h = 0; h < 1 + wide; h++) {
    float *place = t->c + i * t->stride + 16 * h;
    __m512 old = _mm512_maskz_loadu_ps(t->beta != 0 ? t->mask[h] : 0, place);
    __m512 x = _mm512_fmadd_ps(beta, old, _mm512_mul_ps(alpha, sums[i][h]));
    _mm512_mask_storeu_ps(place, t->mask[h], x);
  }
}

typedef void tile_maker(const float *a, size_t row_step, const float *b, size_t depth,
                        const tile *t, fetch_list *ahead);

// By number of rows, for 16 and 32 columns, for A as it lies and packed.
#define MAKER(ROWS, WIDE, IS_PACKED)                                                          \
  VECTOR static void make_##ROWS##_##WIDE##_##IS_PACKED(const float *a, size_t row_step,      \
                                                        const float *b, size_t depth,         \
                                                        const tile *t, fetch_list *ahead) {   \
    make_tile(a, IS_PACKED ? 1 : row_step, IS_PACKED ? PACKED : 1, b, depth, t, ahead, ROWS, WIDE); \
  }
#define MAKERS(ROWS) MAKER(ROWS, 0, 0) MAKER(ROWS, 0, 1) MAKER(ROWS, 1, 0) MAKER(ROWS, 1, 1)
#define NAMES(ROWS)                         \
  {{make_##ROWS##_0_0, make_##ROWS##_0_1}, \
   {make_##ROWS##_1_0, make_##ROWS##_1_1}}
MAKERS(1) MAKERS(2) MAKERS(3) MAKERS(4) MAKERS(5) MAKERS(6) MAKERS(7)
MAKERS(8) MAKERS(9) MAKERS(10) MAKERS(11) MAKERS(12) MAKERS(13) MAKERS(14)
static tile_maker *const makers[TILE_ROWS][2][2] = {
    NAMES(1), NAMES(2), NAMES(3),  NAMES(4),  NAMES(5),  NAMES(6),  NAMES(7),
    NAMES(8), NAMES(9), NAMES(10), NAMES(11), NAMES(12), NAMES(13), NAMES(14),
};

// ---- packing -----------------------------------------------------------------------------------

/// Ones below n, at most 16.
HELPER __mmask16 mask_of(size_t n) { return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1); }

HELPER const float *at(const ck_matrix *x, size_t row, size_t column) {
  return (const float *)x->base + (x->transposed ? column * x->stride + row : row * x->stride + column);
}

/// Where `rows` rows and `columns` columns of op(X) lie.
HELPER fetch_part runs_of(const ck_matrix *x, size_t row, size_t column, size_t rows,
                          size_t columns) {
  size_t count = x->transposed ? columns : rows, length = x->transposed ? rows : columns;
  return runs(at(x, row, column), 4 * x->stride, count, 4 * length);
}

/// Up to 16 x 16 floats, transposed; what lies outside becomes zero.
VECTOR HELPER void transpose(float *out, size_t out_stride, const float *p, size_t stride,
                             size_t rows, size_t columns) {
  __m512i lines[16];
  for (size_t i = 0; i < 16; i++)
    lines[i] = _mm512_maskz_loadu_epi32(i < rows ? mask_of(columns) : 0, p + i * stride);
  transpose16(lines);
  for (size_t i = 0; i < 16; i++) _mm512_storeu_si512(out + i * out_stride, lines[i]);
}

/// `columns` of op(B), `depth` deep: [depth][TILE_COLUMNS].
VECTOR static void pack_b(float *out, const ck_matrix *b, size_t d0, size_t j0, size_t depth,
                          size_t columns) {
  for (size_t j = 0; j < columns; j += 16)
    if (b->transposed) {
      for (size_t d = 0; d < depth; d += 16)
        transpose(out + d * TILE_COLUMNS + j, TILE_COLUMNS, at(b, d0 + d, j0 + j), b->stride,
                  columns - j, depth - d);
    } else {
      const float *p = at(b, d0, j0 + j);
      for (size_t d = 0; d < depth; d++)
        _mm512_store_ps(out + d * TILE_COLUMNS + j,
                        _mm512_maskz_loadu_ps(mask_of(columns - j), p + d * b->stride));
    }
}

/// `rows` of op(A), of a transposed A: [depth][PACKED].
VECTOR static void pack_a(float *out, const ck_matrix *a, size_t i0, size_t d0, size_t rows,
                          size_t depth) {
  const float *p = at(a, i0, d0);
  for (size_t d = 0; d < depth; d++)
    _mm512_store_ps(out + d * PACKED, _mm512_maskz_loadu_ps(mask_of(rows), p + d * a->stride));
}

// ---- the product -------------------------------------------------------------------------------

/// Where part `index` of `parts` about equal ones of n begins.
HELPER size_t begin(size_t n, size_t parts, size_t index) { return n * index / parts; }

HELPER size_t parts_of(size_t n, size_t most) { return (n + most - 1) / most; }

VECTOR static void finish_tile(const tile *t, size_t rows, size_t columns, size_t row,
                               size_t column, size_t n, const ck_finish *finish) {
#define FINISH(KIND)                                                                          \
  for (size_t h = 0; h < columns; h += 16)                                                    \
  finish_rows(t->c + h, t->stride, rows, columns - h, row, column + h, n, t->c, h, t->stride, \
              finish, KIND, 0)
  if (finish->kind == CK_FINISH_GELU) {
    FINISH(CK_FINISH_GELU);
  } else if (finish->kind == CK_FINISH_SLOPE) {
    FINISH(CK_FINISH_SLOPE);
  }
#undef FINISH
}

/// op(B) [k, n], which is packed in stretches of the depth.
typedef struct {
  ck_matrix b;
  size_t n, k, stretches;
} right_side;

HELPER size_t stretch_begin(const right_side *r, size_t s) { return begin(r->k, r->stretches, s); }

/// Floats that 32 columns take of one depth of all columns, when they are packed one behind the other.
HELPER size_t packed_width(size_t n) { return parts_of(n, TILE_COLUMNS) * TILE_COLUMNS; }

/// All columns of the first stretch, 32 by 32, then those of the next one.
static void pack_all(void *out, const void *context) {
  const right_side *r = context;
  float *next = out;
  for (size_t s = 0; s < r->stretches; s++) {
    size_t d0 = stretch_begin(r, s), depth = stretch_begin(r, s + 1) - d0;
    for (size_t j = 0; j < r->n; j += TILE_COLUMNS, next += depth * TILE_COLUMNS)
      pack_b(next, &r->b, d0, j, depth, r->n - j < TILE_COLUMNS ? r->n - j : TILE_COLUMNS);
  }
}

void ck_float_product(size_t m, size_t n, size_t k, float alpha, ck_matrix a, ck_matrix b,
                      float beta, float *c, size_t stride, const ck_finish *finish) {
  packed_floats *packed = product_memory(sizeof(packed_floats));
  // An empty sum is a stretch too.
  right_side right = {b, n, k, k == 0 ? 1 : parts_of(k, DEPTH)};
  // What is not transposed is packed by copying rows, which costs less than memory to keep it in. Packing
  // writes up to 15 depths too many.
  const float *kept =
      b.transposed ? packed_weight((packed_weight_key){b, n, k, 0},
                                   4 * (packed_width(n) * k + 16 * TILE_COLUMNS), pack_all, &right)
                   : NULL;
  for (size_t i0 = 0; i0 < m; i0 += BLOCK_ROWS) {
    size_t block = m - i0 < BLOCK_ROWS ? m - i0 : BLOCK_ROWS;
    size_t panels = parts_of(block, TILE_ROWS);
    const float *columns_of_b = kept;
    for (size_t s = 0; s < right.stretches; s++) {
      size_t d0 = stretch_begin(&right, s), depth = stretch_begin(&right, s + 1) - d0;
      tile t = {.stride = stride, .alpha = alpha, .beta = s == 0 ? beta : 1};
      const ck_finish *last = s + 1 == right.stretches ? finish : NULL;
      for (size_t j = 0; j < n; j += TILE_COLUMNS) {
        size_t columns = n - j < TILE_COLUMNS ? n - j : TILE_COLUMNS;
        size_t following = n - j - columns < TILE_COLUMNS ? n - j - columns : TILE_COLUMNS;
        fetch_list ahead = {.parts[3] = runs_of(&b, d0, j + columns, depth, following)};
        t.mask[0] = mask_of(columns);
        t.mask[1] = columns > 16 ? mask_of(columns - 16) : 0;
        if (kept) {
          const float *next = columns_of_b + depth * TILE_COLUMNS;
          ahead.parts[3] = runs(next, 0, following > 0, 4 * TILE_COLUMNS * depth);
        } else {
          pack_b(packed->b, &b, d0, j, depth, columns);
        }
        const float *right_columns = kept ? columns_of_b : packed->b;
        for (size_t p = 0; p < panels; p++) {
          size_t i = i0 + begin(block, panels, p), next = i0 + begin(block, panels, p + 1);
          size_t rows = next - i;
          size_t coming = p + 1 < panels ? i0 + begin(block, panels, p + 2) - next : 0;
          t.c = c + i * stride + j;
          ahead.now = 0;
          ahead.parts[0] = runs(t.c + rows * stride, 4 * stride, coming, 4 * columns);
          ahead.parts[1] = last && last->slope ? runs((float *)last->slope + next * n + j, 4 * n,
                                                      coming, 4 * columns)
                                               : (fetch_part){0};
          ahead.parts[2] =
              j == 0 ? runs_of(&a, next, d0, coming, depth) : (fetch_part){0};
          const float *panel = packed->a[p];
          if (!a.transposed)
            panel = at(&a, i, d0);
          else if (j == 0)
            pack_a(packed->a[p], &a, i, d0, rows, depth);
          makers[rows - 1][columns > 16][!!a.transposed](panel, a.stride, right_columns, depth, &t,
                                                         &ahead);
          if (last) finish_tile(&t, rows, columns, i, j, n, last);
        }
        if (kept) columns_of_b += depth * TILE_COLUMNS;
      }
    }
  }
}

#else
#include <stdlib.h>

int ck_has_float_product(void) { return 0; }

void ck_float_product(size_t m, size_t n, size_t k, float alpha, ck_matrix a, ck_matrix b,
                      float beta, float *c, size_t stride, const ck_finish *finish) {
  abort();
}
#endif
