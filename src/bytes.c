#include <inttypes.h>
#include <stdio.h>

#include "internal.h"

/* What empty tensors point to where nothing is in memory: absent and empty differ. */
static const uint8_t nothing[64];

/* Also where a shard is not in memory, or an index file not trusted. */
__attribute__((noinline)) static const void *find_data(const tare_model *model,
                                                       const tare_tensor *tensor, uint64_t begin,
                                                       uint64_t size)
{
    tare_error unused;
    tarei_look look;
    if (!tarei_model_look(model, tensor, NULL, &look)) return NULL;
    if (begin > look.size || size > look.size - begin) return NULL;
    if (look.size == 0) return nothing;
    const tarei_source *source = tarei_model_source(model, look.shard, &unused);
    return source != NULL && source->bytes != NULL ? source->bytes + look.offset + begin : NULL;
}

const void *tare_data(const tare_model *model, const tare_tensor *tensor)
{
    const tarei_shard *shards = model->resident;
    if (shards == NULL) return find_data(model, tensor, 0, 0);
    return shards[tarei_record_shard(tensor)].bytes + tarei_record_offset(tensor);
}

const void *tare_data_at(const tare_model *model, const tare_tensor *tensor, uint64_t begin,
                         size_t size)
{
    return find_data(model, tensor, begin, size);
}

size_t tare_alignment(const tare_model *model, const tare_tensor *tensor)
{
    uintptr_t address = (uintptr_t)tare_data(model, tensor);
    size_t lowest = (size_t)(address & (~address + 1));
    return lowest < TAREI_ALIGNMENT_MAX ? lowest : TAREI_ALIGNMENT_MAX;
}

tare_status tarei_bytes_refuse(const tare_model *model, const tare_tensor *tensor,
                               tare_status status, const char *why, tare_error *error)
{
    tarei_look look;
    tare_string name = tarei_names_get(&model->tensors, tensor);
    bool good = tarei_model_look(model, tensor, NULL, &look);
    return tarei_error_set(error, status, look.shard, good ? look.offset : TARE_NO_OFFSET,
                           "tensor %s: %s", tarei_quote(name.data, name.size).text, why);
}

static void name_tensor(const tare_model *model, const tare_tensor *tensor, uint32_t shard,
                        const tare_error *failure, tare_error *error)
{
    tare_string name = tarei_names_get(&model->tensors, tensor);
    /* Who has no source says why. NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
    tarei_error_set(error, failure->status, shard, failure->offset, "tensor %s: %.240s",
                    tarei_quote(name.data, name.size).text, failure->message);
    error->system_error = failure->system_error;
}

tare_status tarei_bytes_fail(const tare_model *model, const tare_tensor *tensor,
                             const tare_error *failure, tare_error *error)
{
    tarei_look look;
    bool good = tarei_model_look(model, tensor, NULL, &look);
    name_tensor(model, tensor, look.shard, failure, error);
    return good ? tarei_error_prefix(error, model->shards[look.shard].name) : error->status;
}

tare_status tarei_bytes_look(const tare_model *model, const tare_tensor *tensor,
                             uint64_t *shape_copy, tarei_look *look, tare_error *error)
{
    if (tarei_model_look(model, tensor, shape_copy, look)) return TARE_OK;
    return tarei_bytes_refuse(model, tensor, TARE_E_PREBUILT,
                              "its index file is damaged: it leads outside of the model", error);
}

const tarei_source *tarei_bytes_open(const tare_model *model, const tare_tensor *tensor,
                                     uint32_t shard, tare_error *error)
{
    tare_error failure;
    const tarei_source *source = tarei_model_source(model, shard, &failure);
    if (source == NULL) name_tensor(model, tensor, shard, &failure, error); /* it names the file */
    return source;
}

const tarei_source *tarei_bytes_source(const tare_model *model, const tare_tensor *tensor,
                                       tarei_look *look, tare_error *error)
{
    if (tarei_bytes_look(model, tensor, NULL, look, error) != TARE_OK) return NULL;
    return tarei_bytes_open(model, tensor, look->shard, error);
}

tare_status tarei_bytes_read(const tare_model *model, const tare_tensor *tensor,
                             const tarei_source *source, const tarei_look *look, uint64_t begin,
                             void *target, size_t size, tare_error *error)
{
    tare_error failure;
    tare_status status =
        tarei_source_read(source, look->shard, look->offset + begin, target, size, &failure);
    if (status != TARE_OK) return tarei_bytes_fail(model, tensor, &failure, error);
    tarei_error_clear(error);
    return TARE_OK;
}

tare_status tare_ready(const tare_model *model, const tare_tensor *tensor, tare_error *error)
{
    tare_error unused;
    tarei_look look;
    if (error == NULL) error = &unused;
    tarei_error_clear(error);
    if (tensor != NULL)
        return tarei_bytes_source(model, tensor, &look, error) != NULL ? TARE_OK : error->status;
    for (uint32_t i = 0; i < model->shard_count; i++)
        if (tarei_model_source(model, i, error) == NULL) return error->status;
    return TARE_OK;
}

/* A part of a tensor that is within it, of a caller's call. */
static tare_status read_part(const tare_model *model, const tare_tensor *tensor,
                             const tarei_look *look, uint64_t begin, void *target, size_t size,
                             tare_error *error)
{
    if (target == NULL && size != 0)
        return tarei_bytes_refuse(model, tensor, TARE_E_ARGUMENT, "target is NULL", error);
    tarei_error_clear(error);
    if (size == 0) return TARE_OK;
    const tarei_source *source = tarei_bytes_open(model, tensor, look->shard, error);
    if (source == NULL) return error->status;
    return tarei_bytes_read(model, tensor, source, look, begin, target, size, error);
}

tare_status tare_read_at(const tare_model *model, const tare_tensor *tensor, uint64_t begin,
                         void *target, size_t target_size, tare_error *error)
{
    tare_error unused;
    tarei_look look;
    if (error == NULL) error = &unused;
    tare_status status = tarei_bytes_look(model, tensor, NULL, &look, error);
    if (status != TARE_OK) return status;
    if (begin > look.size || target_size > look.size - begin) {
        char why[120];
        snprintf(why, sizeof why, "it has %" PRIu64 " bytes, asked for %zu from %" PRIu64,
                 look.size, target_size, begin);
        return tarei_bytes_refuse(model, tensor, TARE_E_TARGET_SIZE, why, error);
    }
    return read_part(model, tensor, &look, begin, target, target_size, error);
}

tare_status tare_read(const tare_model *model, const tare_tensor *tensor, void *target,
                      size_t target_size, tare_error *error)
{
    tare_error unused;
    tarei_look look;
    if (error == NULL) error = &unused;
    tare_status status = tarei_bytes_look(model, tensor, NULL, &look, error);
    if (status != TARE_OK) return status;
    if (target_size != look.size) {
        char why[96];
        snprintf(why, sizeof why, "it has %" PRIu64 " bytes, the target %zu", look.size,
                 target_size);
        return tarei_bytes_refuse(model, tensor, TARE_E_TARGET_SIZE, why, error);
    }
    return read_part(model, tensor, &look, 0, target, target_size, error);
}
