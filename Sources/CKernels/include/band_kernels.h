// Kernels of attention in which every query sees few keys: a band of the score matrix, or a list of
// keys per query. Index rows are dense [rows, count].
#ifndef CKERNELS_BAND_H
#define CKERNELS_BAND_H

#include <stddef.h>
#include <stdint.h>

/// Softmax of scale * s over columns first[r] ..< last[r] (at least one) of every row, in place; the
/// other columns become 0. zeros[r] more scores of 0 take part in the sum; zeros may be null.
void ck_band_softmax(float *restrict scores, const int32_t *restrict first,
                     const int32_t *restrict last, const int32_t *restrict zeros, size_t rows,
                     size_t columns, size_t stride, float scale);

/// Rotary positions (Su et al. 2021, arXiv:2104.09864) on `heads` neighbouring vectors of `width`
/// (even) channels per row, in place: channels c and c + width/2 turn by the angle whose cosine and
/// sine are in tables [rows, width/2]; direction 1, or -1 to turn back.
void ck_rotary_rows(float *restrict x, const float *restrict cosine, const float *restrict sine,
                    size_t rows, size_t stride, size_t heads, size_t width, float direction);

/// dots[i, r] = <x[i, :], y[index[i, r], :]>.
void ck_gather_dots(float *restrict dots, const float *restrict x, size_t x_stride,
                    const float *restrict y, size_t y_stride, const int32_t *restrict index,
                    size_t rows, size_t count, size_t width);

/// sums[i, :] = sum over r of weights[i, r] * y[index[i, r], :].
void ck_gather_sums(float *restrict sums, size_t sums_stride, const float *restrict weights,
                    const float *restrict y, size_t y_stride, const int32_t *restrict index,
                    size_t rows, size_t count, size_t width);

/// sums[j, :] = sum over all (i, r) with index[i, r] = j of weights[i, r] * x[i, :], in order of i, for
/// j < sums_rows: the transpose of ck_gather_sums.
void ck_scatter_sums(float *restrict sums, size_t sums_stride, size_t sums_rows,
                     const float *restrict weights, const float *restrict x, size_t x_stride,
                     const int32_t *restrict index, size_t rows, size_t count, size_t width);

/// index[i, :] = the columns of the `count` largest scores of row i, in ascending order of column;
/// among equal scores the lower column wins. 1 <= count <= columns.
void ck_select_largest(int32_t *restrict index, const float *restrict scores, size_t rows,
                       size_t columns, size_t stride, size_t count);

/// values[i, r] = matrix[i, index[i, r]].
void ck_gather_columns(float *restrict values, const float *restrict matrix, size_t stride,
                       const int32_t *restrict index, size_t rows, size_t count);

/// matrix [rows, columns] = 0 but for matrix[i, index[i, r]] = values[i, r].
void ck_scatter_columns(float *restrict matrix, size_t columns, size_t stride,
                        const float *restrict values, const int32_t *restrict index, size_t rows,
                        size_t count);

#endif
