// How products of product_lanes.h pack their operands.
#ifndef CKERNELS_PRODUCT_LANES_PACKING_H
#define CKERNELS_PRODUCT_LANES_PACKING_H

#include "fetch_ahead.h"
#include "include/product_kernels.h"
#include "product_lanes_tile.h"

/// How far ahead a transposed A that is packed all at once is asked for.
enum { DEPTHS_AHEAD = 8 * WORD_DEPTHS };

HELPER size_t size_of(const ck_matrix *x) { return x->is_bf16 ? 2 : 4; }

/// Of op(X), in elements.
HELPER size_t place_of(const ck_matrix *x, size_t row, size_t column) {
  return x->transposed ? column * x->stride + row : row * x->stride + column;
}

HELPER const void *at(const ck_matrix *x, size_t row, size_t column) {
  return (const char *)x->base + place_of(x, row, column) * size_of(x);
}

/// Where `rows` rows and `columns` columns of op(X) lie.
HELPER fetch_runs runs_of(const ck_matrix *x, size_t row, size_t column, size_t rows,
                          size_t columns) {
  size_t count = x->transposed ? columns : rows, length = x->transposed ? rows : columns;
  return runs(at(x, row, column), size_of(x) * x->stride, count, size_of(x) * length);
}

/// An operand on its way to be packed: what its numbers are multiplied by, and whether they are rounded then.
typedef struct {
  ck_matrix x;
  float factor;
  int rounds;
} operand;

#if WORD_DEPTHS == 1
/// 16 words of a row of memory that goes along the depth: from p on, of the n depths that are left.
TARGET HELPER void load_along(lanes16 *v, const operand *o, const void *p, size_t n) {
  if (o->x.is_bf16)
    load_bf16(v, p, n);
  else
    load_columns(v, p, n);
  if (!o->rounds || (o->x.is_bf16 && o->factor == 1)) return;
  *v *= o->factor;
  round16(v);
}

/// 16 words of rows of memory that go across the depth: of the n columns that are left from p on, where
/// `depths` are left.
TARGET HELPER void load_across(lanes16 *v, const operand *o, const void *p, size_t depths,
                               size_t n) {
  (void)depths;
  load_along(v, o, p, n);
}
#else
TARGET HELPER void load_along(lanes16 *v, const operand *o, const void *p, size_t n);
TARGET HELPER void load_across(lanes16 *v, const operand *o, const void *p, size_t depths,
                               size_t n);
#endif

/// The first PACKED words of v.
HELPER void store_packed(float *p, const lanes16 *v) {
  if (PACKED == 16) {
    STORE16(p, *v);
  } else {
    lanes8 half = v->lo;
    __builtin_memcpy(p, &half, sizeof half);
  }
}

/// The first `count` of 16 columns of B, whose rows go across the depth: [word][TILE_COLUMNS]. `rows` is where
/// they lie, `bytes` from one to the next.
TARGET HELPER void pack_across(float *out, const operand *b, const char *rows, size_t bytes,
                               size_t depth, size_t count) {
  for (size_t d = 0; d < depth; d += WORD_DEPTHS, rows += WORD_DEPTHS * bytes, out += TILE_COLUMNS) {
    lanes16 v;
    load_across(&v, b, rows, depth - d, count);
    STORE16(out, v);
  }
}

/// The same of 16 words of depth, the first `depth` numbers of which there are, and rows that go along it.
TARGET HELPER void pack_along(float *out, const operand *b, const char *rows, size_t bytes,
                              size_t depth, size_t count) {
  lanes16 lines[16];
  _Pragma("clang loop unroll(full)") for (size_t i = 0; i < 16; i++) {
    lines[i] = 0;
    if (i < count) load_along(&lines[i], b, rows + i * bytes, depth);
  }
  transpose_lines(lines);
  _Pragma("clang loop unroll(full)") for (size_t i = 0; i < 16; i++)
    STORE16(out + i * TILE_COLUMNS, lines[i]);
}

