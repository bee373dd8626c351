// Kernels of ConvNN attention: sums over each token's K neighbours, weighted per neighbour and
// channel, and the similarities that choose them. `index` [rows, count] names rows of v (or y).
#ifndef CKERNELS_NEIGHBOUR_H
#define CKERNELS_NEIGHBOUR_H

#include <stddef.h>
#include <stdint.h>

/// index[i, :] = the columns of the `count` largest scores of row i, largest first, among equal
/// scores the lower column first; values [rows, count] are those scores. Scores that are not
/// numbers still give valid columns. 1 <= count <= columns. room_columns, room_values: `columns`
/// elements each.
void ck_select_best_first(int32_t *restrict index, float *restrict values,
                          const float *restrict scores, size_t rows, size_t columns, size_t stride,
                          size_t count, int32_t *restrict room_columns,
                          float *restrict room_values);

/// Every row's pairs (index, value) [rows, count], largest value first, equal ones in the order
/// given.
void ck_order_best_first(int32_t *restrict sorted, float *restrict sorted_values,
                         const int32_t *restrict index, const float *restrict values, size_t rows,
                         size_t count);

/// Depthwise convolution over neighbours, y[i, c] = sum over r of
/// weights[i, r] * taps[r, c] * v[index[i, r], c]; taps [count, taps_stride].
void ck_depthwise_neighbours(float *restrict y, size_t y_stride, const float *restrict weights,
                             const float *restrict taps, size_t taps_stride,
                             const float *restrict v, size_t v_stride,
                             const int32_t *restrict index, size_t rows, size_t count,
                             size_t width);

/// Its gradients in one walk, sums in order of i: d_weights is written; d_v and d_taps (laid out
/// like taps) are added to.
void ck_depthwise_neighbours_backward(float *restrict d_weights, float *restrict d_taps,
                                      float *restrict d_v, size_t d_v_stride,
                                      const float *restrict d_y, size_t d_y_stride,
                                      const float *restrict weights, const float *restrict taps,
                                      size_t taps_stride, const float *restrict v, size_t v_stride,
                                      const int32_t *restrict index, size_t rows, size_t count,
                                      size_t width);

/// gathered[i, r, :] = weights[i, r] * v[index[i, r], :], dense [rows, count, width].
void ck_gather_neighbours(float *restrict gathered, const float *restrict weights,
                          const float *restrict v, size_t v_stride, const int32_t *restrict index,
                          size_t rows, size_t count, size_t width);

/// Its gradients: d_weights is written, d_v is added to in order of i.
void ck_gather_neighbours_backward(float *restrict d_weights, float *restrict d_v,
                                   size_t d_v_stride, const float *restrict d_gathered,
                                   const float *restrict weights, const float *restrict v,
                                   size_t v_stride, const int32_t *restrict index, size_t rows,
                                   size_t count, size_t width);

/// values[i, r] = -sqrt(max(|unit * (x[i, :] - y[index[i, r], :])|^2, 1e-12)).
void ck_neighbour_distances(float *restrict values, const float *restrict x, size_t x_stride,
                            const float *restrict y, size_t y_stride,
                            const int32_t *restrict index, size_t rows, size_t count, size_t width,
                            float unit);

/// squares[r] = |x[r, :]|^2.
void ck_row_squares(float *restrict squares, const float *restrict x, size_t stride, size_t rows,
                    size_t width);

/// x[r, :] *= inverse[r], with inverse[r] = 1 / max(|x[r, :]|, 1e-12), which is written.
void ck_normalize_rows(float *restrict x, float *restrict inverse, size_t stride, size_t rows,
                       size_t width);

/// Gradient of ck_normalize_rows in place of d: d[r, :] = inverse[r] * (d - x <x, d>), with the
/// normalized x.
void ck_normalize_rows_backward(float *restrict d, size_t d_stride, const float *restrict x,
                                size_t x_stride, const float *restrict inverse, size_t rows,
                                size_t width);

/// d[r, :] = factors[r] * x[r, :] - d[r, :].
void ck_scaled_rows_minus(float *restrict d, size_t d_stride, const float *restrict factors,
                          const float *restrict x, size_t x_stride, size_t rows, size_t width);

/// Mean and standard deviation (with Bessel's correction) of rows * width > 1 numbers.
void ck_mean_and_deviation(double *restrict mean, double *restrict deviation,
                           const float *restrict x, size_t stride, size_t rows, size_t width);

#endif
