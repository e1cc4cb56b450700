#include "index.h"

#include "line.h"
#include "sort.h"

void tarei_index_masks(tarei_index *index, uint32_t count)
{
    index->number_mask = 1;
    while (index->number_mask < count) index->number_mask = index->number_mask * 2 + 1;
    index->tag_mask = ~(index->number_mask * 2 + 1);
}

/* Chooses the layout and how many lines a hash can name. Large tables are filled to three quarters:
 * a smaller table misses fewer caches. Small ones fit in any case; fewer names behind their home
 * line matter more. */
static uint32_t measure(tarei_index *index, uint32_t count)
{
    if (count <= TAREI_SMALL_COUNT) {
        index->small_sizes = TAREI_NAME_USUAL_COUNT;
        uint32_t lines = 1;
        while (lines * 5 < count) lines *= 2;
        index->range = (lines - 1) * (uint32_t)sizeof(tarei_line);
        return lines;
    }
    index->range = count / 6 + 1;
    tarei_index_masks(index, count);
    return index->range;
}

tare_status tarei_index_begin(tarei_index_builder *builder, tarei_index *index,
                              const tarei_names *names, uint64_t seed, tarei_duplicates duplicates,
                              tarei_arena *arena)
{
    uint32_t count = names->count;
    memset(builder, 0, sizeof *builder);
    memset(index, 0, sizeof *index);
    uint32_t lines = measure(index, count);
    tarei_name_seed_init(&index->seed, seed);
    index->names = names;
    index->records = names->records;
    index->reach = 1;
    uint32_t behind = count / TAREI_LINE_COUNT + 1; /* more than can run over */
    if (behind > TAREI_REACH_MAX) behind = TAREI_REACH_MAX;
    index->size = ((uint64_t)lines + behind) * sizeof(tarei_line);
    builder->index = index;
    builder->names = names;
    builder->arena = arena;
    builder->duplicates = duplicates;
    builder->lines = tarei_arena_take(arena, index->size, sizeof(tarei_line));
    if (builder->lines == NULL) return TARE_E_MEMORY;
    memset(builder->lines, 0, (size_t)index->size);
    index->lines = builder->lines;
    return TARE_OK;
}

/* Fills a free place. */
static inline void put(const tarei_index *index, tarei_line *line, bool is_small, uint32_t at,
                       uint32_t number, tarei_pair pair, uint64_t hash)
{
    if (!is_small) {
        line->large.keys[at] = ((uint32_t)(hash >> 32) & index->tag_mask) | (number + 1);
        line->large.pairs[at] = pair;
        return;
    }
    tare_string name = tarei_names_at(index->names, index->records + number);
    line->small.tags[at] = (uint16_t)(hash >> 48);
    line->small.numbers[at] = (uint16_t)(number + 1);
    uint32_t place = index->records[number].name;
    bool fits = tarei_name_is_usual(name.size) && place < UINT32_MAX >> 6;
    line->small.where[at] = fits ? place << 6 | (uint32_t)(name.size - 1) : 0;
}

/* The number of a record in that line with the name of record `number`, + 1, or 0. */
static uint32_t find_same(const tarei_index *index, const tarei_line *line, uint32_t number,
                          tarei_places places)
{
    tare_string name = tarei_names_at(index->names, index->records + number);
    for (; places != 0; places &= places - 1) {
        uint32_t other = tarei_line_number(index, line, tarei_places_first(places));
        if (other == 0) continue;
        TAREI_COUNT_COMPARISON();
        if (tarei_line_has_name(index, index->records + other - 1, name.data, name.size))
            return other;
    }
    return 0;
}

/* Puts a name into the first line with a free place, unless it is there already. */
static inline tare_status place_in(tarei_index_builder *builder, bool is_small, uint32_t number,
                                   uint64_t hash)
{
    tarei_index *index = builder->index;
    const tarei_line *home =
        is_small ? tarei_line_home_small(index, hash) : tarei_line_home_large(index, hash);
    tarei_line *line = builder->lines + (home - index->lines);
    for (uint32_t reach = 1; reach <= TAREI_REACH_MAX; reach++, line++) {
        TAREI_COUNT_LINE(line);
        tarei_places places = tarei_line_match(index, line, hash);
        uint32_t same = places != 0 ? find_same(index, line, number, places) : 0;
        if (same != 0) {
            if (builder->duplicates == TAREI_DUPLICATES_KEEP_FIRST) return TARE_OK;
            builder->same[0] = same - 1, builder->same[1] = number;
            return TARE_E_DUPLICATE;
        }
        tarei_places empty = tarei_line_free(index, line);
        if (empty != 0) {
            put(index, line, is_small, tarei_places_first(empty), number, builder->pairs[number],
                hash);
            if (reach > index->reach) index->reach = reach;
            return TARE_OK;
        }
        if (is_small)
            line->small.numbers[hash % TAREI_LINE_COUNT] |= TAREI_SMALL_MARK;
        else
            line->large.keys[hash % TAREI_LINE_COUNT] |= index->number_mask + 1;
    }
    builder->full = true;
    return TARE_OK;
}

static tare_status place(tarei_index_builder *builder, uint32_t number, uint64_t hash)
{
    if (tarei_index_is_small(builder->index)) return place_in(builder, true, number, hash);
    return place_in(builder, false, number, hash);
}

static uint64_t pairs_size(const tarei_index_builder *builder)
{
    return (uint64_t)builder->names->count * sizeof(tarei_pair);
}

tare_status tarei_index_add(tarei_index_builder *builder, uint32_t number, const char *name,
                            uint32_t size, tarei_pair pair)
{
    const tarei_index *index = builder->index;
    if (builder->pairs == NULL) {
        builder->pairs =
            tarei_memory_take(builder->arena->memory, pairs_size(builder), TAREI_BUFFER_ALIGNMENT);
        if (builder->pairs == NULL) return TARE_E_MEMORY;
    }
    uint64_t hash = tarei_line_hash(index, name, size);
    uint64_t *slot = &builder->hashes[number % TAREI_INDEX_AHEAD];
    tare_status status = TARE_OK;
    if (number >= TAREI_INDEX_AHEAD && !builder->full)
        status = place(builder, number - TAREI_INDEX_AHEAD, *slot);
    __builtin_prefetch(tarei_line_home(index, hash), 1);
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
    tarei_name_seed_init(&index->seed, seed);
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
        uint64_t seed = index->seed.seed, mixed = seed + ++index->reseeds;
        status = refill(builder, XXH3_64bits_withSeed(&mixed, sizeof mixed, seed));
    }
    if (status == TARE_OK && builder->full) {
        uint32_t reseeds = index->reseeds;
        status = tarei_index_build_sorted(index, builder->names, builder->duplicates,
                                          builder->arena, builder->same);
        index->reseeds = reseeds;
    }
    index->text = builder->names->text;
    index->prefixes = builder->names->prefixes;
    index->suffixes = builder->names->suffixes;
    tarei_memory_give(builder->arena->memory, builder->pairs, pairs_size(builder),
                      TAREI_BUFFER_ALIGNMENT);
    return status;
}

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    const tarei_names *names = context;
    TAREI_COUNT_COMPARISON();
    tare_string name = tarei_names_at(names, &names->records[b]);
    return tarei_names_compare(names, a, name.data, name.size);
}

/* The table of a sorted index: any hash leads to this line, which leads to all names. */
static const tarei_line everything_elsewhere = {.large.keys = {2, 2, 2, 2, 2, 2, 2, 2}};

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
