// Products of floats by AVX-512.
#if defined(__x86_64__)
#include "x86_target.h"

#define TARGET X86_TARGET("avx512f,avx512bw,avx512dq,avx512vl")
#define LANES_TARGET TARGET
#define LANES_PRODUCT lanes_product_avx512

#include "product_lanes_avx512.h"
#include "product_lanes.h"

#endif
