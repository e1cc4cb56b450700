/*
 * What is written is what was checked, whatever becomes of what was handed in meanwhile: names, shapes
 * and metadata in memory of the caller's, and in an index file. Memory is taken between the two, so that
 * the allocator is who changes them.
 */
#include <stdlib.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/index_probe.h"
#include "support/temp_files.h"

enum { TENSOR_COUNT = 4, METADATA_COUNT = 3 };

static const build_tensor some[] = {{"a.weight", 0, "F32", "[4,2]", 32},
                                    {"b.weight", 0, "U8", "[2,9]", 18}};

static temp_path folder;
static build_text file;
static tare_model *model; /* of the file, from `mapped` */
static index_image good, mapped;

/* What else is handed in, as it is before each call. */
typedef struct handed {
    char names[2][8];
    uint64_t shapes[2][2];
    char key[8], value[8];
} handed;

static const handed given = {{"mine", "other"}, {{2, 2}, {3, 6}}, "key", "value"};
static handed own;
static tare_save_tensor tensors[TENSOR_COUNT];
static tare_save_metadata metadata[METADATA_COUNT];

static alloc_probe probe;
static void *(*take)(void *context, size_t size, size_t alignment);
static size_t change_at;

static void *take_and_change(void *context, size_t size, size_t alignment)
{
    void *taken = take(context, size, alignment);
    if (probe.calls != change_at) return taken;
    memset(mapped.bytes, 0xFF, mapped.size);
    memset(&own, 0xFF, sizeof own);
    return taken;
}

static void as_before(size_t at)
{
    memcpy(mapped.bytes, good.bytes, good.size);
    own = given;
    alloc_probe_init(&probe);
    take = probe.hooks.allocate;
    probe.hooks.allocate = take_and_change;
    change_at = at;
}

/* Two tensors of the model, one under another name and shape, one in memory; metadata of both. */
static void hand_in(void)
{
    static const char data[] = "1234";
    as_before(0);
    for (size_t i = 0; i < 3; i++)
        tensors[i] = (tare_save_tensor){.model = model, .tensor = tare_at(model, i != 0)};
    tare_string name = tare_name(model, tare_at(model, 0));
    tensors[0].name = name.data; /* of the index, too */
    tensors[0].name_size = name.size;
    tensors[2].name = own.names[1];
    tensors[2].name_size = 5;
    tensors[2].dtype = TARE_DTYPE_I8;
    tensors[2].shape = own.shapes[1];
    tensors[2].rank = 2;
    tensors[3] = (tare_save_tensor){.name = own.names[0],
                                    .name_size = 4,
                                    .dtype = TARE_DTYPE_U8,
                                    .shape = own.shapes[0],
                                    .rank = 2,
                                    .data = data,
                                    .size = 4};
    metadata[0] = (tare_save_metadata){{own.key, 3}, {own.value, 5}};
    for (size_t i = 1; i < METADATA_COUNT; i++)
        cr_assert(tare_metadata_at(model, i - 1, &metadata[i].key, &metadata[i].value, NULL));
}

static void make_model(void)
{
    folder = temp_folder_make();
    file = build_file(some, 2, "{\"format\":\"pt\",\"a\":\"some text\"}");
    tare_model *parsed = expect_open_bytes("parsed", &file);
    good = index_make(parsed, temp_join(&folder, "an.idx").text);
    mapped = index_copy(good.bytes, good.size);
    tare_close(parsed);
    tare_options options = TARE_OPTIONS_INIT;
    tare_error error = expect_poison();
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = mapped.bytes;
    options.index_size = mapped.size;
    tare_status status = tare_open_bytes(file.data, file.size, &options, &model, &error);
    expect_opened("with its index", status, model, &error);
    hand_in();
}

static void drop_model(void)
{
    as_before(0);
    tare_close(model);
    index_free(&good);
    index_free(&mapped);
    build_free(&file);
    temp_folder_remove(&folder);
}

TestSuite(save_copy, .init = make_model, .fini = drop_model);

static tare_status save(size_t at, build_text *saved)
{
    temp_path path = temp_join(&folder, "saved.safetensors");
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    tare_error error = expect_poison();
    as_before(at);
    options.flags = TARE_SAVE_REPLACE;
    options.allocator = &probe.hooks;
    options.metadata = metadata;
    options.metadata_count = METADATA_COUNT;
    tare_status status = tare_save(path.text, tensors, TENSOR_COUNT, &options, &error);
    cr_expect_eq(status, error.status);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
    *saved = (build_text){0};
    if (status == TARE_OK) saved->data = temp_read(path.text, &saved->size);
    return status;
}

/* All moments before the header is written: the last one, in which its buffer is taken, finds all of it
 * checked. */
Test(save_copy, is_what_is_written_whatever_changes_behind_the_checks)
{
    build_text wanted, saved;
    cr_assert_eq(save(0, &wanted), TARE_OK);
    const size_t calls = probe.calls;
    cr_assert_geq(calls, 3);
    for (size_t at = 1; at <= calls; at++) {
        tare_status status = save(at, &saved);
        cr_expect(at != calls || status == TARE_OK, "refused behind all checks");
        if (status != TARE_OK) continue;
        tare_model *opened = expect_open_bytes("saved", &saved);
        cr_expect_eq(tare_count(opened), TENSOR_COUNT, "change %zu", at);
        tare_close(opened);
        if (at == calls) {
            cr_assert_eq(saved.size, wanted.size);
            cr_expect_arr_eq(saved.data, wanted.data, wanted.size);
        }
        build_free(&saved);
    }
    build_free(&wanted);
}

/* Of names and strings that are too long together only, no more is copied than a header can hold. */
Test(save_copy, takes_no_memory_beyond_the_largest_header)
{
    enum { SIZE = 60000000 };
    char *text = malloc(SIZE);
    memset(text, 'x', SIZE);
    const tare_save_tensor named = {
        .name = text, .name_size = SIZE, .dtype = TARE_DTYPE_U8, .data = "1", .size = 1};
    const tare_save_tensor list[] = {named, named};
    const tare_save_metadata both = {{text, SIZE}, {text, SIZE}}, value = {{"k", 1}, {text, SIZE}};
    const struct {
        size_t tensor_count;
        const tare_save_metadata *metadata;
    } rows[] = {{2, NULL}, {1, &value}, {0, &both}};
    for (size_t i = 0; i < 3; i++) {
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        tare_error error = expect_poison();
        alloc_probe_init(&probe);
        options.allocator = &probe.hooks;
        options.metadata = rows[i].metadata;
        options.metadata_count = rows[i].metadata != NULL;
        uint64_t size = 9;
        tare_status status =
            tare_save_bytes(list, rows[i].tensor_count, &options, NULL, 0, &size, &error);
        expect_refused("together", TARE_E_HEADER_SIZE, TARE_NO_OFFSET, status, NULL, &error);
        cr_expect_eq(size, 0);
        cr_expect_lt(probe.peak_size, SIZE + 100000, "row %zu: %zu bytes", i, probe.peak_size);
        cr_expect_eq(probe.block_count + probe.mistakes, 0);
    }
    free(text);
}
