/*
 * The header of one GGUF file. Checks have the numbers of docs/format_gguf.md, which are those of
 * the reference reader's order; it gives the status and the test of each.
 *
 *   "GGUF" | version: 4 | tensors: 8 | entries: 8
 *   entry:   key | kind: 4 | value             key: size: 8 | text
 *   tensor:  name | rank: 4 | 8 for each dimension, the row first | type: 4 | offset: 8
 *   0 up to the next multiple of the alignment, where there are tensors
 *   data:    each tensor at the next multiple of the alignment
 */
#include <inttypes.h>

#include "error.h"
#include "parse.h"
#include "value.h"

#define ENTRY_SIZE_MIN (8 + 4 + 1u)
#define TENSOR_SIZE_MIN (8 + 4 + 4 + 8u)
#define ITEM_COUNT_MAX (UINT64_C(1) << 30)
#define NAME_SIZE_MAX 63u
#define RANK_MAX 4u
#define ALIGNMENT_DEFAULT 32u

typedef struct parser {
    tarei_cursor *cursor;
    tarei_parsed *parsed;
    tarei_gguf *facts;
    uint64_t alignment; /* 0 until the file states one */
    uint64_t tensor_count, entry_count;
    uint64_t end;        /* of the tensors before, padded, in the data section */
    uint64_t beyond_end; /* where the first tensor ends that no file of this size can hold */
} parser;

/* ggml type -> dtype; 0 for those that were removed. */
static const uint8_t types[] = {
    [0] = TARE_DTYPE_F32,     [1] = TARE_DTYPE_F16,      [2] = TARE_DTYPE_Q4_0,
    [3] = TARE_DTYPE_Q4_1,    [6] = TARE_DTYPE_Q5_0,     [7] = TARE_DTYPE_Q5_1,
    [8] = TARE_DTYPE_Q8_0,    [9] = TARE_DTYPE_Q8_1,     [10] = TARE_DTYPE_Q2_K,
    [11] = TARE_DTYPE_Q3_K,   [12] = TARE_DTYPE_Q4_K,    [13] = TARE_DTYPE_Q5_K,
    [14] = TARE_DTYPE_Q6_K,   [15] = TARE_DTYPE_Q8_K,    [16] = TARE_DTYPE_IQ2_XXS,
    [17] = TARE_DTYPE_IQ2_XS, [18] = TARE_DTYPE_IQ3_XXS, [19] = TARE_DTYPE_IQ1_S,
    [20] = TARE_DTYPE_IQ4_NL, [21] = TARE_DTYPE_IQ3_S,   [22] = TARE_DTYPE_IQ2_S,
    [23] = TARE_DTYPE_IQ4_XS, [24] = TARE_DTYPE_I8,      [25] = TARE_DTYPE_I16,
    [26] = TARE_DTYPE_I32,    [27] = TARE_DTYPE_I64,     [28] = TARE_DTYPE_F64,
    [29] = TARE_DTYPE_IQ1_M,  [30] = TARE_DTYPE_BF16,    [34] = TARE_DTYPE_TQ1_0,
    [35] = TARE_DTYPE_TQ2_0,  [39] = TARE_DTYPE_MXFP4,   [40] = TARE_DTYPE_NVFP4,
    [41] = TARE_DTYPE_Q1_0,   [42] = TARE_DTYPE_Q2_0,
};

#define TYPE_COUNT (sizeof types / sizeof types[0])

_Static_assert(TYPE_COUNT == 43, "GGML_TYPE_COUNT");

static tare_status fail(const parser *p, tare_status status, uint64_t at, const char *what)
{
    return tarei_error_set(p->cursor->error, status, p->cursor->shard, at, "%s", what);
}

