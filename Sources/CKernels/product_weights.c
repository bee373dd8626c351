// Packed weights: a table of matrices that threads fill side by side, without waiting.
#include "product_weights.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "include/packed_weights.h"

enum {
  /// Matrices of a table, a power of two; a model has about ten a block. What finds no place is packed by
  /// each product, as without a table.
  ENTRIES = 4096,
  /// Nobody's; of someone who writes its key; at rest; being packed.
  FREE = 0,
  CLAIMED,
  RESTING,
  PACKING,
};

typedef struct {
  atomic_int state;
  packed_weight_key key;
  void *memory;
  /// The version of the weights that `memory` holds.
  atomic_uint_fast64_t version;
} entry;

struct ck_packed_weights {
  const float *base;
  size_t count;
  /// Of the weights, from 1.
  uint64_t version;
  atomic_size_t size;
  entry entries[ENTRIES];
};

static _Thread_local ck_packed_weights *used;

void ck_use_packed_weights(ck_packed_weights *weights) { used = weights; }

ck_packed_weights *ck_used_packed_weights(void) { return used; }

ck_packed_weights *ck_packed_weights_make(const float *base, size_t count) {
  ck_packed_weights *weights = calloc(1, sizeof *weights);
  if (!weights) return NULL;
  weights->base = base;
  weights->count = count;
  weights->version = 1;
  return weights;
}

void ck_packed_weights_free(ck_packed_weights *weights) {
  for (size_t i = 0; i < ENTRIES; i++) free(weights->entries[i].memory);
  free(weights);
}

void ck_packed_weights_forget(ck_packed_weights *weights) { weights->version++; }

size_t ck_packed_weights_size(ck_packed_weights *weights) { return atomic_load(&weights->size); }

static size_t place_of(packed_weight_key key) {
  uint64_t x = (uint64_t)(uintptr_t)key.b.base / sizeof(float);
  x = x * 0x9e3779b97f4a7c15u + key.n;
  x = x * 0x9e3779b97f4a7c15u + key.k * 2 + (uint64_t)key.b.transposed;
  x = x * 0x9e3779b97f4a7c15u + key.b.stride * 64 + (uint64_t)key.way;
  x *= 0x9e3779b97f4a7c15u;
  return x >> 32;
}

static int is_same(packed_weight_key a, packed_weight_key b) {
  return a.b.base == b.b.base && a.b.stride == b.b.stride && a.b.transposed == b.b.transposed &&
         a.n == b.n && a.k == b.k && a.way == b.way;
}

static int is_current(ck_packed_weights *weights, entry *e) {
  return atomic_load_explicit(&e->version, memory_order_acquire) == weights->version;
}

/// The entry with this key, made if there is none; NULL where it may be another thread's, or all are taken.
/// `is_mine` tells that it is in state PACKING for the caller, who has to end that.
static entry *find(ck_packed_weights *weights, packed_weight_key key, int *is_mine) {
  for (size_t i = 0, place = place_of(key); i < ENTRIES; i++) {
    entry *e = &weights->entries[(place + i) % ENTRIES];
    int state = atomic_load_explicit(&e->state, memory_order_acquire);
    if (state == FREE) {
      if (!atomic_compare_exchange_strong(&e->state, &state, CLAIMED)) return NULL;
      e->key = key;
      atomic_store_explicit(&e->state, PACKING, memory_order_release);
      *is_mine = 1;
      return e;
    }
    // Whose it will be is not known yet.
    if (state == CLAIMED) return NULL;
    if (!is_same(e->key, key)) continue;
    if (is_current(weights, e)) return e;
    state = RESTING;
    *is_mine = atomic_compare_exchange_strong(&e->state, &state, PACKING);
    return *is_mine ? e : NULL;
  }
  return NULL;
}

const void *packed_weight(packed_weight_key key, size_t size, packed_weight_maker *make,
                          const void *context) {
  ck_packed_weights *weights = used;
  const float *base = key.b.base;
  if (!weights || key.b.is_bf16 || size == 0 || base < weights->base ||
      base >= weights->base + weights->count)
    return NULL;
  int is_mine = 0;
  entry *e = find(weights, key, &is_mine);
  if (!e || !is_mine) return e ? e->memory : NULL;
  if (!e->memory && posix_memalign(&e->memory, 4096, size) == 0)
    atomic_fetch_add(&weights->size, size);
  // Another thread may have packed it since it was found.
  if (e->memory && !is_current(weights, e)) {
    make(e->memory, context);
    atomic_store_explicit(&e->version, weights->version, memory_order_release);
  }
  const void *memory = e->memory;
  atomic_store_explicit(&e->state, RESTING, memory_order_release);
  return memory;
}
