/* From an index file to a model: when it is used, when it is not, and what is said then. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/alloc_probe.h"
#include "support/corpus_list.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/process_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};

static temp_path folder, path, index_path;

static void make_file(void)
{
    folder = temp_folder_make();
    path = temp_write_built(&folder, "m.safetensors", build_file(two, 2, "{\"k\":\"v\"}"));
    index_path = temp_join(&folder, "m.safetensors.tareidx");
}

static void remove_file(void)
{
    chmod(folder.text, 0777);
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_open, .init = make_file, .fini = remove_file);

static tare_options with_index(uint32_t index)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = index;
    return options;
}

static tare_model *open_with(const char *at, const tare_options *options)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(at, options, &model, &error);
    expect_opened(at, status, model, &error);
    return model;
}

static void save_index(const char *at)
{
    tare_options never = with_index(TARE_INDEX_NEVER);
    tare_error error = expect_poison();
    tare_model *model = open_with(at, &never);
    cr_assert_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    cr_expect_eq(error.status, TARE_OK);
    tare_close(model);
}

/* AUTO reads the headers and says why; REQUIRE fails for the same reason. */
static void check_unused(const char *what, const char *at, const tare_options *from,
                         tare_status wanted, uint32_t shard, const char *says)
{
    tare_options options = from != NULL ? *from : with_index(TARE_INDEX_AUTO);
    tare_options never = with_index(TARE_INDEX_NEVER);
    tare_error error = expect_poison();
    tare_model *model = open_with(at, &options), *parsed = open_with(at, &never);
    cr_expect_eq(tare_index_status(model, &error), wanted, "%s: %s", what, error.message);
    cr_expect_eq(error.status, wanted, "%s", what);
    if (says != NULL) expect_message(what, says, &error);
    expect_same_models(what, model, parsed);
    tare_close(model);
    options.index = TARE_INDEX_REQUIRE;
    model = expect_no_model();
    tare_status status = tare_open(at, &options, &model, &error);
    expect_status(what, wanted, status, model, &error);
    cr_expect_eq(error.shard, shard, "%s", what);
    if (says != NULL) expect_message(what, says, &error);
    tare_close(parsed);
}

static void check_used(const char *what, const char *at, const tare_options *from)
{
    tare_options options = from != NULL ? *from : with_index(TARE_INDEX_AUTO);
    tare_options never = with_index(TARE_INDEX_NEVER);
    tare_error error = expect_poison();
    tare_model *model = open_with(at, &options), *parsed = open_with(at, &never);
    cr_expect_eq(tare_index_status(model, &error), TARE_OK, "%s: %s", what, error.message);
    cr_expect_eq(tare_index_status(parsed, &error), TARE_E_OPEN, "%s", what);
    expect_same_models(what, parsed, model);
    tare_close(model);
    tare_close(parsed);
}

Test(prebuilt_open, where_there_is_none_headers_are_read)
{
    check_unused("none", path.text, NULL, TARE_E_OPEN, TARE_NO_SHARD, NULL);
}

Test(prebuilt_open, one_beside_the_file_is_used)
{
    save_index(path.text);
    cr_expect_eq(temp_entry_count(&folder), 2);
    check_used("beside", path.text, NULL);
    check_used("the folder", folder.text, NULL);
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    for (uint32_t backing = 0; backing <= TARE_BACKING_READ; backing++) {
        options.backing = backing;
        check_used("each backing", path.text, &options);
    }
}

Test(prebuilt_open, with_read_backing_nothing_is_mapped)
{
    save_index(path.text);
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    options.backing = TARE_BACKING_READ;
    tare_model *model = open_with(path.text, &options);
    cr_expect_eq(probe_mapping_count(folder.text), 0);
    cr_expect_null(tare_data(model, tare_at(model, 0)));
    cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_READ);
    tare_close(model);
    options.backing = TARE_BACKING_AUTO;
    model = open_with(path.text, &options);
    cr_expect_eq(probe_mapping_count(index_path.text), 1);
    cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_MAP);
    tare_close(model);
    cr_expect_eq(probe_mapping_count(folder.text), 0);
}

