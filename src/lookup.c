#include "prebuilt.h"

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *tare_version(void)
{
    return VERSION(TARE_VERSION_MAJOR, TARE_VERSION_MINOR, TARE_VERSION_PATCH);
}

size_t tare_count(const tare_model *model)
{
    return model->tensors.count;
}

const tare_tensor *tare_at(const tare_model *model, size_t index)
{
    return index < model->tensors.count ? &model->tensors.records[index] : NULL;
}

size_t tare_index_of(const tare_model *model, const tare_tensor *tensor)
{
    return (size_t)(tensor - model->tensors.records);
}

tare_status tarei_lookup_list(const tare_model *model, const tare_tensor *const *tensors,
                              size_t *count, tare_error *error)
{
    size_t all = model->tensors.count;
    if (tensors == NULL && *count != 0 && *count != all)
        return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "tensors is NULL, and count not that of all tensors");
    for (size_t i = 0; tensors != NULL && i < *count; i++)
        if (tensors[i] == NULL)
            return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                                   "tensor %zu of the list is NULL", i);
    if (tensors == NULL) *count = all;
    return TARE_OK;
}

const tare_tensor *tare_find(const tare_model *model, const char *name, size_t name_size)
{
    return tarei_find_name(&model->index, name, name_size);
}

tare_key tare_key_make(const tare_model *model, const char *name, size_t name_size)
{
    return (tare_key){name, name_size, tarei_find_hash(&model->index, name, name_size)};
}

const tare_tensor *tare_find_key(const tare_model *model, const tare_key *key)
{
    return tarei_find_hashed(&model->index, key->name, key->name_size, key->hash);
}

size_t tare_find_many(const tare_model *model, const tare_string *names, size_t count,
                      const tare_tensor **out)
{
    return tarei_find_many(&model->index, names, count, out);
}

tare_range tare_prefix(const tare_model *model, const char *prefix, size_t prefix_size)
{
    (void)model;
    return (tare_range){prefix_size != 0 ? prefix : "", prefix_size, 0, 0}; /* for memcmp */
}

static bool starts_with(tare_string name, const tare_range *range)
{
    return name.size >= range->prefix_size &&
           memcmp(name.data, range->prefix, range->prefix_size) == 0;
}

/* At the start of a group of `count` names that have `common` bytes in common: goes past it when
 * none can match, remembers it when all do. True when the group is decided. */
static bool decide_group(const tarei_names *names, tare_range *range, size_t count, size_t common)
{
    size_t least = common < range->prefix_size ? common : range->prefix_size;
    tare_string first = tarei_names_get(names, &names->records[range->at]);
    if (least > first.size) return false; /* only in an index file that lies */
    if (least != 0 && memcmp(first.data, range->prefix, least) != 0) {
        range->at += count;
        return true;
    }
    if (range->prefix_size > common) return false;
    range->end = range->at + count;
    return true;
}

const tare_tensor *tare_next(const tare_model *model, tare_range *range)
{
    const tarei_names *names = &model->tensors;
    while (range->at < names->count) {
        size_t at = range->at;
        if (at < range->end) {
            range->at++;
            return &names->records[at];
        }
        if (at % TAREI_GROUPS_COUNT == 0 &&
            decide_group(names, range, TAREI_GROUPS_COUNT,
                         tarei_once_32(&names->wide_commons[at / TAREI_GROUPS_COUNT])))
            continue;
        if (at % TAREI_GROUP_COUNT == 0 &&
            decide_group(names, range, TAREI_GROUP_COUNT,
                         tarei_once_32(&names->commons[at / TAREI_GROUP_COUNT])))
            continue;
        const tarei_record *record = &names->records[range->at++];
        if (starts_with(tarei_names_get(names, record), range)) return record;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Facts
 */

tare_string tare_name(const tare_model *model, const tare_tensor *tensor)
{
    return tarei_names_get(&model->tensors, tensor);
}

uint64_t tare_size(const tare_model *model, const tare_tensor *tensor)
{
    tarei_look look;
    if (model->prebuilt == NULL) return tarei_model_layout(model, tensor)->size;
    tarei_prebuilt_look(model, tensor, NULL, &look);
    return look.size;
}

uint64_t tare_offset(const tare_model *model, const tare_tensor *tensor)
{
    tarei_look look;
    if (model->prebuilt == NULL) return tarei_record_offset(tensor);
    tarei_prebuilt_look(model, tensor, NULL, &look);
    return look.offset;
}

tare_info tare_describe(const tare_model *model, const tare_tensor *tensor)
{
    tarei_look look;
    tare_string name = {"", 0};
    if (tarei_model_look(model, tensor, NULL, &look))
        name = tarei_names_get(&model->tensors, tensor);
    return (tare_info){
        .name = name.data,
        .name_size = name.size,
        .shape = look.shape,
        .rank = look.rank,
        .dtype = look.dtype,
        .size = look.size,
        .offset = look.offset,
        .shard = look.shard,
    };
}

size_t tare_shard_count(const tare_model *model)
{
    return model->shard_count;
}

tare_shard_info tare_shard_at(const tare_model *model, size_t shard)
{
    tare_shard_info info = {{NULL, 0}, 0, 0, 0, 0, {0, 0}};
    if (shard >= model->shard_count) return info;
    const tarei_shard *from = &model->shards[shard];
    info.name = from->name;
    info.size = from->source.size;
    info.data_offset = from->data_offset;
    info.format = from->format;
    info.backing = TARE_BACKING_MAP;
    const tarei_prebuilt *prebuilt = model->prebuilt;
    bool closed = prebuilt != NULL && !atomic_load_explicit(&from->open, memory_order_acquire);
    if (closed ? prebuilt->backing == TARE_BACKING_READ : from->source.bytes == NULL)
        info.backing = TARE_BACKING_READ;
    else if (!closed && from->source.descriptor < 0)
        info.backing = TARE_BACKING_MEMORY;
    return info;
}

void tare_model_stat(const tare_model *model, tare_stat *out)
{
    size_t size = out->struct_size;
    const tarei_prebuilt *prebuilt = model->prebuilt;
    const tarei_index *index = prebuilt != NULL ? &prebuilt->table : &model->index;
    tare_stat stat = {
        .struct_size = size,
        .memory_size = model->memory.held_size,
        .index_reseeds = index->reseeds,
        .index_sorted = index->sorted != NULL,
        .probe_max = index->reach,
    };
    if (prebuilt == NULL) {
        stat.record_size = (uint64_t)model->tensors.count * sizeof(tarei_record);
        stat.name_size = model->tensors.text_size;
        stat.shape_size = model->parsed.layouts.size;
        stat.index_size = index->size + model->tensors.parts_size;
    } else {
        stat.index_file_size = prebuilt->size;
    }
    memcpy(out, &stat, size < sizeof stat ? size : sizeof stat);
}
