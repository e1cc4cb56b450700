/* Names near to one that is not there. */
#include <string.h>

#include "support/expect.h"

static tare_model *open_names(const char *const *names, size_t count)
{
    tare_pair pairs[8];
    tare_model *model = expect_no_model();
    for (size_t i = 0; i < count; i++) pairs[i] = (tare_pair){names[i], strlen(names[i]), "", 0};
    cr_assert_eq(tare_open_pairs(pairs, count, NULL, &model, NULL), TARE_OK);
    return model;
}

static const char *const names[] = {"model.embed.weight",   "model.layers.0.attn.weight",
                                    "model.layers.0.bias",  "model.layers.1.attn.weight",
                                    "model.layers.10.bias", "head"};

static void check(const char *asked, uint32_t flags, const char *const wanted[3])
{
    tare_model *model = open_names(names, 6);
    tare_string out[TARE_SUGGEST_COUNT];
    size_t wanted_count = 0;
    memset(out, 1, sizeof out);
    while (wanted_count < 3 && wanted[wanted_count] != NULL) wanted_count++;
    cr_expect_eq(tare_suggest(model, asked, strlen(asked), flags, out), wanted_count, "%s", asked);
    for (size_t i = 0; i < 3; i++) {
        if (i < wanted_count) {
            cr_assert_eq(out[i].size, strlen(wanted[i]), "%s: %zu", asked, i);
            cr_expect_arr_eq(out[i].data, wanted[i], out[i].size, "%s: %zu", asked, i);
        } else {
            cr_expect(out[i].data == NULL && out[i].size == 0, "%s: %zu", asked, i);
        }
    }
    tare_close(model);
}

Test(suggest, names_that_differ_by_an_edit)
{
    check("haed", 0, (const char *[3]){"head"});
    check("Head", 0, (const char *[3]){"head"});
    check("model.layers.2.attn.weight", 0, (const char *[3]){names[1], names[3]});
    check("model.embed.wieght", 0, (const char *[3]){names[0]});
    check("nothing of the kind at all", 0, (const char *[3]){NULL});
}

Test(suggest, names_that_have_its_components)
{
    check("embed.weight", 0, (const char *[3]){names[0]});
    check("transformer.model.embed.weight", 0, (const char *[3]){names[0]});
}

Test(suggest, what_merely_begins_or_ends_alike_has_not_its_components)
{
    check("forehead", 0, (const char *[3]){NULL});
    check("layers.1", 0, (const char *[3]){names[3]});
    check("rs.1.attn.weight", 0, (const char *[3]){NULL});
}

/* Capitals are no edits. With three of the same letters no other can come nearer. */
Test(suggest, names_that_differ_in_capitals_alone)
{
    static const char *const heads[] = {"", "HEAD", "Head", "hEAD", "heAD", "head2"};
    tare_model *model = open_names(heads, 6);
    tare_string out[TARE_SUGGEST_COUNT];
    cr_assert_eq(tare_suggest(model, "head", 4, 0, out), TARE_SUGGEST_COUNT);
    for (size_t i = 0; i < TARE_SUGGEST_COUNT; i++)
        cr_expect(out[i].size == 4 && memcmp(out[i].data, heads[i + 1], 4) == 0, "%zu", i);
    tare_close(model);
}

Test(suggest, prefixes)
{
    check("modul", TARE_SUGGEST_PREFIX, (const char *[3]){"model"});
    check("model.layer.", TARE_SUGGEST_PREFIX, (const char *[3]){"model.layers."});
    check("layers.1.", TARE_SUGGEST_PREFIX, (const char *[3]){"model.layers.1."});
}

Test(suggest, nothing_to_an_empty_or_an_endless_name)
{
    char endless[TARE_SUGGEST_SIZE_MAX + 2];
    memset(endless, 'h', sizeof endless);
    endless[sizeof endless - 1] = 0;
    check("", 0, (const char *[3]){NULL});
    check(endless, 0, (const char *[3]){NULL});
    tare_model *model = open_names(names, 6);
    tare_string out[TARE_SUGGEST_COUNT];
    cr_expect_eq(tare_suggest(model, NULL, 0, 0, out), 0);
    tare_close(model);
    model = open_names((const char *[]){"a"}, 1); /* is one edit away */
    cr_expect_eq(tare_suggest(model, "", 0, 0, out), 0);
    tare_close(model);
}

Test(suggest, names_of_one_letter_and_to_one)
{
    tare_model *model = open_names((const char *[]){"a", "bc", "def"}, 3);
    tare_string out[TARE_SUGGEST_COUNT];
    cr_expect_eq(tare_suggest(model, "x", 1, 0, out), 1);
    cr_expect(out[0].size == 1 && out[0].data[0] == 'a');
    cr_expect_eq(tare_suggest(model, "b", 1, 0, out), 2, "one more, or another");
    tare_close(model);
    /* A component in front is as far as the one edit that so short a name may be away. */
    model = open_names((const char *[]){"x.ab", "ac"}, 2);
    cr_assert_eq(tare_suggest(model, "ab", 2, 0, out), 2);
    cr_expect_eq(out[0].size, 4);
    tare_close(model);
}

Test(suggest, of_long_names_that_begin_with_it_the_shortest_comes_first)
{
    static const char asked[] = "model.layers.12.self_attention.projection";
    const char *const some[] = {"model.layers.12.self_attention.projection.weight",
                                "model.layers.12.self_attention.projection.b"};
    tare_model *model = open_names(some, 2);
    tare_string out[TARE_SUGGEST_COUNT];
    cr_expect_eq(tare_suggest(model, asked, sizeof asked - 1, 0, out), 2);
    cr_expect_eq(out[0].size, strlen(some[1]));
    tare_close(model);
    const char *const four[] = {"ab.c", "ab.cdefg", "ab.cdefghijkl", "ab.cdefghi"};
    model = open_names(four, 4);
    cr_expect_eq(tare_suggest(model, "ab", 2, 0, out), 3);
    cr_expect_eq(out[1].size, strlen(four[1]));
    cr_expect_eq(out[2].size, strlen(four[3]), "in the place of one that is longer");
    tare_close(model);
}

