/*
 * One line of the table of an index: a line of the cache that holds eight names. There are two
 * layouts. Few names get the one that takes the fewest instructions, since all they need stays in
 * the cache; many get the one through which a find touches the fewest bytes.
 *
 *   byte  0      2            16           32               64
 *   small | tag 0 | tag 1 ... | number 0 ... | where 0 ...  |    up to TAREI_SMALL_COUNT names
 *   large | key 0 | key 1 ...                | pair 0 ...   |
 *
 * A number is that of the record + 1; 0 is a free place. `where` is the place of the name in the
 * text and its size, if that is usual (index.h). A key is a tag in its high bits, then a mark, then
 * a number, which takes as many bits as the count needs; a pair is that of the name (names.h).
 *
 * A line that was full when a further name came, which then went to the line behind, is marked: in
 * one of its eight numbers, in the highest bit, or in one of its keys. Which one depends on the
 * hash of the name, so that most of the names that are not there stop at such a line too.
 */
#ifndef TAREI_LINE_H
#define TAREI_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "index.h"
#include "name_hash.h"

#define TAREI_LINE_COUNT 8u
#ifndef TAREI_SMALL_COUNT /* tests want large lines for few names too */
#define TAREI_SMALL_COUNT 16384u
#endif
#define TAREI_SMALL_MARK UINT16_C(0x8000)

#ifndef TAREI_COUNT_LINE /* tests count what building and finding look at */
#define TAREI_COUNT_LINE(line) ((void)0)
#define TAREI_COUNT_COMPARISON() ((void)0)
#endif

union tarei_line {
    struct {
        uint16_t tags[TAREI_LINE_COUNT];
        uint16_t numbers[TAREI_LINE_COUNT];
        uint32_t where[TAREI_LINE_COUNT];
    } small;
    struct {
        uint32_t keys[TAREI_LINE_COUNT];
        tarei_pair pairs[TAREI_LINE_COUNT];
    } large;
    _Alignas(64) unsigned char bytes[64];
};

_Static_assert(sizeof(tarei_line) == 64, "a line of the table is a line of the cache");

/* A set of places in a line: two bits for each, of which the lower one counts. */
typedef uint32_t tarei_places;
#define TAREI_PLACES_EACH UINT32_C(0x5555)

static inline uint32_t tarei_places_first(tarei_places places)
{
    return (uint32_t)__builtin_ctz(places) >> 1;
}

/* Places of a small line where that stands in its tags, or numbers. */
static inline tarei_places tarei_line_match_small(const uint16_t *fields, uint16_t wanted)
{
#ifdef TAREI_SSE2
    __m128i all = _mm_load_si128((const void *)fields);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi16(all, _mm_set1_epi16((short)wanted)));
#else
    tarei_places places = 0;
    for (uint32_t i = 0; i < TAREI_LINE_COUNT; i++)
        places |= (uint32_t)(fields[i] == wanted) << 2 * i;
    return places;
#endif
}

/* Places of a large line whose keys are equal to `tag` in the bits of `mask`. */
static inline tarei_places tarei_line_match_large(const tarei_line *line, uint32_t tag,
                                                  uint32_t mask)
{
#ifdef TAREI_SSE2
    const __m128i masks = _mm_set1_epi32((int)mask), tags = _mm_set1_epi32((int)(tag & mask));
    __m128i low = _mm_load_si128((const void *)line->large.keys);
    __m128i high = _mm_load_si128((const void *)(line->large.keys + 4));
    low = _mm_cmpeq_epi32(_mm_and_si128(low, masks), tags);
    high = _mm_cmpeq_epi32(_mm_and_si128(high, masks), tags);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi32(low, high));
#else
    tarei_places places = 0;
    for (uint32_t i = 0; i < TAREI_LINE_COUNT; i++)
        places |= (uint32_t)(((line->large.keys[i] ^ tag) & mask) == 0) << 2 * i;
    return places;
#endif
}

/* ------------------------------------------------------------------------------------------------
 * Either layout, as the index has it
 */

/* Tests compile both with a hash that collides. */
static inline uint64_t tarei_line_hash(const tarei_index *index, const char *name, size_t size)
{
#ifdef TAREI_HASH
    return TAREI_HASH(name, size, index->seed.seed);
#else
    return tarei_name_hash(&index->seed, name, size);
#endif
}

static inline const tarei_line *tarei_line_home_small(const tarei_index *index, uint64_t hash)
{
    return (const void *)((const char *)index->lines + (hash & index->range));
}

static inline const tarei_line *tarei_line_home_large(const tarei_index *index, uint64_t hash)
{
    return index->lines + ((uint64_t)(uint32_t)hash * index->range >> 32);
}

static inline const tarei_line *tarei_line_home(const tarei_index *index, uint64_t hash)
{
    return tarei_index_is_small(index) ? tarei_line_home_small(index, hash)
                                       : tarei_line_home_large(index, hash);
}

/* Whether a name with that hash may be in the lines behind. */
static inline bool tarei_line_overflowed_small(const tarei_line *line, uint64_t hash)
{
    return (line->small.numbers[hash % TAREI_LINE_COUNT] & TAREI_SMALL_MARK) != 0;
}

static inline bool tarei_line_overflowed_large(const tarei_index *index, const tarei_line *line,
                                               uint64_t hash)
{
    return (line->large.keys[hash % TAREI_LINE_COUNT] & (index->number_mask + 1)) != 0;
}

static inline bool tarei_line_overflowed(const tarei_index *index, const tarei_line *line,
                                         uint64_t hash)
{
    return tarei_index_is_small(index) ? tarei_line_overflowed_small(line, hash)
                                       : tarei_line_overflowed_large(index, line, hash);
}

/* Places of the line whose tags fit; free ones may be among them. Step with places &= places - 1.
 */
static inline tarei_places tarei_line_match(const tarei_index *index, const tarei_line *line,
                                            uint64_t hash)
{
    return (tarei_index_is_small(index)
                ? tarei_line_match_small(line->small.tags, (uint16_t)(hash >> 48))
                : tarei_line_match_large(line, (uint32_t)(hash >> 32), index->tag_mask)) &
           TAREI_PLACES_EACH;
}

/* Of the record there, + 1; 0 for a free place. */
static inline uint32_t tarei_line_number(const tarei_index *index, const tarei_line *line,
                                         uint32_t at)
{
    return tarei_index_is_small(index) ? line->small.numbers[at] & (TAREI_SMALL_MARK - 1u)
                                       : line->large.keys[at] & index->number_mask;
}

static inline tarei_places tarei_line_free(const tarei_index *index, const tarei_line *line)
{
    return tarei_index_is_small(index) ? tarei_line_match_small(line->small.numbers, 0)
                                       : tarei_line_match_large(line, 0, UINT32_MAX);
}

/* Whether that is the full name of a record, whatever its pair. */
static inline bool tarei_line_has_name(const tarei_index *index, const tarei_record *record,
                                       const char *name, size_t size)
{
    tare_string stored = tarei_names_at(index->names, record);
    return stored.size == size && tarei_names_same(name, stored.data, size);
}

#endif
