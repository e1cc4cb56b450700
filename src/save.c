/* Checks what is to be written, puts it in the order of the reference writer, and conducts. */
#include "save.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "sort.h"

#define ALIGNMENT_DEFAULT 8u

typedef struct saving {
    tare_save_options options; /* with every default filled in */
    tarei_save_plan plan;
    uint32_t *order; /* room for two orders of whatever there is more of */
    tarei_arena arena;
    uint64_t copied_size; /* what names, shapes and metadata take in the header, at least */
    uint64_t data_size;
    uint64_t header_size;
    uint64_t total_size;
    tarei_memory memory;
    tare_error *error;
} saving;

static tare_status fail(saving *s, tare_status status, const char *what)
{
    return tarei_error_set(s->error, status, TARE_NO_SHARD, TARE_NO_OFFSET, "%s", what);
}

static tare_status fail_argument(saving *s, const char *what, size_t number, const char *why)
{
    return tarei_error_set(s->error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET, "%s %zu: %s",
                           what, number, why);
}

static tare_status fail_named(saving *s, tare_status status, const char *what, const char *name,
                              size_t name_size, const char *why)
{
    return tarei_error_set(s->error, status, TARE_NO_SHARD, TARE_NO_OFFSET, "%s %s: %s", what,
                           tarei_quote(name, name_size).text, why);
}

static tare_status fail_tensor(saving *s, tare_status status, const tarei_save_entry *entry,
                               const char *why)
{
    return fail_named(s, status, "tensor", entry->name, entry->name_size, why);
}

/* ------------------------------------------------------------------------------------------------
 * Options
 */

static tare_status take_options(saving *s, const tare_save_options *options)
{
    tare_save_options *own = &s->options;
    tare_status status = tarei_open_copy_options(own, sizeof *own, options, s->error);
    if (status == TARE_OK) status = tarei_open_check_hooks(own->allocator, s->error);
    if (status != TARE_OK) return status;
    if ((own->flags & ~TARE_SAVE_REPLACE) != 0 || own->reserved != 0)
        return fail(s, TARE_E_ARGUMENT, "options.flags or options.reserved");
    if (own->alignment == 0) own->alignment = ALIGNMENT_DEFAULT;
    if (!tarei_check_is_power(own->alignment) || own->alignment < ALIGNMENT_DEFAULT ||
        own->alignment > TAREI_ALIGNMENT_MAX)
        return fail(s, TARE_E_ARGUMENT, "options.alignment is no power of two from 8 to 2 MiB");
    if (own->metadata == NULL && own->metadata_count != 0)
        return fail(s, TARE_E_ARGUMENT, "options.metadata is NULL");
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Copies
 */

/* A copy of `bytes`, which in the header take at least `least`; NULL and an error. */
static void *copy(saving *s, const void *bytes, uint64_t size, uint64_t least)
{
    if (least > TAREI_HEADER_SIZE_MAX - s->copied_size) {
        fail(s, TARE_E_HEADER_SIZE, "the header would take more than 100,000,000 bytes");
        return NULL;
    }
    s->copied_size += least;
    void *made = tarei_arena_take(&s->arena, size, _Alignof(uint64_t));
    if (made == NULL)
        tarei_error_memory(s->error);
    else if (size != 0) /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): has data */
        memcpy(made, bytes, (size_t)size);
    return made;
}

/* Facts about a tensor, each loaded once. */
static tare_status take_entry(saving *s, const tare_save_tensor *tensor, tarei_save_entry *entry)
{
    uint64_t shape[TAREI_PREBUILT_RANK_MAX];
    tarei_look look = {.size = tensor->size};
    tare_string name = {tensor->name, tensor->name_size};
    if (tensor->model != NULL) {
        tare_status status =
            tarei_bytes_look(tensor->model, tensor->tensor, shape, &look, s->error);
        if (status != TARE_OK) return status;
        if (name.data == NULL) name = tarei_names_get(&tensor->model->tensors, tensor->tensor);
    }
    if (tensor->model == NULL || tensor->dtype != 0) {
        look.shape = tensor->shape;
        look.rank = tensor->rank;
        look.dtype = tensor->dtype;
    }
    *entry = (tarei_save_entry){.name_size = name.size,
                                .rank = look.rank,
                                .dtype = look.dtype,
                                .size = look.size,
                                .where = tarei_record_where(look.shard, look.offset)};
    entry->name = copy(s, name.data, name.size, name.size);
    if (entry->name == NULL) return s->error->status;
    entry->shape = copy(s, look.shape, look.rank * (uint64_t)sizeof *shape, look.rank);
    return entry->shape != NULL ? TARE_OK : s->error->status;
}

