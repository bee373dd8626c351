// GELU and its derivative by AVX-512, for products that finish elements on their way out.
#ifndef CKERNELS_GELU_X86_H
#define CKERNELS_GELU_X86_H

#include <immintrin.h>

#include "gelu.h"

/// As gelu16, with AVX-512's reciprocal and powers of two.
LANES_TARGET HELPER void gelu_x86(lanes16 *v, lanes16 *derivative, int count, int is_rough) {
  const float *tail = is_rough ? gelu_rough_tail : gelu_tail;
  const float *power = is_rough ? gelu_rough_power : gelu_power;
  const int tail_degree = is_rough ? 3 : 8, power_degree = is_rough ? 3 : 6;
  __m512 x[GELU_GROUP], y[GELU_GROUP], n[GELU_GROUP], t[GELU_GROUP], p[GELU_GROUP], q[GELU_GROUP];
#define EACH for (int i = 0; i < count; i++)
  EACH x[i] = (__m512)v[i];
  // Beyond 16 nothing changes, but infinity would give no number.
  EACH t[i] = _mm512_min_ps(_mm512_abs_ps(x[i]), _mm512_set1_ps(16));
  // exp(-z^2 / 2) = 2^y.
  EACH y[i] = _mm512_mul_ps(_mm512_mul_ps(t[i], _mm512_set1_ps(-0.721347520444481704f)), t[i]);
  EACH t[i] = _mm512_fmadd_ps(t[i], _mm512_set1_ps(is_rough ? 0.47f : 0.35f), _mm512_set1_ps(1));
  EACH n[i] = _mm512_roundscale_ps(y[i], _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  EACH y[i] = _mm512_sub_ps(y[i], n[i]);
  EACH q[i] = _mm512_rcp14_ps(t[i]);
  // One step of Newton's method: from 14 bits to a float's.
  if (!is_rough) {
    EACH t[i] = _mm512_fnmadd_ps(t[i], q[i], _mm512_set1_ps(1));
    EACH q[i] = _mm512_fmadd_ps(t[i], q[i], q[i]);
  }
  EACH t[i] = q[i];
  EACH p[i] = _mm512_set1_ps(tail[tail_degree]);
  for (int d = tail_degree; d > 0; d--)
    EACH p[i] = _mm512_fmadd_ps(p[i], t[i], _mm512_set1_ps(tail[d - 1]));
  EACH q[i] = _mm512_set1_ps(power[power_degree]);
  for (int d = power_degree; d > 0; d--)
    EACH q[i] = _mm512_fmadd_ps(q[i], y[i], _mm512_set1_ps(power[d - 1]));
  EACH q[i] = _mm512_scalef_ps(q[i], n[i]);
  EACH p[i] = _mm512_mul_ps(_mm512_mul_ps(p[i], t[i]), q[i]);
  EACH {
    __mmask16 is_negative = _mm512_movepi32_mask(_mm512_castps_si512(x[i]));
    p[i] = _mm512_mask_sub_ps(p[i], (__mmask16)~is_negative, _mm512_set1_ps(1), p[i]);
    q[i] = _mm512_mul_ps(q[i], _mm512_set1_ps(0.398942280401432678f));
  }
  EACH derivative[i] = (lanes16)_mm512_fmadd_ps(x[i], q[i], p[i]);
  EACH v[i] = (lanes16)_mm512_mul_ps(x[i], p[i]);
#undef EACH
}

#endif
