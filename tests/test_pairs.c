/* tare_open_pairs: the contract of from_pairs. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/name_sets.h"
#include "support/set_models.h"

static tare_status open_pairs(const tare_pair *pairs, size_t count, const tare_options *options,
                              tare_model **model, tare_error *error)
{
    *model = expect_no_model();
    *error = expect_poison();
    return tare_open_pairs(pairs, count, options, model, error);
}

Test(pairs, are_listed_in_the_order_given_as_u8)
{
    static const tare_pair pairs[] = {
        {"b", 1, "bytes of b", 10}, {"a", 1, "A", 1}, {"", 0, NULL, 0}, {"c", 1, "ccc", 3}};
    tare_model *model;
    tare_error error;
    tare_status status = open_pairs(pairs, 4, NULL, &model, &error);
    expect_opened("pairs", status, model, &error);
    cr_assert_eq(tare_count(model), 4);
    cr_expect_eq(tare_shard_count(model), 1);
    cr_expect_eq(tare_metadata_count(model), 0);
    for (size_t i = 0; i < 4; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        uint64_t shape = pairs[i].size;
        expect_tensor("pairs", model, i, pairs[i].name, pairs[i].name_size, "U8", &shape, 1,
                      tare_offset(model, tensor), pairs[i].size);
        expect_bytes("pairs", model, tensor, pairs[i].data, pairs[i].size);
        cr_expect_eq(tare_describe(model, tensor).shard, 0);
    }
    cr_expect_null(tare_find(model, "d", 1));
    tare_shard_info shard = tare_shard_at(model, 0);
    cr_expect_eq(shard.name.size, 0);
    cr_expect_str_eq(shard.name.data, "");
    cr_expect_eq(shard.backing, TARE_BACKING_MEMORY);
    tare_close(model);
}

Test(pairs, are_copied_so_that_the_caller_may_free_them)
{
    char *name = temp_copy("name", 4), *data = temp_copy("data", 4);
    tare_pair *pair = malloc(sizeof *pair);
    *pair = (tare_pair){name, 4, data, 4};
    tare_model *model;
    tare_error error;
    tare_status status = open_pairs(pair, 1, NULL, &model, &error);
    expect_opened("copied", status, model, &error);
    memset(name, 0, 4);
    memset(data, 0, 4);
    free(name);
    free(data);
    free(pair);
    const tare_tensor *tensor = tare_find(model, "name", 4);
    cr_assert_not_null(tensor);
    expect_bytes("copied", model, tensor, "data", 4);
    tare_close(model);
}

Test(pairs, none_make_an_empty_model)
{
    tare_model *model;
    tare_error error;
    tare_status status = open_pairs(NULL, 0, NULL, &model, &error);
    expect_opened("none", status, model, &error);
    cr_expect_eq(tare_count(model), 0);
    cr_expect_null(tare_at(model, 0));
    cr_expect_null(tare_find(model, "a", 1));
    tare_range range = tare_prefix(model, "", 0);
    cr_expect_null(tare_next(model, &range));
    tare_close(model);
}

static void check_alignment(size_t alignment, size_t expected)
{
    static alloc_probe probe;
    enum { COUNT = 12 };
    tare_pair pairs[COUNT];
    char bytes[300];
    memset(bytes, 7, sizeof bytes);
    for (size_t i = 0; i < COUNT; i++)
        pairs[i] = (tare_pair){&"abcdefghijkl"[i], 1, i % 4 == 1 ? NULL : bytes,
                               i % 4 == 1 ? 0 : 1 + i * 23};
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    alloc_probe_init(&probe);
    options.alignment = alignment;
    options.allocator = &probe.hooks;
    tare_status status = open_pairs(pairs, COUNT, &options, &model, &error);
    expect_opened("aligned", status, model, &error);
    const unsigned char *end = NULL;
    for (size_t i = 0; i < COUNT; i++) {
        const unsigned char *data = tare_data(model, tare_at(model, i));
        cr_assert_not_null(data);
        cr_expect_eq((uintptr_t)data % expected, 0, "tensor %zu to %zu", i, alignment);
        cr_expect_geq(tare_alignment(model, tare_at(model, i)), expected);
        cr_expect_geq((uintptr_t)data, (uintptr_t)end, "tensor %zu overlaps", i);
        expect_bytes("aligned", model, tare_at(model, i), bytes, pairs[i].size);
        end = data + pairs[i].size;
    }
    tare_close(model);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
}

Test(pairs, are_aligned_to_64_bytes_by_default)
{
    check_alignment(0, 64);
}

Test(pairs, are_aligned_to_any_power_of_two_up_to_2_mib)
{
    for (size_t alignment = 1; alignment <= (size_t)2 << 20; alignment *= 2)
        check_alignment(alignment, alignment);
}

Test(pairs, refuse_other_alignments)
{
    static const size_t wrong[] = {
        3, 5, 63, 65, 96, ((size_t)2 << 20) + 1, (size_t)4 << 20, SIZE_MAX, (SIZE_MAX >> 1) + 1};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        tare_pair pair = {"a", 1, "b", 1};
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        tare_error error;
        options.alignment = wrong[i];
        tare_status status = open_pairs(&pair, 1, &options, &model, &error);
        expect_status("alignment", TARE_E_ARGUMENT, status, model, &error);
    }
}

Test(pairs, refuse_two_of_one_name)
{
    static const tare_pair pairs[] = {{"a", 1, "1", 1}, {"b", 1, "2", 1}, {"a", 1, "3", 1}};
    tare_model *model;
    tare_error error;
    tare_status status = open_pairs(pairs, 3, NULL, &model, &error);
    expect_refused("two of one name", TARE_E_DUPLICATE, TARE_NO_OFFSET, status, model, &error);
    expect_message("two of one name", "'a'", &error);
}

Test(pairs, keep_the_first_of_one_name_when_asked_and_list_all)
{
    static const tare_pair pairs[] = {
        {"a", 1, "1", 1}, {"b", 1, "2", 1}, {"a", 1, "3", 1}, {"a", 1, "4", 1}, {"b", 1, "5", 1}};
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    options.flags = TARE_PAIRS_KEEP_FIRST;
    tare_status status = open_pairs(pairs, 5, &options, &model, &error);
    expect_opened("kept", status, model, &error);
    cr_assert_eq(tare_count(model), 5);
    cr_expect_eq(tare_find(model, "a", 1), tare_at(model, 0));
    cr_expect_eq(tare_find(model, "b", 1), tare_at(model, 1));
    for (size_t i = 0; i < 5; i++) expect_bytes("kept", model, tare_at(model, i), pairs[i].data, 1);
    tare_range range = tare_prefix(model, "a", 1);
    static const size_t listed[] = {0, 2, 3};
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(tare_next(model, &range), tare_at(model, listed[i]));
    cr_expect_null(tare_next(model, &range));
    tare_close(model);
}

Test(pairs, with_no_bytes_have_data_and_absent_ones_have_no_tensor)
{
    static const tare_pair pairs[] = {{"empty", 5, NULL, 0}, {"also", 4, "", 0}};
    for (size_t count = 1; count <= 2; count++) {
        tare_model *model;
        tare_error error;
        tare_status status = open_pairs(pairs, count, NULL, &model, &error);
        expect_opened("empty", status, model, &error);
        const tare_tensor *tensor = tare_find(model, "empty", 5);
        cr_assert_not_null(tensor);
        cr_expect_not_null(tare_data(model, tensor));
        cr_expect_eq(tare_size(model, tensor), 0);
        cr_expect_eq(tare_read(model, tensor, NULL, 0, &error), TARE_OK);
        cr_expect_null(tare_find(model, "absent", 6));
        tare_close(model);
    }
}

Test(pairs, names_may_be_any_bytes)
{
    tare_pair pairs[256];
    char names[256];
    for (int c = 0; c < 256; c++) {
        names[c] = (char)c;
        pairs[c] = (tare_pair){&names[c], 1, &names[c], 1};
    }
    tare_model *model;
    tare_error error;
    tare_status status = open_pairs(pairs, 256, NULL, &model, &error);
    expect_opened("any bytes", status, model, &error);
    for (size_t c = 0; c < 256; c++) {
        const tare_tensor *tensor = tare_find(model, &names[c], 1);
        cr_assert_eq(tensor, tare_at(model, c), "byte %zu", c);
        expect_bytes("any bytes", model, tensor, &names[c], 1);
    }
    tare_close(model);
    pairs[1] = pairs[0];
    status = open_pairs(pairs, 256, NULL, &model, &error);
    expect_status("two zero bytes", TARE_E_DUPLICATE, status, model, &error);
}

Test(pairs, refuse_pointers_that_are_missing)
{
    static const tare_pair wrong[] = {{NULL, 1, "x", 1}, {"a", 1, NULL, 1}, {NULL, 0, NULL, 1}};
    static const char *const says[] = {"pair 0 has no name", "pair 0 has no data",
                                       "pair 0 has no data"};
    tare_model *model;
    tare_error error;
    for (size_t i = 0; i < 3; i++) {
        tare_status status = open_pairs(&wrong[i], 1, NULL, &model, &error);
        expect_status("no pointer", TARE_E_ARGUMENT, status, model, &error);
        expect_message("no pointer", says[i], &error);
    }
    tare_status status = open_pairs(NULL, 1, NULL, &model, &error);
    expect_status("no pairs", TARE_E_ARGUMENT, status, model, &error);
    tare_pair fine = {NULL, 0, NULL, 0};
    status = open_pairs(&fine, 1, NULL, &model, &error);
    expect_opened("an empty name of no bytes", status, model, &error);
    tare_close(model);
}

Test(pairs, refuse_sizes_beyond_all_memory)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX - 63};
    static alloc_probe probe;
    for (size_t i = 0; i < 3; i++) {
        tare_pair pairs[2] = {{"a", 1, "x", sizes[i]}, {"b", 1, "x", sizes[i]}};
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        tare_error error;
        alloc_probe_init(&probe);
        options.allocator = &probe.hooks;
        tare_status status = open_pairs(pairs, 2, &options, &model, &error);
        tare_status wanted = status == TARE_E_LIMIT ? TARE_E_LIMIT : TARE_E_MEMORY;
        expect_status("too much", wanted, status, model, &error);
        pairs[0].size = 1;
        status = open_pairs(pairs, 2, &options, &model, &error);
        expect_status("the second", wanted, status, model, &error);
        cr_expect_eq(probe.block_count, 0);
    }
}

Test(pairs, refuse_more_than_4_gib_of_names)
{
    enum { COUNT = 5000, SIZE = 1 << 20 };
    static alloc_probe probe;
    static tare_pair pairs[COUNT];
    char *name = calloc(SIZE, 1);
    for (size_t i = 0; i < COUNT; i++) pairs[i] = (tare_pair){name, SIZE, NULL, 0};
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    tare_status status = open_pairs(pairs, COUNT, &options, &model, &error);
    expect_refused("4.9 GiB", TARE_E_LIMIT, TARE_NO_OFFSET, status, model, &error);
    cr_expect_lt(probe.peak_size, 16 << 20, "memory was taken for them");
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
    pairs[0].name_size = SIZE_MAX;
    status = open_pairs(pairs, 1, &options, &model, &error);
    expect_refused("all memory", TARE_E_LIMIT, TARE_NO_OFFSET, status, model, &error);
    free(name);
}

Test(pairs, of_a_few_sizes_share_their_shapes)
{
    enum { COUNT = 9000, SIZES = 14 };
    static const char bytes[SIZES];
    tare_pair *pairs = calloc(COUNT, sizeof *pairs);
    uint32_t *names = calloc(COUNT, sizeof *names);
    for (uint32_t i = 0; i < COUNT; i++) {
        names[i] = i;
        pairs[i] = (tare_pair){(const char *)&names[i], sizeof names[i], bytes, i % SIZES};
    }
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open_pairs(pairs, COUNT, NULL, &model, NULL), TARE_OK);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    cr_expect_lt(stat.shape_size, COUNT, "%zu bytes of shapes", (size_t)stat.shape_size);
    tare_close(model);
    free(names);
    free(pairs);
}

Test(pairs, take_a_handful_of_allocations_and_64_bytes_each)
{
    static alloc_probe probe;
    name_set set = name_set_deepseek();
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    tare_status status = set_open_pairs(&set, &options, &model, &error);
    expect_opened("many pairs", status, model, &error);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    cr_expect_lt(probe.calls, 30, "%zu calls", probe.calls);
    cr_expect_eq(stat.memory_size, probe.block_size, "counted otherwise than it is");
    cr_expect_gt(model->tensors.parts_size, 0);
    cr_expect_eq(stat.index_size, model->index.size + model->tensors.parts_size);
    uint64_t beside = stat.record_size + stat.index_size;
    cr_expect_leq(beside, 64 * set.count, "%zu bytes a name", (size_t)(beside / set.count));
    tare_close(model);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
    name_set_free(&set);
}
