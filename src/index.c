#include "index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#if defined(__SSE2__) && !defined(TAREI_NO_SIMD)
#include <emmintrin.h>
#endif

#include "sort.h"

/* Tests compile this file again with a hash that collides. */
#ifndef TAREI_HASH
#define TAREI_HASH XXH3_64bits_withSeed
#endif

uint64_t tarei_index_hash(const tarei_index *index, const char *name, size_t size)
{
    return TAREI_HASH(name, size, index->seed);
}

/* ------------------------------------------------------------------------------------------------
 * Finding
 */

/* One bit for each key that equals `tag` where `mask` has bits. */
static inline uint32_t match(const uint32_t *keys, uint32_t tag, uint32_t mask)
{
#if defined(__SSE2__) && !defined(TAREI_NO_SIMD)
    const __m128i masks = _mm_set1_epi32((int)mask), tags = _mm_set1_epi32((int)(tag & mask));
    __m128i low = _mm_load_si128((const void *)keys),
            high = _mm_load_si128((const void *)(keys + 4));
    low = _mm_cmpeq_epi32(_mm_and_si128(low, masks), tags);
    high = _mm_cmpeq_epi32(_mm_and_si128(high, masks), tags);
    __m128i both = _mm_packs_epi16(_mm_packs_epi32(low, high), _mm_setzero_si128());
    return (uint32_t)_mm_movemask_epi8(both);
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < TAREI_LINE_COUNT; i++)
        found |= (uint32_t)(((keys[i] ^ tag) & mask) == 0) << i;
    return found;
#endif
}

static inline uint32_t home_line(uint64_t hash, uint32_t range)
{
    return (uint32_t)((uint64_t)(uint32_t)hash * range >> 32);
}

static inline uint32_t mark_of(const tarei_index *index)
{
    return index->number_mask + 1;
}

static inline bool overflowed(const tarei_index *index, const tarei_line *line)
{
    return (line->keys[TAREI_LINE_COUNT - 1] & mark_of(index)) != 0;
}

/* The full name of a record, whatever its pair. */
static bool record_has_name(const tarei_index *index, const tarei_record *record, const char *name,
                            size_t size)
{
    tare_string stored = tarei_names_at(index->names, record);
    return stored.size == size && tarei_names_same(name, stored.data, size);
}

