/*
 * All short texts over a few bytes, against a second reading of RFC 8259 that is plain and slow:
 * one byte at a time, numbers by a table of states. Beyond its grammar only surrogates that are no
 * pair are refused.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "support/expect.h"

enum { ROOM = 64 };

/* A text that ends where its heap block does, so that AddressSanitizer sees a read behind it. */
typedef struct placed_text {
    uint8_t *room;
    const uint8_t *at, *end;
} placed_text;

static void text_begin(placed_text *text)
{
    text->room = malloc(ROOM);
    text->at = text->end = text->room + ROOM;
}

static void text_set(placed_text *text, const void *bytes, size_t size)
{
    text->at = text->end - size;
    memcpy(text->room + ROOM - size, bytes, size);
}

/* ------------------------------------------------------------------------------------------------
 * The second reading: each returns where what it reads ends, or NULL
 */

/* Section 6. A row is what has been read, a column what comes next; 0: it ends here. */
static const uint8_t *plain_number(const uint8_t *at, const uint8_t *end)
{
    enum { START = 1, MINUS, ZERO, WHOLE, POINT, FRACTION, EXPONENT, SIGN, POWER, REFUSED };
    static const uint8_t next[11][6] = {
        /*            0         1-9       .      e E       -      + */
        [START] = {ZERO, WHOLE, 0, 0, MINUS, 0},
        [MINUS] = {ZERO, WHOLE, 0, 0, 0, 0},
        [ZERO] = {REFUSED, REFUSED, POINT, EXPONENT, 0, 0},
        [WHOLE] = {WHOLE, WHOLE, POINT, EXPONENT, 0, 0},
        [POINT] = {FRACTION, FRACTION, 0, 0, 0, 0},
        [FRACTION] = {FRACTION, FRACTION, 0, EXPONENT, 0, 0},
        [EXPONENT] = {POWER, POWER, 0, 0, SIGN, SIGN},
        [SIGN] = {POWER, POWER, 0, 0, 0, 0},
        [POWER] = {POWER, POWER, 0, 0, 0, 0},
    };
    unsigned state = START;
    for (; at < end; at++) {
        const char *letter = memchr("0123456789.eE-+", *at, 15);
        if (letter == NULL) break;
        unsigned column = strchr(".", *at) ? 2 : strchr("eE", *at) ? 3 : *at == '-' ? 4 : 5;
        if (*at >= '0' && *at <= '9') column = *at != '0';
        if (next[state][column] == 0) break;
        state = next[state][column];
    }
    return state == ZERO || state == WHOLE || state == FRACTION || state == POWER ? at : NULL;
}

/* Of four hex digits; -1: they are none. */
static long plain_hex(const uint8_t *at, const uint8_t *end)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    long value = 0;
    for (int i = 0; i < 4; i++, at++) {
        const char *digit = at < end && *at != 0 ? strchr(digits, *at) : NULL;
        if (digit == NULL) return -1;
        value = value * 16 + (digit - digits < 16 ? digit - digits : digit - digits - 6);
    }
    return value;
}

/* Section 7, of ASCII only. */
static const uint8_t *plain_string(const uint8_t *at, const uint8_t *end)
{
    if (at == end || *at != '"') return NULL;
    for (at++; at < end && *at != '"'; at++) {
        if (*at < ' ' || *at >= 0x80) return NULL;
        if (*at != '\\') continue;
        if (++at == end) return NULL;
        if (memchr("\"\\/bfnrt", *at, 8) != NULL) continue;
        long code = *at == 'u' ? plain_hex(at + 1, end) : -1;
        if (code < 0 || (code >= 0xDC00 && code <= 0xDFFF)) return NULL;
        at += 4;
        if (code < 0xD800 || code > 0xDBFF) continue;
        if (end - at < 3 || at[1] != '\\' || at[2] != 'u') return NULL;
        code = plain_hex(at + 3, end);
        if (code < 0xDC00 || code > 0xDFFF) return NULL;
        at += 6;
    }
    return at < end ? at + 1 : NULL;
}

static const uint8_t *plain_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && memchr(" \t\n\r", *at, 4) != NULL) at++;
    return at;
}

static const uint8_t *plain_value(const uint8_t *at, const uint8_t *end);

/* Sections 4 and 5; `at` is behind the bracket that opens. */
static const uint8_t *plain_list(const uint8_t *at, const uint8_t *end, bool object)
{
    uint8_t close = object ? '}' : ']';
    at = plain_space(at, end);
    if (at < end && *at == close) return at + 1;
    for (;; at++) {
        if (object) {
            at = plain_string(plain_space(at, end), end);
            if (at == NULL) return NULL;
            at = plain_space(at, end);
            if (at == end || *at++ != ':') return NULL;
        }
        at = plain_value(at, end);
        if (at == NULL) return NULL;
        at = plain_space(at, end);
        if (at == end || (*at != ',' && *at != close)) return NULL;
        if (*at == close) return at + 1;
    }
}

