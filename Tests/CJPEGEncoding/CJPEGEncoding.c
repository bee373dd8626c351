// See the header. Errors end the process, as libjpeg does by itself.
#include "CJPEGEncoding.h"

#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

size_t cje_encode(const uint8_t *pixels, unsigned width, unsigned height, cje_form form,
                  uint8_t **out) {
  struct jpeg_compress_struct info;
  struct jpeg_error_mgr errors;
  unsigned char *bytes = NULL;
  unsigned long count = 0;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  jpeg_mem_dest(&info, &bytes, &count);
  info.image_width = width;
  info.image_height = height;
  info.input_components = form.channels;
  info.in_color_space =
      form.channels == 1 ? JCS_GRAYSCALE : form.channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  if (form.stored_rgb) jpeg_set_colorspace(&info, JCS_RGB);
  jpeg_set_quality(&info, 85, TRUE);
  for (int c = 0; c < form.channels; c++) {
    info.comp_info[c].h_samp_factor = c == 0 ? form.across : 1;
    info.comp_info[c].v_samp_factor = c == 0 ? form.down : 1;
  }
  info.restart_interval = (unsigned)form.restart;
  if (form.progressive) jpeg_simple_progression(&info);
  jpeg_scan_info scans[4];
  if (form.separate) {
    for (int c = 0; c < form.channels; c++) {
      scans[c] = (jpeg_scan_info){.comps_in_scan = 1, .component_index = {c}, .Se = 63};
    }
    info.scan_info = scans;
    info.num_scans = form.channels;
  }
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < height) {
    JSAMPROW row = (JSAMPROW)pixels + (size_t)info.next_scanline * width * (size_t)form.channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  *out = bytes;
  return count;
}
