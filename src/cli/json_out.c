#include "cli.h"

#include <stdio.h>
#include <string.h>

/* Where the document stands: whether a comma is due before the next item. */
static struct {
    bool comma;
    bool line;
    bool after_key;
} json;

static void start_item(void)
{
    if (json.after_key) {
        json.after_key = false;
        return;
    }
    if (json.comma) out_string(json.line ? "," : ", ");
    if (json.line) out_string("\n");
    json.line = false;
    json.comma = true;
}

void json_open(char bracket)
{
    start_item();
    out_bytes(&bracket, 1);
    json.comma = false;
}

void json_close(char bracket)
{
    if (json.line) out_string("\n");
    out_bytes(&bracket, 1);
    json.line = false;
    json.comma = true;
}

void json_line(void)
{
    json.line = true;
}

void json_end(void)
{
    out_string("\n");
    json.comma = false;
}

static void write_u16(uint32_t unit)
{
    char text[8];
    snprintf(text, sizeof text, "\\u%04x", (unsigned)(unit & 0xFFFF));
    out_bytes(text, 6);
}

static void write_code(uint32_t code)
{
    static const char letters[][2] = {
        {'"', '"'}, {'\\', '\\'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        if (code == (unsigned char)letters[i][0]) {
            char text[2] = {'\\', letters[i][1]};
            out_bytes(text, 2);
            return;
        }
    }
    if (code > 0xFFFF) {
        write_u16(0xD800 + ((code - 0x10000) >> 10));
        write_u16(0xDC00 + ((code - 0x10000) & 0x3FF));
    } else {
        write_u16(code);
    }
}

/* Characters that could harm a terminal are escaped here too: JSON is often looked at. */
static void write_string(tare_string text)
{
    out_bytes("\"", 1);
    while (text.size > 0) {
        size_t plain = 0;
        while (plain < text.size && text.data[plain] >= 0x20 && text.data[plain] < 0x7F &&
               text.data[plain] != '"' && text.data[plain] != '\\') {
            plain++;
        }
        out_bytes(text.data, plain);
        text.data += plain;
        text.size -= plain;
        if (text.size == 0) break;
        uint32_t code;
        size_t taken = text_decode(text, &code);
        if (code == UINT32_MAX)
            write_code(0xFFFD);
        else if (code < 0x80 || text_is_unsafe(code))
            write_code(code);
        else
            out_bytes(text.data, taken);
        text.data += taken;
        text.size -= taken;
    }
    out_bytes("\"", 1);
}

void json_name(tare_string key)
{
    start_item();
    write_string(key);
    out_bytes(": ", 2);
    json.after_key = true;
}

void json_key(const char *key)
{
    json_name(text_of(key));
}

void json_string(tare_string text)
{
    start_item();
    write_string(text);
}

void json_text(const char *text)
{
    json_string(text_of(text));
}

void json_raw(const char *text)
{
    start_item();
    out_string(text);
}

void json_u64(uint64_t value)
{
    start_item();
    out_u64(value);
}

void json_bool(bool value)
{
    json_raw(value ? "true" : "false");
}

void json_field(const char *key, uint64_t value)
{
    json_key(key);
    json_u64(value);
}

void json_shape(const uint64_t *shape, uint32_t rank)
{
    json_open('[');
    for (uint32_t i = 0; i < rank; i++) json_u64(shape[i]);
    json_close(']');
}

void json_tensor(const tare_model *model, const tare_info *info)
{
    json_key("name");
    json_string((tare_string){info->name, info->name_size});
    json_key("dtype");
    json_text(cli_dtype_name(info->dtype));
    json_key("shape");
    json_shape(info->shape, info->rank);
    json_field("size", info->size);
    json_field("offset", info->offset);
    json_field("shard", info->shard);
    json_key("file");
    json_string(tare_shard_at(model, info->shard).name);
}
