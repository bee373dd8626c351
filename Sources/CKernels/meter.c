// For measuring where time and memory go.
#include "include/meter_kernels.h"

#include <stdlib.h>
#include <time.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

static _Thread_local uint64_t product_time;

uint64_t ck_nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void ck_add_product_time(uint64_t nanoseconds) { product_time += nanoseconds; }

uint64_t ck_product_time(void) { return product_time; }

void ck_return_free_memory(void) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}
