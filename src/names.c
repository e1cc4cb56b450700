#include "names.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "parse.h"
#include "sort.h"

#define PART_NONE UINT16_MAX
#define WAYS 4u

static bool side_begin(tarei_side *side, tarei_memory *memory, uint32_t count)
{
    side->limit = count + 1 < PART_NONE ? count + 1 : PART_NONE;
    side->cache_count = 64;
    while (side->cache_count < 2 * side->limit) side->cache_count *= 2;
    side->cache_count += WAYS;
    side->parts =
        tarei_memory_take(memory, side->limit * sizeof(tarei_part), TAREI_BUFFER_ALIGNMENT);
    side->cache =
        tarei_memory_take(memory, side->cache_count * sizeof(uint16_t), TAREI_BUFFER_ALIGNMENT);
    if (side->parts == NULL || side->cache == NULL) return false;
    memset(side->cache, 0, side->cache_count * sizeof(uint16_t));
    side->parts[0] = (tarei_part){0, UINT32_MAX}; /* no name is that long */
    side->count = 1;
    return true;
}

/* Leaves the parts in the arena. */
static const tarei_part *side_end(tarei_side *side, tarei_memory *memory, tarei_arena *arena,
                                  uint32_t size_short)
{
    tarei_part *kept = NULL;
    if (arena != NULL)
        kept = tarei_arena_take(arena, side->count * sizeof *kept, _Alignof(tarei_part));
    for (uint32_t i = 0; kept != NULL && i < side->count; i++) {
        kept[i] = side->parts[i];
        if (kept[i].size > size_short) kept[i].size |= TAREI_PART_LONG;
    }
    tarei_memory_give(memory, side->parts, side->limit * sizeof(tarei_part),
                      TAREI_BUFFER_ALIGNMENT);
    tarei_memory_give(memory, side->cache, side->cache_count * sizeof(uint16_t),
                      TAREI_BUFFER_ALIGNMENT);
    return kept;
}

/* The number of the part with that text; PART_NONE when it is too long, or numbers have run out.
 * The cache forgets: a text may get another number. Names made to collide in it only share less. */
static uint32_t side_find(tarei_side *side, const char *text, uint32_t place, uint32_t size)
{
    if (size > TAREI_PART_SIZE_MAX) return PART_NONE;
    uint64_t hash = XXH3_64bits(text + place, size);
    uint16_t *ways = &side->cache[hash & (side->cache_count - WAYS - 1)];
    uint32_t way = 0;
    for (; way < WAYS && ways[way] != 0; way++) {
        const tarei_part *part = &side->parts[ways[way]];
        if (part->size == size && tarei_names_same(text + part->place, text + place, size))
            return ways[way];
    }
    if (side->count == side->limit) return PART_NONE;
    side->parts[side->count] = (tarei_part){place, size};
    ways[way < WAYS ? way : 0] = (uint16_t)side->count;
    return side->count++;
}

