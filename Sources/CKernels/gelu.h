// GELU and its derivative, of sixteen numbers at a time, for products that finish elements on their way out.
#ifndef CKERNELS_GELU_H
#define CKERNELS_GELU_H

#include "lanes.h"

/// Phi(-z) / exp(-z^2 / 2) = t P(t) with t = 1 / (1 + slope z), as in approximations.h; 2^f on [-1/2, 1/2].
/// Lowest power first.
static const float gelu_tail[] = {0.139619109f,   0.139905272f,  0.119495741f,
                                  0.106917346f,   -0.0265961333f, 0.164430387f,
                                  -0.260456322f,  0.146322778f,  -0.0296381747f};
static const float gelu_power[] = {1.0f,           0.6931472057f,  0.2402264689f, 0.05550328775f,
                                   0.009618488957f, 0.0013399932f, 0.0001534581404f};
/// The same for results that are rounded to bfloat16: minimax polynomials of degree 3, whose relative errors
/// of 1e-4 are a twentieth of that rounding.
static const float gelu_rough_tail[] = {0.191651518f, 0.147643107f, 0.282572676f, -0.121871891f};
static const float gelu_rough_power[] = {0.9999280684f, 0.6932609878f, 0.2426112093f,
                                         0.05517170402f};

/// Vectors that are computed side by side, because each is one long chain. A file for one instruction set may
/// say how many its registers hold.
#ifndef GELU_GROUP
#define GELU_GROUP 4
#endif

/// Of `count` vectors, at most GELU_GROUP.
LANES_TARGET HELPER void gelu16(lanes16 *v, lanes16 *derivative, int count, int is_rough) {
  const float *tail = is_rough ? gelu_rough_tail : gelu_tail;
  const float *power = is_rough ? gelu_rough_power : gelu_power;
  const int tail_degree = is_rough ? 3 : 8, power_degree = is_rough ? 3 : 6;
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, which is left in the low bits.
  const float magic = 12582912.0f;
  lanes16 x[GELU_GROUP], t[GELU_GROUP], y[GELU_GROUP], p[GELU_GROUP], bell[GELU_GROUP];
  ints16 exponent[GELU_GROUP];
#define EACH for (int i = 0; i < count; i++)
  EACH x[i] = v[i];
  // Beyond 13 nothing changes, exp(-z^2 / 2) = 2^y leaves the exponents of a float, and infinity would give no
  // number.
  EACH t[i] = x[i] < 0 ? -x[i] : x[i];
  EACH t[i] = t[i] > 13.0f ? (lanes16)13.0f : t[i];
  EACH y[i] = -0.721347520444481704f * t[i] * t[i];
  EACH t[i] = 1.0f / (1.0f + (is_rough ? 0.47f : 0.35f) * t[i]);
  EACH {
    lanes16 shifted = y[i] + magic;
    y[i] -= shifted - magic;
    exponent[i] = (ints16)shifted << 23;
  }
  EACH bell[i] = power[power_degree];
  for (int d = power_degree; d > 0; d--) EACH bell[i] = bell[i] * y[i] + power[d - 1];
  EACH bell[i] = (lanes16)((ints16)bell[i] + exponent[i]);
  EACH p[i] = tail[tail_degree];
  for (int d = tail_degree; d > 0; d--) EACH p[i] = p[i] * t[i] + tail[d - 1];
  EACH {
    lanes16 part = bell[i] * (p[i] * t[i]);
    lanes16 cumulative = x[i] < 0 ? part : 1.0f - part;
    v[i] = x[i] * cumulative;
    derivative[i] = cumulative + x[i] * (bell[i] * 0.398942280401432678f);
  }
#undef EACH
}

#endif
