// Philox4x32 (Salmon et al. 2011): counter-based random numbers.
// `counter` is the start: block b of a fill uses (counter[0] + b, counter[1], counter[2], counter[3]).
#ifndef CKERNELS_RANDOM_H
#define CKERNELS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/// out[4] = Philox4x32 of counter[4] under key[2]; `rounds` is 10 or, faster, 7.
void ck_philox4x32(uint32_t *out, const uint32_t *counter, const uint32_t *key, int rounds);

/// out[i] uniform in [low, high), from word i (10 rounds), 24 bits each.
void ck_philox_uniform(float *restrict out, size_t n, const uint32_t *key, const uint32_t *counter,
                       float low, float high);

/// out[i] ~ N(0, deviation^2) by Box-Muller: words 2j and 2j+1 give numbers 2j and 2j+1.
void ck_philox_normal(float *restrict out, size_t n, const uint32_t *key, const uint32_t *counter,
                      float deviation);

/// mask[i] = 1 where the i-th 16-bit number is >= threshold, else 0. Masks are by far the most random
/// numbers of a training step, so only one in 64 words comes from Philox: for every group g of 1024
/// numbers the words of blocks 4 g ... 4 g + 3 (10 rounds) seed sixteen xorshift32 generators (Marsaglia
/// 2003, triple 13, 17, 5). Step t of generator l gives number 32 t + l of the group by its upper half
/// and number 32 t + 16 + l by its lower half.
void ck_philox_keep_mask(uint8_t *restrict mask, size_t n, const uint32_t *key,
                         const uint32_t *counter, uint32_t threshold);

#endif
