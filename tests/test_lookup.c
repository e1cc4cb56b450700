/* Finding, against a linear scan and a sorted list that share nothing with the library. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/name_sets.h"
#include "support/set_models.h"

/* One set opened in one way; places[i] is where the model lists name i. */
typedef struct subject {
    const char *what;
    name_set set;
    tare_model *model;
    size_t *places;
    build_text file; /* what the model borrows */
} subject;

static const tare_tensor *wanted_tensor(const subject *s, const char *name, size_t size)
{
    size_t place = name_set_find(&s->set, name, size);
    return place == NAME_ABSENT ? NULL : tare_at(s->model, s->places[place]);
}

static size_t *same_places(size_t count)
{
    size_t *places = calloc(count + 1, sizeof *places);
    for (size_t i = 0; i < count; i++) places[i] = i;
    return places;
}

static subject open_pairs(const name_set_kind *kind)
{
    subject s = {.what = kind->what, .set = kind->make()};
    tare_error error = expect_poison();
    tare_status status = set_open_pairs(&s.set, NULL, &s.model, &error);
    expect_opened(s.what, status, s.model, &error);
    s.places = same_places(s.set.count);
    return s;
}

static subject open_file(const name_set_kind *kind)
{
    subject s = {.what = kind->what, .set = kind->make()};
    for (size_t i = 0; i < s.set.count; i++) s.set.shards[i] = 0;
    s.file = set_build_shard(&s.set, 0);
    s.model = expect_open_bytes(s.what, &s.file);
    s.places = same_places(s.set.count);
    return s;
}

static subject open_shards(const char *what, name_set set)
{
    subject s = {.what = what, .set = set};
    temp_path folder = temp_folder_make();
    tare_error error = expect_poison();
    set_write_shards(&s.set, &folder);
    tare_status status = tare_open(folder.text, NULL, &s.model, &error);
    temp_folder_remove(&folder); /* an open model needs no directory entries */
    expect_opened(what, status, s.model, &error);
    s.places = set_shard_places(&s.set);
    return s;
}

static void close_subject(subject *s)
{
    tare_close(s->model);
    name_set_free(&s->set);
    free(s->places);
    build_free(&s->file);
}

/* All functions that find agree about one name; its bytes are copied so that they lie elsewhere
 * than the library's, and nothing behind them may be read. */
static void check_name(const subject *s, const char *name, size_t size)
{
    const tare_tensor *wanted = wanted_tensor(s, name, size);
    char *copy = temp_copy(name, size);
    tare_key key = tare_key_make(s->model, copy, size);
    cr_assert_eq(tare_find(s->model, copy, size), wanted, "%s: '%.80s'", s->what, name);
    cr_assert_eq(tare_find_key(s->model, &key), wanted, "%s: '%.80s'", s->what, name);
    free(copy);
}

static void check_present(const subject *s)
{
    uint32_t *order = name_shuffle(s->set.count);
    cr_assert_eq(tare_count(s->model), s->set.count, "%s", s->what);
    for (size_t i = 0; i < s->set.count; i++) {
        const tare_string *name = &s->set.names[order[i]];
        check_name(s, name->data, name->size);
        const tare_tensor *tensor = tare_find(s->model, name->data, name->size);
        tare_string stored = tare_name(s->model, tensor);
        cr_assert_eq(name_compare(stored.data, stored.size, name->data, name->size), 0, "%s: %u",
                     s->what, order[i]);
        cr_assert_eq(tare_index_of(s->model, tensor), s->places[order[i]], "%s", s->what);
        cr_assert_eq(tare_size(s->model, tensor), set_tensor_size(order[i]), "%s", s->what);
    }
    free(order);
}

static void check_look_alikes(const subject *s)
{
    size_t step = s->set.count / 3000 + 1;
    for (size_t i = 0; i < s->set.count; i += step) {
        const tare_string *name = &s->set.names[i];
        char *target = malloc(name->size + 1);
        for (unsigned way = 0; way < NAME_LOOK_ALIKE_COUNT; way++) {
            size_t size = name_look_alike(name, way, target);
            if (size != NAME_ABSENT) check_name(s, target, size);
        }
        free(target);
    }
    check_name(s, "", 0);
    cr_expect_eq(tare_find(s->model, NULL, 0), tare_find(s->model, "", 0), "%s: NULL", s->what);
}

/* The sorted list is the second opinion above; here a scan of all names is the third. */
static void check_scan(const subject *s)
{
    size_t step = s->set.count / 60 + 1;
    for (size_t i = 0; i < s->set.count; i += step) {
        const tare_string *name = &s->set.names[i];
        char *target = malloc(name->size + 1);
        for (unsigned way = 0; way <= NAME_LOOK_ALIKE_COUNT; way++) {
            size_t size = name->size;
            if (way < NAME_LOOK_ALIKE_COUNT)
                size = name_look_alike(name, way, target);
            else if (size != 0)
                memcpy(target, name->data, size);
            if (size == NAME_ABSENT) continue;
            size_t place = name_set_scan(&s->set, target, size);
            const tare_tensor *wanted =
                place == NAME_ABSENT ? NULL : tare_at(s->model, s->places[place]);
            cr_assert_eq(tare_find(s->model, target, size), wanted, "%s: name %zu in way %u",
                         s->what, i, way);
        }
        free(target);
    }
}

