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

Test(dtype, other_values_have_no_name_and_no_bits)
{
    static const tare_dtype others[] = {0, 23, 24, 255, 256, UINT32_MAX - 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        cr_expect_null(tare_dtype_name(others[i]), "%u", others[i]);
        cr_expect_eq(tare_dtype_bits(others[i]), 0, "%u", others[i]);
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
