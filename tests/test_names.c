#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/name_sets.h"
#include "support/name_table.h"

static alloc_probe probe;

static void make_table(name_table *table, const name_set *set, const tare_allocator *hooks)
{
    name_table_make(table, set->names, set->count, 1, TAREI_DUPLICATES_REFUSE, hooks);
    cr_assert_eq(table->status, TARE_OK);
}

static void check_stored(const char *what, const tarei_names *names, const tare_string *list,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        tare_string stored = tarei_names_at(names, &names->records[i]);
        cr_assert_eq(stored.size, list[i].size, "%s: name %zu has %zu bytes", what, i, stored.size);
        cr_assert_arr_eq(stored.data, list[i].data, stored.size, "%s: name %zu", what, i);
        cr_assert_eq(stored.data[stored.size], 0, "%s: name %zu has no terminator", what, i);
        cr_assert_eq(tarei_names_compare(names, (uint32_t)i, list[i].data, list[i].size), 0,
                     "%s: name %zu does not equal itself", what, i);
    }
}

Test(names, are_stored_in_full_and_equal_themselves)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        name_table table;
        name_set set = name_set_kinds[k].make();
        alloc_probe_init(&probe);
        make_table(&table, &set, &probe.hooks);
        check_stored(name_set_kinds[k].what, &table.names, set.names, set.count);
        name_table_free(&table);
        cr_expect_eq(probe.block_count, 0);
        cr_expect_eq(probe.mistakes, 0);
        name_set_free(&set);
    }
}

/* Each size is copied in a way of its own, each letter from a place of its own. */
Test(names, of_every_size_are_stored_in_full)
{
    enum { SIZES = 300 };
    static char text[SIZES][SIZES];
    tare_string list[SIZES];
    uint64_t random = 7;
    name_table table;
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t k = 0; k < i; k++) text[i][k] = (char)('A' + name_random(&random) % 58);
        list[i] = (tare_string){text[i], i};
    }
    name_table_make(&table, list, SIZES, 1, TAREI_DUPLICATES_REFUSE, NULL);
    cr_assert_eq(table.status, TARE_OK);
    check_stored("sizes", &table.names, list, SIZES);
    name_table_free(&table);
}

Test(names, compare_in_byte_order_with_the_shorter_first)
{
    name_set set = name_set_kinds[3].make();
    name_table table;
    make_table(&table, &set, NULL);
    for (size_t i = 0; i < set.count; i++)
        for (size_t j = 0; j < set.count; j++) {
            int wanted = name_compare(set.names[i].data, set.names[i].size, set.names[j].data,
                                      set.names[j].size);
            int order = tarei_names_compare(&table.names, (uint32_t)i, set.names[j].data,
                                            set.names[j].size);
            cr_expect_eq((order > 0) - (order < 0), (wanted > 0) - (wanted < 0), "%zu, %zu", i, j);
        }
    name_table_free(&table);
    name_set_free(&set);
}

/* Whatever is shared, both parts of a pair put together are the name. */
Test(names, pairs_of_parts_put_together_are_the_name)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        name_table table;
        name_set set = name_set_kinds[k].make();
        tarei_names_builder builder;
        tarei_pair *pairs = calloc(set.count + 1, sizeof *pairs);
        uint64_t size = 0;
        size_t paired = 0;
        for (size_t i = 0; i < set.count; i++) size += set.names[i].size;
        make_table(&table, &set, NULL);
        tarei_names names = {0};
        cr_assert(tarei_names_begin(&builder, &names, &table.arena, table.records,
                                    (uint32_t)set.count, size));
        for (size_t i = 0; i < set.count; i++)
            pairs[i] = tarei_names_add(&builder, (uint32_t)i, set.names[i].data,
                                       (uint32_t)set.names[i].size, false);
        cr_assert(tarei_names_end(&builder, &table.arena));
        for (size_t i = 0; i < set.count; i++) {
            if (pairs[i] == TAREI_PAIR_NONE) continue;
            tarei_part prefix = names.prefixes[pairs[i] & 0xFFFF];
            tarei_part suffix = names.suffixes[pairs[i] >> 16];
            prefix.size &= ~TAREI_PART_LONG;
            suffix.size &= ~TAREI_PART_LONG;
            cr_assert_leq(prefix.size, TAREI_PART_SIZE_MAX);
            cr_assert_leq(suffix.size, TAREI_PART_SIZE_MAX);
            const tare_string *name = &set.names[i];
            cr_assert_eq(prefix.size + suffix.size, name->size, "%s: %zu", name_set_kinds[k].what,
                         i);
            cr_assert_arr_eq(names.text + prefix.place, name->data, prefix.size);
            cr_assert_arr_eq(names.text + suffix.place, name->data + prefix.size, suffix.size);
            paired++;
        }
        if (set.count < 60000 && TAREI_PART_SIZE_MAX == TAREI_PART_LONG - 1)
            cr_expect_eq(paired, set.count, "%s: %zu", name_set_kinds[k].what, paired);
        free(pairs);
        name_table_free(&table);
        name_set_free(&set);
    }
}