Test(prebuilt_open, a_model_that_changed_is_read_anew)
{
    save_index(path.text);
    /* Touched: the same bytes, another time. */
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = 5}};
    cr_assert_eq(utimensat(AT_FDCWD, path.text, times, 0), 0);
    check_unused("touched", path.text, NULL, TARE_E_STALE, 0, "modified since");
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    options.index_check = TARE_INDEX_BY_HEADER;
    check_used("touched, by header", path.text, &options);

    /* Another header of the same size, and its bytes. */
    static const build_tensor other[] = {{"c", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};
    temp_write_built(&folder, "m.safetensors", build_file(other, 2, "{\"k\":\"v\"}"));
    check_unused("replaced", path.text, NULL, TARE_E_STALE, 0, "'"); /* names the file */
    options.index = TARE_INDEX_AUTO;
    check_unused("replaced, by header", path.text, &options, TARE_E_STALE, 0, "its header is not");

    /* Longer. */
    temp_write_built(&folder, "m.safetensors", build_file(two, 1, NULL));
    check_unused("of another size", path.text, NULL, TARE_E_STALE, 0, "bytes, and had");
    save_index(path.text);
    check_used("saved anew", path.text, NULL);
}

Test(prebuilt_open, times_differ_by_nanoseconds)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = 500}};
    cr_assert_eq(utimensat(AT_FDCWD, path.text, times, 0), 0);
    save_index(path.text);
    check_used("as it was", path.text, NULL);
    times[1].tv_nsec = 501;
    cr_assert_eq(utimensat(AT_FDCWD, path.text, times, 0), 0);
    check_unused("a nanosecond later", path.text, NULL, TARE_E_STALE, 0, "modified since");
}

Test(prebuilt_open, what_is_no_index_file_is_passed_over)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t flip;
        tare_status status;
        const char *says;
    } rows[] = {
        {"no magic", 0, 1, TARE_E_PREBUILT, "no index file"},
        {"the other byte order", 8, 1 ^ 4, TARE_E_ENDIAN, "byte order"},
        {"a later version", 12, 1 ^ 2, TARE_E_VERSION, "version 2"},
        {"damage in the head", 40, 1, TARE_E_PREBUILT, "its head does not have its digest"},
        {"damage in the shards", 448, 1, TARE_E_PREBUILT, "its shards do not have their digest"},
    };
    save_index(path.text);
    size_t size;
    uint8_t *bytes = temp_read(index_path.text, &size);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes[rows[i].at] ^= rows[i].flip;
        if (rows[i].status == TARE_E_ENDIAN)
            bytes[9] ^= 1, bytes[10] ^= 1, bytes[11] ^= 5; /* 1, 2, 3, 4 from behind */
        temp_write(&folder, "m.safetensors.tareidx", bytes, size);
        check_unused(rows[i].what, path.text, NULL, rows[i].status, TARE_NO_SHARD, rows[i].says);
        if (rows[i].status == TARE_E_ENDIAN)
            bytes[9] ^= 1, bytes[10] ^= 1, bytes[11] ^= 5; /* 1, 2, 3, 4 from behind */
        bytes[rows[i].at] ^= rows[i].flip;
    }
    temp_write(&folder, "m.safetensors.tareidx", bytes, size - 64);
    check_unused("cut", path.text, NULL, TARE_E_PREBUILT, TARE_NO_SHARD, "bytes, not");
    temp_write(&folder, "m.safetensors.tareidx", bytes, 0);
    check_unused("empty", path.text, NULL, TARE_E_PREBUILT, TARE_NO_SHARD,
                 "m.safetensors.tareidx': is no index file");
    unlink(index_path.text);
    temp_make_folder(&folder, "m.safetensors.tareidx");
    check_unused("a folder", path.text, NULL, TARE_E_OPEN, TARE_NO_SHARD, NULL);
    rmdir(index_path.text);
    cr_assert_eq(mkfifo(index_path.text, 0600), 0);
    check_unused("a FIFO", path.text, NULL, TARE_E_OPEN, TARE_NO_SHARD, "regular");
    free(bytes);
}

