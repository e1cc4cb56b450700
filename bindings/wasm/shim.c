/*
 * tare.h as JavaScript can call it: one model to an instance, files handed in by name with the
 * bytes of their start, outputs in static structs whose address is exported. Nothing is decided
 * here.
 *
 * Memory of an instance while it opens a model:
 *
 *   | stack, data | heap: what the model keeps ... free | table, names and heads of files |
 *                 tare_js_reserve makes room -----------^ and JavaScript grows the memory for these
 *
 * Once the model is open, all that it keeps is below tare_js_top(), and nothing allocates any more.
 * JavaScript then moves that much to an instance with a smaller memory, and drops this one: headers
 * are gone, although a memory itself can never shrink.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <tare.h>

#include "heap.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("tare"), import_name(#name)))

/* A byte of a file is wanted that is not in memory: which JavaScript writes down, to fetch it. */
IMPORT(missing) void js_missing(uint32_t file, double offset, double size);

/* The name of a file, of tare_list_files. */
IMPORT(visit) void js_visit(const char *name, size_t name_size);

static tare_model *model;
static tare_error failure;
static tare_info info;
static tare_shard_info shard;
static tare_range range;
static tare_stat stat;

static struct {
    tare_string key;
    uint32_t shard;
    uint32_t reserved;
    tare_value value;
} entry;

static struct {
    tare_value rest;
    tare_value item;
} walk;

/* ------------------------------------------------------------------------------------------------
 * Memory
 */

static void *allocate(void *context, size_t size, size_t alignment)
{
    (void)context;
    return alignment <= HEAP_ALIGNMENT ? heap_take(size) : NULL;
}

static void release(void *context, void *memory, size_t size, size_t alignment)
{
    (void)context, (void)size, (void)alignment;
    heap_give(memory);
}

static const tare_allocator hooks = {sizeof hooks, NULL, allocate, release};

/* Makes the heap so large, so that what JavaScript adds to the memory lies behind it. */
EXPORT(tare_js_reserve) int tare_js_reserve(size_t size)
{
    return heap_reserve(size);
}

EXPORT(tare_js_top) size_t tare_js_top(void)
{
    return heap_top();
}

/* ------------------------------------------------------------------------------------------------
 * Opening
 */

typedef struct table_line {
    tare_file file;
    tare_reader reader;
} table_line;

static int64_t read_at(void *context, uint64_t offset, void *target, size_t size)
{
    (void)target;
    js_missing((uint32_t)(size_t)context, (double)offset, (double)size);
    return -EIO;
}

/* Room for a table of files: what tare_open_files wants, and a reader for each. */
EXPORT(tare_js_table_size) size_t tare_js_table_size(size_t count)
{
    return count * sizeof(table_line);
}

EXPORT(tare_js_table_set)
void tare_js_table_set(void *table, size_t count, size_t index, const char *name, const void *head,
                       size_t head_size, double size)
{
    tare_file *files = table;
    tare_reader *readers = (void *)(files + count);
    readers[index] = (tare_reader){sizeof *readers, (void *)index, read_at, (uint64_t)size};
    files[index] = (tare_file){name, head, head_size, &readers[index], {0, 0}};
}

/* What the calls below open with: an instance makes one attempt. JavaScript writes the limits where
 * these are. */
static tare_options options = {.struct_size = sizeof options, .allocator = &hooks};

_Static_assert(offsetof(tare_options, header_size_max) == 24, "LIMITS of instance.js");
_Static_assert(offsetof(tare_options, tensor_count_max) == 56, "LIMITS of instance.js");
_Static_assert(offsetof(tare_options, rank_max) == 64, "LIMITS of instance.js");
_Static_assert(offsetof(tare_options, name_size_max) == 72, "LIMITS of instance.js");
_Static_assert(offsetof(tare_options, metadata_size_max) == 80, "LIMITS of instance.js");

EXPORT(tare_js_options) tare_options *tare_js_options(void)
{
    return &options;
}

EXPORT(tare_js_open) tare_status tare_js_open(const void *table, size_t count)
{
    return tare_open_files(table, count, &options, &model, &failure);
}

/* The same, from an index file alone, which is used where it lies; no byte of the files themselves
 * is wanted. */
EXPORT(tare_js_open_index)
tare_status tare_js_open_index(const void *table, size_t count, const void *index,
                               size_t index_size)
{
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = index;
    options.index_size = index_size;
    return tare_open_files(table, count, &options, &model, &failure);
}

static int visit(void *context, const char *name, size_t name_size)
{
    (void)context;
    js_visit(name, name_size);
    return 0;
}

