/* GGUF in several files: names of parts, and what must hold between them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/process_probe.h"
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

TestSuite(split, .init = make_folder, .fini = remove_folder);

static temp_path write_words(const char *name, const char *words)
{
    return temp_write_built(&folder, name, gguf_text(words, NULL));
}

#define SPLIT_AND(entries, tensors, number, count, total) \
    GGUF_HEAD(tensors, entries)                           \
    GGUF_U16("split.no", number)                          \
    GGUF_U16("split.count", count) "\"split.tensors.count\" 4:5 4:" total " "
#define SPLIT(tensors, number, count, total) SPLIT_AND("3", tensors, number, count, total)

#define PART_1                \
    SPLIT("2", "0", "3", "4") \
    GGUF_TENSOR("a", "1", "24", "0") GGUF_TENSOR("b", "40", "24", "32") "p32 d72"
#define PART_2 SPLIT("1", "1", "3", "4") GGUF_TENSOR("c", "3", "24", "0") "p32 d3"
#define PART_3 SPLIT("1", "2", "3", "4") GGUF_TENSOR("d", "8", "24", "0") "p32 d32"

static temp_path write_parts(const char *second)
{
    write_words("m-00002-of-00003.gguf", second);
    write_words("m-00003-of-00003.gguf", PART_3);
    return write_words("m-00001-of-00003.gguf", PART_1);
}

static void check_model(const char *path)
{
    static const uint64_t sizes[] = {1, 40, 3, 8};
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path, NULL, &model, &error);
    expect_opened(path, status, model, &error);
    cr_assert_eq(tare_count(model), 4);
    cr_assert_eq(tare_shard_count(model), 3);
    for (size_t i = 0; i < 4; i++) {
        const char name[] = {(char)('a' + i), 0};
        const tare_tensor *tensor = tare_at(model, i);
        tare_info info = tare_describe(model, tensor);
        tare_shard_info shard = tare_shard_at(model, info.shard);
        cr_expect_str_eq(info.name, name);
        cr_expect_eq(info.shard, i < 2 ? 0 : i - 1);
        cr_expect_eq(info.size, sizes[i]);
        cr_expect_eq(info.offset, shard.data_offset + (i == 1 ? 32 : 0));
        cr_expect_eq(shard.format, TARE_FORMAT_GGUF);
        size_t size;
        char *bytes = temp_read(temp_join(&folder, shard.name.data).text, &size);
        expect_bytes(name, model, tensor, bytes + info.offset, (size_t)info.size);
        free(bytes);
    }
    cr_expect_str_eq(tare_shard_at(model, 1).name.data, "m-00002-of-00003.gguf");
    uint64_t number = 9;
    cr_expect_eq(tare_metadata_count(model), 9);
    cr_expect_eq(tare_metadata_u64(model, "split.no", 8, &number, NULL), TARE_OK);
    cr_expect_eq(number, 0, "the first shard's");
    tare_close(model);
}

static void check_refused(const char *path, tare_status wanted, uint32_t shard, const char *says)
{
    size_t descriptors = probe_descriptor_count();
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path, NULL, &model, &error);
    expect_status(path, wanted, status, model, &error);
    expect_message(path, says, &error);
    cr_expect_eq(error.shard, shard, "%s: shard %u", says, error.shard);
    cr_expect_eq(probe_descriptor_count(), descriptors, "%s: a descriptor is left", path);
}

Test(split, names_of_parts_are_those_of_llama_cpp)
{
    static const struct {
        const char *name;
        uint32_t number, count;
    } rows[] = {
        {"m-00001-of-00002.gguf", 1, 2},
        {"-00002-of-00002.gguf", 2, 2},
        {"a.b-00001-of-00003-00099-of-00100.gguf", 99, 100},
        {"m-100000-of-100001.gguf", 100000, 100001},
        {"m-00001-of-262144.gguf", 1, 262144},
        {"m-00001-of-00001.gguf", 0, 0},
        {"m-00000-of-00002.gguf", 0, 0},
        {"m-00003-of-00002.gguf", 0, 0},
        {"m-0001-of-00002.gguf", 0, 0},
        {"m-00001-of-0002.gguf", 0, 0},
        {"m-000001-of-000002.gguf", 0, 0},
        {"m-00001-of-262145.gguf", 0, 0},
        {"m-00001-of-4294967298.gguf", 0, 0},
        {"m-00001-of-18446744073709551618.gguf", 0, 0},
        {"m-00001-of-00002.GGUF", 0, 0},
        {"m-00001-of-00002.gguf.part", 0, 0},
        {"m-00001-of-00002.safetensors", 0, 0},
        {"m-00001-OF-00002.gguf", 0, 0},
        {"m_00001-of-00002.gguf", 0, 0},
        {"00001-of-00002.gguf", 0, 0},
        {"m-+0001-of-00002.gguf", 0, 0},
        {"m-of-00002.gguf", 0, 0},
        {"-of-.gguf", 0, 0},
        {".gguf", 0, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tarei_split split;
        bool is = tarei_split_is(rows[i].name, &split);
        cr_expect_eq(is, rows[i].count != 0, "%s", rows[i].name);
        if (!is || rows[i].count == 0) continue;
        cr_expect_eq(split.number, rows[i].number, "%s", rows[i].name);
        cr_expect_eq(split.count, rows[i].count, "%s", rows[i].name);
    }
}

Test(split, any_part_opens_all_and_so_does_the_folder)
{
    temp_path first = write_parts(PART_2);
    check_model(first.text);
    check_model(temp_join(&folder, "m-00003-of-00003.gguf").text);
    check_model(folder.text);
}

Test(split, a_missing_part_is_named)
{
    write_words("m-00003-of-00003.gguf", PART_3);
    temp_path first = write_words("m-00001-of-00003.gguf", PART_1);
    check_refused(first.text, TARE_E_OPEN, 1, "m-00002-of-00003.gguf");
    check_refused(folder.text, TARE_E_OPEN, 1, "m-00002-of-00003.gguf");
}

/* However many a name claims, memory is for those that are there. */
Test(split, a_name_of_many_parts_takes_no_memory_for_them)
{
    static alloc_probe probe;
    temp_path first =
        write_words("m-00001-of-262144.gguf",
                    GGUF_HEAD("1", "2") GGUF_U16("split.no", "0") GGUF_U32("split.count", "262144")
                        GGUF_TENSOR("a", "1", "24", "0") "p32 d1");
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    tare_status status = tare_open(first.text, &options, &model, &error);
    expect_status("alone", TARE_E_OPEN, status, model, &error);
    cr_expect_eq(error.shard, 1);
    cr_expect_lt(probe.peak_size, 100000);
    cr_expect_eq(probe.block_count, 0);
    cr_expect_eq(probe.mistakes, 0);
}

