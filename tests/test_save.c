/* Saving: from bytes, from tensors of models, and what is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

static temp_path folder, target;
static const char before[] = "what was there before";
static const uint64_t four[] = {4};

static void make_folder(void)
{
    folder = temp_folder_make();
    target = temp_write(&folder, "target.safetensors", before, sizeof before);
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(save, .init = make_folder, .fini = remove_folder);

static tare_save_tensor bytes_tensor(const char *name, const void *data, size_t size)
{
    return (tare_save_tensor){.name = name,
                              .name_size = strlen(name),
                              .dtype = TARE_DTYPE_U8,
                              .shape = four,
                              .rank = 1,
                              .data = data,
                              .size = size};
}

static tare_save_tensor model_tensor(const tare_model *model, size_t index)
{
    return (tare_save_tensor){.model = model, .tensor = tare_at(model, index)};
}

static tare_status save_over(const tare_save_tensor *tensors, size_t count, tare_error *error)
{
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    options.flags = TARE_SAVE_REPLACE;
    *error = expect_poison();
    return tare_save(target.text, tensors, count, &options, error);
}

/* The target is as it was, and nothing lies beside it. */
static void check_untouched(const char *what)
{
    size_t size;
    char *now = temp_read(target.text, &size);
    cr_expect(size == sizeof before && memcmp(now, before, size) == 0, "%s: the target changed",
              what);
    free(now);
    cr_expect_eq(temp_entry_count(&folder), 1, "%s: something lies beside it", what);
}

static void check_refused(const char *what, tare_status wanted, const tare_save_tensor *tensors,
                          size_t count, const char *text)
{
    tare_error error;
    tare_status status = save_over(tensors, count, &error);
    expect_refused(what, wanted, TARE_NO_OFFSET, status, NULL, &error);
    expect_message(what, text, &error);
    check_untouched(what);
}

static tare_model *open_target(const char *what, uint32_t backing)
{
    return expect_open_path(what, target.text, backing);
}

/* ------------------------------------------------------------------------------------------------
 * Tensors of models
 */

/* Tensors from below one buffer to several, whose ends fall anywhere. */
static build_text make_large(void)
{
    static const build_tensor tensors[] = {
        {"a", 0, "U8", "[3145733]", 3145733}, {"b", 0, "F32", "[]", 4},
        {"c", 0, "U8", "[1048576]", 1048576}, {"d", 0, "U8", "[0]", 0},
        {"e", 0, "I16", "[524289]", 1048578}, {"f", 0, "U8", "[999999]", 999999},
    };
    return build_file(tensors, 6, NULL);
}

