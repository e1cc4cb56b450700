/*
 * The names of a set of records: all of them one behind the other, in full, each with a terminator,
 * and the parts that many of them share.
 *
 *   text  model.layers.0.mlp.up_proj.weight\0model.layers.0.mlp.down_proj.weight\0model.layers.1.m
 *         |<- prefix 1 ->|<- suffix 1 ---->| |<- prefix 1 ->|<- suffix 2 ------>| |<- prefix 2 ->|
 *
 * A name is cut behind its first number. A part is the place where its text was first seen; a name
 * is a pair of parts. 92,000 names of a mixture of experts are made of about 60 prefixes and 1,600
 * suffixes: 60 KB of text and 13 KB of parts, which stay in the cache, so that comparing a name
 * misses no cache of its own. Sharing is best effort, comparing is exact whatever was shared: a
 * text may have several parts, and a name without a pair (when part numbers have run out, or a part
 * is too long) is compared with its full text.
 *
 * Every 64 names form a group, and every 64 groups a wide one. Each knows how much all of its names
 * have in common at their start, so that a search by prefix passes over groups.
 */
#ifndef TAREI_NAMES_H
#define TAREI_NAMES_H

#include <stdbool.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TAREI_NO_SIMD)
#include <emmintrin.h>
#define TAREI_SSE2 1
#endif

#include "arena.h"
#include "check.h"
#include "record.h"

#define TAREI_GROUP_COUNT 64u
#define TAREI_GROUPS_COUNT 4096u /* as many groups as a group has names */

/* Bytes before the first name and behind the last that may be read, so that stored text can be
 * compared in words and windows without care for its ends. */
#define TAREI_NAMES_PADDING UINT64_C(64)

/* What all names may take with their terminators: places in the text are 32 bits wide. */
#define TAREI_NAMES_SIZE_MAX (UINT32_MAX - 2 * TAREI_NAMES_PADDING)

typedef struct tarei_part {
    uint32_t place;
    uint32_t size; /* TAREI_PART_LONG is added beyond what find.c compares in its short path */
} tarei_part;

#define TAREI_PART_LONG UINT32_C(0x80000000)
#ifndef TAREI_PART_SIZE_MAX /* a name with a larger part has no pair, as tests want some */
#define TAREI_PART_SIZE_MAX (TAREI_PART_LONG - 1)
#endif
#define TAREI_PREFIX_SHORT 32u
#define TAREI_SUFFIX_SHORT 48u

/* Prefix number in the low half, suffix number in the high half; both start at 1. */
typedef uint32_t tarei_pair;
#define TAREI_PAIR_NONE 0u

typedef struct tarei_names {
    tarei_record *records; /* `count`, and one more whose name is where the last name ends */
    const char *text;
    const tarei_part *prefixes, *suffixes; /* number 0 is the part of no name */
    uint32_t *commons;                     /* for each group, bytes its names have in common */
    uint32_t *wide_commons;                /* for each 64 groups */
    uint32_t count;
    uint64_t text_size;
    uint64_t parts_size;
} tarei_names;

/* While names are taken up: the parts of one side. */
typedef struct tarei_side {
    tarei_part *parts;
    uint16_t *cache; /* part numbers by hash of the text */
    uint32_t count;
    uint32_t limit;
    uint32_t cache_count;
} tarei_side;

/* Making names: begin, then add for each record in turn, then end (also after failures). */
typedef struct tarei_names_builder {
    tarei_names *names;
    tarei_memory *memory;
    char *text;
    const char *group; /* the first name of the group */
    uint16_t *follows; /* for each suffix, the suffix that last came behind it */
    tarei_side prefixes, suffixes;
    uint32_t prefix, suffix; /* of the name before */
    uint32_t at;
} tarei_names_builder;

/* `name_size` is what all names take without terminators, at most TAREI_NAMES_SIZE_MAX with them;
 * `records` has room for one more. False without memory. */
bool tarei_names_begin(tarei_names_builder *builder, tarei_names *names, tarei_arena *arena,
                       tarei_record *records, uint32_t count, uint64_t name_size);

/* The name of record `number`; `escaped` when `name` is JSON text to unescape into `size` bytes. */
tarei_pair tarei_names_add(tarei_names_builder *builder, uint32_t number, const void *name,
                           uint32_t size, bool escaped);

/* Keeps the parts that were made; false without memory. */
bool tarei_names_end(tarei_names_builder *builder, tarei_arena *arena);

static inline tare_string tarei_names_at(const tarei_names *names, const tarei_record *record)
{
    return (tare_string){names->text + record->name, record[1].name - record->name - 1};
}

/* The same for whoever need not be quick: empty where a record that is not trusted leads outside of
 * the text, or to what has no terminator. */
static inline tare_string tarei_names_get(const tarei_names *names, const tarei_record *record)
{
    uint32_t place = tarei_once_32(&record->name), end = tarei_once_32(&record[1].name);
    if (place >= end || end > names->text_size || names->text[end - 1] != 0)
        return (tare_string){"", 0};
    return (tare_string){names->text + place, end - place - 1};
}

/* Byte order, shorter first: <0, 0, >0. */
int tarei_names_compare(const tarei_names *names, uint32_t number, const char *name, size_t size);

/* ------------------------------------------------------------------------------------------------
 * Comparing few bytes, inline: 16 at a time, the last window overlapping the one before.
 */

/* How a vector is passed depends on the target, of which gcc warns; these calls are all inlined. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

typedef int8_t tarei_window __attribute__((vector_size(16)));

static inline tarei_window tarei_window_at(const char *text)
{
    tarei_window window;
    memcpy(&window, text, sizeof window);
    return window;
}

/* Bytes that are equal as ones, others as zeros. */
static inline tarei_window tarei_window_equal(const char *a, const char *b)
{
    return tarei_window_at(a) == tarei_window_at(b);
}

/* Whether all bytes are ones. */
static inline bool tarei_window_full(tarei_window window)
{
#ifdef TAREI_SSE2
    return _mm_movemask_epi8((__m128i)window) == 0xFFFF;
#else
    uint64_t halves[2];
    memcpy(halves, &window, sizeof halves);
    return (halves[0] & halves[1]) == UINT64_MAX;
#endif
}

/* Reads nothing outside the `size` bytes of either; any pointer will do at size 0. */
static inline bool tarei_names_same(const char *a, const char *b, size_t size)
{
    if (size >= 16) {
        size_t last = size - 16;
        tarei_window equal = tarei_window_equal(a + last, b + last);
        for (size_t i = 0; i < last; i += 16) equal &= tarei_window_equal(a + i, b + i);
        return tarei_window_full(equal);
    }
    if (size >= 8) {
        size_t last = size - 8;
        return ((tarei_load_64(a) ^ tarei_load_64(b)) |
                (tarei_load_64(a + last) ^ tarei_load_64(b + last))) == 0;
    }
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i]) return false;
    return true;
}

#endif
