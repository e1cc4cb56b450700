/*
 * The record of one name: where its bytes are, in a quarter of a cache line.
 *
 *   byte  0                            8        12     16
 *         | shard: 18 | offset: 46 bits | layout | name |
 *
 * Records hold places, never pointers, so that an array of them can be moved, shared or mapped. The
 * name starts at `name` in the text of its names (names.h) and ends one byte before the name of the
 * record behind it; one record more than there are names tells where the last one ends.
 *
 * Metadata entries are records too, so that one index serves both: their offset is the place of the
 * value in the model's values, their layout its size.
 */
#ifndef TAREI_RECORD_H
#define TAREI_RECORD_H

#include <stdint.h>

#include "tare.h"

struct tare_tensor {
    uint64_t where;  /* shard, and bytes from its start */
    uint32_t layout; /* place of its tarei_layout, in units of 8 bytes */
    uint32_t name;
};

typedef struct tare_tensor tarei_record;

_Static_assert(sizeof(tarei_record) == 16, "four records fill one cache line");

#define TAREI_OFFSET_BITS 46u /* 64 TiB a shard */
#define TAREI_OFFSET_MAX ((UINT64_C(1) << TAREI_OFFSET_BITS) - 1)
#define TAREI_SHARD_COUNT_MAX (UINT32_C(1) << (64 - TAREI_OFFSET_BITS))
#define TAREI_RECORD_COUNT_MAX (UINT32_C(1) << 30)

static inline uint64_t tarei_record_where(uint32_t shard, uint64_t offset)
{
    return (uint64_t)shard << TAREI_OFFSET_BITS | offset;
}

static inline uint64_t tarei_record_offset(const tarei_record *record)
{
    return record->where & TAREI_OFFSET_MAX;
}

static inline uint32_t tarei_record_shard(const tarei_record *record)
{
    return (uint32_t)(record->where >> TAREI_OFFSET_BITS);
}

/* dtype and shape, shared by the tensors that have the same. */
typedef struct tarei_layout {
    uint64_t size; /* bytes */
    uint32_t dtype;
    uint32_t rank;
    uint64_t shape[]; /* slowest dimension first */
} tarei_layout;

_Static_assert(sizeof(tarei_layout) % 8 == 0, "layouts are placed in units of 8 bytes");

#endif
