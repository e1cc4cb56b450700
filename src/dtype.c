#include <string.h>

#include "tare.h"

typedef struct dtype_facts {
    const char *name;
    uint32_t name_size;
    uint32_t bits;
} dtype_facts;

static const dtype_facts facts[] = {
#define FACTS(name, value, bits) [value] = {#name, sizeof #name - 1, bits},
    TARE_DTYPE_LIST(FACTS)
#undef FACTS
};

enum { FACTS_COUNT = sizeof facts / sizeof facts[0] };

const char *tare_dtype_name(tare_dtype dtype)
{
    return dtype < FACTS_COUNT ? facts[dtype].name : NULL;
}

uint32_t tare_dtype_bits(tare_dtype dtype)
{
    return dtype < FACTS_COUNT ? facts[dtype].bits : 0;
}

tare_dtype tare_dtype_find(const char *name, size_t name_size)
{
    for (tare_dtype dtype = 1; dtype < FACTS_COUNT; dtype++) {
        if (facts[dtype].name_size == name_size && memcmp(facts[dtype].name, name, name_size) == 0)
            return dtype;
    }
    return 0;
}
