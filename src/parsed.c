#define XXH_INLINE_ALL
#include <xxhash.h>

#include "parse.h"

bool tarei_parsed_add(tarei_buffer *records, tarei_buffer *sizes, tarei_memory *memory,
                      tarei_record record, uint32_t size)
{
    if ((records->capacity - records->size < 2 * sizeof record &&
         !tarei_buffer_reserve(records, memory, 2 * sizeof record)) ||
        (sizes->capacity - sizes->size < sizeof size &&
         !tarei_buffer_reserve(sizes, memory, sizeof size)))
        return false;
    memcpy((char *)records->data + records->size, &record, sizeof record);
    memcpy((char *)sizes->data + sizes->size, &size, sizeof size);
    records->size += sizeof record;
    sizes->size += sizeof size;
    return true;
}

bool tarei_parsed_layout_begin(tarei_parsed *parsed)
{
    tarei_buffer *layouts = &parsed->layouts;
    layouts->size = parsed->layout_at;
    if (!tarei_buffer_reserve(layouts, parsed->memory, sizeof(tarei_layout))) return false;
    layouts->size += sizeof(tarei_layout);
    return true;
}

bool tarei_parsed_layout_push(tarei_parsed *parsed, uint64_t dimension)
{
    tarei_buffer *layouts = &parsed->layouts;
    if (layouts->capacity - layouts->size < sizeof dimension &&
        !tarei_buffer_reserve(layouts, parsed->memory, sizeof dimension))
        return false;
    memcpy((char *)layouts->data + layouts->size, &dimension, sizeof dimension);
    layouts->size += sizeof dimension;
    return true;
}

uint32_t tarei_parsed_layout_intern(tarei_parsed *parsed, tare_dtype dtype, uint64_t size)
{
    char *layouts = parsed->layouts.data;
    tarei_layout *made = (void *)(layouts + parsed->layout_at);
    uint64_t made_size = parsed->layouts.size - parsed->layout_at;
    made->size = size;
    made->dtype = dtype;
    made->rank = (uint32_t)((made_size - sizeof *made) / sizeof made->shape[0]);
    uint64_t hash = XXH3_64bits(made, (size_t)made_size);
    uint32_t *ways = parsed->layout_cache[hash % TAREI_LAYOUT_CACHE_COUNT];
    for (int way = 0; way < 2 && ways[way] != 0; way++) {
        uint32_t place = ways[way] - 1;
        const tarei_layout *kept = (void *)(layouts + (uint64_t)place * TAREI_LAYOUT_UNIT);
        if (kept->rank == made->rank && memcmp(kept, made, (size_t)made_size) == 0) {
            parsed->layouts.size = parsed->layout_at;
            return place;
        }
    }
    uint32_t place = (uint32_t)(parsed->layout_at / TAREI_LAYOUT_UNIT);
    ways[1] = ways[0];
    ways[0] = place + 1;
    parsed->layout_at = parsed->layouts.size;
    return place;
}

const char *tarei_parsed_excess(const uint64_t *limits, uint64_t count, uint64_t rank,
                                uint64_t name_size)
{
    return count > limits[TAREI_LIMIT_TENSORS]    ? "more tensors than tensor_count_max"
           : rank > limits[TAREI_LIMIT_RANK]      ? "more dimensions than rank_max"
           : name_size > limits[TAREI_LIMIT_NAME] ? "its name is longer than name_size_max"
                                                  : "more metadata than metadata_size_max";
}
