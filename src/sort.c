#include "sort.h"

#include <string.h>

typedef struct sorter {
    int (*compare)(const void *context, uint32_t a, uint32_t b);
    const void *context;
} sorter;

/* End of the run that starts at `at`: the longest stretch in order. */
static uint32_t run_end(const sorter *s, const uint32_t *items, uint32_t at, uint32_t count)
{
    for (at++; at < count; at++)
        if (s->compare(s->context, items[at - 1], items[at]) > 0) break;
    return at < count ? at : count;
}

static void merge(const sorter *s, const uint32_t *a, const uint32_t *a_end, const uint32_t *b,
                  const uint32_t *b_end, uint32_t *out)
{
    while (a < a_end && b < b_end) *out++ = s->compare(s->context, *a, *b) <= 0 ? *a++ : *b++;
    memcpy(out, a, (size_t)(a_end - a) * sizeof *a);
    memcpy(out + (a_end - a), b, (size_t)(b_end - b) * sizeof *b);
}

void tarei_sort(uint32_t *items, uint32_t *scratch, uint32_t count,
                int (*compare)(const void *context, uint32_t a, uint32_t b), const void *context)
{
    const sorter s = {compare, context};
    for (;;) { /* one pass merges neighbouring runs, halving their number */
        uint32_t first = run_end(&s, items, 0, count);
        if (first >= count) return;
        for (uint32_t at = 0; at < count;) {
            uint32_t middle = at == 0 ? first : run_end(&s, items, at, count);
            uint32_t end = middle < count ? run_end(&s, items, middle, count) : count;
            merge(&s, items + at, items + middle, items + middle, items + end, scratch + at);
            at = end;
        }
        memcpy(items, scratch, (size_t)count * sizeof *items);
    }
}

int tarei_sort_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    size_t least = a_size < b_size ? a_size : b_size;
    int order = least != 0 ? memcmp(a, b, least) : 0;
    if (order != 0) return order;
    return a_size < b_size ? -1 : a_size > b_size;
}
