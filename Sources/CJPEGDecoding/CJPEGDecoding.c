// Decoding of a rectangle through libjpeg-turbo's own interface (its libjpeg.txt, "Decompressing a
// portion of an image"): entropy decoding up to the last row wanted, the rest for that part alone.
#include "CJPEGDecoding.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#ifndef LIBJPEG_TURBO_VERSION
#error "jpeglib.h is not libjpeg-turbo's: only that decodes rectangles."
#endif

struct cjd_decoder {
  struct jpeg_decompress_struct info;
  struct jpeg_error_mgr errors;
  jmp_buf escape;
  cjd_rectangle rectangle;
};

// Smoothing of subsampled colours looks at the neighbours; at the edges of what is decoded it has
// none, so that pixels there differ from those of the whole image.
enum { margin = 4, row_group = 16 };

static void leave(j_common_ptr info) {
  cjd_decoder *decoder = info->client_data;
  longjmp(decoder->escape, 1);
}

static void say_nothing(j_common_ptr info) { (void)info; }

cjd_decoder *cjd_create(void) {
  cjd_decoder *decoder = calloc(1, sizeof *decoder);
  if (!decoder) return NULL;
  decoder->info.err = jpeg_std_error(&decoder->errors);
  decoder->errors.error_exit = leave;
  decoder->errors.output_message = say_nothing;
  decoder->info.client_data = decoder;
  if (setjmp(decoder->escape)) {
    jpeg_destroy_decompress(&decoder->info);
    free(decoder);
    return NULL;
  }
  jpeg_create_decompress(&decoder->info);
  return decoder;
}

void cjd_destroy(cjd_decoder *decoder) {
  if (!decoder) return;
  jpeg_destroy_decompress(&decoder->info);
  free(decoder);
}

int cjd_begin(cjd_decoder *restrict decoder, const uint8_t *restrict bytes, size_t count,
              uint32_t reduction, cjd_rectangle *restrict rectangle) {
  j_decompress_ptr info = &decoder->info;
  if (setjmp(decoder->escape)) return -1;
  jpeg_mem_src(info, bytes, count);
  jpeg_read_header(info, TRUE);
  info->out_color_space = JCS_EXT_RGB;
  info->scale_num = 1;
  info->scale_denom = reduction;
  jpeg_start_decompress(info);
  if (rectangle->x > 0 || rectangle->width < info->output_width) {
    JDIMENSION x = rectangle->x < margin ? 0 : rectangle->x - margin;
    JDIMENSION end = rectangle->x + rectangle->width + margin;
    if (end > info->output_width) end = info->output_width;
    JDIMENSION width = end - x;
    jpeg_crop_scanline(info, &x, &width);
    rectangle->x = x;
    rectangle->width = width;
  }
  decoder->rectangle = *rectangle;
  return 0;
}

int cjd_read(cjd_decoder *restrict decoder, uint8_t *restrict out, size_t stride) {
  j_decompress_ptr info = &decoder->info;
  const uint32_t top = decoder->rectangle.y, height = decoder->rectangle.height;
  if (setjmp(decoder->escape)) return -1;
  if (top > 0) jpeg_skip_scanlines(info, top);
  while (info->output_scanline < top + height) {
    JSAMPROW rows[row_group];
    uint32_t done = info->output_scanline - top, count = height - done;
    if (count > row_group) count = row_group;
    for (uint32_t i = 0; i < count; i++) rows[i] = out + (done + i) * stride;
    jpeg_read_scanlines(info, rows, count);
  }
  return 0;
}
