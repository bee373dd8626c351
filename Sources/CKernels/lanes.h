// Sixteen floats at a time, for kernels that the compiler does not vectorise well by itself: one
// AVX-512 register, two of AVX2, four of SSE. Vectors go to and from these helpers by pointer, because
// as arguments their passing would differ between instruction sets; all is inlined.
#ifndef CKERNELS_LANES_H
#define CKERNELS_LANES_H

#include <stddef.h>
#include <stdint.h>

typedef float lanes16 __attribute__((ext_vector_type(16), aligned(4), may_alias));
typedef int32_t ints16 __attribute__((ext_vector_type(16)));
typedef uint32_t words16 __attribute__((ext_vector_type(16)));

// Where a file is for one instruction set, it says so before it includes this.
#ifndef LANES_TARGET
#define LANES_TARGET
#endif

// Inlined for certain: a call would run the code of the base instruction set.
#define HELPER static inline __attribute__((always_inline))
#define LOAD16(p) (*(const lanes16 *)(p))
#define STORE16(p, v) (*(lanes16 *)(p) = (v))

/// The first n < 16 floats at p, then padding.
HELPER void load_part16(lanes16 *v, const float *p, size_t n, float padding) {
  float buffer[16];
  for (size_t l = 0; l < 16; l++) buffer[l] = l < n ? p[l] : padding;
  *v = LOAD16(buffer);
}

HELPER void store_part16(float *p, const lanes16 *v, size_t n) {
  float buffer[16];
  STORE16(buffer, *v);
  for (size_t l = 0; l < n; l++) p[l] = buffer[l];
}

typedef float lanes8 __attribute__((ext_vector_type(8)));
typedef float lanes4 __attribute__((ext_vector_type(4)));

HELPER float sum16(const lanes16 *v) {
  lanes8 a = v->lo + v->hi;
  lanes4 b = a.lo + a.hi;
  return (b[0] + b[2]) + (b[1] + b[3]);
}

HELPER float maximum16(const lanes16 *v) {
  lanes8 a = v->lo > v->hi ? v->lo : v->hi;
  lanes4 b = a.lo > a.hi ? a.lo : a.hi;
  float c = b[0] > b[2] ? b[0] : b[2], d = b[1] > b[3] ? b[1] : b[3];
  return c > d ? c : d;
}

/// exp of every lane, as approximate_exp computes it.
HELPER void exp16(lanes16 *v) {
  lanes16 x = *v;
  lanes16 limited = x < -87.0f ? (lanes16)-87.0f : x;
  limited = limited > 88.0f ? (lanes16)88.0f : limited;
  lanes16 shifted = limited * 1.44269504088896341f + 12582912.0f;
  lanes16 n = shifted - 12582912.0f;
  lanes16 r = limited - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  lanes16 p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  ints16 exponent = ((ints16)shifted - 0x4B400000 + 127) << 23;
  *v = x < -87.0f ? (lanes16)0.0f : p * (lanes16)exponent;
}

#endif
