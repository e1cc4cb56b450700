/* XXH3-128, of bytes at once or piece by piece. */
#ifndef TAREI_DIGEST_H
#define TAREI_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#include "tare.h"

tare_digest tarei_digest_make(const void *bytes, size_t size);
bool tarei_digest_equal(tare_digest a, tare_digest b);

typedef struct tarei_digest_state {
    _Alignas(64) unsigned char opaque[576];
} tarei_digest_state;

void tarei_digest_begin(tarei_digest_state *state);
void tarei_digest_add(tarei_digest_state *state, const void *bytes, size_t size);
tare_digest tarei_digest_end(const tarei_digest_state *state);

#endif