static tare_status take_string(saving *s, tare_string *string)
{
    string->data = copy(s, string->data, string->size, string->size);
    return string->data != NULL ? TARE_OK : s->error->status;
}

/* ------------------------------------------------------------------------------------------------
 * Checks
 */

/* Whether the fields of a tensor go together, before any of them is used. */
static tare_status check_fields(saving *s, size_t number)
{
    const tare_save_tensor *tensor = &s->plan.tensors[number];
    const char *why = NULL;
    if (tensor->later[0] != 0 || tensor->later[1] != 0)
        why = "a field is set that this version lacks";
    else if ((tensor->model == NULL) != (tensor->tensor == NULL))
        why = "only one of model and tensor is set";
    else if (tensor->model != NULL && (tensor->data != NULL || tensor->size != 0))
        why = "both a model and data are set";
    else if (tensor->model != NULL && tensor->dtype == 0 && (tensor->shape || tensor->rank != 0))
        why = "a shape is set and no dtype";
    else if (tensor->name == NULL && tensor->name_size != 0)
        why = "name is NULL";
    else if (tensor->shape == NULL && tensor->rank != 0)
        why = "shape is NULL";
    else if (tensor->data == NULL && tensor->size != 0)
        why = "data is NULL";
    return why != NULL ? fail_argument(s, "tensor", number, why) : TARE_OK;
}

/* The rules that a reader has for one tensor; names as in docs/format_safetensors.md. */
static tare_status check_tensor(saving *s, const tarei_save_entry *entry)
{
    static const char reserved[] = "__metadata__";
    char why[120];
    if (!tarei_json_is_utf8(entry->name, entry->name_size)) /* S-UTF8 */
        return fail_tensor(s, TARE_E_UTF8, entry, "the name is not UTF-8");
    if (entry->name_size == sizeof reserved - 1 &&
        memcmp(entry->name, reserved, sizeof reserved - 1) == 0) /* S-META */
        return fail_tensor(s, TARE_E_METADATA, entry, "no tensor can have that name");
    if (!tare_dtype_can_save(entry->dtype)) { /* S-DTYPE */
        const char *dtype = tare_dtype_name(entry->dtype);
        snprintf(why, sizeof why, "safetensors has no dtype %s (%" PRIu32 ")",
                 dtype != NULL ? dtype : "of that number", entry->dtype);
        return fail_tensor(s, TARE_E_DTYPE, entry, why);
    }
    uint64_t bits = 1; /* S-OVF: from the left, as readers multiply */
    bool overflow = false;
    for (uint32_t i = 0; i < entry->rank; i++) /* NOLINTNEXTLINE(*NullDereference): copied */
        overflow |= tarei_check_multiply(bits, entry->shape[i], &bits);
    if (overflow || tarei_check_multiply(bits, tare_dtype_bits(entry->dtype), &bits))
        return fail_tensor(s, TARE_E_OVERFLOW, entry, "the shape holds more than 2^64 bits");
    if (bits % 8 != 0) return fail_tensor(s, TARE_E_SUBBYTE, entry, "it ends within a byte");
    if (bits / 8 == entry->size) return TARE_OK;
    snprintf(why, sizeof why, "its shape takes %" PRIu64 " bytes, it has %" PRIu64, bits / 8,
             entry->size); /* S-SIZE */
    return fail_tensor(s, TARE_E_SIZE, entry, why);
}

