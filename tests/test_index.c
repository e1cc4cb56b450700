/* The table of names by itself. With a hash that collides: test_index_collisions.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "line.h"
#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/name_sets.h"
#include "support/name_table.h"

static alloc_probe probe;

Test(index, finds_every_name_at_its_record)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        name_set set = name_set_kinds[k].make();
        name_table table;
        name_table_make(&table, set.names, set.count, 20, TAREI_DUPLICATES_REFUSE, NULL);
        for (int sorted = 0; sorted < 2; sorted++) {
            if (sorted) name_table_sort(&table, TAREI_DUPLICATES_REFUSE);
            cr_assert_eq(table.status, TARE_OK, "%s", name_set_kinds[k].what);
            for (size_t i = 0; i < set.count; i++) {
                const tare_string *name = &set.names[i];
                cr_assert_eq(tarei_find_name(&table.index, name->data, name->size),
                             &table.records[i], "%s: name %zu", name_set_kinds[k].what, i);
            }
        }
        name_table_free(&table);
        name_set_free(&set);
    }
}

/* Also what tare.h promises of memory: 64 bytes a name, of which a record takes 16. A small table
 * has a power of two of lines and at least 2.5 names in each, a large one 6. */
Test(index, is_small_and_bounded_with_every_seed)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        name_set set = name_set_kinds[k].make();
        uint64_t seeds = set.count > 10000 ? 6 : 60;
        for (uint64_t seed = 0; seed < seeds; seed++) {
            name_table table;
            name_table_make(&table, set.names, set.count, seed * UINT64_C(0x9E3779B97F4A7C15),
                            TAREI_DUPLICATES_REFUSE, NULL);
            cr_assert_eq(table.status, TARE_OK, "%s", name_set_kinds[k].what);
            cr_expect_null(table.index.sorted, "%s: sorted", name_set_kinds[k].what);
            cr_expect_eq(table.index.reseeds, 0, "%s", name_set_kinds[k].what);
            cr_expect_leq(table.index.reach, TAREI_REACH_MAX / 2, "%s: %u lines",
                          name_set_kinds[k].what, table.index.reach);
            size_t each = tarei_index_is_small(&table.index) ? 26 : 12;
            cr_expect_leq(table.index.size, each * set.count + 66 * sizeof(tarei_line), "%s",
                          name_set_kinds[k].what);
            name_table_free(&table);
        }
        name_set_free(&set);
    }
}

Test(index, has_small_lines_up_to_a_count_and_large_ones_beyond)
{
    enum { COUNT = TAREI_SMALL_COUNT + 1 };
    static char text[COUNT][8];
    static tare_string names[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        names[i] = (tare_string){text[i], (size_t)snprintf(text[i], 8, "n%u", i)};
    for (size_t count = COUNT - 1; count <= COUNT; count++) {
        name_table table;
        name_table_make(&table, names, count, 20, TAREI_DUPLICATES_REFUSE, NULL);
        cr_assert_eq(table.status, TARE_OK);
        cr_expect_eq(tarei_index_is_small(&table.index), count < COUNT, "%zu", count);
        name_table_free(&table);
    }
}

Test(index, of_no_names_finds_none)
{
    name_table table;
    name_table_make(&table, NULL, 0, 1, TAREI_DUPLICATES_REFUSE, NULL);
    for (int sorted = 0; sorted < 2; sorted++) {
        if (sorted) name_table_sort(&table, TAREI_DUPLICATES_REFUSE);
        cr_expect_eq(table.status, TARE_OK);
        cr_expect_null(tarei_find_name(&table.index, "a", 1));
        cr_expect_null(tarei_find_name(&table.index, "", 0));
        cr_expect_null(tarei_find_name(&table.index, NULL, 0));
        cr_expect_null(tarei_find_name(&table.index, "a name of more than 16 bytes", 28));
    }
    name_table_free(&table);
}

/* Refused, also where names are sorted, with the pair that ends first. */
static void expect_pair(const tare_string *list, uint32_t count, uint32_t first, uint32_t second)
{
    name_table table;
    name_table_make(&table, list, count, 5, TAREI_DUPLICATES_REFUSE, NULL);
    cr_expect_eq(table.status, TARE_E_DUPLICATE);
    cr_expect_eq(table.same[0], first);
    cr_expect_eq(table.same[1], second);
    name_table_free(&table);
    name_table_make(&table, list, count, 5, TAREI_DUPLICATES_KEEP_FIRST, NULL);
    name_table_sort(&table, TAREI_DUPLICATES_REFUSE);
    cr_expect_eq(table.status, TARE_E_DUPLICATE);
    cr_expect_eq(table.same[0], first);
    cr_expect_eq(table.same[1], second);
    name_table_free(&table);
}

Test(index, refuses_duplicates_and_names_the_pair)
{
    static const tare_string one[] = {{"a", 1}, {"b", 1}, {"", 0}, {"c", 1}, {"b", 1}, {"d", 1}};
    static const tare_string two[] = {{"a", 1}, {"b", 1}, {"b", 1}, {"a", 1}};
    expect_pair(one, 6, 1, 4);
    expect_pair(two, 4, 1, 2);
}

Test(index, refuses_duplicates_of_every_size_at_every_distance)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 47, 48, 64, 65, 80, 81, 300};
    enum { COUNT = 40 };
    name_set set = name_set_text();
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (size_t distance = 1; distance < COUNT; distance++) {
            name_table table;
            tare_string list[COUNT];
            char *name = malloc(sizes[s] + 1);
            memset(name, '7', sizes[s]);
            if (sizes[s] > 3) name[2] = '.';
            memcpy(list, set.names, sizeof list);
            list[0] = list[distance] = (tare_string){name, sizes[s]};
            name_table_make(&table, list, COUNT, s, TAREI_DUPLICATES_REFUSE, NULL);
            cr_expect_eq(table.status, TARE_E_DUPLICATE, "size %zu at %zu", sizes[s], distance);
            cr_expect_eq(table.same[0], 0, "size %zu at %zu", sizes[s], distance);
            cr_expect_eq(table.same[1], distance, "size %zu at %zu", sizes[s], distance);
            name_table_free(&table);
            free(name);
        }
    name_set_free(&set);
}

