/* Index files for several files that a caller hands in: opened at once, by their sizes. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

enum { FILE_COUNT = 3 };

static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};
static const build_tensor more[] = {{"c", 0, "U8", "[5]", 5}};
static const char list[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"sub/2.safetensors\"}}";

static temp_path folder;
static tare_file files[FILE_COUNT];
static tare_options options;
static uint8_t *contents[FILE_COUNT];
static index_image image;

static void take(size_t i, const char *name)
{
    contents[i] = temp_read(temp_join(&folder, name).text, &files[i].size);
    files[i].name = name;
    files[i].bytes = contents[i];
}

/* The index of what is in the folder, as whoever publishes a model would make it. */
static void take_index(const char *name)
{
    tare_error error = expect_poison();
    tare_model *model = expect_no_model();
    tare_status status = tare_open(temp_join(&folder, name).text, NULL, &model, &error);
    expect_opened(name, status, model, &error);
    index_free(&image);
    image = index_make(model, temp_join(&folder, "made.idx").text);
    tare_close(model);
    options = (tare_options)TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image.bytes;
    options.index_size = image.size;
}

static void make_shards(void)
{
    folder = temp_folder_make();
    build_text text = {0};
    build_addf(&text, "%s", list);
    temp_write_built(&folder, "model.safetensors.index.json", text);
    temp_write_built(&folder, "1.safetensors", build_file(two, 2, "{\"k\":\"1\"}"));
    temp_make_folder(&folder, "sub");
    temp_write_built(&folder, "sub/2.safetensors", build_file(more, 1, NULL));
    take(0, "1.safetensors");
    take(1, "sub/2.safetensors");
    take(2, "model.safetensors.index.json");
    take_index("model.safetensors.index.json");
}

static void drop_all(void)
{
    for (size_t i = 0; i < FILE_COUNT; i++) free(contents[i]);
    index_free(&image);
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_files, .init = make_shards, .fini = drop_all);

static tare_model *open_files(const char *what)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_files(files, FILE_COUNT, &options, &model, &error);
    expect_opened(what, status, model, &error);
    return model;
}

static tare_model *open_parsed(const char *what)
{
    const tare_options kept = options;
    options = (tare_options)TARE_OPTIONS_INIT;
    tare_model *model = open_files(what);
    options = kept;
    return model;
}

/* REQUIRE says so; AUTO reads the headers, if it can, and says the same. */
static void check_refused(const char *what, tare_status wanted, uint32_t shard, const char *says,
                          size_t count, bool readable)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_files(files, count, &options, &model, &error);
    expect_status(what, wanted, status, model, &error);
    cr_expect_eq(error.shard, shard, "%s", what);
    expect_message(what, says, &error);
    if (!readable) return;
    options.index = TARE_INDEX_AUTO;
    status = tare_open_files(files, count, &options, &model, &error);
    expect_opened(what, status, model, &error);
    cr_expect_eq(tare_index_status(model, &error), wanted, "%s", what);
    expect_message(what, says, &error);
    tare_close(model);
    options.index = TARE_INDEX_REQUIRE;
}

Test(prebuilt_files, bytes_say_the_same_and_stay_where_they_are)
{
    tare_model *parsed = open_parsed("parsed"), *model = open_files("bytes");
    cr_expect_eq(tare_index_status(model, NULL), TARE_OK);
    expect_same_models("bytes", parsed, model);
    cr_expect_eq(tare_data(model, tare_find(model, "c", 1)),
                 contents[1] + files[1].size - more[0].size);
    cr_expect_eq(tare_shard_at(model, 1).backing, TARE_BACKING_MEMORY);
    options.index_check = TARE_INDEX_BY_HEADER;
    tare_model *hashed = open_files("by header");
    expect_same_models("by header", parsed, hashed);
    tare_close(hashed);
    tare_close(parsed);
    tare_close(model);
}

Test(prebuilt_files, readers_are_asked_for_bytes_of_tensors_alone)
{
    reader_probe probes[FILE_COUNT];
    for (size_t i = 0; i < FILE_COUNT; i++) {
        reader_probe_init(&probes[i], contents[i], files[i].size, 4096);
        files[i].bytes = NULL;
        files[i].size = 0;
        files[i].reader = &probes[i].reader;
    }
    tare_model *model = open_files("readers");
    for (size_t i = 0; i < FILE_COUNT; i++) cr_expect_eq(probes[i].calls, 0);
    uint8_t target[5];
    tare_error error = expect_poison();
    const tare_tensor *tensor = tare_find(model, "c", 1);
    cr_expect_eq(tare_data(model, tensor), NULL);
    cr_assert_eq(tare_read(model, tensor, target, sizeof target, &error), TARE_OK, "%s",
                 error.message);
    cr_expect_arr_eq(target, contents[1] + tare_offset(model, tensor), sizeof target);
    cr_expect_eq(probes[0].calls, 0);
    cr_expect_eq(probes[1].calls, 1);
    tare_model *parsed = open_parsed("parsed");
    expect_same_models("readers", parsed, model);
    tare_close(parsed);
    tare_close(model);
}

