#include "index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "sort.h"

/* Tests compile this file again with a hash that collides. */
#ifndef TAREI_HASH
#define TAREI_HASH XXH3_64bits_withSeed
#endif

#define EMPTY UINT32_MAX

uint64_t tarei_index_hash(const tarei_index *index, const char *name, size_t size)
{
    return TAREI_HASH(name, size, index->seed);
}

/* The tag must not come from the bits that chose the slot: those are alike in all its neighbours. */
static inline uint32_t tag_of(const tarei_index *index, uint64_t hash)
{
    return (uint32_t)(hash >> 32) & ~index->number_mask;
}

static inline bool tag_fits(const tarei_index *index, uint32_t slot, uint32_t tag)
{
    return ((slot ^ tag) & ~index->number_mask) == 0;
}

static const tarei_record *find_sorted(const tarei_index *index, const tarei_names *names,
                                       const char *name, size_t size)
{
    uint32_t low = 0, high = index->count;
    while (low < high) { /* the first that is not less, so that of equal names the first is found */
        uint32_t middle = low + (high - low) / 2;
        if (tarei_names_compare(names, index->sorted[middle], name, size) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == index->count) return NULL;
    uint32_t number = index->sorted[low];
    return tarei_names_compare(names, number, name, size) == 0 ? &names->records[number] : NULL;
}

static inline const tarei_record *find(const tarei_index *index, const tarei_names *names,
                                       const char *name, size_t size, uint64_t hash)
{
    const uint32_t *slots = index->slots;
    if (slots == NULL) return find_sorted(index, names, name, size);
    uint32_t tag = tag_of(index, hash), mask = index->mask;
    for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
        uint32_t slot = slots[at];
        if (slot == EMPTY) return NULL;
        if (!tag_fits(index, slot, tag)) continue;
        const tarei_record *record = &names->records[slot & index->number_mask];
        if (tarei_names_equal(names, record, name, size)) return record;
    }
}

const tarei_record *tarei_index_find(const tarei_index *index, const tarei_names *names,
                                     const char *name, size_t size)
{
    return find(index, names, name, size, TAREI_HASH(name, size, index->seed));
}

const tarei_record *tarei_index_find_hashed(const tarei_index *index, const tarei_names *names,
                                            const char *name, size_t size, uint64_t hash)
{
    return find(index, names, name, size, hash);
}

/* Starts loading the record that the first fitting tag names: the one wanted, nearly always. */
static inline void prefetch_record(const tarei_index *index, const tarei_names *names, uint64_t hash)
{
    uint32_t tag = tag_of(index, hash), at = (uint32_t)hash & index->mask;
    while (index->slots[at] != EMPTY && !tag_fits(index, index->slots[at], tag))
        at = (at + 1) & index->mask;
    if (index->slots[at] != EMPTY)
        __builtin_prefetch(&names->records[index->slots[at] & index->number_mask]);
}

#define GROUP 16u

size_t tarei_index_find_many(const tarei_index *index, const tarei_names *names,
                             const tare_string *wanted, size_t count, const tarei_record **out)
{
    size_t found = 0;
    uint64_t hashes[GROUP];
    for (size_t at = 0; at < count; at += GROUP) {
        size_t group = count - at < GROUP ? count - at : GROUP;
        const tare_string *name = wanted + at;
        if (index->slots != NULL) {
            for (size_t i = 0; i < group; i++) {
                hashes[i] = TAREI_HASH(name[i].data, name[i].size, index->seed);
                __builtin_prefetch(&index->slots[(uint32_t)hashes[i] & index->mask]);
            }
            for (size_t i = 0; i < group; i++) prefetch_record(index, names, hashes[i]);
        }
        for (size_t i = 0; i < group; i++) {
            uint64_t hash = index->slots != NULL ? hashes[i] : 0;
            out[at + i] = find(index, names, name[i].data, name[i].size, hash);
            found += out[at + i] != NULL;
        }
    }
    return found;
}

