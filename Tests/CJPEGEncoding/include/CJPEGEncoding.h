// JPEGs of every form that tests of the decoder need, by libjpeg's own interface.
#ifndef CJPEGENCODING_H
#define CJPEGENCODING_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  /// 1 gray, 3 RGB, 4 CMYK.
  int channels;
  /// Samples of brightness for one of each colour, across and down.
  int across, down;
  /// Blocks between restart markers, 0 for none.
  int restart;
  int progressive;
  /// Every component in a scan of its own.
  int separate;
  /// RGB is stored as it is, not as brightness and colour.
  int stored_rgb;
} cje_form;

/// Bytes of the file at *out, for free().
size_t cje_encode(const uint8_t *pixels, unsigned width, unsigned height, cje_form form,
                  uint8_t **out);

#endif
