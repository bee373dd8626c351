// A rectangle of a JPEG, as pixels equal to those of decoding the whole of it. In C because libjpeg
// leaves by longjmp when it meets an error.
#ifndef CJPEGDECODING_H
#define CJPEGDECODING_H

#include <stddef.h>
#include <stdint.h>

/// Decodes one image: tables of an earlier one would stand in for those that a file lacks.
typedef struct cjd_decoder cjd_decoder;

typedef struct {
  uint32_t x, y, width, height;
} cjd_rectangle;

/// NULL when there is no memory.
cjd_decoder *cjd_create(void);
void cjd_destroy(cjd_decoder *decoder);

/// Begins to decode a rectangle (not empty, inside the image) of the image shrunk by `reduction`
/// (1, 2, 4 or 8), and widens it to the columns that will be decoded with it.
///
/// For sequential JPEGs of one scan, of gray, YCbCr or RGB, with brightness sampled 1 x 1, 2 x 1 or
/// 2 x 2. `bytes` stay in place until the rows are read. Returns 0, or -1 for an error.
int cjd_begin(cjd_decoder *restrict decoder, const uint8_t *restrict bytes, size_t count,
              uint32_t reduction, cjd_rectangle *restrict rectangle);

/// Writes the rows of the rectangle, RGB, `stride` bytes apart. What the file holds below them is
/// not looked at, and odd entropy-coded data makes odd pixels, no error. Returns 0, or -1.
int cjd_read(cjd_decoder *restrict decoder, uint8_t *restrict out, size_t stride);

#endif
