/* Numbers and text out of a binary header that may not all be there yet. */
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/temp_files.h"

/* Hands out what is wanted and not a byte more, at another place each time. */
typedef struct feeder {
    const build_text *text;
    void *given;
    size_t calls;
    tare_status fail;
} feeder;

static tare_status feed(tarei_cursor *cursor, uint64_t wanted)
{
    feeder *from = cursor->context;
    from->calls++;
    cr_assert_leq(wanted, cursor->file_size);
    cr_assert_leq(wanted, cursor->size_max);
    cr_assert_gt(wanted, cursor->have);
    if (from->fail != TARE_OK) return from->fail;
    void *given = temp_copy(from->text->data, (size_t)wanted);
    free(from->given);
    from->given = given;
    cursor->bytes = given;
    cursor->have = wanted;
    return TARE_OK;
}

static tarei_cursor cursor_over(feeder *from, const build_text *text, tare_error *error)
{
    *from = (feeder){.text = text};
    *error = expect_poison();
    return (tarei_cursor){.file_size = text->size,
                          .size_max = 1000,
                          .more = feed,
                          .context = from,
                          .shard = 3,
                          .error = error};
}

static void expect_failed(tare_status status, tare_status wanted, uint64_t offset,
                          const tare_error *error)
{
    cr_expect_eq(status, wanted, "%s", tare_status_name(status));
    cr_expect_eq(error->status, wanted);
    cr_expect_eq(error->shard, 3);
    cr_expect_eq(error->offset, offset, "at %u", (unsigned)error->offset);
}

Test(parse_cursor, numbers_are_little_endian_at_any_address)
{
    build_text text = gguf_text("1:7 4:305419896 8:81985529216486895", NULL);
    feeder from;
    tare_error error;
    tarei_cursor cursor = cursor_over(&from, &text, &error);
    uint32_t small;
    uint64_t large;
    cr_assert_eq(tarei_cursor_need(&cursor, 1, 0), TARE_OK);
    cursor.at++;
    cr_assert_eq(tarei_cursor_u32(&cursor, &small), TARE_OK);
    cr_assert_eq(tarei_cursor_u64(&cursor, &large), TARE_OK);
    cr_expect_eq(small, 0x12345678);
    cr_expect_eq(large, UINT64_C(0x0123456789abcdef));
    cr_expect_eq(cursor.at, text.size);
    free(from.given);
    build_free(&text);
}

Test(parse_cursor, strings_are_spans_that_outlive_moves)
{
    build_text text = gguf_text("\"first\" \"\" \"second\"", NULL);
    feeder from;
    tare_error error;
    tarei_cursor cursor = cursor_over(&from, &text, &error);
    tarei_span first, empty, second;
    cr_assert_eq(tarei_cursor_string(&cursor, &first), TARE_OK);
    cr_assert_eq(tarei_cursor_string(&cursor, &empty), TARE_OK);
    cr_assert_eq(tarei_cursor_string(&cursor, &second), TARE_OK);
    cr_expect_eq(first.size, 5);
    cr_expect_arr_eq(cursor.bytes + first.at, "first", 5);
    cr_expect_eq(empty.size, 0);
    cr_expect_eq(empty.at, 21);
    cr_expect_arr_eq(cursor.bytes + second.at, "second", 6);
    cr_expect_geq(from.calls, 5, "what is not asked for is not fetched");
    free(from.given);
    build_free(&text);
}

Test(parse_cursor, many_strings_are_skipped_whatever_is_there_already)
{
    build_text text = gguf_text("\"a\" \"\" \"four\" 300\"x\" \"end\" 4:9", NULL);
    for (uint64_t there = 0; there <= text.size; there++) {
        feeder from;
        tare_error error;
        tarei_cursor cursor = cursor_over(&from, &text, &error);
        if (there != 0) cr_assert_eq(tarei_cursor_fetch(&cursor, there, 0), TARE_OK);
        cr_assert_eq(tarei_cursor_skip_strings(&cursor, 5), TARE_OK);
        cr_expect_eq(cursor.at, text.size - 4);
        tare_status status = tarei_cursor_skip_strings(&cursor, 1);
        expect_failed(status, TARE_E_TRUNCATED, text.size - 4, &error);
        free(from.given);
    }
    build_free(&text);
}

