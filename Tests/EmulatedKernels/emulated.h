// Before a file of CKernels that is for CPUs with AVX-512 or AMX: compiles it for AVX2, under other names, with
// the intrinsics of shim/immintrin.h.
#ifndef EMULATED_H
#define EMULATED_H

// Every function is for AVX2, until the file ends.
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define X86_TARGET(FEATURES)
#define HOLD(v)

// Vectors that no register holds are arguments only of what is inlined.
#pragma clang diagnostic ignored "-Wpsabi"

#define ck_product emulated_product
#define ck_float_product emulated_float_product
#define ck_product_unit emulated_product_unit
#define ck_set_mixed_precision emulated_set_mixed_precision
#define ck_mixed_precision emulated_mixed_precision
#define lanes_product_avx512 emulated_lanes_product_avx512
#define lanes_product_bf16 emulated_lanes_product_bf16
#define amx_product emulated_amx_product
#define amx_multiply emulated_amx_multiply
#define amx_pack emulated_amx_pack

#endif
