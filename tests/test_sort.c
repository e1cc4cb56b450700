#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sort.h"
#include "support/expect.h"
#include "support/name_sets.h"

typedef struct keys {
    const uint32_t *values;
    size_t *comparisons;
} keys;

static int compare_keys(const void *context, uint32_t a, uint32_t b)
{
    const keys *k = context;
    ++*k->comparisons;
    return (k->values[a] > k->values[b]) - (k->values[a] < k->values[b]);
}

/* Sorts the places of `values`, checks order and stability, returns how often it compared. */
static size_t check_sort(const char *what, const uint32_t *values, uint32_t count)
{
    size_t comparisons = 0, bytes = (count + 1) * sizeof(uint32_t);
    uint32_t *items = malloc(bytes), *scratch = malloc(count ? count * sizeof *scratch : 1);
    uint8_t *seen = calloc(count + 1, 1);
    for (uint32_t i = 0; i < count; i++) items[i] = i;
    items[count] = 0xA5A5A5A5;
    keys context = {values, &comparisons};
    tarei_sort(items, scratch, count, compare_keys, &context);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_lt(items[i], count, "%s: item %u", what, i);
        cr_assert_eq(seen[items[i]]++, 0, "%s: item %u twice", what, i);
        if (i == 0) continue;
        uint32_t before = values[items[i - 1]], here = values[items[i]];
        cr_assert_leq(before, here, "%s: item %u", what, i);
        if (before == here) cr_assert_lt(items[i - 1], items[i], "%s: item %u not stable", what, i);
    }
    cr_expect_eq(items[count], 0xA5A5A5A5, "%s: writes beyond the end", what);
    free(items);
    free(scratch);
    free(seen);
    return comparisons;
}

static uint32_t values[10000];

enum { COUNT = sizeof values / sizeof values[0], LOG2 = 14 };

Test(sort, sorts_every_arrangement_of_up_to_six_numbers)
{
    for (uint32_t count = 0; count <= 6; count++) {
        uint32_t arrangements = 1;
        for (uint32_t i = 0; i < count; i++) arrangements *= count;
        for (uint32_t a = 0; a < arrangements; a++) {
            uint32_t left = a, few[6];
            for (uint32_t i = 0; i < count; i++, left /= count) few[i] = left % count;
            check_sort("few", few, count);
        }
    }
}

Test(sort, looks_only_once_at_what_is_in_order)
{
    for (uint32_t i = 0; i < COUNT; i++) values[i] = i / 3;
    cr_expect_lt(check_sort("in order", values, COUNT), COUNT);
}

Test(sort, two_runs_take_one_pass)
{
    for (uint32_t i = 0; i < COUNT; i++) values[i] = i < COUNT / 2 ? 2 * i + 1 : 2 * i - COUNT;
    cr_expect_lt(check_sort("two runs", values, COUNT), 4 * COUNT);
}

Test(sort, the_worst_orders_take_n_log_n)
{
    uint64_t state = 7;
    for (uint32_t i = 0; i < COUNT; i++) values[i] = COUNT - i;
    cr_expect_lt(check_sort("reversed", values, COUNT), 2 * COUNT * (LOG2 + 1));
    for (uint32_t i = 0; i < COUNT; i++) values[i] = i % 2 ? i : COUNT - i;
    cr_expect_lt(check_sort("zigzag", values, COUNT), 2 * COUNT * (LOG2 + 1));
    for (uint32_t i = 0; i < COUNT; i++) values[i] = (uint32_t)name_random(&state);
    cr_expect_lt(check_sort("random", values, COUNT), 2 * COUNT * (LOG2 + 1));
    for (uint32_t i = 0; i < COUNT; i++) values[i] = (uint32_t)(name_random(&state) % 4);
    cr_expect_lt(check_sort("few values", values, COUNT), 2 * COUNT * (LOG2 + 1));
}

Test(sort, compare_orders_bytes_and_puts_the_shorter_first)
{
    static const tare_string texts[] = {{NULL, 0}, {"", 1},  {"a", 1},    {"a", 2},
                                        {"ab", 2}, {"b", 1}, {"\x7f", 1}, {"\xff", 1}};
    size_t count = sizeof texts / sizeof texts[0];
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            int order =
                tarei_sort_compare(texts[i].data, texts[i].size, texts[j].data, texts[j].size);
            cr_expect_eq((order > 0) - (order < 0), (i > j) - (i < j), "%zu, %zu", i, j);
        }
}