Test(names, share_the_parts_of_a_mixture_of_experts)
{
    name_set set = name_set_deepseek();
    name_table table;
    make_table(&table, &set, NULL);
    size_t parts = (size_t)table.names.parts_size / sizeof(tarei_part);
    cr_expect_lt(parts, set.count / 30, "%zu parts for %zu names", parts, set.count);
    name_table_free(&table);
    name_set_free(&set);
}

/* More different parts than there are numbers for them: names beyond are stored without a pair. */
Test(names, without_a_number_for_their_parts_are_stored_all_the_same)
{
    enum { COUNT = 70000 };
    static char text[COUNT][16];
    static tare_string list[COUNT];
    for (unsigned kind = 0; kind < 2; kind++) {
        name_table table;
        for (unsigned i = 0; i < COUNT; i++) {
            int size = snprintf(text[i], sizeof text[i], kind == 0 ? "%u.a" : "1.%u", i);
            list[i] = (tare_string){text[i], (size_t)size};
        }
        name_table_make(&table, list, COUNT, 1, TAREI_DUPLICATES_REFUSE, NULL);
        cr_assert_eq(table.status, TARE_OK);
        check_stored("many parts", &table.names, list, COUNT);
        for (unsigned i = 0; i < COUNT; i++)
            cr_assert_eq(tarei_find_name(&table.index, text[i], list[i].size), &table.records[i]);
        name_table_free(&table);
    }
}

Test(names, groups_know_what_their_names_have_in_common)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        name_table table;
        name_set set = name_set_kinds[k].make();
        make_table(&table, &set, NULL);
        for (size_t first = 0; first < set.count; first += TAREI_GROUP_COUNT) {
            size_t common = set.names[first].size;
            for (size_t i = first; i < first + TAREI_GROUP_COUNT && i < set.count; i++) {
                size_t most = set.names[i].size < common ? set.names[i].size : common;
                for (common = 0; common < most; common++)
                    if (set.names[i].data[common] != set.names[first].data[common]) break;
            }
            cr_assert_eq(table.names.commons[first / TAREI_GROUP_COUNT], common, "%s: group at %zu",
                         name_set_kinds[k].what, first);
        }
        name_table_free(&table);
        name_set_free(&set);
    }
}

Test(names, are_unescaped_into_place)
{
    static const char *const escaped[] = {"\\u0061\\/b", "\\ud83e\\udd99", "x\\u0000y", "\\\"\\\\"};
    static const tare_string wanted[] = {
        {"a/b", 3}, {"\xf0\x9f\xa6\x99", 4}, {"x\0y", 3}, {"\"\\", 2}};
    tarei_names_builder builder;
    tarei_names names;
    tarei_memory memory;
    tarei_arena arena;
    tarei_record records[5];
    tarei_memory_init(&memory, NULL);
    tarei_arena_init(&arena, &memory);
    cr_assert(tarei_names_begin(&builder, &names, &arena, records, 4, 12));
    for (uint32_t i = 0; i < 4; i++)
        tarei_names_add(&builder, i, escaped[i], (uint32_t)wanted[i].size, true);
    cr_assert(tarei_names_end(&builder, &arena));
    check_stored("escaped", &names, wanted, 4);
    tarei_arena_free(&arena);
}

/* Windows of 16 and 8 bytes and single bytes: each size, each place of a difference, and no byte
 * beyond, which AddressSanitizer would see. */
Test(names, same_compares_every_byte_and_none_beyond)
{
    for (size_t size = 0; size <= 70; size++) {
        char *a = malloc(size ? size : 1), *b = malloc(size ? size : 1);
        memset(a, 'x', size);
        memset(b, 'x', size);
        cr_expect(tarei_names_same(a, b, size), "size %zu", size);
        for (size_t at = 0; at < size; at++) {
            b[at] = 'y';
            cr_expect_not(tarei_names_same(a, b, size), "size %zu, byte %zu", size, at);
            b[at] = 'x';
        }
        free(a);
        free(b);
    }
    cr_expect(tarei_names_same(NULL, NULL, 0));
}

Test(names, without_memory_nothing_is_left)
{
    tarei_record records[2] = {{0, 0, 0}, {0, 0, 0}};
    for (size_t fail_at = 1;; fail_at++) {
        tarei_names names = {0};
        tarei_names_builder builder;
        tarei_memory memory;
        tarei_arena arena;
        alloc_probe_init(&probe);
        probe.fail_at = fail_at;
        tarei_memory_init(&memory, &probe.hooks);
        tarei_arena_init(&arena, &memory);
        bool fine = tarei_names_begin(&builder, &names, &arena, records, 1, 100000);
        if (fine) fine = tarei_names_end(&builder, &arena);
        cr_expect_eq(fine, probe.refused == 0, "call %zu", fail_at);
        tarei_arena_free(&arena);
        cr_expect_eq(probe.block_count + probe.mistakes, 0, "call %zu", fail_at);
        if (probe.refused == 0) break;
    }
}
