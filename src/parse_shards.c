/*
 * {"metadata": {...}, "weight_map": {"tensor name": "shard file name", ...}}
 *
 * The rules and their names (X-...) are those of docs/format_safetensors.md.
 */
#include <string.h>

#include "error.h"
#include "parse.h"
#include "sort.h"

/* X-PATH, X-EXT: a shard lies in the folder of its index or below, on every operating system. */
const char *tarei_shard_name_fault(const char *name, size_t size)
{
    static const char extension[] = ".safetensors";
    const size_t extension_size = sizeof extension - 1;
    if (size > TAREI_SHARD_NAME_SIZE_MAX) return "longer than 4096 bytes";
    if (size < extension_size ||
        memcmp(name + size - extension_size, extension, extension_size) != 0)
        return "does not end in .safetensors";
    size_t start = 0; /* of a path segment */
    for (size_t i = 0; i <= size; i++) {
        unsigned char c = i < size ? (unsigned char)name[i] : '/';
        if (c < 0x20 || c == 0x7F) return "holds a control character";
        if (c == '\\') return "holds a backslash";
        if (c == ':' && start == 0) return "holds a colon in its first segment";
        if (c != '/') continue;
        size_t length = i - start;
        if (length == 0) return "is absolute or has an empty segment";
        if (name[start] == '.' && (length == 1 || (length == 2 && name[start + 1] == '.')))
            return "has a segment '.' or '..'";
        start = i + 1;
    }
    return NULL;
}

/* Consecutive lines that name the same shard: all that later steps look at. */
typedef struct run {
    tarei_token file;
    uint32_t first; /* line */
    uint32_t shard;
} run;

typedef struct parser {
    tarei_json json;
    tarei_weight_map *map;
    tarei_buffer runs;
} parser;

static bool same_text(const tarei_token *a, const tarei_token *b)
{
    return a->raw_size == b->raw_size && memcmp(a->text, b->text, a->raw_size) == 0;
}

static tare_status add_line(parser *p, const tarei_token *name, const tarei_token *file)
{
    tarei_weight_map *map = p->map;
    if (!tarei_buffer_reserve(&map->listed, map->memory, sizeof(tarei_listed)) ||
        !tarei_buffer_reserve(&p->runs, map->memory, sizeof(run)))
        return tarei_error_memory(p->json.error);
    uint32_t line = (uint32_t)(map->listed.size / sizeof(tarei_listed));
    const char *fault = tarei_parsed_fault(map->limits, line + UINT64_C(1), 0, name->size, 0);
    if (fault != NULL)
        return tarei_json_fail(&p->json, TARE_E_LIMIT, name->text - 1, "tensor %s: %s",
                               tarei_quote(name->text, name->raw_size).text, fault);
    run *last = p->runs.size != 0 ? (run *)((char *)p->runs.data + p->runs.size) - 1 : NULL;
    if (last == NULL || !same_text(&last->file, file)) {
        run *added = (void *)((char *)p->runs.data + p->runs.size);
        p->runs.size += sizeof *added;
        *added = (run){*file, line, 0};
    }
    tarei_listed *listed = (void *)((char *)map->listed.data + map->listed.size);
    map->listed.size += sizeof *listed;
    *listed = (tarei_listed){(uint32_t)(name->text - p->json.start), name->size, name->raw_size, 0};
    return TARE_OK;
}

static tare_status parse_lines(parser *p)
{
    tarei_json *json = &p->json;
    bool more;
    tarei_json_space(json);
    if (json->at < json->end && *json->at != '{')
        return tarei_json_fail(json, TARE_E_INDEX, json->at, "weight_map is not an object");
    tare_status status = tarei_json_enter(json, '{', &more);
    while (status == TARE_OK && more) {
        tarei_token name, file;
        status = tarei_json_key(json, &name);
        if (status != TARE_OK) return status;
        tarei_json_space(json);
        if (json->at < json->end && *json->at != '"')
            return tarei_json_fail(json, TARE_E_INDEX, json->at,
                                   "tensor %s: its shard is not a string",
                                   tarei_quote(name.text, name.raw_size).text);
        status = tarei_json_string(json, &file);
        if (status == TARE_OK) status = add_line(p, &name, &file);
        if (status == TARE_OK) status = tarei_json_next(json, '{', &more);
    }
    return status;
}

