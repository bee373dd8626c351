// Multiplies packed tiles by AMX.
#if defined(__x86_64__)
#include "pairs_x86.h"
#include "product_amx.h"
#include "product_finish.h"

#define TILES X86_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_configuration __attribute__((aligned(64)));

// Tiles 0 to 3 hold C, 4 and 5 two tiles of A, 6 and 7 two of B.
#define LOAD_A(t) \
  _tile_loadd(4, a0 + (t) * TILE_SIZE, stride), _tile_loadd(5, a1 + (t) * TILE_SIZE, stride)
#define LOAD_B(t) \
  _tile_loadd(6, b0 + (t) * TILE_SIZE, 64), _tile_loadd(7, b1 + (t) * TILE_SIZE, 64)
#define MULTIPLY                                                                         \
  _tile_dpbf16ps(0, 4, 6), _tile_dpbf16ps(1, 4, 7), _tile_dpbf16ps(2, 5, 6), \
      _tile_dpbf16ps(3, 5, 7)

/// The rows that are used of the upper tiles of A and C, and of the lower ones.
TILES HELPER void use_tiles(size_t upper, size_t lower) {
  tile_configuration configuration = {.palette = 1};
  for (int t = 0; t < 8; t++) {
    configuration.row_bytes[t] = 64;
    configuration.rows[t] = TILE_ROWS;
  }
  configuration.rows[0] = configuration.rows[1] = configuration.rows[4] = (uint8_t)upper;
  configuration.rows[2] = configuration.rows[3] = configuration.rows[5] = (uint8_t)lower;
  _tile_loadconfig(&configuration);
}

/// Lines that are asked for in the time of four products of tiles.
enum { FETCHED_LINES = 6 };

/// Adds to the four tiles of C, those from column `column` of the part on, what the panels give. Where the
/// second panel of an operand would lie outside, the first is computed again and dropped.
TILES HELPER void multiply_panels(const product_part *p, size_t column, int terms,
                                  const fetch_list *ahead) {
  size_t steps = steps_of(p->depth), next = (size_t)terms * TILE_SIZE, panel = panel_of(p, terms);
  size_t stride = p->in_place ? 2 * p->in_place : 64, next_a = p->in_place ? TILE_DEPTH : next;
  const uint16_t *a0 = p->a, *a1 = a0;
  if (p->rows > TILE_ROWS) a1 += p->in_place ? TILE_ROWS * p->in_place : panel;
  const uint16_t *b0 = p->b + column / TILE_ROWS * panel;
  const uint16_t *b1 = column + TILE_ROWS < p->columns ? b0 + panel : b0;
  const char *const *line = ahead->lines, *const *end = line + ahead->count;
  for (size_t s = 0; s < steps; s++) {
    for (int l = 0; l < FETCHED_LINES * terms && line < end; l++) fetch(*line++);
    if (terms == 1) {
      LOAD_A(0), LOAD_B(0), MULTIPLY;
    } else if (terms == 2) {
      LOAD_A(0), LOAD_B(1), MULTIPLY;
      LOAD_B(0), MULTIPLY;
      if (!p->in_place) LOAD_A(1), MULTIPLY;
    } else {
      LOAD_A(0), LOAD_B(2), MULTIPLY;
      LOAD_B(1), MULTIPLY;
      LOAD_B(0), MULTIPLY;
      LOAD_A(2), MULTIPLY;
      LOAD_A(1), MULTIPLY;
      LOAD_B(1), MULTIPLY;
    }
    a0 += next_a, a1 += next_a, b0 += next, b1 += next;
  }
}

enum { WIDTH = PANEL_ROWS };

VECTOR HELPER void copy(float *to, size_t to_stride, const float *from, size_t from_stride,
                        size_t rows, size_t columns) {
  for (size_t r = 0; r < rows; r++)
    for (size_t h = 0; h < columns; h += 16) {
      __mmask16 mask = (__mmask16)mask_of(columns - h);
      _mm512_mask_storeu_ps(to + r * to_stride + h, mask,
                            _mm512_maskz_loadu_ps(mask, from + r * from_stride + h));
    }
}

/// Columns of the part that are left from `column` on, of at most two tiles.
HELPER size_t columns_from(const product_part *p, size_t column) {
  if (column >= p->columns) return 0;
  return p->columns - column < WIDTH ? p->columns - column : WIDTH;
}

