/*
 * JSON as strict as RFC 8259 has it: S-UTF8, S-JSON, S-BEGIN, S-PAD, S-OBJ and S-DEPTH of
 * docs/format_safetensors.md, seen through whole headers, with the status and place of each error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "support/damage.h"
#include "support/expect.h"
#include "support/temp_files.h"

Test(parse_json, s_utf8_refuses_bytes_that_are_not_utf8)
{
    static const damage rows[] = {
        {"bare continuation", "{'a^\x80':" ONE "}", 1, TARE_E_UTF8},
        {"overlong of 2", "{'^\xC0\x80':" ONE "}", 1, TARE_E_UTF8},
        {"overlong of 2, highest", "{'^\xC1\xBF':" ONE "}", 1, TARE_E_UTF8},
        {"overlong of 3", "{'^\xE0\x9F\xBF':" ONE "}", 1, TARE_E_UTF8},
        {"overlong of 4", "{'^\xF0\x8F\xBF\xBF':" ONE "}", 1, TARE_E_UTF8},
        {"surrogate", "{'xy^\xED\xA0\x80z':" ONE "}", 1, TARE_E_UTF8},
        {"highest surrogate", "{'^\xED\xBF\xBF':" ONE "}", 1, TARE_E_UTF8},
        {"beyond U+10FFFF", "{'^\xF4\x90\x80\x80':" ONE "}", 1, TARE_E_UTF8},
        {"lead byte F5", "{'^\xF5\x80\x80\x80':" ONE "}", 1, TARE_E_UTF8},
        {"byte FE", "{'^\xFE':" ONE "}", 1, TARE_E_UTF8},
        {"byte FF", "{'^\xFF':" ONE "}", 1, TARE_E_UTF8},
        {"2 cut by the quote", "{'^\xC3':" ONE "}", 1, TARE_E_UTF8},
        {"3 cut by the quote", "{'^\xE2\x82':" ONE "}", 1, TARE_E_UTF8},
        {"4 cut by the quote", "{'^\xF0\x9F\xA6':" ONE "}", 1, TARE_E_UTF8},
        {"3 with a bad third", "{'^\xE2\x82g':" ONE "}", 1, TARE_E_UTF8},
        {"4 with a bad fourth", "{'^\xF0\x9F\xA6g':" ONE "}", 1, TARE_E_UTF8},
        {"4 cut by the end", "{'^\xF0\x9F\xA6", 0, TARE_E_UTF8},
        {"2 cut by the end", "{'^\xC3", 0, TARE_E_UTF8},
        {"behind good UTF-8", "{'\xC3\xA9^\x80':" ONE "}", 1, TARE_E_UTF8},
        {"behind eight plain bytes", "{'12345678^\x80':" ONE "}", 1, TARE_E_UTF8},
        {"in a dtype", "{'a':" INFO("'^\xFF'", "[1]", "[0,1]") "}", 1, TARE_E_UTF8},
        {"in a key nobody reads", "{'a':{'^\xFF':1}}", 1, TARE_E_UTF8},
        {"in a value nobody reads", "{'a':{'x':[{'y':'^\xFF'}]}}", 1, TARE_E_UTF8},
        {"in a key of metadata", "{'__metadata__':{'^\xFF':''}}", 0, TARE_E_UTF8},
        {"in a value of metadata", "{'__metadata__':{'k':'^\xFF'}}", 0, TARE_E_UTF8},
        {"lowest of each length", "{'\xC2\x80\xE0\xA0\x80\xF0\x90\x80\x80':" ONE "}", 1, TARE_OK},
        {"highest of each length", "{'\xDF\xBF\xED\x9F\xBF\xEF\xBF\xBF\xF4\x8F\xBF\xBF':" ONE "}",
         1, TARE_OK},
        {"around the surrogates", "{'\xED\x9F\xBF\xEE\x80\x80':" ONE "}", 1, TARE_OK},
        {"a byte order mark in a name", "{'\xEF\xBB\xBF':" ONE "}", 1, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

/* Whether `size` bytes are one code point, by what it is and not by ranges of bytes. */
static bool is_code_point(const uint8_t *at, size_t size)
{
    static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    static const uint8_t masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07}, leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    uint32_t point = at[0] & masks[size];
    if ((at[0] & ~masks[size] & 0xFF) != leads[size]) return false;
    for (size_t i = 1; i < size; i++) {
        if (at[i] >> 6 != 2) return false;
        point = point << 6 | (at[i] & 0x3F);
    }
    return point >= lowest[size] && point <= 0x10FFFF && !(point >= 0xD800 && point <= 0xDFFF);
}

