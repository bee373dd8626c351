// The room in which a thread packs the operands of its products.
#include "product_memory.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  size_t size;
  void *memory;
} room;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void release(void *value) {
  free(((room *)value)->memory);
  free(value);
}

static void begin(void) { pthread_key_create(&key, release); }

void *product_memory(size_t size) {
  pthread_once(&once, begin);
  room *r = pthread_getspecific(key);
  if (r && r->size >= size) return r->memory;
  if (!r) {
    r = calloc(1, sizeof(room));
    if (r) pthread_setspecific(key, r);
  }
  if (r) {
    free(r->memory);
    r->size = size;
    if (posix_memalign(&r->memory, 4096, size) == 0) return r->memory;
  }
  fputs("Out of memory: the operands of a matrix product could not be packed.\n", stderr);
  abort();
}