/* Also where it is named: nobody is refused a model for a file that only saves time. */
Test(prebuilt_open, one_may_be_named_or_given_in_memory)
{
    save_index(path.text);
    temp_path elsewhere = temp_join(&folder, "elsewhere");
    cr_assert_eq(rename(index_path.text, elsewhere.text), 0);
    tare_options options = with_index(TARE_INDEX_AUTO);
    options.index_path = elsewhere.text;
    check_used("named", path.text, &options);
    options.index_path = index_path.text;
    check_unused("named, not there", path.text, &options, TARE_E_OPEN, TARE_NO_SHARD, "tareidx");
    size_t size;
    uint8_t *bytes = temp_read(elsewhere.text, &size);
    options = with_index(TARE_INDEX_REQUIRE);
    options.index_size = size;
    for (size_t shift = 0; shift < 64; shift += 7) { /* what is not aligned is copied */
        uint8_t *room = malloc(size + 128);
        cr_assert_not_null(room);
        uint8_t *at = (uint8_t *)(((uintptr_t)room + 63) & ~(uintptr_t)63) + shift;
        memcpy(at, bytes, size);
        options.index_bytes = at;
        check_used("in memory", path.text, &options);
        free(room);
    }
    free(bytes);
}

Test(prebuilt_open, nothing_in_memory_is_no_index_file_wherever_it_lies)
{
    static const _Alignas(64) uint8_t room[64];
    for (size_t shift = 0; shift < 2; shift++) {
        tare_options options = with_index(TARE_INDEX_AUTO);
        options.index_bytes = room + shift;
        check_unused("nothing", path.text, &options, TARE_E_PREBUILT, TARE_NO_SHARD, "is no index");
    }
}

Test(prebuilt_open, memory_and_readers_take_one_that_is_given)
{
    size_t size;
    uint8_t *bytes = temp_read(path.text, &size);
    save_index(path.text);
    size_t index_size;
    uint8_t *index = temp_read(index_path.text, &index_size);
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    options.index_bytes = index;
    options.index_size = index_size;
    reader_probe probe;
    reader_probe_init(&probe, bytes, size, 5);
    tare_model *parsed = open_with(path.text, NULL), *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_reader(&probe.reader, &options, &model, &error);
    expect_opened("reader", status, model, &error);
    cr_expect_eq(probe.calls, 0, "nothing is read to open it");
    expect_same_models("reader", parsed, model);
    tare_close(model);
    status = tare_open_bytes(bytes, size, &options, &model, &error);
    expect_opened("bytes", status, model, &error);
    cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_MEMORY);
    cr_expect_eq(tare_data(model, tare_at(model, 1)), bytes + size - 3);
    expect_same_models("bytes", parsed, model);
    tare_close(model);
    options.index_check = TARE_INDEX_BY_HEADER;
    status = tare_open_bytes(bytes, size, &options, &model, &error);
    expect_opened("bytes, by header", status, model, &error);
    tare_close(model);
    bytes[10] ^= 1;
    status = tare_open_bytes(bytes, size, &options, &model, &error);
    expect_refused("other header", TARE_E_STALE, TARE_NO_OFFSET, status, model, &error);
    options.index_check = TARE_INDEX_BY_TIME;
    status = tare_open_bytes(bytes, size - 1, &options, &model, &error);
    expect_refused("shorter", TARE_E_STALE, TARE_NO_OFFSET, status, model, &error);
    options = with_index(TARE_INDEX_REQUIRE);
    status = tare_open_bytes(bytes, size, &options, &model, &error);
    expect_refused("none given", TARE_E_OPEN, TARE_NO_OFFSET, status, model, &error);
    tare_close(parsed);
    free(bytes);
    free(index);
}

