/* What an index file may cost, whatever size it has or claims, and that headers which are too large
 * without one are so with one. */
#define _FILE_OFFSET_BITS 64
#define _XOPEN_SOURCE 700
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
#include "support/index_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

/* One header of 140 bytes, and one that ends at 160 with padding up to 4,096. */
#define GGUF_KEYS GGUF_U32("general.alignment", "4096")
#define GGUF_WORDS GGUF_HEAD("1", "1") GGUF_KEYS GGUF_TENSOR("g", "1", "24", "0") "p4096 d1"

static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};

static temp_path folder, path, index_path;

static void save_index(const char *at)
{
    tare_options never = TARE_OPTIONS_INIT;
    never.index = TARE_INDEX_NEVER;
    tare_model *model;
    tare_error error;
    cr_assert_eq(tare_open(at, &never, &model, NULL), TARE_OK);
    cr_assert_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
}

static void make_file(void)
{
    folder = temp_folder_make();
    path = temp_write_built(&folder, "m.safetensors", build_file(two, 2, "{\"k\":\"v\"}"));
    index_path = temp_join(&folder, "m.safetensors.tareidx");
    save_index(path.text);
}

static void remove_file(void)
{
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_size, .init = make_file, .fini = remove_file, .timeout = 120);

static tare_status open_at(const char *at, uint32_t index, uint32_t backing, alloc_probe *probe,
                           tare_model **model, tare_error *error)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = index;
    options.backing = backing;
    options.allocator = &probe->hooks;
    *model = expect_no_model();
    *error = expect_poison();
    alloc_probe_init(probe);
    return tare_open(at, &options, model, error);
}

/* The index file is of no use: AUTO reads the headers instead, REQUIRE says why, and neither takes
 * memory for it. */
static void check_passed_over(const char *what, uint32_t backing, tare_status wanted,
                              const char *says)
{
    alloc_probe probe;
    tare_model *model;
    tare_error error;
    tare_status status = open_at(path.text, TARE_INDEX_AUTO, backing, &probe, &model, &error);
    expect_opened(what, status, model, &error);
    cr_expect_eq(tare_index_status(model, &error), wanted, "%s: %s", what, error.message);
    expect_message(what, says, &error);
    cr_expect_not_null(tare_find(model, "b", 1));
    tare_close(model);
    cr_expect_lt(probe.peak_size, 64 << 10, "%s: %zu bytes", what, probe.peak_size);
    status = open_at(path.text, TARE_INDEX_REQUIRE, backing, &probe, &model, &error);
    expect_status(what, wanted, status, model, &error);
    expect_message(what, says, &error);
    cr_expect_lt(probe.peak_size, 64 << 10, "%s: %zu bytes", what, probe.peak_size);
    cr_expect_eq(probe.block_count + probe.mistakes + probe.refused, 0);
}

