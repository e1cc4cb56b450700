/* The header's text, as the reference writer has it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "save.h"
#include "support/expect.h"
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

TestSuite(save_header, .init = make_folder, .fini = remove_folder);

/* What tare_save makes of these; free it. */
static build_text saved(const tare_save_tensor *tensors, size_t count, size_t alignment,
                        const tare_save_metadata *metadata, size_t metadata_count)
{
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    tare_error error = expect_poison();
    temp_path path = temp_join(&folder, "saved.safetensors");
    options.flags = TARE_SAVE_REPLACE;
    options.alignment = alignment;
    options.metadata = metadata;
    options.metadata_count = metadata_count;
    tare_status status = tare_save(path.text, tensors, count, &options, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    build_text file = {0};
    file.data = temp_read(path.text, &file.size);
    return file;
}

static void check_text(const char *what, const build_text *file, const char *wanted)
{
    size_t size = strlen(wanted);
    cr_assert_geq(file->size, 8 + size, "%s: %zu bytes", what, file->size);
    cr_expect_eq(memcmp(file->data + 8, wanted, size), 0, "%s: %.*s", what, (int)size,
                 file->data + 8);
    cr_expect_eq((unsigned char)file->data[0] + 256 * (unsigned char)file->data[1],
                 (size + 7) / 8 * 8, "%s: size of the header", what);
}

/* Source: what the Python package safetensors 0.8.0 writes for these, byte for byte. */
Test(save_header, is_that_of_the_reference_writer)
{
    static const uint64_t one[] = {1}, three[] = {3};
    static const char odd[] = "y\0\x7f\xe2\x80\xa8/\xc3\xa9\n\"\\\b\f";
    static const tare_save_tensor tensors[] = {
        {.name = "b",
         .name_size = 1,
         .dtype = TARE_DTYPE_F32,
         .shape = one,
         .rank = 1,
         .data = "bbbb",
         .size = 4},
        {.name = "a",
         .name_size = 1,
         .dtype = TARE_DTYPE_F32,
         .shape = one,
         .rank = 1,
         .data = "aaaa",
         .size = 4},
        {.name = "z",
         .name_size = 1,
         .dtype = TARE_DTYPE_F64,
         .shape = one,
         .rank = 1,
         .data = "zzzzzzzz",
         .size = 8},
        {.name = "q",
         .name_size = 1,
         .dtype = TARE_DTYPE_U8,
         .shape = three,
         .rank = 1,
         .data = "qqq",
         .size = 3},
        {.name = "c",
         .name_size = 1,
         .dtype = TARE_DTYPE_C64,
         .shape = one,
         .rank = 1,
         .data = "cccccccc",
         .size = 8},
        {.name = odd,
         .name_size = sizeof odd - 1,
         .dtype = TARE_DTYPE_I64,
         .data = "yyyyyyyy",
         .size = 8},
    };
    static const tare_save_metadata metadata = {{"k", 1}, {"v/\x01", 3}};
    static const char wanted[] =
        "\x80\x01\0\0\0\0\0\0"
        "{\"__metadata__\":{\"k\":\"v/\\u0001\"},"
        "\"y\\u0000\x7f\xe2\x80\xa8/\xc3\xa9\\n\\\"\\\\\\b\\f\":"
        "{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
        "\"z\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[8,16]},"
        "\"c\":{\"dtype\":\"C64\",\"shape\":[1],\"data_offsets\":[16,24]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[24,28]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[28,32]},"
        "\"q\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[32,35]}}   "
        "yyyyyyyyzzzzzzzzccccccccaaaabbbbqqq";
    build_text file = saved(tensors, 6, 0, &metadata, 1);
    cr_assert_eq(file.size, sizeof wanted - 1);
    cr_expect_arr_eq(file.data, wanted, file.size);
    build_free(&file);
}

Test(save_header, of_no_tensors_is_an_empty_object)
{
    static const tare_save_metadata metadata = {{"a", 1}, {"b", 1}};
    build_text file = saved(NULL, 0, 0, NULL, 0);
    cr_assert_eq(file.size, 16);
    cr_expect_arr_eq(file.data, "\x08\0\0\0\0\0\0\0{}      ", 16);
    build_free(&file);
    file = saved(NULL, 0, 0, &metadata, 1);
    check_text("metadata", &file, "{\"__metadata__\":{\"a\":\"b\"}}      ");
    build_free(&file);
}

Test(save_header, escapes_what_json_demands_and_nothing_else)
{
    for (unsigned byte = 0; byte < 0x80; byte++) {
        char name[3] = {'<', (char)byte, '>'}, wanted[160], escape[8];
        static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
        const char *meaning = byte != 0 ? strchr(meanings, (int)byte) : NULL;
        if (meaning != NULL)
            snprintf(escape, sizeof escape, "\\%c", letters[meaning - meanings]);
        else if (byte < 0x20)
            snprintf(escape, sizeof escape, "\\u%04x", byte);
        else
            snprintf(escape, sizeof escape, "%c", (int)byte);
        snprintf(wanted, sizeof wanted,
                 "{\"__metadata__\":{\"<%s>\":\"<%s>\"},"
                 "\"<%s>\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[0,1]}}",
                 escape, escape, escape);
        tare_save_tensor tensor = {
            .name = name, .name_size = 3, .dtype = TARE_DTYPE_BOOL, .data = "x", .size = 1};
        tare_save_metadata metadata = {{name, 3}, {name, 3}};
        build_text file = saved(&tensor, 1, 0, &metadata, 1);
        check_text("escape", &file, wanted);
        tare_model *model = expect_open_bytes("escape", &file);
        cr_expect_not_null(tare_find(model, name, 3), "byte %u", byte);
        cr_expect_eq(tare_metadata_find(model, name, 3).size, 3, "byte %u", byte);
        tare_close(model);
        build_free(&file);
    }
}

Test(save_header, is_padded_so_that_the_data_section_is_aligned)
{
    static const size_t alignments[] = {0, 8, 16, 64, 4096, (size_t)2 << 20};
    for (size_t a = 0; a < sizeof alignments / sizeof alignments[0]; a++) {
        for (size_t size = 0; size < 12; size++) {
            tare_save_tensor tensor = {.name = "names of all sizes",
                                       .name_size = size,
                                       .dtype = TARE_DTYPE_U8,
                                       .data = "x",
                                       .size = 1};
            build_text file = saved(&tensor, 1, alignments[a], NULL, 0);
            tare_model *model = expect_open_bytes("aligned", &file);
            uint64_t data_offset = tare_shard_at(model, 0).data_offset;
            size_t alignment = alignments[a] != 0 ? alignments[a] : 8;
            size_t text_size = strlen("{\"\":{\"dtype\":\"U8\",\"shape\":[],"
                                      "\"data_offsets\":[0,1]}}") +
                               size;
            cr_expect_eq(data_offset, (8 + text_size + alignment - 1) / alignment * alignment,
                         "%zu, %zu: data at %zu", alignment, size, (size_t)data_offset);
            for (size_t i = 8 + text_size; i < data_offset; i++)
                cr_assert_eq(file.data[i], ' ', "%zu, %zu: byte %zu", alignment, size, i);
            expect_bytes("aligned", model, tare_at(model, 0), "x", 1);
            tare_close(model);
            build_free(&file);
        }
    }
}

Test(save_header, has_dtypes_in_the_order_of_the_reference_and_names_within)
{
    tare_save_tensor tensors[44];
    static const uint64_t eight[] = {8};
    static const char bytes[64];
    memset(tensors, 0, sizeof tensors);
    for (size_t i = 0; i < 44; i++) { /* each dtype twice, in an order that is none */
        tare_dtype dtype = (tare_dtype)(i * 5 % 22 + 1);
        tensors[i] = (tare_save_tensor){.name = i < 22 ? "b" : "ab",
                                        .name_size = i < 22 ? 1 : 2,
                                        .dtype = dtype,
                                        .shape = eight,
                                        .rank = 1,
                                        .data = bytes,
                                        .size = tare_dtype_bits(dtype)};
    }
    char names[44][16];
    for (size_t i = 0; i < 44; i++) {
        int size = snprintf(names[i], sizeof names[i], "%s%u", tensors[i].name,
                            (unsigned)tensors[i].dtype);
        tensors[i].name = names[i];
        tensors[i].name_size = (size_t)size;
    }
    build_text file = saved(tensors, 44, 0, NULL, 0);
    tare_model *model = expect_open_bytes("order", &file);
    cr_assert_eq(tare_count(model), 44);
    for (size_t i = 0; i < 44; i++) {
        tare_info info = tare_describe(model, tare_at(model, i));
        char wanted[16];
        snprintf(wanted, sizeof wanted, "%s%zu", i % 2 != 0 ? "b" : "ab", 22 - i / 2);
        cr_expect_str_eq(info.name, wanted, "place %zu", i);
        cr_expect_eq(info.dtype, 22 - i / 2, "place %zu", i);
        cr_expect_eq(tare_dtype_can_save(info.dtype), 1);
    }
    tare_close(model);
    build_free(&file);
}

Test(save_header, is_measured_as_it_is_written)
{
    static const uint64_t shape[] = {0, 1, UINT64_MAX, 10, 99, 100};
    static const tarei_save_entry entries[] = {
        {.name = "\x01\"", .name_size = 2, .dtype = TARE_DTYPE_F6_E2M3, .shape = shape, .rank = 6},
        {.name = "", .name_size = 0, .dtype = TARE_DTYPE_F32, .shape = shape, .rank = 1},
    };
    static const uint32_t order[] = {0, 1};
    tarei_save_plan plan = {.entries = entries, .order = order, .count = 2};
    static const char wanted[] =
        "{\"\\u0001\\\"\":{\"dtype\":\"F6_E2M3\",\"shape\":[0,1,18446744073709551615,10,99,100],"
        "\"data_offsets\":[0,0]},\"\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    cr_expect_eq(tarei_save_header_measure(&plan), sizeof wanted - 1);
}
