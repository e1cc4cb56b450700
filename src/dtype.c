#include <string.h>

#include "check.h"
#include "tare.h"

#define NAME_SIZE_MAX 16u

typedef struct dtype_facts {
    char name[NAME_SIZE_MAX]; /* filled up with zeros, so that a name is two words */
    uint32_t bits;
    uint32_t block_count;
    uint32_t block_size;
} dtype_facts;

/* The fewest elements of some bits that fill whole bytes. */
#define WHOLE_COUNT(bits) ((bits) % 8 == 0 ? 1 : (bits) % 4 == 0 ? 2 : 4)

static const dtype_facts facts[] = {
#define PLAIN(name, value, bits) \
    [value] = {#name, bits, WHOLE_COUNT(bits), WHOLE_COUNT(bits) * (bits) / 8},
#define BLOCK(name, value, count, size) [value] = {#name, 0, count, size},
    TARE_DTYPE_LIST(PLAIN) TARE_DTYPE_BLOCK_LIST(BLOCK)
#undef BLOCK
#undef PLAIN
};

enum { FACTS_COUNT = sizeof facts / sizeof facts[0] };

const char *tare_dtype_name(tare_dtype dtype)
{
    return dtype != 0 && dtype < FACTS_COUNT ? facts[dtype].name : NULL;
}

uint32_t tare_dtype_bits(tare_dtype dtype)
{
    return dtype < FACTS_COUNT ? facts[dtype].bits : 0;
}

uint32_t tare_dtype_block_count(tare_dtype dtype)
{
    return dtype < FACTS_COUNT ? facts[dtype].block_count : 0;
}

uint32_t tare_dtype_block_size(tare_dtype dtype)
{
    return dtype < FACTS_COUNT ? facts[dtype].block_size : 0;
}

int tare_dtype_can_save(tare_dtype dtype)
{
    return dtype >= TARE_DTYPE_BOOL && dtype <= TARE_DTYPE_U64;
}

/* Comparing words beats calling memcmp for each. */
static inline tare_dtype find_between(tare_dtype first, tare_dtype end, const char *wanted)
{
    uint64_t low = tarei_load_64(wanted), high = tarei_load_64(wanted + 8);
    for (tare_dtype dtype = first; dtype < end; dtype++)
        if (tarei_load_64(facts[dtype].name) == low && tarei_load_64(facts[dtype].name + 8) == high)
            return dtype;
    return 0;
}

/* Every tensor of a safetensors header comes through here: those that it can have come first, few
 * enough to be compared without a loop. */
tare_dtype tare_dtype_find(const char *name, size_t name_size)
{
    char wanted[NAME_SIZE_MAX] = {0};
    if (name_size == 0 || name_size >= NAME_SIZE_MAX || memchr(name, 0, name_size) != NULL)
        return 0;
    memcpy(wanted, name, name_size);
    tare_dtype plain = find_between(1, TARE_DTYPE_U64 + 1, wanted);
    return plain != 0 ? plain : find_between(TARE_DTYPE_U64 + 1, FACTS_COUNT, wanted);
}