static void check_compared(tare_status wanted, const char *says)
{
    alloc_probe probe;
    tare_model *model;
    tare_error error;
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    options.allocator = &probe.hooks;
    cr_assert_eq(open_at(path.text, TARE_INDEX_NEVER, 0, &probe, &model, &error), TARE_OK);
    tare_close(model);
    tare_options never = {.struct_size = sizeof never, .index = TARE_INDEX_NEVER};
    cr_assert_eq(tare_open(path.text, &never, &model, NULL), TARE_OK);
    cr_expect_eq(tare_index_check(model, NULL, &options, &error), wanted, "%s", error.message);
    expect_message("compared", says, &error);
    cr_expect_lt(probe.peak_size, 64 << 10, "%zu bytes", probe.peak_size);
    cr_expect_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    cr_expect_eq(tare_index_check(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Sizes of the file
 */

Test(prebuilt_size, holes_of_terabytes_behind_one_cost_nothing)
{
    cr_assert_eq(truncate(index_path.text, (off_t)(4 * TIB)), 0);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++)
        check_passed_over("4 TiB", backing, TARE_E_PREBUILT, "it has 4398046511104 bytes, not");
    check_compared(TARE_E_PREBUILT, "it has 4398046511104 bytes, not");
}

Test(prebuilt_size, nor_do_holes_alone)
{
    temp_write(&folder, "m.safetensors.tareidx", "", 0);
    cr_assert_eq(truncate(index_path.text, (off_t)(4 * TIB)), 0);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++)
        check_passed_over("4 TiB", backing, TARE_E_PREBUILT, "is no index file");
    cr_assert_eq(unlink(index_path.text), 0);
    save_index(path.text);
}

static tarei_prebuilt_head read_head(const char *at)
{
    tarei_prebuilt_head head;
    int file = open(at, O_RDONLY);
    cr_assert_eq(pread(file, &head, sizeof head, 0), (ssize_t)sizeof head);
    close(file);
    return head;
}

/* Gives the file that head, sealed, and the size of which it tells. */
static void write_head(const char *at, tarei_prebuilt_head *head)
{
    int file = open(at, O_WRONLY);
    head->digest = tarei_prebuilt_digest(head, offsetof(tarei_prebuilt_head, digest));
    cr_assert_eq(pwrite(file, head, sizeof *head, 0), (ssize_t)sizeof *head);
    cr_assert_eq(ftruncate(file, (off_t)head->file_size), 0);
    close(file);
}

/* Makes the last section so large that the file has `size` bytes, of which the head tells. */
static void grow(uint64_t size)
{
    tarei_prebuilt_head head = read_head(index_path.text);
    tarei_section *last = &head.sections[TAREI_SECTION_VALUE_BYTES];
    last->size = size - last->offset;
    head.file_size = size;
    write_head(index_path.text, &head);
}

Test(prebuilt_size, a_head_that_claims_them_makes_no_difference)
{
    grow(4 * TIB);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++)
        check_passed_over("4 TiB", backing, TARE_E_LIMIT,
                          "4398046511104 bytes are more than the headers can make");
    check_compared(TARE_E_STALE, "that of a larger model");
}

/* Mapped or read. */
Test(prebuilt_size, it_is_as_large_as_headers_can_make_it)
{
    tare_shard_info shard;
    tare_model *model;
    tare_error error;
    alloc_probe probe;
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    shard = tare_shard_at(model, 0);
    tare_close(model);
    uint64_t most = tarei_prebuilt_size_max(2, shard.data_offset) / 64 * 64;
    for (uint64_t size = most; size <= most + 64; size += 64) {
        grow(size);
        for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++) {
            tare_status status =
                open_at(path.text, TARE_INDEX_REQUIRE, backing, &probe, &model, &error);
            cr_expect_eq(status, size == most ? TARE_OK : TARE_E_LIMIT, "%s", error.message);
            tare_close(model);
        }
    }
}

/* A number of tensors that is a hole would be one that calls take memory for. */
Test(prebuilt_size, nor_has_it_more_tensors_than_that_holds)
{
    tarei_prebuilt_head head = read_head(index_path.text);
    const uint64_t count = (1 << 29), group = TAREI_GROUP_COUNT, wide = TAREI_GROUPS_COUNT;
    head.tensor_count = (uint32_t)count;
    head.sections[TAREI_SECTION_RECORDS].size = (count + 1) * sizeof(tarei_record);
    head.sections[TAREI_SECTION_COMMONS].size = count / group * sizeof(uint32_t);
    head.sections[TAREI_SECTION_WIDE_COMMONS].size = count / wide * sizeof(uint32_t);
    head.file_size = sizeof head;
    for (size_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        head.sections[i].offset = head.file_size;
        head.file_size = (head.file_size + head.sections[i].size + 63) / 64 * 64;
    }
    write_head(index_path.text, &head);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++)
        check_passed_over("2^29 tensors", backing, TARE_E_LIMIT,
                          "8624014656 bytes are more than the headers can make");
}

