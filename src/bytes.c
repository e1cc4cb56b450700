#include <inttypes.h>
#include <stdio.h>

#include "internal.h"

/* What empty tensors point to where nothing is in memory: absent and empty differ. */
static const uint8_t nothing[64];

const void *tare_data(const tare_model *model, const tare_tensor *tensor)
{
    const uint8_t *bytes = model->shards[tarei_record_shard(tensor)].bytes;
    if (bytes != NULL) return bytes + tarei_record_offset(tensor);
    return tarei_model_layout(model, tensor)->size == 0 ? nothing : NULL;
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
    tare_string name = tarei_names_at(&model->tensors, tensor);
    return tarei_error_set(error, status, tarei_record_shard(tensor), tarei_record_offset(tensor),
                           "tensor %s: %s", tarei_quote(name.data, name.size).text, why);
}

tare_status tarei_bytes_fail(const tare_model *model, const tare_tensor *tensor,
                             const tare_error *failure, tare_error *error)
{
    uint32_t shard = tarei_record_shard(tensor);
    tare_string name = tarei_names_at(&model->tensors, tensor);
    tarei_error_set(error, failure->status, shard, failure->offset, "tensor %s: %.240s",
                    tarei_quote(name.data, name.size).text, failure->message);
    tarei_error_prefix(error, model->shards[shard].name);
    error->system_error = failure->system_error;
    return failure->status;
}

tare_status tarei_bytes_read(const tare_model *model, const tare_tensor *tensor, uint64_t begin,
                             void *target, size_t size, tare_error *error)
{
    tare_error failure;
    uint32_t shard = tarei_record_shard(tensor);
    tare_status status =
        tarei_source_read(&model->shards[shard].source, shard, tarei_record_offset(tensor) + begin,
                          target, size, &failure);
    if (status != TARE_OK) return tarei_bytes_fail(model, tensor, &failure, error);
    tarei_error_clear(error);
    return TARE_OK;
}

tare_status tare_read_at(const tare_model *model, const tare_tensor *tensor, uint64_t begin,
                         void *target, size_t target_size, tare_error *error)
{
    tare_error unused;
    if (error == NULL) error = &unused;
    uint64_t size = tarei_model_layout(model, tensor)->size;
    if (begin > size || target_size > size - begin) {
        char why[120];
        snprintf(why, sizeof why, "it has %" PRIu64 " bytes, asked for %zu from %" PRIu64, size,
                 target_size, begin);
        return tarei_bytes_refuse(model, tensor, TARE_E_TARGET_SIZE, why, error);
    }
    if (target == NULL && target_size != 0)
        return tarei_bytes_refuse(model, tensor, TARE_E_ARGUMENT, "target is NULL", error);
    return tarei_bytes_read(model, tensor, begin, target, target_size, error);
}

tare_status tare_read(const tare_model *model, const tare_tensor *tensor, void *target,
                      size_t target_size, tare_error *error)
{
    tare_error unused;
    if (error == NULL) error = &unused;
    uint64_t size = tarei_model_layout(model, tensor)->size;
    if (target_size == size) return tare_read_at(model, tensor, 0, target, target_size, error);
    char why[96];
    snprintf(why, sizeof why, "it has %" PRIu64 " bytes, the target %zu", size, target_size);
    return tarei_bytes_refuse(model, tensor, TARE_E_TARGET_SIZE, why, error);
}