static const tarei_record *find_sorted(const tarei_index *index, const char *name, size_t size)
{
    const tarei_names *names = index->names;
    uint32_t low = 0, high = names->count;
    while (low < high) { /* the first that is not less, so that of equal names the first is found */
        uint32_t middle = low + (high - low) / 2;
        if (tarei_names_compare(names, index->sorted[middle], name, size) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == names->count) return NULL;
    uint32_t number = index->sorted[low];
    return tarei_names_compare(names, number, name, size) == 0 ? &names->records[number] : NULL;
}

/* Everything that the short path leaves out. */
__attribute__((noinline)) static const tarei_record *find_anywhere(const tarei_index *index,
                                                                   const char *name, size_t size,
                                                                   uint64_t hash)
{
    if (index->sorted != NULL) return find_sorted(index, name, size);
    const tarei_line *line = index->lines + home_line(hash, index->range);
    for (uint32_t reach = 0; reach < index->reach; reach++, line++) {
        uint32_t found = match(line->keys, (uint32_t)(hash >> 32), index->tag_mask);
        for (; found != 0; found &= found - 1) {
            uint32_t number = line->keys[__builtin_ctz(found)] & index->number_mask;
            if (number == 0) continue; /* a free key looks like a tag of zeros */
            const tarei_record *record = &index->records[number - 1];
            if (record_has_name(index, record, name, size)) return record;
        }
        if (!overflowed(index, line)) break;
    }
    return NULL;
}

/* 16 bytes of which the first, or last, `kept` are ones: windows into ones between zeros. */
static const unsigned char ones[48] __attribute__((aligned(16))) = {
    [16] = 255, [17] = 255, [18] = 255, [19] = 255, [20] = 255, [21] = 255, [22] = 255, [23] = 255,
    [24] = 255, [25] = 255, [26] = 255, [27] = 255, [28] = 255, [29] = 255, [30] = 255, [31] = 255};

static inline tarei_window keep_first(size_t kept)
{
    return tarei_window_at((const char *)ones + 32 - kept);
}

static inline tarei_window keep_last(size_t kept)
{
    return tarei_window_at((const char *)ones + kept);
}

/*
 * Whether `name` is the text of `prefix` followed by that of `suffix`, which together have its
 * size. size >= 16, the prefix has up to TAREI_PREFIX_SHORT bytes, the suffix up to
 * TAREI_SUFFIX_SHORT. Two windows cover the prefix, three the suffix; where a part is shorter than
 * its windows they overlap, and where it is shorter than one the bytes beyond it are masked. Reads
 * no byte outside `name`, and up to 16 around stored text.
 */
static inline bool same_pair(const char *name, size_t size, const char *prefix, size_t prefix_size,
                             const char *suffix, size_t suffix_size)
{
    tarei_window head = tarei_window_at(name) ^ tarei_window_at(prefix);
    if (prefix_size <= 16) {
        head &= keep_first(prefix_size);
    } else {
        size_t last = prefix_size - 16;
        head |= tarei_window_at(name + last) ^ tarei_window_at(prefix + last);
    }
    size_t kept = suffix_size < 16 ? suffix_size : 16, last = suffix_size - kept;
    size_t middle = last < 16 ? last : 16;
    const char *a = name + size - 16 - last, *b = suffix + suffix_size - 16 - last;
    tarei_window tail = (tarei_window_at(a) ^ tarei_window_at(b)) |
                        (tarei_window_at(a + middle) ^ tarei_window_at(b + middle)) |
                        (tarei_window_at(a + last) ^ tarei_window_at(b + last));
    return tarei_window_zero(head | (tail & keep_last(kept)));
}

/* The short path takes nearly every find: 16 bytes or more, parts of usual size, decided in the
 * home line by the first tag that fits. */
static inline const tarei_record *find(const tarei_index *index, const char *name, size_t size,
                                       uint64_t hash)
{
    const tarei_line *line = index->lines + home_line(hash, index->range);
    uint32_t found = match(line->keys, (uint32_t)(hash >> 32), index->tag_mask);
    if (found == 0 && !overflowed(index, line)) return NULL;
    if (found != 0) {
        uint32_t at = (uint32_t)__builtin_ctz(found), number = line->keys[at] & index->number_mask;
        tarei_pair pair = line->pairs[at];
        const tarei_part prefix = index->prefixes[pair & 0xFFFF];
        const tarei_part suffix = index->suffixes[pair >> 16];
        /* Long parts have sizes beyond any that passes here; so has the part of no name. */
        if (size - 16 <= TAREI_PREFIX_SHORT + TAREI_SUFFIX_SHORT - 16 &&
            (uint64_t)prefix.size + suffix.size == size &&
            same_pair(name, size, index->text + prefix.place, prefix.size,
                      index->text + suffix.place, suffix.size))
            return index->records + number - 1;
    }
    return find_anywhere(index, name, size, hash);
}

const tarei_record *tarei_index_find(const tarei_index *index, const char *name, size_t size)
{
    return find(index, name, size, TAREI_HASH(name, size, index->seed));
}

const tarei_record *tarei_index_find_hashed(const tarei_index *index, const char *name, size_t size,
                                            uint64_t hash)
{
    return find(index, name, size, hash);
}

#define BATCH 16u

size_t tarei_index_find_many(const tarei_index *index, const tare_string *wanted, size_t count,
                             const tarei_record **out)
{
    size_t found = 0;
    uint64_t hashes[BATCH];
    for (size_t at = 0; at < count; at += BATCH) {
        size_t batch = count - at < BATCH ? count - at : BATCH;
        for (size_t i = 0; i < batch; i++) {
            hashes[i] = TAREI_HASH(wanted[at + i].data, wanted[at + i].size, index->seed);
            __builtin_prefetch(index->lines + home_line(hashes[i], index->range));
        }
        for (size_t i = 0; i < batch; i++) {
            const tare_string name = wanted[at + i];
            const tarei_record *record = find(index, name.data, name.size, hashes[i]);
            out[at + i] = record;
            found += record != NULL;
        }
    }
    return found;
}

/* ------------------------------------------------------------------------------------------------
 * Building
 */

tare_status tarei_index_begin(tarei_index_builder *builder, tarei_index *index,
                              const tarei_names *names, uint64_t seed, tarei_duplicates duplicates,
                              tarei_arena *arena)
{
    uint32_t count = names->count;
    memset(builder, 0, sizeof *builder);
    memset(index, 0, sizeof *index);
    /* Filled to three quarters: a smaller table misses fewer caches. Small ones, which fit in any
     * case, to five eighths, where fewer names stand behind their home line. */
    index->range = count / (count > 16384 ? 6 : 5) + 1;
    index->number_mask = 1;
    while (index->number_mask < count) index->number_mask = index->number_mask * 2 + 1;
    index->tag_mask = ~(index->number_mask * 2 + 1);
    index->seed = seed;
    index->names = names;
    index->text = names->text;
    index->records = names->records;
    index->reach = 1;
    uint32_t behind = count / TAREI_LINE_COUNT + 1; /* more than can run over */
    if (behind > TAREI_REACH_MAX) behind = TAREI_REACH_MAX;
    index->size = ((uint64_t)index->range + behind) * sizeof(tarei_line);
    builder->index = index;
    builder->names = names;
    builder->arena = arena;
    builder->duplicates = duplicates;
    builder->lines = tarei_arena_take(arena, index->size, sizeof(tarei_line));
    builder->pairs = tarei_memory_take(arena->memory, (uint64_t)count * sizeof(tarei_pair),
                                       TAREI_BUFFER_ALIGNMENT);
    if (builder->lines == NULL || builder->pairs == NULL) return TARE_E_MEMORY;
    memset(builder->lines, 0, (size_t)index->size);
    index->lines = builder->lines;
    return TARE_OK;
}

/* Puts a name into the first line with a free key, unless it is there already. */
static tare_status place(tarei_index_builder *builder, uint32_t number, uint64_t hash)
{
    tarei_index *index = builder->index;
    tarei_line *line = builder->lines + home_line(hash, index->range);
    tare_string name = tarei_names_at(index->names, index->records + number);
    for (uint32_t reach = 1; reach <= TAREI_REACH_MAX; reach++, line++) {
        uint32_t found = match(line->keys, (uint32_t)(hash >> 32), index->tag_mask);
        for (; found != 0; found &= found - 1) {
            uint32_t other = line->keys[__builtin_ctz(found)] & index->number_mask;
            if (other == 0 ||
                !record_has_name(index, index->records + other - 1, name.data, name.size))
                continue;
            if (builder->duplicates == TAREI_DUPLICATES_KEEP_FIRST) return TARE_OK;
            builder->same[0] = other - 1, builder->same[1] = number;
            return TARE_E_DUPLICATE;
        }
        uint32_t empty = match(line->keys, 0, UINT32_MAX);
        if (empty != 0) {
            uint32_t at = (uint32_t)__builtin_ctz(empty);
            line->keys[at] = ((uint32_t)(hash >> 32) & index->tag_mask) | (number + 1);
            line->pairs[at] = builder->pairs[number];
            if (reach > index->reach) index->reach = reach;
            return TARE_OK;
        }
        line->keys[TAREI_LINE_COUNT - 1] |= mark_of(index);
    }
    builder->full = true;
    return TARE_OK;
}

tare_status tarei_index_add(tarei_index_builder *builder, uint32_t number, const char *name,
                            uint32_t size, tarei_pair pair)
{
    const tarei_index *index = builder->index;
    uint64_t hash = TAREI_HASH(name, size, index->seed);
    uint64_t *slot = &builder->hashes[number % TAREI_INDEX_AHEAD];
    tare_status status = TARE_OK;
    if (number >= TAREI_INDEX_AHEAD && !builder->full)
        status = place(builder, number - TAREI_INDEX_AHEAD, *slot);
    __builtin_prefetch(builder->lines + home_line(hash, index->range), 1);
    *slot = hash;
    builder->pairs[number] = pair;
    return status;
}

static tare_status place_last(tarei_index_builder *builder)
{
    uint32_t count = builder->names->count;
    uint32_t number = count > TAREI_INDEX_AHEAD ? count - TAREI_INDEX_AHEAD : 0;
    tare_status status = TARE_OK;
    for (; number < count && status == TARE_OK && !builder->full; number++)
        status = place(builder, number, builder->hashes[number % TAREI_INDEX_AHEAD]);
    return status;
}

/* Once more from the start, with another seed. */
static tare_status refill(tarei_index_builder *builder, uint64_t seed)
{
    tarei_index *index = builder->index;
    const tarei_names *names = builder->names;
    memset(builder->lines, 0, (size_t)index->size);
    builder->full = false;
    index->seed = seed;
    index->reach = 1;
    tare_status status = TARE_OK;
    for (uint32_t i = 0; i < names->count && status == TARE_OK && !builder->full; i++) {
        tare_string name = tarei_names_at(names, &names->records[i]);
        status = tarei_index_add(builder, i, name.data, (uint32_t)name.size, builder->pairs[i]);
    }
    return status == TARE_OK && !builder->full ? place_last(builder) : status;
}

tare_status tarei_index_end(tarei_index_builder *builder, tare_status status)
{
    tarei_index *index = builder->index;
    if (status == TARE_OK && !builder->full) status = place_last(builder);
    while (status == TARE_OK && builder->full && index->reseeds < TAREI_RESEEDS_MAX) {
        uint64_t mixed = index->seed + ++index->reseeds;
        status = refill(builder, XXH3_64bits_withSeed(&mixed, sizeof mixed, index->seed));
    }
    if (status == TARE_OK && builder->full) {
        uint32_t reseeds = index->reseeds;
        status = tarei_index_build_sorted(index, builder->names, builder->duplicates,
                                          builder->arena, builder->same);
        index->reseeds = reseeds;
    }
    index->prefixes = builder->names->prefixes;
    index->suffixes = builder->names->suffixes;
    tarei_memory_give(builder->arena->memory, builder->pairs,
                      (uint64_t)builder->names->count * sizeof(tarei_pair), TAREI_BUFFER_ALIGNMENT);
    return status;
}

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    const tarei_names *names = context;
    tare_string name = tarei_names_at(names, &names->records[b]);
    return tarei_names_compare(names, a, name.data, name.size);
}

