// Memory that a product asks for while it computes, so that it is in the second-level cache when its
// turn comes: the parts of a matrix lie in many short runs, which the CPU does not foresee.
#ifndef CKERNELS_FETCH_AHEAD_H
#define CKERNELS_FETCH_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "lanes.h"

enum { CACHE_LINE = 64, FETCH_PARTS = 4 };

/// Lines of `rows` runs of memory, `stride` bytes apart.
typedef struct {
  const char *at;
  size_t stride, rows, lines, line;
} fetch_part;

/// Parts in the order in which they will be wanted.
typedef struct {
  fetch_part parts[FETCH_PARTS];
  size_t now;
} fetch_list;

HELPER fetch_part runs(const void *base, size_t stride, size_t rows, size_t bytes) {
  uintptr_t at = (uintptr_t)base / CACHE_LINE * CACHE_LINE;
  size_t lines = ((uintptr_t)base + bytes - at + CACHE_LINE - 1) / CACHE_LINE;
  return (fetch_part){(const char *)at, stride, bytes > 0 ? rows : 0, lines, 0};
}

/// Asks for the next line, or goes on to the next part.
HELPER void fetch_line(fetch_list *list) {
  fetch_part *part = &list->parts[list->now];
  if (part->rows == 0) {
    if (list->now + 1 < FETCH_PARTS) list->now++;
    return;
  }
  __builtin_prefetch(part->at + part->line * CACHE_LINE, 0, 2);
  if (++part->line < part->lines) return;
  part->line = 0;
  part->at += part->stride;
  part->rows--;
}

#endif
