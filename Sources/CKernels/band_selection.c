// The largest scores of a row: bisection for a threshold, then the columns that reach it.
#include <float.h>
#include <math.h>
#include <string.h>

#include "include/band_kernels.h"
#include "kernel.h"
#include "lanes.h"

typedef _Bool mask16 __attribute__((ext_vector_type(16)));

/// A row as blocks of sixteen; the last one is padded with NaN, which reaches no threshold.
struct row {
  const float *whole;
  size_t blocks;
  float rest[16];
};

/// How many scores are at least `threshold`.
HELPER uint32_t count_reaching(const struct row *r, float threshold) {
  lanes16 t = threshold;
  ints16 even = 0, odd = *(const lanes16 *)r->rest >= t;
  size_t b = 0;
  for (; b + 2 <= r->blocks; b += 2) {
    even += *(const lanes16 *)(r->whole + 16 * b) >= t;
    odd += *(const lanes16 *)(r->whole + 16 * b + 16) >= t;
  }
  if (b < r->blocks) even += *(const lanes16 *)(r->whole + 16 * b) >= t;
  even += odd;
  int sum = 0;
  for (int l = 0; l < 16; l++) sum -= even[l];
  return (uint32_t)sum;
}

HELPER uint64_t bits_of(const float *block, float threshold) {
  mask16 mask = __builtin_convertvector(*(const lanes16 *)block >= threshold, mask16);
  uint16_t bits;
  memcpy(&bits, &mask, sizeof bits);
  return bits;
}

/// Columns of the first `count` scores that reach `threshold`; returns how many there are, at most.
HELPER size_t columns_reaching(int32_t *restrict out, const struct row *r, float threshold,
                               size_t count) {
  size_t n = 0;
  for (size_t b = 0; b <= r->blocks; b += 4) {
    uint64_t bits = 0;
    for (size_t k = 0; k < 4 && b + k <= r->blocks; k++)
      bits |= bits_of(b + k < r->blocks ? r->whole + 16 * (b + k) : r->rest, threshold) << 16 * k;
    for (; bits && n < count; bits &= bits - 1)
      out[n++] = (int32_t)(16 * b) + __builtin_ctzll(bits);
  }
  return n;
}

KERNEL(void, ck_select_largest,
       (int32_t *restrict index, const float *restrict scores, size_t rows, size_t columns,
        size_t stride, size_t count),
       (index, scores, rows, columns, stride, count)) {
  for (size_t i = 0; i < rows; i++) {
    const float *restrict s = scores + i * stride;
    int32_t *restrict out = index + i * count;
    if (count == columns) {
      for (size_t c = 0; c < columns; c++) out[c] = (int32_t)c;
      continue;
    }
    struct row r = {.whole = s, .blocks = columns / 16};
    for (size_t l = 0; l < 16; l++)
      r.rest[l] = 16 * r.blocks + l < columns ? s[16 * r.blocks + l] : NAN;

    lanes16 least = INFINITY, most = -INFINITY;
    for (size_t b = 0; b <= r.blocks; b++) {
      lanes16 v = *(const lanes16 *)(b < r.blocks ? s + 16 * b : r.rest);
      least = v < least ? v : least;
      most = v > most ? v : most;
    }
    // The sixteen lanes' maxima are sixteen scores: the least of them is a bound for few neighbours.
    lanes16 bounds = count <= 16 && columns >= 16 ? most : least;
    float low = INFINITY, high = -INFINITY;
    for (int l = 0; l < 16; l++) {
      low = bounds[l] < low ? bounds[l] : low;
      high = most[l] > high ? most[l] : high;
    }
    // At least `count` scores reach `low`, fewer reach `high`. When no float lies between them, the
    // scores equal to `low` tie.
    uint32_t reached = count_reaching(&r, high);
    // Between numbers that are finite: there is no middle to an infinite one.
    if (reached < count && high == INFINITY) {
      high = FLT_MAX;
      reached = count_reaching(&r, high);
    }
    if (reached >= count)
      low = high;
    else if (low == -INFINITY && count_reaching(&r, -FLT_MAX) >= count)
      low = -FLT_MAX;
    while (reached != count) {
      float middle = 0.5f * low + 0.5f * high;
      if (!(middle > low && middle < high)) break;
      reached = count_reaching(&r, middle);
      if (reached >= count) low = middle; else high = middle;
    }
    size_t n = 0;
    if (reached == count) {
      n = columns_reaching(out, &r, low, count);
    } else {
      size_t above = 0;
      for (size_t c = 0; c < columns; c++) above += s[c] > low;
      size_t ties = count > above ? count - above : 0;
      for (size_t c = 0; c < columns && n < count; c++) {
        int tie = s[c] == low && ties > 0;
        ties -= (size_t)tie;
        if (tie || s[c] > low) out[n++] = (int32_t)c;
      }
    }
    // Fewer only among scores that are not numbers: any valid column will do.
    for (; n < count; n++) out[n] = 0;
  }
}