static const uint8_t *plain_value(const uint8_t *at, const uint8_t *end)
{
    static const char *const words[] = {"true", "false", "null"};
    at = plain_space(at, end);
    if (at == end) return NULL;
    if (*at == '"') return plain_string(at, end);
    if (*at == '[' || *at == '{') return plain_list(at + 1, end, *at == '{');
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(words[i]);
        if ((size_t)(end - at) >= size && memcmp(at, words[i], size) == 0) return at + size;
    }
    return plain_number(at, end);
}

/* ------------------------------------------------------------------------------------------------
 * Both readings of one text
 */

/* A value that anything may follow, as in a list. */
static void check_value(const placed_text *text)
{
    tarei_json json;
    tare_error error;
    tarei_json_init(&json, text->at, (size_t)(text->end - text->at), 0, 0, &error);
    bool read = tarei_json_skip(&json) == TARE_OK;
    const uint8_t *wanted = plain_value(text->at, text->end);
    int size = (int)(text->end - text->at);
    if (read != (wanted != NULL))
        cr_assert(false, "%.*s is %sa value", size, text->at, wanted != NULL ? "" : "not ");
    if (wanted == NULL) return;
    if (json.at != wanted || json.depth != 0)
        cr_assert(false, "%.*s: %td bytes, not %td, in %u", size, text->at, json.at - text->at,
                  wanted - text->at, json.depth);
    bool ended = plain_space(wanted, text->end) == text->end;
    if ((tarei_json_end(&json) == TARE_OK) != ended) cr_assert(false, "%.*s", size, text->at);
}

/* All texts of `begin`, up to `most` of the parts, and `end`. */
static void check_texts(const char *begin, const char *const *parts, uint32_t part_count,
                        uint32_t most, const char *end)
{
    placed_text text;
    text_begin(&text);
    uint32_t count = 1;
    for (uint32_t length = 0; length <= most; length++, count *= part_count) {
        for (uint32_t i = 0; i < count; i++) {
            char bytes[ROOM];
            strcpy(bytes, begin);
            for (uint32_t k = 0, rest = i; k < length; k++, rest /= part_count)
                strcat(bytes, parts[rest % part_count]);
            strcat(bytes, end);
            text_set(&text, bytes, strlen(bytes));
            check_value(&text);
            if (text.at == text.end) continue;
            text.end--; /* what lies behind is no part of it */
            check_value(&text);
            text.end++;
        }
    }
    free(text.room);
}

#define CHECK_TEXTS(begin, most, end, ...)                                                \
    do {                                                                                  \
        static const char *const parts[] = {__VA_ARGS__};                                 \
        check_texts(begin, parts, (uint32_t)(sizeof parts / sizeof parts[0]), most, end); \
    } while (0)

/* Among the parts are those next to digits, and to an "e" by one bit. */
Test(parse_json_all, numbers)
{
    CHECK_TEXTS("", 6, "", "-", "+", ".", "e", "0", "1");
    CHECK_TEXTS("", 4, "", "-", "+", ".", "e", "E", "d", "D", "0", "9", "/", ":", " ");
}

Test(parse_json_all, lists_and_words)
{
    CHECK_TEXTS("", 4, "", "[", "]", "{", "}", ",", ":", "\"\"", "1", " ", "true", "nul", "false");
    CHECK_TEXTS("[", 6, "", "[", "]", ",", "1", "\t");
    CHECK_TEXTS("{", 7, "", "{", "}", ",", ":", "\"\"");
}

Test(parse_json_all, escapes)
{
    CHECK_TEXTS("\"", 4, "\"", "\\", "\"", "u", "00", "d8", "dC", "g", "n", "b", "/", "\x1F");
    CHECK_TEXTS("\"\\u", 5, "\"", "d7", "D8", "dc", "DF", "e0", "\\u", "\\n", "xu");
    CHECK_TEXTS("\"\\u", 4, "\"", "0", "9", "/", ":", "a", "F", "@", "G", "`", "g");
}

/* Every byte at every place of strings of up to three windows of eight bytes; the same byte between
 * two values, where it is space or not. */
