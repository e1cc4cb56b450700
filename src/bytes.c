#include <inttypes.h>

#include "internal.h"

#define ALIGNMENT_MAX ((size_t)2 << 20)

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
    return lowest < ALIGNMENT_MAX ? lowest : ALIGNMENT_MAX;
}

tare_status tare_read(const tare_model *model, const tare_tensor *tensor, void *target,
                      size_t target_size, tare_error *error)
{
    tare_error unused;
    if (error == NULL) error = &unused;
    uint64_t size = tarei_model_layout(model, tensor)->size;
    uint64_t offset = tarei_record_offset(tensor);
    uint32_t shard = tarei_record_shard(tensor);
    tare_string name = tarei_names_at(&model->tensors, tensor);
    if (target_size != size || (target == NULL && size != 0))
        return tarei_error_set(error, target_size != size ? TARE_E_TARGET_SIZE : TARE_E_ARGUMENT,
                               shard, offset,
                               "tensor %s: it has %" PRIu64 " bytes, the target %zu",
                               tarei_quote(name.data, name.size).text, size,
                               target == NULL ? 0 : target_size);
    tarei_error_clear(error);
    tare_error failure;
    tare_status status = tarei_source_read(&model->shards[shard].source, shard, offset, target,
                                            target_size, &failure);
    if (status == TARE_OK) return TARE_OK;
    tarei_error_set(error, status, shard, offset, "tensor %s: %.240s",
                    tarei_quote(name.data, name.size).text, failure.message);
    error->system_error = failure.system_error;
    return status;
}