/* All pairs of bytes, and behind each those around the boundaries. */
Test(parse_json, s_utf8_takes_what_encodes_a_code_point_and_nothing_else)
{
    static const uint8_t further[] = {0x7F, 0x80, 0xBF, 0xC0};
    for (uint32_t i = 0; i < 0x10000 * 16; i++) {
        uint8_t bytes[] = {(uint8_t)(i >> 12), (uint8_t)(i >> 4), further[i >> 2 & 3],
                           further[i & 3]};
        if (bytes[0] < 0x80) continue;
        for (size_t size = 1; size <= 4; size++) {
            /* One that is a pair of them is another's row. */
            bool wanted = is_code_point(bytes, size);
            if (!wanted && size > 1 && tarei_json_is_utf8(bytes, size - 1)) continue;
            cr_assert_eq(tarei_json_is_utf8(bytes, size), wanted, "%02x%02x%02x%02x, %zu bytes",
                         bytes[0], bytes[1], bytes[2], bytes[3], size);
        }
    }
}

Test(parse_json, s_json_refuses_what_is_no_json_object)
{
    static const damage rows[] = {
        {"nothing", "^", 0, TARE_E_JSON},
        {"space", "  \t\r\n ^", 0, TARE_E_JSON},
        {"a byte order mark", "^\xEF\xBB\xBF{}", 0, TARE_E_JSON},
        {"a zero byte in front", "^@{}", 0, TARE_E_JSON},
        {"a comment in front", "^// x\n{}", 0, TARE_E_JSON},
        {"s_obj: array", "^[]", 0, TARE_E_JSON},
        {"s_obj: string", "^'a'", 0, TARE_E_JSON},
        {"s_obj: number", "^1", 0, TARE_E_JSON},
        {"s_obj: true", "^true", 0, TARE_E_JSON},
        {"s_obj: null", "^null", 0, TARE_E_JSON},
        {"s_obj: array behind space", "  ^[]", 0, TARE_E_JSON},
        {"open", "{^", 0, TARE_E_JSON},
        {"closed by a bracket", "{^]", 0, TARE_E_JSON},
        {"only a comma", "{^,}", 0, TARE_E_JSON},
        {"comma behind the last", "{'a':" ONE ",^}", 1, TARE_E_JSON},
        {"two commas", "{'a':" ONE ",^,'b':" U8("[1,2]") "}", 2, TARE_E_JSON},
        {"no comma", "{'a':" ONE "^'b':" U8("[1,2]") "}", 2, TARE_E_JSON},
        {"no colon", "{'a'^" ONE "}", 1, TARE_E_JSON},
        {"two colons", "{'a':{'x':^:1}}", 1, TARE_E_JSON},
        {"no value", "{'a':{'x':^}}", 1, TARE_E_JSON},
        {"no key", "{^:1}", 1, TARE_E_JSON},
        {"a number for a key", "{^1:" ONE "}", 1, TARE_E_JSON},
        {"a bare key", "{^a:" ONE "}", 1, TARE_E_JSON},
        {"single quotes", "{^`a`:" ONE "}", 1, TARE_E_JSON},
        {"a comment inside", "{^/* */}", 0, TARE_E_JSON},
        {"a form feed", "{^\f}", 0, TARE_E_JSON},
        {"a no-break space", "{^\xC2\xA0}", 0, TARE_E_JSON},
        {"ends in the info", "{'a':{'dtype':'U8'^", 0, TARE_E_JSON},
        {"ends behind the info", "{'a':" ONE "^", 1, TARE_E_JSON},
        {"ends behind a comma", "{'a':" ONE ",^", 1, TARE_E_JSON},
        {"ends behind a key", "{'a'^", 0, TARE_E_JSON},
        {"s_pad: zero bytes behind", "{}^@@@@", 0, TARE_E_JSON},
        {"s_pad: text behind", "{} ^x", 0, TARE_E_JSON},
        {"two objects", "{}^{}", 0, TARE_E_JSON},
        {"another brace", "{}^}", 0, TARE_E_JSON},
        {"not UTF-8 behind", "{}^\xFF", 0, TARE_E_JSON},
        {"s_begin: space in front", " \t\r\n{}", 0, TARE_OK},
        {"s_pad: space behind", "{} \t\r\n", 0, TARE_OK},
        {"space everywhere",
         " { 'a' : { 'dtype' : 'U8' , 'shape' : [ 1 ] , 'data_offsets' : [ 0 "
         ", 1 ] , 'x' : [ ] , 'y' : { } } } ",
         1, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

Test(parse_json, s_json_refuses_bad_strings)
{
    static const damage rows[] = {
        {"no end", "{^'abc", 0, TARE_E_JSON},
        {"no end but a backslash", "{'abc^\\", 0, TARE_E_JSON},
        {"no end but an escaped quote", "{^'abc\\'", 0, TARE_E_JSON},
        {"a line end", "{'a^\n':" ONE "}", 1, TARE_E_JSON},
        {"a tab", "{'a^\t':" ONE "}", 1, TARE_E_JSON},
        {"a zero byte", "{'a^@':" ONE "}", 1, TARE_E_JSON},
        {"byte 1F behind plain ones", "{'12345678901^\x1F':" ONE "}", 1, TARE_E_JSON},
        {"\\x", "{'a^\\x41':" ONE "}", 1, TARE_E_JSON},
        {"\\0", "{'a^\\0':" ONE "}", 1, TARE_E_JSON},
        {"\\ and a zero byte", "{'a^\\@':" ONE "}", 1, TARE_E_JSON},
        {"\\`", "{'a^\\`':" ONE "}", 1, TARE_E_JSON},
        {"\\U", "{'a^\\U0041':" ONE "}", 1, TARE_E_JSON},
        {"\\u of three digits", "{'a^\\u004':" ONE "}", 1, TARE_E_JSON},
        {"\\u without digits", "{'a^\\u':" ONE "}", 1, TARE_E_JSON},
        {"\\u with a letter", "{'a^\\u00G0':" ONE "}", 1, TARE_E_JSON},
        {"\\u with a sign", "{'a^\\u+041':" ONE "}", 1, TARE_E_JSON},
        {"\\u with a space", "{'a^\\u 041':" ONE "}", 1, TARE_E_JSON},
        {"no end but a whole \\u", "{^'a\\u0041", 0, TARE_E_JSON},
        {"no end but a whole pair", "{^'a\\ud800\\udc00", 0, TARE_E_JSON},
        {"\\u cut by the end", "{'a^\\u004", 0, TARE_E_JSON},
        {"high surrogate alone", "{'a^\\ud800':" ONE "}", 1, TARE_E_JSON},
        {"high surrogate and text", "{'a^\\uD800x':" ONE "}", 1, TARE_E_JSON},
        {"high surrogate and an escape", "{'a^\\udbff\\n':" ONE "}", 1, TARE_E_JSON},
        {"two high surrogates", "{'a^\\ud800\\ud800':" ONE "}", 1, TARE_E_JSON},
        {"high surrogate and no surrogate", "{'a^\\ud800\\ue000':" ONE "}", 1, TARE_E_JSON},
        {"high surrogate cut", "{'a^\\ud800\\udc0", 0, TARE_E_JSON},
        {"low surrogate", "{'a^\\udc00':" ONE "}", 1, TARE_E_JSON},
        {"highest low surrogate", "{'a^\\udfff':" ONE "}", 1, TARE_E_JSON},
        {"every short escape", "{'\\'\\\\\\/\\b\\f\\n\\r\\t':" ONE "}", 1, TARE_OK},
        {"\\u of every length", "{'\\u0000\\u007F\\u0080\\u07fF\\u0800\\ufffF':" ONE "}", 1,
         TARE_OK},
        {"lowest and highest pairs", "{'\\ud800\\udc00\\udBFf\\uDfFf':" ONE "}", 1, TARE_OK},
        {"byte 7F", "{'\x7F':" ONE "}", 1, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

/* By digits of base 64, as RFC 3629 draws it; a surrogate pair is one code. */
static void expect_escape(uint32_t code)
{
    static const uint32_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    uint32_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4, rest = code;
    char wanted[5] = "", escape[32];
    for (uint32_t i = size - 1; i > 0; i--, rest /= 64) wanted[i] = (char)(0x80 + rest % 64);
    wanted[0] = (char)(lead[size] + rest);
    if (code < 0x10000)
        snprintf(escape, sizeof escape, "\\u%04X", code);
    else
        snprintf(escape, sizeof escape, "\\u%04x\\u%04X", 0xD800 + (code - 0x10000) / 1024,
                 0xDC00 + code % 1024);
    build_text header = {0};
    build_addf(&header, "{\"<%s>\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}",
               escape);
    build_text file = build_raw(header.data, header.size, 1);
    tare_model *model = expect_open_bytes(escape, &file);
    tare_string name = tare_name(model, tare_at(model, 0));
    cr_expect_eq(name.size, size + 2, "%s", escape);
    cr_expect(memcmp(name.data + 1, wanted, size) == 0 && name.data[size + 1] == '>', "%s", escape);
    tare_close(model);
    build_free(&header);
    build_free(&file);
}

Test(parse_json, escapes_stand_for_utf_8)
{
    for (uint32_t code = 0; code < 0x110000; code += code < 0x1000 ? 1 : 251)
        if (code < 0xD800 || code >= 0xE000) expect_escape(code);
    expect_escape(0xD7FF);
    expect_escape(0xE000);
    expect_escape(0xFFFF);
    expect_escape(0x10000);
    expect_escape(0x10FFFF);
}

/* A token of that text in its quotes; the text is `*copy`, in as many bytes. */
static tarei_token token_of(const char *quoted, char **copy)
{
    tarei_json json;
    tarei_token token;
    tare_error error = expect_poison();
    size_t size = strlen(quoted);
    *copy = temp_copy(quoted, size);
    tarei_json_init(&json, *copy, size, 0, 0, &error);
    cr_assert_eq(tarei_json_string(&json, &token), TARE_OK, "%s: %s", quoted, error.message);
    return token;
}

Test(parse_json, texts_are_told_apart_whatever_is_escaped)
{
    static const struct {
        const char *quoted, *text;
        bool equal;
    } rows[] = {
        {"\"\"", "", true},
        {"\"dtype\"", "dtype", true},
        {"\"dtypo\"", "dtype", false},
        {"\"\\u0064type\"", "dtype", true},
        {"\"dtyp\\u0065\"", "dtype", true},
        {"\"dtyp\\u0066\"", "dtype", false},
        {"\"\\u0064typo\"", "dtype", false},
        {"\"\\u0064typ\"", "dtype", false},
        {"\"\\u0064types\"", "dtype", false},
        {"\"\\n\\\\\\\"\"", "\n\\\"", true},
        {"\"\\u00e9\\u20ac\\ud83d\\ude00\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", true},
        {"\"\\u00e9\\u20ac\\ud83d\\ude00\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x81", false},
        {"\"\\u00e8\"", "\xC3\xA9", false},
        {"\"0123456789012345678901234567890123456789\\u0061\"",
         "0123456789012345678901234567890123456789a", true},
        {"\"0123456789012345678901234567890123456789\\u0061\"",
         "0123456789012345678901234567890123456789b", false},
        {"\"\\u0030123456789012345678901234567890123456789a\"",
         "0123456789012345678901234567890123456780a", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *copy, *text = temp_copy(rows[i].text, strlen(rows[i].text));
        tarei_token token = token_of(rows[i].quoted, &copy);
        cr_expect_eq(tarei_json_equals(&token, text, strlen(rows[i].text)), rows[i].equal, "%s",
                     rows[i].quoted);
        free(text);
        free(copy);
    }
}

/* Whatever size they are given: no caller gives another than the token's. */
Test(parse_json, escapes_end_where_there_is_no_more_room)
{
    char *copy, target[8];
    tarei_token token = token_of("\"a\\ud83d\\ude00z\"", &copy);
    static const char whole[] = "a\xF0\x9F\x98\x80z";
    cr_assert_eq(token.size, 6);
    for (uint32_t size = 0; size <= token.size; size++) {
        memset(target, '.', sizeof target);
        tarei_json_unescape(token.text, size, target);
        cr_expect_arr_eq(target, whole, size);
        for (size_t i = size; i < sizeof target; i++) cr_expect_eq(target[i], '.', "%u", size);
        tarei_token forged = {.text = token.text, .raw_size = token.raw_size, .size = size};
        cr_expect_eq(tarei_json_equals(&forged, whole, size), size < 2 || size > 4, "%u", size);
    }
    free(copy);
}

Test(parse_json, s_json_refuses_bad_values_in_members_that_nobody_reads)
{
#define EXTRA(value) "{'a':{'x':" value ",'dtype':'U8','shape':[1],'data_offsets':[0,1]}}"
    static const damage rows[] = {
        {"a leading zero", EXTRA("^01"), 1, TARE_E_JSON},
        {"a leading plus", EXTRA("^+1"), 1, TARE_E_JSON},
        {"a minus alone", EXTRA("^-"), 1, TARE_E_JSON},
        {"two minuses", EXTRA("^--1"), 1, TARE_E_JSON},
        {"a point without a fraction", EXTRA("^1."), 1, TARE_E_JSON},
        {"a fraction without a number", EXTRA("^.5"), 1, TARE_E_JSON},
        {"an exponent without digits", EXTRA("^1e"), 1, TARE_E_JSON},
        {"an exponent of a sign", EXTRA("^1E+"), 1, TARE_E_JSON},
        {"hexadecimal", EXTRA("0^x10"), 1, TARE_E_JSON},
        {"NaN", EXTRA("^NaN"), 1, TARE_E_JSON},
        {"Infinity", EXTRA("^Infinity"), 1, TARE_E_JSON},
        {"-Infinity", EXTRA("^-Infinity"), 1, TARE_E_JSON},
        {"tru", EXTRA("^tru"), 1, TARE_E_JSON},
        {"True", EXTRA("^True"), 1, TARE_E_JSON},
        {"truex", EXTRA("true^x"), 1, TARE_E_JSON},
        {"fals", EXTRA("^fals"), 1, TARE_E_JSON},
        {"nul", EXTRA("^nul"), 1, TARE_E_JSON},
        {"an array with a comma behind", EXTRA("[1,^]"), 1, TARE_E_JSON},
        {"an array with a comma in front", EXTRA("[^,1]"), 1, TARE_E_JSON},
        {"an array without a comma", EXTRA("[1 ^2]"), 1, TARE_E_JSON},
        {"an array closed by a brace", EXTRA("[1^}"), 1, TARE_E_JSON},
        {"an object without a value", EXTRA("{'y'^}"), 1, TARE_E_JSON},
        {"an object with a comma behind", EXTRA("{'y':1,^}"), 1, TARE_E_JSON},
        {"an object closed by a bracket", EXTRA("{'y':1^]"), 1, TARE_E_JSON},
        {"a bad string", EXTRA("['^\\x']"), 1, TARE_E_JSON},
        {"a minus at the end", "{'a':{'x':^-", 0, TARE_E_JSON},
        {"an exponent at the end", "{'a':{'x':^1e", 0, TARE_E_JSON},
        {"a sign at the end", "{'a':{'x':^1e-", 0, TARE_E_JSON},
        {"a point at the end", "{'a':{'x':^1.", 0, TARE_E_JSON},
        {"a number at the end", "{'a':{'x':1^", 0, TARE_E_JSON},
        {"a fraction at the end", "{'a':{'x':1.5^", 0, TARE_E_JSON},
        {"tru at the end", "{'a':{'x':^tru", 0, TARE_E_JSON},
        {"nothing at the end", "{'a':{'x':^", 0, TARE_E_JSON},
        {"an array at the end", "{'a':{'x':[^", 0, TARE_E_JSON},
        {"an exponent and a letter", EXTRA("1e5^x"), 1, TARE_E_JSON},
        {"a fraction and a letter", EXTRA("^1.x"), 1, TARE_E_JSON},
        {"a sign and a letter", EXTRA("^1e+x"), 1, TARE_E_JSON},
        {"a minus and a letter", EXTRA("^-x"), 1, TARE_E_JSON},
        {"numbers of all forms", EXTRA("[0,-0,1,-1,10,0.5,-1.50,1e9,1E+09,2e-3,1.5e1]"), 1,
         TARE_OK},
        {"a number beyond all types", EXTRA("123456789012345678901234567890e400"), 1, TARE_OK},
        {"all kinds", EXTRA("[true,false,null,'',[],{},[{'y':[{}]}]]"), 1, TARE_OK},
    };
    DAMAGE_CHECK(rows);
}

/* The place is the same whether that or a comma is missed. */
Test(parse_json, a_number_that_ends_too_soon_is_said_to_be_no_value)
{
    static const char *const rows[] = {EXTRA("-"), EXTRA("01"), EXTRA("1."), EXTRA("1e"),
                                       EXTRA("1e+")};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t mark;
        build_text header = build_marked(rows[i], &mark);
        build_text file = build_raw(header.data, header.size, 1);
        tare_model *model;
        tare_error error;
        cr_expect_eq(damage_open(&file, &model, &error), TARE_E_JSON);
        expect_message(rows[i], "where a JSON value must stand", &error);
        build_free(&file);
        build_free(&header);
    }
}

/* Nested arrays, `depth` of them, inside the two objects of a header. */
static build_text nested(unsigned depth, const char *open, const char *middle, const char *close)
{
    build_text header = {0};
    build_addf(&header, "{\"a\":{\"x\":");
    for (unsigned i = 0; i < depth; i++) build_addf(&header, "%s", open);
    build_addf(&header, "%s", middle);
    for (unsigned i = 0; i < depth; i++) build_addf(&header, "%s", close);
    build_addf(&header, ",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
    return header;
}

Test(parse_json, s_depth_allows_127_levels_and_refuses_128)
{
    static const char *const forms[][3] = {
        {"[", "", "]"}, {"{\"y\":", "1", "}"}, {"[{\"y\":", "1", "}]"}};
    for (size_t f = 0; f < 3; f++) {
        unsigned per = (unsigned)(f == 2 ? 2 : 1), fits = 125 / per;
        for (unsigned more = 0; more < 2; more++) {
            build_text header = nested(fits + more, forms[f][0], forms[f][1], forms[f][2]);
            build_text file = build_raw(header.data, header.size, 1);
            tare_model *model;
            tare_error error;
            tare_status status = damage_open(&file, &model, &error);
            if (more == 0) {
                expect_opened("as deep as may be", status, model, &error);
                tare_close(model);
            } else {
                size_t opens = f == 0 ? 125 : f == 1 ? 125 * 5 : 62 * 6 + 1;
                expect_refused("too deep", TARE_E_DEPTH, 8 + 10 + opens, status, model, &error);
            }
            build_free(&header);
            build_free(&file);
        }
    }
}

Test(parse_json, s_depth_refuses_a_million_brackets_without_recursing)
{
    size_t count = 1000000;
    char *header = malloc(count);
    memset(header, '[', count);
    memcpy(header, "{\"a\":{\"x\":", 10);
    build_text file = build_raw(header, count, 0);
    tare_model *model;
    tare_error error;
    tare_status status = damage_open(&file, &model, &error);
    expect_refused("a million deep", TARE_E_DEPTH, 8 + 10 + 125, status, model, &error);
    free(header);
    build_free(&file);
}