static tare_status parse_index(parser *p)
{
    tarei_json *json = &p->json;
    bool more, seen = false;
    tarei_json_space(json);
    if (json->at < json->end && *json->at != '{')
        return tarei_json_fail(json, TARE_E_INDEX, json->at, "a shard index is a JSON object");
    tare_status status = tarei_json_enter(json, '{', &more);
    while (status == TARE_OK && more) {
        tarei_token key;
        status = tarei_json_key(json, &key);
        if (status != TARE_OK) return status;
        bool is_map = tarei_json_equals(&key, "weight_map", 10);
        if (is_map && seen)
            return tarei_json_fail(json, TARE_E_DUPLICATE, key.text - 1, "weight_map twice");
        seen |= is_map;
        status = is_map ? parse_lines(p) : tarei_json_skip(json); /* total_size is advisory */
        if (status == TARE_OK) status = tarei_json_next(json, '{', &more);
    }
    if (status == TARE_OK) status = tarei_json_end(json);
    if (status == TARE_OK && !seen)
        return tarei_json_fail(json, TARE_E_INDEX, json->start, "a shard index has a weight_map");
    return status;
}

/* Unescapes the file name of each run into `text`, which has room, and checks it. */
static tare_status check_names(parser *p, char *text)
{
    run *runs = p->runs.data;
    size_t count = (size_t)(p->runs.size / sizeof *runs);
    for (size_t i = 0; i < count; i++) {
        tarei_token *file = &runs[i].file;
        tarei_json_unescape(file->text, file->size, text);
        const char *fault = tarei_shard_name_fault(text, file->size);
        if (fault != NULL)
            return tarei_json_fail(&p->json, TARE_E_SHARD_NAME, file->text - 1,
                                   "shard %s: its name %s", tarei_quote(text, file->size).text,
                                   fault);
        file->text = (const uint8_t *)text;
        file->raw_size = file->size;
        text += file->size;
    }
    return TARE_OK;
}

static int compare_runs(const void *context, uint32_t a, uint32_t b)
{
    const run *runs = context;
    const tarei_token *x = &runs[a].file, *y = &runs[b].file;
    return tarei_sort_compare(x->text, x->size, y->text, y->size);
}

static bool keep_name(tarei_weight_map *map, tare_string *kept, const tarei_token *file)
{
    char *name = tarei_arena_take(map->arena, (uint64_t)file->size + 1, 1);
    if (name == NULL) return false;
    memcpy(name, file->text, file->size);
    name[file->size] = 0;
    *kept = (tare_string){name, file->size};
    return true;
}

/* Numbers the shards in the order of their names, and says so in each line. */
static tare_status sort_shards(parser *p)
{
    tarei_weight_map *map = p->map;
    run *runs = p->runs.data;
    uint32_t count = (uint32_t)(p->runs.size / sizeof *runs);
    uint64_t order_size = (uint64_t)count * 2 * sizeof(uint32_t);
    uint32_t *order = tarei_memory_take(map->memory, order_size, TAREI_BUFFER_ALIGNMENT);
    bool fine = order != NULL &&
                tarei_buffer_reserve(&map->shards, map->memory, count * sizeof(tare_string));
    if (fine) {
        tare_string *shards = map->shards.data;
        uint32_t shard = 0;
        for (uint32_t i = 0; i < count; i++) order[i] = i;
        tarei_sort(order, order + count, count, compare_runs, runs);
        for (uint32_t i = 0; i < count; i++) {
            run *current = &runs[order[i]];
            if (i == 0 || compare_runs(runs, order[i - 1], order[i]) != 0) {
                fine = fine && keep_name(map, &shards[shard], &current->file);
                shard++;
            }
            current->shard = shard - 1;
        }
        map->shards.size = shard * sizeof(tare_string);
        tarei_listed *listed = map->listed.data;
        uint32_t lines = (uint32_t)(map->listed.size / sizeof *listed), at = 0;
        for (uint32_t line = 0; line < lines; line++) {
            if (at + 1 < count && runs[at + 1].first == line) at++;
            listed[line].shard = runs[at].shard;
        }
    }
    tarei_memory_give(map->memory, order, order_size, TAREI_BUFFER_ALIGNMENT);
    return fine ? TARE_OK : tarei_error_memory(p->json.error);
}

/* File names are unescaped into memory of their own; what is kept of them is one copy each. */
static tare_status number_shards(parser *p)
{
    tarei_memory *memory = p->map->memory;
    const run *runs = p->runs.data;
    uint64_t size = 0;
    for (uint64_t i = 0; i < p->runs.size / sizeof *runs; i++) size += runs[i].file.size;
    char *names = tarei_memory_take(memory, size, 1);
    if (names == NULL) return tarei_error_memory(p->json.error);
    tare_status status = check_names(p, names);
    if (status == TARE_OK) status = sort_shards(p);
    tarei_memory_give(memory, names, size, 1);
    return status;
}

tare_status tarei_parse_weight_map(tarei_weight_map *map, const void *text, uint64_t size,
                                   tare_error *error)
{
    parser p = {.map = map};
    map->text = text;
    tarei_json_init(&p.json, text, size, 0, TARE_NO_SHARD, error);
    tare_status status = parse_index(&p);
    if (status == TARE_OK) status = number_shards(&p);
    tarei_buffer_free(&p.runs, map->memory);
    return status;
}
