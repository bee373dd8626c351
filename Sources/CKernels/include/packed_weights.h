// Weights as products pack them, kept until they change: every micro-batch of a step multiplies by the
// same ones, and all threads of a rank do.
#ifndef CKERNELS_PACKED_WEIGHTS_H
#define CKERNELS_PACKED_WEIGHTS_H

#include <stddef.h>

typedef struct ck_packed_weights ck_packed_weights;

/// Keeps what products pack of matrices B that begin within `count` floats from `base` on. NULL where
/// memory is short.
ck_packed_weights *ck_packed_weights_make(const float *base, size_t count);
void ck_packed_weights_free(ck_packed_weights *weights);

/// Tells that the floats have other values from now on; while no product is being made.
void ck_packed_weights_forget(ck_packed_weights *weights);

/// Bytes that are kept.
size_t ck_packed_weights_size(ck_packed_weights *weights);

/// The ones that products of the calling thread look into, or NULL, as at first.
void ck_use_packed_weights(ck_packed_weights *weights);
ck_packed_weights *ck_used_packed_weights(void);

#endif