/* Starts of files are lent for the call alone, also where they hold the data. */
Test(prebuilt_files, starts_of_files_are_not_looked_at_once_the_model_is_open)
{
    reader_probe probes[FILE_COUNT];
    void *starts[FILE_COUNT];
    for (size_t i = 0; i < FILE_COUNT; i++) {
        reader_probe_init(&probes[i], contents[i], files[i].size, 4096);
        files[i].bytes = starts[i] = temp_copy(contents[i], files[i].size);
        files[i].reader = &probes[i].reader;
    }
    for (int by_header = 0; by_header < 2; by_header++) {
        if (by_header) options.index_check = TARE_INDEX_BY_HEADER;
        tare_model *model = open_files("starts");
        for (size_t i = 0; i < FILE_COUNT; i++) memset(starts[i], 0xAA, files[i].size);
        for (size_t i = 0; i < tare_count(model); i++) {
            const tare_tensor *tensor = tare_at(model, i);
            tare_info info = tare_describe(model, tensor);
            uint8_t target[16];
            cr_assert_eq(tare_read(model, tensor, target, info.size, NULL), TARE_OK);
            cr_expect_arr_eq(target, contents[info.shard] + info.offset, info.size);
        }
        tare_close(model);
        for (size_t i = 0; i < FILE_COUNT; i++) memcpy(starts[i], contents[i], files[i].size);
    }
    for (size_t i = 0; i < FILE_COUNT; i++) free(starts[i]);
}

Test(prebuilt_files, files_that_are_others_are_named)
{
    files[1].size--;
    check_refused("a shard that shrank", TARE_E_STALE, 1, "sub/2.safetensors", 3, false);
    files[1].size++;
    build_text text = {0};
    build_addf(&text, "%s ", list);
    files[2].bytes = text.data;
    files[2].size = text.size;
    check_refused("another shard index", TARE_E_STALE, TARE_NO_SHARD, "index.json", 3, true);
    free(text.data);
    take_index("1.safetensors");
    files[2].bytes = contents[2];
    files[2].size = sizeof list - 1;
    check_refused("the index of one file", TARE_E_STALE, TARE_NO_SHARD, "another model", 3, true);
}

Test(prebuilt_files, a_header_that_changed_is_found_where_it_is_asked_for)
{
    options.index_check = TARE_INDEX_BY_HEADER;
    uint8_t *k = memchr(contents[0] + 8, 'k', files[0].size - 8);
    cr_assert_not_null(k);
    *k = 'q';
    check_refused("by header", TARE_E_STALE, 0, "1.safetensors", 3, true);
}

Test(prebuilt_files, files_that_are_missing_are_named)
{
    files[1].name = "sub/3.safetensors";
    check_refused("a shard", TARE_E_STALE, 1, "sub/2.safetensors", 3, false);
}

/* None is looked for on the disk, where the program happens to be. */
Test(prebuilt_files, without_bytes_of_an_index_there_is_none)
{
    tare_options wanted = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    wanted.index = TARE_INDEX_REQUIRE;
    tare_status status = tare_open_files(files, FILE_COUNT, &wanted, &model, &error);
    expect_status("without", TARE_E_OPEN, status, model, &error);
    expect_message("without", "no index file was named for a model in memory", &error);
    cr_expect_eq(error.system_error, 0);
}

Test(prebuilt_files, damage_is_told_or_passed_over)
{
    tare_model *parsed = open_parsed("parsed");
    index_image good = index_copy(image.bytes, image.size);
    for (size_t at = 0; at < image.size; at++) {
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        image.bytes[at] ^= 0x55;
        index_seal(&image);
        if (tare_open_files(files, FILE_COUNT, &options, &model, &error) == TARE_OK) {
            index_use_model(model);
            tare_close(model);
        }
        memcpy(image.bytes, good.bytes, good.size);
    }
    index_free(&good);
    tare_model *model = open_files("mended");
    expect_same_models("mended", parsed, model);
    tare_close(model);
    tare_close(parsed);
}
