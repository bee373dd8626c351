// Philox4x32 and what is drawn from it.
#include "include/random_kernels.h"

#include <math.h>

#include "kernel.h"
#include "lanes.h"

enum { lanes = 16 };

static inline void philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0,
                                uint32_t k1) {
  uint64_t product0 = (uint64_t)0xD2511F53u * *c0;
  uint64_t product1 = (uint64_t)0xCD9E8D57u * *c2;
  uint32_t n0 = (uint32_t)(product1 >> 32) ^ *c1 ^ k0;
  uint32_t n2 = (uint32_t)(product0 >> 32) ^ *c3 ^ k1;
  *c1 = (uint32_t)product1;
  *c3 = (uint32_t)product0;
  *c0 = n0;
  *c2 = n2;
}

void ck_philox4x32(uint32_t *out, const uint32_t *counter, const uint32_t *key, int rounds) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int r = 0; r < rounds; r++) {
    philox_round(&c0, &c1, &c2, &c3, k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/// Words of `lanes` consecutive blocks, structure of arrays: w[j][lane] is word j of block first+lane.
static inline void philox_blocks(uint32_t w[4][lanes], uint32_t first, const uint32_t *counter,
                                 const uint32_t *key, int rounds) {
  for (int lane = 0; lane < lanes; lane++) {
    w[0][lane] = counter[0] + first + (uint32_t)lane;
    w[1][lane] = counter[1];
    w[2][lane] = counter[2];
    w[3][lane] = counter[3];
  }
  uint32_t k0 = key[0], k1 = key[1];
  for (int r = 0; r < rounds; r++) {
    for (int lane = 0; lane < lanes; lane++)
      philox_round(&w[0][lane], &w[1][lane], &w[2][lane], &w[3][lane], k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

KERNEL(void, ck_philox_uniform,
       (float *restrict out, size_t n, const uint32_t *key, const uint32_t *counter, float low,
        float high),
       (out, n, key, counter, low, high)) {
  uint32_t w[4][lanes];
  float scale = (high - low) * 0x1p-24f;
  for (size_t i = 0; i < n; i += 4 * lanes) {
    philox_blocks(w, (uint32_t)(i / 4), counter, key, 10);
    size_t count = n - i < 4 * lanes ? n - i : 4 * lanes;
    for (size_t j = 0; j < count; j++) out[i + j] = low + scale * (float)(w[j & 3][j >> 2] >> 8);
  }
}

void ck_philox_normal(float *restrict out, size_t n, const uint32_t *key, const uint32_t *counter,
                      float deviation) {
  // Double precision and libm: used for noise and initial values only, and the same everywhere.
  uint32_t block[4], at[4] = {0, counter[1], counter[2], counter[3]};
  for (size_t i = 0; i < n; i += 4) {
    at[0] = counter[0] + (uint32_t)(i / 4);
    ck_philox4x32(block, at, key, 10);
    for (size_t j = 0; j < 4 && i + j < n; j += 2) {
      // (word + 1/2) / 2^32 lies strictly inside (0, 1).
      double radius = sqrt(-2.0 * log(((double)block[j] + 0.5) * 0x1p-32));
      double angle = 6.283185307179586 * ((double)block[j + 1] * 0x1p-32);
      out[i + j] = (float)(radius * cos(angle)) * deviation;
      if (i + j + 1 < n) out[i + j + 1] = (float)(radius * sin(angle)) * deviation;
    }
  }
}

KERNEL(void, ck_philox_keep_mask,
       (uint8_t *restrict mask, size_t n, const uint32_t *key, const uint32_t *counter,
        uint32_t threshold),
       (mask, n, key, counter, threshold)) {
  enum { group = 1024, lanes_each = 16 };
  typedef uint8_t bytes16 __attribute__((ext_vector_type(16), aligned(1)));
  for (size_t i = 0; i < n; i += group) {
    uint32_t seeds[lanes_each] __attribute__((aligned(sizeof(words16))));
    uint32_t at[4] = {0, counter[1], counter[2], counter[3]};
    for (uint32_t b = 0; b < 4; b++) {
      at[0] = counter[0] + (uint32_t)(4 * (i / group)) + b;
      ck_philox4x32(seeds + 4 * b, at, key, 10);
    }
    words16 state = *(const words16 *)seeds;
    size_t count = n - i < group ? n - i : group;
    for (size_t j = 0; j < count; j += 32) {
      state ^= state << 13;
      state ^= state >> 17;
      state ^= state << 5;
      bytes16 high = __builtin_convertvector(((state >> 16) >= threshold) & 1, bytes16);
      bytes16 low = __builtin_convertvector(((state & 0xFFFFu) >= threshold) & 1, bytes16);
      if (count - j >= 32) {
        *(bytes16 *)(mask + i + j) = high;
        *(bytes16 *)(mask + i + j + 16) = low;
      } else {
        uint8_t keep[32];
        *(bytes16 *)keep = high;
        *(bytes16 *)(keep + 16) = low;
        for (size_t l = 0; l < count - j; l++) mask[i + j + l] = keep[l];
      }
    }
  }
}
