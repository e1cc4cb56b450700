#include <stdlib.h>
#include <string.h>

#include "support/expect.h"

/* Spelled out here once more, so that a slip in the header's list is seen. Source: safetensors. */
static const struct {
    const char *name;
    tare_dtype dtype;
    uint32_t bits;
} dtypes[] = {
    {"BOOL", TARE_DTYPE_BOOL, 8},
    {"F4", TARE_DTYPE_F4, 4},
    {"F6_E2M3", TARE_DTYPE_F6_E2M3, 6},
    {"F6_E3M2", TARE_DTYPE_F6_E3M2, 6},
    {"U8", TARE_DTYPE_U8, 8},
    {"I8", TARE_DTYPE_I8, 8},
    {"F8_E5M2", TARE_DTYPE_F8_E5M2, 8},
    {"F8_E4M3", TARE_DTYPE_F8_E4M3, 8},
    {"F8_E8M0", TARE_DTYPE_F8_E8M0, 8},
    {"F8_E4M3FNUZ", TARE_DTYPE_F8_E4M3FNUZ, 8},
    {"F8_E5M2FNUZ", TARE_DTYPE_F8_E5M2FNUZ, 8},
    {"I16", TARE_DTYPE_I16, 16},
    {"U16", TARE_DTYPE_U16, 16},
    {"F16", TARE_DTYPE_F16, 16},
    {"BF16", TARE_DTYPE_BF16, 16},
    {"I32", TARE_DTYPE_I32, 32},
    {"U32", TARE_DTYPE_U32, 32},
    {"F32", TARE_DTYPE_F32, 32},
    {"C64", TARE_DTYPE_C64, 64},
    {"F64", TARE_DTYPE_F64, 64},
    {"I64", TARE_DTYPE_I64, 64},
    {"U64", TARE_DTYPE_U64, 64},
};

enum { DTYPE_COUNT = sizeof dtypes / sizeof dtypes[0] };

Test(dtype, there_are_22_and_their_values_are_pinned)
{
    cr_expect_eq(DTYPE_COUNT, 22);
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        cr_expect_eq(dtypes[i].dtype, i + 1, "%s is %u", dtypes[i].name, dtypes[i].dtype);
}

Test(dtype, each_has_the_name_and_bits_of_its_files)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        cr_expect_str_eq(tare_dtype_name(dtypes[i].dtype), dtypes[i].name);
        cr_expect_eq(tare_dtype_bits(dtypes[i].dtype), dtypes[i].bits, "%s", dtypes[i].name);
        cr_expect_eq(tare_dtype_find(dtypes[i].name, strlen(dtypes[i].name)), dtypes[i].dtype, "%s",
                     dtypes[i].name);
    }
}

/* The quantized types of ggml, spelled out too. Source: its table of type traits. */
static const struct {
    const char *name;
    tare_dtype dtype;
    uint32_t block_count, block_size;
} blocks[] = {
    {"Q4_0", TARE_DTYPE_Q4_0, 32, 18},        {"Q4_1", TARE_DTYPE_Q4_1, 32, 20},
    {"Q5_0", TARE_DTYPE_Q5_0, 32, 22},        {"Q5_1", TARE_DTYPE_Q5_1, 32, 24},
    {"Q8_0", TARE_DTYPE_Q8_0, 32, 34},        {"Q8_1", TARE_DTYPE_Q8_1, 32, 36},
    {"Q2_K", TARE_DTYPE_Q2_K, 256, 84},       {"Q3_K", TARE_DTYPE_Q3_K, 256, 110},
    {"Q4_K", TARE_DTYPE_Q4_K, 256, 144},      {"Q5_K", TARE_DTYPE_Q5_K, 256, 176},
    {"Q6_K", TARE_DTYPE_Q6_K, 256, 210},      {"Q8_K", TARE_DTYPE_Q8_K, 256, 292},
    {"IQ2_XXS", TARE_DTYPE_IQ2_XXS, 256, 66}, {"IQ2_XS", TARE_DTYPE_IQ2_XS, 256, 74},
    {"IQ3_XXS", TARE_DTYPE_IQ3_XXS, 256, 98}, {"IQ1_S", TARE_DTYPE_IQ1_S, 256, 50},
    {"IQ4_NL", TARE_DTYPE_IQ4_NL, 32, 18},    {"IQ3_S", TARE_DTYPE_IQ3_S, 256, 110},
    {"IQ2_S", TARE_DTYPE_IQ2_S, 256, 82},     {"IQ4_XS", TARE_DTYPE_IQ4_XS, 256, 136},
    {"IQ1_M", TARE_DTYPE_IQ1_M, 256, 56},     {"TQ1_0", TARE_DTYPE_TQ1_0, 256, 54},
    {"TQ2_0", TARE_DTYPE_TQ2_0, 256, 66},     {"MXFP4", TARE_DTYPE_MXFP4, 32, 17},
    {"NVFP4", TARE_DTYPE_NVFP4, 64, 36},      {"Q1_0", TARE_DTYPE_Q1_0, 128, 18},
    {"Q2_0", TARE_DTYPE_Q2_0, 64, 18},
};

