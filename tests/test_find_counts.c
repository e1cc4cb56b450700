/*
 * What a find looks at, counted and never timed: src/find.c is compiled again with counters, for
 * either layout of lines (CMakeLists.txt). Hashes that collide: test_index_collisions.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "line.h"
#include "support/expect.h"
#include "support/find_counts.h"
#include "support/name_sets.h"
#include "support/name_table.h"

find_count find_counts;

/* Of all finds of names that are there, or are not. */
typedef struct tally {
    size_t finds, lines, comparisons, away; /* away: those that read more than one line */
    size_t comparisons_max;
} tally;

static const tarei_record *find(const name_table *table, const char *name, size_t size,
                                unsigned call)
{
    const tarei_record *found = NULL;
    tare_string wanted = {name, size};
    if (call == 0) return tarei_find_name(&table->index, name, size);
    if (call == 1)
        return tarei_find_hashed(&table->index, name, size,
                                 tarei_find_hash(&table->index, name, size));
    tarei_find_many(&table->index, &wanted, 1, &found);
    return found;
}

/*
 * By each of the three calls: the record expected, and no more looked at than the bound. In a table
 * the name is compared with those of at most `reach` lines, and with the one that the short path
 * compares once more; in a sorted list with at most log2(count) + 1 names.
 */
static void count_find(const name_table *table, const char *name, size_t size,
                       const tarei_record *expected, tally *all)
{
    const tarei_index *index = &table->index;
    size_t lines_max = index->sorted != NULL ? 1 : index->reach;
    size_t comparisons_max = TAREI_LINE_COUNT * lines_max + 1, log2 = 0;
    for (size_t left = table->names.count; left > 1; left /= 2) log2++;
    if (index->sorted != NULL) comparisons_max = log2 + 1;
    for (unsigned call = 0; call < 3; call++) {
        find_counts = (find_count){0};
        cr_assert_eq(find(table, name, size, call), expected, "%.99s", name);
        cr_assert_leq(find_counts.lines, lines_max, "%zu lines", find_counts.lines);
        cr_assert_leq(find_counts.comparisons, comparisons_max, "%zu names",
                      find_counts.comparisons);
        all->finds++;
        all->lines += find_counts.lines;
        all->away += find_counts.lines > 1;
        all->comparisons += find_counts.comparisons;
        if (find_counts.comparisons > all->comparisons_max)
            all->comparisons_max = find_counts.comparisons;
    }
}

static void count_set(const name_table *table, const name_set *set, tally *hits, tally *misses)
{
    for (size_t i = 0; i < set->count; i++) {
        const tare_string *name = &set->names[i];
        char *target = malloc(name->size + 1);
        count_find(table, name->data, name->size, &table->records[i], hits);
        for (unsigned way = 0; way < NAME_LOOK_ALIKE_COUNT; way++) {
            size_t size = name_look_alike(name, way, target);
            if (size == NAME_ABSENT || name_set_find(set, target, size) != NAME_ABSENT) continue;
            count_find(table, target, size, NULL, misses);
        }
        free(target);
    }
}

/* Comparisons with another name than the one that is found: as many as tags lead to that are equal
 * by chance, of which a line holds eight, and twice that is allowed. */
static void expect_few_others(const char *what, const tally *all, size_t others, unsigned tag_bits)
{
    size_t most = 2 * (TAREI_LINE_COUNT * all->lines >> tag_bits) + 3;
    cr_expect_leq(others, most, "%s: %zu others in %zu finds", what, others, all->finds);
    cr_expect_leq(all->comparisons_max, 4, "%s: %zu", what, all->comparisons_max);
}

/* With a fair hash, which the seed makes the same in every run: a hit compares one name and hardly
 * ever another, a miss hardly ever any. Few finds leave the line that the hash names. */
static void expect_usual(const char *what, const name_table *table, const tally *hits,
                         const tally *misses)
{
    unsigned tag_bits = 16;
    if (!tarei_index_is_small(&table->index))
        tag_bits = (unsigned)__builtin_popcount(table->index.tag_mask);
    cr_expect_geq(hits->comparisons, hits->finds, "%s", what);
    expect_few_others(what, hits, hits->comparisons - hits->finds, tag_bits);
    expect_few_others(what, misses, misses->comparisons, tag_bits);
    cr_expect_leq(hits->away, hits->finds / 10 + 3, "%s: %zu of %zu", what, hits->away,
                  hits->finds);
    cr_expect_leq(misses->away, misses->finds / 10 + 3, "%s: %zu of %zu", what, misses->away,
                  misses->finds);
}

/* Each name is put where it belongs, or near; few others have its tag. Lines that are read again at
 * once count once. */
static void expect_built(const char *what, const name_table *table, find_count built)
{
    size_t count = table->names.count;
    cr_expect_geq(built.lines, count / TAREI_LINE_COUNT, "%s", what);
    cr_expect_leq(built.lines, count * 5 / 4 + 3, "%s: %zu lines", what, built.lines);
    cr_expect_leq(built.comparisons, count / 50 + 3, "%s: %zu others", what, built.comparisons);
}

