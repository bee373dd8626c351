// Products as CPUs with AVX-512 and AMX make them, by the same code of CKernels, for CPUs with AVX2: so that
// tests cover all kernels wherever they run.
#ifndef EMULATED_KERNELS_H
#define EMULATED_KERNELS_H

#include <product_kernels.h>

/// As ck_product and ck_float_product. On x86-64 only.
void emulated_product(int unit, int terms, size_t m, size_t n, size_t k, float alpha, ck_matrix a,
                      ck_matrix b, float beta, ck_matrix c, const ck_finish *finish);
void emulated_float_product(int level, int rounds, size_t m, size_t n, size_t k, float alpha,
                            ck_matrix a, ck_matrix b, float beta, ck_matrix c,
                            const ck_finish *finish);

#endif
