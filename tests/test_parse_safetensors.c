/*
 * The header of one file: each rule of docs/format_safetensors.md with the status and the place of
 * its error. Rules of JSON itself are in test_parse_json.c.
 */
#include <stdlib.h>
#include <string.h>

#include "support/damage.h"
#include "support/expect.h"

Test(parse_safetensors, s_min_refuses_files_of_less_than_eight_bytes)
{
    build_text file = {0};
    for (size_t size = 0; size < 8; size++) {
        tare_model *model;
        tare_error error;
        tare_status status = damage_open(&file, &model, &error);
        expect_refused("fewer than 8 bytes", TARE_E_TRUNCATED, 0, status, model, &error);
        build_add(&file, "\2", 1);
    }
    build_free(&file);
}

Test(parse_safetensors, s_hlim_refuses_headers_beyond_the_limit)
{
    static const uint64_t sizes[] = {100000001,         UINT64_C(1) << 32, (UINT64_C(1) << 32) + 2,
                                     UINT64_C(1) << 63, UINT64_MAX - 7,    UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        build_text file = build_raw("{}", 2, 0);
        for (unsigned b = 0; b < 8; b++) file.data[b] = (char)(sizes[i] >> (8 * b));
        tare_model *model;
        tare_error error;
        tare_status status = damage_open(&file, &model, &error);
        expect_refused("beyond the limit", TARE_E_HEADER_SIZE, 0, status, model, &error);
        build_free(&file);
    }
}

Test(parse_safetensors, s_hlim_is_the_option_where_there_is_one)
{
    build_text file = build_raw("{}        ", 10, 0);
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.header_size_max = 10;
    tare_status status = tare_open_bytes(file.data, file.size, &options, &model, &error);
    expect_opened("a header of the limit", status, model, &error);
    tare_close(model);
    options.header_size_max = 9;
    status = tare_open_bytes(file.data, file.size, &options, &model, &error);
    expect_refused("a byte more", TARE_E_HEADER_SIZE, 0, status, model, &error);
    build_free(&file);
}

