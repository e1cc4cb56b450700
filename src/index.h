/*
 * name -> record number: a static open-addressing table over the names of a set of records. It sees
 * names only.
 *
 *   slot (4 bytes)   | tag: bits of the hash | record number |      all ones: empty
 *
 * The numbers take as many low bits as their count needs; the tag gets the rest. A find looks at the
 * slot that the hash names and at those behind it until the tag fits and the name is equal, or a slot
 * is empty. Names that need more than TAREI_PROBE_MAX slots are hashed anew with another seed, twice
 * at most; if that fails too, somebody made them collide, and they are sorted and searched in order:
 * no set of names makes building worse than O(n log n) or a find worse than the bound or log2(n).
 */
#ifndef TAREI_INDEX_H
#define TAREI_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "names.h"
#include "tare.h"

#define TAREI_PROBE_MAX 64u
#define TAREI_RESEEDS_MAX 2u
#define TAREI_NONE UINT32_MAX

typedef struct tarei_index {
    const uint32_t *slots; /* NULL when `sorted` is not */
    uint32_t mask;
    uint32_t number_mask; /* the bits of a slot that are the number */
    uint64_t seed;
    const uint32_t *sorted; /* numbers in the order of their names */
    uint32_t count;
    uint32_t probe_max; /* slots that the worst find looks at */
    uint32_t reseeds;
    uint64_t size; /* bytes */
} tarei_index;

/* Two records with one name. */
typedef enum tarei_duplicates {
    TAREI_DUPLICATES_REFUSE,
    TAREI_DUPLICATES_KEEP_FIRST,
    TAREI_DUPLICATES_REFUSE_IN_SHARD, /* keep the first unless both are of one shard (sorted only) */
} tarei_duplicates;

/* TARE_OK, TARE_E_MEMORY, or TARE_E_DUPLICATE with the numbers of a pair, the lower first. */
tare_status tarei_index_build(tarei_index *index, const tarei_names *names, uint64_t seed,
                              tarei_duplicates duplicates, tarei_arena *arena, uint32_t pair[2]);

/* The same without a table, for few names or for names that defeat one. */
tare_status tarei_index_build_sorted(tarei_index *index, const tarei_names *names,
                                     tarei_duplicates duplicates, tarei_arena *arena,
                                     uint32_t pair[2]);

uint64_t tarei_index_hash(const tarei_index *index, const char *name, size_t size);

/* The record of that name, or NULL. `hash` is tarei_index_hash of the name. */
const tarei_record *tarei_index_find(const tarei_index *index, const tarei_names *names,
                                     const char *name, size_t size);
const tarei_record *tarei_index_find_hashed(const tarei_index *index, const tarei_names *names,
                                            const char *name, size_t size, uint64_t hash);

/* Many at once, their cache misses overlapped; returns how many were found. */
size_t tarei_index_find_many(const tarei_index *index, const tarei_names *names,
                             const tare_string *wanted, size_t count, const tarei_record **out);

#endif
