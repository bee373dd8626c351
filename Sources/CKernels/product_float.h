// A product as the float kernels are asked for it, and the kernels there are.
#ifndef CKERNELS_PRODUCT_FLOAT_H
#define CKERNELS_PRODUCT_FLOAT_H

#include "include/product_kernels.h"

/// As in ck_float_product.
typedef struct {
  int rounds;
  size_t m, n, k;
  float alpha;
  ck_matrix a, b;
  float beta;
  ck_matrix c;
  const ck_finish *finish;
} float_product;

void float_product_base(const float_product *product);
#if defined(__x86_64__)
void float_product_avx2(const float_product *product);
void float_product_avx512(const float_product *product);
#endif

#endif