Test(parse_safetensors, s_hlim_says_what_else_a_file_is)
{
    static const struct {
        const char *bytes, *says;
    } files[] = {
        {"version https://git-lfs.github.com/spec/v1\n", "Git LFS"},
        {"FUGG\0\0\0\3\1\1\1", "GGUF"},
        {"fmgg\1\1\1\1", "before GGUF"},
        {"PK\3\4\0\0\10\10", "zip"},
        {"<!DOCTYPE html><html>", "HTML"},
        {"<html><body>404", "HTML"},
        {"\x1f\x8b\10\0\0\0\0\0", "gzip"},
        {"\x28\xb5\x2f\xfd\0\0\0\1", "zstd"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        build_text file = {0};
        char padded[64] = {0};
        memset(padded, 1, sizeof padded);
        memcpy(padded, files[i].bytes, strlen(files[i].bytes));
        build_add(&file, padded, sizeof padded);
        tare_model *model;
        tare_error error;
        tare_status status = damage_open(&file, &model, &error);
        expect_refused(files[i].says, TARE_E_FORMAT, 0, status, model, &error);
        expect_message(files[i].says, files[i].says, &error);
        build_free(&file);
    }
}

Test(parse_safetensors, s_hlen_refuses_headers_beyond_the_end_of_the_file)
{
    build_text whole = build_raw("{}  ", 4, 0);
    for (size_t size = 8; size < whole.size; size++) {
        build_text file = {0};
        build_add(&file, whole.data, size);
        tare_model *model;
        tare_error error;
        tare_status status = damage_open(&file, &model, &error);
        expect_refused("cut header", TARE_E_TRUNCATED, 0, status, model, &error);
        build_free(&file);
    }
    build_free(&whole);
}

Test(parse_safetensors, s_meta_is_a_map_of_strings_to_strings)
{
#define META(value) "{'__metadata__':" value "}"
    static const damage rows[] = {
        {"an array", META("^[]"), 0, TARE_E_METADATA},
        {"a string", META("^'x'"), 0, TARE_E_METADATA},
        {"a number", META("^1"), 0, TARE_E_METADATA},
        {"true", META("^true"), 0, TARE_E_METADATA},
        {"a value that is a number", META("{'k':^1}"), 0, TARE_E_METADATA},
        {"a value that is null", META("{'k':^null}"), 0, TARE_E_METADATA},
        {"a value that is true", META("{'k':^true}"), 0, TARE_E_METADATA},
        {"a value that is an array", META("{'k':^['v']}"), 0, TARE_E_METADATA},
        {"a value that is an object", META("{'k': ^{'a':'b'}}"), 0, TARE_E_METADATA},
        {"a later value", META("{'a':'b','k':^1}"), 0, TARE_E_METADATA},
        {"a tensor of that name", META(INFO("'U8'", "^[1]", "[0,1]")), 1, TARE_E_METADATA},
        {"the name escaped", "{'__meta\\u0064ata__':^1}", 0, TARE_E_METADATA},
        {"no colon", META("{'k'^'v'}"), 0, TARE_E_JSON},
        {"a comma behind", META("{'k':'v',^}"), 0, TARE_E_JSON},
        {"ends", "{'__metadata__':^", 0, TARE_E_JSON},
        {"ends inside", "{'__metadata__':{'k':^", 0, TARE_E_JSON},
        {"nul", META("^nul"), 0, TARE_E_METADATA},
        {"null reads as absent", META("null"), 0, TARE_OK},
        {"empty", META("{}"), 0, TARE_OK},
        {"behind tensors", "{'a':" ONE ",'__metadata__':{'k':'v'}}", 1, TARE_OK},
        {"between tensors", "{'a':" ONE ",'__metadata__':{'k':'v'},'b':" U8("[1,2]") "}", 2,
         TARE_OK},
        {"a name that begins so", "{'__metadata__x':" ONE "}", 1, TARE_OK},
        {"a name in another case", "{'__METADATA__':" ONE "}", 1, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_info_is_an_object_with_three_members)
{
    static const damage rows[] = {
        {"an array", "{'a':^['U8',[1],[0,1]]}", 1, TARE_E_FIELD},
        {"a number", "{'a':^1}", 1, TARE_E_FIELD},
        {"a string", "{'a':^'U8'}", 1, TARE_E_FIELD},
        {"null", "{'a': ^null}", 1, TARE_E_FIELD},
        {"empty", "{^'a':{}}", 0, TARE_E_FIELD},
        {"no dtype", "{ ^'a':{'shape':[1],'data_offsets':[0,1]}}", 1, TARE_E_FIELD},
        {"no shape", "{^'a':{'dtype':'U8','data_offsets':[0,1]}}", 1, TARE_E_FIELD},
        {"no offsets", "{^'a':{'dtype':'U8','shape':[1]}}", 1, TARE_E_FIELD},
        {"a member in another case", "{^'a':{'Dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1,
         TARE_E_FIELD},
        {"a member that is nearly one",
         "{^'a':{'dtypf':'U8','shape':[1],'data_offsets':[0,1]}}                    ", 1,
         TARE_E_FIELD},
        {"another that is nearly one",
         "{^'a':{'dtypd':'U8','shape':[1],'data_offsets':[0,1]}}                    ", 1,
         TARE_E_FIELD},
        {"of a later tensor", "{'a':" ONE ",^'b':{'dtype':'U8','shape':[1]}}", 2, TARE_E_FIELD},
        {"dtype twice", "{'a':{'dtype':'U8',^'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1,
         TARE_E_FIELD},
        {"shape twice", "{'a':{'dtype':'U8','shape':[1],^'shape':[1],'data_offsets':[0,1]}}", 1,
         TARE_E_FIELD},
        {"offsets twice",
         "{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1],^'data_offsets':[0,1]}}", 1,
         TARE_E_FIELD},
        {"twice, once escaped",
         "{'a':{'dtype':'U8',^'\\u0064type':'U8','shape':[1],'data_offsets':[0,1]}}", 1,
         TARE_E_FIELD},
        {"ends", "{'a':^", 0, TARE_E_JSON},
        {"members escaped",
         "{'a':{'d\\u0074ype':'U8','sh\\u0061pe':[1],'data\\u005foffsets':[0,1]}}", 1, TARE_OK},
        {"unknown members",
         "{'a':{'x':1,'dtype':'U8','y':[],'shape':[1],'data_offsets':[0,1],'z':"
         "{'dtype':'F4'}}}",
         1, TARE_OK},
        {"unknown members twice",
         "{'a':{'x':1,'x':2,'dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_dtype_is_one_of_22_strings)
{
#define DTYPE(text) "{'a':" INFO(text, "[1]", "[0,1]") "}"
    static const damage rows[] = {
        {"F128", DTYPE("^'F128'"), 1, TARE_E_DTYPE},
        {"in lower case", DTYPE("^'u8'"), 1, TARE_E_DTYPE},
        {"empty", DTYPE("^''"), 1, TARE_E_DTYPE},
        {"U", DTYPE("^'U'"), 1, TARE_E_DTYPE},
        {"U88", DTYPE("^'U88'"), 1, TARE_E_DTYPE},
        {"with a space", DTYPE("^'U8 '"), 1, TARE_E_DTYPE},
        {"with a zero byte", DTYPE("^'U8\\u0000'"), 1, TARE_E_DTYPE},
        {"Q4_0", DTYPE("^'Q4_0'"), 1, TARE_E_DTYPE},
        {"F8_E4M3FN", DTYPE("^'F8_E4M3FN'"), 1, TARE_E_DTYPE},
        {"a long one", DTYPE("^'F8_E4M3FNUZF8_E4M3FNUZF8_E4M3FNUZ'"), 1, TARE_E_DTYPE},
        {"a number", DTYPE("^1"), 1, TARE_E_DTYPE},
        {"null", DTYPE("^null"), 1, TARE_E_DTYPE},
        {"an array", DTYPE("^['U8']"), 1, TARE_E_DTYPE},
        {"an object", DTYPE("^{'U8':null}"), 1, TARE_E_DTYPE},
        {"a long one that goes on as a shape",
         "{'a':{'dtype':^'ABCDEFGHIJKL1],'data_offsets':[0,0]},'b':" ONE "}", 1, TARE_E_DTYPE},
        {"an endless one",
         "{'a':{'dtype':^'U8 and no quote behind it, nor any other byte that may end "
         "a name or a text",
         0, TARE_E_JSON},
        {"with an escape in it", DTYPE("^'X\\u0038'"), 1, TARE_E_DTYPE},
        {"escaped", DTYPE("'\\u0055\\u0038'"), 1, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_dtype_is_not_taken_for_one_seen_before)
{
#define BEHIND(first, text) \
    "{'a':" INFO(first, "[1]", "[0,1]") ",'b':" INFO(text, "[1]", "[1,2]") ",'c':" U8("[2,3]") "}"
    static const damage rows[] = {
        {"U88", BEHIND("'U8'", "^'U88'"), 3, TARE_E_DTYPE},
        {"U", BEHIND("'U8'", "^'U'"), 3, TARE_E_DTYPE},
        {"T8", BEHIND("'U8'", "^'T8'"), 3, TARE_E_DTYPE},
        {"V8", BEHIND("'U8'", "^'V8'"), 3, TARE_E_DTYPE},
        {"U8 and a space", BEHIND("'U8'", "^'U8 '"), 3, TARE_E_DTYPE},
        {"F8_E4M", BEHIND("'F8_E4M3'", "^'F8_E4M'"), 3, TARE_E_DTYPE},
        {"F8_E4M3FN", BEHIND("'F8_E4M3'", "^'F8_E4M3FN'"), 3, TARE_E_DTYPE},
        {"F8_E4M3FNUZ", BEHIND("'F8_E4M3'", "'F8_E4M3FNUZ'"), 3, TARE_OK},
        {"F8_E4M3", BEHIND("'F8_E4M3FNUZ'", "'F8_E4M3'"), 3, TARE_OK},
        {"I8", BEHIND("'U8'", "'I8'"), 3, TARE_OK},
    };
    DAMAGE_CHECK(rows);
    for (tare_dtype first = TARE_DTYPE_BOOL; first <= TARE_DTYPE_U64; first++)
        for (tare_dtype second = TARE_DTYPE_BOOL; second <= TARE_DTYPE_U64; second++) {
            static const char *const names[] = {"a", "b", "c", "d", "e"};
            tare_dtype dtypes[] = {first, second, TARE_DTYPE_U8, second, first};
            build_tensor tensors[5] = {{0}};
            for (size_t i = 0; i < 5; i++) /* eight elements are as many bytes as one has bits */
                tensors[i] = (build_tensor){.name = names[i],
                                            .dtype = tare_dtype_name(dtypes[i]),
                                            .shape = "[8]",
                                            .size = tare_dtype_bits(dtypes[i])};
            build_text file = build_file(tensors, 5, NULL);
            tare_model *model;
            tare_error error;
            tare_status status = damage_open(&file, &model, &error);
            expect_opened(tensors[1].dtype, status, model, &error);
            for (size_t i = 0; i < 5; i++)
                cr_expect_eq(tare_describe(model, tare_at(model, i)).dtype, dtypes[i],
                             "%s at %zu of %s and %s", tensors[i].dtype, i, tensors[0].dtype,
                             tensors[1].dtype);
            tare_close(model);
            build_free(&file);
        }
}

Test(parse_safetensors, s_int_shapes_are_arrays_of_integers_below_2_to_the_64)
{
#define SHAPE(text) "{'a':" INFO("'U8'", text, "[0,1]") "}"
    static const damage rows[] = {
        {"a fraction", SHAPE("[^1.0]"), 1, TARE_E_SHAPE},
        {"an exponent", SHAPE("[^1e0]"), 1, TARE_E_SHAPE},
        {"an exponent in capitals", SHAPE("[^1E0]"), 1, TARE_E_SHAPE},
        {"a negative one", SHAPE("[^-1]"), 1, TARE_E_SHAPE},
        {"minus zero", SHAPE("[^-0]"), 1, TARE_E_SHAPE},
        {"a minus", SHAPE("[^-]"), 1, TARE_E_SHAPE},
        {"a plus", SHAPE("[^+1]"), 1, TARE_E_SHAPE},
        {"a leading zero", SHAPE("[^01]"), 1, TARE_E_SHAPE},
        {"two zeros", SHAPE("[^00]"), 1, TARE_E_SHAPE},
        {"a string", SHAPE("[^'1']"), 1, TARE_E_SHAPE},
        {"null", SHAPE("[^null]"), 1, TARE_E_SHAPE},
        {"true", SHAPE("[^true]"), 1, TARE_E_SHAPE},
        {"an array", SHAPE("[^[1]]"), 1, TARE_E_SHAPE},
        {"NaN", SHAPE("[^NaN]"), 1, TARE_E_SHAPE},
        {"2^64", SHAPE("[^18446744073709551616]"), 1, TARE_E_SHAPE},
        {"2^64 and nine more", SHAPE("[^18446744073709551625]"), 1, TARE_E_SHAPE},
        {"10^40", SHAPE("[^10000000000000000000000000000000000000000]"), 1, TARE_E_SHAPE},
        {"the second one", SHAPE("[1,^x]"), 1, TARE_E_SHAPE},
        {"no array", SHAPE("^1"), 1, TARE_E_SHAPE},
        {"null for an array", SHAPE("^null"), 1, TARE_E_SHAPE},
        {"an object", SHAPE("^{}"), 1, TARE_E_SHAPE},
        {"a comma behind", SHAPE("[1,^]"), 1, TARE_E_SHAPE},
        {"no comma", SHAPE("[1 ^1]"), 1, TARE_E_JSON},
        {"hexadecimal", SHAPE("[0^x1]"), 1, TARE_E_JSON},
        {"a letter beside that of exponents", SHAPE("[1^d]"), 1, TARE_E_JSON},
        {"a capital beside it", SHAPE("[1^F]"), 1, TARE_E_JSON},
        {"of a tensor with spaces", "{'a':{ 'dtype':'U8','shape':[ ^-1 ],'data_offsets':[0,1]}}", 1,
         TARE_E_SHAPE},
        {"no end", "{'a':{'dtype':'U8','shape':[1^", 0, TARE_E_JSON},
        {"nothing behind the comma", "{'a':{'dtype':'U8','shape':[1,^", 0, TARE_E_SHAPE},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_int_offsets_are_two_integers_below_2_to_the_64)
{
#define OFFSETS(text) "{'a':" U8(text) "}"
    static const damage rows[] = {
        {"none", OFFSETS("[^]"), 1, TARE_E_OFFSETS},
        {"one", OFFSETS("[0^]"), 1, TARE_E_OFFSETS},
        {"three", OFFSETS("[0,1^,2]"), 1, TARE_E_OFFSETS},
        {"a comma behind", OFFSETS("[0,1^,]"), 1, TARE_E_OFFSETS},
        {"no comma", OFFSETS("[0 ^1]"), 1, TARE_E_OFFSETS},
        {"a negative one", OFFSETS("[^-1,0]"), 1, TARE_E_OFFSETS},
        {"minus zero", OFFSETS("[^-0,1]"), 1, TARE_E_OFFSETS},
        {"a fraction", OFFSETS("[^0.0,1]"), 1, TARE_E_OFFSETS},
        {"an exponent", OFFSETS("[0,^1e0]"), 1, TARE_E_OFFSETS},
        {"a string", OFFSETS("[0,^'1']"), 1, TARE_E_OFFSETS},
        {"null", OFFSETS("[0,^null]"), 1, TARE_E_OFFSETS},
        {"2^64", OFFSETS("[0,^18446744073709551616]"), 1, TARE_E_OFFSETS},
        {"a leading zero", OFFSETS("[^00,1]"), 1, TARE_E_OFFSETS},
        {"an object", OFFSETS("^{'begin':0,'end':1}"), 1, TARE_E_OFFSETS},
        {"a number", OFFSETS("^1"), 1, TARE_E_OFFSETS},
        {"an array of an array", OFFSETS("[^[0,1]]"), 1, TARE_E_OFFSETS},
        {"no end", "{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1^", 0, TARE_E_OFFSETS},
        {"s_contig: reversed", OFFSETS("^[1,0]"), 1, TARE_E_OFFSETS},
        {"s_contig: reversed at the top", OFFSETS("^[18446744073709551615,0]"), 1, TARE_E_OFFSETS},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_ovf_refuses_shapes_of_more_than_2_to_the_64_bits)
{
#define SIZED(dtype, shape, offsets) "{'a':" INFO("'" dtype "'", shape, offsets) "}"
    static const damage rows[] = {
        {"a product", SIZED("U8", "^[4294967296,4294967296]", "[0,0]"), 0, TARE_E_OVERFLOW},
        {"a product that wraps to 4", SIZED("F32", "^[4611686018427387905,4]", "[0,16]"), 16,
         TARE_E_OVERFLOW},
        {"the bits", SIZED("U8", "^[2305843009213693952]", "[0,0]"), 0, TARE_E_OVERFLOW},
        {"the highest dimension", SIZED("U8", "^[18446744073709551615]", "[0,0]"), 0,
         TARE_E_OVERFLOW},
        {"before a zero", SIZED("U8", "^[18446744073709551615,2,0]", "[0,0]"), 0, TARE_E_OVERFLOW},
        {"of 4 bits", SIZED("F4", "^[4611686018427387904]", "[0,0]"), 0, TARE_E_OVERFLOW},
        {"behind a zero", SIZED("U8", "[0,18446744073709551615,2]", "[0,0]"), 0, TARE_OK},
        {"as many bits as there may be",
         SIZED("U8", "[2305843009213693951]", "^[0,2305843009213693950]"), 0, TARE_E_SIZE},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_subbyte_refuses_tensors_that_end_within_a_byte)
{
    static const damage rows[] = {
        {"F4 of 1", SIZED("F4", "^[1]", "[0,0]"), 0, TARE_E_SUBBYTE},
        {"F4 of 3", SIZED("F4", "^[3]", "[0,2]"), 2, TARE_E_SUBBYTE},
        {"F4 scalar", SIZED("F4", "^[]", "[0,1]"), 1, TARE_E_SUBBYTE},
        {"F6_E2M3 of 1", SIZED("F6_E2M3", "^[1]", "[0,1]"), 1, TARE_E_SUBBYTE},
        {"F6_E2M3 of 2", SIZED("F6_E2M3", "^[2]", "[0,1]"), 1, TARE_E_SUBBYTE},
        {"F6_E3M2 of 3", SIZED("F6_E3M2", "^[3]", "[0,2]"), 2, TARE_E_SUBBYTE},
        {"F6_E3M2 of 5", SIZED("F6_E3M2", "^[5]", "[0,3]"), 3, TARE_E_SUBBYTE},
        {"F4 of 2", SIZED("F4", "[2]", "[0,1]"), 1, TARE_OK},
        {"F4 of 3 times 2", SIZED("F4", "[3,2]", "[0,3]"), 3, TARE_OK},
        {"F6_E2M3 of 4", SIZED("F6_E2M3", "[4]", "[0,3]"), 3, TARE_OK},
        {"F6_E3M2 of 0", SIZED("F6_E3M2", "[0]", "[0,0]"), 0, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_size_refuses_offsets_that_disagree_with_the_shape)
{
    static const damage rows[] = {
        {"one less", SIZED("U8", "[2]", "^[0,1]"), 1, TARE_E_SIZE},
        {"one more", SIZED("U8", "[2]", "^[0,3]"), 3, TARE_E_SIZE},
        {"none", SIZED("U8", "[2]", "^[0,0]"), 0, TARE_E_SIZE},
        {"a zero dimension with bytes", SIZED("U8", "[2,0]", "^[0,2]"), 2, TARE_E_SIZE},
        {"a scalar without bytes", SIZED("F32", "[]", "^[0,0]"), 0, TARE_E_SIZE},
        {"another dtype", SIZED("F64", "[2]", "^[0,8]"), 8, TARE_E_SIZE},
        {"all there are", SIZED("U8", "[1]", "^[0,18446744073709551615]"), 1, TARE_E_SIZE},
        {"spaces", "{'a':{'data_offsets': ^[0,1],'shape':[2],'dtype':'U8'}}", 1, TARE_E_SIZE},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_contig_refuses_holes_and_overlaps)
{
    static const damage rows[] = {
        {"a hole in front", "{^'a':" U8("[1,2]") "}", 2, TARE_E_LAYOUT},
        {"a hole between", "{'a':" ONE ",^'b':" U8("[2,3]") "}", 3, TARE_E_LAYOUT},
        {"a hole between, unsorted", "{^'b':" U8("[2,3]") ",'a':" ONE "}", 3, TARE_E_LAYOUT},
        {"an overlap", "{'a':" INFO("'U8'", "[2]", "[0,2]") ",^'b':" U8("[1,2]") "}", 2,
         TARE_E_LAYOUT},
        {"two of one range", "{'a':" ONE ",^'b':" ONE "}", 1, TARE_E_LAYOUT},
        {"an overlap of escaped names", "{'\\u0061b':" ONE ",^'\\u0063d':" ONE "}", 1,
         TARE_E_LAYOUT},
        {"an empty one inside another",
         "{'a':" INFO("'U8'", "[2]", "[0,2]") ",^'b':" INFO("'U8'", "[0]", "[1,1]") "}", 2,
         TARE_E_LAYOUT},
        {"an empty one in front", "{'a':" ONE ",'b':" INFO("'U8'", "[0]", "[0,0]") "}", 1, TARE_OK},
        {"a header of 128 bytes, and none behind",
         "{'a':{'dtype':'U8','shape':[0],'data_offsets':[0,0]}}           "
         "                                                                ",
         0, TARE_OK},
        {"an empty one behind", "{'b':" INFO("'U8'", "[0]", "[1,1]") ",'a':" ONE "}", 1, TARE_OK},
        {"s_sort: any order", "{'c':" U8("[2,3]") ",'a':" ONE ",'b':" U8("[1,2]") "}", 3, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_cover_refuses_data_of_another_size_than_the_tensors)
{
    static const damage rows[] = {
        {"a byte too few", "{'a':" U8("^[0,1]") "}", 0, TARE_E_COVER},
        {"a byte too few of the second", "{'a':" ONE ",'b':" U8("^[1,2]") "}", 1, TARE_E_COVER},
        {"a byte too few, with spaces", "{'a':{'data_offsets': ^[0,1],'shape':[1],'dtype':'U8'}}",
         0, TARE_E_COVER},
        {"far too few",
         "{'a':" INFO("'U8'", "[2305843009213693951]", "^[0,2305843009213693951]") "}", 1,
         TARE_E_COVER},
        {"an empty one beyond the end", "{'a':" ONE ",'b':" INFO("'U8'", "[0]", "^[2,2]") "}", 1,
         TARE_E_COVER},
        {"the highest offset", "{'a':" U8("^[18446744073709551614,18446744073709551615]") "}", 1,
         TARE_E_COVER},
        {"a byte too many", "{'a':" ONE "}^^", 2, TARE_E_COVER},
        {"many too many", "{'a':" ONE "}^^", 900, TARE_E_COVER},
        {"bytes and no tensor", "{}^", 1, TARE_E_COVER},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, s_dup_refuses_names_that_are_there_twice)
{
    static const damage rows[] = {
        {"a tensor", "{'a':" ONE ",^'a':" U8("[1,2]") "}", 2, TARE_E_DUPLICATE},
        {"a tensor, the later data first", "{^'a':" U8("[1,2]") ",'a':" ONE "}", 2,
         TARE_E_DUPLICATE},
        {"a tensor, once escaped", "{'a':" ONE ",^'\\u0061':" U8("[1,2]") "}", 2, TARE_E_DUPLICATE},
        {"an escape of another kind", "{'/':" ONE ",^'\\/':" U8("[1,2]") "}", 2, TARE_E_DUPLICATE},
        {"an empty tensor and one with data", "{'a':" INFO("'U8'", "[0]", "[0,0]") ",^'a':" ONE "}",
         1, TARE_E_DUPLICATE},
        {"a tensor of one range", "{'a':" ONE ",^'a':" ONE "}", 1, TARE_E_DUPLICATE},
        {"a tensor that overlaps itself",
         "{'b':" U8("[2,3]") ",'a':" INFO("'U8'", "[2]", "[0,2]") ",^'a':" U8("[1,2]") "}", 3,
         TARE_E_DUPLICATE},
        {"a tensor that overlaps itself, behind others",
         "{'z':" ONE
         ",'y':" U8("[1,2]") ",'a':" INFO("'U8'", "[2]", "[2,4]") ",^'a':" U8("[3,4]") "}",
         4, TARE_E_DUPLICATE},
        {"two empty names", "{'':" ONE ",^'':" U8("[1,2]") "}", 2, TARE_E_DUPLICATE},
        {"a key of metadata", "{'__metadata__':{'k':'a',^'k':'a'}}", 0, TARE_E_DUPLICATE},
        {"a key of metadata, escaped",
         "{'__metadata__':{'k':'a','l':'','\\u006d':'',^'\\u006b':'b'"
         "}}",
         0, TARE_E_DUPLICATE},
        {"metadata", "{'__metadata__':{},^'__metadata__':{}}", 0, TARE_E_DUPLICATE},
        {"metadata that is null", "{'__metadata__':null,^'__metadata__':null}", 0,
         TARE_E_DUPLICATE},
        {"names in two cases", "{'a':" ONE ",'A':" U8("[1,2]") "}", 2, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_safetensors, messages_tell_the_numbers_that_disagree)
{
    static const struct {
        const char *header, *says;
        size_t data_size;
    } rows[] = {
        {"{'a':" ONE ",'b':" INFO("'U8'", "[5]", "[1,3]") "}",
         "tensor 'b': its shape takes 5 bytes, its offsets 2", 3},
        {"{'a':" ONE ",'b':" U8("[1,2]") "}",
         "tensor 'b': it ends at 2, the data section has 1 bytes (cut short?)", 1},
        {"{'a':" ONE ",'b':" U8("[1,2]") "}",
         "the tensors end at 2, the data section has 7 bytes: 5 belong to none", 7},
        {"{'a':" ONE ",'b':" U8("[3,4]") "}",
         "tensor 'b': it begins at 3, behind a hole that starts at 1", 4},
        {"{'a':" INFO("'U8'", "[3]", "[0,3]") ",'b':" U8("[1,2]") "}",
         "tensor 'b': it begins at 1, inside a tensor that ends at 3", 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t mark;
        build_text header = build_marked(rows[i].header, &mark);
        build_text file = build_raw(header.data, header.size, rows[i].data_size);
        tare_model *model;
        tare_error error;
        cr_expect_neq(damage_open(&file, &model, &error), TARE_OK);
        expect_message(rows[i].says, rows[i].says, &error);
        build_free(&file);
        build_free(&header);
    }
}

/* By where they begin, those without bytes before what begins there, and in the header's order. */
Test(parse_safetensors, tensors_come_in_the_order_of_their_bytes)
{
#define EMPTY(offsets) INFO("'U8'", "[0]", offsets)
    static const char names[] = "awxyvbzc", wanted_offsets[] = "01111122";
    size_t mark;
    build_text header = build_marked(
        "{'z':" EMPTY("[2,2]") ",'c':" U8("[2,3]") ",'w':" EMPTY("[1,1]") ",'x':" EMPTY(
            "[1,1]") ",'a':" ONE
                     ",'b':" U8("[1,2]") ",'y':" EMPTY("[1,1]") ",'v':" EMPTY("[1,1]") "}",
        &mark);
    build_text file = build_raw(header.data, header.size, 3);
    tare_model *model;
    tare_error error;
    tare_status status = damage_open(&file, &model, &error);
    expect_opened("any order", status, model, &error);
    cr_assert_eq(tare_count(model), 8);
    for (size_t i = 0; i < 8; i++) {
        tare_string name = tare_name(model, tare_at(model, i));
        cr_expect(name.size == 1 && name.data[0] == names[i], "%zu: %s", i, name.data);
        cr_expect_eq(tare_offset(model, tare_at(model, i)),
                     8 + header.size + (size_t)(wanted_offsets[i] - '0'), "%zu", i);
    }
    tare_close(model);
    build_free(&file);
    build_free(&header);
}
