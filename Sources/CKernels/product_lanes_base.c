// Products of floats by what every CPU has.
#define TARGET
#define TILE_VECTORS 1
#define PACKED 8
#define FETCH_DEPTHS 4
#define FETCHES 1
// As many rows of sums as registers hold, at least four registers a row.
#if defined(__aarch64__)
#define TILE_ROWS 6
#define EACH_NUMBER_OF_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#define HOLD(v)                                                                        \
  {                                                                                    \
    lanes4 q0 = v.lo.lo, q1 = v.lo.hi, q2 = v.hi.lo, q3 = v.hi.hi;                     \
    __asm__ volatile("" : "+w"(q0), "+w"(q1), "+w"(q2), "+w"(q3)::"memory");           \
    v.lo.lo = q0;                                                                      \
    v.lo.hi = q1;                                                                      \
    v.hi.lo = q2;                                                                      \
    v.hi.hi = q3;                                                                      \
  }
// Sums take a number of A from any lane; spread over all lanes while it is loaded, it would cost one of the
// units that multiply.
#define HOLD_NUMBER(x) __asm__("" : "+w"(x))
#else
#define TILE_ROWS 2
#define EACH_NUMBER_OF_ROWS(X) X(1) X(2)
#define HOLD(v)
#endif
#define LANES_PRODUCT lanes_product_base
#define load_columns load_floats
#define store_columns store_floats
#define store_halves store_bf16
#define transpose_lines transpose_lanes16

#include "transpose_lanes.h"
#include "product_lanes.h"
