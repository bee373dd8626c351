// Matrix products of this program's own: from bfloat16 products, for mixed precision and for single precision
// out of parts, and from float products.
#ifndef CKERNELS_PRODUCT_KERNELS_H
#define CKERNELS_PRODUCT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/// What multiplies bfloat16 numbers: float kernels, on any CPU, AVX512-BF16's dot products, AMX's tiles.
enum { CK_UNIT_PORTABLE = 0, CK_UNIT_VECTOR = 1, CK_UNIT_TILE = 2 };

/// The best unit that CPU and operating system grant this process.
int ck_product_unit(void);

/// A matrix in memory, row-major: op(A) is it, or its transpose.
typedef struct {
  const void *base;
  /// Elements from a row to the next.
  size_t stride;
  int transposed;
  /// Elements are bfloat16, else float.
  int is_bf16;
} ck_matrix;

/// What becomes of an element x of row i, column j of a product before it is stored.
enum {
  /// x itself, rounded if C is bfloat16.
  CK_FINISH_STORE = 0,
  /// m · gelu(x + bias[j]), with slope[i, j] = m · gelu'(x + bias[j]); m = factor · keep[i, j], 1
  /// without a mask.
  CK_FINISH_GELU = 1,
  /// x · slope[i, j], which is also added to sums[j].
  CK_FINISH_SLOPE = 2,
  /// x + bias[j].
  CK_FINISH_BIAS = 3,
};

typedef struct {
  int kind;
  const float *bias;
  /// [m, n] without gaps, or NULL.
  const uint8_t *keep;
  float factor;
  /// [m, n] without gaps, of C's element type.
  void *slope;
  float *sums;
} ck_finish;

/// C [m, n] = alpha · op(A) [m, k] · op(B) [k, n] + beta · C, accumulated in float, then finished.
///
/// terms 1: A and B are rounded to bfloat16 (to nearest, ties to even).
/// terms 2: each float is rounded to the sum of two bfloat16 numbers (16 bits), and the product of the
/// two small parts is left out: errors of up to 2^-15.
/// terms 3: each float is the exact sum of three bfloat16 numbers, and of the nine products of parts the
/// six that reach a float's precision are summed: as close to the exact result as a product in float.
/// Only tiles make several terms: the other units multiply floats as they are then, which is faster there.
///
/// beta is 0 (C is overwritten) or 1. C is float, or bfloat16 with beta 0, terms 1 and k at most
/// CK_DEEPEST_FINISHED. A bfloat16 C and products of three terms can be finished. An element's bits depend on
/// its row of A, its column of B, k and the unit only. alpha scales A before anything is rounded.
enum { CK_DEEPEST_FINISHED = 16384 };
void ck_product(int unit, int terms, size_t m, size_t n, size_t k, float alpha, ck_matrix a,
                ck_matrix b, float beta, ck_matrix c, const ck_finish *finish);

/// C [m, n] = alpha · op(A) [m, k] · op(B) [k, n] + beta · C, then finished. Each sum is made in order of k,
/// with one rounding a term (two without FMA). beta 0 overwrites C.
///
/// level: of vector instructions (cpu.h), at most the CPU's.
/// rounds 0: numbers are multiplied as they are, in stretches of at most 256 terms; C is float.
/// rounds 1: alpha · A and B are rounded to bfloat16 (to nearest, ties to even) before; C is as in
/// ck_product.
/// An element's bits depend on its row of A, its column of B, k, the level and `rounds` only.
void ck_float_product(int level, int rounds, size_t m, size_t n, size_t k, float alpha,
                      ck_matrix a, ck_matrix b, float beta, ck_matrix c, const ck_finish *finish);

/// Whether products of the calling thread are to be made of bfloat16 numbers; off at first.
void ck_set_mixed_precision(int on);
int ck_mixed_precision(void);

#endif
