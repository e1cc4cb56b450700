/* The memory of an instance: below what JavaScript puts behind it. */
#ifndef TARE_WASM_HEAP_H
#define TARE_WASM_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#define HEAP_ALIGNMENT 64u

/* At a multiple of that; NULL without memory. */
void *heap_take(size_t size);
void heap_give(void *memory);

/* Makes room for so many bytes that follow each other. */
bool heap_reserve(size_t size);

/* Everything in use is below. */
size_t heap_top(void);

#endif