Test(prebuilt_open, options_are_checked)
{
    static const uint8_t byte[1];
    tare_options rows[] = {{.index = 3},
                           {.index_check = 2},
                           {.index_path = "a", .index_bytes = byte, .index_size = 1},
                           {.index_size = 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rows[i].struct_size = sizeof rows[i];
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(path.text, &rows[i], &model, &error);
        expect_refused("options", TARE_E_ARGUMENT, TARE_NO_OFFSET, status, model, &error);
        expect_message("options", "options.index", &error);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Shards
 */

static void make_shards(void)
{
    static const build_tensor more[] = {{"c", 0, "U8", "[5]", 5}};
    temp_write_built(&folder, "1.safetensors", build_file(two, 2, "{\"k\":\"1\"}"));
    temp_write_built(&folder, "2.safetensors", build_file(more, 1, "{\"k\":\"2\",\"j\":\"3\"}"));
    build_text text = {0};
    build_addf(&text, "{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"2.safetensors\"}}");
    temp_write_built(&folder, "model.safetensors.index.json", text);
    unlink(path.text);
    path = temp_join(&folder, "model.safetensors.index.json");
    index_path = temp_join(&folder, "tare.idx");
}

Test(prebuilt_open, a_sharded_model_has_one_in_its_folder)
{
    make_shards();
    check_unused("none", folder.text, NULL, TARE_E_OPEN, TARE_NO_SHARD, NULL);
    save_index(folder.text);
    cr_expect_eq(access(index_path.text, R_OK), 0);
    check_used("by its folder", folder.text, NULL);
    check_used("by its index", path.text, NULL);
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    options.index_check = TARE_INDEX_BY_HEADER;
    check_used("by headers", path.text, &options);
}

Test(prebuilt_open, what_changed_in_a_sharded_model_is_named)
{
    static const build_tensor other[] = {{"d", 0, "U8", "[5]", 5}};
    make_shards();
    save_index(folder.text);
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    temp_path second = temp_join(&folder, "2.safetensors");
    cr_assert_eq(utimensat(AT_FDCWD, second.text, times, 0), 0);
    check_unused("touched", folder.text, NULL, TARE_E_STALE, 1, "'2.safetensors': modified");
    save_index(folder.text);
    cr_assert_eq(utimensat(AT_FDCWD, path.text, times, 0), 0);
    check_unused("the list touched", folder.text, NULL, TARE_E_STALE, TARE_NO_SHARD,
                 "'model.safetensors.index.json': modified");
    /* Resharded: another list. */
    save_index(folder.text);
    temp_write_built(&folder, "3.safetensors", build_file(other, 1, NULL));
    build_text text = {0};
    build_addf(&text, "{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"2.safetensors\","
                      "\"d\":\"3.safetensors\"}}");
    temp_write_built(&folder, "model.safetensors.index.json", text);
    check_unused("resharded", folder.text, NULL, TARE_E_STALE, TARE_NO_SHARD, "bytes, and had");
    /* A list of another name: not the model that the index is of. */
    save_index(folder.text);
    temp_path renamed = temp_join(&folder, "other.safetensors.index.json");
    cr_assert_eq(rename(path.text, renamed.text), 0);
    check_unused("another list", folder.text, NULL, TARE_E_STALE, TARE_NO_SHARD, "another model");
    check_unused(
        "a file", second.text,
        &(tare_options){.struct_size = sizeof(tare_options), .index_path = index_path.text},
        TARE_E_STALE, TARE_NO_SHARD, "another model");
}

Test(prebuilt_open, a_shard_that_is_missing_is_named)
{
    make_shards();
    save_index(folder.text);
    cr_assert_eq(unlink(temp_join(&folder, "2.safetensors").text), 0);
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    for (uint32_t mode = TARE_INDEX_AUTO; mode <= TARE_INDEX_REQUIRE; mode += TARE_INDEX_REQUIRE) {
        options.index = mode;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(folder.text, &options, &model, &error);
        tare_status wanted = mode == TARE_INDEX_AUTO ? TARE_E_OPEN : TARE_E_STALE;
        expect_refused("missing", wanted, TARE_NO_OFFSET, status, model, &error);
        expect_message("missing", "2.safetensors", &error);
        cr_expect_eq(error.shard, 1);
        cr_expect_eq(error.system_error, ENOENT);
    }
}

/* Resharded: the list is new, and so are its files; that of the index names some that are gone. */
Test(prebuilt_open, an_index_of_files_that_are_gone_is_stale)
{
    make_shards();
    save_index(folder.text);
    cr_assert_eq(unlink(temp_join(&folder, "2.safetensors").text), 0);
    cr_assert_eq(unlink(temp_join(&folder, "1.safetensors").text), 0);
    temp_write_built(&folder, "0.safetensors", build_file(two, 1, NULL));
    build_text text = {0};
    build_addf(&text, "{\"weight_map\":{\"a\":\"0.safetensors\"}}");
    temp_write_built(&folder, "model.safetensors.index.json", text);
    check_unused("by time", folder.text, NULL, TARE_E_STALE, 0, "'1.safetensors'");
    tare_options options = with_index(TARE_INDEX_AUTO);
    options.index_check = TARE_INDEX_BY_HEADER;
    check_unused("by headers", folder.text, &options, TARE_E_STALE, 0, "'1.safetensors'");
}

/* Names of shards come from the index: they may not lead out of the folder, whoever sealed it. */
Test(prebuilt_open, names_of_shards_lead_nowhere_else)
{
    static const char *const names[] = {"/tc.safetenso", "../.safetenso", "1.safetensorx",
                                        "./x.safetenso", "a\\.safetensors"};
    make_shards();
    save_index(folder.text);
    size_t size;
    uint8_t *bytes = temp_read(index_path.text, &size);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        index_image image = index_copy(bytes, size);
        memcpy(image.bytes + index_section_offset(&image, 1), names[i], 13);
        index_seal(&image);
        temp_write(&folder, "tare.idx", image.bytes, image.size);
        check_unused(names[i], folder.text, NULL, TARE_E_PREBUILT, 0, "a shard's name");
        index_free(&image);
    }
    free(bytes);
}

Test(prebuilt_open, parts_of_a_split_file_have_one_together)
{
#define PART(number)             \
    GGUF_HEAD("1", "3")          \
    GGUF_U16("split.no", number) \
    GGUF_U16("split.count", "2") \
    "\"split.tensors.count\" 4:5 4:2 " GGUF_TENSOR("t" number, "8", "0", "0") "p32 d32"
    temp_write_built(&folder, "q-00001-of-00002.gguf", gguf_text(PART("0"), NULL));
    temp_path last = temp_write_built(&folder, "q-00002-of-00002.gguf", gguf_text(PART("1"), NULL));
    temp_write_built(&folder, "r-00001-of-00002.gguf", gguf_text(PART("0"), NULL));
    temp_path other =
        temp_write_built(&folder, "r-00002-of-00002.gguf", gguf_text(PART("1"), NULL));
    save_index(last.text);
    check_used("the last part", last.text, NULL);
    check_used("the first part", temp_join(&folder, "q-00001-of-00002.gguf").text, NULL);
    check_unused("another model", other.text, NULL, TARE_E_STALE, TARE_NO_SHARD, "another model");
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(utimensat(AT_FDCWD, last.text, times, 0), 0);
    check_unused("touched", last.text, NULL, TARE_E_STALE, 1, "q-00002-of-00002.gguf");
}

/* ------------------------------------------------------------------------------------------------
 * The same answers
 */

Test(prebuilt_open, every_good_file_of_the_corpus_says_the_same, .timeout = 240)
{
    static const temp_path corpus = {TARE_TEST_DATA "/corpus"};
    corpus_list list = corpus_read();
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    temp_path index = temp_join(&folder, "an.idx");
    options.index_path = index.text;
    size_t tried = 0;
    for (size_t i = 0; i < list.case_count; i++) {
        const corpus_case *one = &list.cases[i];
        temp_path at = temp_join(&corpus, one->path);
        if (!one->accept) { /* what is refused stays so, with an index of another model */
            tare_model *model = NULL;
            tare_error error;
            options.index = TARE_INDEX_AUTO;
            if (tare_open(at.text, &options, &model, &error) == TARE_OK)
                cr_expect_fail("%s: accepted", one->path);
            tare_close(model);
            continue;
        }
        tare_options never = with_index(TARE_INDEX_NEVER);
        tare_error error = expect_poison();
        tare_model *parsed = open_with(at.text, &never);
        tare_index_options over = TARE_INDEX_OPTIONS_INIT;
        over.flags = TARE_SAVE_REPLACE;
        tare_status status = tare_index_save(parsed, index.text, &over, &error);
        cr_assert_eq(status, TARE_OK, "%s: %s", one->path, error.message);
        options.index = TARE_INDEX_REQUIRE;
        tare_model *model = open_with(at.text, &options);
        expect_same_models(one->path, parsed, model);
        cr_expect_eq(tare_index_check(parsed, index.text, NULL, &error), TARE_OK, "%s: %s",
                     one->path, error.message);
        cr_expect_eq(index_use_model(model), tare_count(model), "%s", one->path);
        tare_close(model);
        tare_close(parsed);
        tried++;
    }
    cr_expect_eq(tried, 53, "%zu tried", tried);
    corpus_free(&list);
}

/* ------------------------------------------------------------------------------------------------
 * What it costs, and who else there is
 */

Test(prebuilt_open, opening_takes_few_allocations_and_touches_little)
{
    alloc_probe probe;
    alloc_probe_init(&probe);
    save_index(path.text);
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    options.allocator = &probe.hooks;
    tare_model *model = open_with(path.text, &options);
    cr_expect_leq(probe.calls, 4, "%zu allocations", probe.calls);
    cr_expect_leq(probe.block_size, 64 << 10, "%zu bytes", probe.block_size);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    struct stat facts;
    stat.memory_size -= probe.block_size;
    cr_expect_eq(stat.memory_size, 0);
    cr_assert_eq(lstat(index_path.text, &facts), 0);
    cr_expect_eq(stat.index_file_size, (uint64_t)facts.st_size);
    cr_expect_eq(stat.record_size + stat.name_size + stat.shape_size + stat.index_size, 0);
    tare_close(model);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
}

Test(prebuilt_open, memory_may_run_out_at_any_call)
{
    make_shards();
    save_index(folder.text);
    for (int read = 0; read < 2; read++)
        for (size_t fail_at = 1; fail_at < 12; fail_at++) {
            alloc_probe probe;
            alloc_probe_init(&probe);
            probe.fail_at = fail_at;
            tare_options options = with_index(TARE_INDEX_REQUIRE);
            options.backing = read ? TARE_BACKING_READ : TARE_BACKING_AUTO;
            options.allocator = &probe.hooks;
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            tare_status status = tare_open(folder.text, &options, &model, &error);
            if (probe.refused == 0) {
                expect_opened("enough", status, model, &error);
                tare_close(model);
            } else {
                expect_refused("too little", TARE_E_MEMORY, TARE_NO_OFFSET, status, model, &error);
            }
            cr_expect_eq(probe.block_count + probe.mistakes, 0, "at %zu", fail_at);
        }
}

Test(prebuilt_open, nothing_stays_open_whatever_comes_of_it)
{
    make_shards();
    save_index(folder.text);
    size_t before = probe_descriptor_count();
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    tare_model *model = open_with(folder.text, &options);
    cr_expect_eq(probe_descriptor_count(), before + 1, "its folder");
    cr_expect_eq(tare_ready(model, NULL, NULL), TARE_OK);
    cr_expect_eq(probe_descriptor_count(), before + 3, "and its shards");
    tare_close(model);
    cr_expect_eq(probe_descriptor_count(), before);
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    utimensat(AT_FDCWD, path.text, times, 0);
    cr_expect_eq(tare_open(folder.text, &options, &model, NULL), TARE_E_STALE);
    cr_expect_eq(probe_descriptor_count(), before);
    cr_expect_eq(probe_mapping_count(folder.text), 0);
}

Test(prebuilt_open, two_processes_use_one_file_while_it_is_replaced)
{
    save_index(path.text);
    tare_options options = with_index(TARE_INDEX_REQUIRE);
    tare_model *model = open_with(path.text, &options);
    save_index(path.text); /* a new file of that name; the old one lives on */
    pid_t child = fork();
    if (child == 0) {
        tare_model *own;
        if (tare_open(path.text, &options, &own, NULL) != TARE_OK) _exit(1);
        size_t both = index_use_model(own) + index_use_model(model);
        tare_close(own);
        _exit(both == 4 ? 0 : 2);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_expect_eq(index_use_model(model), 2);
    tare_close(model);
}

Test(prebuilt_open, a_folder_that_cannot_be_written_to_serves)
{
    save_index(path.text);
    cr_assert_eq(chmod(folder.text, 0555), 0);
    check_used("read-only", path.text, NULL);
    tare_options never = with_index(TARE_INDEX_NEVER);
    tare_model *model = open_with(path.text, &never);
    tare_error error = expect_poison();
    if (geteuid() != 0) { /* root may write */
        cr_expect_eq(tare_index_save(model, NULL, NULL, &error), TARE_E_WRITE);
        cr_expect_eq(error.system_error, EACCES);
    }
    tare_close(model);
}
