// Memory that a product asks for while it computes, so that it is in the second-level cache when its
// turn comes: the parts of a matrix lie in many short runs, which the CPU does not foresee.
#ifndef CKERNELS_FETCH_AHEAD_H
#define CKERNELS_FETCH_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "lanes.h"

enum { CACHE_LINE = 64, FETCHED_MOST = 256 };

/// So many runs of memory of so many lines, `stride` bytes apart.
typedef struct {
  const char *at;
  size_t stride, count, lines;
} fetch_runs;

HELPER fetch_runs runs(const void *base, size_t stride, size_t count, size_t bytes) {
  uintptr_t at = (uintptr_t)base / CACHE_LINE * CACHE_LINE;
  size_t lines = ((uintptr_t)base + bytes - at + CACHE_LINE - 1) / CACHE_LINE;
  return (fetch_runs){(const char *)at, stride, bytes > 0 ? count : 0, lines};
}

/// Memory without gaps, as runs of a line.
HELPER fetch_runs lines_of(const void *base, size_t bytes) {
  return (fetch_runs){base, CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE, 1};
}

/// Lines to ask for, in the order in which they will be wanted; at most `most`, which is FETCHED_MOST or less.
typedef struct {
  size_t count, most;
  const char *lines[FETCHED_MOST];
} fetch_list;

HELPER size_t put_runs(const char **to, size_t room, const fetch_runs *from, size_t count,
                       size_t lines) {
  if (count > room / lines) count = room / lines;
  const char *at = from->at;
  // Too few for vectors.
  _Pragma("clang loop vectorize(disable)") for (size_t r = 0; r < count; r++, at += from->stride)
    _Pragma("clang loop vectorize(disable)") for (size_t l = 0; l < lines; l++)
      *to++ = at + l * CACHE_LINE;
  return count;
}

/// Moves up to `count` runs to the list, as many as there are and is room for.
HELPER void add_runs(fetch_list *list, fetch_runs *from, size_t count) {
  const char **to = list->lines + list->count;
  size_t room = list->most - list->count;
  if (count > from->count) count = from->count;
  if (count == 0) return;
  // Short runs, which most are, are compiled on their own.
  if (from->lines == 1)
    count = put_runs(to, room, from, count, 1);
  else if (from->lines == 2)
    count = put_runs(to, room, from, count, 2);
  else
    count = put_runs(to, room, from, count, from->lines);
  list->count += count * from->lines;
  from->at += count * from->stride;
  from->count -= count;
}

HELPER void fetch(const char *line) { __builtin_prefetch(line, 0, 2); }

#endif
