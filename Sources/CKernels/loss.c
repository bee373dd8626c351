// Cross-entropy, squared error, label rank. Rows are few (one per image), so plain double precision.
#include "include/loss_kernels.h"

#include <math.h>

// No KERNEL, so on x86-64 without FMA: no CPU may fuse, for all to have the same bits.
#pragma STDC FP_CONTRACT OFF

size_t ck_label_rank(const float *logits, size_t classes, size_t label) {
  size_t before = 0;
  float own = logits[label];
  for (size_t c = 0; c < classes; c++)
    if (logits[c] > own || (logits[c] == own && c < label)) before++;
  // A row that is not finite is no hit.
  return isfinite(own) ? before : classes;
}

static double target(ck_target t, size_t c) {
  return (c == t.label ? 1 - t.share : 0) + (c == t.other ? t.share : 0);
}

double ck_cross_entropy(float *d, const float *logits, size_t classes, ck_target t,
                        double smoothing, double weight) {
  double largest = logits[0];
  for (size_t c = 1; c < classes; c++)
    if (logits[c] > largest) largest = logits[c];
  double sum = 0, total = 0;
  for (size_t c = 0; c < classes; c++) {
    sum += exp((double)logits[c] - largest);
    total += logits[c];
  }
  double logarithm = largest + log(sum);
  double background = smoothing / (double)classes;
  double shown = (1 - t.share) * (double)logits[t.label] + t.share * (double)logits[t.other];
  double loss = logarithm - (1 - smoothing) * shown - background * total;
  if (d)
    for (size_t c = 0; c < classes; c++) {
      double wanted = background + (1 - smoothing) * target(t, c);
      d[c] = (float)(weight * (exp((double)logits[c] - logarithm) - wanted));
    }
  return loss;
}

double ck_squared_error(float *d, const float *logits, size_t classes, ck_target t,
                        double weight) {
  double sum = 0;
  for (size_t c = 0; c < classes; c++) {
    double difference = (double)logits[c] - target(t, c);
    sum += difference * difference;
    if (d) d[c] = (float)(weight * 2 * difference / (double)classes);
  }
  return sum / (double)classes;
}