static tare_status take_metadata(saving *s)
{
    const size_t count = s->plan.metadata_count;
    tare_save_metadata *own =
        tarei_arena_take(&s->arena, count * (uint64_t)sizeof *own, _Alignof(tare_save_metadata));
    if (own == NULL) return tarei_error_memory(s->error);
    for (size_t i = 0; i < count; i++) {
        tare_string *key = &own[i].key, *value = &own[i].value;
        own[i] = s->options.metadata[i];
        if ((key->data == NULL && key->size != 0) || (value->data == NULL && value->size != 0))
            return fail_argument(s, "metadata", i, "a key or value is NULL");
        tare_status status = take_string(s, key);
        if (status == TARE_OK) status = take_string(s, value);
        if (status != TARE_OK) return status;
        if (!tarei_json_is_utf8(key->data, key->size) ||
            !tarei_json_is_utf8(value->data, value->size))
            return fail_named(s, TARE_E_UTF8, "metadata", key->data, key->size, "is not UTF-8");
    }
    s->plan.metadata = own;
    return TARE_OK;
}

static tare_status take_all(saving *s)
{
    tarei_save_entry *entries = tarei_arena_take(
        &s->arena, s->plan.count * (uint64_t)sizeof *entries, _Alignof(tarei_save_entry));
    if (entries == NULL) return tarei_error_memory(s->error);
    for (size_t i = 0; i < s->plan.count; i++) {
        tare_status status = check_fields(s, i);
        if (status == TARE_OK) status = take_entry(s, &s->plan.tensors[i], &entries[i]);
        if (status == TARE_OK) status = check_tensor(s, &entries[i]);
        if (status != TARE_OK) return status;
        if (tarei_check_add(s->data_size, entries[i].size, &s->data_size))
            s->data_size = UINT64_MAX;
    }
    s->plan.entries = entries;
    return take_metadata(s);
}

/* ------------------------------------------------------------------------------------------------
 * Order
 */

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    const tarei_save_plan *plan = context;
    const tarei_save_entry *one = &plan->entries[a], *other = &plan->entries[b];
    return tarei_sort_compare(one->name, one->name_size, other->name, other->name_size);
}

static int compare_dtypes(const void *context, uint32_t a, uint32_t b)
{
    const tarei_save_plan *plan = context;
    const tare_dtype one = plan->entries[a].dtype, other = plan->entries[b].dtype;
    return (one < other) - (one > other);
}

static int compare_keys(const void *context, uint32_t a, uint32_t b)
{
    const tarei_save_plan *plan = context;
    const tare_string *one = &plan->metadata[a].key, *other = &plan->metadata[b].key;
    return tarei_sort_compare(one->data, one->size, other->data, other->size);
}

/* Sorts 0 to count-1, and finds the first that is equal to the one before: its place, or 0. */
static size_t sort_all(saving *s, size_t count,
                       int (*compare)(const void *context, uint32_t a, uint32_t b))
{
    for (size_t i = 0; i < count; i++) s->order[i] = (uint32_t)i;
    tarei_sort(s->order, s->order + count, (uint32_t)count, compare, &s->plan);
    for (size_t i = 1; i < count; i++)
        if (compare(&s->plan, s->order[i - 1], s->order[i]) == 0) return i;
    return 0;
}

/* Sorts by name, which shows what is there twice; then by dtype, which keeps the order of names. */
static tare_status put_in_order(saving *s)
{
    tarei_save_plan *plan = &s->plan;
    size_t most = plan->count > plan->metadata_count ? plan->count : plan->metadata_count;
    s->order =
        tarei_arena_take(&s->arena, 2 * (uint64_t)most * sizeof *s->order, _Alignof(uint32_t));
    if (s->order == NULL) return tarei_error_memory(s->error);
    size_t same = sort_all(s, plan->metadata_count, compare_keys);
    if (same != 0) {
        const tare_string *key = &plan->metadata[s->order[same]].key;
        return fail_named(s, TARE_E_DUPLICATE, "metadata", key->data, key->size, "is there twice");
    }
    same = sort_all(s, plan->count, compare_names);
    if (same != 0)
        return fail_tensor(s, TARE_E_DUPLICATE, &plan->entries[s->order[same]], "is there twice");
    tarei_sort(s->order, s->order + plan->count, (uint32_t)plan->count, compare_dtypes, plan);
    plan->order = s->order;
    return TARE_OK;
}

