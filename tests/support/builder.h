/*
 * Safetensors files and shard indexes made in memory, good ones from lists and damaged ones from
 * raw header text.
 */
#ifndef BUILDER_H
#define BUILDER_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that grow at their end. All zero is an empty one. */
typedef struct build_text {
    char *data;
    size_t size;
    size_t capacity;
} build_text;

void build_add(build_text *text, const void *bytes, size_t size);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void build_addf(build_text *text, const char *format, ...);
void build_add_quoted(build_text *text, const char *name, size_t size); /* as a JSON string */
void build_free(build_text *text);

typedef struct build_tensor {
    const char *name;
    size_t name_size; /* 0 with a name that is not empty: up to its terminator */
    const char *dtype;
    const char *shape; /* JSON, "[2,3]" */
    size_t size;       /* bytes of data, each made by build_byte */
} build_tensor;

/* What byte `at` of the data section of a built file is. */
static inline uint8_t build_byte(uint64_t at)
{
    return (uint8_t)(at * 131 + (at >> 8) * 7 + 17);
}

/* A whole file: the tensors one behind the other in this order. `metadata` is the JSON object of
 * __metadata__, or NULL. */
build_text build_file(const build_tensor *tensors, size_t count, const char *metadata);

/* A whole file of this header text, whatever it is, and so many bytes of data. */
build_text build_raw(const void *header, size_t header_size, size_t data_size);

/*
 * Text of a damage table, where JSON reads without escapes:
 *
 *     '   becomes "
 *     `   becomes '
 *     @   becomes a zero byte
 *     ^   goes away; *mark is its place in the result, or SIZE_MAX where there is none; each
 *         further ^ adds one
 */
build_text build_marked(const char *text, size_t *mark);

#endif