static void check_many(const subject *s)
{
    static const size_t counts[] = {0, 1, 2, 15, 16, 17, 31, 33, 1000, SIZE_MAX};
    size_t all = 2 * s->set.count;
    tare_string *names = calloc(all + 1, sizeof *names);
    const tare_tensor **out = calloc(all + 1, sizeof *out);
    static const char absent[] = "no such name";
    uint32_t *order = name_shuffle(all);
    for (size_t i = 0; i < all; i++)
        names[i] = order[i] < s->set.count ? s->set.names[order[i]] : (tare_string){absent, 12};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t count = counts[c] < all ? counts[c] : all, present = 0;
        const tare_tensor *sentinel = (const void *)expect_no_model();
        for (size_t i = 0; i <= all; i++) out[i] = sentinel;
        size_t found = tare_find_many(s->model, count ? names : NULL, count, out);
        for (size_t i = 0; i < count; i++) {
            size_t place = order[i];
            bool there = place < s->set.count;
            cr_assert_eq(out[i], there ? tare_at(s->model, s->places[place]) : NULL, "%s: %zu",
                         s->what, i);
            present += there;
        }
        cr_assert_eq(found, present, "%s: %zu of %zu", s->what, found, count);
        cr_assert_eq(out[count], sentinel, "%s: wrote beyond %zu", s->what, count);
    }
    free(order);
    free(names);
    free(out);
}

static void check_subject(subject s)
{
    check_present(&s);
    check_look_alikes(&s);
    check_scan(&s);
    check_many(&s);
    close_subject(&s);
}

Test(lookup, finds_in_pairs_what_a_scan_finds)
{
    for (size_t k = 0; k < name_set_kind_count; k++) check_subject(open_pairs(&name_set_kinds[k]));
}

Test(lookup, finds_in_a_file_what_a_scan_finds)
{
    for (size_t k = 0; k < name_set_kind_count; k++)
        if (name_set_kinds[k].utf8) check_subject(open_file(&name_set_kinds[k]));
}

Test(lookup, finds_in_the_shards_of_qwen_what_a_scan_finds)
{
    check_subject(open_shards("Qwen3.5 25B MoE", name_set_qwen()));
}

Test(lookup, finds_in_the_shards_of_mixtral_what_a_scan_finds)
{
    check_subject(open_shards("Mixtral 8x22B", name_set_mixtral()));
}

Test(lookup, a_fixed_seed_finds_the_same)
{
    name_set set = name_set_text();
    for (uint64_t seed = 0; seed < 20; seed++) {
        tare_options options = TARE_OPTIONS_INIT;
        options.flags = TARE_SEED_FIXED;
        options.seed = seed * UINT64_C(0x123456789ABCDEF);
        subject s = {.what = "seed", .set = set, .places = same_places(set.count)};
        tare_error error = expect_poison();
        tare_status status = set_open_pairs(&set, &options, &s.model, &error);
        expect_opened("seed", status, s.model, &error);
        check_present(&s);
        tare_key key = tare_key_make(s.model, "a", 1);
        tare_model *other;
        cr_assert_eq(set_open_pairs(&set, &options, &other, NULL), TARE_OK);
        cr_expect_eq(tare_key_make(other, "a", 1).hash, key.hash, "one seed, two hashes");
        tare_close(other);
        free(s.places);
        tare_close(s.model);
    }
    name_set_free(&set);
}

Test(lookup, models_hash_with_seeds_of_their_own)
{
    name_set set = name_set_text();
    uint64_t hashes[8];
    size_t equal = 0;
    for (size_t i = 0; i < 8; i++) {
        tare_model *model;
        cr_assert_eq(set_open_pairs(&set, NULL, &model, NULL), TARE_OK);
        hashes[i] = tare_key_make(model, "a", 1).hash;
        for (size_t j = 0; j < i; j++) equal += hashes[i] == hashes[j];
        tare_close(model);
    }
    cr_expect_eq(equal, 0, "%zu pairs of models share their seed", equal);
    name_set_free(&set);
}

/* What a prefix must give: every tensor in order whose name starts so. */
static void check_prefix(const subject *s, const char *prefix, size_t size)
{
    char *copy = temp_copy(prefix, size);
    tare_range range = tare_prefix(s->model, size ? copy : NULL, size);
    for (size_t i = 0; i < tare_count(s->model); i++) {
        const tare_tensor *tensor = tare_at(s->model, i);
        tare_string name = tare_name(s->model, tensor);
        if (name.size < size || (size != 0 && memcmp(name.data, prefix, size) != 0)) continue;
        const tare_tensor *next = tare_next(s->model, &range);
        cr_assert_eq(next, tensor, "%s: prefix '%.*s' at tensor %zu", s->what, (int)size, prefix,
                     i);
    }
    for (int again = 0; again < 2; again++)
        cr_assert_null(tare_next(s->model, &range), "%s: prefix '%.*s' does not end", s->what,
                       (int)size, prefix);
    free(copy);
}

