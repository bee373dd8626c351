// Floats of 32 bits rounded to bf16: the upper 16 bits of a float.
#ifndef CKERNELS_ROUNDING_H
#define CKERNELS_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

/// x[i] = the bf16 number nearest to x[i], in a tie the one whose last bit is 0. Infinity stays, and NaN
/// stays NaN; what is nearer to 2^128 than to the largest bf16 number becomes infinity.
void ck_round_bf16(float *x, size_t n);

/// y[i] = bf16(y[i] + x[i]), rounded as above after a sum in fp32.
void ck_add_bf16(float *restrict y, const float *restrict x, size_t n);

#endif