/// `columns` of op(B), `depth` deep: [word][TILE_COLUMNS], with up to 15 words of zeros behind.
TARGET static void pack_b(float *out, const operand *b, size_t d0, size_t j0, size_t depth,
                          size_t columns) {
  // A copy, because what is stored might be *b for all the compiler knows. Whole vectors are compiled on
  // their own, without a question for each.
  const operand from = *b;
  enum { BLOCK_DEPTH = 16 * WORD_DEPTHS };
  size_t bytes = size_of(&from.x) * from.x.stride;
  for (size_t j = 0; j < columns; j += 16) {
    size_t count = columns - j;
    if (!from.x.transposed) {
      const char *rows = at(&from.x, d0, j0 + j);
      if (count >= 16)
        pack_across(out + j, &from, rows, bytes, depth, 16);
      else
        pack_across(out + j, &from, rows, bytes, depth, count);
      continue;
    }
    for (size_t d = 0; d < depth; d += BLOCK_DEPTH) {
      const char *rows = at(&from.x, d0 + d, j0 + j);
      float *block = out + j + d / WORD_DEPTHS * TILE_COLUMNS;
      if (count >= 16 && depth - d >= BLOCK_DEPTH)
        pack_along(block, &from, rows, bytes, BLOCK_DEPTH, 16);
      else
        pack_along(block, &from, rows, bytes, depth - d, count);
    }
  }
}

/// Packed rows of A, so many words deep, need so many words.
HELPER size_t panel_size(size_t words) { return PACKED * (words + 16); }

/// From a packed row of A to the next, where rows are packed one by one, in words.
HELPER size_t row_size(size_t depth) { return (words_of(depth) + 15) / 16 * 16; }

/// `rows` of op(A), which is no transpose, from row i0 on: [rows][row_size].
TARGET static void pack_rows(float *out, const operand *a, size_t i0, size_t d0, size_t rows,
                             size_t depth) {
  for (size_t i = 0; i < rows; i++, out += row_size(depth))
    for (size_t w = 0; WORD_DEPTHS * w < depth; w += 16) {
      lanes16 v;
      size_t d = WORD_DEPTHS * w;
      load_along(&v, a, at(&a->x, i0 + i, d0 + d), depth - d);
      STORE16(out + w, v);
    }
}

/// Rows of op(A), which is a transpose, in panels that begin at begins[0] to begins[panels - 1] of m:
/// [panel][word][PACKED]. Memory is read row by row, so that it streams.
TARGET HELPER void pack_panels(float *out, const operand *a, const size_t *begins, size_t panels,
                               size_t m, size_t d0, size_t depth) {
  // So many panels are no wider than a cache line.
  enum { LINE_PANELS = 16 / PACKED };
  size_t panel = panel_size(words_of(depth)), size = size_of(&a->x), whole = panels;
  while (whole > 0 && begins[whole - 1] + 16 > m) whole--;
  for (size_t d = 0; d < depth; d += WORD_DEPTHS, out += PACKED) {
    const char *row = at(&a->x, 0, d0 + d);
    // One panel's lines have been asked for while the panel before was multiplied.
    if (panels > 1 && d + DEPTHS_AHEAD + WORD_DEPTHS <= depth)
      for (size_t i = 0; i < WORD_DEPTHS; i++) {
        const char *coming = row + size * (DEPTHS_AHEAD + i) * a->x.stride;
        for (size_t l = 0; l < panels; l += LINE_PANELS) __builtin_prefetch(coming + size * begins[l]);
      }
    for (size_t l = 0; l < panels; l++) {
      size_t n = l < whole ? 16 : m - begins[l];
      lanes16 v;
      load_across(&v, a, row + size * begins[l], depth - d, n);
      store_packed(out + l * panel, &v);
    }
  }
}

TARGET static void pack_transposed(float *out, const operand *a, const size_t *begins,
                                   size_t panels, size_t m, size_t d0, size_t depth) {
  // Copies, because what is stored might be they for all the compiler knows. What is not converted, and one
  // panel, are compiled on their own.
  operand from = *a;
  const size_t first = begins[0];
  if (panels == 1) {
    pack_panels(out, &from, &first, 1, m, d0, depth);
  } else if (from.x.is_bf16 || from.rounds) {
    pack_panels(out, &from, begins, panels, m, d0, depth);
  } else {
    from.x.is_bf16 = from.rounds = 0;
    pack_panels(out, &from, begins, panels, m, d0, depth);
  }
}

#endif
