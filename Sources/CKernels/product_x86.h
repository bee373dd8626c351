// What the products of bfloat16 tiles on x86 share: instruction set and packing.
#ifndef CKERNELS_PRODUCT_X86_H
#define CKERNELS_PRODUCT_X86_H

#include <immintrin.h>

#define VECTOR __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define LANES_TARGET VECTOR
#define ROUND_BF16(v) ((halves16)_mm512_cvtneps_pbh((__m512)(v)))
#define FINISH_GELU gelu_x86

#include "gelu_x86.h"
#include "product_finish.h"
#include "product_tiles.h"

/// Ones below n, at most 16.
HELPER uint32_t mask_of(size_t n) { return n >= 16 ? 0xffff : (1u << n) - 1; }

/// As `product_code` has it, for AVX512-BF16.
void product_pack_x86(uint16_t *tiles, ck_matrix a, size_t rows, size_t depth, float alpha,
                      int terms, int paired);

#endif