Test(prebuilt_size, where_there_is_no_memory_for_one_the_header_may_do)
{
    size_t without = 0;
    for (size_t fail_at = 1; fail_at < 40; fail_at++) {
        alloc_probe probe;
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        options.backing = TARE_BACKING_READ;
        options.allocator = &probe.hooks;
        alloc_probe_init(&probe);
        probe.fail_at = fail_at;
        tare_status status = tare_open(path.text, &options, &model, &error);
        if (status != TARE_OK) {
            expect_refused("no memory", TARE_E_MEMORY, TARE_NO_OFFSET, status, model, &error);
            continue;
        }
        tare_status why = tare_index_status(model, NULL);
        cr_expect(why == TARE_OK || (why == TARE_E_MEMORY && probe.refused == 1));
        without += why == TARE_E_MEMORY;
        cr_expect_not_null(tare_find(model, "b", 1));
        tare_close(model);
        cr_expect_eq(probe.block_count + probe.mistakes, 0);
    }
    cr_expect_gt(without, 1);
}

/* ------------------------------------------------------------------------------------------------
 * Sizes of headers
 */

static tare_status open_limited(const char *at, uint32_t index, uint32_t check, uint64_t most)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.index = index;
    options.index_check = check;
    options.header_size_max = most;
    tare_status status = tare_open(at, &options, &model, &error);
    if (status == TARE_OK)
        expect_opened(at, status, model, &error);
    else
        expect_status(at, TARE_E_HEADER_SIZE, status, model, &error);
    bool indexed = status == TARE_OK && index != TARE_INDEX_NEVER;
    if (indexed) cr_expect_eq(tare_index_status(model, &error), TARE_OK, "%s", error.message);
    tare_close(model);
    return status;
}

/* The smallest limit that the model's headers fit in is the same with an index file. */
static void check_header_limit(const char *at)
{
    uint64_t most = 1;
    save_index(at);
    while (open_limited(at, TARE_INDEX_NEVER, 0, most) != TARE_OK) most++;
    cr_expect_gt(most, 20);
    for (uint32_t index = TARE_INDEX_AUTO; index <= TARE_INDEX_REQUIRE; index++)
        for (uint32_t check = TARE_INDEX_BY_TIME; check <= TARE_INDEX_BY_HEADER; check++) {
            cr_expect_eq(open_limited(at, index, check, most), TARE_OK);
            cr_expect_eq(open_limited(at, index, check, most - 1), TARE_E_HEADER_SIZE);
        }
}

static void write_part(const temp_path *to, const char *name, const char *number)
{
    char words[512];
    snprintf(words, sizeof words,
             GGUF_HEAD("1", "3") GGUF_U16("split.no", "%s") GGUF_U16("split.count", "2")
                 GGUF_KEYS GGUF_TENSOR("t%s", "1", "24", "0") "p4096 d1",
             number, number);
    temp_write_built(to, name, gguf_text(words, NULL));
}

