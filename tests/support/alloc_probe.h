/*
 * Allocator hooks that keep account: what is out, whether it came back as it went, and which call
 * is to fail.
 */
#ifndef ALLOC_PROBE_H
#define ALLOC_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "tare.h"

typedef struct alloc_block {
    void *memory;
    size_t size;
    size_t alignment;
} alloc_block;

enum { ALLOC_BLOCK_MAX = 4096 };

typedef struct alloc_probe {
    tare_allocator hooks; /* hand out its address */
    size_t calls;         /* of allocate, refused ones included */
    size_t fail_at;       /* the number of the call to refuse, from 1; 0 refuses none */
    size_t fail_more;     /* how many after it are refused too; SIZE_MAX: all */
    size_t refused;       /* calls so, and those for more than 64 GiB */
    size_t
        mistakes; /* unknown blocks, other sizes, sizes of 0, alignments that are no power of 2 */
    size_t block_count;
    size_t block_size; /* bytes out now */
    size_t peak_size;
    alloc_block blocks[ALLOC_BLOCK_MAX];
} alloc_probe;

/* `probe` must stay where it is. */
void alloc_probe_init(alloc_probe *probe);

#endif
