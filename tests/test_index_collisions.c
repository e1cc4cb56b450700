/* Names that defeat the hash: reseeds and the sorted fallback, seen through the public
 * functions. */

#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "line.h"
#include "support/alloc_probe.h"
#include "support/colliding_hash.h"
#include "support/expect.h"
#include "support/find_counts.h"
#include "support/name_sets.h"
#include "support/set_models.h"
#include "support/temp_files.h"

/* How many names of one hash the table takes. */
enum { COLLIDING_MAX = TAREI_REACH_MAX * TAREI_LINE_COUNT };

static tare_model *open_names(const name_set *set, size_t count, const tare_options *options)
{
    tare_pair *pairs = calloc(count + 1, sizeof *pairs);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (tare_pair){set->names[i].data, set->names[i].size, "x", 1};
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_pairs(pairs, count, options, &model, &error);
    free(pairs);
    expect_opened("colliding names", status, model, &error);
    return model;
}

static tare_stat stat_of(const tare_model *model)
{
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    return stat;
}

find_count find_counts;

/* tare_find, which looks at no more than the model's bound, whatever collides: of a table, lines
 * and what is in them, and once more the name that the short path compares; of a sorted list,
 * names. */
static const tare_tensor *find_counted(const tare_model *model, const tare_stat *stat,
                                       const char *name, size_t size)
{
    find_counts = (find_count){0};
    const tare_tensor *tensor = tare_find(model, name, size);
    size_t lines = stat->index_sorted ? 1 : stat->probe_max;
    size_t comparisons = stat->index_sorted ? stat->probe_max : TAREI_LINE_COUNT * lines + 1;
    cr_assert_leq(find_counts.lines, lines, "%zu lines", find_counts.lines);
    cr_assert_leq(find_counts.comparisons, comparisons, "%zu names", find_counts.comparisons);
    return tensor;
}

/* Each name is found, and none that looks like it, by every function that finds. */
static void check_finds(const tare_model *model, const name_set *set, size_t count)
{
    tare_stat stat = stat_of(model);
    for (size_t i = 0; i < count; i++) {
        const tare_string *name = &set->names[i];
        const tare_tensor *wanted = tare_at(model, i), *many[1] = {NULL};
        tare_key key = tare_key_make(model, name->data, name->size);
        cr_assert_eq(find_counted(model, &stat, name->data, name->size), wanted, "name %zu", i);
        cr_assert_eq(tare_find_key(model, &key), wanted, "name %zu", i);
        cr_assert_eq(tare_find_many(model, name, 1, many), 1, "name %zu", i);
        cr_assert_eq(many[0], wanted, "name %zu", i);
        char *target = malloc(name->size + 1);
        for (unsigned way = 0; way < NAME_LOOK_ALIKE_COUNT; way++) {
            size_t size = name_look_alike(name, way, target);
            if (size == NAME_ABSENT) continue;
            size_t place = name_set_find(set, target, size);
            const tare_tensor *expected = place < count ? tare_at(model, place) : NULL;
            cr_assert_eq(find_counted(model, &stat, target, size), expected, "name %zu in way %u",
                         i, way);
        }
        free(target);
    }
}

/* A name whose parts have these sizes is no other that differs in a byte, or has one more or less;
 * alone, and behind one that has its hash and no byte. */
static void check_parts(size_t prefix_size, size_t suffix_size, int behind)
{
    enum { MOST = 256 };
    char text[MOST], target[MOST];
    size_t size = prefix_size + suffix_size;
    memset(text, 'p', prefix_size);
    if (prefix_size != 0) memcpy(text + prefix_size - 2, "1.", 2); /* it ends behind a number */
    if (prefix_size > 2) text[prefix_size - 3] = '.';
    memset(text + prefix_size, 's', suffix_size + 1);
    tare_string names[] = {{text, size}, {text, size}};
    if (behind) names[0].size = 0;
    name_set set = {.names = names, .count = behind ? 2 : 1};
    tare_model *model = open_names(&set, set.count, NULL);
    tare_stat stat = stat_of(model);
    cr_expect_eq(find_counted(model, &stat, text, size), tare_at(model, set.count - 1));
    cr_expect_null(find_counted(model, &stat, text, size + 1), "%zu, %zu", prefix_size,
                   suffix_size);
    cr_expect_null(find_counted(model, &stat, text, size - 1), "%zu, %zu", prefix_size,
                   suffix_size);
    for (size_t at = 0; at < size; at++) {
        memcpy(target, text, size);
        target[at] ^= 1;
        cr_expect_null(find_counted(model, &stat, target, size), "%zu, %zu: byte %zu", prefix_size,
                       suffix_size, at);
    }
    tare_close(model);
}