Test(parse_cursor, what_goes_beyond_the_file_is_never_fetched)
{
    static const struct {
        const char *words;
        tare_status status;
    } rows[] = {
        {"7:0", TARE_E_TRUNCATED},
        {"8:1", TARE_E_TRUNCATED},
        {"8:1073741824 'x'", TARE_E_TRUNCATED},
        {"8:1073741825 'x'", TARE_E_LIMIT},
        {"8:-1 'x'", TARE_E_LIMIT},
        {"8:-8 'x'", TARE_E_LIMIT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        build_text text = gguf_text(rows[i].words, NULL);
        for (int skip = 0; skip < 2; skip++) {
            feeder from;
            tare_error error;
            tarei_span span;
            tarei_cursor cursor = cursor_over(&from, &text, &error);
            tare_status status =
                skip ? tarei_cursor_skip_strings(&cursor, 1) : tarei_cursor_string(&cursor, &span);
            expect_failed(status, rows[i].status, 0, &error);
            free(from.given);
        }
        build_free(&text);
    }
}

Test(parse_cursor, what_goes_beyond_the_limit_is_a_header_too_large)
{
    build_text text = gguf_text("20\"x\" 8:1 8:2", NULL);
    for (uint64_t limit = 0; limit < 44; limit++) {
        feeder from;
        tare_error error;
        tarei_span span;
        uint64_t number;
        tarei_cursor cursor = cursor_over(&from, &text, &error);
        cursor.size_max = limit;
        tare_status status = tarei_cursor_string(&cursor, &span);
        if (status == TARE_OK) status = tarei_cursor_u64(&cursor, &number);
        if (status == TARE_OK) status = tarei_cursor_u64(&cursor, &number);
        expect_failed(status, TARE_E_HEADER_SIZE, limit < 28 ? 0 : limit < 36 ? 28 : 36, &error);
        cr_expect_leq(cursor.have, limit);
        free(from.given);
    }
    build_free(&text);
}

/* Also where it stands beyond it already, which no header leads to. */
Test(parse_cursor, what_lies_behind_the_limit_is_beyond_it_too)
{
    build_text text = gguf_text("20\"x\" 8:1", NULL);
    for (uint64_t at = 0; at < text.size; at++) {
        feeder from;
        tare_error error;
        tarei_cursor cursor = cursor_over(&from, &text, &error);
        cursor.at = at;
        cursor.size_max = 10;
        tare_status status = tarei_cursor_fetch(&cursor, 1, 7);
        if (at < 10)
            cr_expect_eq(status, TARE_OK, "%zu", (size_t)at);
        else
            expect_failed(status, TARE_E_HEADER_SIZE, 7, &error);
        free(from.given);
    }
    build_free(&text);
}

/* Of a header of 3 GiB, so it says: nothing behind the size of the string is looked at. */
Test(parse_cursor, strings_that_are_skipped_have_up_to_a_gib)
{
    static const uint64_t sizes[] = {0, 1 << 30, (1 << 30) + 1, UINT64_C(1) << 31, UINT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t bytes[8];
        tare_error error = expect_poison();
        for (int b = 0; b < 8; b++) bytes[b] = (uint8_t)(sizes[i] >> 8 * b);
        tarei_cursor cursor = {.bytes = bytes,
                               .have = UINT64_C(3) << 30,
                               .file_size = UINT64_C(3) << 30,
                               .size_max = UINT64_C(3) << 30,
                               .shard = 3,
                               .error = &error};
        tare_status status = tarei_cursor_skip_strings(&cursor, 1);
        if (i < 2) {
            cr_expect_eq(status, TARE_OK);
            cr_expect_eq(cursor.at, 8 + sizes[i]);
        } else {
            expect_failed(status, TARE_E_LIMIT, 0, &error);
        }
    }
}

Test(parse_cursor, a_failure_to_fetch_is_handed_on)
{
    build_text text = gguf_text("8:1 'x'", NULL);
    feeder from;
    tare_error error;
    tarei_span span;
    tarei_cursor cursor = cursor_over(&from, &text, &error);
    from.fail = TARE_E_READ;
    cr_expect_eq(tarei_cursor_string(&cursor, &span), TARE_E_READ);
    cr_expect_eq(tarei_cursor_skip_strings(&cursor, 1), TARE_E_READ);
    cr_expect_eq(cursor.at, 0);
    build_free(&text);
}
