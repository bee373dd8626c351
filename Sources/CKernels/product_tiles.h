// Packed tiles, and the code that packs and multiplies them, one set per unit.
#ifndef CKERNELS_PRODUCT_TILES_H
#define CKERNELS_PRODUCT_TILES_H

#include <stddef.h>
#include <stdint.h>

#include "include/product_kernels.h"

// A tile holds 16 rows of an operand (columns, for B), 32 deep:
//   of A: [row][depth], of B: [depth / 2][row][depth % 2].
// A packed operand: [rows / 16][depth / 32][term] tiles, zeros where the operand ends.
enum { TILE_ROWS = 16, TILE_DEPTH = 32, TILE_SIZE = TILE_ROWS * TILE_DEPTH };

typedef struct {
  /// `paired`: in B's order.
  void (*pack)(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha, int terms,
               int paired);
  /// C (+)= A · Bᵀ of packed operands, C in float.
  void (*multiply)(const uint16_t *a, const uint16_t *b, size_t rows, size_t columns, size_t depth,
                   int terms, int add, float *c, size_t stride);
  /// C = finish(A · Bᵀ), C in bfloat16, of operands packed as one term; the part of C begins in `row`
  /// and `column` of the whole, which has n columns.
  void (*multiply_and_finish)(const uint16_t *a, const uint16_t *b, size_t rows, size_t columns,
                              size_t depth, uint16_t *c, size_t stride, size_t n, size_t row,
                              size_t column, const ck_finish *finish);
} product_code;

/// Pairs of parts whose products count: of three parts all, of two the last three, of one the last.
enum { PRODUCT_PAIRS = 6 };
static const uint8_t product_pairs[PRODUCT_PAIRS][2] = {{0, 2}, {2, 0}, {1, 1},
                                                        {0, 1}, {1, 0}, {0, 0}};

static inline int first_product_pair(int terms) {
  return PRODUCT_PAIRS - (terms == 1 ? 1 : terms == 2 ? 3 : PRODUCT_PAIRS);
}

extern const product_code product_code_portable;
#if defined(__x86_64__)
extern const product_code product_code_vector, product_code_tile;
#endif

#endif
