#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "parse.h"

void tarei_json_init(tarei_json *json, const void *text, uint64_t size, uint64_t base,
                     uint32_t shard, tare_error *error)
{
    json->start = json->at = text;
    json->end = json->start + size;
    json->base = base;
    json->shard = shard;
    json->depth = 0;
    json->error = error;
}

tare_status tarei_json_fail(tarei_json *json, tare_status status, const uint8_t *at,
                            const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    uint64_t offset = json->base + (uint64_t)(at - json->start);
    return tarei_error_set(json->error, status, json->shard, offset, "%s", text);
}

static tare_status fail_expected(tarei_json *json, const char *what)
{
    if (json->at == json->end)
        return tarei_json_fail(json, TARE_E_JSON, json->at, "the JSON ends where %s must stand",
                               what);
    return tarei_json_fail(json, TARE_E_JSON, json->at, "%s where %s must stand",
                           tarei_quote(json->at, 1).text, what);
}

tare_status tarei_json_enter(tarei_json *json, char bracket, bool *more)
{
    tarei_json_space(json);
    if (json->at == json->end || *json->at != (uint8_t)bracket)
        return fail_expected(json, "an object"); /* who wants an array has seen its bracket */
    if (++json->depth > TAREI_JSON_DEPTH_MAX)
        return tarei_json_fail(json, TARE_E_DEPTH, json->at, "nested deeper than %d",
                               TAREI_JSON_DEPTH_MAX);
    json->at++;
    tarei_json_space(json);
    /* In ASCII a closing bracket stands two behind the one that opens. */
    *more = !(json->at < json->end && *json->at == (uint8_t)(bracket + 2));
    if (!*more) json->at++, json->depth--;
    return TARE_OK;
}

tare_status tarei_json_next(tarei_json *json, char bracket, bool *more)
{
    tarei_json_space(json);
    *more = json->at < json->end && *json->at == ',';
    if (!*more && (json->at == json->end || *json->at != (uint8_t)(bracket + 2)))
        return fail_expected(json, bracket == '{' ? "',' or '}'" : "',' or ']'");
    json->at++;
    json->depth -= !*more;
    return TARE_OK;
}

/* How many bytes of plain text (no quote, backslash, control character or byte beyond ASCII) come
 * next: eight at a time. Each test sets the top bit of a byte that matches; a borrow can set it in
 * bytes after the first match too, so only the first counts. */
static const uint8_t *plain_end(const uint8_t *at, const uint8_t *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    while (end - at >= 8) {
        uint64_t word = tarei_load_le64(at);
        uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
        uint64_t found = (word - ones * 0x20) | (quote - ones) | (slash - ones);
        found = ((found & ~word) | word) & tops;
        if (found != 0) return at + (__builtin_ctzll(found) >> 3);
        at += 8;
    }
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') at++;
    return at;
}