Test(parse_json_all, each_byte_at_each_place_of_a_string)
{
    placed_text text;
    text_begin(&text);
    for (size_t size = 0; size < 26; size++) {
        for (size_t at = 0; at < size; at++) {
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t bytes[ROOM];
                memset(bytes, byte % 3 ? 'n' : '!', sizeof bytes);
                bytes[0] = bytes[size + 1] = '"';
                bytes[at + 1] = (uint8_t)byte;
                text_set(&text, bytes, size + 2);
                check_value(&text);
            }
        }
    }
    for (size_t at = 0; at < 4; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint8_t bytes[] = {'a', 'b', 'c', 'd'};
            bytes[at] = (uint8_t)byte;
            cr_assert_eq(tarei_json_is_utf8(bytes, 4), byte < 0x80, "%02x at %zu", byte, at);
        }
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t bytes[] = {(uint8_t)byte, '[', '1', (uint8_t)byte, ']', (uint8_t)byte};
        text_set(&text, bytes, sizeof bytes);
        check_value(&text);
    }
    free(text.room);
}

Test(parse_json_all, messages_tell_what_stands_there_and_what_must)
{
    static const struct {
        const char *text, *message;
    } rows[] = {
        {"[1 23]", "'2' where ',' or ']' must stand"},
        {"[1}]", "'}' where ',' or ']' must stand"},
        {"{\"a\":1 23}", "'2' where ',' or '}' must stand"},
        {"{\"a\":1]}", "']' where ',' or '}' must stand"},
        {"[1", "the JSON ends where ',' or ']' must stand"},
        {"{\"a\":1", "the JSON ends where ',' or '}' must stand"},
        {"{\"a\"xyz", "'x' where ':' must stand"},
        {"{\"a\"", "the JSON ends where ':' must stand"},
        {"{xyz", "'x' where a string must stand"},
        {"{\"a\":1,", "the JSON ends where a string must stand"},
        {"[xyz", "'x' where a JSON value must stand"},
        {"", "the JSON ends where a JSON value must stand"},
        {"1 xyz", "'x' behind the end of the JSON"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tarei_json json;
        tare_error error = expect_poison();
        tarei_json_init(&json, rows[i].text, strlen(rows[i].text), 0, 0, &error);
        if (tarei_json_skip(&json) == TARE_OK)
            cr_expect_eq(tarei_json_end(&json), TARE_E_JSON, "%s", rows[i].text);
        expect_message(rows[i].text, rows[i].message, &error);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Integers
 */

/* Which texts are one, in digits of base 10 and with a sum in two parts. */
static bool plain_integer(const uint8_t *at, const uint8_t *end, uint64_t *value, size_t *size)
{
    const uint8_t *start = at;
    uint64_t high = 0, low = 0; /* 10^9 times one, and the other */
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (high > UINT64_C(100000000000)) return false;
        low = low * 10 + (uint64_t)(*at - '0');
        high = high * 10 + low / 1000000000;
        low %= 1000000000;
    }
    *size = (size_t)(at - start);
    if (*size == 0 || (*size > 1 && *start == '0')) return false;
    if (at < end && memchr(".eE", *at, 3) != NULL) return false;
    if (high > UINT64_C(18446744073) || (high == UINT64_C(18446744073) && low > 709551615))
        return false;
    *value = high * 1000000000 + low;
    return true;
}

static void check_integer(const placed_text *text)
{
    tarei_json json;
    uint64_t value = 1, wanted = 1;
    size_t size = 0;
    tarei_json_init(&json, text->at, (size_t)(text->end - text->at), 0, 0, NULL);
    bool read = tarei_json_u64(&json, &value);
    const uint8_t *start = plain_space(text->at, text->end);
    bool is = plain_integer(start, text->end, &wanted, &size);
    if (read != is || value != wanted || json.at != start + (is ? size : 0))
        cr_assert(false, "%.*s: %d, %" PRIu64, (int)(text->end - text->at), text->at, read, value);
}

/* Of no digits to more than fit, with every byte at every place: they are read eight at a time. */
Test(parse_json_all, integers)
{
    static const char *const digits[] = {"1844674407370955161512345", "9876543210123456789000000",
                                         "1000000000000000000000000", "0123456789012345678901234"};
    placed_text text;
    text_begin(&text);
    for (size_t row = 0; row < 4; row++) {
        for (size_t size = 0; size < 24; size++) {
            for (size_t at = 0; at < size + 1; at++) {
                for (unsigned byte = 0; byte < 256; byte++) {
                    uint8_t bytes[ROOM];
                    memcpy(bytes, digits[row], size + 1);
                    bytes[at] = (uint8_t)byte;
                    text_set(&text, bytes, size + 1);
                    check_integer(&text);
                    text.end--;
                    check_integer(&text);
                    text.end++;
                }
            }
        }
    }
    free(text.room);
}