enum { BLOCK_COUNT = sizeof blocks / sizeof blocks[0] };

Test(dtype, of_27_quantized_types_values_are_pinned_and_follow)
{
    cr_expect_eq(BLOCK_COUNT, 27);
    for (size_t i = 0; i < BLOCK_COUNT; i++) {
        const char *name = blocks[i].name;
        cr_expect_eq(blocks[i].dtype, DTYPE_COUNT + 1 + i, "%s is %u", name, blocks[i].dtype);
        cr_expect_str_eq(tare_dtype_name(blocks[i].dtype), name);
        cr_expect_eq(tare_dtype_find(name, strlen(name)), blocks[i].dtype, "%s", name);
        cr_expect_eq(tare_dtype_bits(blocks[i].dtype), 0, "%s", name);
        cr_expect_eq(tare_dtype_block_count(blocks[i].dtype), blocks[i].block_count, "%s", name);
        cr_expect_eq(tare_dtype_block_size(blocks[i].dtype), blocks[i].block_size, "%s", name);
    }
}

Test(dtype, a_block_of_a_plain_type_is_the_fewest_elements_in_whole_bytes)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        uint32_t count = tare_dtype_block_count(dtypes[i].dtype);
        cr_assert_neq(count, 0, "%s", dtypes[i].name);
        cr_expect_eq(count * dtypes[i].bits, 8 * tare_dtype_block_size(dtypes[i].dtype), "%s",
                     dtypes[i].name);
        for (uint32_t fewer = 1; fewer < count; fewer++)
            cr_expect_neq(fewer * dtypes[i].bits % 8, 0, "%s", dtypes[i].name);
    }
}

Test(dtype, other_values_have_no_name_and_no_size)
{
    static const tare_dtype others[] = {0, 50, 51, 255, 256, UINT32_MAX - 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        cr_expect_null(tare_dtype_name(others[i]), "%u", others[i]);
        cr_expect_eq(tare_dtype_bits(others[i]), 0, "%u", others[i]);
        cr_expect_eq(tare_dtype_block_count(others[i]), 0, "%u", others[i]);
        cr_expect_eq(tare_dtype_block_size(others[i]), 0, "%u", others[i]);
    }
}

Test(dtype, find_wants_the_exact_text)
{
    cr_expect_eq(tare_dtype_find(NULL, 0), 0);
    cr_expect_eq(tare_dtype_find("", 0), 0);
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        const char *name = dtypes[i].name;
        size_t size = strlen(name);
        char changed[16];
        memcpy(changed, name, size + 1);
        cr_expect_eq(tare_dtype_find(changed, size + 1), 0, "%s with a zero byte", name);
        cr_expect_neq(tare_dtype_find(changed, size - 1), dtypes[i].dtype, "%s cut", name);
        changed[size] = ' ';
        cr_expect_eq(tare_dtype_find(changed, size + 1), 0, "%s with a space", name);
        for (size_t at = 0; at < size; at++) {
            memcpy(changed, name, size);
            changed[at] = (char)(changed[at] ^ 0x20); /* another case, or no letter at all */
            cr_expect_eq(tare_dtype_find(changed, size), 0, "%.*s", (int)size, changed);
        }
    }
}

Test(dtype, find_reads_no_byte_beyond_the_size)
{
    char *text = malloc(2);
    memcpy(text, "F8", 2);
    cr_expect_eq(tare_dtype_find(text, 2), 0);
    memcpy(text, "U8", 2);
    cr_expect_eq(tare_dtype_find(text, 2), TARE_DTYPE_U8);
    free(text);
}