/* Each has a name, and one tensor of one byte. */
Test(split, of_many_parts_each_stays_where_it_was)
{
    enum { COUNT = 40 };
    char words[400], name[40];
    temp_path path = {{0}};
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(words, sizeof words,
                 SPLIT("1", "%u", "40", "40") "\"t%02u\" 4:1 8:1 4:24 8:0 p32 d1", i, i);
        snprintf(name, sizeof name, "m-%05u-of-%05u.gguf", i + 1, COUNT);
        path = write_words(name, words);
    }
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path.text, NULL, &model, &error);
    expect_opened("many", status, model, &error);
    cr_assert_eq(tare_shard_count(model), COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "t%02u", i);
        const tare_tensor *tensor = tare_find(model, name, 3);
        cr_assert_not_null(tensor);
        cr_expect_eq(tare_describe(model, tensor).shard, i);
        snprintf(name, sizeof name, "m-%05u-of-%05u.gguf", i + 1, COUNT);
        cr_expect_str_eq(tare_shard_at(model, i).name.data, name);
        uint8_t byte, read;
        cr_assert_eq(tare_read(model, tensor, &read, 1, &error), TARE_OK);
        memcpy(&byte, tare_data(model, tensor), 1);
        cr_expect_eq(byte, read);
    }
    tare_close(model);
}

