// For measuring where time and memory go. Clocks: one set per thread, read by whoever runs the thread.
#ifndef CKERNELS_METER_H
#define CKERNELS_METER_H

#include <stdint.h>

/// Nanoseconds of a clock that never goes back.
uint64_t ck_nanoseconds(void);

/// Adds to the calling thread's time in matrix products.
void ck_add_product_time(uint64_t nanoseconds);

/// The calling thread's time in matrix products so far, nanoseconds.
uint64_t ck_product_time(void);

/// Gives memory that is free within the process back to the system, where the C library can.
void ck_return_free_memory(void);

#endif