bool tarei_names_begin(tarei_names_builder *builder, tarei_names *names, tarei_arena *arena,
                       tarei_record *records, uint32_t count, uint64_t name_size)
{
    memset(builder, 0, sizeof *builder);
    uint64_t text_size = name_size + count;
    uint64_t groups = ((uint64_t)count + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
    builder->names = names;
    builder->memory = arena->memory;
    char *text = tarei_arena_take(arena, text_size + 2 * TAREI_NAMES_PADDING, 1);
    uint64_t wide = (groups + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
    names->commons = tarei_arena_take(arena, groups * sizeof(uint32_t), _Alignof(uint32_t));
    names->wide_commons = tarei_arena_take(arena, wide * sizeof(uint32_t), _Alignof(uint32_t));
    bool fine = side_begin(&builder->prefixes, arena->memory, count);
    fine = side_begin(&builder->suffixes, arena->memory, count) && fine;
    uint64_t follows_size = builder->suffixes.limit * sizeof(uint16_t);
    builder->follows = tarei_memory_take(arena->memory, follows_size, TAREI_BUFFER_ALIGNMENT);
    if (!fine || text == NULL || names->commons == NULL || names->wide_commons == NULL ||
        builder->follows == NULL) {
        tarei_names_end(builder, NULL);
        return false;
    }
    memset(builder->follows, 0, (size_t)follows_size);
    memset(text, 0, TAREI_NAMES_PADDING);
    memset(text + TAREI_NAMES_PADDING + text_size, 0, TAREI_NAMES_PADDING);
    builder->text = text + TAREI_NAMES_PADDING;
    names->records = records;
    names->text = builder->text;
    names->count = count;
    names->text_size = text_size;
    records[count] = (tarei_record){0, 0, (uint32_t)text_size};
    return true;
}

/* Bytes that two stored texts have in common, up to `most`. Reads whole words: see the padding. */
static uint32_t common_size(const char *a, const char *b, uint32_t most)
{
    for (uint32_t i = 0; i < most; i += 8) {
        uint64_t differ = tarei_load_le64(a + i) ^ tarei_load_le64(b + i);
        if (differ == 0) continue;
        i += (uint32_t)__builtin_ctzll(differ) >> 3;
        return i < most ? i : most;
    }
    return most;
}

/* What wide groups have in common, once all names are there. */
static void widen_groups(tarei_names *names)
{
    for (uint32_t at = 0; at < names->count; at += TAREI_GROUP_COUNT) {
        uint32_t group = names->commons[at / TAREI_GROUP_COUNT];
        uint32_t *wide = &names->wide_commons[at / TAREI_GROUPS_COUNT];
        uint32_t first = at / TAREI_GROUPS_COUNT * TAREI_GROUPS_COUNT;
        if (at == first) *wide = group;
        *wide = common_size(names->text + names->records[first].name,
                            names->text + names->records[at].name, *wide < group ? *wide : group);
    }
}

bool tarei_names_end(tarei_names_builder *builder, tarei_arena *arena)
{
    tarei_names *names = builder->names;
    tarei_side *prefixes = &builder->prefixes, *suffixes = &builder->suffixes;
    if (arena != NULL && builder->at == names->text_size) widen_groups(names);
    names->parts_size = ((uint64_t)prefixes->count + suffixes->count) * sizeof(tarei_part);
    names->prefixes = side_end(prefixes, builder->memory, arena, TAREI_PREFIX_SHORT);
    names->suffixes = side_end(suffixes, builder->memory, arena, TAREI_SUFFIX_SHORT);
    /* Last, though taken last: what is kept then finds room below it, see finish_names. */
    tarei_memory_give(builder->memory, builder->follows, suffixes->limit * sizeof(uint16_t),
                      TAREI_BUFFER_ALIGNMENT);
    return names->prefixes != NULL && names->suffixes != NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Behind the first part of the name that is a number, as in "model.layers.3."; 0 without one. */
static uint32_t find_cut(const char *name, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        if (!is_digit(name[i]) || (i > 0 && name[i - 1] != '.')) continue;
        while (i < size && is_digit(name[i])) i++;
        if (i < size && name[i] == '.') return i + 1;
    }
    return 0;
}

/* The prefix is mostly that of the name before, the suffix the one that came behind the same suffix
 * the last time: headers list layer after layer alike. */
static tarei_pair split(tarei_names_builder *builder, uint32_t place, uint32_t size)
{
    const char *text = builder->text;
    tarei_side *prefixes = &builder->prefixes, *suffixes = &builder->suffixes;
    const tarei_part *held = &prefixes->parts[builder->prefix];
    if (held->size == 0 || held->size > size ||
        !tarei_names_same(text + held->place, text + place, held->size)) {
        uint32_t number = side_find(prefixes, text, place, find_cut(text + place, size));
        builder->prefix = number == PART_NONE ? 0 : number;
        if (number == PART_NONE) return TAREI_PAIR_NONE;
        held = &prefixes->parts[number];
    }
    uint32_t cut = held->size, left = size - cut;
    uint32_t number = builder->follows[builder->suffix];
    const tarei_part *guess = &suffixes->parts[number];
    if (guess->size != left || !tarei_names_same(text + guess->place, text + place + cut, left)) {
        number = side_find(suffixes, text, place + cut, left);
        if (number == PART_NONE) return TAREI_PAIR_NONE;
        builder->follows[builder->suffix] = (uint16_t)number;
    }
    builder->suffix = number;
    return number << 16 | builder->prefix;
}

/* Narrows what the group has in common by the name just stored; mostly it has all of it. */
static void narrow_group(tarei_names_builder *builder, uint32_t number, const char *stored,
                         uint32_t size)
{
    uint32_t *common = &builder->names->commons[number / TAREI_GROUP_COUNT];
    if (number % TAREI_GROUP_COUNT == 0) {
        *common = size;
        builder->group = stored;
    } else if (size < *common || !tarei_names_same(builder->group, stored, *common)) {
        *common = common_size(builder->group, stored, *common < size ? *common : size);
    }
}

/* memcpy, which takes longer to find out that it is short. */
static inline void copy_name(char *to, const char *from, uint32_t size)
{
    if (size - 16 > 64 - 16) {
        if (size != 0) memcpy(to, from, size);
        return;
    }
    uint32_t last = size - 16;
    tarei_window head = tarei_window_at(from), tail = tarei_window_at(from + last);
    memcpy(to, &head, sizeof head);
    if (size > 32) {
        tarei_window second = tarei_window_at(from + 16), third = tarei_window_at(from + last - 16);
        memcpy(to + 16, &second, sizeof second);
        memcpy(to + last - 16, &third, sizeof third);
    }
    memcpy(to + last, &tail, sizeof tail);
}

tarei_pair tarei_names_add(tarei_names_builder *builder, uint32_t number, const void *name,
                           uint32_t size, bool escaped)
{
    uint32_t place = builder->at;
    char *stored = builder->text + place;
    if (escaped)
        tarei_json_unescape(name, size, stored);
    else
        copy_name(stored, name, size);
    memset(stored + size, 0, 8); /* the terminator, and what common_size may read behind it */
    builder->names->records[number].name = place;
    builder->at += size + 1;
    narrow_group(builder, number, stored, size);
    return split(builder, place, size);
}

int tarei_names_compare(const tarei_names *names, uint32_t number, const char *name, size_t size)
{
    tare_string stored = tarei_names_at(names, &names->records[number]);
    return tarei_sort_compare(stored.data, stored.size, name, size);
}
