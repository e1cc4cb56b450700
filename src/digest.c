#include "digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

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
