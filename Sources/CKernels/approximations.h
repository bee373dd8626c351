// exp, erf-type functions, log, sine and cosine as polynomials that the compiler can vectorise
// (libm's stay scalar calls). Error bounds are tested against libm in double precision.
#ifndef CKERNELS_APPROXIMATIONS_H
#define CKERNELS_APPROXIMATIONS_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline uint32_t bits_of_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// exp(x) for x <= 0 and up to 88; results below 2^-126 become 0. Error <= 2 ulp.
/// x = n ln2 + r, |r| <= ln2/2; exp(r) by its minimax polynomial of degree 6.
static inline float approximate_exp(float x) {
  float limited = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
  const float magic = 12582912.0f;
  float shifted = limited * 1.44269504088896341f + magic;
  float n = shifted - magic;
  float r = limited - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // shifted holds n in its low mantissa bits, biased by the magic number's own.
  uint32_t exponent = (bits_of_float(shifted) - 0x4B400000u + 127u) << 23;
  float result = p * float_from_bits(exponent);
  return x < -87.0f ? 0.0f : result;
}

/// Phi(-z) / exp(-z^2/2) for z >= 0, with Phi the normal distribution's cumulative function: half of
/// erfcx(z / sqrt 2), as t * P(t), t = 1 / (1 + 0.35 z), P a minimax polynomial of degree 8 fitted for
/// relative error on [0, 14] (6e-9 before rounding).
static inline float scaled_normal_tail(float z) {
  float t = 1.0f / (1.0f + 0.35f * z);
  float p = -0.0296381747f;
  p = p * t + 0.146322778f;
  p = p * t - 0.260456322f;
  p = p * t + 0.164430387f;
  p = p * t - 0.0265961333f;
  p = p * t + 0.106917346f;
  p = p * t + 0.119495741f;
  p = p * t + 0.139905272f;
  p = p * t + 0.139619109f;
  return p * t;
}

/// GELU(x) = x Phi(x) and its derivative Phi(x) + x phi(x), from one exponential.
static inline void gelu_and_derivative(float x, float *value, float *derivative) {
  float z = x < 0 ? -x : x;
  float bell = approximate_exp(-0.5f * x * x);
  float tail = bell * scaled_normal_tail(z);
  float cumulative = x < 0 ? tail : 1.0f - tail;
  *value = x * cumulative;
  *derivative = cumulative + x * (bell * 0.398942280401432678f);
}

#endif
