// Products of bfloat16 tiles by AMX.
#if defined(__x86_64__)
#include "product_x86.h"

#define TILES \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

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

const product_code product_code_tile = {product_pack_x86, multiply_tile, finish_tile};

#else
typedef int no_x86;
#endif
