// A product as kernels are asked for it, and the kernels there are.
#ifndef CKERNELS_PRODUCT_H
#define CKERNELS_PRODUCT_H

#include "include/product_kernels.h"

typedef struct {
  /// Whether alpha · A and B are rounded to bfloat16.
  int rounds;
  size_t m, n, k;
  float alpha;
  ck_matrix a, b;
  float beta;
  ck_matrix c;
  /// Never CK_FINISH_STORE of a float C, whose sums are where they belong already.
  const ck_finish *finish;
} product;

void lanes_product_base(const product *p);
#if defined(__x86_64__)
void lanes_product_avx2(const product *p);
void lanes_product_avx512(const product *p);
/// Always rounds.
void lanes_product_bf16(const product *p);
/// terms: as in ck_product; k > 0.
void amx_product(const product *p, int terms);
#endif

#endif