/// What to ask for while the two tiles at `column` are made: what will be written, or read beside it, to the
/// right of them, and then as much of the next rows of A as there is time for.
HELPER void list_next(fetch_list *ahead, const product_part *p, size_t column, int terms,
                      const finished_part *f, fetch_runs *rows) {
  size_t next = column + WIDTH, size = f && f->is_bf16 ? 2 : 4, bytes = size * columns_from(p, next);
  size_t lines = steps_of(p->depth) * (size_t)(FETCHED_LINES * terms);
  ahead->count = 0;
  ahead->most = lines < FETCHED_MOST ? lines : FETCHED_MOST;
  fetch_runs c = f ? runs((char *)f->c + size * next, size * f->stride, p->rows, bytes)
                   : runs(p->sums + next, size * p->stride, p->rows, bytes);
  add_runs(ahead, &c, p->rows);
  if (f && f->finish->slope) {
    const char *slope = (char *)f->finish->slope + size * (f->row * f->n + f->column + next);
    c = runs(slope, size * f->n, p->rows, bytes);
    add_runs(ahead, &c, p->rows);
  }
  add_runs(ahead, rows, rows->count);
}

enum { NOT_FINISHED = -1 };

/// `kind` of finish, or NOT_FINISHED.
TILES HELPER void multiply_tiles(const product_part *p, int terms, int add,
                                 const finished_part *f, int kind, int is_bf16,
                                 fetch_runs next_rows) {
  fetch_list ahead;
  int is_high = p->rows > TILE_ROWS;
  use_tiles(is_high ? TILE_ROWS : p->rows, is_high ? p->rows - TILE_ROWS : p->rows);
  // In the first-level cache: sums that are to be finished, and those of an edge.
  float part[PANEL_ROWS * WIDTH] __attribute__((aligned(64)));
  for (size_t j = 0; j < p->columns; j += WIDTH) {
    float *sums = p->sums + j;
    size_t columns = columns_from(p, j);
    int is_whole = columns == WIDTH && is_high;
    float *c = is_whole ? sums : part;
    size_t stride = is_whole ? p->stride : WIDTH;
    list_next(&ahead, p, j, terms, kind == NOT_FINISHED ? NULL : f, &next_rows);
    if (add) {
      if (!is_whole) copy(part, WIDTH, sums, p->stride, p->rows, columns);
      _tile_loadd(0, c, stride * 4);
      _tile_loadd(1, c + TILE_ROWS, stride * 4);
      _tile_loadd(2, c + TILE_ROWS * stride, stride * 4);
      _tile_loadd(3, c + TILE_ROWS * stride + TILE_ROWS, stride * 4);
    } else {
      _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3);
    }
    multiply_panels(p, j, terms, &ahead);
    if (kind != NOT_FINISHED) c = part, stride = WIDTH;
    _tile_stored(0, c, stride * 4);
    _tile_stored(1, c + TILE_ROWS, stride * 4);
    _tile_stored(2, c + TILE_ROWS * stride, stride * 4);
    _tile_stored(3, c + TILE_ROWS * stride + TILE_ROWS, stride * 4);
    if (kind == NOT_FINISHED) {
      if (!is_whole) copy(sums, p->stride, part, WIDTH, p->rows, columns);
      continue;
    }
    for (size_t h = 0; h < columns; h += TILE_ROWS)
      finish_rows(part + h, WIDTH, p->rows, columns - h, f->row, f->column + j + h, f->n, f->c, j + h,
                  f->stride, f->finish, kind, is_bf16);
  }
  _tile_release();
}

TILES void amx_multiply(const product_part *p, int terms, int add, const finished_part *f,
                        fetch_runs next_rows) {
  // Compiled once for each.
#define CASE(TERMS, KIND, IS_BF16)                                                    \
  if (terms == TERMS && (f ? f->finish->kind : NOT_FINISHED) == KIND &&               \
      (f && f->is_bf16) == IS_BF16)                                                   \
  return multiply_tiles(p, TERMS, add, f, KIND, IS_BF16, next_rows)
  CASE(1, NOT_FINISHED, 0);
  CASE(2, NOT_FINISHED, 0);
  CASE(3, NOT_FINISHED, 0);
  CASE(3, CK_FINISH_GELU, 0);
  CASE(3, CK_FINISH_SLOPE, 0);
  CASE(3, CK_FINISH_BIAS, 0);
  CASE(1, CK_FINISH_STORE, 1);
  CASE(1, CK_FINISH_GELU, 1);
  CASE(1, CK_FINISH_SLOPE, 1);
  CASE(1, CK_FINISH_BIAS, 1);
#undef CASE
  __builtin_trap();
}

#else
typedef int no_x86;
#endif
