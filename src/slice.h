/* A box of a tensor as a sequence of runs, stretches that are contiguous in the tensor; slice.c
 * tells how they are found. */
#ifndef TAREI_SLICE_H
#define TAREI_SLICE_H

#include "prebuilt.h"

/* Dimensions that take two indexes or more: as many as 64-bit counts of elements have room for. */
#define TAREI_SLICE_OUTER_MAX 63u

typedef struct tarei_slice_outer {
    uint64_t extent; /* indexes that are taken */
    uint64_t stride; /* bytes from one to the next */
} tarei_slice_outer;

typedef struct tarei_slice_box {
    tarei_look look;
    const uint64_t *start; /* or NULL */
    const uint64_t *stop;  /* or NULL */
    uint32_t block_count;  /* as of tare_dtype_block_count: what a box must not cut in two */
    uint32_t block_size;
    uint32_t outer_count; /* dimensions that choose a row, the innermost first */
    uint64_t row_count;   /* runs of a row */
    uint64_t row_stride;  /* bytes from one run of a row to the next */
    uint64_t run;         /* bytes of a run */
    uint64_t first;       /* of the first run, bytes from the start of the tensor */
    uint64_t size;        /* bytes of the whole box; if 0, nothing below `block_size` counts */
    tarei_slice_outer outer[TAREI_SLICE_OUTER_MAX];
    uint64_t room[TAREI_PREBUILT_RANK_MAX]; /* for the shape, where it may change meanwhile */
} tarei_slice_box;

/* A run of a box, and how far it is. The first one is {0, 0, box.first}. */
typedef struct tarei_slice_cursor {
    uint64_t row;
    uint64_t column;
    uint64_t row_at; /* first run of the row, bytes from the start of the tensor */
} tarei_slice_cursor;

/* Checks a box; start and stop are borrowed. It points into itself: it cannot be copied. */
tare_status tarei_slice_make(const tare_model *model, const tare_tensor *tensor,
                             const uint64_t *start, const uint64_t *stop, tarei_slice_box *box,
                             tare_error *error);

void tarei_slice_next(const tarei_slice_box *box, tarei_slice_cursor *at);

/* Where a run begins, in bytes from the start of the tensor. */
static inline uint64_t tarei_slice_at(const tarei_slice_box *box, const tarei_slice_cursor *at)
{
    return at->row_at + at->column * box->row_stride;
}

/* How many there are. */
static inline uint64_t tarei_slice_runs(const tarei_slice_box *box)
{
    return box->size != 0 ? box->size / box->run : 0;
}

#endif