static void check_saves_equal(const char *what, const tare_model *model)
{
    tare_save_tensor tensors[6];
    tare_error error;
    for (size_t i = 0; i < 6; i++) tensors[i] = model_tensor(model, i);
    tare_status status = save_over(tensors, 6, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    tare_model *copy = open_target(what, TARE_BACKING_AUTO);
    for (size_t i = 0; i < 6; i++) {
        tare_info info = tare_describe(model, tare_at(model, i));
        char *bytes = malloc((size_t)info.size + 1);
        cr_assert_eq(tare_read(model, tare_at(model, i), bytes, (size_t)info.size, NULL), TARE_OK);
        const tare_tensor *found = tare_find(copy, info.name, info.name_size);
        cr_assert_not_null(found, "%s: %s", what, info.name);
        cr_expect_eq(tare_describe(copy, found).dtype, info.dtype, "%s: %s", what, info.name);
        expect_bytes(what, copy, found, bytes, (size_t)info.size);
        free(bytes);
    }
    tare_close(copy);
}

Test(save, takes_tensors_of_models_of_every_backing)
{
    build_text file = make_large();
    temp_path source = temp_write_text(&folder, "source.safetensors", &file);
    static const uint32_t backings[] = {TARE_BACKING_MAP, TARE_BACKING_READ};
    for (size_t b = 0; b < 2; b++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model = expect_no_model();
        options.backing = backings[b];
        cr_assert_eq(tare_open(source.text, &options, &model, NULL), TARE_OK);
        check_saves_equal("file", model);
        tare_close(model);
    }
    tare_model *model = expect_open_bytes("bytes", &file);
    check_saves_equal("bytes", model);
    tare_close(model);
    reader_probe probe;
    reader_probe_init(&probe, file.data, file.size, 1000);
    cr_assert_eq(tare_open_reader(&probe.reader, NULL, &model, NULL), TARE_OK);
    check_saves_equal("reader", model);
    cr_expect_eq(probe.mistakes, 0);
    tare_close(model);
    build_free(&file);
}

/* The same offset in each shard, and other bytes there. */
Test(save, takes_each_tensor_from_its_own_shard)
{
    static const char *const names[] = {"a.safetensors", "b.safetensors", "c.safetensors"};
    static const char listing[] = "{\"weight_map\":{\"a\":\"a.safetensors\","
                                  "\"b\":\"b.safetensors\",\"c\":\"c.safetensors\"}}";
    tare_file files[4] = {
        {.name = "model.safetensors.index.json", .bytes = listing, .size = sizeof listing - 1}};
    build_text texts[3];
    tare_save_tensor tensors[3];
    tare_model *model = expect_no_model();
    tare_error error;
    for (size_t i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i)};
        build_tensor tensor = {name, 0, "U8", "[4]", 4};
        texts[i] = build_file(&tensor, 1, NULL);
        memset(texts[i].data + texts[i].size - 4, name[0], 4);
        files[i + 1] = (tare_file){.name = names[i], .bytes = texts[i].data, .size = texts[i].size};
    }
    tare_status status = tare_open_files(files, 4, NULL, &model, &error);
    expect_opened("shards", status, model, &error);
    for (size_t i = 0; i < 3; i++) tensors[i] = model_tensor(model, i);
    cr_assert_eq(save_over(tensors, 3, &error), TARE_OK, "%s", error.message);
    tare_model *saved = open_target("shards", TARE_BACKING_AUTO);
    expect_bytes("a", saved, tare_find(saved, "a", 1), "aaaa", 4);
    expect_bytes("b", saved, tare_find(saved, "b", 1), "bbbb", 4);
    expect_bytes("c", saved, tare_find(saved, "c", 1), "cccc", 4);
    tare_close(saved);
    tare_close(model);
    for (size_t i = 0; i < 3; i++) build_free(&texts[i]);
}

/* In the buffer, which holds a mebibyte, and beside it; a mapped file that was cut short is read,
 * since memory could not be written from it without a signal. */
Test(save, gives_in_memory_what_it_writes_to_a_file)
{
    build_text file = make_large();
    temp_path source = temp_write_text(&folder, "source.safetensors", &file);
    tare_model *model = expect_open_path("source", source.text, TARE_BACKING_MAP);
    tare_save_tensor tensors[7];
    tare_error error;
    uint64_t size;
    size_t written_size;
    for (size_t i = 0; i < 6; i++) tensors[i] = model_tensor(model, i);
    const uint64_t shape[] = {3 << 20};
    void *own = calloc(3, 1 << 20);
    tensors[6] = bytes_tensor("own", own, 3 << 20);
    tensors[6].shape = shape;
    cr_assert_eq(save_over(tensors, 7, &error), TARE_OK, "%s", error.message);
    char *written = temp_read(target.text, &written_size), *memory = malloc(written_size);
    cr_assert_eq(tare_save_bytes(tensors, 7, NULL, memory, written_size, &size, &error), TARE_OK);
    cr_expect_eq(size, written_size);
    cr_expect_eq(memcmp(memory, written, written_size), 0);
    temp_write(&folder, "source.safetensors", file.data, file.size / 2);
    tare_status status = tare_save_bytes(tensors, 7, NULL, memory, written_size, &size, &error);
    expect_status("cut short", TARE_E_CHANGED, status, NULL, &error);
    tare_close(model);
    free(written);
    free(memory);
    free(own);
    build_free(&file);
}

