/*
 * Reading headers. A parser sees bytes and writes records; it knows no files and no threads.
 *
 *   parse_json.c         strict JSON (RFC 8259), one token at a time, over constant bytes
 *   parse_safetensors.c  the header of one safetensors file
 *   parse_shards.c       model.safetensors.index.json
 *   parsed.c             where what they find is kept
 *
 * Nothing is unescaped while parsing: a token says where its text stands and how long it will be,
 * and whoever stores it has it unescaped straight into place.
 */
#ifndef TAREI_PARSE_H
#define TAREI_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "check.h"
#include "record.h"
#include "tare.h"

/* Nested arrays and objects. Source: serde_json, which safetensors uses, gives up at 128. */
#define TAREI_JSON_DEPTH_MAX 127

typedef struct tarei_json {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    uint64_t base; /* offset of `start` in its file, for errors */
    uint32_t shard;
    uint32_t depth;
    tare_error *error;
} tarei_json;

/* A string between its quotes. */
typedef struct tarei_token {
    const uint8_t *text;
    uint32_t raw_size; /* bytes in the file */
    uint32_t size;     /* bytes once unescaped, fewer where there is an escape */
} tarei_token;

void tarei_json_init(tarei_json *json, const void *text, uint64_t size, uint64_t base,
                     uint32_t shard, tare_error *error);

/* Fails at a place in the text. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
tare_status
tarei_json_fail(tarei_json *json, tare_status status, const uint8_t *at, const char *format, ...);

/* Enters an object or array whose bracket comes next; *more says that it is not empty. */
tare_status tarei_json_enter(tarei_json *json, char bracket, bool *more);

/* After a member or item: the comma before the next, or the end of the object or array. */
tare_status tarei_json_next(tarei_json *json, char bracket, bool *more);

tare_status tarei_json_string(tarei_json *json, tarei_token *token);
tare_status tarei_json_key(tarei_json *json, tarei_token *token); /* string and colon */
tare_status tarei_json_skip(tarei_json *json);                    /* one value of any kind */
tare_status tarei_json_end(tarei_json *json);                     /* nothing but space is left */

/* An integer from 0 to 2^64-1; false, and nothing consumed, when something else comes next. */
bool tarei_json_u64(tarei_json *json, uint64_t *value);

/* Unescapes a token that parsed well to `target`, which has room for token.size bytes. */
void tarei_json_unescape(const uint8_t *text, uint32_t size, char *target);

/* True when all of the text is UTF-8; `text` may be NULL at size 0. */
bool tarei_json_is_utf8(const void *text, uint64_t size);

/* True when the token, unescaped, is that text. */
bool tarei_json_equals(const tarei_token *token, const char *text, size_t size);

static inline void tarei_json_space(tarei_json *json)
{
    while (json->at < json->end && *json->at <= 0x20 &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\r' || *json->at == '\t'))
        json->at++;
}

/* Steps over exactly this text if it comes next. */
static inline bool tarei_json_literal(tarei_json *json, const char *text, size_t size)
{
    if ((size_t)(json->end - json->at) < size || memcmp(json->at, text, size) != 0) return false;
    json->at += size;
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * What parsing leaves behind, for names.c to take up.
 *
 * In a raw record `name` is the place of the name's text in its header; its size once unescaped
 * stands in a buffer beside. A raw metadata record has the place of its value as its offset, and
 * the value's size as its layout.
 */
#define TAREI_NAME_ESCAPED UINT32_C(0x80000000) /* added to a name's size: it has escapes */

#define TAREI_LAYOUT_CACHE_COUNT 256u
#define TAREI_LAYOUT_UNIT 8u

typedef struct tarei_parsed {
    tarei_memory *memory;
    tarei_buffer records; /* tarei_record, shard by shard */
    tarei_buffer sizes;   /* uint32_t, of their names */
    tarei_buffer metadata;
    tarei_buffer metadata_sizes;
    tarei_buffer layouts; /* tarei_layout, one behind the other */
    uint64_t layout_at;   /* bytes of finished layouts */
    uint64_t name_size;   /* of all records, unescaped */
    uint64_t metadata_name_size;
    uint64_t metadata_value_size;
    uint32_t layout_cache[TAREI_LAYOUT_CACHE_COUNT][2]; /* places + 1 */
} tarei_parsed;

/* A dtype and shape: begin (which also forgets what was begun before), push each size of the shape,
 * the slowest dimension first, then intern: its place, in units of 8 bytes. One that a small cache
 * remembers is not stored again. False without memory. */
bool tarei_parsed_layout_begin(tarei_parsed *parsed);
bool tarei_parsed_layout_push(tarei_parsed *parsed, uint64_t dimension);
uint32_t tarei_parsed_layout_intern(tarei_parsed *parsed, tare_dtype dtype, uint64_t size);

/* Adds a raw record to one of the two pairs of buffers, with room for one more behind it. */
bool tarei_parsed_add(tarei_buffer *records, tarei_buffer *sizes, tarei_memory *memory,
                      tarei_record record, uint32_t size);

static inline tarei_record *tarei_parsed_records(const tarei_parsed *parsed)
{
    return parsed->records.data;
}

static inline const tarei_layout *tarei_parsed_layout(const tarei_parsed *parsed,
                                                      const tarei_record *record)
{
    uint64_t at = (uint64_t)record->layout * TAREI_LAYOUT_UNIT;
    return (const void *)((const char *)parsed->layouts.data + at);
}

static inline uint64_t tarei_parsed_count(const tarei_parsed *parsed)
{
    return parsed->records.size / sizeof(tarei_record);
}

/* The header of one safetensors file: `text` is its JSON, which starts at offset 8 of the file. */
tare_status tarei_parse_safetensors(tarei_parsed *parsed, const void *text, uint64_t size,
                                    uint64_t file_size, uint32_t shard, tare_error *error);

/* The size of a safetensors header from the first 8 bytes, checked against limit and file. `head`
 * holds the first min(file_size, TAREI_HEAD_SIZE) bytes, which tell other formats apart. */
#define TAREI_HEAD_SIZE 8u
tare_status tarei_parse_head(const uint8_t *head, uint64_t file_size, uint64_t size_max,
                             uint32_t shard, uint64_t *header_size, tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * model.safetensors.index.json
 */

/* One line of the weight map. */
typedef struct tarei_listed {
    uint32_t name; /* place of the tensor's name in the text */
    uint32_t name_size;
    uint32_t name_raw_size;
    uint32_t shard;
} tarei_listed;

typedef struct tarei_weight_map {
    tarei_memory *memory;
    const uint8_t *text;
    tarei_buffer listed; /* tarei_listed, as the file has them */
    tarei_buffer shards; /* tare_string, sorted, without repetition; in `arena` */
    tarei_arena *arena;
} tarei_weight_map;

/* Reads the weight map of an index file. What it names is checked for form only. */
tare_status tarei_parse_weight_map(tarei_weight_map *map, const void *text, uint64_t size,
                                   tare_error *error);

/* Why a shard may not have that file name, or NULL when it may. */
const char *tarei_shard_name_fault(const char *name, size_t size);

#endif