Test(split, the_first_part_may_be_the_missing_one)
{
    write_words("m-00002-of-00003.gguf", PART_2);
    check_refused(folder.text, TARE_E_OPEN, 0, "m-00001-of-00003.gguf");
    write_words("m-00003-of-00003.gguf", PART_3);
    check_refused(folder.text, TARE_E_OPEN, 0, "m-00001-of-00003.gguf");
}

Test(split, a_foreign_part_is_named_with_what_is_wrong)
{
#define REST GGUF_TENSOR("c", "3", "24", "0") "p32 d3"
    static const struct {
        const char *words, *says;
    } rows[] = {
        {SPLIT("1", "2", "3", "4") REST, "part 2 of a split file has split.no 2, not 1"},
        {SPLIT("1", "1", "2", "4") REST, "split.count 2, not 3"},
        {SPLIT("1", "1", "3", "5") REST, "split.tensors.count 5, not 4"},
        {GGUF_HEAD("1", "0") REST, "part 2 of a split file has no integer split.no"},
        {GGUF_HEAD("1", "1") GGUF_U16("split.no", "1") REST, "no integer split.count"},
        {GGUF_HEAD("1", "2") GGUF_U16("split.count", "3") GGUF_TEXT("split.no", "1") REST,
         "no integer split.no"},
        {GGUF_HEAD("1", "2") GGUF_U16("split.count", "3") "\"split.no\" 4:5 4:-1 " REST,
         "no integer split.no"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        temp_path first = write_parts(rows[i].words);
        check_refused(first.text, TARE_E_SPLIT, 1, "m-00002-of-00003.gguf");
        check_refused(first.text, TARE_E_SPLIT, 1, rows[i].says);
    }
}

Test(split, a_part_that_was_cut_is_named_with_its_tensor)
{
    temp_path first = write_parts(SPLIT("1", "1", "3", "4")
                                      GGUF_TENSOR("of_the_second_part", "3", "24", "0") "p32 d2");
    check_refused(first.text, TARE_E_COVER, 1, "m-00002-of-00003.gguf");
    check_refused(first.text, TARE_E_COVER, 1, "tensor 'of_the_second_part': it ends at 3");
}

Test(split, parts_together_have_the_tensors_that_they_tell)
{
    static const char *const two[] = {
        GGUF_HEAD("1", "2") GGUF_U16("split.no", "1") GGUF_U16("split.count", "3") REST,
        SPLIT("0", "1", "3", "4"),
    };
    temp_path first = write_parts(two[0]);
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(first.text, NULL, &model, &error);
    expect_opened("a part need not tell", status, model, &error);
    tare_close(model);
    write_parts(two[1]);
    check_refused(first.text, TARE_E_SPLIT, 0, "split.tensors.count 4, not 3");
}

/* Where the second part repeats what the first one says of the model. */
Test(split, parts_agree_about_what_several_say_of_the_model)
{
#define SECOND(entry) \
    SPLIT_AND("4", "1", "1", "2", "2") entry GGUF_TENSOR("b", "3", "24", "0") "p32 d3"
    static const struct {
        const char *words, *says; /* NULL: fine */
    } rows[] = {
        {SECOND(GGUF_TEXT("general.name", "m")), NULL},
        {SECOND(GGUF_TEXT("general.name", "n")),
         "part 2 of a split file has another 'general.name'"},
        {SECOND(GGUF_TEXT("general.name", "mm")), "'general.name'"},
        {SECOND(GGUF_U32("general.name", "1")), "'general.name'"},
        {SECOND(GGUF_TEXT("general.architecture", "llama")), NULL},
        {SECOND(GGUF_TEXT("general.architecture", "lama")), "'general.architecture'"},
        {SECOND(GGUF_U32("llama.block_count", "2")), NULL},
        {SECOND(GGUF_U32("llama.block_count", "3")), "'llama.block_count'"},
        {SECOND(GGUF_U16("llama.block_count", "2")), "'llama.block_count'"},
        {SECOND("\"general.tags\" 4:9 4:8 8:2 \"a\" \"bc\" "), NULL},
        {SECOND("\"general.tags\" 4:9 4:8 8:2 \"ab\" \"c\" "), "'general.tags'"},
        {SECOND("\"general.tags\" 4:9 4:8 8:1 \"a\" "), "'general.tags'"},
        {SECOND("\"general.ids\" 4:9 4:4 8:1 4:7 "), NULL},
        {SECOND("\"general.ids\" 4:9 4:5 8:1 4:7 "), "'general.ids'"},
        {SECOND(GGUF_TEXT("general.only.here", "x")), NULL},
        {SECOND(GGUF_TEXT("general.", "x")), NULL},
        {SECOND(GGUF_TEXT("general.", "y")), "'general.'"},
        {SPLIT_AND("4", "1", "1", "2", "2") GGUF_U32("general.alignment", "64")
             GGUF_TENSOR("b", "3", "24", "0") "p64 d3",
         NULL},
        {SECOND(GGUF_U32("llama3.x", "2")), NULL},
        {SECOND(GGUF_U32("llama", "2")), NULL},
    };
    temp_path first = write_words(
        "m-00001-of-00002.gguf",
        SPLIT_AND("12", "1", "0", "2", "2") GGUF_TEXT("general.", "x")
            GGUF_TEXT("general.architecture", "llama") "\"general.ids\" 4:9 4:4 8:1 4:7 " GGUF_TEXT(
                "general.name", "m") GGUF_U32("general.alignment", "32")
                GGUF_U32("llama.block_count", "2") GGUF_U32("llama3.x", "1")
                    GGUF_U32("llama", "1") "\"general.tags\" 4:9 4:8 8:2 \"a\" \"bc\" " GGUF_TENSOR(
                        "a", "8", "24", "0") "p32 d32");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        write_words("m-00002-of-00002.gguf", rows[i].words);
        if (rows[i].says != NULL) {
            check_refused(first.text, TARE_E_SPLIT, 1, "m-00002-of-00002.gguf");
            check_refused(first.text, TARE_E_SPLIT, 1, rows[i].says);
            continue;
        }
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(first.text, NULL, &model, &error);
        expect_opened(rows[i].words, status, model, &error);
        tare_close(model);
    }
}

