// Products of floats by AVX2 and FMA.
#if defined(__x86_64__)

#define TARGET __attribute__((target("avx2,fma")))
#define LANES_TARGET TARGET
#define GELU_GROUP 2
// Twelve of the sixteen registers hold sums.
#define TILE_ROWS 6
#define TILE_VECTORS 1
#define PACKED 8
#define FETCH_DEPTHS 2
#define FETCHES 2
#define HOLD(v)                                          \
  {                                                      \
    lanes8 low = v.lo, high = v.hi;                      \
    __asm__ volatile("" : "+x"(low), "+x"(high)::"memory"); \
    v.lo = low;                                          \
    v.hi = high;                                         \
  }
#define EACH_NUMBER_OF_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define LANES_PRODUCT lanes_product_avx2
#define load_columns load_floats
#define store_columns store_floats
#define store_halves store_bf16
#define transpose_lines transpose_lanes16

#include "transpose_lanes.h"
#include "product_lanes.h"

#endif
