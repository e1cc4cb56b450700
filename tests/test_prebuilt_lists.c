/* What an index file tells of the files of its model: no more of them, and no longer names, than
 * the model has, before any memory is taken for them. */
#define _FILE_OFFSET_BITS 64
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "prebuilt.h"
#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/temp_files.h"

#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

static const char one_shard[] = /* five times eight bytes, and no five times nine */
    "{\"weight_map\":{\"a\":\"m.safetensors\"}}    ";
static const char foreign[] = "that of another model";
static const char digest[] = "its shards do not have their digest";

static temp_path folder, list, index_path;

static void make_folder(void)
{
    static const build_tensor one[] = {{"a", 0, "U8", "[3]", 3}};
    folder = temp_folder_make();
    temp_write_built(&folder, "m.safetensors", build_file(one, 1, NULL));
    list = temp_write(&folder, "l.safetensors.index.json", one_shard, sizeof one_shard - 1);
    index_path = temp_join(&folder, "tare.idx");
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_lists, .init = make_folder, .fini = remove_folder, .timeout = 120);

static void save_index(const char *at)
{
    tare_model *model;
    tare_error error;
    cr_assert_eq(tare_open(at, NULL, &model, &error), TARE_OK, "%s", error.message);
    cr_assert_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Ways to open the list and its shard
 */

enum { WAY_AUTO, WAY_READ, WAY_BYTES, WAY_READERS, WAYS };

static int64_t read_nothing(void *context, uint64_t offset, void *target, size_t size)
{
    (void)context, (void)offset, (void)target, (void)size;
    return -EIO;
}

/* By a path; in memory; behind readers that fail, where the list has the size of the file. */
static tare_status open_way(int way, const char *at, uint32_t index, alloc_probe *probe,
                            tare_model **model, tare_error *error)
{
    struct stat facts;
    cr_assert_eq(stat(list.text, &facts), 0);
    const tare_reader reader = {sizeof reader, NULL, read_nothing, (uint64_t)facts.st_size};
    tare_file files[] = {{.name = "l.safetensors.index.json"}, {.name = "m.safetensors"}};
    tare_options options = TARE_OPTIONS_INIT;
    options.index = index;
    options.backing = way == WAY_READ ? TARE_BACKING_READ : TARE_BACKING_AUTO;
    options.allocator = &probe->hooks;
    *model = expect_no_model();
    *error = expect_poison();
    alloc_probe_init(probe);
    if (way < WAY_BYTES) return tare_open(at, &options, model, error);
    if (way == WAY_READERS) {
        files[0].reader = files[1].reader = &reader;
    } else {
        files[0].bytes = one_shard;
        files[0].size = sizeof one_shard - 1;
    }
    options.index_path = index != TARE_INDEX_NEVER ? index_path.text : NULL;
    return tare_open_files(files, 2, &options, model, error);
}

static void check_refused(int way, const char *at, tare_status wanted, const char *says)
{
    alloc_probe probe;
    tare_model *model;
    tare_error error;
    tare_status status = open_way(way, at, TARE_INDEX_REQUIRE, &probe, &model, &error);
    expect_status(says, wanted, status, model, &error);
    expect_message(says, says, &error);
    cr_expect_lt(probe.peak_size, 64 << 10, "%s: %zu bytes", says, probe.peak_size);
    cr_expect_eq(probe.block_count + probe.mistakes + probe.refused, 0, "%s", says);
}

static tarei_prebuilt_head read_head(int file)
{
    tarei_prebuilt_head head;
    cr_assert_eq(pread(file, &head, sizeof head, 0), (ssize_t)sizeof head);
    return head;
}

/* Sealed, with the size that it tells. */
static void write_head(int file, tarei_prebuilt_head *head)
{
    head->digest = tarei_prebuilt_digest(head, offsetof(tarei_prebuilt_head, digest));
    cr_assert_eq(pwrite(file, head, sizeof *head, 0), (ssize_t)sizeof *head);
    cr_assert_eq(ftruncate(file, (off_t)head->file_size), 0);
}

/* Gives the index file lists of so many shards, with names of so many bytes. */
static void grow_lists(const char *at, uint32_t count, uint64_t names_size)
{
    int file = open(at, O_RDWR);
    tarei_prebuilt_head head = read_head(file);
    uint64_t files = count + (uint64_t)(head.origin == TAREI_ORIGIN_LISTED);
    head.shard_count = count;
    head.sections[TAREI_SECTION_SHARDS].size = files * sizeof(tarei_prebuilt_shard);
    head.sections[TAREI_SECTION_SHARD_NAMES].size = names_size;
    head.file_size = sizeof head;
    for (size_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        head.sections[i].offset = head.file_size;
        head.file_size = (head.file_size + head.sections[i].size + 63) / 64 * 64;
    }
    write_head(file, &head);
    close(file);
}

/* Of the size that the head tells, with its digest. */
static void write_section(int file, uint32_t number, const void *bytes)
{
    tarei_prebuilt_head head = read_head(file);
    tarei_section *section = &head.sections[number];
    ssize_t written = pwrite(file, bytes, (size_t)section->size, (off_t)section->offset);
    cr_assert_eq(written, (ssize_t)section->size);
    section->digest = tarei_prebuilt_digest(bytes, section->size);
    write_head(file, &head);
}

/* ------------------------------------------------------------------------------------------------
 * Of a model with a list of its shards
 */

Test(prebuilt_lists, shards_and_their_names_are_no_more_than_their_list_has)
{
    const uint32_t most = (sizeof one_shard - 1) / 8;
    const uint64_t size_max = sizeof one_shard - 1 + sizeof "l.safetensors.index.json";
    const struct {
        uint32_t count;
        uint64_t names_size;
        tare_status status;
        const char *says;
    } rows[] = {
        {TAREI_SHARD_COUNT_MAX, GIB, TARE_E_STALE, foreign},
        {most + 1, 30, TARE_E_STALE, foreign},
        {most, 30, TARE_E_PREBUILT, digest},
        {1, size_max + 1, TARE_E_STALE, foreign},
        {1, size_max, TARE_E_PREBUILT, digest},
    };
    save_index(list.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        grow_lists(index_path.text, rows[i].count, rows[i].names_size);
        for (int way = 0; way < WAYS; way++)
            check_refused(way, list.text, rows[i].status, rows[i].says);
    }
}

/* With an index file that would be of a model with so large a list, and without one. */
Test(prebuilt_lists, a_list_beyond_its_limit_is_refused_as_without_an_index_file)
{
    save_index(list.text);
    grow_lists(index_path.text, TAREI_SHARD_COUNT_MAX, GIB - (64 << 20));
    for (int large = 0; large < 2; large++) {
        cr_assert_eq(truncate(list.text, (off_t)(large ? 4 * TIB : GIB + 1)), 0);
        for (int way = 0; way < WAYS; way++) {
            if (way == WAY_BYTES) continue; /* it would have to be there */
            for (uint32_t index = TARE_INDEX_AUTO; index <= TARE_INDEX_REQUIRE; index++) {
                alloc_probe probe;
                tare_model *model;
                tare_error error;
                tare_status status = open_way(way, list.text, index, &probe, &model, &error);
                expect_status("a list", TARE_E_LIMIT, status, model, &error);
                cr_expect_eq(error.offset, 0);
                cr_expect_eq(error.shard, TARE_NO_SHARD);
                expect_message("a list", "'l.safetensors.index.json': a shard index of more than",
                               &error);
                cr_expect_lt(probe.peak_size, 64 << 10, "%zu bytes", probe.peak_size);
            }
        }
    }
    cr_assert_eq(truncate(list.text, (off_t)GIB), 0);
    grow_lists(index_path.text, 1, 30);
    for (int way = 0; way < WAYS; way++) check_refused(way, list.text, TARE_E_PREBUILT, digest);
}

Test(prebuilt_lists, a_list_that_has_gone_makes_the_index_file_stale)
{
    save_index(list.text);
    cr_assert_eq(unlink(list.text), 0);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(list.text, &options, &model, &error);
    expect_status("gone", TARE_E_STALE, status, model, &error);
    expect_message("gone", "cannot open", &error);
    options.index = TARE_INDEX_AUTO;
    status = tare_open(list.text, &options, &model, &error);
    expect_status("gone", TARE_E_OPEN, status, model, &error);
}

/* ------------------------------------------------------------------------------------------------
 * Of one file, and of a split one
 */

#define PART(number)             \
    GGUF_HEAD("1", "2")          \
    GGUF_U16("split.no", number) \
    GGUF_U16("split.count", "2") GGUF_TENSOR("t" number, "1", "24", "0") "p32 d1"

static void check_bounds(const char *at, const char *index, const char *name, uint32_t count)
{
    const uint64_t size_max = count * (uint64_t)(strlen(name) + 2);
    save_index(at);
    for (int way = WAY_AUTO; way <= WAY_READ; way++) {
        grow_lists(index, count, size_max);
        check_refused(way, at, TARE_E_PREBUILT, digest);
        grow_lists(index, count, size_max + 1);
        check_refused(way, at, TARE_E_STALE, foreign);
        grow_lists(index, count + 1, size_max);
        check_refused(way, at, TARE_E_STALE, foreign);
    }
}

Test(prebuilt_lists, without_a_list_names_are_as_long_as_the_one_that_was_opened)
{
    temp_path one = temp_join(&folder, "m.safetensors");
    temp_path split = temp_make_folder(&folder, "split");
    temp_write_built(&split, "p-00001-of-00002.gguf", gguf_text(PART("0"), NULL));
    temp_write_built(&split, "p-00002-of-00002.gguf", gguf_text(PART("1"), NULL));
    check_bounds(one.text, temp_join(&folder, "m.safetensors.tareidx").text, one.text, 1);
    check_bounds(split.text, temp_join(&split, "tare.idx").text, "p-00001-of-00002.gguf", 2);
}

/* Makes it the index file of so many parts, which are all as the file `first` is. */
static void make_parts(const char *at, const char *first, uint32_t count)
{
    struct stat facts;
    size_t names_size = 0;
    tarei_prebuilt_shard *shards = calloc(count, sizeof *shards);
    char *names = malloc(count * (size_t)32);
    cr_assert_eq(stat(first, &facts), 0);
    for (uint32_t i = 0; i < count; i++) {
        int size = snprintf(names + names_size, 32, "p-%05u-of-%05u.gguf", i + 1, count);
        shards[i] = (tarei_prebuilt_shard){.size = (uint64_t)facts.st_size,
                                           .modified_s = facts.st_mtim.tv_sec,
                                           .modified_ns = facts.st_mtim.tv_nsec,
                                           .name = (uint32_t)names_size,
                                           .name_size = (uint32_t)size,
                                           .format = TARE_FORMAT_GGUF};
        names_size += (size_t)size + 1;
    }
    grow_lists(at, count, names_size);
    int file = open(at, O_RDWR);
    write_section(file, TAREI_SECTION_SHARDS, shards);
    write_section(file, TAREI_SECTION_SHARD_NAMES, names);
    close(file);
    free(names);
    free(shards);
}

/* From the 100,000th on names are longer than those before. All that is checked before the files
 * are is right, whichever part is opened; and only two of them are there. */
Test(prebuilt_lists, parts_of_six_digits_are_parts_of_a_name_of_five)
{
    enum { COUNT = 100001 };
    temp_path split = temp_make_folder(&folder, "split"), at = temp_join(&split, "tare.idx");
    temp_write_built(&split, "p-00001-of-00002.gguf", gguf_text(PART("0"), NULL));
    temp_write_built(&split, "p-00002-of-00002.gguf", gguf_text(PART("1"), NULL));
    save_index(split.text);
    temp_path first = temp_write(&split, "p-00001-of-100001.gguf", "1", 1);
    temp_path last = temp_write(&split, "p-100001-of-100001.gguf", "1", 1);
    make_parts(at.text, first.text, COUNT);
    for (int i = 0; i < 2; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        options.index = TARE_INDEX_REQUIRE;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(i == 0 ? first.text : last.text, &options, &model, &error);
        expect_status("parts", TARE_E_STALE, status, model, &error);
        expect_message("parts", "'p-00002-of-100001.gguf': cannot open", &error);
        cr_expect_eq(error.shard, 1);
    }
}