/* Puts what was being read before the message of an error. */
static tare_status name_failure(const parser *p, const char *what, tarei_span name)
{
    tare_error *error = p->cursor->error;
    if (error->status == TARE_E_MEMORY) return error->status;
    tare_error failure = *error;
    tarei_error_set(error, failure.status, failure.shard, failure.offset, "%s %s: %.300s", what,
                    tarei_quote(p->cursor->bytes + name.at, name.size).text, failure.message);
    error->system_error = failure.system_error;
    return error->status;
}

/* ------------------------------------------------------------------------------------------------
 * 1 to 3: the start
 */

static tare_status check_version(const parser *p, uint32_t version)
{
    if (version == 2 || version == 3) return TARE_OK;
    if (version != 0 && (version & 0xFFFF) == 0)
        return fail(p, TARE_E_ENDIAN, 4,
                    "a big-endian GGUF file: it must be converted to little-endian");
    if (version == 1)
        return fail(p, TARE_E_VERSION, 4,
                    "GGUF version 1, whose sizes have 32 bits: convert it with a newer gguf tool");
    return tarei_error_set(p->cursor->error, TARE_E_VERSION, p->cursor->shard, 4,
                           "GGUF version %" PRIu32 ", 2 and 3 are read", version);
}

/* A count is believed only as far as the file can hold that many. Above 2^63, where the reference
 * sees negative numbers, no file can. */
static tare_status parse_count(const parser *p, uint64_t size_min, const char *what, uint64_t most,
                               uint64_t *count)
{
    tarei_cursor *cursor = p->cursor;
    uint64_t at = cursor->at;
    tare_status status = tarei_cursor_u64(cursor, count);
    if (status != TARE_OK) return status;
    if (*count > (cursor->file_size - cursor->at) / size_min)
        return tarei_error_set(cursor->error, TARE_E_TRUNCATED, cursor->shard, at,
                               "%" PRIu64 " %s in a file of %" PRIu64 " bytes (cut short?)", *count,
                               what, cursor->file_size);
    if (*count > most)
        return tarei_error_set(cursor->error, TARE_E_LIMIT, cursor->shard, at,
                               "more %s than the limit of %" PRIu64, what, most);
    return TARE_OK;
}

