/* The header of one GGUF file: each check of docs/format_gguf.md, by its number, with the status
 * and the place of its error. */
#include <stdio.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/damage.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/reader_probe.h"

#define TWO_63 "9223372036854775808"
#define TWO_63_LESS_1 "9223372036854775807"

Test(parse_gguf, g_1_files_are_told_by_their_first_four_bytes)
{
    static const gguf_damage rows[] = {
        {"nothing but the magic", "'GGUF' ^", TARE_E_TRUNCATED},
        {"in lower case", "^'gguf' 4:3 8:0 8:0", TARE_E_HEADER_SIZE},
        {"swapped", "^'FUGG' 4:3 8:0 8:0", TARE_E_FORMAT},
        {"of an older format", "^'tjgg' 4:3 8:0 8:0", TARE_E_FORMAT},
        {"the least file", GGUF_HEAD("0", "0"), TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_2_versions_2_and_3_are_read)
{
    static const gguf_damage rows[] = {
        {"version 0", "'GGUF' ^4:0 8:0 8:0", TARE_E_VERSION},
        {"version 1", "'GGUF' ^4:1 8:0 8:0", TARE_E_VERSION},
        {"version 1 as it was", "'GGUF' ^4:1 4:0 4:0", TARE_E_VERSION},
        {"version 2", "'GGUF' 4:2 8:0 8:0", TARE_OK},
        {"version 4", "'GGUF' ^4:4 8:0 8:0", TARE_E_VERSION},
        {"version 0xFFFF", "'GGUF' ^4:65535 8:0 8:0", TARE_E_VERSION},
        {"version 0x10000", "'GGUF' ^4:65536 8:0 8:0", TARE_E_ENDIAN},
        {"big-endian 2", "'GGUF' ^4:33554432 8:0 8:0", TARE_E_ENDIAN},
        {"big-endian 3", "'GGUF' ^4:50331648 8:0 8:0", TARE_E_ENDIAN},
        {"big-endian 1", "'GGUF' ^4:16777216 8:0 8:0", TARE_E_ENDIAN},
        {"the highest", "'GGUF' ^4:4294967295 8:0 8:0", TARE_E_VERSION},
        {"cut", "'GGUF' ^2:3", TARE_E_TRUNCATED},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_2_old_and_big_endian_files_have_messages_of_their_own)
{
    static const struct {
        const char *words, *says;
    } files[] = {
        {"'GGUF' 4:1 4:0 4:0", "version 1"},
        {"'GGUF' 4:50331648 8:0 8:0", "big-endian"},
        {"'GGUF' 4:7 8:0 8:0", "version 7"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        build_text file = gguf_text(files[i].words, NULL);
        tare_model *model;
        tare_error error;
        cr_expect_neq(damage_open(&file, &model, &error), TARE_OK);
        expect_message(files[i].says, files[i].says, &error);
        build_free(&file);
    }
}

Test(parse_gguf, g_3_counts_are_no_more_than_the_file_can_hold)
{
    static const gguf_damage rows[] = {
        {"no counts", "'GGUF' 4:3 ^", TARE_E_TRUNCATED},
        {"a count cut", "'GGUF' 4:3 ^7:0", TARE_E_TRUNCATED},
        {"one count", "'GGUF' 4:3 8:0 ^", TARE_E_TRUNCATED},
        {"a tensor in nothing", "'GGUF' 4:3 ^8:1 8:0", TARE_E_TRUNCATED},
        {"an entry in nothing", "'GGUF' 4:3 8:0 ^8:1", TARE_E_TRUNCATED},
        {"-1 tensors", "'GGUF' 4:3 ^8:-1 8:0 d64", TARE_E_TRUNCATED},
        {"-1 entries", "'GGUF' 4:3 8:0 ^8:-1 d64", TARE_E_TRUNCATED},
        {"2^63 tensors", "'GGUF' 4:3 ^8:" TWO_63 " 8:0 d64", TARE_E_TRUNCATED},
        {"2^60 entries", "'GGUF' 4:3 8:0 ^8:1152921504606846976 d64", TARE_E_TRUNCATED},
        {"a tensor too many", "'GGUF' 4:3 ^8:3 8:0 d63", TARE_E_TRUNCATED},
        {"an entry too many", "'GGUF' 4:3 8:0 ^8:5 d64", TARE_E_TRUNCATED},
    };
    GGUF_DAMAGE_CHECK(rows);
}

#define AN_ENTRY GGUF_HEAD("0", "1")

Test(parse_gguf, g_4_strings_end_within_the_file)
{
    static const gguf_damage rows[] = {
        {"a key a byte too long", AN_ENTRY "^8:6 'abcde'", TARE_E_TRUNCATED},
        {"a key of 1 GiB", AN_ENTRY "^8:1073741824 d64", TARE_E_TRUNCATED},
        {"a key of more", AN_ENTRY "^8:1073741825 d64", TARE_E_LIMIT},
        {"a key of 2^63", AN_ENTRY "^8:" TWO_63 " d64", TARE_E_LIMIT},
        {"a key of 2^64-1", AN_ENTRY "^8:-1 d64", TARE_E_LIMIT},
        {"a size cut", AN_ENTRY "\"a key\" 4:8 ^7:0", TARE_E_TRUNCATED},
        {"a value a byte too long", AN_ENTRY "\"a key\" 4:8 ^8:6 'abcde'", TARE_E_TRUNCATED},
        {"a value of 2^64-1", AN_ENTRY "\"a key\" 4:8 ^8:-1 'abcde'", TARE_E_LIMIT},
        {"a value up to the end", AN_ENTRY "\"a key\" 4:8 8:5 'abcde'", TARE_OK},
        {"an empty value", AN_ENTRY "\"a key\" 4:8 8:0", TARE_OK},
        {"an item too long", AN_ENTRY "\"a key\" 4:9 4:8 8:2 \"x\" ^8:4 'abc'", TARE_E_TRUNCATED},
        {"an item beyond", AN_ENTRY "\"k\" 4:9 4:8 8:2 \"a long item\" ^", TARE_E_TRUNCATED},
        {"an item of 2^64-1", AN_ENTRY "\"k\" 4:9 4:8 8:2 ^8:-1 8:0", TARE_E_LIMIT},
        {"an item of 2^64-8", AN_ENTRY "\"k\" 4:9 4:8 8:2 ^8:-8 8:0", TARE_E_LIMIT},
        {"a name too long", GGUF_HEAD("1", "0") "^8:17 4:0 4:0 8:0", TARE_E_TRUNCATED},
        {"a name of 2^64-1", GGUF_HEAD("1", "0") "^8:-1 4:0 4:0 8:0", TARE_E_LIMIT},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_5_keys_are_not_empty_and_there_once)
{
    static const gguf_damage rows[] = {
        {"an empty one", AN_ENTRY "^\"\" 4:0 1:0", TARE_E_METADATA},
        {"an empty one behind", GGUF_HEAD("0", "2") GGUF_U32("a", "1") "^\"\" 4:0 1:0",
         TARE_E_METADATA},
        {"twice", GGUF_HEAD("0", "2") GGUF_U32("a", "1") "^" GGUF_U32("a", "1"), TARE_E_DUPLICATE},
        {"twice of two kinds",
         GGUF_HEAD("0", "3") GGUF_U32("a", "1") GGUF_U32("b", "1") "^" GGUF_TEXT("a", "1"),
         TARE_E_DUPLICATE},
        {"in two cases", GGUF_HEAD("0", "2") GGUF_U32("a", "1") GGUF_U32("A", "1"), TARE_OK},
        {"with spaces and capitals", AN_ENTRY GGUF_U32("A Key!", "1"), TARE_OK},
        {"a long one", AN_ENTRY "70000\"x\" 4:0 1:0", TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_6_kinds_are_known_and_arrays_hold_none)
{
    static const gguf_damage rows[] = {
        {"kind 13", AN_ENTRY "\"k\" ^4:13 8:0", TARE_E_METADATA},
        {"kind 2^32-1", AN_ENTRY "\"k\" ^4:-1 8:0", TARE_E_METADATA},
        {"kind 2^31", AN_ENTRY "\"k\" ^4:2147483648 8:0", TARE_E_METADATA},
        {"an array of kind 13", AN_ENTRY "\"k\" 4:9 ^4:13 8:0", TARE_E_METADATA},
        {"an array of arrays", AN_ENTRY "\"k\" 4:9 ^4:9 8:1 4:9 8:0", TARE_E_METADATA},
        {"an empty array of arrays", AN_ENTRY "\"k\" 4:9 ^4:9 8:0", TARE_E_METADATA},
        {"no kind", AN_ENTRY "\"abcdef\" ^3:0", TARE_E_TRUNCATED},
        {"no kind of items", AN_ENTRY "\"abcdef\" 4:9 ^", TARE_E_TRUNCATED},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_6_a_value_of_each_kind_ends_within_the_file)
{
    static const uint32_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (unsigned kind = 0; kind < 13; kind++) {
        if (sizes[kind] == 0) continue;
        char words[200], what[40];
        snprintf(what, sizeof what, "kind %u", kind);
        snprintf(words, sizeof words, AN_ENTRY "\"a key\" 4:%u %u:1", kind, sizes[kind]);
        const gguf_damage good = {what, words, TARE_OK};
        gguf_damage_check(&good, 1);
        char cut[200];
        snprintf(cut, sizeof cut, AN_ENTRY "\"a key\" 4:%u ^%u:1", kind, sizes[kind] - 1);
        const gguf_damage bad = {what, cut, TARE_E_TRUNCATED};
        gguf_damage_check(&bad, 1);
        snprintf(words, sizeof words, AN_ENTRY "\"k\" 4:9 4:%u 8:3 %u:1 %u:1 %u:1", kind,
                 sizes[kind], sizes[kind], sizes[kind]);
        gguf_damage_check(&good, 1);
        snprintf(cut, sizeof cut, AN_ENTRY "\"k\" 4:9 4:%u ^8:3 %u:1 %u:1 %u:1", kind, sizes[kind],
                 sizes[kind], sizes[kind] - 1);
        gguf_damage_check(&bad, 1);
    }
}

Test(parse_gguf, g_7_arrays_end_within_the_file)
{
    static const gguf_damage rows[] = {
        {"no count", AN_ENTRY "\"k\" 4:9 4:0 ^7:0", TARE_E_TRUNCATED},
        {"2^30 items", AN_ENTRY "\"k\" 4:9 4:0 ^8:1073741824 d64", TARE_E_TRUNCATED},
        {"more", AN_ENTRY "\"k\" 4:9 4:0 ^8:1073741825 d64", TARE_E_LIMIT},
        {"2^62 of 4 bytes", AN_ENTRY "\"k\" 4:9 4:4 ^8:4611686018427387904 d64", TARE_E_LIMIT},
        {"2^61+1 of 8 bytes", AN_ENTRY "\"k\" 4:9 4:11 ^8:2305843009213693953 d64", TARE_E_LIMIT},
        {"2^60 strings", AN_ENTRY "\"k\" 4:9 4:8 ^8:1152921504606846976 d64", TARE_E_LIMIT},
        {"2^64-1", AN_ENTRY "\"k\" 4:9 4:0 ^8:-1 d64", TARE_E_LIMIT},
        {"strings without room", AN_ENTRY "\"k\" 4:9 4:8 ^8:3 8:0 8:0 7:0", TARE_E_TRUNCATED},
        {"empty strings", AN_ENTRY "\"k\" 4:9 4:8 8:3 8:0 8:0 8:0", TARE_OK},
        {"none", AN_ENTRY "\"k\" 4:9 4:0 8:0", TARE_OK},
        {"no strings", AN_ENTRY "\"k\" 4:9 4:8 8:0", TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

#define ALIGNED(kind, value) GGUF_HEAD("0", "1") "\"general.alignment\" 4:" kind " ^" value

Test(parse_gguf, g_8_the_alignment_is_a_power_of_two_in_a_u32)
{
    static const gguf_damage rows[] = {
        {"0", ALIGNED("4", "4:0"), TARE_E_ALIGNMENT},
        {"3", ALIGNED("4", "4:3"), TARE_E_ALIGNMENT},
        {"24", ALIGNED("4", "4:24"), TARE_E_ALIGNMENT},
        {"2^32-1", ALIGNED("4", "4:4294967295"), TARE_E_ALIGNMENT},
        {"a u8", ALIGNED("0", "1:32"), TARE_E_ALIGNMENT},
        {"an i32", ALIGNED("5", "4:32"), TARE_E_ALIGNMENT},
        {"a u64", ALIGNED("10", "8:32"), TARE_E_ALIGNMENT},
        {"a string", GGUF_HEAD("0", "1") "\"general.alignment\" 4:8 8:2 ^'32'", TARE_E_ALIGNMENT},
        {"an array", GGUF_HEAD("0", "1") "\"general.alignment\" 4:9 4:4 8:1 ^4:32",
         TARE_E_ALIGNMENT},
        {"twice",
         GGUF_HEAD("0", "2")
             GGUF_U32("general.alignment", "32") "^" GGUF_U32("general.alignment", "64"),
         TARE_E_DUPLICATE},
        {"twice, the second none",
         GGUF_HEAD("0", "2")
             GGUF_U32("general.alignment", "32") "^" GGUF_U32("general.alignment", "3"),
         TARE_E_DUPLICATE},
        {"twice, the second of another kind",
         GGUF_HEAD("0", "2")
             GGUF_U32("general.alignment", "32") "^" GGUF_TEXT("general.alignment", "32"),
         TARE_E_DUPLICATE},
        {"twice, tensors by the first",
         GGUF_HEAD("2", "2")
             GGUF_U32("general.alignment", "8") "^" GGUF_U32("general.alignment", "32")
                 GGUF_TENSOR("a", "1", "24", "0") GGUF_TENSOR("b", "1", "24", "8") "p8 d9",
         TARE_E_DUPLICATE},
        {"1", ALIGNED("4", "4:1"), TARE_OK},
        {"2^31, where there is nothing to align", ALIGNED("4", "4:2147483648"), TARE_OK},
        {"a key that is longer", GGUF_HEAD("0", "1") GGUF_U32("general.alignments", "3"), TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

#define A_TENSOR GGUF_HEAD("1", "0")
#define TWO_TENSORS GGUF_HEAD("2", "0")

Test(parse_gguf, g_9_names_have_up_to_63_bytes_and_are_there_once)
{
    static const gguf_damage rows[] = {
        {"64 bytes", A_TENSOR "^64\"n\" 4:1 8:1 4:24 8:0 p32 d1", TARE_E_LIMIT},
        {"70,000 bytes", A_TENSOR "^70000\"n\" 4:1 8:1 4:24 8:0 p32 d1", TARE_E_LIMIT},
        {"63 bytes", A_TENSOR "63\"n\" 4:1 8:1 4:24 8:0 p32 d1", TARE_OK},
        {"an empty name", A_TENSOR "8:0 4:1 8:1 4:24 8:0 p32 d1", TARE_OK},
        {"twice",
         TWO_TENSORS GGUF_TENSOR("a", "1", "24", "0") "^" GGUF_TENSOR("a", "1", "24",
                                                                      "32") "p32 d64",
         TARE_E_DUPLICATE},
        {"in another case",
         TWO_TENSORS GGUF_TENSOR("a", "1", "24", "0") GGUF_TENSOR("A", "1", "24", "32") "p32 d64",
         TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_10_there_are_up_to_4_dimensions)
{
    static const gguf_damage rows[] = {
        {"5", A_TENSOR "\"a\" ^4:5 8:1 8:1 8:1 8:1 8:1 4:24 8:0 p32 d1", TARE_E_SHAPE},
        {"2^32-1", A_TENSOR "\"a\" ^4:-1 8:1 8:1 8:1 8:1 8:1 4:24 8:0 p32 d1", TARE_E_SHAPE},
        {"4", A_TENSOR "\"a\" 4:4 8:1 8:1 8:1 8:1 4:24 8:0 p32 d1", TARE_OK},
        {"none: a scalar", A_TENSOR "\"a\" 4:0 4:24 8:0 p32 d1", TARE_OK},
        {"cut", A_TENSOR "\"abcdefghi\" 4:4 8:1 ^7:1", TARE_E_TRUNCATED},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_11_dimensions_are_below_2_to_the_63)
{
    static const gguf_damage rows[] = {
        {"-1", A_TENSOR "\"a\" 4:1 ^8:-1 4:24 8:0 p32 d1", TARE_E_SHAPE},
        {"2^63", A_TENSOR "\"a\" 4:1 ^8:" TWO_63 " 4:24 8:0 p32 d1", TARE_E_SHAPE},
        {"the second", A_TENSOR "\"a\" 4:2 8:1 ^8:-1 4:24 8:0 p32 d1", TARE_E_SHAPE},
        {"behind a 0", A_TENSOR "\"a\" 4:2 8:0 ^8:-1 4:24 8:0 p32", TARE_E_SHAPE},
        {"2^63-1 behind a 0", A_TENSOR "\"a\" 4:2 8:0 8:" TWO_63_LESS_1 " 4:24 8:0 p32", TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_12_elements_are_below_2_to_the_63_less_1)
{
#define SHAPE_2(a, b) A_TENSOR "\"a\" 4:2 ^8:" a " 8:" b " 4:24 8:0 p32 d1"
    static const gguf_damage rows[] = {
        {"2^63-1", SHAPE_2(TWO_63_LESS_1, "1"), TARE_E_OVERFLOW},
        {"2^63-1 twice: below 0 if it wraps", SHAPE_2(TWO_63_LESS_1, "2"), TARE_E_OVERFLOW},
        {"2^32 twice: 0 if it wraps", SHAPE_2("4294967296", "4294967296"), TARE_E_OVERFLOW},
        {"2^62 twice", SHAPE_2("4611686018427387904", "2"), TARE_E_OVERFLOW},
        {"2^16 four times", A_TENSOR "\"a\" 4:4 ^8:65536 8:65536 8:65536 8:65536 4:24 8:0 p32 d1",
         TARE_E_OVERFLOW},
        {"wraps, then 0", A_TENSOR "\"a\" 4:3 8:4294967296 8:4294967296 8:0 4:24 8:0 p32", TARE_OK},
        {"0, then wraps", A_TENSOR "\"a\" 4:3 8:0 8:4294967296 8:4294967296 4:24 8:0 p32", TARE_OK},
        {"2^63-2: no overflow, but no such file",
         A_TENSOR "^\"a\" 4:1 8:9223372036854775806 4:24 8:0 "
                  "p32 d1",
         TARE_E_COVER},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_13_types_are_those_of_ggml)
{
    static const unsigned removed[] = {4, 5, 31, 32, 33, 36, 37, 38};
    char words[200];
    for (size_t i = 0; i < sizeof removed / sizeof removed[0]; i++) {
        snprintf(words, sizeof words, A_TENSOR "\"a\" 4:1 8:256 ^4:%u 8:0 p32 d512", removed[i]);
        const gguf_damage row = {"a type that was removed", words, TARE_E_DTYPE};
        gguf_damage_check(&row, 1);
    }
    static const gguf_damage rows[] = {
        {"43", A_TENSOR "\"a\" 4:1 8:256 ^4:43 8:0 p32 d512", TARE_E_DTYPE},
        {"-1", A_TENSOR "\"a\" 4:1 8:256 ^4:-1 8:0 p32 d512", TARE_E_DTYPE},
        {"2^31", A_TENSOR "\"a\" 4:1 8:256 ^4:2147483648 8:0 p32 d512", TARE_E_DTYPE},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_13_rows_are_whole_blocks)
{
    static const gguf_damage rows[] = {
        {"a row of 33", A_TENSOR "\"a\" 4:1 ^8:33 4:2 8:0 p32 d64", TARE_E_SUBBYTE},
        {"two rows of 16", A_TENSOR "\"a\" 4:2 ^8:16 8:2 4:2 8:0 p32 d64", TARE_E_SUBBYTE},
        {"255 of Q4_K", A_TENSOR "\"a\" 4:1 ^8:255 4:12 8:0 p32 d512", TARE_E_SUBBYTE},
        {"a scalar of Q4_0", A_TENSOR "\"a\" 4:0 ^4:2 8:0 p32 d64", TARE_E_SUBBYTE},
        {"no row of 33", A_TENSOR "\"a\" 4:2 ^8:33 8:0 4:2 8:0 p32", TARE_E_SUBBYTE},
        {"rows of 0", A_TENSOR "\"a\" 4:2 8:0 8:33 4:2 8:0 p32", TARE_OK},
        {"rows of 64", A_TENSOR "\"a\" 4:2 8:64 8:3 4:2 8:0 p32 d108", TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_14_and_16_sizes_fit_64_bits_with_their_padding)
{
    static const gguf_damage rows[] = {
        {"2^61 of 8 bytes", A_TENSOR "\"a\" 4:1 ^8:2305843009213693952 4:28 8:0 p32 d1",
         TARE_E_OVERFLOW},
        {"2^61-1 of 8 bytes: 0 if the padding wraps",
         A_TENSOR "\"a\" 4:1 8:2305843009213693951 4:28 ^8:0 p32 d1", TARE_E_OVERFLOW},
        {"a sum of 2^64",
         TWO_TENSORS GGUF_TENSOR("a", "33", "24", "0") "\"b\" 4:1 8:2305843009213693944 4:28 ^8:64",
         TARE_E_OVERFLOW},
        {"of 4 bytes", A_TENSOR "\"a\" 4:1 8:4611686018427387903 4:0 ^8:0 p32 d1", TARE_E_OVERFLOW},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_15_the_data_section_begins_within_the_file)
{
#define EMPTY "\"a\" 4:1 8:0 4:24 8:0 "
    static const gguf_damage rows[] = {
        {"no padding", A_TENSOR EMPTY "^", TARE_E_TRUNCATED},
        {"a byte less", A_TENSOR EMPTY "^d6", TARE_E_TRUNCATED},
        {"all of it", A_TENSOR EMPTY "p32", TARE_OK},
        {"none where there are no tensors", GGUF_HEAD("0", "1") GGUF_U32("a", "1"), TARE_OK},
        {"an alignment of 2^31",
         GGUF_HEAD("1", "1") GGUF_U32("general.alignment", "2147483648") EMPTY "^p32 d64",
         TARE_E_TRUNCATED},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_16_tensors_follow_each_other_with_padding_alone)
{
    static const gguf_damage rows[] = {
        {"the first not at 0", A_TENSOR "\"a\" 4:1 8:1 4:24 ^8:32 p32 d64", TARE_E_LAYOUT},
        {"a hole", TWO_TENSORS GGUF_TENSOR("a", "1", "24", "0") "\"b\" 4:1 8:1 4:24 ^8:64 p32 d128",
         TARE_E_LAYOUT},
        {"an overlap",
         TWO_TENSORS GGUF_TENSOR("a", "33", "24", "0") "\"b\" 4:1 8:1 4:24 ^8:32 p32 d128",
         TARE_E_LAYOUT},
        {"no padding",
         TWO_TENSORS GGUF_TENSOR("a", "1", "24", "0") "\"b\" 4:1 8:1 4:24 ^8:1 p32 d128",
         TARE_E_LAYOUT},
        {"out of order",
         TWO_TENSORS "\"a\" 4:1 8:1 4:24 ^8:32 " GGUF_TENSOR("b", "1", "24", "0") "p32 d64",
         TARE_E_LAYOUT},
        {"into the header", A_TENSOR "\"a\" 4:1 8:1 4:24 ^8:-64 p32 d64", TARE_E_LAYOUT},
        {"with padding",
         TWO_TENSORS GGUF_TENSOR("a", "33", "24", "0") GGUF_TENSOR("b", "1", "24", "64") "p32 d65",
         TARE_OK},
        {"behind an empty one",
         TWO_TENSORS GGUF_TENSOR("a", "0", "24", "0") GGUF_TENSOR("b", "1", "24", "0") "p32 d1",
         TARE_OK},
        {"cut", A_TENSOR "\"abcdefgh\" 4:0 4:24 ^7:0", TARE_E_TRUNCATED},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, g_18_every_tensor_is_inside_the_file)
{
    static const gguf_damage rows[] = {
        {"a byte less", A_TENSOR "^" GGUF_TENSOR("a", "4", "24", "0") "p32 d3", TARE_E_COVER},
        {"nothing", A_TENSOR "^" GGUF_TENSOR("a", "1", "24", "0") "p32", TARE_E_COVER},
        {"the second",
         TWO_TENSORS GGUF_TENSOR("a", "32", "24", "0") "^" GGUF_TENSOR("b", "4", "24",
                                                                       "32") "p32 d35",
         TARE_E_COVER},
        {"beyond 64 TiB", A_TENSOR "^" GGUF_TENSOR("a", "1125899906842624", "24", "0") "p32 d3",
         TARE_E_COVER},
        {"the first of two",
         TWO_TENSORS "^" GGUF_TENSOR("a", "32", "24", "0")
             GGUF_TENSOR("b", "4", "24", "32") "p32 d31",
         TARE_E_COVER},
        {"the first of two, of which the second alone is longer than the file",
         TWO_TENSORS "^" GGUF_TENSOR("a", "40", "24", "0")
             GGUF_TENSOR("b", "1000000", "24", "64") "p32 d39",
         TARE_E_COVER},
        {"an empty one at the end of the file, behind one that is too long",
         TWO_TENSORS "^" GGUF_TENSOR("a", "160", "24", "0")
             GGUF_TENSOR("b", "0", "24", "160") "p32 d64",
         TARE_E_COVER},
        {"after 13: the type of a later one",
         TWO_TENSORS GGUF_TENSOR("a", "4096", "24", "0") "\"b\" 4:1 8:1 ^4:99 8:4096 p32 d1",
         TARE_E_DTYPE},
        {"after 16: the offset of a later one",
         TWO_TENSORS GGUF_TENSOR("a", "4096", "24", "0") "\"b\" 4:1 8:1 4:24 ^8:32 p32 d64",
         TARE_E_LAYOUT},
        {"after 15: where data begins", A_TENSOR GGUF_TENSOR("a", "4096", "24", "0") "^",
         TARE_E_TRUNCATED},
        {"without the last padding", A_TENSOR GGUF_TENSOR("a", "4", "24", "0") "p32 d4", TARE_OK},
        {"bytes behind", A_TENSOR GGUF_TENSOR("a", "4", "24", "0") "p32 d400", TARE_OK},
    };
    GGUF_DAMAGE_CHECK(rows);
}

Test(parse_gguf, every_good_file_is_refused_wherever_it_is_cut)
{
    build_text whole = gguf_text(
        GGUF_HEAD("2", "3") GGUF_TEXT("a", "text") "\"b\" 4:9 4:8 8:2 \"x\" \"yy\" " GGUF_U32(
            "general.alignment", "16") "\"t\" 4:2 8:2 8:3 4:1 8:0 " GGUF_TENSOR("u", "5", "24",
                                                                                "16") "p16 d21",
        NULL);
    tare_model *model;
    tare_error error;
    cr_assert_eq(damage_open(&whole, &model, &error), TARE_OK, "%s", error.message);
    tare_close(model);
    for (size_t size = 0; size < whole.size; size++) {
        build_text cut = {whole.data, size, size};
        tare_status status = damage_open(&cut, &model, &error);
        cr_expect(status == TARE_E_TRUNCATED || (status == TARE_E_COVER && size > 24), "%zu: %s",
                  size, tare_status_name(status));
    }
    build_free(&whole);
}

Test(parse_gguf, shapes_are_turned_round_and_offsets_count_from_the_file)
{
    build_text file;
    tare_model *model =
        gguf_open(GGUF_HEAD("4", "1") GGUF_U32("general.alignment",
                                               "64") "\"a\" 4:2 8:4 8:3 4:0 8:0 \"b\" 4:4 8:32 8:2 "
                                                     "8:1 8:5 4:2 8:64 \"c\" 4:0 4:28 8:256 "
                                                     "\"d\" 4:1 8:0 4:30 8:320 p64 d320",
                  &file);
    static const uint64_t a[] = {3, 4}, b[] = {5, 1, 2, 32}, d[] = {0};
    uint64_t data = tare_shard_at(model, 0).data_offset;
    cr_expect_eq(data % 64, 0);
    cr_expect_eq(tare_shard_at(model, 0).format, TARE_FORMAT_GGUF);
    expect_tensor("a", model, 0, "a", 1, "F32", a, 2, data, 48);
    expect_tensor("b", model, 1, "b", 1, "Q4_0", b, 4, data + 64, 180);
    expect_tensor("c", model, 2, "c", 1, "F64", NULL, 0, data + 256, 8);
    expect_tensor("d", model, 3, "d", 1, "BF16", d, 1, data + 320, 0);
    for (size_t i = 0; i < 4; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        expect_bytes("bytes", model, tensor, file.data + tare_offset(model, tensor),
                     (size_t)tare_size(model, tensor));
    }
    tare_close(model);
    build_free(&file);
}

/* Type, name, elements and bytes of a block: as ggml prints them. */
Test(parse_gguf, every_type_has_its_dtype_and_size)
{
    static const struct {
        unsigned type;
        const char *name;
        unsigned count, size;
    } types[] = {
        {0, "F32", 1, 4},         {1, "F16", 1, 2},         {2, "Q4_0", 32, 18},
        {3, "Q4_1", 32, 20},      {6, "Q5_0", 32, 22},      {7, "Q5_1", 32, 24},
        {8, "Q8_0", 32, 34},      {9, "Q8_1", 32, 36},      {10, "Q2_K", 256, 84},
        {11, "Q3_K", 256, 110},   {12, "Q4_K", 256, 144},   {13, "Q5_K", 256, 176},
        {14, "Q6_K", 256, 210},   {15, "Q8_K", 256, 292},   {16, "IQ2_XXS", 256, 66},
        {17, "IQ2_XS", 256, 74},  {18, "IQ3_XXS", 256, 98}, {19, "IQ1_S", 256, 50},
        {20, "IQ4_NL", 32, 18},   {21, "IQ3_S", 256, 110},  {22, "IQ2_S", 256, 82},
        {23, "IQ4_XS", 256, 136}, {24, "I8", 1, 1},         {25, "I16", 1, 2},
        {26, "I32", 1, 4},        {27, "I64", 1, 8},        {28, "F64", 1, 8},
        {29, "IQ1_M", 256, 56},   {30, "BF16", 1, 2},       {34, "TQ1_0", 256, 54},
        {35, "TQ2_0", 256, 66},   {39, "MXFP4", 32, 17},    {40, "NVFP4", 64, 36},
        {41, "Q1_0", 128, 18},    {42, "Q2_0", 64, 18},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        char words[200];
        snprintf(words, sizeof words, A_TENSOR "\"a\" 4:2 8:%u 8:3 4:%u 8:0 p32 d%u",
                 types[i].count, types[i].type, 3 * types[i].size);
        build_text file;
        tare_model *model = gguf_open(words, &file);
        tare_info info = tare_describe(model, tare_at(model, 0));
        cr_expect_str_eq(tare_dtype_name(info.dtype), types[i].name);
        cr_expect_eq(info.size, 3 * types[i].size, "%s", types[i].name);
        tare_close(model);
        build_free(&file);
    }
}

Test(parse_gguf, the_header_has_the_limit_of_the_option)
{
    build_text file = gguf_text(
        GGUF_HEAD("1", "1") GGUF_TEXT("key", "value") GGUF_TENSOR("a", "4", "24", "0"), NULL);
    size_t header_size = file.size;
    while (file.size % 32 != 0) build_add(&file, "", 1);
    build_add(&file, "data", 4);
    for (int reader = 0; reader < 2; reader++) {
        for (size_t less = 0; less < header_size; less++) {
            tare_options options = TARE_OPTIONS_INIT;
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            reader_probe probe;
            reader_probe_init(&probe, file.data, file.size, 0);
            options.header_size_max = header_size - less;
            tare_status status =
                reader ? tare_open_reader(&probe.reader, &options, &model, &error)
                       : tare_open_bytes(file.data, file.size, &options, &model, &error);
            if (less == 0) {
                expect_opened("a header of the limit", status, model, &error);
                tare_close(model);
            } else {
                expect_status("a byte more", TARE_E_HEADER_SIZE, status, model, &error);
            }
            cr_expect_leq(probe.end, options.header_size_max > 8 ? options.header_size_max : 8);
        }
    }
    build_free(&file);
}

/* Records are made room for by the first piece of the header, and grow when there are more. */
Test(parse_gguf, memory_may_run_out_while_tensors_are_read)
{
    enum { COUNT = 4000 };
    build_text words = {0};
    build_addf(&words, "'GGUF' 4:3 8:%d 8:0 ", COUNT);
    for (int i = 0; i < COUNT; i++) build_addf(&words, "\"%040d\" 4:1 8:32 4:24 8:%d ", i, 32 * i);
    build_addf(&words, "p32 d%d", 32 * COUNT);
    build_text file = gguf_text(words.data, NULL);
    size_t refusals = 0;
    for (size_t fail_at = 1;; fail_at++, refusals++) {
        static alloc_probe memory;
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        reader_probe probe;
        alloc_probe_init(&memory);
        memory.fail_at = fail_at;
        reader_probe_init(&probe, file.data, file.size, 0);
        options.allocator = &memory.hooks;
        tare_status status = tare_open_reader(&probe.reader, &options, &model, &error);
        if (memory.refused == 0) {
            expect_opened("enough", status, model, &error);
            cr_expect_eq(tare_count(model), COUNT);
            tare_close(model);
            break;
        }
        expect_status("none", TARE_E_MEMORY, status, model, &error);
        cr_expect_eq(memory.block_count + memory.mistakes, 0, "at %zu", fail_at);
    }
    cr_expect_gt(refusals, 10);
    build_free(&words);
    build_free(&file);
}
