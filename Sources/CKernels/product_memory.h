// The room in which a thread packs the operands of its products.
#ifndef CKERNELS_PRODUCT_MEMORY_H
#define CKERNELS_PRODUCT_MEMORY_H

#include <stddef.h>

/// At least `size` bytes of the calling thread, the same every time; pages never written take no
/// memory.
void *product_memory(size_t size);

#endif
