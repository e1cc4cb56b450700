/*
 * Memory of one model: the caller's hooks, a count of what is held, and two shapes of storage.
 *
 *   arena   bump storage for what never grows or moves; freed as a whole
 *
 *           chunk     [ taken | taken | pad | taken |  free ........ | footer ]
 *                                                    ^ used          ^ links to the chunk before
 *
 *   buffer  one growing array; growing moves it, so nothing may point into it until it is done
 */
#ifndef TAREI_ARENA_H
#define TAREI_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tare.h"

typedef struct tarei_memory {
    tare_allocator hooks;
    uint64_t held_size; /* bytes taken and not given back */
} tarei_memory;

/* `hooks` NULL is malloc and free. */
void tarei_memory_init(tarei_memory *memory, const tare_allocator *hooks);

/* NULL when there is none. A size of 0 gives memory too, which makes empty and absent differ. */
void *tarei_memory_take(tarei_memory *memory, uint64_t size, size_t alignment);
void tarei_memory_give(tarei_memory *memory, void *taken, uint64_t size, size_t alignment);

typedef struct tarei_arena {
    tarei_memory *memory;
    struct tarei_chunk *last;
} tarei_arena;

void tarei_arena_init(tarei_arena *arena, tarei_memory *memory);
void *tarei_arena_take(tarei_arena *arena, uint64_t size, size_t alignment);
void tarei_arena_free(tarei_arena *arena);

typedef struct tarei_buffer {
    void *data;
    uint64_t size; /* bytes in use */
    uint64_t capacity;
} tarei_buffer;

#define TAREI_BUFFER_ALIGNMENT 64

/* Makes room for `more` bytes beyond size, growing by half at least; false without memory. */
bool tarei_buffer_reserve(tarei_buffer *buffer, tarei_memory *memory, uint64_t more);
/* Gives back room that growing left unused, but for `spare`, if that is much
 * and there is memory to move. */
void tarei_buffer_trim(tarei_buffer *buffer, tarei_memory *memory, uint64_t spare);
void tarei_buffer_free(tarei_buffer *buffer, tarei_memory *memory);

#endif
