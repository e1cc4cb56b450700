/* Models that hold the names of a set, made in each of the ways that there are. */
#ifndef SET_MODELS_H
#define SET_MODELS_H

#include "builder.h"
#include "name_sets.h"
#include "tare.h"
#include "temp_files.h"

/* Bytes of the tensor of name `i`: 0 to 2, so that empty ones are among them. */
static inline size_t set_tensor_size(size_t i)
{
    return i % 3;
}

/* From pairs; byte b of tensor i is build_byte(i + b). */
tare_status set_open_pairs(const name_set *set, const tare_options *options, tare_model **model,
                           tare_error *error);

/* The text of one safetensors file with the tensors whose shard is `shard`, in the set's order. */
build_text set_build_shard(const name_set *set, uint32_t shard);

uint32_t set_shard_count(const name_set *set);

/* Writes all shards and model.safetensors.index.json, which lists the names in the set's order. */
void set_write_shards(const name_set *set, const temp_path *folder);

/* Place of name i in a model of shards: behind all names of lower shards. Free it. */
size_t *set_shard_places(const name_set *set);

#endif
