/* What format a file is of, and how a header is read whose size nobody tells. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/process_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

static temp_path folder;

static void make_folder(void)
{
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(header, .init = make_folder, .fini = remove_folder);

#define SMALL GGUF_HEAD("1", "1") GGUF_TEXT("k", "v") GGUF_TENSOR("g", "4", "24", "0") "p32 d4"

static build_text make_file(bool gguf)
{
    static const build_tensor one = {"s", 0, "U8", "[4]", 4};
    return gguf ? gguf_text(SMALL, NULL) : build_file(&one, 1, NULL);
}

Test(header, the_content_tells_the_format_and_the_name_must_not_lie)
{
    static const struct {
        const char *name;
        bool gguf;
        tare_status status;
    } rows[] = {
        {"m.gguf", true, TARE_OK},        {"m.safetensors", false, TARE_OK},
        {"blob", true, TARE_OK},          {"blob", false, TARE_OK},
        {"m.gguf.part", false, TARE_OK},  {"m.bin", true, TARE_OK},
        {"m.gguf", false, TARE_E_FORMAT}, {"m.safetensors", true, TARE_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        temp_path path = temp_write_built(&folder, rows[i].name, make_file(rows[i].gguf));
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(path.text, NULL, &model, &error);
        if (rows[i].status == TARE_OK) {
            expect_opened(rows[i].name, status, model, &error);
            cr_expect_not_null(tare_find(model, rows[i].gguf ? "g" : "s", 1));
            tare_close(model);
        } else {
            expect_refused(rows[i].name, rows[i].status, 0, status, model, &error);
            expect_message(rows[i].name, rows[i].name, &error);
        }
    }
}

Test(header, what_else_a_file_named_gguf_is_stands_in_the_message)
{
    static const struct {
        const char *words, *says;
    } rows[] = {
        {"'PK' 1:3 1:4 d60", "GGUF: a zip"},
        {"'tjgg' d60", "before GGUF"},
        {"'version https://git-lfs' d60", "Git LFS"},
        {"'GGU'", "does not begin"},
        {"", "does not begin"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        temp_path path = temp_write_built(&folder, "m.gguf", gguf_text(rows[i].words, NULL));
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(path.text, NULL, &model, &error);
        expect_refused(rows[i].says, TARE_E_FORMAT, 0, status, model, &error);
        expect_message(rows[i].says, rows[i].says, &error);
        cr_expect_eq(strstr(error.message, "GGUF: ") != NULL, i < 3, "%s", error.message);
    }
}

/* Strings enough for a header of several pieces, then a tensor. */
static build_text make_vocabulary(unsigned count)
{
    build_text file = gguf_text(GGUF_HEAD("1", "2"), NULL);
    build_text key = gguf_text("\"tokens\" 4:9 4:8 ", NULL);
    build_add(&file, key.data, key.size);
    build_free(&key);
    char word[80];
    snprintf(word, sizeof word, "8:%u", count);
    build_text number = gguf_text(word, NULL);
    build_add(&file, number.data, number.size);
    build_free(&number);
    for (unsigned i = 0; i < count; i++) {
        snprintf(word, sizeof word, "\"token %u\"", i);
        build_text item = gguf_text(word, NULL);
        build_add(&file, item.data, item.size);
        build_free(&item);
    }
    build_text tail = gguf_text(GGUF_TEXT("behind", "it") GGUF_TENSOR("t", "64", "24", "0"), NULL);
    build_add(&file, tail.data, tail.size);
    build_free(&tail);
    while (file.size % 32 != 0) build_add(&file, "", 1);
    for (unsigned i = 0; i < 64; i++) build_add(&file, "x", 1);
    return file;
}

static void check_vocabulary(const tare_model *model, unsigned count)
{
    tare_value tokens = tare_metadata_value(model, "tokens", 6), item;
    cr_assert_eq(tokens.count, count);
    char word[80];
    for (unsigned i = 0; i < count; i++) {
        int size = snprintf(word, sizeof word, "token %u", i);
        cr_assert_eq(tare_value_next(&tokens, &item), 1);
        cr_assert_eq(item.size, (size_t)size);
        cr_assert_arr_eq(item.data, word, item.size);
    }
    cr_expect_str_eq(tare_metadata_find(model, "behind", 6).data, "it");
    cr_expect_not_null(tare_find(model, "t", 1));
}

Test(header, is_read_in_pieces_up_to_twice_its_size_and_no_byte_twice)
{
    build_text file = make_vocabulary(20000);
    size_t header_size = file.size - 64;
    for (unsigned i = 0; i < 1 << 20; i++) build_add(&file, "x", 1); /* ignored, but not read */
    static const size_t pieces[] = {0, 4096, 100001};
    for (size_t i = 0; i < 3; i++) {
        reader_probe probe;
        reader_probe_init(&probe, file.data, file.size, pieces[i]);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
        expect_opened("pieces", status, model, &error);
        cr_expect_leq(probe.end, 2 * header_size);
        cr_expect_eq(probe.given, probe.end + 8, "the first eight bytes alone are read again");
        cr_expect_eq(probe.mistakes, 0);
        if (i == 0) cr_expect_leq(probe.calls, 2 + 10, "%zu calls", probe.calls);
        check_vocabulary(model, 20000);
        tare_close(model);
    }
    build_free(&file);
}

