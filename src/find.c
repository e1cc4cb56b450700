#include "index.h"

#include "line.h"

#ifdef TAREI_HASH
#define USUAL_HASH tarei_line_hash
#else
#define USUAL_HASH(index, name, size) tarei_name_hash_usual(&(index)->seed, name, size)
#endif

uint64_t tarei_find_hash(const tarei_index *index, const char *name, size_t size)
{
    return tarei_line_hash(index, name, size);
}

static const tarei_record *find_sorted(const tarei_index *index, const char *name, size_t size,
                                       uint64_t hash)
{
    const struct tarei_prebuilt *checked = index->checked;
    if (checked != NULL) return tarei_prebuilt_find(checked, name, size, hash);
    const tarei_names *names = index->names;
    uint32_t low = 0, high = names->count;
    bool same = false;
    while (low < high) { /* the first that is not less, so that of equal names the first is found */
        uint32_t middle = low + (high - low) / 2;
        TAREI_COUNT_COMPARISON();
        int order = tarei_names_compare(names, index->sorted[middle], name, size);
        if (order < 0)
            low = middle + 1;
        else
            high = middle, same = order == 0;
    }
    return same ? &names->records[index->sorted[high]] : NULL;
}

/* Whether that is the name of the record at that place of a line. Parts are hot; the record and the
 * full name of a large table are looked at only where there is no pair. */
static bool has_name(const tarei_index *index, const tarei_line *line, uint32_t at, uint32_t number,
                     const char *name, size_t size)
{
    tarei_pair pair = tarei_index_is_small(index) ? TAREI_PAIR_NONE : line->large.pairs[at];
    TAREI_COUNT_COMPARISON();
    if (pair == TAREI_PAIR_NONE)
        return tarei_line_has_name(index, index->records + number - 1, name, size);
    tarei_part prefix = index->prefixes[pair & 0xFFFF], suffix = index->suffixes[pair >> 16];
    prefix.size &= ~TAREI_PART_LONG, suffix.size &= ~TAREI_PART_LONG;
    return (uint64_t)prefix.size + suffix.size == size &&
           tarei_names_same(name, index->text + prefix.place, prefix.size) &&
           tarei_names_same(name + prefix.size, index->text + suffix.place, suffix.size);
}

