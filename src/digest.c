#include "digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "internal.h"

#define HASH_PIECE_SIZE 65536u /* on the stack; as large as keeps system calls from counting */

_Static_assert(sizeof(XXH3_state_t) <= sizeof(tarei_digest_state), "a state holds it");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(tarei_digest_state), "and is aligned for it");

static tare_digest from_hash(XXH128_hash_t hash)
{
    return (tare_digest){.low = hash.low64, .high = hash.high64};
}

tare_digest tarei_digest_make(const void *bytes, size_t size)
{
    return from_hash(XXH3_128bits(bytes, size));
}

bool tarei_digest_equal(tare_digest a, tare_digest b)
{
    return a.low == b.low && a.high == b.high;
}

void tarei_digest_begin(tarei_digest_state *state)
{
    XXH3_128bits_reset((XXH3_state_t *)(void *)state);
}

void tarei_digest_add(tarei_digest_state *state, const void *bytes, size_t size)
{
    XXH3_128bits_update((XXH3_state_t *)(void *)state, bytes, size);
}

tare_digest tarei_digest_end(const tarei_digest_state *state)
{
    return from_hash(XXH3_128bits_digest((const XXH3_state_t *)(const void *)state));
}

/* Through the descriptor also where the file is mapped, since touching a mapping may raise a
 * signal. */
static tare_status hash_pieces(const tare_model *model, const tare_tensor *tensor,
                               tarei_digest_state *state, tare_error *error)
{
    unsigned char piece[HASH_PIECE_SIZE];
    uint64_t size = tarei_model_layout(model, tensor)->size;
    for (uint64_t at = 0; at < size;) {
        size_t ask = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;
        tare_status status = tarei_bytes_read(model, tensor, at, piece, ask, error);
        if (status != TARE_OK) return status;
        tarei_digest_add(state, piece, ask);
        at += ask;
    }
    return TARE_OK;
}

tare_status tare_hash(const tare_model *model, const tare_tensor *tensor, tare_digest *out,
                      tare_error *error)
{
    tare_error unused;
    tarei_digest_state state;
    if (error == NULL) error = &unused;
    tarei_error_clear(error);
    if (out == NULL)
        return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "out is NULL");
    *out = (tare_digest){0, 0};
    tarei_digest_begin(&state);
    const tarei_source *source = &model->shards[tarei_record_shard(tensor)].source;
    if (source->descriptor < 0 && source->bytes != NULL) {
        tarei_digest_add(&state, source->bytes + tarei_record_offset(tensor),
                         (size_t)tarei_model_layout(model, tensor)->size);
    } else {
        tare_status status = hash_pieces(model, tensor, &state, error);
        if (status != TARE_OK) return status;
    }
    *out = tarei_digest_end(&state);
    return TARE_OK;
}
