// Adam, AdamW, SGD and the average of weights.
#include "include/optimizer_kernels.h"

#include <math.h>

#include "kernel.h"

#pragma clang fp contract(off)

KERNEL(void, ck_adam,
       (float *restrict p, const float *restrict g, float *restrict m, float *restrict v, size_t n,
        float clip, float coupled_decay, float keep, float step_size, float root_correction),
       (p, g, m, v, n, clip, coupled_decay, keep, step_size, root_correction)) {
  for (size_t i = 0; i < n; i++) {
    float gradient = g[i] * clip + coupled_decay * p[i];
    float first = m[i] + 0.1f * (gradient - m[i]);
    float second = 0.999f * v[i] + 0.001f * (gradient * gradient);
    m[i] = first;
    v[i] = second;
    p[i] = keep * p[i] - step_size * (first / (sqrtf(second) / root_correction + 1e-8f));
  }
}

KERNEL(void, ck_sgd,
       (float *restrict p, const float *restrict g, float *restrict b, size_t n, float clip,
        float decay, float momentum, float rate, int first),
       (p, g, b, n, clip, decay, momentum, rate, first)) {
  for (size_t i = 0; i < n; i++) {
    float gradient = g[i] * clip + decay * p[i];
    float buffer = first ? gradient : momentum * b[i] + gradient;
    b[i] = buffer;
    p[i] -= rate * buffer;
  }
}

KERNEL(void, ck_moving_average,
       (float *restrict average, const float *restrict p, size_t n, float share),
       (average, p, n, share)) {
  for (size_t i = 0; i < n; i++) average[i] += share * (p[i] - average[i]);
}