/* Pads the header so that the data section, behind it and the 8 bytes before it, is aligned. */
static tare_status measure(saving *s)
{
    uint64_t size = tarei_save_header_measure(&s->plan) + TAREI_HEAD_SIZE;
    uint64_t alignment = s->options.alignment;
    s->header_size = ((size + alignment - 1) & ~(alignment - 1)) - TAREI_HEAD_SIZE;
    if (s->header_size > TAREI_HEADER_SIZE_MAX)
        return tarei_error_set(s->error, TARE_E_HEADER_SIZE, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "the header would take %" PRIu64 " bytes, of 100,000,000 at most",
                               s->header_size);
    if (tarei_check_add(TAREI_HEAD_SIZE + s->header_size, s->data_size, &s->total_size) ||
        s->total_size > TAREI_OFFSET_MAX)
        return fail(s, TARE_E_LIMIT, "the file would take more than 64 TiB");
    return TARE_OK;
}

/* To `path`, or to `target` where there is none. */
static tare_status write_all(saving *s, const char *path, void *target)
{
    tarei_save_file file;
    tare_status status = path != NULL
                             ? tarei_save_file_begin(&file, path, TAREI_OS_MODE_ANY, s->total_size,
                                                     &s->options, &s->memory, s->error)
                             : tarei_save_file_begin_memory(&file, target, s->total_size,
                                                            &s->options, &s->memory, s->error);
    if (status == TARE_OK) status = tarei_save_header_write(&s->plan, s->header_size, &file);
    for (size_t i = 0; i < s->plan.count && status == TARE_OK; i++) {
        const uint32_t number = s->order[i];
        status = tarei_save_file_tensor(&file, &s->plan.tensors[number], &s->plan.entries[number]);
    }
    return tarei_save_file_end(&file, status);
}

/* All up to the first byte that is written. Ended by saving_end in any case. */
static tare_status saving_begin(saving *s, const tare_save_tensor *tensors, size_t count,
                                const tare_save_options *options)
{
    tare_status status = take_options(s, options);
    if (status != TARE_OK) return status;
    if (tensors == NULL && count != 0) return fail(s, TARE_E_ARGUMENT, "tensors is NULL");
    tarei_memory_init(&s->memory, s->options.allocator);
    tarei_arena_init(&s->arena, &s->memory);
    s->plan.tensors = tensors;
    s->plan.count = count;
    s->plan.metadata_count = s->options.metadata_count;
    /* Each takes more than a byte of the header, so that none needs to be looked at. */
    if (count > TAREI_HEADER_SIZE_MAX || s->plan.metadata_count > TAREI_HEADER_SIZE_MAX)
        return fail(s, TARE_E_HEADER_SIZE, "the header would take more than 100,000,000 bytes");
    status = take_all(s);
    if (status == TARE_OK) status = put_in_order(s);
    return status == TARE_OK ? measure(s) : status;
}

static tare_status saving_end(saving *s, tare_status status)
{
    tarei_arena_free(&s->arena);
    if (status == TARE_OK) tarei_error_clear(s->error);
    return status;
}

tare_status tare_save(const char *path, const tare_save_tensor *tensors, size_t count,
                      const tare_save_options *options, tare_error *error)
{
    tare_error unused;
    saving s = {.error = error != NULL ? error : &unused};
    tare_status status = saving_begin(&s, tensors, count, options);
    if (path == NULL)
        status = fail(&s, TARE_E_ARGUMENT, "path is NULL");
    else if (status == TARE_OK && tarei_shards_is_foreign(path))
        status = tarei_error_set(s.error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                                 "%s: no file of safetensors is opened by a name that ends in "
                                 ".json or .gguf",
                                 tarei_quote(path, strlen(path)).text);
    if (status == TARE_OK) status = write_all(&s, path, NULL);
    return saving_end(&s, status);
}

tare_status tare_save_bytes(const tare_save_tensor *tensors, size_t count,
                            const tare_save_options *options, void *target, size_t target_size,
                            uint64_t *size, tare_error *error)
{
    tare_error unused;
    saving s = {.error = error != NULL ? error : &unused};
    if (size != NULL) *size = 0;
    tare_status status = saving_begin(&s, tensors, count, options);
    if (status == TARE_OK && target != NULL) {
        if (target_size == s.total_size)
            status = write_all(&s, NULL, target);
        else
            status = tarei_error_set(s.error, TARE_E_TARGET_SIZE, TARE_NO_SHARD, TARE_NO_OFFSET,
                                     "the target has %zu bytes, the file takes %" PRIu64,
                                     target_size, s.total_size);
    }
    if (status == TARE_OK && size != NULL) *size = s.total_size;
    return saving_end(&s, status);
}