static tare_status parse_start(parser *p)
{
    uint32_t magic, version;
    tare_status status = tarei_cursor_u32(p->cursor, &magic); /* 1: looked at before */
    if (status == TARE_OK) status = tarei_cursor_u32(p->cursor, &version);
    if (status == TARE_OK) status = check_version(p, version); /* 2 */
    if (status == TARE_OK)                                     /* 3 */
        status = parse_count(p, TENSOR_SIZE_MIN, "tensors", tarei_parsed_room(p->parsed),
                             &p->tensor_count);
    if (status == TARE_OK)
        status = parse_count(p, ENTRY_SIZE_MIN, "entries of metadata", TAREI_RECORD_COUNT_MAX - 1,
                             &p->entry_count);
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * 4 to 8: metadata
 */

static tare_status parse_kind(const parser *p, tare_kind *kind)
{
    uint64_t at = p->cursor->at;
    uint32_t number;
    tare_status status = tarei_cursor_u32(p->cursor, &number);
    if (status != TARE_OK) return status;
    *kind = number < TARE_KIND_F64 ? number + 1 : 0;
    if (*kind != 0) return TARE_OK;
    return tarei_error_set(p->cursor->error, TARE_E_METADATA, p->cursor->shard, at,
                           "unknown value type %" PRIu32, number);
}

/* 6 and 7, of an array: its kind, its count, and that it ends within the file. */
static tare_status parse_array(parser *p, tare_value *value)
{
    tarei_cursor *cursor = p->cursor;
    uint64_t at = cursor->at;
    tare_status status = parse_kind(p, &value->item_kind);
    if (status != TARE_OK) return status;
    if (value->item_kind == TARE_KIND_ARRAY)
        return fail(p, TARE_E_METADATA, at, "an array of arrays");
    at = cursor->at;
    status = tarei_cursor_u64(cursor, &value->count);
    if (status != TARE_OK) return status;
    if (value->count > ITEM_COUNT_MAX)
        return tarei_error_set(cursor->error, TARE_E_LIMIT, cursor->shard, at,
                               "an array of %" PRIu64 " items, the format allows 2^30",
                               value->count);
    uint64_t item_size = tarei_value_kind_size(value->item_kind);
    uint64_t size_min = value->count * (item_size != 0 ? item_size : 8);
    if (size_min > cursor->file_size - cursor->at)
        return tarei_error_set(cursor->error, TARE_E_TRUNCATED, cursor->shard, at,
                               "an array of %" PRIu64 " items in a file of %" PRIu64
                               " bytes (cut short?)",
                               value->count, cursor->file_size);
    p->facts->has_arrays = true;
    if (value->item_kind == TARE_KIND_STRING)
        return tarei_cursor_skip_strings(cursor, value->count);
    status = tarei_cursor_need(cursor, size_min, at);
    if (status == TARE_OK) cursor->at += size_min;
    return status;
}

/* The value, and where it is: of a string its text, of an array its first item. */
static tare_status parse_value(parser *p, tare_value *value, tarei_span *span)
{
    tarei_cursor *cursor = p->cursor;
    tare_status status = parse_kind(p, &value->kind);
    if (status != TARE_OK) return status;
    if (value->kind == TARE_KIND_STRING) return tarei_cursor_string(cursor, span);
    uint64_t at = cursor->at;
    if (value->kind == TARE_KIND_ARRAY) {
        status = parse_array(p, value);
        at += 4 + 8;
    } else {
        uint64_t size = tarei_value_kind_size(value->kind);
        status = tarei_cursor_need(cursor, size, at);
        if (status == TARE_OK) cursor->at += size;
    }
    *span = (tarei_span){(uint32_t)at, (uint32_t)(cursor->at - at)};
    return status;
}

static bool key_is(const parser *p, tarei_span key, const char *text)
{
    size_t size = strlen(text);
    return key.size == size && memcmp(p->cursor->bytes + key.at, text, size) == 0;
}

/* The few keys that say something about the file itself. */
static tare_status note_entry(parser *p, tarei_span key, tare_value value, tarei_span span)
{
    value.data = p->cursor->bytes + span.at;
    value.size = span.size;
    uint64_t number;
    if (key_is(p, key, "general.alignment")) { /* 8 */
        if (value.kind != TARE_KIND_U32)
            return fail(p, TARE_E_ALIGNMENT, span.at, "the alignment is no u32");
        tare_value_u64(value, &p->alignment);
        if (!tarei_check_is_power(p->alignment))
            return tarei_error_set(p->cursor->error, TARE_E_ALIGNMENT, p->cursor->shard, span.at,
                                   "%" PRIu64 " is no power of two", p->alignment);
    } else if (key.size > 6 && memcmp(p->cursor->bytes + key.at, "split.", 6) == 0 &&
               tare_value_u64(value, &number) == TARE_OK) {
        if (key_is(p, key, "split.no")) p->facts->split_number = number;
        if (key_is(p, key, "split.count")) p->facts->split_count = number;
        if (key_is(p, key, "split.tensors.count")) p->facts->split_tensor_count = number;
    }
    return TARE_OK;
}

static tare_status add_entry(parser *p, tarei_span key, tare_value value, tarei_span span)
{
    tarei_parsed *parsed = p->parsed;
    const char *fault = tarei_parsed_metadata_fault(parsed, (uint64_t)key.size + span.size);
    if (fault != NULL) {
        fail(p, TARE_E_LIMIT, key.at - 8, fault);
        return name_failure(p, "metadata", key);
    }
    const tarei_record record = {
        .where = tarei_record_where(p->cursor->shard, span.at),
        .layout = span.size,
        .name = key.at,
    };
    if (!tarei_buffer_reserve(&parsed->values, parsed->memory, sizeof value) ||
        !tarei_parsed_add(&parsed->metadata, &parsed->metadata_sizes, parsed->memory, record,
                          key.size))
        return tarei_error_memory(p->cursor->error);
    value.size = span.size;
    memcpy((char *)parsed->values.data + parsed->values.size, &value, sizeof value);
    parsed->values.size += sizeof value;
    parsed->metadata_name_size += key.size;
    if (value.kind != TARE_KIND_ARRAY) parsed->metadata_value_size += span.size;
    return TARE_OK;
}

static tare_status parse_entry(parser *p)
{
    tarei_span key, span = {0, 0};
    tare_value value = {.count = 1};
    uint64_t at = p->cursor->at;
    tare_status status = tarei_cursor_string(p->cursor, &key); /* 4 */
    if (status != TARE_OK) return status;
    if (key.size == 0) return fail(p, TARE_E_METADATA, at, "a key of metadata is empty"); /* 5 */
    if (p->alignment != 0 && key_is(p, key, "general.alignment")) /* before it moves tensors */
        status = fail(p, TARE_E_DUPLICATE, at, "is there twice");
    if (status == TARE_OK) status = parse_value(p, &value, &span);
    if (status == TARE_OK) status = note_entry(p, key, value, span);
    if (status == TARE_OK) return add_entry(p, key, value, span);
    return name_failure(p, "metadata", key);
}

/* ------------------------------------------------------------------------------------------------
 * 9 to 16: tensors
 */

typedef struct tensor_facts {
    tarei_span name;
    uint32_t rank;
    uint64_t shape[RANK_MAX]; /* the row first */
    uint64_t shape_at;
    tare_dtype dtype;
    uint64_t size;
} tensor_facts;

/* 10, 11 */
static tare_status parse_shape(parser *p, tensor_facts *facts)
{
    tarei_cursor *cursor = p->cursor;
    uint64_t at = cursor->at;
    tare_status status = tarei_cursor_u32(cursor, &facts->rank);
    if (status != TARE_OK) return status;
    if (facts->rank > RANK_MAX)
        return tarei_error_set(cursor->error, TARE_E_SHAPE, cursor->shard, at,
                               "%" PRIu32 " dimensions, the format allows 4", facts->rank);
    facts->shape_at = cursor->at;
    for (uint32_t i = 0; i < facts->rank; i++) {
        at = cursor->at;
        status = tarei_cursor_u64(cursor, &facts->shape[i]);
        if (status != TARE_OK) return status;
        if (facts->shape[i] > INT64_MAX)
            return fail(p, TARE_E_SHAPE, at, "a dimension of 2^63 or more");
    }
    return TARE_OK;
}

/* 12: no dimension of 0 hides a product that does not fit, and no product that does not fit passes
 * for 0. */
static tare_status count_elements(const parser *p, const tensor_facts *facts, uint64_t *elements)
{
    bool overflow = false;
    *elements = 1;
    for (uint32_t i = 0; i < facts->rank; i++)
        if (facts->shape[i] == 0) *elements = 0;
    for (uint32_t i = 0; i < facts->rank && *elements != 0 && !overflow; i++)
        overflow = tarei_check_multiply(*elements, facts->shape[i], elements);
    if (!overflow && *elements < INT64_MAX) return TARE_OK;
    return fail(p, TARE_E_OVERFLOW, facts->shape_at, "2^63-1 elements or more");
}

/* 13, 14 */
static tare_status parse_type(parser *p, tensor_facts *facts, uint64_t elements)
{
    tarei_cursor *cursor = p->cursor;
    uint64_t at = cursor->at;
    uint32_t type;
    tare_status status = tarei_cursor_u32(cursor, &type);
    if (status != TARE_OK) return status;
    facts->dtype = type < TYPE_COUNT ? types[type] : 0;
    if (facts->dtype == 0)
        return tarei_error_set(cursor->error, TARE_E_DTYPE, cursor->shard, at,
                               "%s tensor type %" PRIu32, type < TYPE_COUNT ? "removed" : "unknown",
                               type);
    uint64_t row = facts->rank != 0 ? facts->shape[0] : 1;
    uint32_t block_count = tare_dtype_block_count(facts->dtype);
    if (row % block_count != 0)
        return tarei_error_set(cursor->error, TARE_E_SUBBYTE, cursor->shard, facts->shape_at,
                               "rows of %" PRIu64 ", %s has blocks of %" PRIu32, row,
                               tare_dtype_name(facts->dtype), block_count);
    if (tarei_check_multiply(elements / block_count, tare_dtype_block_size(facts->dtype),
                             &facts->size))
        return fail(p, TARE_E_OVERFLOW, facts->shape_at, "more than 2^64 bytes");
    return TARE_OK;
}

/* 16: tensors follow each other as they are listed, each padded to the alignment. */
static tare_status parse_offset(parser *p, const tensor_facts *facts, uint64_t *offset)
{
    tarei_cursor *cursor = p->cursor;
    uint64_t at = cursor->at, padded;
    tare_status status = tarei_cursor_u64(cursor, offset);
    if (status != TARE_OK) return status;
    if (*offset != p->end)
        return tarei_error_set(cursor->error, TARE_E_LAYOUT, cursor->shard, at,
                               "it begins at %" PRIu64 ", the tensors before it end at %" PRIu64,
                               *offset, p->end);
    if (tarei_check_round_up(facts->size, p->alignment, &padded) ||
        tarei_check_add(p->end, padded, &p->end))
        return fail(p, TARE_E_OVERFLOW, at, "it ends beyond 2^64 with its padding");
    return TARE_OK;
}

static tare_status add_tensor(parser *p, const tensor_facts *facts, uint64_t offset)
{
    tarei_parsed *parsed = p->parsed;
    /* 18 fails here, but what comes before it may still fail: see check_data. An offset that is
     * within the file fits a record, and none is looked at behind this one. */
    if (p->beyond_end == 0 && offset + facts->size >= p->cursor->file_size)
        p->beyond_end = offset + facts->size;
    if (p->beyond_end != 0) offset = p->cursor->file_size;
    bool fine = tarei_parsed_layout_begin(parsed);
    for (uint32_t i = facts->rank; i > 0 && fine; i--)
        fine = tarei_parsed_layout_push(parsed, facts->shape[i - 1]);
    if (!fine) return tarei_error_memory(p->cursor->error);
    const char *fault = tarei_parsed_tensor_fault(parsed, facts->name.size);
    if (fault != NULL) return fail(p, TARE_E_LIMIT, facts->name.at - 8, fault);
    const tarei_record record = {
        .where = tarei_record_where(p->cursor->shard, offset),
        .layout = tarei_parsed_layout_intern(parsed, facts->dtype, facts->size),
        .name = facts->name.at,
    };
    parsed->name_size += facts->name.size;
    if (tarei_parsed_add(&parsed->records, &parsed->sizes, parsed->memory, record,
                         facts->name.size))
        return TARE_OK;
    return tarei_error_memory(p->cursor->error);
}

static tare_status parse_tensor(parser *p)
{
    tensor_facts facts;
    uint64_t at = p->cursor->at, elements, offset;
    tare_status status = tarei_cursor_string(p->cursor, &facts.name);
    if (status != TARE_OK) return status;
    if (facts.name.size > NAME_SIZE_MAX) /* 9 */
        status =
            tarei_error_set(p->cursor->error, TARE_E_LIMIT, p->cursor->shard, at,
                            "a name of %" PRIu32 " bytes, the format allows 63", facts.name.size);
    if (status == TARE_OK) status = parse_shape(p, &facts);
    if (status == TARE_OK) status = count_elements(p, &facts, &elements);
    if (status == TARE_OK) status = parse_type(p, &facts, elements);
    if (status == TARE_OK) status = parse_offset(p, &facts, &offset);
    if (status == TARE_OK) status = add_tensor(p, &facts, offset);
    return status == TARE_OK ? TARE_OK : name_failure(p, "tensor", facts.name);
}

/* Room for the records of the tensors that can be in the bytes at hand: a count alone is no reason
 * to take memory. */
static bool reserve_records(const parser *p)
{
    tarei_parsed *parsed = p->parsed;
    uint64_t count = (p->cursor->have - p->cursor->at) / TENSOR_SIZE_MIN;
    if (count > p->tensor_count) count = p->tensor_count;
    return tarei_buffer_reserve(&parsed->records, parsed->memory,
                                (count + 1) * sizeof(tarei_record)) &&
           tarei_buffer_reserve(&parsed->sizes, parsed->memory, (count + 1) * sizeof(uint32_t));
}

/* ------------------------------------------------------------------------------------------------
 * 15 and 18: the data section. 17 is about memory that only the reference takes.
 */

/* 18. Tensors end one behind the other, so that the first that ends beyond the file is found before
 * one whose offset is not the file's own. */
static tare_status check_cover(const parser *p, uint64_t first, uint64_t data_size)
{
    const tarei_record *records = tarei_parsed_records(p->parsed) + first;
    const uint32_t *name_sizes = (const uint32_t *)p->parsed->sizes.data + first;
    for (uint64_t i = 0; i < p->tensor_count; i++) {
        uint64_t begin = tarei_record_offset(&records[i]);
        uint64_t end = begin + tarei_parsed_layout(p->parsed, &records[i])->size;
        if (end <= data_size) continue;
        if (begin == p->cursor->file_size) end = p->beyond_end;
        tarei_error_set(p->cursor->error, TARE_E_COVER, p->cursor->shard, records[i].name - 8,
                        "it ends at %" PRIu64 ", the data section has %" PRIu64
                        " bytes (cut short?)",
                        end, data_size);
        return name_failure(p, "tensor", (tarei_span){records[i].name, name_sizes[i]});
    }
    return TARE_OK;
}

static tare_status check_data(parser *p, uint64_t first)
{
    tarei_cursor *cursor = p->cursor;
    tarei_record *records = tarei_parsed_records(p->parsed) + first;
    uint64_t data_offset = cursor->at;
    if (p->tensor_count != 0 && (tarei_check_round_up(cursor->at, p->alignment, &data_offset) ||
                                 data_offset > cursor->file_size))
        return tarei_error_set(cursor->error, TARE_E_TRUNCATED, cursor->shard, cursor->at,
                               "data begins at %" PRIu64 ", the file has %" PRIu64
                               " bytes (cut short?)",
                               data_offset, cursor->file_size);
    p->facts->data_offset = data_offset;
    tare_status status = check_cover(p, first, cursor->file_size - data_offset);
    if (status != TARE_OK) return status;
    for (uint64_t i = 0; i < p->tensor_count; i++)
        records[i].where += data_offset; /* within the file */
    return TARE_OK;
}

tare_status tarei_parse_gguf(tarei_parsed *parsed, tarei_cursor *cursor, tarei_gguf *facts)
{
    parser p = {.cursor = cursor, .parsed = parsed, .facts = facts};
    uint64_t first = tarei_parsed_count(parsed);
    *facts = (tarei_gguf){0, false, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    tare_status status = parse_start(&p);
    for (uint64_t i = 0; i < p.entry_count && status == TARE_OK; i++) status = parse_entry(&p);
    if (p.alignment == 0) p.alignment = ALIGNMENT_DEFAULT;
    if (status == TARE_OK && !reserve_records(&p)) status = tarei_error_memory(cursor->error);
    for (uint64_t i = 0; i < p.tensor_count && status == TARE_OK; i++) status = parse_tensor(&p);
    if (status != TARE_OK) return status;
    if (parsed->layouts.size / TAREI_LAYOUT_UNIT >= UINT32_MAX)
        return tarei_error_set(cursor->error, TARE_E_LIMIT, cursor->shard, TARE_NO_OFFSET,
                               "32 GiB of shapes");
    return check_data(&p, first);
}
