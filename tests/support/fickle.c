#include "fickle.h"

#include <stdlib.h>
#include <string.h>

enum { LOADED_MAX = 4096 };

static struct {
    void *at;
    uint64_t value;
    size_t size;
} loaded[LOADED_MAX];
static size_t loaded_count;
static uint64_t growth; /* 0: nothing changes */

static uint64_t load(const void *from, size_t size)
{
    void *at = (void *)(uintptr_t)from;
    uint64_t value = 0;
    memcpy(&value, at, size);
    if (growth == 0) return value;
    if (loaded_count == LOADED_MAX) abort();
    loaded[loaded_count].at = at;
    loaded[loaded_count].value = value;
    loaded[loaded_count++].size = size;
    uint64_t other = value + growth; /* of fewer bytes the lower ones */
    memcpy(at, &other, size);
    return value;
}

void fickle_begin(uint64_t change)
{
    loaded_count = 0;
    growth = change;
}

size_t fickle_end(void)
{
    size_t count = loaded_count;
    growth = 0;
    for (; loaded_count != 0; loaded_count--)
        memcpy(loaded[loaded_count - 1].at, &loaded[loaded_count - 1].value,
               loaded[loaded_count - 1].size);
    return count;
}

uint32_t fickle_32(const uint32_t *from)
{
    return (uint32_t)load(from, sizeof *from);
}

uint64_t fickle_64(const uint64_t *from)
{
    return load(from, sizeof *from);
}
