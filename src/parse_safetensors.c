/*
 * The header of one safetensors file. The rules and their names (S-...) are those of
 * docs/format_safetensors.md, which gives the status and the test of each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "parse.h"
#include "sort.h"

/* ------------------------------------------------------------------------------------------------
 * The first eight bytes
 */

/* What other things that reach users under this name begin with. */
const char *tarei_parse_other_format(const uint8_t head[8])
{
    static const struct {
        const char *bytes, *what;
    } known[] = {
        {"version ", "a Git LFS pointer: the file itself was not fetched"},
        {"FUGG", "GGUF with its bytes swapped"},
        {"ggml", "a file of ggml from before GGUF"},
        {"lmgg", "a file of ggml from before GGUF"},
        {"fmgg", "a file of ggml from before GGUF"},
        {"tjgg", "a file of ggml from before GGUF"},
        {"PK\3\4", "a zip archive, such as a PyTorch checkpoint"},
        {"\x80\x02", "a Python pickle, such as a PyTorch checkpoint"},
        {"<!DOCTY", "an HTML page: probably an error page that was saved"},
        {"<!docty", "an HTML page: probably an error page that was saved"},
        {"<html", "an HTML page: probably an error page that was saved"},
        {"\x1f\x8b", "compressed with gzip"},
        {"\x28\xb5\x2f\xfd", "compressed with zstd"},
        {"\x89HDF", "an HDF5 file"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (memcmp(head, known[i].bytes, strlen(known[i].bytes)) == 0) return known[i].what;
    return NULL;
}

tare_status tarei_parse_head(const uint8_t *head, uint64_t file_size, uint64_t size_max,
                             uint32_t shard, uint64_t *header_size, tare_error *error)
{
    /* S-MIN */
    if (file_size < TAREI_HEAD_SIZE)
        return tarei_error_set(error, TARE_E_TRUNCATED, shard, 0,
                               "%" PRIu64 " bytes: a safetensors file has at least 8", file_size);
    *header_size = tarei_load_le64(head);
    /* S-HLIM */
    if (*header_size > size_max) {
        const char *other = tarei_parse_other_format(head);
        if (other != NULL)
            return tarei_error_set(error, TARE_E_FORMAT, shard, 0, "not safetensors but %s", other);
        return tarei_error_set(error, TARE_E_HEADER_SIZE, shard, 0,
                               "a header of %" PRIu64 " bytes, the limit is %" PRIu64
                               " (is this a safetensors file?)",
                               *header_size, size_max);
    }
    /* S-HLEN */
    if (*header_size > file_size - TAREI_HEAD_SIZE)
        return tarei_error_set(error, TARE_E_TRUNCATED, shard, 0,
                               "a header of %" PRIu64 " bytes in a file of %" PRIu64
                               ": probably a download that was cut short",
                               *header_size, file_size);
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * One tensor: {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}
 */

/* A dtype as a header spells it, with its closing quote, where that is no more than 8 bytes. */
typedef struct seen_dtype {
    uint64_t text, mask;
    uint32_t size; /* without the quote */
    tare_dtype dtype;
} seen_dtype;

typedef struct parser {
    tarei_json json;
    tarei_parsed *parsed;
    uint64_t data_offset;
    uint64_t data_size;
    uint64_t end; /* of the tensor before, in the data section */
    bool in_order;
    seen_dtype seen[2]; /* the last two: weights and their scales take turns */
} parser;

typedef struct tensor_facts {
    tarei_token name;
    const uint8_t *shape_at, *offsets_at; /* NULL until seen */
    uint64_t elements;
    uint64_t begin, end;
    tare_dtype dtype; /* 0 until seen */
    bool overflow;
} tensor_facts;

/* A tensor's error is reported at its name unless a better place is known. */
static tare_status fail_tensor(parser *p, const tensor_facts *facts, tare_status status,
                               const uint8_t *at, const char *what)
{
    if (at == NULL) at = facts->name.text - 1;
    return tarei_json_fail(&p->json, status, at, "tensor %s: %s",
                           tarei_quote(facts->name.text, facts->name.raw_size).text, what);
}

/* The dtypes of other formats come behind those of this one. */
static tare_dtype find_dtype(const char *name, size_t size)
{
    tare_dtype dtype = tare_dtype_find(name, size);
    return dtype <= TARE_DTYPE_U64 ? dtype : 0;
}

static tare_status parse_dtype(parser *p, tensor_facts *facts)
{
    tarei_token token;
    char name[16];
    tarei_json_space(&p->json);
    const uint8_t *at = p->json.at;
    if (at == p->json.end || *at != '"')
        return fail_tensor(p, facts, TARE_E_DTYPE, at, "the dtype is not a string");
    tare_status status = tarei_json_string(&p->json, &token);
    if (status != TARE_OK) return status;
    if (token.size <= sizeof name) {
        tarei_json_unescape(token.text, token.size, name);
        facts->dtype = find_dtype(name, token.size);
    }
    if (facts->dtype != 0) return TARE_OK;
    return tarei_json_fail(&p->json, TARE_E_DTYPE, at, "tensor %s: unknown dtype %s",
                           tarei_quote(facts->name.text, facts->name.raw_size).text,
                           tarei_quote(token.text, token.raw_size).text);
}

static tare_status parse_shape(parser *p, tensor_facts *facts)
{
    tarei_json *json = &p->json;
    bool more;
    tarei_json_space(json);
    facts->shape_at = json->at;
    if (json->at == json->end || *json->at != '[')
        return fail_tensor(p, facts, TARE_E_SHAPE, json->at, "the shape is not an array");
    tare_status status = tarei_json_enter(json, '[', &more);
    facts->elements = 1;
    while (status == TARE_OK && more) {
        uint64_t dimension;
        tarei_json_space(json);
        if (!tarei_json_u64(json, &dimension))
            return fail_tensor(p, facts, TARE_E_SHAPE, json->at,
                               "a shape holds integers from 0 to 2^64-1");
        /* S-OVF: from the left, as the reference multiplies, so that [0, 2^64-1, 2] is fine. */
        facts->overflow |= tarei_check_multiply(facts->elements, dimension, &facts->elements);
        if (!tarei_parsed_layout_push(p->parsed, dimension)) return tarei_error_memory(json->error);
        status = tarei_json_next(json, '[', &more);
    }
    return status;
}

static tare_status parse_offsets(parser *p, tensor_facts *facts)
{
    tarei_json *json = &p->json;
    tarei_json_space(json);
    facts->offsets_at = json->at;
    bool fine = tarei_json_literal(json, "[", 1) && tarei_json_u64(json, &facts->begin);
    if (fine) tarei_json_space(json), fine = tarei_json_literal(json, ",", 1);
    if (fine) fine = tarei_json_u64(json, &facts->end);
    if (fine) tarei_json_space(json), fine = tarei_json_literal(json, "]", 1);
    if (fine) return TARE_OK;
    return fail_tensor(p, facts, TARE_E_OFFSETS, json->at,
                       "data_offsets are two integers from 0 to 2^64-1");
}

static tare_status parse_member(parser *p, tensor_facts *facts)
{
    tarei_token key;
    tare_status status = tarei_json_key(&p->json, &key);
    if (status != TARE_OK) return status;
    bool again = false;
    if (tarei_json_equals(&key, "dtype", 5)) {
        again = facts->dtype != 0;
        if (!again) return parse_dtype(p, facts);
    } else if (tarei_json_equals(&key, "shape", 5)) {
        again = facts->shape_at != NULL;
        if (!again) return parse_shape(p, facts);
    } else if (tarei_json_equals(&key, "data_offsets", 12)) {
        again = facts->offsets_at != NULL;
        if (!again) return parse_offsets(p, facts);
    }
    if (again) return fail_tensor(p, facts, TARE_E_FIELD, key.text - 1, "a member is there twice");
    return tarei_json_skip(&p->json); /* S-INFO: unknown members are ignored */
}

/* All range rules of one tensor by itself: S-OFFSETS, S-OVF, S-SUBBYTE, S-SIZE. */
static tare_status check_tensor(parser *p, const tensor_facts *facts, uint64_t *size)
{
    uint64_t bits;
    if (facts->begin > facts->end)
        return fail_tensor(p, facts, TARE_E_OFFSETS, facts->offsets_at, "it ends before it begins");
    if (facts->overflow ||
        tarei_check_multiply(facts->elements, tare_dtype_bits(facts->dtype), &bits))
        return fail_tensor(p, facts, TARE_E_OVERFLOW, facts->shape_at,
                           "the shape holds more than 2^64 bits");
    if (bits % 8 != 0)
        return fail_tensor(p, facts, TARE_E_SUBBYTE, facts->shape_at, "it ends within a byte");
    *size = bits / 8;
    if (facts->end - facts->begin != *size) {
        char what[120];
        snprintf(what, sizeof what, "its shape takes %" PRIu64 " bytes, its offsets %" PRIu64,
                 *size, facts->end - facts->begin);
        return fail_tensor(p, facts, TARE_E_SIZE, facts->offsets_at, what);
    }
    if (facts->end > p->data_size) { /* S-COVER, and offsets fit a record from here on */
        char what[120];
        snprintf(what, sizeof what,
                 "it ends at %" PRIu64 ", the data section has %" PRIu64 " bytes (cut short?)",
                 facts->end, p->data_size);
        return fail_tensor(p, facts, TARE_E_COVER, facts->offsets_at, what);
    }
    return TARE_OK;
}

static uint32_t size_of(const tarei_token *name)
{
    return name->size == name->raw_size ? name->size : name->size | TAREI_NAME_ESCAPED;
}

static tare_status add_tensor(parser *p, const tensor_facts *facts)
{
    tarei_parsed *parsed = p->parsed;
    uint64_t size = 0;
    tare_status status = check_tensor(p, facts, &size);
    if (status != TARE_OK) return status;
    const char *fault = tarei_parsed_tensor_fault(parsed, facts->name.size);
    if (fault != NULL) return fail_tensor(p, facts, TARE_E_LIMIT, NULL, fault);
    const tarei_record record = {
        .where = tarei_record_where(p->json.shard, facts->begin),
        .layout = tarei_parsed_layout_intern(parsed, facts->dtype, size),
        .name = (uint32_t)(facts->name.text - p->json.start),
    };
    parsed->name_size += facts->name.size;
    p->in_order &= facts->begin == p->end;
    p->end = facts->end;
    if (tarei_parsed_add(&parsed->records, &parsed->sizes, parsed->memory, record,
                         size_of(&facts->name)))
        return TARE_OK;
    return tarei_error_memory(p->json.error);
}

/* The dtype whose name stands there, with 16 bytes or more to read, and its size; 0 if unknown. */
static tare_dtype usual_dtype(parser *p, const uint8_t *text, size_t *size)
{
    uint64_t word = tarei_load_le64(text);
    for (int i = 0; i < 2; i++) {
        const seen_dtype *seen = &p->seen[i];
        *size = seen->size;
        if (((word ^ seen->text) & seen->mask) == 0 && seen->dtype != 0) return seen->dtype;
    }
    *size = 2;
    while (*size < 12 && text[*size] != '"') ++*size;
    tare_dtype dtype = find_dtype((const char *)text, *size);
    if (dtype != 0 && *size < 8) {
        uint64_t mask = UINT64_MAX >> (56 - 8 * *size);
        p->seen[1] = p->seen[0];
        p->seen[0] = (seen_dtype){word & mask, mask, (uint32_t)*size, dtype};
    }
    return dtype;
}

/*
 * The form in which nearly all writers put a tensor, without space and in this order. Gives up,
 * with nothing consumed and nothing decided, at the first byte that is otherwise.
 */
static bool parse_usual(parser *p, tensor_facts *facts)
{
    tarei_json *json = &p->json;
    const uint8_t *start = json->at;
    const uint8_t *dtype = start + 10;
    if (json->end - start < 64 || memcmp(start, "{\"dtype\":\"", 10) != 0) return false;
    size_t dtype_size;
    facts->dtype = usual_dtype(p, dtype, &dtype_size);
    json->at = dtype + dtype_size;
    facts->elements = 1;
    bool fine = facts->dtype != 0 && tarei_json_literal(json, "\",\"shape\":[", 11);
    facts->shape_at = json->at - 1;
    if (fine && *json->at != ']') {
        do {
            uint64_t dimension;
            fine =
                tarei_json_u64(json, &dimension) && tarei_parsed_layout_push(p->parsed, dimension);
            if (fine)
                facts->overflow |=
                    tarei_check_multiply(facts->elements, dimension, &facts->elements);
        } while (fine && tarei_json_literal(json, ",", 1));
    }
    fine = fine && tarei_json_literal(json, "],\"data_offsets\":[", 18);
    facts->offsets_at = json->at - 1;
    fine = fine && tarei_json_u64(json, &facts->begin) && tarei_json_literal(json, ",", 1) &&
           tarei_json_u64(json, &facts->end) && tarei_json_literal(json, "]}", 2);
    if (fine) return true;
    json->at = start;
    *facts = (tensor_facts){.name = facts->name};
    return false;
}

static tare_status parse_tensor(parser *p, const tarei_token *name)
{
    tensor_facts facts = {.name = *name};
    bool more;
    if (!tarei_parsed_layout_begin(p->parsed)) return tarei_error_memory(p->json.error);
    if (parse_usual(p, &facts)) return add_tensor(p, &facts);
    tarei_parsed_layout_begin(p->parsed); /* forgets what was pushed; there is room */
    tarei_json_space(&p->json);
    if (p->json.at < p->json.end && *p->json.at != '{')
        return fail_tensor(p, &facts, TARE_E_FIELD, p->json.at,
                           "it is not an object with dtype, shape and data_offsets");
    tare_status status = tarei_json_enter(&p->json, '{', &more);
    while (status == TARE_OK && more) {
        status = parse_member(p, &facts);
        if (status == TARE_OK) status = tarei_json_next(&p->json, '{', &more);
    }
    if (status != TARE_OK) return status;
    const char *missing = facts.dtype == 0           ? "it has no dtype"
                          : facts.shape_at == NULL   ? "it has no shape"
                          : facts.offsets_at == NULL ? "it has no data_offsets"
                                                     : NULL;
    if (missing != NULL) return fail_tensor(p, &facts, TARE_E_FIELD, NULL, missing);
    return add_tensor(p, &facts);
}

/* ------------------------------------------------------------------------------------------------
 * S-META: "__metadata__": {"key": "value", ...}, or null
 */

static tare_status parse_metadata(parser *p)
{
    tarei_json *json = &p->json;
    tarei_parsed *parsed = p->parsed;
    tarei_token key, value;
    bool more;
    tarei_json_space(json);
    if (tarei_json_literal(json, "null", 4)) return TARE_OK;
    if (json->at < json->end && *json->at != '{')
        return tarei_json_fail(json, TARE_E_METADATA, json->at, "__metadata__ is not an object");
    tare_status status = tarei_json_enter(json, '{', &more);
    while (status == TARE_OK && more) {
        status = tarei_json_key(json, &key);
        if (status != TARE_OK) return status;
        tarei_json_space(json);
        if (json->at < json->end && *json->at != '"')
            return tarei_json_fail(json, TARE_E_METADATA, json->at,
                                   "metadata %s: the value is not a string",
                                   tarei_quote(key.text, key.raw_size).text);
        status = tarei_json_string(json, &value);
        if (status != TARE_OK) return status;
        parsed->metadata_name_size += key.size;
        parsed->metadata_value_size += value.size;
        const char *fault = tarei_parsed_metadata_fault(parsed, (uint64_t)key.size + value.size);
        if (fault != NULL)
            return tarei_json_fail(json, TARE_E_LIMIT, key.text - 1, "metadata %s: %s",
                                   tarei_quote(key.text, key.raw_size).text, fault);
        const tarei_record record = {
            .where = tarei_record_where(json->shard, (uint64_t)(value.text - json->start)),
            .layout = value.size,
            .name = (uint32_t)(key.text - json->start),
        };
        if (!tarei_parsed_add(&parsed->metadata, &parsed->metadata_sizes, parsed->memory, record,
                              size_of(&key)))
            return tarei_error_memory(json->error);
        status = tarei_json_next(json, '{', &more);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * The whole header
 */

typedef struct offset_order {
    const tarei_parsed *parsed;
    const tarei_record *records;
} offset_order;

/* S-SORT: by (begin, end), so that an empty tensor comes before the one that starts where it does.
 */
static int compare_offsets(const void *context, uint32_t a, uint32_t b)
{
    const offset_order *order = context;
    const tarei_record *x = order->records + a, *y = order->records + b;
    if (x->where != y->where) return x->where < y->where ? -1 : 1;
    uint64_t x_size = tarei_parsed_layout(order->parsed, x)->size,
             y_size = tarei_parsed_layout(order->parsed, y)->size;
    return x_size < y_size ? -1 : x_size > y_size;
}

static tare_status sort_by_offset(parser *p, tarei_record *records, uint32_t *sizes, uint32_t count)
{
    tarei_memory *memory = p->parsed->memory;
    uint64_t order_size = (uint64_t)count * 3 * sizeof(uint32_t);
    uint64_t copy_size = (uint64_t)count * sizeof(tarei_record);
    uint32_t *order = tarei_memory_take(memory, order_size, TAREI_BUFFER_ALIGNMENT);
    tarei_record *copy = tarei_memory_take(memory, copy_size, TAREI_BUFFER_ALIGNMENT);
    bool fine = order != NULL && copy != NULL;
    if (fine) {
        uint32_t *sizes_copy = order + 2 * (size_t)count;
        for (uint32_t i = 0; i < count; i++) order[i] = i;
        offset_order context = {p->parsed, records};
        tarei_sort(order, order + count, count, compare_offsets, &context);
        memcpy(copy, records, (size_t)copy_size);
        memcpy(sizes_copy, sizes, count * sizeof *sizes);
        for (uint32_t i = 0; i < count; i++) {
            records[i] = copy[order[i]];
            sizes[i] = sizes_copy[order[i]];
        }
    }
    tarei_memory_give(memory, copy, copy_size, TAREI_BUFFER_ALIGNMENT);
    tarei_memory_give(memory, order, order_size, TAREI_BUFFER_ALIGNMENT);
    return fine ? TARE_OK : tarei_error_memory(p->json.error);
}

/* The name of a record as it stands in the header, where it parsed well before. */
static tarei_token name_of(const parser *p, const tarei_record *record)
{
    tare_error unused;
    tarei_token name = {NULL, 0, 0};
    tarei_json json = p->json;
    json.error = &unused;
    json.at = json.start + record->name - 1;
    tarei_json_string(&json, &name);
    return name;
}

/* Tensors that overlap may be one tensor that is there twice, which is what users want to be told.
 */
static tare_status fail_layout(parser *p, const tarei_record *records, uint32_t number,
                               uint32_t count, uint64_t end)
{
    tarei_token name = name_of(p, &records[number]);
    uint64_t begin = tarei_record_offset(&records[number]);
    tarei_quoted quoted = tarei_quote(name.text, name.raw_size);
    for (uint32_t i = 0; i < count && begin < end; i++) {
        tarei_token other = name_of(p, &records[i]);
        if (i == number || other.raw_size != name.raw_size ||
            memcmp(other.text, name.text, name.raw_size) != 0)
            continue;
        return tarei_json_fail(&p->json, TARE_E_DUPLICATE,
                               (other.text > name.text ? other.text : name.text) - 1,
                               "tensor %s is there twice", quoted.text);
    }
    return tarei_json_fail(
        &p->json, TARE_E_LAYOUT, name.text - 1,
        "tensor %s: it begins at %" PRIu64 ", %s at %" PRIu64, quoted.text, begin,
        begin < end ? "inside a tensor that ends" : "behind a hole that starts", end);
}

/* The rules of all tensors together: S-CONTIG, S-COVER. Makes offsets count from the file's start.
 */
static tare_status check_cover(parser *p, tarei_record *records, uint32_t count)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        tarei_record *record = &records[i];
        if (tarei_record_offset(record) != end) return fail_layout(p, records, i, count, end);
        end += tarei_parsed_layout(p->parsed, record)->size;
    }
    if (end != p->data_size)
        return tarei_error_set(p->json.error, TARE_E_COVER, p->json.shard, p->data_offset + end,
                               "the tensors end at %" PRIu64 ", the data section has %" PRIu64
                               " bytes: %" PRIu64 " belong to none",
                               end, p->data_size, p->data_size - end);
    for (uint32_t i = 0; i < count; i++) records[i].where += p->data_offset; /* within the file */
    return TARE_OK;
}

/* Room for all records at once, by a look ahead for braces alone. A tensor takes a brace and at
 * least 50 bytes of header, so this is never much more than there are, and always in proportion to
 * the header. */
static bool reserve_records(tarei_parsed *parsed, const uint8_t *text, uint64_t size)
{
    uint64_t braces = 0, i = 0;
    for (; size - i >= 128; i += 128) { /* a form that compilers count in bytes of a vector */
        uint8_t some = 0;
        for (int k = 0; k < 128; k++) some = (uint8_t)(some + (text[i + (uint64_t)k] == '{'));
        braces += some;
    }
    for (; i < size; i++) braces += text[i] == '{';
    uint64_t most = size / 50 + 1;
    if (braces > 0) braces--; /* the header's own */
    if (braces > most) braces = most;
    return tarei_buffer_reserve(&parsed->records, parsed->memory,
                                (braces + 1) * sizeof(tarei_record)) &&
           tarei_buffer_reserve(&parsed->sizes, parsed->memory, braces * sizeof(uint32_t));
}

static tare_status parse_members(parser *p)
{
    tarei_json *json = &p->json;
    bool more, metadata_seen = false;
    tare_status status = tarei_json_enter(json, '{', &more);
    while (status == TARE_OK && more) {
        tarei_token name;
        status = tarei_json_key(json, &name);
        if (status != TARE_OK) return status;
        if (tarei_json_equals(&name, "__metadata__", 12)) {
            if (metadata_seen)
                return tarei_json_fail(json, TARE_E_DUPLICATE, name.text - 1,
                                       "__metadata__ is there twice");
            metadata_seen = true;
            status = parse_metadata(p);
        } else {
            status = parse_tensor(p, &name);
        }
        if (status == TARE_OK) status = tarei_json_next(json, '{', &more);
    }
    return status == TARE_OK ? tarei_json_end(json) : status;
}

tare_status tarei_parse_safetensors(tarei_parsed *parsed, const void *text, uint64_t size,
                                    uint64_t file_size, uint32_t shard, tare_error *error)
{
    parser p = {.parsed = parsed, .in_order = true};
    tarei_json_init(&p.json, text, size, TAREI_HEAD_SIZE, shard, error);
    p.data_offset = TAREI_HEAD_SIZE + size;
    p.data_size = file_size - p.data_offset;
    uint64_t first = tarei_parsed_count(parsed);
    if (!reserve_records(parsed, text, size)) return tarei_error_memory(error);
    tare_status status = parse_members(&p);
    if (status != TARE_OK) return status;
    uint64_t count = tarei_parsed_count(parsed) - first;
    if (parsed->layouts.size / TAREI_LAYOUT_UNIT >= UINT32_MAX)
        return tarei_error_set(error, TARE_E_LIMIT, shard, TARE_NO_OFFSET, "32 GiB of shapes");
    tarei_record *records = tarei_parsed_records(parsed) + first;
    uint32_t *sizes = (uint32_t *)parsed->sizes.data + first;
    if (!p.in_order) status = sort_by_offset(&p, records, sizes, (uint32_t)count);
    return status == TARE_OK ? check_cover(&p, records, (uint32_t)count) : status;
}
