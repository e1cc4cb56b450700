/*
 * name -> record: a static open-addressing table over the names of a set of records. It sees names
 * only.
 *
 *   index.c   builds the table
 *   find.c    looks names up in it
 *   line.h    what a line of the table holds: eight names, in one line of the cache
 *
 * A find hashes the name, compares the eight tags of the line that the hash names with one or two
 * instructions, and then the name with what the line says of the one that fits: where its text is
 * in small tables, which pair of parts it is made of in large ones. The record is not looked at.
 *
 * Names that would need more than TAREI_REACH_MAX lines are hashed anew with another seed, twice at
 * most; if that fails too, somebody made them collide, and they are sorted and searched in order:
 * no set of names makes building worse than O(n log n), or a find worse than that bound or log2(n)
 * comparisons. docs/adr/0002-index-layout.md tells what else was measured.
 */
#ifndef TAREI_INDEX_H
#define TAREI_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "names.h"
#include "tare.h"

#define TAREI_REACH_MAX 64u
#define TAREI_RESEEDS_MAX 2u

typedef union tarei_line tarei_line;

/* A seed, and the words of XXH3's secret with the seed worked in: see name_hash.h. */
#define TAREI_NAME_SEED_WORDS 8u

typedef struct tarei_name_seed {
    uint64_t words[TAREI_NAME_SEED_WORDS];
    uint64_t seed;
} tarei_name_seed;

/* Sizes of names that have a short path. Source: XXH3 takes them by one formula, and any larger
 * name by others. */
#define TAREI_NAME_USUAL_MIN 17u
#define TAREI_NAME_USUAL_COUNT (64u - 16u)

static inline bool tarei_name_is_usual(size_t size)
{
    return size - TAREI_NAME_USUAL_MIN < TAREI_NAME_USUAL_COUNT;
}

typedef struct tarei_index {
    const tarei_line *lines;
    const char *text;
    const tarei_record *records;
    size_t small_sizes; /* TAREI_NAME_USUAL_COUNT where lines are small ones, else 0 */
    /* Lines that a hash can name, and those behind that they run over into; of small tables that
     * number is a power of two, and this is what it leaves of a place in bytes. */
    uint32_t range;
    uint32_t number_mask, tag_mask; /* of keys in large lines */
    tarei_name_seed seed;
    const tarei_part *prefixes, *suffixes;
    uint32_t reach; /* lines that the worst find looks at */
    uint32_t reseeds;
    const uint32_t *sorted; /* numbers in the order of their names, where hashing was defeated */
    const tarei_names *names;
    uint64_t size; /* bytes */
    /* A table from an index file, which is not trusted: all else here but seed and names leads to
     * it (prebuilt_find.c). */
    const struct tarei_prebuilt *checked;
} tarei_index;

static inline bool tarei_index_is_small(const tarei_index *index)
{
    return index->small_sizes != 0;
}

/* Two records with one name. */
typedef enum tarei_duplicates {
    TAREI_DUPLICATES_REFUSE,
    TAREI_DUPLICATES_KEEP_FIRST,
    TAREI_DUPLICATES_REFUSE_IN_SHARD, /* else keep the first; for sorted tables only */
} tarei_duplicates;

/*
 * Building, in step with the names: begin; add each record in turn as soon as it has its name; end,
 * also after failures. Statuses are TARE_OK, TARE_E_MEMORY, or TARE_E_DUPLICATE with the numbers of
 * two records in `same`, the lower first.
 */
#define TAREI_INDEX_AHEAD 8u

typedef struct tarei_index_builder {
    tarei_index *index;
    const tarei_names *names;
    tarei_arena *arena;
    tarei_line *lines;
    tarei_pair *pairs; /* of all records, for another try */
    tarei_duplicates duplicates;
    bool full; /* a name found no place */
    uint32_t same[2];
    uint64_t hashes[TAREI_INDEX_AHEAD]; /* names are placed some later, when their line is there */
} tarei_index_builder;

tare_status tarei_index_begin(tarei_index_builder *builder, tarei_index *index,
                              const tarei_names *names, uint64_t seed, tarei_duplicates duplicates,
                              tarei_arena *arena);
tare_status tarei_index_add(tarei_index_builder *builder, uint32_t number, const char *name,
                            uint32_t size, tarei_pair pair);

/* `status` is what add returned last; names are complete. */
tare_status tarei_index_end(tarei_index_builder *builder, tare_status status);

/* What follows from the count for keys in large lines. */
void tarei_index_masks(tarei_index *index, uint32_t count);

/* All at once and without a table: for few names, or for names that defeat one. */
tare_status tarei_index_build_sorted(tarei_index *index, const tarei_names *names,
                                     tarei_duplicates duplicates, tarei_arena *arena,
                                     uint32_t same[2]);

/* ------------------------------------------------------------------------------------------------
 * find.c
 */

uint64_t tarei_find_hash(const tarei_index *index, const char *name, size_t size);

/* Names that are not of usual size, in any table, and those that are, in either kind. */
const tarei_record *tarei_find_unusual(const tarei_index *index, const char *name, size_t size);
const tarei_record *tarei_find_small(const tarei_index *index, const char *name, size_t size);
const tarei_record *tarei_find_large(const tarei_index *index, const char *name, size_t size);

/* The record of that name, or NULL. `hash` is tarei_find_hash of the name. */
static inline const tarei_record *tarei_find_name(const tarei_index *index, const char *name,
                                                  size_t size)
{
    if (__builtin_expect(size - TAREI_NAME_USUAL_MIN < index->small_sizes, 1))
        return tarei_find_small(index, name, size);
    if (tarei_name_is_usual(size)) return tarei_find_large(index, name, size);
    return tarei_find_unusual(index, name, size);
}

const tarei_record *tarei_find_hashed(const tarei_index *index, const char *name, size_t size,
                                      uint64_t hash);

/* The same in a table that is not trusted, and an index whose finds all lead there. */
const tarei_record *tarei_prebuilt_find(const struct tarei_prebuilt *prebuilt, const char *name,
                                        size_t size, uint64_t hash);
size_t tarei_prebuilt_find_many(const struct tarei_prebuilt *prebuilt, const tare_string *wanted,
                                size_t count, const tarei_record **out);
void tarei_prebuilt_lead(tarei_index *index, const struct tarei_prebuilt *prebuilt);

/* Many at once, their cache misses overlapped; returns how many were found. */
size_t tarei_find_many(const tarei_index *index, const tare_string *wanted, size_t count,
                       const tarei_record **out);

#endif
