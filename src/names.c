#include "names.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "check.h"
#include "parse.h"

bool tarei_names_begin(tarei_names_builder *builder, tarei_names *names, tarei_arena *arena,
                       tarei_record *records, uint32_t count, uint64_t name_size)
{
    memset(builder, 0, sizeof *builder);
    uint64_t text_size = name_size + count + TAREI_NAMES_PADDING;
    uint64_t groups = (count + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
    builder->shared_count = 64;
    while (builder->shared_count < count / 4 && builder->shared_count < 16384)
        builder->shared_count *= 2;
    builder->names = names;
    builder->memory = arena->memory;
    builder->text = tarei_arena_take(arena, text_size, 1);
    names->commons = tarei_arena_take(arena, groups * sizeof(uint32_t), _Alignof(uint32_t));
    uint64_t shared_size = builder->shared_count * sizeof(uint32_t);
    builder->shared = tarei_memory_take(arena->memory, shared_size, TAREI_BUFFER_ALIGNMENT);
    if (builder->text == NULL || names->commons == NULL || builder->shared == NULL) {
        tarei_names_end(builder);
        return false;
    }
    memset(builder->shared, 0, (size_t)shared_size);
    memset(builder->text + text_size - TAREI_NAMES_PADDING, 0, TAREI_NAMES_PADDING);
    names->records = records;
    names->text = builder->text;
    names->count = count;
    names->text_size = text_size;
    return true;
}

void tarei_names_end(tarei_names_builder *builder)
{
    uint64_t shared_size = builder->shared_count * sizeof(uint32_t);
    if (builder->shared != NULL)
        tarei_memory_give(builder->memory, builder->shared, shared_size, TAREI_BUFFER_ALIGNMENT);
    builder->shared = NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Behind the first number and the dot that follows it, as in "model.layers.3."; without a number
 * behind the last dot. */
static uint32_t find_cut(const char *name, uint32_t size)
{
    uint32_t dot = 0;
    for (uint32_t i = 0; i < size; i++) {
        if (name[i] == '.') dot = i + 1;
        if (!is_digit(name[i])) continue;
        while (i < size && is_digit(name[i])) i++;
        return i < size ? i + 1 : size;
    }
    return dot;
}

/* Where the same part was stored before, or `place`, which from now on is where it was. */
static uint32_t share(tarei_names_builder *builder, uint32_t place, uint32_t size)
{
    const char *text = builder->text;
    uint64_t hash = XXH3_64bits(text + place, size);
    uint32_t *shared = &builder->shared[hash & (builder->shared_count - 1)];
    uint32_t before = *shared;
    /* The stored place may be of a longer part: equal bytes are all that matters. Places beyond the
     * text written so far cannot be, since every stored part was `size` bytes or ends in 0. */
    if (place - before >= size && memcmp(text + before, text + place, size) == 0) return before;
    *shared = place;
    return place;
}

static uint32_t common_size(const char *a, const char *b, uint32_t most)
{
    uint32_t i = 0;
    while (i < most && a[i] == b[i]) i++;
    return i;
}

/* Narrows what the group has in common by the name just stored in `record`. */
static void narrow_group(tarei_names_builder *builder, uint32_t number, uint32_t size)
{
    const tarei_record *records = builder->names->records, *record = records + number;
    uint32_t *common = &builder->names->commons[number / TAREI_GROUP_COUNT];
    if (number % TAREI_GROUP_COUNT == 0) {
        *common = size;
        return;
    }
    const tarei_record *first = records + number / TAREI_GROUP_COUNT * TAREI_GROUP_COUNT;
    uint32_t most = *common < size ? *common : size;
    *common = common_size(builder->text + first->name, builder->text + record->name, most);
}

void tarei_names_add(tarei_names_builder *builder, uint32_t number, const void *name, uint32_t size,
                     bool escaped)
{
    tarei_record *record = &builder->names->records[number];
    char *stored = builder->text + builder->at;
    if (escaped)
        tarei_json_unescape(name, size, stored);
    else if (size != 0)
        memcpy(stored, name, size);
    stored[size] = 0;
    record->name = builder->at;
    builder->at += size + 1;
    if (size >= TAREI_NAME_LONG) {
        record->prefix = 0;
        record->suffix = size;
        record->prefix_size = 0;
        record->suffix_size = TAREI_NAME_LONG;
    } else {
        uint32_t cut = find_cut(stored, size);
        const tarei_record *last = number > 0 ? record - 1 : record;
        bool as_last = number > 0 && last->prefix_size == cut &&
                       memcmp(builder->text + last->prefix, stored, cut) == 0;
        record->prefix = as_last ? last->prefix : share(builder, record->name, cut);
        record->suffix = share(builder, record->name + cut, size - cut);
        record->prefix_size = (uint16_t)cut;
        record->suffix_size = (uint16_t)(size - cut);
    }
    narrow_group(builder, number, size);
}

int tarei_names_compare(const tarei_names *names, uint32_t number, const char *name, size_t size)
{
    tare_string stored = tarei_names_at(names, &names->records[number]);
    size_t least = stored.size < size ? stored.size : size;
    int order = least != 0 ? memcmp(stored.data, name, least) : 0;
    if (order != 0) return order;
    return stored.size < size ? -1 : stored.size > size;
}
