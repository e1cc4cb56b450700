/* Index files that change as soon as they were looked at: a number that is compared and then loaded
 * once more is another one, here in every run (src/prebuilt_look.c is compiled with fickle.h). */
#include <string.h>

#include "prebuilt.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/temp_files.h"

static const build_tensor some[] = {
    {"model.layers.0.mlp.up_proj.weight", 0, "F32", "[2,2]", 16},
    {"model.layers.0.mlp.down_proj.weight", 0, "BF16", "[4,2]", 16},
    {"b", 0, "U8", "[3]", 3},
    {"scalar", 0, "U8", "[]", 1},
    {"empty", 0, "F32", "[0,7]", 0},
};

#define GGUF_WORDS                                           \
    GGUF_HEAD("2", "4")                                      \
    GGUF_TEXT("general.architecture", "llama")               \
    GGUF_U32("block_count", "7")                             \
    "\"scores\" 4:9 4:6 8:2 4:1 4:2 " GGUF_U16("short", "3") \
        GGUF_TENSOR("blk.0.weight", "8", "0", "0")           \
            GGUF_TENSOR("blk.1.weight", "4", "0", "32") "p32 d48"

enum { FILE_COUNT = 2 };
static temp_path folder;
static build_text files[FILE_COUNT];
static tare_model *parsed[FILE_COUNT], *indexed[FILE_COUNT];
static index_image images[FILE_COUNT];

static void open_models(void)
{
    folder = temp_folder_make();
    files[0] = build_file(some, 5, "{\"format\":\"pt\",\"a\":\"some text\"}");
    files[1] = gguf_text(GGUF_WORDS, NULL);
    for (size_t i = 0; i < FILE_COUNT; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_error error = expect_poison();
        parsed[i] = expect_open_bytes("parsed", &files[i]);
        images[i] = index_make(parsed[i], temp_join(&folder, "an.idx").text);
        options.index = TARE_INDEX_REQUIRE;
        options.index_bytes = images[i].bytes;
        options.index_size = images[i].size;
        tare_status status =
            tare_open_bytes(files[i].data, files[i].size, &options, &indexed[i], &error);
        expect_opened("with its index", status, indexed[i], &error);
    }
}

static void close_models(void)
{
    for (size_t i = 0; i < FILE_COUNT; i++) {
        tare_close(parsed[i]);
        tare_close(indexed[i]);
        index_free(&images[i]);
        build_free(&files[i]);
    }
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_fickle, .init = open_models, .fini = close_models, .timeout = 60);

/* One more, one less, and something else altogether, of 32 bits and of 64. */
enum { CHANGE_COUNT = 3 };
static const uint64_t changes[CHANGE_COUNT] = {1, UINT64_MAX, UINT64_C(0x8000000080000000)};

static void check_looks(uint64_t change)
{
    for (size_t f = 0; f < FILE_COUNT; f++)
        for (size_t i = 0; i < tare_count(parsed[f]); i++) {
            tare_info truth = tare_describe(parsed[f], tare_at(parsed[f], i));
            uint64_t shape[TAREI_PREBUILT_RANK_MAX];
            tarei_look look;
            fickle_begin(change);
            bool good = tarei_prebuilt_look(indexed[f], tare_at(indexed[f], i), shape, &look);
            size_t count = fickle_end();
            cr_expect(good, "%s", truth.name);
            cr_expect_eq(count, 5 + truth.rank, "%s: %zu numbers", truth.name, count);
            cr_expect_eq(look.size, truth.size, "%s", truth.name);
            cr_expect_eq(look.offset, truth.offset, "%s", truth.name);
            cr_expect_eq(look.dtype, truth.dtype, "%s", truth.name);
            cr_expect_eq(look.shard, truth.shard, "%s", truth.name);
            cr_assert_eq(look.rank, truth.rank, "%s", truth.name);
            cr_expect_eq(memcmp(shape, truth.shape, truth.rank * sizeof *shape), 0, "%s",
                         truth.name);
        }
}

Test(prebuilt_fickle, each_number_of_a_tensor_is_looked_at_once)
{
    for (size_t i = 0; i < CHANGE_COUNT; i++) check_looks(changes[i]);
}

static void check_names(uint64_t change)
{
    for (size_t f = 0; f < FILE_COUNT; f++)
        for (size_t i = 0; i < tare_count(parsed[f]); i++) {
            tare_string truth = tare_name(parsed[f], tare_at(parsed[f], i));
            fickle_begin(change);
            tare_string name = tarei_names_get(&indexed[f]->tensors, tare_at(indexed[f], i));
            cr_expect_gt(fickle_end(), 0);
            cr_assert_eq(name.size, truth.size, "%s", truth.data);
            cr_expect_eq(memcmp(name.data, truth.data, truth.size), 0, "%s", truth.data);
        }
}

Test(prebuilt_fickle, so_is_each_number_of_a_name)
{
    for (size_t i = 0; i < CHANGE_COUNT; i++) check_names(changes[i]);
}

static void check_values(uint64_t change)
{
    for (size_t f = 0; f < FILE_COUNT; f++)
        for (uint32_t i = 0; i < parsed[f]->metadata.count; i++) {
            tare_value truth = tare_metadata_value_at(parsed[f], i);
            fickle_begin(change);
            tare_value value =
                tarei_prebuilt_value_of(indexed[f], &indexed[f]->metadata.records[i]);
            cr_expect_eq(fickle_end(), 5, "value %u", i);
            cr_expect_eq(value.kind, truth.kind, "value %u", i);
            cr_expect_eq(value.item_kind, truth.item_kind, "value %u", i);
            cr_expect_eq(value.count, truth.count, "value %u", i);
            cr_assert_eq(value.size, truth.size, "value %u", i);
            cr_expect_eq(memcmp(value.data, truth.data, truth.size), 0, "value %u", i);
        }
}

Test(prebuilt_fickle, so_is_each_number_of_a_value)
{
    for (size_t i = 0; i < CHANGE_COUNT; i++) check_values(changes[i]);
}
