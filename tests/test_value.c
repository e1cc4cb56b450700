/* Values of metadata: kinds, conversions, items of arrays. */
#include <math.h>
#include <string.h>

#include "support/expect.h"
#include "value.h"

static const struct {
    const char *name;
    tare_kind kind;
    uint32_t size;
} kinds[] = {
    {"u8", TARE_KIND_U8, 1},       {"i8", TARE_KIND_I8, 1},     {"u16", TARE_KIND_U16, 2},
    {"i16", TARE_KIND_I16, 2},     {"u32", TARE_KIND_U32, 4},   {"i32", TARE_KIND_I32, 4},
    {"f32", TARE_KIND_F32, 4},     {"bool", TARE_KIND_BOOL, 1}, {"string", TARE_KIND_STRING, 0},
    {"array", TARE_KIND_ARRAY, 0}, {"u64", TARE_KIND_U64, 8},   {"i64", TARE_KIND_I64, 8},
    {"f64", TARE_KIND_F64, 8},
};

enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

Test(value, kinds_are_the_numbers_of_gguf_and_1)
{
    cr_expect_eq(KIND_COUNT, 13);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        cr_expect_eq(kinds[i].kind, i + 1);
        cr_expect_str_eq(tare_kind_name(kinds[i].kind), kinds[i].name);
        cr_expect_eq(tarei_value_kind_size(kinds[i].kind), kinds[i].size, "%s", kinds[i].name);
    }
    static const tare_kind others[] = {0, 14, 255, UINT32_MAX};
    for (size_t i = 0; i < 4; i++) {
        cr_expect_null(tare_kind_name(others[i]));
        cr_expect_eq(tarei_value_kind_size(others[i]), 0);
    }
}

/* At an odd address, as values in files mostly are. */
static tare_value value_of(tare_kind kind, uint64_t bits)
{
    static uint8_t places[64][9];
    static size_t used;
    uint8_t *place = places[used++ % 64] + 1;
    for (int i = 0; i < 8; i++) place[i] = (uint8_t)(bits >> 8 * i);
    return (tare_value){kind, 0, 1, place, tarei_value_kind_size(kind)};
}