Test(split, a_first_part_that_says_nothing_of_the_model_contradicts_none)
{
    write_words("m-00001-of-00002.gguf",
                SPLIT("1", "0", "2", "2") GGUF_TENSOR("a", "8", "24", "0") "p32 d32");
    temp_path second =
        write_words("m-00002-of-00002.gguf", SECOND(GGUF_TEXT("general.architecture", "llama")));
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(second.text, NULL, &model, &error);
    expect_opened("a first part without metadata", status, model, &error);
    tare_close(model);
}

Test(split, a_name_in_two_parts_is_refused)
{
    temp_path first =
        write_parts(SPLIT("1", "1", "3", "4") GGUF_TENSOR("a", "3", "24", "0") "p32 d3");
    check_refused(first.text, TARE_E_DUPLICATE, 1, "m-00001-of-00003.gguf");
}

Test(split, a_damaged_part_is_named_with_number_and_offset)
{
    temp_path first = write_parts("'GGUF' 4:9 8:0 8:0");
    check_refused(first.text, TARE_E_VERSION, 1, "m-00002-of-00003.gguf");
    write_parts("'GIF89a' d100");
    check_refused(first.text, TARE_E_FORMAT, 1, "m-00002-of-00003.gguf");
}

Test(split, a_part_under_another_name_or_in_memory_is_a_model_by_itself)
{
    temp_path path = write_words("renamed.gguf", PART_2);
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    cr_expect_eq(tare_count(model), 1);
    tare_close(model);
    build_text file;
    model = gguf_open(PART_2, &file);
    cr_expect_eq(tare_count(model), 1);
    tare_close(model);
    build_free(&file);
}

Test(split, a_folder_of_two_models_is_ambiguous)
{
    write_parts(PART_2);
    write_words("n-00001-of-00002.gguf", PART_1);
    check_refused(folder.text, TARE_E_AMBIGUOUS, TARE_NO_SHARD, "n-00001-of-00002.gguf");
}
