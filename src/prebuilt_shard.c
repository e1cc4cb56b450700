/* The files of a model from an index file: whether they are those that it was built from, and
 * opening them when somebody wants their bytes. */
#include <inttypes.h>
#include <string.h>

#include "digest.h"
#include "prebuilt.h"

#define PIECE_SIZE ((size_t)64 << 10)

tare_status tarei_prebuilt_compare(const tarei_prebuilt_shard *built,
                                   const tarei_os_identity *found, uint32_t number,
                                   tare_error *error)
{
    if (found->size != built->size)
        return tarei_error_set(error, TARE_E_STALE, number, TARE_NO_OFFSET,
                               "it has %" PRIu64 " bytes, and had %" PRIu64
                               " when the index was built",
                               found->size, built->size);
    if (found->modified_s != built->modified_s || found->modified_ns != built->modified_ns)
        return tarei_error_set(error, TARE_E_STALE, number, TARE_NO_OFFSET,
                               "modified since the index was built");
    return TARE_OK;
}

tare_status tarei_prebuilt_hash(const tarei_source *source, uint32_t number, uint64_t size,
                                tare_digest *out, tare_error *error)
{
    unsigned char piece[PIECE_SIZE];
    tarei_digest_state state;
    tarei_digest_begin(&state);
    for (uint64_t at = 0; at < size; at += sizeof piece) {
        size_t some = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;
        tare_status status = tarei_source_read(source, number, at, piece, some, error);
        if (status != TARE_OK) return status;
        tarei_digest_add(&state, piece, some);
    }
    *out = tarei_digest_end(&state);
    return TARE_OK;
}

/* Opens and maps a shard that was seen when the model was opened, if it is still the same file. */
static tare_status open_shard(const tare_model *model, const tarei_shard *shard, uint32_t number,
                              tarei_source *source, tare_error *error)
{
    uint32_t backing = model->prebuilt->backing;
    tare_status status =
        tarei_source_file_open(source, model->prebuilt->folder, shard->name.data, number, error);
    if (status != TARE_OK) return status;
    source->copy_on_write = model->prebuilt->copy_on_write;
    if (!tarei_source_same(&source->identity, &shard->source.identity)) {
        status = tarei_error_set(error, TARE_E_CHANGED, number, TARE_NO_OFFSET,
                                 "changed or replaced since the model was opened");
        tarei_error_prefix(error, shard->name);
    } else if (backing != TARE_BACKING_READ) {
        status = tarei_source_map(source, shard->name.data, number, error);
        if (status == TARE_E_MAP && backing == TARE_BACKING_AUTO) status = TARE_OK;
    }
    if (status != TARE_OK) tarei_source_close(source);
    return status;
}

/* Whoever comes first opens it; who comes meanwhile waits, since that takes no longer than to do it
 * oneself; who comes later finds it open by one load. */
const tarei_source *tarei_prebuilt_source(const tare_model *model, uint32_t number,
                                          tare_error *error)
{
    tarei_shard *shard = &model->shards[number];
    for (;;) {
        int state = atomic_load_explicit(&shard->state, memory_order_acquire);
        if (state == TAREI_SHARD_OPEN) return &shard->source;
        if (state == TAREI_SHARD_OPENING)
            tarei_os_yield();
        else if (atomic_compare_exchange_strong(&shard->state, &state, TAREI_SHARD_OPENING))
            break;
    }
    tarei_source source;
    tare_status status = open_shard(model, shard, number, &source, error);
    if (status == TARE_OK) { /* size and identity, which others may look at, are there already */
        shard->source.read_at = source.read_at;
        shard->source.bytes = source.bytes;
        shard->source.descriptor = source.descriptor;
    }
    atomic_store_explicit(&shard->state, status == TARE_OK ? TAREI_SHARD_OPEN : TAREI_SHARD_CLOSED,
                          memory_order_release);
    return status == TARE_OK ? &shard->source : NULL;
}