Test(value, integers_are_converted_where_they_fit)
{
    static const struct {
        tare_kind kind;
        uint64_t bits;
        int fits_u64, fits_i64;
        uint64_t wanted;
    } rows[] = {
        {TARE_KIND_U8, 0, 1, 1, 0},
        {TARE_KIND_U8, 0xFFFF, 1, 1, 255},
        {TARE_KIND_U16, 0xFFFFFFFF, 1, 1, 65535},
        {TARE_KIND_U32, UINT64_MAX, 1, 1, 4294967295},
        {TARE_KIND_U64, INT64_MAX, 1, 1, INT64_MAX},
        {TARE_KIND_U64, (uint64_t)INT64_MAX + 1, 1, 0, (uint64_t)INT64_MAX + 1},
        {TARE_KIND_U64, UINT64_MAX, 1, 0, UINT64_MAX},
        {TARE_KIND_I8, 0, 1, 1, 0},
        {TARE_KIND_I64, 0, 1, 1, 0},
        {TARE_KIND_I64, 1, 1, 1, 1},
        {TARE_KIND_I8, 0x7F, 1, 1, 127},
        {TARE_KIND_I8, 0xFF, 0, 1, UINT64_MAX},
        {TARE_KIND_I8, 0x80, 0, 1, (uint64_t)-128},
        {TARE_KIND_I16, 0x8000, 0, 1, (uint64_t)-32768},
        {TARE_KIND_I16, 0x7FFF, 1, 1, 32767},
        {TARE_KIND_I32, 0x80000000, 0, 1, (uint64_t)INT32_MIN},
        {TARE_KIND_I32, 0x7FFFFFFF, 1, 1, INT32_MAX},
        {TARE_KIND_I64, UINT64_MAX, 0, 1, UINT64_MAX},
        {TARE_KIND_I64, (uint64_t)INT64_MAX + 1, 0, 1, (uint64_t)INT64_MIN},
        {TARE_KIND_I64, INT64_MAX, 1, 1, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_value value = value_of(rows[i].kind, rows[i].bits);
        uint64_t u = 7;
        int64_t s = 7;
        tare_status status = tare_value_u64(value, &u);
        cr_expect_eq(status, rows[i].fits_u64 ? TARE_OK : TARE_E_KIND, "row %zu", i);
        cr_expect_eq(u, rows[i].fits_u64 ? rows[i].wanted : 0, "row %zu", i);
        status = tare_value_i64(value, &s);
        cr_expect_eq(status, rows[i].fits_i64 ? TARE_OK : TARE_E_KIND, "row %zu", i);
        cr_expect_eq((uint64_t)s, rows[i].fits_i64 ? rows[i].wanted : 0, "row %zu", i);
    }
}

Test(value, floats_become_doubles_and_nothing_else_does)
{
    double out;
    cr_expect_eq(tare_value_f64(value_of(TARE_KIND_F32, 0x3FC00000), &out), TARE_OK);
    cr_expect_eq(out, 1.5);
    cr_expect_eq(tare_value_f64(value_of(TARE_KIND_F64, 0xBFF8000000000000), &out), TARE_OK);
    cr_expect_eq(out, -1.5);
    cr_expect_eq(tare_value_f64(value_of(TARE_KIND_F32, 0x7FC00000), &out), TARE_OK);
    cr_expect(isnan(out));
}

Test(value, a_bool_is_0_or_1_whatever_its_byte_is)
{
    int out;
    for (uint64_t byte = 0; byte < 256; byte++) {
        cr_expect_eq(tare_value_bool(value_of(TARE_KIND_BOOL, byte), &out), TARE_OK);
        cr_expect_eq(out, byte != 0);
    }
}

Test(value, of_another_kind_is_refused_and_absent_is_not_another_kind)
{
    for (tare_kind kind = 0; kind <= TARE_KIND_F64; kind++) {
        tare_value value = kind == 0 ? (tare_value){0} : value_of(kind, 1);
        bool integer = kind != 0 && kind != TARE_KIND_F32 && kind != TARE_KIND_BOOL &&
                       kind != TARE_KIND_STRING && kind != TARE_KIND_ARRAY && kind != TARE_KIND_F64;
        tare_status other = kind == 0 ? TARE_E_ABSENT : TARE_E_KIND;
        uint64_t u = 7;
        int64_t s = 7;
        double f = 7;
        int b = 7;
        tare_string t = {"x", 7};
        cr_expect_eq(tare_value_u64(value, &u), integer ? TARE_OK : other, "%u", kind);
        cr_expect_eq(u, integer, "%u", kind);
        cr_expect_eq(tare_value_i64(value, &s), integer ? TARE_OK : other, "%u", kind);
        cr_expect_eq(s, integer, "%u", kind);
        bool real = kind == TARE_KIND_F32 || kind == TARE_KIND_F64;
        cr_expect_eq(tare_value_f64(value, &f), real ? TARE_OK : other, "%u", kind);
        cr_expect(real || f == 0, "%u", kind);
        cr_expect_eq(tare_value_bool(value, &b), kind == TARE_KIND_BOOL ? TARE_OK : other);
        cr_expect_eq(b, kind == TARE_KIND_BOOL, "%u", kind);
        cr_expect_eq(tare_value_string(value, &t), kind == TARE_KIND_STRING ? TARE_OK : other);
        cr_expect_eq(t.data, kind == TARE_KIND_STRING ? value.data : NULL, "%u", kind);
    }
}

Test(value, items_are_taken_off_one_by_one)
{
    static const uint8_t bytes[] = {1, 0, 0xFF, 0xFF, 3, 0};
    tare_value array = {TARE_KIND_ARRAY, TARE_KIND_I16, 3, bytes, sizeof bytes}, item;
    static const int64_t wanted[] = {1, -1, 3};
    for (size_t i = 0; i < 3; i++) {
        int64_t number;
        cr_assert_eq(tare_value_next(&array, &item), 1);
        cr_expect_eq(item.kind, TARE_KIND_I16);
        cr_expect_eq(item.item_kind, 0);
        cr_expect_eq(item.size, 2);
        cr_expect_eq(item.count, 1);
        cr_assert_eq(tare_value_i64(item, &number), TARE_OK);
        cr_expect_eq(number, wanted[i]);
        cr_expect_eq(array.count, 2 - i);
    }
    cr_expect_eq(tare_value_next(&array, &item), 0);
    cr_expect_eq(item.kind, 0);
    cr_expect_eq(array.size, 0);
}

Test(value, strings_among_items_may_be_empty)
{
    static const uint8_t bytes[] = {2, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 0, 0, 0, 0,
                                    0, 0, 0, 0, 1, 0, 0, 0, 0,   0,   0, 0, 0};
    tare_value array = {TARE_KIND_ARRAY, TARE_KIND_STRING, 3, bytes, sizeof bytes}, item;
    static const tare_string wanted[] = {{"ab", 2}, {"", 0}, {"\0", 1}};
    for (size_t i = 0; i < 3; i++) {
        tare_string text;
        cr_assert_eq(tare_value_next(&array, &item), 1);
        cr_assert_eq(tare_value_string(item, &text), TARE_OK);
        cr_assert_eq(text.size, wanted[i].size);
        cr_expect_arr_eq(text.data, wanted[i].data, text.size);
    }
    cr_expect_eq(tare_value_next(&array, &item), 0);
}

Test(value, what_is_no_array_has_no_items)
{
    tare_value value = value_of(TARE_KIND_U32, 1), none = {0}, item = {.kind = 9};
    cr_expect_eq(tare_value_next(&value, &item), 0);
    cr_expect_eq(item.kind, 0);
    cr_expect_eq(tare_value_next(&none, &item), 0);
}

Test(value, items_end_with_their_array_even_if_its_bytes_were_changed)
{
    static const uint8_t changed[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 'a'};
    tare_value item;
    for (size_t size = 0; size <= sizeof changed; size++) {
        tare_value array = {TARE_KIND_ARRAY, TARE_KIND_STRING, 5, changed, size};
        cr_expect_eq(tare_value_next(&array, &item), 0, "%zu", size);
    }
    static const uint8_t longer[] = {2, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'};
    for (size_t size = 8; size <= sizeof longer; size++) { /* a byte more than there is */
        tare_value array = {TARE_KIND_ARRAY, TARE_KIND_STRING, 1, longer, size};
        cr_expect_eq(tare_value_next(&array, &item), size == sizeof longer, "%zu", size);
    }
    tare_value numbers = {TARE_KIND_ARRAY, TARE_KIND_U64, 2, changed, 9};
    cr_expect_eq(tare_value_next(&numbers, &item), 1);
    cr_expect_eq(tare_value_next(&numbers, &item), 0);
}
