/*
 * The record of one name: all that a find touches beside the table, in half a cache line.
 *
 *   byte  0        8       12      16      20        24        28            30            32
 *         | offset | layout | shard | name  | prefix  | suffix  | prefix_size | suffix_size |
 *
 * Records hold places, never pointers, so that an array of them can be moved, shared or mapped.
 * The full name stands at `name` in the text of its names (names.h). It is also the text at
 * `prefix` followed by the text at `suffix`, which other names with the same parts point to as well:
 * a find compares there, because text shared by thousands of names is in the cache.
 *
 * Metadata entries are records too, so that one index serves both: their `offset` is the place of
 * the value in the model's values, their `layout` its size.
 */
#ifndef TAREI_RECORD_H
#define TAREI_RECORD_H

#include <stdint.h>

#include "tare.h"

struct tare_tensor {
    uint64_t offset; /* bytes from the start of the shard */
    uint32_t layout; /* place of its tarei_layout, in units of 8 bytes */
    uint32_t shard;
    uint32_t name;
    uint32_t prefix;
    uint32_t suffix; /* of a long name: its size */
    uint16_t prefix_size;
    uint16_t suffix_size; /* TAREI_NAME_LONG: the name is not in parts */
};

typedef struct tare_tensor tarei_record;

_Static_assert(sizeof(tarei_record) == 32, "two records fill one cache line");

#define TAREI_NAME_LONG UINT16_MAX
#define TAREI_RECORD_COUNT_MAX (UINT32_C(1) << 30)

/* dtype and shape, shared by the tensors that have the same. */
typedef struct tarei_layout {
    uint64_t size; /* bytes */
    uint32_t dtype;
    uint32_t rank;
    uint64_t shape[]; /* slowest dimension first */
} tarei_layout;

_Static_assert(sizeof(tarei_layout) % 8 == 0, "layouts are placed in units of 8 bytes");

#endif
