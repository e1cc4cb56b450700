#include "builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void build_add(build_text *text, const void *bytes, size_t size)
{
    if (size + 1 > text->capacity - text->size) {
        size_t capacity = 2 * text->capacity + size + 64;
        char *data = realloc(text->data, capacity);
        if (data == NULL) abort();
        text->data = data;
        text->capacity = capacity;
    }
    if (size != 0) memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = 0;
}

void build_addf(build_text *text, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof line) abort();
    build_add(text, line, (size_t)size);
}

void build_add_quoted(build_text *text, const char *name, size_t size)
{
    build_add(text, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == '"' || c == '\\')
            build_addf(text, "\\u%04x", c);
        else
            build_add(text, &c, 1);
    }
    build_add(text, "\"", 1);
}

void build_free(build_text *text)
{
    free(text->data);
    memset(text, 0, sizeof *text);
}

build_text build_file(const build_tensor *tensors, size_t count, const char *metadata)
{
    build_text header = {0};
    uint64_t at = 0;
    build_add(&header, "{", 1);
    if (metadata != NULL) {
        build_addf(&header, "\"__metadata__\":");
        build_add(&header, metadata, strlen(metadata));
    }
    for (size_t i = 0; i < count; i++) {
        const build_tensor *tensor = &tensors[i];
        size_t name_size = tensor->name_size ? tensor->name_size : strlen(tensor->name);
        if (header.size > 1) build_add(&header, ",", 1);
        build_add_quoted(&header, tensor->name, name_size);
        build_addf(&header, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%llu,%llu]}",
                   tensor->dtype, tensor->shape, (unsigned long long)at,
                   (unsigned long long)(at + tensor->size));
        at += tensor->size;
    }
    build_add(&header, "}", 1);
    build_text file = build_raw(header.data, header.size, (size_t)at);
    build_free(&header);
    return file;
}

build_text build_raw(const void *header, size_t header_size, size_t data_size)
{
    build_text file = {0};
    for (unsigned i = 0; i < 8; i++) {
        uint8_t byte = (uint8_t)((uint64_t)header_size >> (8 * i));
        build_add(&file, &byte, 1);
    }
    build_add(&file, header, header_size);
    for (size_t i = 0; i < data_size; i++) {
        uint8_t byte = build_byte(i);
        build_add(&file, &byte, 1);
    }
    return file;
}

build_text build_marked(const char *text, size_t *mark)
{
    build_text result = {0};
    *mark = SIZE_MAX;
    build_add(&result, "", 0);
    for (; *text; text++) {
        char c = *text;
        if (c == '^') {
            *mark = *mark == SIZE_MAX ? result.size : *mark + 1;
            continue;
        }
        if (c == '\'') c = '"';
        if (c == '`') c = '\'';
        if (c == '@') c = 0;
        build_add(&result, &c, 1);
    }
    return result;
}