/* The table of a sorted index: any hash leads to this line, which leads to find_anywhere. */
static const tarei_line everything_elsewhere = {.keys = {[TAREI_LINE_COUNT - 1] = 2}};

static tare_status find_duplicate(const tarei_index *index, tarei_duplicates duplicates,
                                  uint32_t same[2])
{
    const tarei_names *names = index->names;
    bool found = false;
    for (uint32_t i = 1; i < names->count && duplicates != TAREI_DUPLICATES_KEEP_FIRST; i++) {
        uint32_t a = index->sorted[i - 1], b = index->sorted[i];
        bool one_shard =
            tarei_record_shard(&names->records[a]) == tarei_record_shard(&names->records[b]);
        if (duplicates == TAREI_DUPLICATES_REFUSE_IN_SHARD && !one_shard) continue;
        if ((found && b > same[1]) || compare_names(names, a, b) != 0) continue;
        same[0] = a, same[1] = b; /* the first in the file, as the table would find it */
        found = true;
    }
    return found ? TARE_E_DUPLICATE : TARE_OK;
}

tare_status tarei_index_build_sorted(tarei_index *index, const tarei_names *names,
                                     tarei_duplicates duplicates, tarei_arena *arena,
                                     uint32_t same[2])
{
    uint64_t size = (uint64_t)names->count * sizeof(uint32_t);
    memset(index, 0, sizeof *index);
    uint32_t *sorted = tarei_arena_take(arena, size, _Alignof(uint32_t));
    uint32_t *scratch = tarei_memory_take(arena->memory, size, TAREI_BUFFER_ALIGNMENT);
    if (sorted == NULL || scratch == NULL) {
        tarei_memory_give(arena->memory, scratch, size, TAREI_BUFFER_ALIGNMENT);
        return TARE_E_MEMORY;
    }
    for (uint32_t i = 0; i < names->count; i++) sorted[i] = i;
    tarei_sort(sorted, scratch, names->count, compare_names, names);
    tarei_memory_give(arena->memory, scratch, size, TAREI_BUFFER_ALIGNMENT);
    index->lines = &everything_elsewhere;
    index->range = 1;
    index->number_mask = 1;
    index->tag_mask = ~UINT32_C(3);
    index->text = names->text;
    index->records = names->records;
    index->prefixes = names->prefixes;
    index->suffixes = names->suffixes;
    index->sorted = sorted;
    index->names = names;
    index->size = size;
    for (uint32_t left = names->count; left != 0; left /= 2) index->reach++;
    return find_duplicate(index, duplicates, same);
}