Test(find_counts, stay_within_the_bound_on_every_set_of_names)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        const char *what = name_set_kinds[k].what;
        name_set set = name_set_kinds[k].make();
        name_table table;
        tally hits = {0}, misses = {0}, sorted = {0};
        find_counts = (find_count){0};
        name_table_make(&table, set.names, set.count, 20, TAREI_DUPLICATES_REFUSE, NULL);
        const find_count built = find_counts;
        cr_assert_eq(table.status, TARE_OK, "%s", what);
        cr_assert_null(table.index.sorted, "%s", what);
        expect_built(what, &table, built);
        count_set(&table, &set, &hits, &misses);
        expect_usual(what, &table, &hits, &misses);
        name_table_sort(&table, TAREI_DUPLICATES_REFUSE);
        cr_assert_not_null(table.index.sorted, "%s", what);
        count_set(&table, &set, &sorted, &sorted);
        cr_expect(sorted.finds == 0 || sorted.comparisons != 0, "%s", what);
        name_table_free(&table);
        name_set_free(&set);
    }
}

/* The suffix alone, behind a prefix, and that prefix before another suffix: the second and the third
 * have a part that is stored where all around it differs from what is around it in them. */
static void count_parts(size_t prefix_size, size_t suffix_size)
{
    enum { MOST = TAREI_PREFIX_SHORT + TAREI_SUFFIX_SHORT };
    char alone[MOST], first[MOST], second[MOST];
    size_t size = prefix_size + suffix_size, count = 1;
    memset(alone, 's', suffix_size);
    memset(first, 'p', prefix_size);
    if (prefix_size != 0) memcpy(first + prefix_size - 2, "1.", 2); /* it ends behind a number */
    if (prefix_size > 2) first[prefix_size - 3] = '.';
    memcpy(second, first, prefix_size);
    memset(first + prefix_size, 's', suffix_size);
    memset(second + prefix_size, 't', suffix_size);
    tare_string names[3] = {{alone, suffix_size}};
    if (prefix_size != 0) names[count++] = (tare_string){first, size};
    if (suffix_size != 0) names[count++] = (tare_string){second, size};
    name_table table;
    tally hits = {0};
    name_table_make(&table, names, count, 21, TAREI_DUPLICATES_REFUSE, NULL);
    cr_assert_eq(table.status, TARE_OK);
    for (size_t n = 0; n < count; n++)
        count_find(&table, names[n].data, names[n].size, &table.records[n], &hits);
    cr_expect_eq(hits.comparisons, hits.finds, "parts of %zu and %zu bytes: %zu", prefix_size,
                 suffix_size, hits.comparisons);
    name_table_free(&table);
}

Test(find_counts, compare_one_name_whatever_sizes_its_parts_have)
{
    for (size_t prefix_size = 0; prefix_size <= TAREI_PREFIX_SHORT; prefix_size++)
        for (size_t suffix_size = 0; suffix_size <= TAREI_SUFFIX_SHORT; suffix_size++)
            if (prefix_size != 1 && prefix_size + suffix_size >= 16) /* a number and its dot */
                count_parts(prefix_size, suffix_size);
}

/* The most that a header of safetensors may hold: names end to end, since one block of memory for
 * each would be all that this test does. */
Test(find_counts, stay_within_the_bound_among_1700000_names)
{
    enum { COUNT = TAREI_SMALL_COUNT == 0 ? 10 : 1700000, SIZE_MAX_EACH = 64 };
    char *text = malloc((size_t)COUNT * SIZE_MAX_EACH), *at = text;
    tare_string *names = malloc(COUNT * sizeof *names);
    for (unsigned i = 0; i < COUNT; i++) {
        int size = snprintf(at, SIZE_MAX_EACH, "model.layers.%u.mlp.experts.%u.%s.weight",
                            i / 3 / 512, i / 3 % 512,
                            i % 3 == 0   ? "gate_proj"
                            : i % 3 == 1 ? "up_proj"
                                         : "down_proj");
        names[i] = (tare_string){at, (size_t)size};
        at += size;
    }
    name_table table;
    tally hits = {0}, misses = {0}, sorted = {0};
    find_counts = (find_count){0};
    name_table_make(&table, names, COUNT, 20, TAREI_DUPLICATES_REFUSE, NULL);
    cr_assert_eq(table.status, TARE_OK);
    cr_assert_null(table.index.sorted);
    expect_built("1,700,000 names", &table, find_counts);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < COUNT; i += pass == 0 ? 5 : 101) {
            char target[SIZE_MAX_EACH];
            memcpy(target, names[i].data, names[i].size);
            target[i % names[i].size] ^= 0x40; /* no byte of theirs has its likeness there */
            count_find(&table, names[i].data, names[i].size, &table.records[i],
                       pass == 0 ? &hits : &sorted);
            count_find(&table, target, names[i].size, NULL, pass == 0 ? &misses : &sorted);
        }
        if (pass == 0) expect_usual("1,700,000 names", &table, &hits, &misses);
        if (pass == 0) name_table_sort(&table, TAREI_DUPLICATES_REFUSE);
    }
    cr_expect_geq(table.index.reach, COUNT == 10 ? 4 : 21);
    name_table_free(&table);
    free(names);
    free(text);
}