/* Everything that the short paths leave out. */
__attribute__((noinline)) static const tarei_record *find_anywhere(const tarei_index *index,
                                                                   const char *name, size_t size,
                                                                   uint64_t hash)
{
    if (index->sorted != NULL) return find_sorted(index, name, size, hash);
    const tarei_line *line = tarei_line_home(index, hash);
    for (uint32_t reach = 0; reach < index->reach; reach++, line++) {
        TAREI_COUNT_LINE(line);
        tarei_places places = tarei_line_match(index, line, hash);
        for (; places != 0; places &= places - 1) {
            uint32_t at = tarei_places_first(places), number = tarei_line_number(index, line, at);
            if (number == 0) continue; /* a free place looks like a tag of zeros */
            if (has_name(index, line, at, number, name, size)) return index->records + number - 1;
        }
        if (!tarei_line_overflowed(index, line, hash)) break;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Small tables: names of usual size, decided in the home line by the first tag that fits
 */

/* Whether `name`, of 17 to 64 bytes, is the text at `stored`. The branch goes as in its hash. */
static inline bool same_whole(const char *name, size_t size, const char *stored)
{
    TAREI_COUNT_COMPARISON();
    size_t last = size - 16;
    tarei_window equal =
        tarei_window_equal(name, stored) & tarei_window_equal(name + last, stored + last);
    if (size > 32)
        equal &= tarei_window_equal(name + 16, stored + 16) &
                 tarei_window_equal(name + last - 16, stored + last - 16);
    return tarei_window_full(equal);
}

static inline const tarei_record *find_small(const tarei_index *index, const char *name,
                                             size_t size, uint64_t hash)
{
    const tarei_line *line = tarei_line_home_small(index, hash);
    TAREI_COUNT_LINE(line);
    tarei_places places = tarei_line_match_small(line->small.tags, (uint16_t)(hash >> 48));
    if (places == 0 && !tarei_line_overflowed_small(line, hash)) return NULL;
    if (places != 0) {
        uint32_t at = tarei_places_first(places);
        uint32_t where = line->small.where[at] - (uint32_t)(size - 1);
        /* Other names than usual ones have 0 there, which no size fits here. */
        if (where % 64 == 0 && same_whole(name, size, index->text + where / 64))
            return index->records + (line->small.numbers[at] & (TAREI_SMALL_MARK - 1u)) - 1;
    }
    return find_anywhere(index, name, size, hash);
}

/* ------------------------------------------------------------------------------------------------
 * Large tables: names of 16 bytes or more, with parts of usual size, decided likewise
 */

/* 16 bytes of which all but the first, or last, `kept` are ones: windows into zeros among ones. */
static const unsigned char beyond[48] __attribute__((aligned(16))) = {
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};

static inline tarei_window beyond_first(size_t kept)
{
    return tarei_window_at((const char *)beyond + 32 - kept);
}

static inline tarei_window beyond_last(size_t kept)
{
    return tarei_window_at((const char *)beyond + kept);
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
    TAREI_COUNT_COMPARISON();
    tarei_window head = tarei_window_equal(name, prefix);
    if (prefix_size <= 16)
        head |= beyond_first(prefix_size);
    else
        head &= tarei_window_equal(name + prefix_size - 16, prefix + prefix_size - 16);
    const char *end = name + size - 16;
    tarei_window tail = tarei_window_equal(end, suffix + suffix_size - 16);
    if (suffix_size < 16) return tarei_window_full(head & (tail | beyond_last(suffix_size)));
    size_t last = suffix_size - 16, middle = last < 16 ? last : 16;
    const char *start = end - last;
    tail &= tarei_window_equal(start, suffix) & tarei_window_equal(start + middle, suffix + middle);
    return tarei_window_full(head & tail);
}

static inline const tarei_record *find_large(const tarei_index *index, const char *name,
                                             size_t size, uint64_t hash)
{
    const tarei_line *line = tarei_line_home_large(index, hash);
    TAREI_COUNT_LINE(line);
    tarei_places places = tarei_line_match_large(line, (uint32_t)(hash >> 32), index->tag_mask);
    if (places == 0 && !tarei_line_overflowed_large(index, line, hash)) return NULL;
    if (places != 0) {
        uint32_t at = tarei_places_first(places);
        tarei_pair pair = line->large.pairs[at];
        const tarei_part prefix = index->prefixes[pair & 0xFFFF];
        const tarei_part suffix = index->suffixes[pair >> 16];
        /* Long parts have sizes beyond any that passes here; so has the part of no name. */
        if (size - 16 <= TAREI_PREFIX_SHORT + TAREI_SUFFIX_SHORT - 16 &&
            (uint64_t)prefix.size + suffix.size == size &&
            same_pair(name, size, index->text + prefix.place, prefix.size,
                      index->text + suffix.place, suffix.size))
            return index->records + (line->large.keys[at] & index->number_mask) - 1;
    }
    return find_anywhere(index, name, size, hash);
}

/* ------------------------------------------------------------------------------------------------
 * Either. Functions of their own: together they would need more registers than there are.
 */

#define APART __attribute__((noinline))

APART const tarei_record *tarei_find_hashed(const tarei_index *index, const char *name, size_t size,
                                            uint64_t hash)
{
    if (!tarei_index_is_small(index)) return find_large(index, name, size, hash);
    if (tarei_name_is_usual(size)) return find_small(index, name, size, hash);
    return find_anywhere(index, name, size, hash);
}

APART const tarei_record *tarei_find_unusual(const tarei_index *index, const char *name,
                                             size_t size)
{
    return tarei_find_hashed(index, name, size, tarei_line_hash(index, name, size));
}

APART const tarei_record *tarei_find_small(const tarei_index *index, const char *name, size_t size)
{
    return find_small(index, name, size, USUAL_HASH(index, name, size));
}

APART const tarei_record *tarei_find_large(const tarei_index *index, const char *name, size_t size)
{
    return find_large(index, name, size, USUAL_HASH(index, name, size));
}

/* ------------------------------------------------------------------------------------------------
 * Many
 */

#define BATCH 16u

APART static size_t find_many_small(const tarei_index *index, const tare_string *wanted,
                                    size_t count, const tarei_record **out)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = wanted[i].data;
        size_t size = wanted[i].size;
        out[i] = tarei_name_is_usual(size)
                     ? find_small(index, name, size, USUAL_HASH(index, name, size))
                     : tarei_find_unusual(index, name, size);
        found += out[i] != NULL;
    }
    return found;
}

size_t tarei_find_many(const tarei_index *index, const tare_string *wanted, size_t count,
                       const tarei_record **out)
{
    const struct tarei_prebuilt *checked = index->checked;
    if (checked != NULL) return tarei_prebuilt_find_many(checked, wanted, count, out);
    if (tarei_index_is_small(index)) return find_many_small(index, wanted, count, out);
    size_t found = 0;
    uint64_t hashes[BATCH];
    for (size_t at = 0; at < count; at += BATCH) {
        size_t batch = count - at < BATCH ? count - at : BATCH;
        for (size_t i = 0; i < batch; i++) {
            hashes[i] = tarei_line_hash(index, wanted[at + i].data, wanted[at + i].size);
            __builtin_prefetch(tarei_line_home_large(index, hashes[i]));
        }
        for (size_t i = 0; i < batch; i++) {
            const tare_string name = wanted[at + i];
            out[at + i] = find_large(index, name.data, name.size, hashes[i]);
            found += out[at + i] != NULL;
        }
    }
    return found;
}
