#include "cli.h"

#include <stdio.h>
#include <string.h>

enum { ITEMS_MAX = 6, ITEM_SIZE_MAX = 40 };

/* The dtype whose elements look like a number of that kind. */
static tare_dtype dtype_of(tare_kind kind)
{
    static const tare_dtype dtypes[] = {
        [TARE_KIND_U8] = TARE_DTYPE_U8,   [TARE_KIND_I8] = TARE_DTYPE_I8,
        [TARE_KIND_U16] = TARE_DTYPE_U16, [TARE_KIND_I16] = TARE_DTYPE_I16,
        [TARE_KIND_U32] = TARE_DTYPE_U32, [TARE_KIND_I32] = TARE_DTYPE_I32,
        [TARE_KIND_F32] = TARE_DTYPE_F32, [TARE_KIND_U64] = TARE_DTYPE_U64,
        [TARE_KIND_I64] = TARE_DTYPE_I64, [TARE_KIND_F64] = TARE_DTYPE_F64,
    };
    return kind < sizeof dtypes / sizeof *dtypes ? dtypes[kind] : 0;
}

/* "?" for the kind of a value that a damaged index file leads astray. */
static const char *kind_name(tare_kind kind)
{
    const char *name = tare_kind_name(kind);
    return name != NULL ? name : "?";
}

/* A value that is neither a string nor an array. */
static void decode(tare_value value, bool json, char target[DECODE_TEXT_SIZE])
{
    int truth;
    if (value.kind == 0)
        snprintf(target, DECODE_TEXT_SIZE, "%s", json ? "null" : "(the index file is damaged)");
    else if (tare_value_bool(value, &truth) == TARE_OK)
        snprintf(target, DECODE_TEXT_SIZE, "%s", truth ? "true" : "false"); /* all but 0 is true */
    else
        decode_value(dtype_of(value.kind), value.data, 0, json, target);
}

static void print_item(tare_value item, bool all)
{
    char text[DECODE_TEXT_SIZE];
    tare_string string;
    if (tare_value_string(item, &string) != TARE_OK) {
        decode(item, false, text);
        out_string(text);
        return;
    }
    out_string("\"");
    if (all)
        out_escaped(string);
    else
        out_string(text_escape(string, text, ITEM_SIZE_MAX));
    out_string("\"");
}

static void print_array(tare_value array, bool all)
{
    tare_value item;
    out_string("[");
    for (uint64_t i = 0; tare_value_next(&array, &item) && !out_stopped(); i++) {
        if (i > 0) out_string(", ");
        if (i == ITEMS_MAX && !all) {
            out_string("...");
            break;
        }
        print_item(item, all);
    }
    out_string("]");
}

void values_print(tare_value value, bool all)
{
    tare_string string;
    char text[DECODE_TEXT_SIZE];
    if (value.kind == TARE_KIND_ARRAY) {
        print_array(value, all);
    } else if (tare_value_string(value, &string) == TARE_OK) {
        out_escaped(string);
    } else {
        decode(value, false, text);
        out_string(text);
    }
}

size_t values_kind(tare_value value, bool print)
{
    bool array = value.kind == TARE_KIND_ARRAY;
    const char *name = kind_name(array ? value.item_kind : value.kind);
    char count[TEXT_U64_SIZE + 2] = "";
    if (array) {
        count[0] = '[';
        size_t size = 1 + text_u64(value.count, count + 1);
        memcpy(count + size, "]", 2);
    }
    if (print) {
        out_string(name);
        out_string(count);
    }
    return strlen(name) + strlen(count);
}

static void json_value(tare_value value)
{
    tare_string string;
    char text[DECODE_TEXT_SIZE];
    if (tare_value_string(value, &string) == TARE_OK) {
        json_string(string);
    } else {
        decode(value, true, text);
        json_raw(text);
    }
}

void values_json(tare_value value)
{
    tare_value item;
    json_key("kind");
    json_text(kind_name(value.kind));
    if (value.kind == TARE_KIND_ARRAY) {
        json_key("item_kind");
        json_text(kind_name(value.item_kind));
    }
    json_key("value");
    if (value.kind != TARE_KIND_ARRAY) {
        json_value(value);
        return;
    }
    json_open('[');
    while (tare_value_next(&value, &item) && !out_stopped()) json_value(item);
    json_close(']');
}

int values_compare(tare_value a, tare_value b)
{
    if (a.kind != b.kind) return a.kind < b.kind ? -1 : 1;
    if (a.item_kind != b.item_kind) return a.item_kind < b.item_kind ? -1 : 1;
    if (a.size != b.size) return a.size < b.size ? -1 : 1;
    return a.size > 0 ? memcmp(a.data, b.data, a.size) : 0;
}
