#include "colliding_hash.h"

enum { SEED_MAX = 16 };

static enum colliding_kind kind;
static unsigned bad_seeds, seed_count;
static uint64_t seeds[SEED_MAX];

void colliding_set(enum colliding_kind new_kind, unsigned new_bad_seeds)
{
    kind = new_kind;
    bad_seeds = new_bad_seeds;
    seed_count = 0;
}

static unsigned seed_number(uint64_t seed)
{
    for (unsigned i = 0; i < seed_count; i++)
        if (seeds[i] == seed) return i;
    if (seed_count == SEED_MAX) return SEED_MAX;
    seeds[seed_count] = seed;
    return seed_count++;
}

/* FNV-1a with the finish of MurmurHash3: fair enough for tests. */
static uint64_t fair_hash(const unsigned char *name, size_t size, uint64_t seed)
{
    uint64_t hash = seed ^ UINT64_C(14695981039346656037);
    for (size_t i = 0; i < size; i++) hash = (hash ^ name[i]) * UINT64_C(1099511628211);
    hash = (hash ^ hash >> 33) * UINT64_C(0xFF51AFD7ED558CCD);
    hash = (hash ^ hash >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
    return hash ^ hash >> 33;
}

uint64_t colliding_hash(const void *name, size_t size, uint64_t seed)
{
    uint64_t hash = fair_hash(name, size, seed);
    if (seed_number(seed) >= bad_seeds) return hash;
    switch (kind) {
    case COLLIDING_ALL: return 77;
    case COLLIDING_SLOTS: return hash & UINT64_C(0xFFFFFFFF00000000);
    case COLLIDING_LAST: return hash | UINT64_C(0xFFFFFFFF);
    case COLLIDING_TAGS: return hash & UINT64_C(0xFFFFFFFF);
    case COLLIDING_START: return fair_hash(name, size < 8 ? size : 8, seed);
    case COLLIDING_NOT: break;
    }
    return hash;
}
