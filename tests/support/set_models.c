#include "set_models.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

tare_status set_open_pairs(const name_set *set, const tare_options *options, tare_model **model,
                           tare_error *error)
{
    tare_pair *pairs = calloc(set->count + 1, sizeof *pairs);
    uint8_t *bytes = malloc(set->count + 2);
    if (pairs == NULL || bytes == NULL) abort();
    for (size_t i = 0; i < set->count + 2; i++) bytes[i] = build_byte(i);
    for (size_t i = 0; i < set->count; i++)
        pairs[i] =
            (tare_pair){set->names[i].data, set->names[i].size, bytes + i, set_tensor_size(i)};
    tare_status status = tare_open_pairs(pairs, set->count, options, model, error);
    free(pairs);
    free(bytes);
    return status;
}

build_text set_build_shard(const name_set *set, uint32_t shard)
{
    static const char *const shapes[] = {"[0]", "[1]", "[2]"};
    build_tensor *tensors = calloc(set->count + 1, sizeof *tensors);
    size_t count = 0;
    if (tensors == NULL) abort();
    for (size_t i = 0; i < set->count; i++) {
        if (set->shards[i] != shard) continue;
        size_t size = set_tensor_size(i);
        bool empty = set->names[i].size == 0;
        tensors[count++] = (build_tensor){.name = empty ? "" : set->names[i].data,
                                          .name_size = set->names[i].size,
                                          .dtype = "U8",
                                          .shape = shapes[size],
                                          .size = size};
    }
    build_text file = build_file(tensors, count, "{\"format\":\"pt\"}");
    free(tensors);
    return file;
}

uint32_t set_shard_count(const name_set *set)
{
    uint32_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        if (set->shards[i] >= count) count = set->shards[i] + 1;
    return count;
}

static void shard_name(char name[64], uint32_t shard, uint32_t count)
{
    snprintf(name, 64, "model-%05u-of-%05u.safetensors", shard + 1, count);
}

void set_write_shards(const name_set *set, const temp_path *folder)
{
    char name[64];
    uint32_t count = set_shard_count(set);
    build_text index = {0};
    build_addf(&index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (size_t i = 0; i < set->count; i++) {
        if (i > 0) build_add(&index, ",", 1);
        build_add_quoted(&index, set->names[i].data, set->names[i].size);
        shard_name(name, set->shards[i], count);
        build_addf(&index, ":\"%s\"", name);
    }
    build_addf(&index, "}}");
    temp_write_built(folder, "model.safetensors.index.json", index);
    for (uint32_t shard = 0; shard < count; shard++) {
        shard_name(name, shard, count);
        temp_write_built(folder, name, set_build_shard(set, shard));
    }
}

size_t *set_shard_places(const name_set *set)
{
    size_t *places = calloc(set->count + 1, sizeof *places), at = 0;
    if (places == NULL) abort();
    for (uint32_t shard = 0; shard < set_shard_count(set); shard++)
        for (size_t i = 0; i < set->count; i++)
            if (set->shards[i] == shard) places[i] = at++;
    return places;
}