static void check_prefixes(subject s)
{
    size_t step = s.set.count / 25 + 1;
    check_prefix(&s, "", 0);
    check_prefix(&s, "no such", 7);
    check_prefix(&s, "model.layers.3.", 15);
    check_prefix(&s, "model.layers.3", 14);
    for (size_t i = 0; i < s.set.count; i += step) {
        const tare_string *name = &s.set.names[i];
        for (size_t size = 1; size <= name->size; size += 1 + size / 6)
            check_prefix(&s, name->data, size);
        check_prefix(&s, name->data, name->size);
        char *target = malloc(name->size + 1);
        for (unsigned way = 0; way < NAME_LOOK_ALIKE_COUNT; way += 2) {
            size_t size = name_look_alike(name, way, target);
            if (size != NAME_ABSENT) check_prefix(&s, target, size);
        }
        free(target);
    }
    close_subject(&s);
}

Test(lookup, prefixes_give_what_a_scan_gives)
{
    for (size_t k = 0; k < name_set_kind_count; k++) {
        if (strncmp(name_set_kinds[k].what, "in the manner", 13) == 0) continue;
        if (strncmp(name_set_kinds[k].what, "Qwen", 4) == 0) continue;
        check_prefixes(open_pairs(&name_set_kinds[k]));
    }
}

Test(lookup, prefixes_of_many_layers_give_what_a_scan_gives)
{
    subject s = open_pairs(&name_set_kinds[name_set_kind_count - 1]);
    for (unsigned layer = 0; layer < 70; layer += 3) {
        char prefix[64];
        int size = snprintf(prefix, sizeof prefix, "model.layers.%u.", layer);
        check_prefix(&s, prefix, (size_t)size);
        check_prefix(&s, prefix, (size_t)size - 1);
    }
    check_prefix(&s, "model.layers.60.mlp.experts.255.down_proj.weight_scale_inv", 58);
    check_prefix(&s, "lm_head", 7);
    check_prefix(&s, "", 0);
    close_subject(&s);
}

Test(lookup, a_range_is_a_value_that_can_be_copied)
{
    subject s = open_pairs(&name_set_kinds[4]);
    tare_range range = tare_prefix(s.model, "layers.11", 9);
    const tare_tensor *first = tare_next(s.model, &range);
    tare_range copy = range;
    const tare_tensor *second = tare_next(s.model, &range);
    cr_expect_not_null(first);
    cr_expect_not_null(second);
    cr_expect_eq(tare_next(s.model, &copy), second);
    close_subject(&s);
}

Test(lookup, at_and_beyond_the_count_there_is_nothing)
{
    subject s = open_pairs(&name_set_kinds[6]);
    size_t count = tare_count(s.model);
    cr_expect_not_null(tare_at(s.model, count - 1));
    cr_expect_null(tare_at(s.model, count));
    cr_expect_null(tare_at(s.model, count + 1));
    cr_expect_null(tare_at(s.model, SIZE_MAX));
    tare_shard_info shard = tare_shard_at(s.model, tare_shard_count(s.model));
    cr_expect_null(shard.name.data);
    cr_expect_eq(shard.size + shard.data_offset + shard.backing + shard.name.size, 0);
    close_subject(&s);
}

/* No name of a set is told from another by a hash alone: one hash, two names. */
Test(lookup, a_key_made_for_another_name_finds_nothing_wrong)
{
    subject s = open_pairs(&name_set_kinds[6]);
    for (size_t i = 1; i < s.set.count; i++) {
        tare_key key = tare_key_make(s.model, s.set.names[i].data, s.set.names[i].size);
        key.hash = tare_key_make(s.model, s.set.names[i - 1].data, s.set.names[i - 1].size).hash;
        const tare_tensor *found = tare_find_key(s.model, &key);
        cr_assert(found == NULL || found == tare_at(s.model, i), "name %zu", i);
    }
    close_subject(&s);
}

/* Where a group of 4,096 names is passed over, what comes behind is looked at anew. */
Test(lookup, prefixes_just_behind_a_group_that_has_none)
{
    enum { GROUPS = 4096, COUNT = GROUPS + 200 };
    static char text[COUNT][16];
    static tare_pair pairs[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(text[i], sizeof text[i], "%s.%04u",
                 i < GROUPS    ? "aaa"
                 : i == GROUPS ? "bba"
                               : "bbb",
                 i);
        pairs[i] = (tare_pair){text[i], strlen(text[i]), "", 0};
    }
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open_pairs(pairs, COUNT, NULL, &model, NULL), TARE_OK);
    tare_range range = tare_prefix(model, "bbb", 3);
    for (size_t i = GROUPS + 1; i < COUNT; i++)
        cr_assert_eq(tare_next(model, &range), tare_at(model, i), "%zu", i);
    cr_expect_null(tare_next(model, &range));
    range = tare_prefix(model, "aab", 3);
    cr_expect_null(tare_next(model, &range));
    tare_close(model);
}