Test(index, keeps_the_first_of_duplicates_when_asked)
{
    static const tare_string list[] = {{"b", 1}, {"a", 1}, {"b", 1}, {"a", 1}, {"b", 1}};
    name_table table;
    name_table_make(&table, list, 5, 5, TAREI_DUPLICATES_KEEP_FIRST, NULL);
    for (int sorted = 0; sorted < 2; sorted++) {
        if (sorted) name_table_sort(&table, TAREI_DUPLICATES_KEEP_FIRST);
        cr_expect_eq(table.status, TARE_OK);
        cr_expect_eq(tarei_find_name(&table.index, "b", 1), &table.records[0]);
        cr_expect_eq(tarei_find_name(&table.index, "a", 1), &table.records[1]);
    }
    name_table_free(&table);
}

Test(index, a_name_many_times_over_costs_one_key)
{
    enum { COUNT = 5000 };
    static tare_string list[COUNT];
    name_table table;
    for (size_t i = 0; i < COUNT; i++) list[i] = (tare_string){"the same", 8};
    name_table_make(&table, list, COUNT, 5, TAREI_DUPLICATES_KEEP_FIRST, NULL);
    cr_expect_eq(table.status, TARE_OK);
    cr_expect_null(table.index.sorted);
    cr_expect_eq(table.index.reseeds, 0);
    cr_expect_eq(table.index.reach, 1);
    cr_expect_eq(tarei_find_name(&table.index, "the same", 8), &table.records[0]);
    name_table_free(&table);
}

Test(index, lets_shards_repeat_each_other_but_not_themselves)
{
    static const tare_string list[] = {{"k", 1}, {"l", 1}, {"k", 1}, {"l", 1}};
    name_table table;
    name_table_make(&table, list, 4, 0, TAREI_DUPLICATES_KEEP_FIRST, NULL);
    table.records[2].where = table.records[3].where = tarei_record_where(1, 0);
    name_table_sort(&table, TAREI_DUPLICATES_REFUSE_IN_SHARD);
    cr_expect_eq(table.status, TARE_OK);
    cr_expect_eq(tarei_find_name(&table.index, "k", 1), &table.records[0]);
    table.records[1].where = tarei_record_where(1, 0);
    name_table_sort(&table, TAREI_DUPLICATES_REFUSE_IN_SHARD);
    cr_expect_eq(table.status, TARE_E_DUPLICATE);
    cr_expect_eq(table.same[0], 1);
    cr_expect_eq(table.same[1], 3);
    name_table_free(&table);
}

Test(index, without_memory_says_so)
{
    name_set set = name_set_text();
    for (size_t fail_at = 1;; fail_at++) {
        name_table table;
        alloc_probe_init(&probe);
        probe.fail_at = fail_at;
        name_table_make(&table, set.names, set.count, 1, TAREI_DUPLICATES_REFUSE, &probe.hooks);
        size_t refused = probe.refused;
        cr_expect_eq(table.status, refused ? TARE_E_MEMORY : TARE_OK, "call %zu", fail_at);
        name_table_free(&table);
        cr_expect_eq(probe.block_count + probe.mistakes, 0, "call %zu", fail_at);
        if (refused == 0) break;
    }
    for (size_t more = 1;; more++) {
        name_table table;
        alloc_probe_init(&probe);
        name_table_make(&table, set.names, set.count, 1, TAREI_DUPLICATES_REFUSE, &probe.hooks);
        probe.fail_at = probe.calls + more;
        name_table_sort(&table, TAREI_DUPLICATES_REFUSE);
        size_t refused = probe.refused;
        cr_expect_eq(table.status, refused ? TARE_E_MEMORY : TARE_OK, "call %zu", more);
        name_table_free(&table);
        cr_expect_eq(probe.block_count + probe.mistakes, 0, "call %zu", more);
        if (refused == 0) break;
    }
    name_set_free(&set);
}
