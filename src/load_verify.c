#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

static tare_status compare(const tarei_load_verify *verify, uint32_t entry, tare_digest found,
                           tare_error *error)
{
    const tarei_load_plan *plan = verify->plan;
    tare_digest wanted = verify->digests[entry];
    if (tarei_digest_equal(found, wanted)) return TARE_OK;
    const tare_tensor *tensor = tarei_load_tensor(plan, entry);
    char why[160];
    snprintf(why, sizeof why,
             "its digest is %016" PRIx64 "%016" PRIx64 ", expected %016" PRIx64 "%016" PRIx64,
             found.high, found.low, wanted.high, wanted.low);
    tarei_bytes_refuse(plan->model, tensor, TARE_E_DIGEST, why, error);
    if (error->shard != TARE_NO_SHARD)
        tarei_error_prefix(error, plan->model->shards[error->shard].name);
    return TARE_E_DIGEST;
}

static tare_status compare_empty(const tarei_load_verify *verify, tare_error *error)
{
    const tarei_load_plan *plan = verify->plan;
    tare_digest empty = tarei_digest_make("", 0);
    tare_status status = TARE_OK;
    for (uint32_t i = 0; i < plan->entry_count && status == TARE_OK; i++)
        if (tare_size(plan->model, tarei_load_tensor(plan, i)) == 0)
            status = compare(verify, i, empty, error);
    return status;
}

tare_status tarei_load_verify_begin(tarei_load_verify *verify, const tarei_load_plan *plan,
                                    const tare_digest *digests, tare_error *error)
{
    memset(verify, 0, sizeof *verify);
    verify->plan = plan;
    if (digests == NULL) return TARE_OK;
    verify->digests = digests;
    verify->streams =
        tarei_memory_take(plan->memory, plan->stream_count * (uint64_t)sizeof *verify->streams,
                          _Alignof(tarei_load_stream));
    verify->complete = tarei_memory_take(plan->memory, plan->chunk_count, 1);
    if (verify->streams == NULL || verify->complete == NULL) return tarei_error_memory(error);
    for (uint32_t i = 0; i < plan->chunk_count; i++) {
        const tarei_load_chunk *chunk = &plan->chunks[i];
        atomic_init(&verify->complete[i], 0);
        for (uint32_t p = chunk->part; p < chunk->part + chunk->part_count; p++) {
            if (plan->parts[p].stream == TAREI_LOAD_WHOLE) continue;
            tarei_load_stream *stream = &verify->streams[plan->parts[p].stream];
            if (chunk->begin <= (plan->parts[p].where & TAREI_OFFSET_MAX)) {
                stream->part = p;
                stream->chunk = i;
                atomic_init(&stream->busy, false);
                tarei_digest_begin(&stream->state);
            }
            stream->chunk_end = i + 1;
        }
    }
    return compare_empty(verify, error);
}

/*
 * Hashing has an order, reading has none. Whoever completes a chunk goes on with as many as are
 * complete by then, unless another thread is at it: that one looks again once it is no longer busy,
 * so that no chunk is left behind. Whoever reaches the end stays busy.
 */
static tare_status hash_on(tarei_load_verify *verify, tarei_load_stream *stream,
                           const tarei_load_part *part, tare_error *error)
{
    while (!atomic_exchange(&stream->busy, true)) {
        uint32_t at = stream->chunk;
        for (; at < stream->chunk_end && atomic_load(&verify->complete[at]); at++) {
            tarei_load_span span = tarei_load_span_of(&verify->plan->chunks[at], part);
            tarei_digest_add(&stream->state, span.target, (size_t)span.size);
        }
        if (at == stream->chunk_end)
            return compare(verify, part->entry, tarei_digest_end(&stream->state), error);
        stream->chunk = at;
        atomic_store(&stream->busy, false);
        if (!atomic_load(&verify->complete[at])) break;
    }
    return TARE_OK;
}

tare_status tarei_load_verify_chunk(tarei_load_verify *verify, uint32_t number,
                                    const tarei_load_part *parts, tare_error *error)
{
    if (verify->digests == NULL) return TARE_OK;
    const tarei_load_plan *plan = verify->plan;
    const tarei_load_chunk *chunk = &plan->chunks[number];
    tare_status status = TARE_OK;
    atomic_store(&verify->complete[number], 1);
    for (uint32_t i = 0; i < chunk->part_count && status == TARE_OK; i++) {
        const tarei_load_part *part = &parts[i];
        const uint8_t *bytes = (const uint8_t *)(uintptr_t)part->target;
        status =
            part->stream == TAREI_LOAD_WHOLE
                ? compare(verify, part->entry, tarei_digest_make(bytes, (size_t)part->size), error)
                : hash_on(verify, &verify->streams[part->stream], part, error);
    }
    return status;
}

void tarei_load_verify_free(tarei_load_verify *verify)
{
    const tarei_load_plan *plan = verify->plan;
    tarei_memory_give(plan->memory, verify->streams,
                      plan->stream_count * (uint64_t)sizeof *verify->streams,
                      _Alignof(tarei_load_stream));
    tarei_memory_give(plan->memory, verify->complete, plan->chunk_count, 1);
}
