/*
 * The names of a set of records: all of them one behind the other, in full, each with a terminator.
 *
 *   text    model.layers.0.mlp.experts.0.up_proj.weight\0 model.layers.0.mlp.experts.1.up_proj.weight\0
 *           ^prefix        ^suffix                        ^prefix of 0 again: same text, stored before
 *
 * A name is cut behind its first number, and each part points to the first place where the same part
 * was seen. 92,000 names of a mixture of experts share about 60 prefixes and 1,600 suffixes, 60 KB
 * that stay in the cache, so that comparing a name misses no cache of its own. Sharing is best
 * effort (a small direct-mapped cache); comparing is exact whatever was shared.
 *
 * Every 64 names form a group that knows how much all of its names have in common at their start, so
 * that a search by prefix passes over groups.
 */
#ifndef TAREI_NAMES_H
#define TAREI_NAMES_H

#include <stdbool.h>
#include <string.h>

#include "arena.h"
#include "record.h"

#define TAREI_GROUP_COUNT 64u

typedef struct tarei_names {
    tarei_record *records;
    const char *text;
    uint32_t *commons; /* for each group, bytes that its names have in common */
    uint32_t count;
    uint64_t text_size;
} tarei_names;

/* Bytes beyond the last name that may be read, for comparing without care for the end. */
#define TAREI_NAMES_PADDING 64u

/* What all names may take with their terminators: places in the text are 32 bits wide. */
#define TAREI_NAMES_SIZE_MAX (UINT32_MAX - TAREI_NAMES_PADDING)

/* Making them: begin, then add for each record in turn, then end (also after failures). */
typedef struct tarei_names_builder {
    tarei_names *names;
    tarei_memory *memory;
    char *text;
    uint32_t *shared; /* places of parts by their hash */
    uint32_t shared_count;
    uint32_t at;
} tarei_names_builder;

/* `name_size` is what all names take without terminators. False without memory. */
bool tarei_names_begin(tarei_names_builder *builder, tarei_names *names, tarei_arena *arena,
                       tarei_record *records, uint32_t count, uint64_t name_size);

/* The name of record `number`; `escaped` when `name` is JSON text to unescape into `size` bytes. */
void tarei_names_add(tarei_names_builder *builder, uint32_t number, const void *name, uint32_t size,
                     bool escaped);
void tarei_names_end(tarei_names_builder *builder);

static inline tare_string tarei_names_at(const tarei_names *names, const tarei_record *record)
{
    bool is_long = record->suffix_size == TAREI_NAME_LONG;
    size_t size = is_long ? record->suffix : (size_t)record->prefix_size + record->suffix_size;
    return (tare_string){names->text + record->name, size};
}

/* Exactly that name? */
static inline bool tarei_names_equal(const tarei_names *names, const tarei_record *record,
                                     const char *name, size_t size)
{
    size_t prefix_size = record->prefix_size, suffix_size = record->suffix_size;
    if (prefix_size + suffix_size == size && suffix_size != TAREI_NAME_LONG)
        return memcmp(name, names->text + record->prefix, prefix_size) == 0 &&
               memcmp(name + prefix_size, names->text + record->suffix, suffix_size) == 0;
    return suffix_size == TAREI_NAME_LONG && record->suffix == size &&
           memcmp(name, names->text + record->name, size) == 0;
}

/* Byte order, shorter first: <0, 0, >0. */
int tarei_names_compare(const tarei_names *names, uint32_t number, const char *name, size_t size);

#endif