EXPORT(tare_js_list) tare_status tare_js_list(const void *table)
{
    return tare_list_files(table, &options, visit, NULL, &failure);
}

EXPORT(tare_js_error) const tare_error *tare_js_error(void)
{
    return &failure;
}

EXPORT(tare_js_status_name) const char *tare_js_status_name(tare_status status)
{
    return tare_status_name(status);
}

EXPORT(tare_js_version) const char *tare_js_version(void)
{
    return tare_version();
}

/* ------------------------------------------------------------------------------------------------
 * Tensors
 */

EXPORT(tare_js_count) size_t tare_js_count(void)
{
    return tare_count(model);
}

EXPORT(tare_js_at) const tare_tensor *tare_js_at(size_t index)
{
    return tare_at(model, index);
}

EXPORT(tare_js_index_of) size_t tare_js_index_of(const tare_tensor *tensor)
{
    return tare_index_of(model, tensor);
}

EXPORT(tare_js_find) const tare_tensor *tare_js_find(const char *name, size_t name_size)
{
    return tare_find(model, name, name_size);
}

EXPORT(tare_js_describe) const tare_info *tare_js_describe(const tare_tensor *tensor)
{
    info = tare_describe(model, tensor);
    return &info;
}

EXPORT(tare_js_dtype_name) const char *tare_js_dtype_name(tare_dtype dtype)
{
    return tare_dtype_name(dtype);
}

EXPORT(tare_js_dtype_bits) uint32_t tare_js_dtype_bits(tare_dtype dtype)
{
    return tare_dtype_bits(dtype);
}

EXPORT(tare_js_prefix) void tare_js_prefix(const char *prefix, size_t prefix_size)
{
    range = tare_prefix(model, prefix, prefix_size);
}

/* Up to `count` more tensors of that prefix, which must still be where it was; how many. */
EXPORT(tare_js_next) size_t tare_js_next(const tare_tensor **out, size_t count)
{
    size_t found = 0;
    while (found < count && (out[found] = tare_next(model, &range)) != NULL) found++;
    return found;
}

/* The names from `first` on that fit, one behind the other, and their sizes; how many. */
EXPORT(tare_js_names)
size_t tare_js_names(size_t first, uint32_t *sizes, size_t count, char *text, size_t text_size)
{
    size_t done = 0;
    for (; done < count; done++) {
        const tare_tensor *tensor = tare_at(model, first + done);
        if (tensor == NULL) break;
        tare_string name = tare_name(model, tensor);
        if (name.size > text_size) break;
        __builtin_memcpy(text, name.data, name.size);
        sizes[done] = (uint32_t)name.size;
        text += name.size;
        text_size -= name.size;
    }
    return done;
}

/* ------------------------------------------------------------------------------------------------
 * Metadata
 */

EXPORT(tare_js_metadata_count) size_t tare_js_metadata_count(void)
{
    return tare_metadata_count(model);
}

EXPORT(tare_js_metadata_at) const void *tare_js_metadata_at(size_t index)
{
    if (!tare_metadata_at(model, index, &entry.key, NULL, &entry.shard)) return NULL;
    entry.value = tare_metadata_value_at(model, index);
    return &entry;
}

/* The same of a key; what it says of key and shard is of no use. */
EXPORT(tare_js_metadata_find) const void *tare_js_metadata_find(const char *key, size_t key_size)
{
    entry.value = tare_metadata_value(model, key, key_size);
    return entry.value.kind != 0 ? &entry : NULL;
}

/* Walks over the items of the value that one of these gave last. */
EXPORT(tare_js_walk) void tare_js_walk(void)
{
    walk.rest = entry.value;
}

EXPORT(tare_js_walk_next) const tare_value *tare_js_walk_next(void)
{
    return tare_value_next(&walk.rest, &walk.item) ? &walk.item : NULL;
}

EXPORT(tare_js_kind_name) const char *tare_js_kind_name(tare_kind kind)
{
    return tare_kind_name(kind);
}

/* ------------------------------------------------------------------------------------------------
 * The model as a whole
 */

EXPORT(tare_js_shard_count) size_t tare_js_shard_count(void)
{
    return tare_shard_count(model);
}

EXPORT(tare_js_shard_at) const tare_shard_info *tare_js_shard_at(size_t index)
{
    shard = tare_shard_at(model, index);
    return &shard;
}

EXPORT(tare_js_stat) const tare_stat *tare_js_stat(void)
{
    stat.struct_size = sizeof stat;
    tare_model_stat(model, &stat);
    return &stat;
}

/* For %m of printf, which nobody writes; the texts of libc take 2 KB. */
char *strerror(int number)
{
    static char text[] = "?";
    (void)number;
    return text;
}