Test(prebuilt_size, the_limit_of_headers_is_the_same_with_one)
{
    static const char list[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"2.safetensors\"}}";
    static const build_tensor more[] = {{"c", 0, "F32", "[2,2,1,1,1]", 16}};
    check_header_limit(path.text);
    check_header_limit(temp_write_built(&folder, "m.gguf", gguf_text(GGUF_WORDS, NULL)).text);
    temp_write_built(&folder, "1.safetensors", build_file(two, 1, NULL));
    temp_write_built(&folder, "2.safetensors", build_file(more, 1, NULL));
    check_header_limit(
        temp_write(&folder, "model.safetensors.index.json", list, sizeof list - 1).text);
    temp_path split = temp_make_folder(&folder, "split");
    write_part(&split, "m-00001-of-00002.gguf", "0");
    write_part(&split, "m-00002-of-00002.gguf", "1");
    check_header_limit(split.text);
}

/* Of a model behind a reader: how far it was read when it was opened. */
static uint64_t read_to(const build_text *file, const index_image *image)
{
    reader_probe probe;
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    options.index = TARE_INDEX_REQUIRE;
    options.index_check = TARE_INDEX_BY_HEADER;
    options.index_bytes = image->bytes;
    options.index_size = image->size;
    reader_probe_init(&probe, file->data, file->size, 0);
    tare_status status = tare_open_reader(&probe.reader, &options, &model, &error);
    expect_opened("by header", status, model, &error);
    tare_close(model);
    return probe.end;
}

Test(prebuilt_size, by_header_no_byte_behind_it_is_read)
{
    build_text file = gguf_text(GGUF_WORDS, NULL);
    tare_model *model = expect_open_bytes("gguf", &file);
    index_image image = index_make(model, index_path.text);
    cr_expect_eq(tare_shard_at(model, 0).data_offset, 4096);
    tare_close(model);
    uint64_t end = read_to(&file, &image);
    cr_expect_lt(end, 128, "%lu", (unsigned long)end);
    index_free(&image);
    build_free(&file);
    file = build_file(two, 2, NULL);
    model = expect_open_bytes("safetensors", &file);
    image = index_make(model, index_path.text);
    cr_expect_eq(read_to(&file, &image), tare_shard_at(model, 0).data_offset);
    tare_close(model);
    index_free(&image);
    build_free(&file);
}

/* Changes what an index file says of one file of the model, and gives it right digests. */
static void forge(const char *at, size_t number, size_t field, uint64_t value, size_t size)
{
    size_t index_size;
    uint8_t *bytes = temp_read(at, &index_size);
    index_image image = index_copy(bytes, index_size);
    memcpy(image.bytes + index_section_offset(&image, 0) + 64 * number + field, &value, size);
    index_seal(&image);
    int file = open(at, O_WRONLY | O_TRUNC);
    cr_assert_eq(write(file, image.bytes, image.size), (ssize_t)image.size);
    close(file);
    index_free(&image);
    free(bytes);
}

static void check_forged(const char *what, const char *at, tare_status wanted, const char *says)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_check = TARE_INDEX_BY_HEADER;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(at, &options, &model, &error);
    expect_status(what, wanted, status, model, &error);
    expect_message(what, says, &error);
}

#define FIELD(name) offsetof(tarei_prebuilt_shard, name)

/* It would be read to be compared. */
Test(prebuilt_size, a_header_of_gigabytes_that_an_index_claims_is_not_read)
{
    cr_assert_eq(truncate(path.text, (off_t)(4 * GIB)), 0);
    forge(index_path.text, 0, FIELD(size), 4 * GIB, 8);
    forge(index_path.text, 0, FIELD(data_offset), 4 * GIB, 8);
    check_forged("4 GiB", path.text, TARE_E_HEADER_SIZE, "a header of 4294967288 bytes");
}

Test(prebuilt_size, padding_is_no_more_than_what_it_is_part_of)
{
    temp_path gguf = temp_write_built(&folder, "m.gguf", gguf_text(GGUF_WORDS, NULL));
    save_index(gguf.text);
    forge(temp_join(&folder, "m.gguf.tareidx").text, 0, FIELD(padding), 4097, 4);
    check_forged("more", gguf.text, TARE_E_PREBUILT, "what it says of a shard cannot be");
    forge(temp_join(&folder, "m.gguf.tareidx").text, 0, FIELD(padding), 4096, 4);
    check_forged("all", gguf.text, TARE_E_STALE, "its header is not the one");
}

Test(prebuilt_size, nor_is_a_list_of_shards_of_gigabytes)
{
    static const char one_shard[] = "{\"weight_map\":{\"a\":\"m.safetensors\"}}";
    temp_path listing =
        temp_write(&folder, "l.safetensors.index.json", one_shard, sizeof one_shard - 1);
    temp_path at = temp_join(&folder, "tare.idx");
    save_index(listing.text);
    for (uint64_t more = 0; more < 2; more++) {
        forge(at.text, 1, FIELD(size), GIB + more, 8);
        check_forged("1 GiB", listing.text, more ? TARE_E_LIMIT : TARE_E_STALE,
                     more ? "of a shard index of more than 1 GiB" : "when the index was built");
    }
}