Test(save, merges_models_and_gives_tensors_other_names_and_shapes)
{
    static const tare_pair pairs[] = {{"a", 1, "AAAA", 4}, {"b", 1, "BBBB", 4}};
    static const uint64_t two[] = {2, 1};
    tare_model *model = expect_no_model();
    tare_error error;
    cr_assert_eq(tare_open_pairs(pairs, 2, NULL, &model, NULL), TARE_OK);
    tare_save_tensor tensors[] = {model_tensor(model, 0), model_tensor(model, 1),
                                  model_tensor(model, 1), bytes_tensor("mine", "MMMM", 4)};
    tensors[1].name = "";
    tensors[2].name = "half";
    tensors[2].name_size = 4;
    tensors[2].dtype = TARE_DTYPE_F16;
    tensors[2].shape = two;
    tensors[2].rank = 2;
    tare_status status = save_over(tensors, 4, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    tare_model *saved = open_target("merged", TARE_BACKING_AUTO);
    uint64_t data = tare_shard_at(saved, 0).data_offset;
    expect_tensor("merged", saved, 0, "half", 4, "F16", two, 2, data, 4);
    expect_tensor("merged", saved, 1, "", 0, "U8", four, 1, data + 4, 4);
    expect_tensor("merged", saved, 2, "a", 1, "U8", four, 1, data + 8, 4);
    expect_tensor("merged", saved, 3, "mine", 4, "U8", four, 1, data + 12, 4);
    expect_bytes("merged", saved, tare_at(saved, 0), "BBBB", 4);
    expect_bytes("merged", saved, tare_at(saved, 1), "BBBB", 4);
    expect_bytes("merged", saved, tare_at(saved, 2), "AAAA", 4);
    expect_bytes("merged", saved, tare_at(saved, 3), "MMMM", 4);
    tare_close(saved);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * What is refused
 */

#define PLAIN_AND_BLOCKS                 \
    GGUF_HEAD("3", "0")                  \
    GGUF_TENSOR("plain", "3", "30", "0") \
    "\"blocks\" 4:2 8:64 8:3 4:2 8:32 " GGUF_TENSOR("bytes", "5", "24", "160") "p32 d192"

Test(save, takes_the_plain_types_of_gguf_and_refuses_blocks_by_name)
{
    static const uint64_t size[] = {108};
    build_text file;
    tare_model *model = gguf_open(PLAIN_AND_BLOCKS, &file);
    tare_save_tensor tensors[] = {model_tensor(model, 0), model_tensor(model, 1),
                                  model_tensor(model, 2)};
    tare_error error = expect_poison();
    check_refused("blocks", TARE_E_DTYPE, tensors, 3,
                  "tensor 'blocks': safetensors has no dtype Q4_0 (23)");
    for (tare_dtype dtype = TARE_DTYPE_Q4_0; dtype <= TARE_DTYPE_Q2_0; dtype++) {
        tare_save_tensor one = bytes_tensor("w", "aaaa", 4);
        one.dtype = dtype;
        check_refused("blocks in memory", TARE_E_DTYPE, &one, 1, tare_dtype_name(dtype));
    }
    tensors[1].dtype = TARE_DTYPE_U8; /* its blocks as they are */
    tensors[1].shape = size;
    tensors[1].rank = 1;
    cr_assert_eq(save_over(tensors, 3, &error), TARE_OK, "%s", error.message);
    tare_model *saved = open_target("as bytes", TARE_BACKING_MAP);
    static const tare_dtype dtypes[] = {TARE_DTYPE_BF16, TARE_DTYPE_U8, TARE_DTYPE_I8};
    for (size_t i = 0; i < 3; i++) {
        tare_info info = tare_describe(model, tensors[i].tensor);
        const tare_tensor *found = tare_find(saved, info.name, info.name_size);
        cr_assert_not_null(found, "%s", info.name);
        expect_bytes(info.name, saved, found, file.data + info.offset, (size_t)info.size);
        cr_expect_eq(tare_describe(saved, found).dtype, dtypes[i], "%s", info.name);
    }
    tare_close(saved);
    tare_close(model);
    build_free(&file);
}

Test(save, refuses_what_a_reader_would_refuse)
{
    static const uint64_t huge[] = {UINT64_MAX, 2, 0}, three[] = {3};
    tare_save_tensor two[] = {bytes_tensor("a", "aaaa", 4), bytes_tensor("a", "bbbb", 4)};
    check_refused("same name", TARE_E_DUPLICATE, two, 2, "tensor 'a': is there twice");
    two[1].dtype = TARE_DTYPE_F32;
    two[1].rank = 0;
    check_refused("same name, other dtype", TARE_E_DUPLICATE, two, 2, "tensor 'a'");
    tare_save_tensor one = bytes_tensor("__metadata__", "aaaa", 4);
    check_refused("reserved", TARE_E_METADATA, &one, 1, "'__metadata__'");
    tare_error error;
    one = bytes_tensor("__metadata_x", "aaaa", 4);
    cr_expect_eq(tare_save_bytes(&one, 1, NULL, NULL, 0, NULL, &error), TARE_OK, "another name");
    static const char *const names[] = {
        "\xff", "a\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "cut\xe2\x82"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        one = bytes_tensor(names[i], "aaaa", 4);
        check_refused("name", TARE_E_UTF8, &one, 1, "the name is not UTF-8");
    }
    static const tare_dtype dtypes[] = {0, 23, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        one = bytes_tensor("a", "aaaa", 4);
        one.dtype = dtypes[i];
        check_refused("dtype", TARE_E_DTYPE, &one, 1, "tensor 'a': safetensors has no dtype");
        cr_expect_eq(tare_dtype_can_save(dtypes[i]), 0);
    }
    one = bytes_tensor("a", "aaa", 3);
    check_refused("size", TARE_E_SIZE, &one, 1, "'a': its shape takes 4 bytes, it has 3");
    one = bytes_tensor("a", NULL, 0);
    one.shape = huge;
    one.rank = 3;
    check_refused("overflow", TARE_E_OVERFLOW, &one, 1, "tensor 'a'");
    static const uint64_t many[] = {UINT64_C(1) << 61};
    one.shape = many;
    one.rank = 1;
    check_refused("overflow in bits", TARE_E_OVERFLOW, &one, 1, "tensor 'a'");
    one = bytes_tensor("a", "a", 1);
    one.dtype = TARE_DTYPE_F4;
    one.shape = three;
    check_refused("within a byte", TARE_E_SUBBYTE, &one, 1, "tensor 'a': it ends within a byte");
}

Test(save, refuses_metadata_that_a_reader_would_refuse)
{
    static const struct {
        tare_save_metadata metadata[3];
        tare_status status;
    } rows[] = {
        {{{{"a", 1}, {"1", 1}}, {{"b", 1}, {"", 0}}, {{"a", 1}, {"2", 1}}}, TARE_E_DUPLICATE},
        {{{{"a", 1}, {"1", 1}}, {{"\xff", 1}, {"", 0}}, {{"c", 1}, {"2", 1}}}, TARE_E_UTF8},
        {{{{"a", 1}, {"\x80", 1}}, {{"b", 1}, {"", 0}}, {{"c", 1}, {"2", 1}}}, TARE_E_UTF8},
        {{{{NULL, 1}, {"1", 1}}, {{"b", 1}, {"", 0}}, {{"c", 1}, {"2", 1}}}, TARE_E_ARGUMENT},
        {{{{"a", 1}, {NULL, 1}}, {{"b", 1}, {"", 0}}, {{"c", 1}, {"2", 1}}}, TARE_E_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        tare_error error = expect_poison();
        options.flags = TARE_SAVE_REPLACE;
        options.metadata = rows[i].metadata;
        options.metadata_count = 3;
        tare_status status = tare_save(target.text, NULL, 0, &options, &error);
        expect_refused("metadata", rows[i].status, TARE_NO_OFFSET, status, NULL, &error);
        check_untouched("metadata");
    }
}

Test(save, takes_metadata_that_is_empty)
{
    static const tare_save_metadata nothing[] = {{{NULL, 0}, {NULL, 0}}, {{"k", 1}, {NULL, 0}}};
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    tare_error error = expect_poison();
    options.flags = TARE_SAVE_REPLACE;
    options.metadata = nothing;
    options.metadata_count = 2;
    cr_assert_eq(tare_save(target.text, NULL, 0, &options, &error), TARE_OK, "%s", error.message);
    tare_model *model = open_target("empty metadata", TARE_BACKING_AUTO);
    cr_expect_eq(tare_metadata_count(model), 2);
    tare_string value = tare_metadata_find(model, "", 0);
    cr_expect(value.data != NULL && value.size == 0);
    value = tare_metadata_find(model, "k", 1);
    cr_expect(value.data != NULL && value.size == 0);
    tare_close(model);
}

Test(save, refuses_headers_beyond_100000000_bytes)
{
    static const char around[] = "{\"__metadata__\":{\"\":\"\"}}";
    size_t most = 100000000 - (sizeof around - 1);
    char *value = malloc(most + 1);
    memset(value, 'v', most + 1);
    tare_save_metadata metadata = {{"", 0}, {value, most + 1}};
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    tare_error error = expect_poison();
    options.flags = TARE_SAVE_REPLACE;
    options.metadata = &metadata;
    options.metadata_count = 1;
    tare_status status = tare_save(target.text, NULL, 0, &options, &error);
    expect_refused("too large", TARE_E_HEADER_SIZE, TARE_NO_OFFSET, status, NULL, &error);
    check_untouched("too large");
    metadata.value.size = 100000001; /* of which no byte is looked at */
    status = tare_save(target.text, NULL, 0, &options, &error);
    expect_refused("too long", TARE_E_HEADER_SIZE, TARE_NO_OFFSET, status, NULL, &error);
    metadata.value.size = most;
    options.alignment = 4096; /* the spaces count too */
    status = tare_save(target.text, NULL, 0, &options, &error);
    expect_refused("padded", TARE_E_HEADER_SIZE, TARE_NO_OFFSET, status, NULL, &error);
    options.alignment = 8;
    options.metadata_count = 100000001; /* none but the first is there to be looked at */
    status = tare_save(target.text, NULL, 0, &options, &error);
    expect_refused("too many strings", TARE_E_HEADER_SIZE, TARE_NO_OFFSET, status, NULL, &error);
    options.metadata_count = 1;
    const tare_save_tensor tensor = {.name = "t", .name_size = 1, .dtype = TARE_DTYPE_U8};
    status = tare_save(target.text, &tensor, 100000001, &options, &error);
    expect_refused("too many tensors", TARE_E_HEADER_SIZE, TARE_NO_OFFSET, status, NULL, &error);
    check_untouched("too many");
    status = tare_save(target.text, NULL, 0, &options, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    tare_model *model = open_target("just not too large", TARE_BACKING_AUTO);
    cr_expect_eq(tare_shard_at(model, 0).data_offset, 100000008);
    cr_expect_eq(tare_metadata_find(model, "", 0).size, most);
    tare_close(model);
    free(value);
}

/* Of what is too large together with what came before no byte is looked at either. */
Test(save, adds_up_what_headers_hold)
{
    tare_save_metadata metadata[] = {{{"a", 1}, {"b", 1}}, {{"c", 1}, {"d", 100000000 - 2}}};
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    tare_error error = expect_poison();
    options.metadata = metadata;
    options.metadata_count = 2;
    tare_status status = tare_save_bytes(NULL, 0, &options, NULL, 0, NULL, &error);
    expect_refused("together", TARE_E_HEADER_SIZE, TARE_NO_OFFSET, status, NULL, &error);
}

Test(save, refuses_files_beyond_64_tib)
{
    static const uint64_t half[] = {UINT64_C(1) << 45};
    tare_save_tensor two[] = {bytes_tensor("a", "", (size_t)1 << 45),
                              bytes_tensor("b", "", (size_t)1 << 45)};
    two[0].shape = two[1].shape = half;
    check_refused("64 TiB", TARE_E_LIMIT, two, 2, "64 TiB");
    const uint64_t limit = (UINT64_C(1) << 46) - 1; /* with the header */
    uint64_t dimension = limit - 200, size = 0;
    tare_save_tensor one = bytes_tensor("a", "", (size_t)dimension);
    one.shape = &dimension;
    cr_assert_eq(tare_save_bytes(&one, 1, NULL, NULL, 0, &size, NULL), TARE_OK);
    dimension += limit - size;
    one.size = (size_t)dimension;
    cr_expect_eq(tare_save_bytes(&one, 1, NULL, NULL, 0, &size, NULL), TARE_OK, "the most");
    cr_expect_eq(size, limit);
    one.size = (size_t)++dimension;
    cr_expect_eq(tare_save_bytes(&one, 1, NULL, NULL, 0, &size, NULL), TARE_E_LIMIT);
    static const uint64_t most[] = {(UINT64_C(1) << 61) - 1};
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
    tare_save_tensor nine[9]; /* more than 2^64 bytes */
    for (size_t i = 0; i < 9; i++) {
        nine[i] = bytes_tensor(names[i], "", (size_t)most[0]);
        nine[i].shape = most;
    }
    check_refused("2^64", TARE_E_LIMIT, nine, 9, "64 TiB");
}

Test(save, refuses_tensors_whose_fields_do_not_go_together)
{
    static const tare_pair pairs[] = {{"a", 1, "AAAA", 4}};
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open_pairs(pairs, 1, NULL, &model, NULL), TARE_OK);
    tare_save_tensor bad[11];
    for (size_t i = 0; i < 11; i++)
        bad[i] = i < 4 ? bytes_tensor("a", "aaaa", 4) : model_tensor(model, 0);
    bad[0].name = NULL;
    bad[1].shape = NULL;
    bad[2].data = NULL;
    bad[3].tensor = tare_at(model, 0);
    bad[4].tensor = NULL;
    bad[5].data = "AAAA";
    bad[6].size = 4;
    bad[7].rank = 1;
    bad[8].later[1] = 1;
    bad[9].later[0] = 1;
    bad[10].shape = four;
    for (size_t i = 0; i < 11; i++) {
        tare_save_tensor two[] = {bytes_tensor("fine", "1234", 4), bad[i]};
        check_refused("fields", TARE_E_ARGUMENT, two, 2, "tensor 1: ");
    }
    tare_save_tensor other = model_tensor(model, 0);
    other.dtype = TARE_DTYPE_F64;
    check_refused("other size", TARE_E_SIZE, &other, 1, "it has 4");
    other.dtype = 77;
    check_refused("no dtype", TARE_E_DTYPE, &other, 1, "(77)");
    tare_close(model);
}

Test(save, refuses_arguments_and_options_that_cannot_be)
{
    tare_error error = expect_poison();
    tare_save_tensor one = bytes_tensor("a", "aaaa", 4);
    tare_status status = tare_save(NULL, &one, 1, NULL, &error);
    expect_status("path", TARE_E_ARGUMENT, status, NULL, &error);
    status = tare_save(target.text, NULL, 1, NULL, &error);
    expect_status("tensors", TARE_E_ARGUMENT, status, NULL, &error);
    cr_expect_eq(tare_save(target.text, NULL, 1, NULL, NULL), TARE_E_ARGUMENT);
    tare_allocator no_hooks = {sizeof no_hooks, NULL, NULL, NULL};
    for (size_t i = 0; i < 9; i++) {
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        options.flags = TARE_SAVE_REPLACE;
        if (i == 0) options.struct_size = 0;
        if (i == 1) options.flags |= 2;
        if (i == 2) options.reserved = 1;
        if (i == 3) options.alignment = 4;
        if (i == 4) options.alignment = 24;
        if (i == 5) options.alignment = (size_t)4 << 20;
        if (i == 6) options.metadata_count = 1;
        if (i == 7) options.allocator = &no_hooks;
        if (i == 8) options.alignment = 1;
        error = expect_poison();
        status = tare_save(target.text, &one, 1, &options, &error);
        expect_status("options", TARE_E_ARGUMENT, status, NULL, &error);
        check_untouched("options");
    }
}

/* What is saved opens by the name that it got. */
Test(save, refuses_names_that_would_not_open)
{
    static const char *const names[] = {"x.gguf",
                                        "x.json",
                                        "x.safetensors.index.json",
                                        "x-00001-of-00002.gguf",
                                        ".gguf",
                                        "x",
                                        "x.bin",
                                        "x.pt",
                                        "x.safetensors",
                                        "x-00001-of-00002.safetensors",
                                        "x.gguf.safetensors",
                                        "x.GGUF",
                                        "xgguf",
                                        "x.json5"};
    tare_save_tensor one = bytes_tensor("a", "aaaa", 4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        temp_path path = temp_join(&folder, names[i]);
        size_t before_count = temp_entry_count(&folder);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_save(path.text, &one, 1, NULL, &error);
        if (i < 5) {
            expect_status(names[i], TARE_E_ARGUMENT, status, NULL, &error);
            expect_message(names[i], "ends in .json or .gguf", &error);
            cr_expect_eq(temp_entry_count(&folder), before_count);
            continue;
        }
        cr_assert_eq(status, TARE_OK, "%s", error.message);
        status = tare_open(path.text, NULL, &model, &error);
        expect_opened(names[i], status, model, &error);
        tare_close(model);
    }
}

Test(save, takes_options_of_every_size)
{
    tare_save_tensor one = bytes_tensor("a", "aaaa", 4);
    for (size_t size = 0; size < sizeof(tare_save_options) + 16; size++) {
        struct {
            tare_save_options options;
            unsigned char later[16];
        } given = {{.flags = TARE_SAVE_REPLACE}, {0}};
        given.options.struct_size = size;
        tare_error error = expect_poison();
        tare_status status = tare_save(target.text, &one, 1, &given.options, &error);
        tare_status wanted = TARE_OK;
        if (size < sizeof(size_t))
            wanted = TARE_E_ARGUMENT;
        else if (size == sizeof(size_t))
            wanted = TARE_E_EXISTS; /* no flags */
        cr_expect_eq(status, wanted, "size %zu: %s", size, error.message);
        if (size <= sizeof given.options) continue;
        given.later[size - sizeof given.options - 1] = 1;
        status = tare_save(target.text, &one, 1, &given.options, &error);
        cr_expect_eq(status, TARE_E_ARGUMENT, "size %zu with a byte set", size);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Memory
 */

Test(save, takes_one_buffer_and_copies_of_names_and_shapes)
{
    enum { COUNT = 5000 };
    static alloc_probe probe;
    static char names[COUNT][8];
    static tare_save_tensor tensors[COUNT];
    build_text file = make_large();
    temp_path source = temp_write_text(&folder, "source.safetensors", &file);
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(source.text, NULL, &model, NULL), TARE_OK);
    for (size_t i = 0; i < COUNT; i++) {
        tensors[i] = model_tensor(model, i % 6);
        snprintf(names[i], sizeof names[i], "%zu", i);
        tensors[i].name = names[i];
        tensors[i].name_size = strlen(names[i]);
        if (i >= 12) tensors[i].tensor = tare_at(model, 1);
    }
    alloc_probe_init(&probe);
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    tare_error error = expect_poison();
    options.flags = TARE_SAVE_REPLACE;
    options.allocator = &probe.hooks;
    tare_status status = tare_save(target.text, tensors, COUNT, &options, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
    /* Of one dimension and names of up to 8 bytes, in pieces of 16 KiB. */
    const size_t fixed = ((size_t)1 << 20) + ((size_t)2 << 14) + TEMP_PATH_MAX;
    cr_expect_leq(probe.peak_size, fixed + (56 + 8 + 8) * COUNT);
    tare_close(model);
    build_free(&file);
}
