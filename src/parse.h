/*
 * Reading headers. A parser sees bytes and writes records; it knows no files and no threads.
 *
 *   parse_json.c         strict JSON (RFC 8259), one token at a time, over constant bytes
 *   parse_safetensors.c  the header of one safetensors file
 *   parse_shards.c       model.safetensors.index.json
 *   parse_cursor.c       binary headers, one number or string at a time
 *   parse_gguf.c         the header of one GGUF file
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
 * the value's size as its layout; where values are typed there is a tare_value for each, still
 * without data.
 */
#define TAREI_NAME_ESCAPED UINT32_C(0x80000000) /* added to a name's size: it has escapes */

/* What a model may have at most; each is one of tare_options. */
enum {
    TAREI_LIMIT_TENSORS,
    TAREI_LIMIT_RANK,
    TAREI_LIMIT_NAME,
    TAREI_LIMIT_METADATA,
    TAREI_LIMITS
};

#define TAREI_LAYOUT_CACHE_COUNT 256u
#define TAREI_LAYOUT_UNIT 8u

typedef struct tarei_parsed {
    tarei_memory *memory;
    tarei_buffer records; /* tarei_record, shard by shard */
    tarei_buffer sizes;   /* uint32_t, of their names */
    tarei_buffer metadata;
    tarei_buffer metadata_sizes;
    tarei_buffer values;  /* tare_value, of GGUF only */
    tarei_buffer layouts; /* tarei_layout, one behind the other */
    uint64_t layout_at;   /* bytes of finished layouts */
    uint64_t name_size;   /* of all records, unescaped */
    uint64_t metadata_name_size;
    uint64_t metadata_value_size; /* arrays not counted */
    uint64_t metadata_size;       /* of keys and values, arrays too */
    uint64_t limits[TAREI_LIMITS];
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

/* Which limit one of these numbers is beyond. */
const char *tarei_parsed_excess(const uint64_t *limits, uint64_t count, uint64_t rank,
                                uint64_t name_size);

/* Why the limits forbid a model of so many tensors, one of that rank and name, and so much
 * metadata; NULL: they do not. */
static inline const char *tarei_parsed_fault(const uint64_t *limits, uint64_t count, uint64_t rank,
                                             uint64_t name_size, uint64_t metadata_size)
{
    if ((count <= limits[TAREI_LIMIT_TENSORS]) & (rank <= limits[TAREI_LIMIT_RANK]) &
        (name_size <= limits[TAREI_LIMIT_NAME]) & (metadata_size <= limits[TAREI_LIMIT_METADATA]))
        return NULL;
    return tarei_parsed_excess(limits, count, rank, name_size);
}

/* The same of one more tensor, of the layout that was begun. */
static inline const char *tarei_parsed_tensor_fault(const tarei_parsed *parsed, uint64_t name_size)
{
    uint64_t shape_size = parsed->layouts.size - parsed->layout_at - sizeof(tarei_layout);
    return tarei_parsed_fault(parsed->limits, tarei_parsed_count(parsed) + 1,
                              shape_size / sizeof(uint64_t), name_size, 0);
}

/* And of more metadata, which is counted. */
static inline const char *tarei_parsed_metadata_fault(tarei_parsed *parsed, uint64_t size)
{
    parsed->metadata_size += size;
    return tarei_parsed_fault(parsed->limits, 0, 0, 0, parsed->metadata_size);
}

/* How many tensors more there may be. */
static inline uint64_t tarei_parsed_room(const tarei_parsed *parsed)
{
    return parsed->limits[TAREI_LIMIT_TENSORS] - tarei_parsed_count(parsed);
}

/* The header of one safetensors file: `text` is its JSON, which starts at offset 8 of the file. */
tare_status tarei_parse_safetensors(tarei_parsed *parsed, const void *text, uint64_t size,
                                    uint64_t file_size, uint32_t shard, tare_error *error);

/* What a file that is no safetensors file is, told from its first bytes; NULL when unknown. */
const char *tarei_parse_other_format(const uint8_t head[8]);

/* The size of a safetensors header from the first 8 bytes, checked against limit and file. `head`
 * holds the first min(file_size, TAREI_HEAD_SIZE) bytes, which tell other formats apart. */
#define TAREI_HEAD_SIZE 8u
tare_status tarei_parse_head(const uint8_t *head, uint64_t file_size, uint64_t size_max,
                             uint32_t shard, uint64_t *header_size, tare_error *error);

/* ------------------------------------------------------------------------------------------------
 * Binary headers, read from the start of a file on. Every byte of them comes through a cursor,
 * which knows how many there are, fetches more where a file is not in memory, and writes the error.
 * Bytes may move whenever more are needed, so that places are kept and never pointers.
 */
#define TAREI_STRING_SIZE_MAX (UINT64_C(1) << 30) /* source: ggml, gguf.cpp */

typedef struct tarei_cursor tarei_cursor;

struct tarei_cursor {
    const uint8_t *bytes; /* of the file, from its start on */
    uint64_t have;        /* of them, at most size_max */
    uint64_t at;
    uint64_t file_size;
    uint64_t size_max; /* of a header */
    /* Makes `have` at least `wanted`, which is within file and limit. NULL where all is there. */
    tare_status (*more)(tarei_cursor *cursor, uint64_t wanted);
    void *context;
    uint32_t shard;
    tare_error *error;
};

/* Bytes in a header. */
typedef struct tarei_span {
    uint32_t at;
    uint32_t size;
} tarei_span;

/* Fails where the next `size` bytes are not in the file or beyond the limit, at `at`. */
tare_status tarei_cursor_fetch(tarei_cursor *cursor, uint64_t size, uint64_t at);

static inline tare_status tarei_cursor_need(tarei_cursor *cursor, uint64_t size, uint64_t at)
{
    if (size <= cursor->have - cursor->at) return TARE_OK;
    return tarei_cursor_fetch(cursor, size, at);
}

static inline tare_status tarei_cursor_u32(tarei_cursor *cursor, uint32_t *value)
{
    tare_status status = tarei_cursor_need(cursor, sizeof *value, cursor->at);
    if (status != TARE_OK) return status;
    *value = tarei_load_le32(cursor->bytes + cursor->at);
    cursor->at += sizeof *value;
    return TARE_OK;
}

static inline tare_status tarei_cursor_u64(tarei_cursor *cursor, uint64_t *value)
{
    tare_status status = tarei_cursor_need(cursor, sizeof *value, cursor->at);
    if (status != TARE_OK) return status;
    *value = tarei_load_le64(cursor->bytes + cursor->at);
    cursor->at += sizeof *value;
    return TARE_OK;
}

/* Text behind its size. */
tare_status tarei_cursor_string(tarei_cursor *cursor, tarei_span *span);
tare_status tarei_cursor_skip_strings(tarei_cursor *cursor, uint64_t count);

/* ------------------------------------------------------------------------------------------------
 * GGUF
 */

/* What is told of a file beside its tensors and metadata. */
typedef struct tarei_gguf {
    uint64_t data_offset;
    bool has_arrays;
    uint64_t split_number, split_count, split_tensor_count; /* UINT64_MAX where there is none */
} tarei_gguf;

static inline bool tarei_parse_is_gguf(const uint8_t *head, uint64_t file_size)
{
    return file_size >= 4 && memcmp(head, "GGUF", 4) == 0;
}

/* The header of one GGUF file, from a cursor at its start. */
tare_status tarei_parse_gguf(tarei_parsed *parsed, tarei_cursor *cursor, tarei_gguf *facts);

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
    const uint64_t *limits; /* TAREI_LIMIT_* */
} tarei_weight_map;

/* Reads the weight map of an index file. What it names is checked for form only. */
tare_status tarei_parse_weight_map(tarei_weight_map *map, const void *text, uint64_t size,
                                   tare_error *error);

#define TAREI_SHARD_NAME_SIZE_MAX 4096u

/* Why a shard may not have that file name, or NULL when it may. */
const char *tarei_shard_name_fault(const char *name, size_t size);

#endif