/* Puts all names into the table. *full: a name found no slot within the bound. */
static tare_status fill(tarei_index *index, uint32_t *slots, const tarei_names *names,
                        tarei_duplicates duplicates, uint32_t pair[2], bool *full)
{
    *full = false;
    memset(slots, 0xFF, ((size_t)index->mask + 1) * sizeof *slots);
    index->probe_max = 1;
    for (uint32_t number = 0; number < names->count; number++) {
        tare_string name = tarei_names_at(names, &names->records[number]);
        uint64_t hash = tarei_index_hash(index, name.data, name.size);
        uint32_t tag = tag_of(index, hash), at = (uint32_t)hash & index->mask, probes = 1;
        for (; slots[at] != EMPTY; at = (at + 1) & index->mask, probes++) {
            uint32_t other = slots[at] & index->number_mask;
            if (tag_fits(index, slots[at], tag) &&
                tarei_names_equal(names, &names->records[other], name.data, name.size)) {
                pair[0] = other, pair[1] = number;
                if (duplicates == TAREI_DUPLICATES_REFUSE) return TARE_E_DUPLICATE;
                break;
            }
            if (probes == TAREI_PROBE_MAX - 1) {
                *full = true;
                return TARE_OK;
            }
        }
        if (slots[at] == EMPTY) slots[at] = tag | number;
        /* A miss that starts here also looks at the empty slot behind. */
        if (probes + 1 > index->probe_max) index->probe_max = probes + 1;
    }
    return TARE_OK;
}

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    const tarei_names *names = context;
    tare_string name = tarei_names_at(names, &names->records[b]);
    return tarei_names_compare(names, a, name.data, name.size);
}

tare_status tarei_index_build_sorted(tarei_index *index, const tarei_names *names,
                                     tarei_duplicates duplicates, tarei_arena *arena,
                                     uint32_t pair[2])
{
    uint64_t size = (uint64_t)names->count * sizeof(uint32_t);
    uint32_t *sorted = tarei_arena_take(arena, size, TAREI_BUFFER_ALIGNMENT);
    uint32_t *scratch = tarei_memory_take(arena->memory, size, TAREI_BUFFER_ALIGNMENT);
    if (sorted == NULL || scratch == NULL) {
        tarei_memory_give(arena->memory, scratch, size, TAREI_BUFFER_ALIGNMENT);
        return TARE_E_MEMORY;
    }
    for (uint32_t i = 0; i < names->count; i++) sorted[i] = i;
    tarei_sort(sorted, scratch, names->count, compare_names, names);
    tarei_memory_give(arena->memory, scratch, size, TAREI_BUFFER_ALIGNMENT);
    index->sorted = sorted;
    index->slots = NULL;
    index->count = names->count;
    index->size = size;
    index->probe_max = 0;
    for (uint32_t left = names->count; left != 0; left /= 2) index->probe_max++;
    for (uint32_t i = 1; i < names->count; i++) {
        if (compare_names(names, sorted[i - 1], sorted[i]) != 0) continue;
        pair[0] = sorted[i - 1], pair[1] = sorted[i];
        if (duplicates == TAREI_DUPLICATES_REFUSE) return TARE_E_DUPLICATE;
        if (duplicates == TAREI_DUPLICATES_REFUSE_IN_SHARD &&
            names->records[pair[0]].shard == names->records[pair[1]].shard)
            return TARE_E_DUPLICATE;
    }
    return TARE_OK;
}

tare_status tarei_index_build(tarei_index *index, const tarei_names *names, uint64_t seed,
                              tarei_duplicates duplicates, tarei_arena *arena, uint32_t pair[2])
{
    uint32_t count = names->count, numbers = 1, slots_count = 4;
    while (numbers - 1 < count) numbers *= 2; /* one more than needed: all ones is no number */
    while (slots_count / 2 < count) slots_count *= 2;
    memset(index, 0, sizeof *index);
    index->count = count;
    index->mask = slots_count - 1;
    index->number_mask = numbers - 1;
    index->size = (uint64_t)slots_count * sizeof(uint32_t);
    uint32_t *slots = tarei_arena_take(arena, index->size, TAREI_BUFFER_ALIGNMENT);
    if (slots == NULL) return TARE_E_MEMORY;
    index->slots = slots;
    index->seed = seed;
    for (;;) {
        bool full;
        tare_status status = fill(index, slots, names, duplicates, pair, &full);
        if (!full) return status;
        if (index->reseeds == TAREI_RESEEDS_MAX) break;
        index->reseeds++;
        index->seed = XXH3_64bits_withSeed(&index->seed, sizeof index->seed, seed);
    }
    return tarei_index_build_sorted(index, names, duplicates, arena, pair);
}