Test(index_collisions, every_byte_of_a_name_counts_whatever_sizes_its_parts_have)
{
    static const size_t sizes[] = {0, 2, 3, 15, 16, 17, 18, 31, 32, 33, 34, 47, 48, 49, 64, 65};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    colliding_set(COLLIDING_ALL, 1000);
    for (size_t p = 0; p < COUNT; p++)
        for (size_t s = 0; s < COUNT; s++) {
            if (sizes[p] + sizes[s] == 0) continue;
            check_parts(sizes[p], sizes[s], 0);
            check_parts(sizes[p], sizes[s], 1);
        }
}

Test(index_collisions, fair_hashes_need_no_reseed)
{
    name_set set = name_set_text();
    colliding_set(COLLIDING_NOT, 0);
    tare_model *model = open_names(&set, set.count, NULL);
    tare_stat stat = stat_of(model);
    cr_expect_eq(stat.index_reseeds, 0);
    cr_expect_eq(stat.index_sorted, 0);
    check_finds(model, &set, set.count);
    tare_close(model);
    name_set_free(&set);
}

Test(index_collisions, a_bad_seed_or_two_are_replaced)
{
    name_set set = name_set_text();
    for (unsigned bad = 1; bad <= 2; bad++) {
        colliding_set(COLLIDING_ALL, bad);
        tare_model *model = open_names(&set, set.count, NULL);
        tare_stat stat = stat_of(model);
        cr_expect_eq(stat.index_reseeds, bad);
        cr_expect_eq(stat.index_sorted, 0);
        cr_expect_leq(stat.probe_max, TAREI_REACH_MAX / 2);
        check_finds(model, &set, set.count);
        tare_close(model);
    }
    name_set_free(&set);
}

Test(index_collisions, three_bad_seeds_lead_to_sorted_names)
{
    static const enum colliding_kind kinds[] = {COLLIDING_ALL, COLLIDING_SLOTS, COLLIDING_LAST};
    name_set set = name_set_text();
    for (size_t k = 0; k < 3; k++) {
        colliding_set(kinds[k], 100);
        tare_model *model = open_names(&set, set.count, NULL);
        tare_stat stat = stat_of(model);
        cr_expect_eq(stat.index_reseeds, 2);
        cr_expect_eq(stat.index_sorted, 1);
        cr_expect_leq(stat.probe_max, 11, "%u steps for 1,000 names", stat.probe_max);
        check_finds(model, &set, set.count);
        tare_close(model);
    }
    name_set_free(&set);
}

/* In an index file they stay in order, and are found there, also with names that are not there. */
Test(index_collisions, index_files_hold_sorted_names)
{
    name_set set = name_set_text();
    for (size_t i = 0; i < set.count; i++) set.shards[i] = 0;
    temp_path folder = temp_folder_make();
    temp_path path = temp_write_built(&folder, "m.safetensors", set_build_shard(&set, 0));
    colliding_set(COLLIDING_ALL, 100);
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path.text, &options, &model, &error);
    expect_opened("headers", status, model, &error);
    cr_expect_eq(stat_of(model).index_sorted, 1);
    cr_assert_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
    options.index = TARE_INDEX_REQUIRE;
    status = tare_open(path.text, &options, &model, &error);
    expect_opened("an index file", status, model, &error);
    cr_expect_eq(stat_of(model).index_sorted, 1);
    check_finds(model, &set, set.count);
    tare_close(model);
    temp_folder_remove(&folder);
    name_set_free(&set);
}