Test(suggest, the_start_of_a_longer_name_where_a_prefix_was_asked_for_only)
{
    char longer[TARE_SUGGEST_SIZE_MAX + 100], near[TARE_SUGGEST_SIZE_MAX + 1];
    memset(longer, 'x', sizeof longer);
    memcpy(longer, "vision/layers/", 14);
    longer[sizeof longer - 1] = 0;
    memcpy(near, longer, TARE_SUGGEST_SIZE_MAX);
    near[TARE_SUGGEST_SIZE_MAX] = 0;
    const char *const some[] = {longer, "x"};
    tare_model *model = open_names(some, 2);
    tare_string out[TARE_SUGGEST_COUNT];
    cr_expect_eq(tare_suggest(model, near, TARE_SUGGEST_SIZE_MAX, 0, out), 0);
    cr_assert_eq(tare_suggest(model, "vision/layer/", 13, TARE_SUGGEST_PREFIX, out), 1);
    cr_expect_eq(out[0].size, 14);
    cr_expect_arr_eq(out[0].data, "vision/layers/", 14);
    tare_close(model);
}

/* However much more they have: only among those does it count how much that is. */
Test(suggest, names_that_begin_or_end_with_it_come_without_those_that_have_it_inside)
{
    const char *const some[] = {"x.bb.cc.y", "bb.cc.longer", "longest.bb.cc"};
    tare_model *model = open_names(some, 3);
    tare_string out[TARE_SUGGEST_COUNT];
    cr_expect_eq(tare_suggest(model, "bb.cc", 5, 0, out), 2);
    cr_expect_eq(out[0].size, 13);
    cr_expect_arr_eq(out[0].data, "longest.bb.cc", out[0].size);
    cr_expect_eq(out[1].size, 12);
    cr_expect_arr_eq(out[1].data, "bb.cc.longer", out[1].size);
    tare_close(model);
}

Test(suggest, components_may_be_far_from_what_was_asked_for)
{
    char asked[300];
    memset(asked, 'y', sizeof asked);
    memcpy(asked + sizeof asked - 6, "/final", 6);
    const char *const some[] = {"final", "final2", "semifinal"};
    tare_model *model = open_names(some, 3);
    tare_string out[TARE_SUGGEST_COUNT];
    cr_assert_eq(tare_suggest(model, asked, sizeof asked, 0, out), 1);
    cr_expect_arr_eq(out[0].data, "final", 5);
    tare_close(model);
}

static uint32_t distance(const char *a, const char *b, uint32_t bound)
{
    uint32_t one =
        tare_name_distance((tare_string){a, strlen(a)}, (tare_string){b, strlen(b)}, bound);
    uint32_t other =
        tare_name_distance((tare_string){b, strlen(b)}, (tare_string){a, strlen(a)}, bound);
    cr_expect_eq(one, other, "%s, %s", a, b);
    return one;
}

Test(suggest, distances)
{
    static const struct {
        const char *a, *b;
        uint32_t edits;
    } rows[] = {
        {"", "", 0},        {"abc", "abc", 0},       {"abc", "ABC", 0},   {"abc", "acb", 1},
        {"abc", "abcd", 1}, {"abc", "xbc", 1},       {"abc", "", 3},      {"kitten", "sitting", 3},
        {"ab", "ba", 1},    {"abcdef", "badcfe", 3}, {"wxab", "abyz", 4}, {"az", "AZ", 0},
        {"@[", "`{", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (uint32_t bound = 0; bound < 9; bound++) {
            uint32_t wanted = rows[i].edits <= bound ? rows[i].edits : bound + 1;
            cr_expect_eq(distance(rows[i].a, rows[i].b, bound), wanted, "%s, %s within %u",
                         rows[i].a, rows[i].b, bound);
        }
    }
}

Test(suggest, distances_go_by_sizes_and_not_by_what_lies_behind)
{
    tare_string a = {"xc", 2}, b = {"yb?c", 2};
    cr_expect_eq(tare_name_distance(a, b, 9), 2);
    cr_expect_eq(tare_name_distance(b, a, 9), 2);
    a = (tare_string){"xb", 2}, b = (tare_string){"yxb", 1};
    cr_expect_eq(tare_name_distance(a, b, 9), 2);
    cr_expect_eq(tare_name_distance(b, a, 9), 2);
}

Test(suggest, distances_of_long_names_are_beyond_every_bound)
{
    char a[600], b[600];
    memset(a, 'a', sizeof a);
    memset(b, 'b', sizeof b);
    tare_string longest = {a, TARE_SUGGEST_SIZE_MAX}, other = {b, TARE_SUGGEST_SIZE_MAX};
    cr_expect_eq(tare_name_distance(longest, other, UINT32_MAX), TARE_SUGGEST_SIZE_MAX);
    cr_expect_eq(tare_name_distance((tare_string){a, 600}, (tare_string){a, 600}, UINT32_MAX),
                 TARE_SUGGEST_SIZE_MAX + 1);
    cr_expect_eq(tare_name_distance((tare_string){a, 600}, (tare_string){b, 2}, 3), 4);
    cr_expect_eq(tare_name_distance(longest, (tare_string){a, TARE_SUGGEST_SIZE_MAX + 1}, 3), 4);
    cr_expect_eq(tare_name_distance((tare_string){a, TARE_SUGGEST_SIZE_MAX + 1}, longest, 3), 4);
}
