// Optimizer updates of a contiguous range. No contraction to fused operations: the same bits for every
// instruction set. `clip` multiplies every gradient first.
#ifndef CKERNELS_OPTIMIZER_H
#define CKERNELS_OPTIMIZER_H

#include <stddef.h>
#include <stdint.h>

/// Adam (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1) as PyTorch computes it:
/// g' = g * clip + coupled_decay * p; p *= keep; m, v moving averages;
/// p -= step_size * m / (sqrt(v) / root_correction + 1e-8).
/// AdamW passes keep = 1 - lr * decay and no coupled decay.
void ck_adam(float *restrict p, const float *restrict g, float *restrict m, float *restrict v,
             size_t n, float clip, float coupled_decay, float keep, float step_size,
             float root_correction);

/// SGD with momentum: g' = g * clip + decay * p; b = first ? g' : momentum * b + g'; p -= rate * b.
void ck_sgd(float *restrict p, const float *restrict g, float *restrict b, size_t n, float clip,
            float decay, float momentum, float rate, int first);

/// average += share * (p - average), which is (1 - share) * average + share * p but stays where it is when
/// both are equal, however share is rounded. n may be 0.
void ck_moving_average(float *restrict average, const float *restrict p, size_t n, float share);

#endif
