// The AMX products: how operands are packed, and who packs and multiplies them.
#ifndef CKERNELS_PRODUCT_AMX_H
#define CKERNELS_PRODUCT_AMX_H

#include <stddef.h>
#include <stdint.h>

#include "fetch_ahead.h"
#include "include/product_kernels.h"

// A tile holds 16 rows of an operand (columns, for B), 32 deep:
//   of A: [row][depth], of B: [depth / 2][row][depth % 2],
// where of three terms depth d is followed by depth d + 16.
// A packed operand: [rows / 16][depth / 32][term] tiles, zeros where the operand ends.
enum { TILE_ROWS = 16, TILE_DEPTH = 32, TILE_SIZE = TILE_ROWS * TILE_DEPTH };

/// Rows of C that are made at a time, of two tiles.
enum { PANEL_ROWS = 2 * TILE_ROWS };

/// Tiles, one behind the other, that an operand of this depth takes.
static inline size_t steps_of(size_t depth) { return (depth + TILE_DEPTH - 1) / TILE_DEPTH; }

/// A part of C, at most PANEL_ROWS high, and the packed operands it is made of. `sums` is where it lies if
/// C is float. A's rows are packed, or lie `in_place` numbers apart where they came from.
typedef struct {
  const uint16_t *a, *b;
  size_t rows, columns, depth;
  float *sums;
  size_t stride, in_place;
} product_part;

/// From 16 packed rows (columns) to the next ones, in numbers.
static inline size_t panel_of(const product_part *p, int terms) {
  return steps_of(p->depth) * (size_t)terms * TILE_SIZE;
}

/// Where the elements of a part go, and what becomes of them before.
typedef struct {
  void *c;
  size_t stride;
  int is_bf16;
  /// Where the part lies in the whole C, which has n columns.
  size_t row, column, n;
  const ck_finish *finish;
} finished_part;

/// `rows` of op(A), or of the transpose of op(B), which is `paired`.
void amx_pack(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha, int terms,
              int paired);

/// A · Bᵀ, plus the sums if `add`, to the sums or, where `finished` is given, there. Asks for the
/// next rows of A meanwhile.
void amx_multiply(const product_part *part, int terms, int add, const finished_part *finished,
                  fetch_runs next_rows);

#endif