Test(index_collisions, up_to_the_bound_names_share_a_line_and_those_behind)
{
    static const enum colliding_kind kinds[] = {COLLIDING_ALL, COLLIDING_SLOTS, COLLIDING_LAST};
    static const size_t counts[] = {0,
                                    1,
                                    7,
                                    8,
                                    9,
                                    15,
                                    16,
                                    17,
                                    63,
                                    64,
                                    65,
                                    128,
                                    503,
                                    COLLIDING_MAX - 1,
                                    COLLIDING_MAX,
                                    COLLIDING_MAX + 1,
                                    COLLIDING_MAX + 3};
    name_set set = name_set_text();
    for (size_t k = 0; k < 3; k++)
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            size_t count = counts[c], lines = (count + TAREI_LINE_COUNT - 1) / TAREI_LINE_COUNT;
            colliding_set(kinds[k], 100);
            tare_model *model = open_names(&set, count, NULL);
            tare_stat stat = stat_of(model);
            cr_expect_eq(stat.index_sorted, count > COLLIDING_MAX, "%zu names", count);
            cr_expect_leq(stat.probe_max, TAREI_REACH_MAX, "%zu names: %u probes", count,
                          stat.probe_max);
            if (count > 0 && !stat.index_sorted)
                cr_expect_eq(stat.probe_max, lines, "%zu names: %u lines", count, stat.probe_max);
            check_finds(model, &set, count);
            tare_close(model);
        }
    name_set_free(&set);
}

/* What opening `count` names looks at while it builds: at most `lines`, and `comparisons` and those
 * of sorting, if it comes to that: in each pass, which halves the runs, one to find where they end
 * and one to merge them, and one more for duplicates. Returns whether it came to that. */
static bool expect_built_within(const char *what, const name_set *set, size_t count, size_t lines,
                                size_t comparisons)
{
    find_counts = (find_count){0};
    tare_model *model = open_names(set, count, NULL);
    find_count built = find_counts;
    bool sorted = stat_of(model).index_sorted != 0;
    size_t passes = 1;
    for (size_t runs = 1; runs < count; runs *= 2) passes++;
    if (sorted) comparisons += (2 * passes + 1) * count;
    cr_expect_geq(built.lines, count < COLLIDING_MAX ? count / 8 : COLLIDING_MAX / 8, "%s", what);
    cr_expect_leq(built.lines, lines, "%s, %zu names: %zu lines", what, count, built.lines);
    cr_expect_leq(built.comparisons, comparisons, "%s, %zu names: %zu comparisons", what, count,
                  built.comparisons);
    if (sorted) cr_expect_geq(built.comparisons, count, "%s", what);
    tare_close(model);
    return sorted;
}

enum { BUILDS = TAREI_RESEEDS_MAX + 1 };

/* A table is given up with the first name that finds no place, so that what all tries look at is
 * the same for any number of names; the rest is sorting them. */
Test(index_collisions, building_costs_what_sorting_does)
{
    static const enum colliding_kind kinds[] = {COLLIDING_ALL, COLLIDING_SLOTS, COLLIDING_LAST};
    name_set set = name_set_deepseek();
    const size_t counts[] = {100, 1000, 10000, set.count};
    for (size_t k = 0; k < 3; k++)
        for (size_t c = 0; c < 4; c++) {
            size_t tries = BUILDS * (COLLIDING_MAX + 1);
            colliding_set(kinds[k], 100);
            bool sorted = expect_built_within("all collide", &set, counts[c],
                                              tries * TAREI_REACH_MAX, tries * COLLIDING_MAX / 2);
            cr_expect_eq(sorted, counts[c] > COLLIDING_MAX);
        }
    name_set_free(&set);
}

/* Names that share their tags are all compared, but only in the lines that a name passes anyway;
 * groups of names that share a hash, each too small to be told from chance, cost a name at most as
 * many lines as a find may need, in each try. */
