// What a product asks of packed weights.
#ifndef CKERNELS_PRODUCT_WEIGHTS_H
#define CKERNELS_PRODUCT_WEIGHTS_H

#include "include/product_kernels.h"

/// Which packed matrix: op(B) [k, n], packed in one of several ways.
typedef struct {
  ck_matrix b;
  size_t n, k;
  int way;
} packed_weight_key;

/// Packs all of op(B) to `out`.
typedef void packed_weight_maker(void *out, const void *context);

/// The packed matrix of `size` bytes, at a cache line, made by `make` if nobody has made it since the
/// weights changed. NULL where the calling thread uses no packed weights, B is not among them, or another
/// thread is making it just now: nobody waits.
const void *packed_weight(packed_weight_key key, size_t size, packed_weight_maker *make,
                          const void *context);

#endif
