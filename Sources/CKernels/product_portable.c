// Packing and products of bfloat16 tiles for any CPU.
#include "lanes.h"
#include "product_finish.h"
#include "multiversion.h"
#include "product_tiles.h"

HELPER uint32_t bits_of(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, 4);
  return u;
}

HELPER float float_of(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, 4);
  return x;
}

/// To nearest, ties to even; not a number stays one.
HELPER uint16_t rounded(float x) {
  uint32_t u = bits_of(x);
  if (x != x) return (uint16_t)(u >> 16 | 0x40);
  return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/// Parts of x, each the nearest bfloat16 of what the ones before leave; three of them are x.
HELPER void split(float x, uint16_t out[3]) {
  float high = float_of((bits_of(x) + 0x8000) & 0xffff0000);
  float rest = x - high;
  float middle = float_of((bits_of(rest) + 0x8000) & 0xffff0000);
  out[0] = (uint16_t)(bits_of(high) >> 16);
  out[1] = (uint16_t)(bits_of(middle) >> 16);
  out[2] = (uint16_t)(bits_of(rest - middle) >> 16);
}

HELPER float element(const ck_matrix *a, size_t row, size_t column) {
  size_t index = a->transposed ? column * a->stride + row : row * a->stride + column;
  return a->is_bf16 ? float_of((uint32_t)((const uint16_t *)a->base)[index] << 16)
                    : ((const float *)a->base)[index];
}

static void pack(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha, int terms,
                 int paired) {
  size_t steps = steps_of(depth);
  size_t panel = steps * (size_t)terms * TILE_SIZE;
  for (size_t i = 0; i < (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS; i++)
    for (size_t d = 0; d < steps * TILE_DEPTH; d++) {
      uint16_t parts[3] = {0, 0, 0};
      float x = i < rows && d < depth ? alpha * element(&a, i, d) : 0;
      if (terms == 1)
        parts[0] = rounded(x);
      else
        split(x, parts);
      size_t row = i % TILE_ROWS, column = d % TILE_DEPTH;
      size_t pair = column / 2 * TILE_DEPTH + row * 2 + column % 2;
      size_t place = paired ? pair : row * TILE_DEPTH + column;
      uint16_t *tile = tiles + i / TILE_ROWS * panel + d / TILE_DEPTH * (size_t)terms * TILE_SIZE;
      for (int t = 0; t < terms; t++) tile[t * TILE_SIZE + place] = parts[t];
    }
}

/// Sums of 16 columns for one row, a pair of depths at a time.
HELPER void tile_row(lanes16 *sum, const uint16_t *a, const uint16_t *b) {
  for (size_t p = 0; p < TILE_DEPTH / 2; p++) {
    words16 pairs = *(const words16 *)(b + p * TILE_DEPTH);
    lanes16 even = (lanes16)(pairs << 16), odd = (lanes16)(pairs & 0xffff0000);
    *sum += float_of((uint32_t)a[2 * p] << 16) * even;
    *sum += float_of((uint32_t)a[2 * p + 1] << 16) * odd;
  }
}

HELPER void add_to_row(lanes16 *sum, const product_part *p, size_t i, size_t j, int terms) {
  size_t panel = panel_of(p, terms);
  const uint16_t *left = p->a + i / TILE_ROWS * panel + i % TILE_ROWS * TILE_DEPTH;
  const uint16_t *right = p->b + j / TILE_ROWS * panel;
  for (size_t s = 0; s < steps_of(p->depth); s++)
    for (int q = first_product_pair(terms); q < PRODUCT_PAIRS; q++)
      tile_row(sum, left + (s * (size_t)terms + product_pairs[q][0]) * TILE_SIZE,
               right + (s * (size_t)terms + product_pairs[q][1]) * TILE_SIZE);
}

MULTIVERSION
static void multiply(const product_part *p, int terms, int add, const finished_part *f,
                     fetch_list *ahead) {
  (void)ahead;
  for (size_t j = 0; j < p->columns; j += TILE_ROWS) {
    size_t width = p->columns - j < TILE_ROWS ? p->columns - j : TILE_ROWS;
    for (size_t i = 0; i < p->rows; i++) {
      float *target = p->sums + i * p->stride + j;
      lanes16 sum = 0;
      if (add) load_part16(&sum, target, width, 0);
      add_to_row(&sum, p, i, j, terms);
      if (f) {
        float sums[16];
        STORE16(sums, sum);
        finish_rows(sums, 16, 1, width, f->row + i, f->column + j, f->n, f->c, i * f->stride + j,
                    f->stride, f->finish, f->finish->kind, f->is_bf16);
      } else {
        store_part16(target, &sum, width);
      }
    }
  }
}

const product_code product_code_portable = {pack, multiply};