Test(header, arrays_stay_after_opening_whatever_the_backing)
{
    build_text file = make_vocabulary(9000);
    for (unsigned i = 0; i < 1 << 20; i++) build_add(&file, "x", 1); /* read, and not kept */
    temp_path path = temp_write_text(&folder, "m.gguf", &file);
    for (uint32_t backing = 0; backing <= TARE_BACKING_READ; backing++) {
        tare_options options = TARE_OPTIONS_INIT;
        options.backing = backing;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(path.text, &options, &model, &error);
        expect_opened("m.gguf", status, model, &error);
        FILE *over = fopen(path.text, "r+"); /* the header in memory is a copy */
        fseek(over, 24, SEEK_SET);
        for (unsigned i = 0; i < 1000; i++) fputc(0xFF, over);
        fclose(over);
        check_vocabulary(model, 9000);
        tare_stat stat = {.struct_size = sizeof stat};
        tare_model_stat(model, &stat);
        uint64_t header_size = tare_shard_at(model, 0).data_offset;
        cr_expect_leq(stat.memory_size, header_size + header_size / 8 + 40000, "%zu bytes",
                      (size_t)stat.memory_size);
        tare_close(model);
        temp_write_text(&folder, "m.gguf", &file);
    }
    build_free(&file);
}

/* A file of 3 GiB that takes no room on the disk, and claims to use it. */
Test(header, a_size_that_a_file_states_takes_no_memory)
{
    static const struct {
        const char *words;
        tare_status status;
    } rows[] = {
        {GGUF_HEAD("0", "1") "\"k\" 4:9 4:0 8:1073741824 ", TARE_E_HEADER_SIZE},
        {GGUF_HEAD("0", "1") "\"k\" 4:8 8:1073741824 ", TARE_E_HEADER_SIZE},
        {GGUF_HEAD("0", "1") "8:1073741824 ", TARE_E_HEADER_SIZE},
        {GGUF_HEAD("100000000", "0") "8:64 ", TARE_E_LIMIT},
        {GGUF_HEAD("0", "200000000") "8:0 ", TARE_E_METADATA},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        build_text file = gguf_text(rows[i].words, NULL);
        temp_path path = temp_write_text(&folder, "m.gguf", &file);
        cr_assert_eq(truncate(path.text, (off_t)3 << 30), 0);
        alloc_probe probe;
        alloc_probe_init(&probe);
        tare_options options = TARE_OPTIONS_INIT;
        options.allocator = &probe.hooks;
        uint64_t before = probe_read_size();
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(path.text, &options, &model, &error);
        expect_status("a large claim", rows[i].status, status, model, &error);
        cr_expect_leq(probe.peak_size, 1 << 20, "row %zu: %zu bytes", i, probe.peak_size);
        cr_expect_leq(probe_read_size() - before, 1 << 20, "row %zu", i);
        cr_expect_eq(probe.block_count + probe.mistakes, 0);
        build_free(&file);
    }
}

/* Braces tell how many tensors there may be, as far as a tensor takes 50 bytes of header. */
Test(header, of_braces_alone_takes_less_memory_than_it_has_bytes)
{
    enum { SIZE = 4 << 20 };
    char *braces = malloc(SIZE);
    memset(braces, '{', SIZE);
    build_text file = build_raw(braces, SIZE, 0);
    static alloc_probe probe;
    alloc_probe_init(&probe);
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &probe.hooks;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_bytes(file.data, file.size, &options, &model, &error);
    expect_refused("braces", TARE_E_JSON, 9, status, model, &error);
    cr_expect_leq(probe.peak_size, SIZE, "%zu bytes", probe.peak_size);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
    free(braces);
    build_free(&file);
}

Test(header, of_40000_empty_tensors_takes_memory_in_proportion_and_few_calls)
{
    enum { COUNT = 40000 };
    build_text file = gguf_text(GGUF_HEAD("40000", "0"), NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        char words[100];
        snprintf(words, sizeof words, GGUF_TENSOR("t%05u", "0", "0", "0"), i);
        build_text tensor = gguf_text(words, NULL);
        build_add(&file, tensor.data, tensor.size);
        build_free(&tensor);
    }
    while (file.size % 32 != 0) build_add(&file, "", 1);
    temp_path path = temp_write_text(&folder, "m.gguf", &file);
    static alloc_probe probe;
    alloc_probe_init(&probe);
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &probe.hooks;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path.text, &options, &model, &error);
    expect_opened("40,000", status, model, &error);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    cr_expect_eq(tare_count(model), COUNT);
    cr_expect_eq(stat.index_sorted, 0);
    cr_expect_leq(probe.calls, 60, "%zu allocations", probe.calls);
    cr_expect_leq(stat.memory_size, COUNT * 64 + 65536, "%zu bytes", (size_t)stat.memory_size);
    tare_close(model);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
    build_free(&file);
}

Test(header, a_reader_that_fails_while_a_header_is_read_is_an_error)
{
    build_text file = make_vocabulary(5000);
    for (size_t at = 1; at <= 30; at++) {
        reader_probe probe;
        reader_probe_init(&probe, file.data, file.size, 4096);
        probe.answer_at = at;
        probe.answer = at % 2 ? -EIO : 0;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
        if (probe.calls < at) {
            expect_opened("enough", status, model, &error);
            tare_close(model);
            break;
        }
        expect_status("fails", at % 2 ? TARE_E_READ : TARE_E_CHANGED, status, model, &error);
        cr_expect_eq(error.system_error, at % 2 ? EIO : 0);
        cr_expect_eq(error.shard, 0);
    }
    build_free(&file);
}
