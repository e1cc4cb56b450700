#include <errno.h>
#include <string.h>

#include "error.h"
#include "support/expect.h"

static const struct {
    tare_status status;
    const char *name;
} statuses[] = {
    {0, "TARE_OK"},
    {10, "TARE_E_ARGUMENT"},
    {11, "TARE_E_TARGET_SIZE"},
    {20, "TARE_E_MEMORY"},
    {21, "TARE_E_OPEN"},
    {22, "TARE_E_READ"},
    {23, "TARE_E_MAP"},
    {24, "TARE_E_CHANGED"},
    {25, "TARE_E_LIMIT"},
    {26, "TARE_E_UNSUPPORTED"},
    {27, "TARE_E_CANCELLED"},
    {28, "TARE_E_WRITE"},
    {29, "TARE_E_EXISTS"},
    {30, "TARE_E_FORMAT"},
    {31, "TARE_E_TRUNCATED"},
    {32, "TARE_E_HEADER_SIZE"},
    {33, "TARE_E_NO_MODEL"},
    {34, "TARE_E_AMBIGUOUS"},
    {35, "TARE_E_VERSION"},
    {36, "TARE_E_ENDIAN"},
    {40, "TARE_E_UTF8"},
    {41, "TARE_E_JSON"},
    {42, "TARE_E_DEPTH"},
    {43, "TARE_E_METADATA"},
    {44, "TARE_E_KIND"},
    {45, "TARE_E_ALIGNMENT"},
    {46, "TARE_E_ABSENT"},
    {50, "TARE_E_FIELD"},
    {51, "TARE_E_DTYPE"},
    {52, "TARE_E_SHAPE"},
    {53, "TARE_E_OFFSETS"},
    {54, "TARE_E_OVERFLOW"},
    {55, "TARE_E_SUBBYTE"},
    {56, "TARE_E_SIZE"},
    {57, "TARE_E_LAYOUT"},
    {58, "TARE_E_COVER"},
    {59, "TARE_E_DUPLICATE"},
    {60, "TARE_E_INDEX"},
    {61, "TARE_E_SHARD_NAME"},
    {62, "TARE_E_SHARD_TENSOR"},
    {63, "TARE_E_DIGEST"},
    {64, "TARE_E_SPLIT"},
    {65, "TARE_E_PREBUILT"},
    {66, "TARE_E_STALE"},
    {70, "TARE_E_DEVICE"},
};

Test(error, values_and_names_of_statuses_are_pinned)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        cr_expect_str_eq(tare_status_name(statuses[i].status), statuses[i].name);
        cr_expect_neq(tare_status_text(statuses[i].status)[0], 0, "%s", statuses[i].name);
    }
}

Test(error, every_value_has_a_name_and_a_text)
{
    size_t known = 0;
    for (tare_status status = -1000; status < 1000; status++) {
        cr_assert_not_null(tare_status_name(status), "%d", status);
        cr_assert_not_null(tare_status_text(status), "%d", status);
        known += strcmp(tare_status_name(status), "TARE_E_UNKNOWN") != 0;
    }
    cr_expect_eq(known, sizeof statuses / sizeof statuses[0], "%zu statuses", known);
    cr_expect_str_eq(tare_status_name(INT32_MIN), "TARE_E_UNKNOWN");
    cr_expect_str_eq(tare_status_name(INT32_MAX), "TARE_E_UNKNOWN");
}

Test(error, clear_is_success_with_every_field_set)
{
    tare_error error = expect_poison();
    tarei_error_clear(&error);
    cr_expect_eq(error.status, TARE_OK);
    cr_expect_eq(error.system_error, 0);
    cr_expect_eq(error.shard, TARE_NO_SHARD);
    cr_expect_eq(error.reserved, 0);
    cr_expect_eq(error.offset, TARE_NO_OFFSET);
    cr_expect_eq(error.message[0], 0);
}

Test(error, set_cuts_long_messages_and_terminates_them)
{
    tare_error error = expect_poison();
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    cr_expect_eq(tarei_error_set(&error, TARE_E_JSON, 3, 99, "%s", text), TARE_E_JSON);
    cr_expect_eq(error.status, TARE_E_JSON);
    cr_expect_eq(error.shard, 3);
    cr_expect_eq(error.offset, 99);
    cr_expect_eq(strlen(error.message), sizeof error.message - 1);
}

Test(error, system_tells_the_reason_and_the_path)
{
    tare_error error = expect_poison();
    tarei_error_system(&error, TARE_E_OPEN, ENOENT, 2, "cannot open", "some/where");
    cr_expect_eq(error.system_error, ENOENT);
    cr_expect_eq(error.shard, 2);
    expect_message("path", "some/where", &error);
    expect_message("reason", strerror(ENOENT), &error);
    tarei_error_system(&error, TARE_E_OPEN, 123456, 2, "cannot open", "x");
    cr_expect_eq(error.system_error, 123456);
    cr_expect_neq(error.message[0], 0);
}

Test(error, quote_lets_printable_ascii_through)
{
    cr_expect_str_eq(tarei_quote("a.b[0] ~", 8).text, "'a.b[0] ~'");
    cr_expect_str_eq(tarei_quote("", 0).text, "''");
    cr_expect_str_eq(tarei_quote(NULL, 0).text, "''");
}

Test(error, quote_escapes_all_other_bytes)
{
    for (int c = 0; c < 256; c++) {
        char name[3] = {'a', (char)c, 'z'};
        tarei_quoted quoted = tarei_quote(name, 3);
        size_t size = strlen(quoted.text);
        for (size_t i = 0; i < size; i++)
            cr_expect(quoted.text[i] >= 0x20 && quoted.text[i] <= 0x7E, "byte %d", c);
        if (c >= 0x20 && c <= 0x7E && c != '\\') cr_expect_eq(size, 5, "byte %d", c);
    }
    cr_expect_str_eq(tarei_quote("\n\0\xff", 3).text, "'\\x0a\\x00\\xff'");
}

Test(error, quote_cuts_names_of_every_size_within_its_room)
{
    static const char bytes[3] = {'x', '\\', 1};
    for (size_t kind = 0; kind < 3; kind++) {
        char name[400];
        memset(name, bytes[kind], sizeof name);
        for (size_t size = 0; size <= sizeof name; size++) {
            tarei_quoted quoted = tarei_quote(name, size);
            const char *end = memchr(quoted.text, 0, sizeof quoted.text);
            cr_assert_not_null(end, "size %zu", size);
            cr_expect_eq(end[-1], '\'', "size %zu", size);
            if (size > 200) cr_expect_not_null(strstr(quoted.text, "..."), "size %zu", size);
        }
    }
}
