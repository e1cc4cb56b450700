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

/* Stands for the mapping of a shard that is open and not mapped. */
static const uint8_t unmapped[1];

/*
 * Each part is that of whoever comes first, since all have opened the same file; the rest is closed
 * here. Nobody waits for anybody, and each step may be the last one of a thread that a child of
 * fork() does not have: who comes then takes the next. Once the shard is open nothing is put any
 * more, so that the source can be looked at without care. Whether there is a mapping is settled
 * before bytes are put: they would come late otherwise, where one thread could map and another
 * could not.
 */
static void publish(tarei_shard *shard, const tarei_source *own)
{
    tarei_source *source = &shard->source;
    int no_descriptor = -1;
    const uint8_t *no_bytes = NULL, *mapping = NULL;
    const uint8_t *own_mapping = own->bytes != NULL ? own->bytes : unmapped;
    if (!atomic_compare_exchange_strong(&source->descriptor, &no_descriptor, own->descriptor))
        tarei_os_close(own->descriptor);
    if (atomic_compare_exchange_strong(&shard->mapping, &mapping, own_mapping))
        mapping = own_mapping;
    else if (own->bytes != NULL)
        tarei_os_unmap(own->bytes, (size_t)own->size);
    if (mapping != unmapped)
        (void)atomic_compare_exchange_strong(&source->bytes, &no_bytes, mapping);
    atomic_store_explicit(&shard->open, true, memory_order_release);
}

/* Whoever finds it closed opens it, however many do so at once; who comes later finds it open by
 * one load. */
const tarei_source *tarei_prebuilt_source(const tare_model *model, uint32_t number,
                                          tare_error *error)
{
    tarei_shard *shard = &model->shards[number];
    if (atomic_load_explicit(&shard->open, memory_order_acquire)) return &shard->source;
    tarei_source own;
    if (open_shard(model, shard, number, &own, error) == TARE_OK)
        publish(shard, &own);
    else if (!atomic_load_explicit(&shard->open, memory_order_acquire))
        return NULL;
    else
        tarei_error_clear(error); /* there was a descriptor less, say, for what is open by now */
    return &shard->source;
}