/* Size of the UTF-8 sequence at `at`, or 0. Source: RFC 3629, section 4. */
static size_t utf8_size(const uint8_t *at, const uint8_t *end)
{
    size_t left = (size_t)(end - at);
    uint8_t a = at[0], b = left > 1 ? at[1] : 0;
    uint8_t low = 0x80, high = 0xBF;
    size_t size;
    if (a >= 0xC2 && a <= 0xDF) {
        size = 2;
    } else if (a >= 0xE0 && a <= 0xEF) {
        size = 3;
        if (a == 0xE0) low = 0xA0;
        if (a == 0xED) high = 0x9F; /* surrogates */
    } else if (a >= 0xF0 && a <= 0xF4) {
        size = 4;
        if (a == 0xF0) low = 0x90;
        if (a == 0xF4) high = 0x8F; /* beyond U+10FFFF */
    } else {
        return 0;
    }
    if (left < size || b < low || b > high) return 0;
    for (size_t i = 2; i < size; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    return size;
}

bool tarei_json_is_utf8(const void *text, uint64_t size)
{
    const uint8_t *at = text, *end = size != 0 ? at + size : at; /* NULL has no places */
    while (at < end) {
        size_t step = *at < 0x80 ? 1 : utf8_size(at, end);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

/* The four hex digits at `at`, or -1. */
static int32_t hex4(const uint8_t *at)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        int digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (c | 0x20) - 'a' + 10;
        else
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The code point of the \u escape at `at` (which is at the backslash) and its size in the text: 6,
 * or 12 for a surrogate pair; 0 where it is none. */
static size_t escape_u(const uint8_t *at, size_t left, uint32_t *code)
{
    int32_t high = left >= 6 ? hex4(at + 2) : -1;
    if (high < 0 || (high >= 0xDC00 && high <= 0xDFFF)) return 0;
    *code = (uint32_t)high;
    if (high < 0xD800 || high > 0xDBFF) return 6;
    if (left < 12 || at[6] != '\\' || at[7] != 'u') return 0;
    int32_t low = hex4(at + 8);
    if (low < 0xDC00 || low > 0xDFFF) return 0;
    *code = 0x10000 + (((uint32_t)high - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    return 12;
}

/* The escape at `at`: its size in the text, 0 where it is none, and the bytes that it stands for.
 */
static size_t escape_read(const uint8_t *at, size_t left, uint8_t *bytes, size_t *count)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    *count = 1;
    if (left < 2) return 0;
    const char *letter = at[1] != 0 ? strchr(letters, at[1]) : NULL;
    if (letter != NULL) {
        bytes[0] = (uint8_t)meanings[letter - letters];
        return 2;
    }
    uint32_t code = 0;
    size_t size = at[1] == 'u' ? escape_u(at, left, &code) : 0;
    if (code < 0x80) {
        bytes[0] = (uint8_t)code;
    } else if (code < 0x800) {
        *count = 2;
        bytes[0] = (uint8_t)(0xC0 | code >> 6);
        bytes[1] = (uint8_t)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *count = 3;
        bytes[0] = (uint8_t)(0xE0 | code >> 12);
        bytes[1] = (uint8_t)(0x80 | (code >> 6 & 63));
        bytes[2] = (uint8_t)(0x80 | (code & 63));
    } else {
        *count = 4;
        bytes[0] = (uint8_t)(0xF0 | code >> 18);
        bytes[1] = (uint8_t)(0x80 | (code >> 12 & 63));
        bytes[2] = (uint8_t)(0x80 | (code >> 6 & 63));
        bytes[3] = (uint8_t)(0x80 | (code & 63));
    }
    return size;
}

tare_status tarei_json_string(tarei_json *json, tarei_token *token)
{
    tarei_json_space(json);
    if (json->at == json->end || *json->at != '"') return fail_expected(json, "a string");
    const uint8_t *at = json->at + 1, *end = json->end;
    uint32_t shorter = 0;
    token->text = at;
    for (;;) {
        at = plain_end(at, end);
        if (at == end)
            return tarei_json_fail(json, TARE_E_JSON, json->at, "a string without its end");
        if (*at == '"') break;
        if (*at == '\\') {
            uint8_t bytes[4];
            size_t count, size = escape_read(at, (size_t)(end - at), bytes, &count);
            if (size == 0) return tarei_json_fail(json, TARE_E_JSON, at, "not a JSON escape");
            shorter += (uint32_t)(size - count);
            at += size;
        } else if (*at < 0x20) {
            return tarei_json_fail(json, TARE_E_JSON, at, "a control character in a string");
        } else {
            size_t size = utf8_size(at, end);
            if (size == 0) return tarei_json_fail(json, TARE_E_UTF8, at, "not UTF-8");
            at += size;
        }
    }
    token->raw_size = (uint32_t)(at - token->text);
    token->size = token->raw_size - shorter;
    json->at = at + 1;
    return TARE_OK;
}

tare_status tarei_json_key(tarei_json *json, tarei_token *token)
{
    tare_status status = tarei_json_string(json, token);
    if (status != TARE_OK) return status;
    tarei_json_space(json);
    if (json->at == json->end || *json->at != ':') return fail_expected(json, "':'");
    json->at++;
    return TARE_OK;
}

/* The digits among the next eight bytes, at once: finds the first byte that is none, shifts it and
 * all behind it out, then adds up digits in pairs, pairs of pairs, and fours. */
static uint32_t eight_digits(const uint8_t *at, uint64_t *value)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word = tarei_load_le64(at) ^ ones * '0';
    uint64_t others = ((word + ones * (128 - 10)) | word) & ones << 7;
    uint32_t count = others != 0 ? (uint32_t)__builtin_ctzll(others) >> 3 : 8;
    if (count == 0) return 0;
    word <<= 64 - 8 * count;
    word = (word * 10 + (word >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
    word = (word * 100 + (word >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
    *value = (word * 10000 + (word >> 32)) & UINT32_MAX;
    return count;
}

bool tarei_json_u64(tarei_json *json, uint64_t *value)
{
    static const uint32_t powers[] = {1,      10,      100,      1000,     10000,
                                      100000, 1000000, 10000000, 100000000};
    tarei_json_space(json);
    const uint8_t *start = json->at, *at = start, *end = json->end;
    uint64_t sum = 0, some = 0;
    uint32_t count = 8;
    for (int i = 0; i < 2 && count == 8 && end - at >= 8; i++) { /* 16 digits always fit */
        count = eight_digits(at, &some);
        if (count != 0) sum = sum * powers[count] + some;
        at += count;
    }
    for (; at < end && (uint8_t)(*at - '0') <= 9; at++)
        if (tarei_check_multiply(sum, 10, &sum) || tarei_check_add(sum, (uint8_t)(*at - '0'), &sum))
            return false;
    if (at == start || (at - start > 1 && *start == '0')) return false;
    if (at < end && (*at == '.' || (*at | 0x20) == 'e')) return false;
    json->at = at;
    *value = sum;
    return true;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static bool skip_number(tarei_json *json)
{
    const uint8_t *at = json->at, *end = json->end, *digits;
    if (at < end && *at == '-') at++;
    digits = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    if (at == digits || (at - digits > 1 && *digits == '0')) return false;
    if (at < end && *at == '.') {
        digits = ++at;
        while (at < end && *at >= '0' && *at <= '9') at++;
        if (at == digits) return false;
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        digits = at;
        while (at < end && *at >= '0' && *at <= '9') at++;
        if (at == digits) return false;
    }
    json->at = at;
    return true;
}

/* Recursive; the depth is bounded by tarei_json_enter. */
tare_status tarei_json_skip(tarei_json *json)
{
    tarei_token token;
    bool more = false;
    tarei_json_space(json);
    uint8_t first = json->at < json->end ? *json->at : 0;
    if (first == '"') return tarei_json_string(json, &token);
    if (first == '{' || first == '[') {
        tare_status status = tarei_json_enter(json, (char)first, &more);
        while (status == TARE_OK && more) {
            if (first == '{') status = tarei_json_key(json, &token);
            if (status == TARE_OK) status = tarei_json_skip(json);
            if (status == TARE_OK) status = tarei_json_next(json, (char)first, &more);
        }
        return status;
    }
    if (first == 't' && tarei_json_literal(json, "true", 4)) return TARE_OK;
    if (first == 'f' && tarei_json_literal(json, "false", 5)) return TARE_OK;
    if (first == 'n' && tarei_json_literal(json, "null", 4)) return TARE_OK;
    if (skip_number(json)) return TARE_OK;
    return fail_expected(json, "a JSON value");
}

tare_status tarei_json_end(tarei_json *json)
{
    tarei_json_space(json);
    if (json->at == json->end) return TARE_OK;
    return tarei_json_fail(json, TARE_E_JSON, json->at, "%s behind the end of the JSON",
                           tarei_quote(json->at, 1).text);
}

void tarei_json_unescape(const uint8_t *text, uint32_t size, char *target)
{
    for (uint32_t done = 0; done < size;) {
        if (*text != '\\') {
            target[done++] = (char)*text++;
            continue;
        }
        uint8_t bytes[4];
        size_t count;
        text += escape_read(text, 12, bytes, &count); /* it parsed well: all of it is there */
        for (size_t i = 0; i < count && done < size; i++) target[done++] = (char)bytes[i];
    }
}

bool tarei_json_equals(const tarei_token *token, const char *text, size_t size)
{
    if (token->size != size) return false;
    if (token->raw_size == size) return memcmp(token->text, text, size) == 0;
    const uint8_t *at = token->text;
    for (size_t done = 0; done < size;) {
        uint8_t bytes[4] = {*at};
        size_t count = 1;
        at += *at == '\\' ? escape_read(at, 12, bytes, &count) : 1;
        if (count > size - done || memcmp(text + done, bytes, count) != 0) return false;
        done += count;
    }
    return true;
}