Test(index_collisions, building_is_linear_until_it_sorts)
{
    name_set set = name_set_deepseek();
    for (size_t count = 1000; count <= set.count; count *= 3) {
        colliding_set(COLLIDING_NOT, 0);
        cr_expect_not(expect_built_within("fair", &set, count, count * 5 / 4, count / 100));
        colliding_set(COLLIDING_TAGS, 100);
        cr_expect_not(expect_built_within("tags", &set, count, count * 5 / 4,
                                          count * 5 / 4 * TAREI_LINE_COUNT));
    }
    name_set_free(&set);
    for (size_t group = 4; group <= COLLIDING_MAX; group *= 2)
        for (size_t count = 2048; count <= 32768; count *= 4) {
            name_set groups = name_set_groups(count, group);
            colliding_set(COLLIDING_START, 100);
            expect_built_within("groups", &groups, count, BUILDS * TAREI_REACH_MAX * count,
                                BUILDS * COLLIDING_MAX * count);
            name_set_free(&groups);
        }
}

Test(index_collisions, equal_tags_cost_comparisons_only)
{
    name_set set = name_set_text();
    colliding_set(COLLIDING_TAGS, 100);
    tare_model *model = open_names(&set, set.count, NULL);
    cr_expect_eq(stat_of(model).index_sorted, 0);
    check_finds(model, &set, set.count);
    tare_close(model);
    name_set_free(&set);
}

Test(index_collisions, every_set_of_names_is_found_when_sorted)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        name_set set = name_set_kinds[k].make();
        if (set.count > 2500) {
            name_set_free(&set);
            continue;
        }
        colliding_set(COLLIDING_ALL, 100);
        tare_model *model = open_names(&set, set.count, NULL);
        cr_expect_eq(stat_of(model).index_sorted, set.count > COLLIDING_MAX, "%s",
                     name_set_kinds[k].what);
        check_finds(model, &set, set.count);
        tare_close(model);
        name_set_free(&set);
    }
}

Test(index_collisions, duplicates_are_seen_whatever_collides)
{
    name_set set = name_set_text();
    enum { COUNT = COLLIDING_MAX + 100 };
    static tare_pair pairs[COUNT];
    for (unsigned bad = 0; bad <= 3; bad++)
        for (int keep = 0; keep < 4; keep++) {
            /* Among the first, and where a table of colliding names is full already. */
            size_t again = keep < 2 ? 150 : COLLIDING_MAX + 50;
            tare_options options = TARE_OPTIONS_INIT;
            options.flags = keep % 2 != 0 ? TARE_PAIRS_KEEP_FIRST : 0;
            for (size_t i = 0; i < COUNT; i++)
                pairs[i] =
                    (tare_pair){set.names[i].data, set.names[i].size, &"0123456789"[i % 10], 1};
            pairs[again].name = set.names[33].data;
            pairs[again].name_size = set.names[33].size;
            colliding_set(COLLIDING_ALL, bad);
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            tare_status status = tare_open_pairs(pairs, COUNT, &options, &model, &error);
            if (options.flags == 0) {
                expect_status("a duplicate", TARE_E_DUPLICATE, status, model, &error);
                continue;
            }
            expect_opened("a duplicate that is kept", status, model, &error);
            cr_expect_eq(tare_count(model), COUNT);
            cr_expect_eq(tare_find(model, set.names[33].data, set.names[33].size),
                         tare_at(model, 33));
            cr_expect_eq(stat_of(model).index_sorted, bad == 3);
            tare_close(model);
        }
    name_set_free(&set);
}

Test(index_collisions, allocation_failures_on_the_way_to_sorting_leave_nothing)
{
    static alloc_probe probe;
    name_set set = name_set_text();
    tare_pair *pairs = calloc(set.count, sizeof *pairs);
    for (size_t i = 0; i < set.count; i++)
        pairs[i] = (tare_pair){set.names[i].data, set.names[i].size, NULL, 0};
    for (size_t fail_at = 1;; fail_at++) {
        tare_options options = TARE_OPTIONS_INIT;
        alloc_probe_init(&probe);
        probe.fail_at = fail_at;
        options.allocator = &probe.hooks;
        colliding_set(COLLIDING_ALL, 100);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open_pairs(pairs, set.count, &options, &model, &error);
        if (probe.refused != 0)
            expect_status("no memory", TARE_E_MEMORY, status, model, &error);
        else
            expect_opened("memory", status, model, &error);
        tare_close(model);
        cr_expect_eq(probe.block_count, 0, "call %zu", fail_at);
        if (probe.refused == 0) break;
    }
    free(pairs);
    name_set_free(&set);
}
