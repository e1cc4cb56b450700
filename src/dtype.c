#include <string.h>

#include "check.h"
#include "tare.h"

#define NAME_SIZE_MAX 16u

typedef struct dtype_facts {
    char name[NAME_SIZE_MAX]; /* filled up with zeros, so that a name is two words */
    uint32_t bits;
} dtype_facts;

static const dtype_facts facts[] = {
#define FACTS(name, value, bits) [value] = {#name, bits},
    TARE_DTYPE_LIST(FACTS)
#undef FACTS
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

int tare_dtype_can_save(tare_dtype dtype)
{
    return dtype >= TARE_DTYPE_BOOL && dtype <= TARE_DTYPE_U64;
}

/* Every tensor of a header comes through here: comparing words beats calling memcmp 22 times. */
tare_dtype tare_dtype_find(const char *name, size_t name_size)
{
    char wanted[NAME_SIZE_MAX] = {0};
    if (name_size == 0 || name_size >= NAME_SIZE_MAX || memchr(name, 0, name_size) != NULL)
        return 0;
    memcpy(wanted, name, name_size);
    uint64_t low = tarei_load_64(wanted), high = tarei_load_64(wanted + 8);
    for (tare_dtype dtype = 1; dtype < FACTS_COUNT; dtype++)
        if (tarei_load_64(facts[dtype].name) == low && tarei_load_64(facts[dtype].name + 8) == high)
            return dtype;
    return 0;
}
