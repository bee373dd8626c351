// Losses on logits, with gradients and hit counts.
#ifndef CKERNELS_LOSS_H
#define CKERNELS_LOSS_H

#include <stddef.h>
#include <stdint.h>

/// Rank of a row's label among its logits: how many logits come before it (larger ones, and equal ones
/// with a lower index). 0 is a top-1 hit, below 5 a top-5 hit.
size_t ck_label_rank(const float *logits, size_t classes, size_t label);

/// What an image shows: t[label] = 1 - share, t[other] = share, 0 elsewhere; of one label: other = label, share = 0.
typedef struct {
  size_t label, other;
  double share;
} ck_target;

/// Cross-entropy of one row with label smoothing e (target = (1 - e) t + e / classes), natural
/// logarithm, in double; if d is not null, d[c] = weight * (softmax - target). d may be logits.
double ck_cross_entropy(float *d, const float *logits, size_t classes, ck_target t,
                        double smoothing, double weight);

/// Mean over classes of (logit - t)^2; if d is not null, d[c] = weight * 2 (logit - t) / C.
double ck_squared_error(float *d, const float *logits, size_t classes, ck_target t, double weight);

#endif
