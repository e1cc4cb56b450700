#include <inttypes.h>
#include <string.h>

#include "check.h"
#include "internal.h"

/* Checks all pairs, and adds up what their names and aligned bytes take. */
static tare_status measure(tarei_opening *opening, const tare_pair *pairs, size_t count,
                           uint64_t *block_size)
{
    tarei_parsed *parsed = &opening->model->parsed;
    *block_size = 0;
    for (size_t i = 0; i < count; i++) {
        const tare_pair *pair = &pairs[i];
        if ((pair->name == NULL && pair->name_size != 0) || (pair->data == NULL && pair->size != 0))
            return tarei_error_set(opening->error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                                   "pair %zu has no %s", i,
                                   pair->name == NULL && pair->name_size != 0 ? "name" : "data");
        uint64_t mask = opening->options.alignment - 1; /* what comes before is within 2^46 */
        *block_size = (*block_size + mask) & ~mask;
        const char *fault = tarei_parsed_fault(parsed->limits, count, 1, pair->name_size, 0);
        if (tarei_check_add(*block_size, pair->size, block_size) || *block_size > TAREI_OFFSET_MAX)
            fault = "bytes of 64 TiB or more";
        if (fault != NULL)
            return tarei_error_set(opening->error, TARE_E_LIMIT, TARE_NO_SHARD, TARE_NO_OFFSET,
                                   "pair %zu: %s", i, fault);
        parsed->name_size += pair->name_size;
    }
    return TARE_OK;
}

tare_status tarei_pairs_copy(tarei_opening *opening, const tare_pair *pairs, size_t count)
{
    tare_model *model = opening->model;
    tarei_parsed *parsed = &model->parsed;
    uint64_t block_size, alignment = opening->options.alignment, at = 0;
    tare_status status = measure(opening, pairs, count, &block_size);
    if (status != TARE_OK) return status;
    unsigned char *block = tarei_arena_take(&model->arena, block_size, (size_t)alignment);
    uint64_t records_size = count * sizeof(tarei_record);
    uint32_t layout = 0;
    if (block == NULL || !tarei_buffer_reserve(&parsed->records, &model->memory,
                                               records_size + sizeof(tarei_record)))
        return tarei_error_memory(opening->error);
    for (size_t i = 0; i < count; i++) {
        uint64_t size = pairs[i].size;
        if (i == 0 || size != pairs[i - 1].size) {
            if (!tarei_parsed_layout_begin(parsed) || !tarei_parsed_layout_push(parsed, size))
                return tarei_error_memory(opening->error);
            layout = tarei_parsed_layout_intern(parsed, TARE_DTYPE_U8, size);
        }
        at = (at + alignment - 1) & ~(alignment - 1);
        if (size != 0) memcpy(block + at, pairs[i].data, (size_t)size);
        tarei_parsed_records(parsed)[i] = (tarei_record){.where = at, .layout = layout};
        at += size;
    }
    parsed->records.size = records_size;
    opening->pairs = pairs;
    tarei_shard *shard = &model->shards[model->shard_count++];
    memset(shard, 0, sizeof *shard);
    shard->name = (tare_string){"", 0};
    shard->bytes = block;
    tarei_source_bytes(&shard->source, block, block_size);
    return TARE_OK;
}
