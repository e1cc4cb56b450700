/* Checks what is to be written, puts it in the order of the reference writer, and conducts. */
#include "save.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "internal.h"
#include "sort.h"

#define ALIGNMENT_DEFAULT 8u

typedef struct saving {
    tare_save_options options; /* with every default filled in */
    tarei_save_plan plan;
    uint32_t *order; /* room for two orders of whatever there is more of */
    size_t order_size;
    uint64_t data_size;
    uint64_t header_size;
    uint64_t total_size;
    tarei_memory memory;
    tare_error *error;
} saving;

tare_info tarei_save_describe(const tare_save_tensor *tensor)
{
    tare_info info = {.shape = tensor->shape, .rank = tensor->rank, .dtype = tensor->dtype};
    info.size = tensor->size;
    if (tensor->model != NULL) {
        info = tare_describe(tensor->model, tensor->tensor);
        if (tensor->dtype != 0) {
            info.shape = tensor->shape;
            info.rank = tensor->rank;
            info.dtype = tensor->dtype;
        }
        if (tensor->name == NULL) return info;
    }
    info.name = tensor->name;
    info.name_size = tensor->name_size;
    return info;
}

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

static tare_status fail_tensor(saving *s, tare_status status, const tare_info *info,
                               const char *why)
{
    return fail_named(s, status, "tensor", info->name, info->name_size, why);
}

/* ------------------------------------------------------------------------------------------------
 * Checks
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
static tare_status check_tensor(saving *s, const tare_info *info)
{
    static const char reserved[] = "__metadata__";
    char why[120];
    if (!tarei_json_is_utf8(info->name, info->name_size)) /* S-UTF8 */
        return fail_tensor(s, TARE_E_UTF8, info, "the name is not UTF-8");
    if (info->name_size == sizeof reserved - 1 &&
        memcmp(info->name, reserved, sizeof reserved - 1) == 0) /* S-META */
        return fail_tensor(s, TARE_E_METADATA, info, "no tensor can have that name");
    if (!tare_dtype_can_save(info->dtype)) { /* S-DTYPE */
        const char *dtype = tare_dtype_name(info->dtype);
        snprintf(why, sizeof why, "safetensors has no dtype %s (%" PRIu32 ")",
                 dtype != NULL ? dtype : "of that number", info->dtype);
        return fail_tensor(s, TARE_E_DTYPE, info, why);
    }
    uint64_t bits = 1; /* S-OVF: from the left, as readers multiply */
    bool overflow = false;
    for (uint32_t i = 0; i < info->rank; i++)
        overflow |= tarei_check_multiply(bits, info->shape[i], &bits);
    if (overflow || tarei_check_multiply(bits, tare_dtype_bits(info->dtype), &bits))
        return fail_tensor(s, TARE_E_OVERFLOW, info, "the shape holds more than 2^64 bits");
    if (bits % 8 != 0) return fail_tensor(s, TARE_E_SUBBYTE, info, "it ends within a byte");
    if (bits / 8 == info->size) return TARE_OK;
    snprintf(why, sizeof why, "its shape takes %" PRIu64 " bytes, it has %" PRIu64, bits / 8,
             info->size); /* S-SIZE */
    return fail_tensor(s, TARE_E_SIZE, info, why);
}

static tare_status check_metadata(saving *s)
{
    for (size_t i = 0; i < s->plan.metadata_count; i++) {
        const tare_string *key = &s->plan.metadata[i].key, *value = &s->plan.metadata[i].value;
        if ((key->data == NULL && key->size != 0) || (value->data == NULL && value->size != 0))
            return fail_argument(s, "metadata", i, "a key or value is NULL");
        if (!tarei_json_is_utf8(key->data, key->size) ||
            !tarei_json_is_utf8(value->data, value->size))
            return fail_named(s, TARE_E_UTF8, "metadata", key->data, key->size, "is not UTF-8");
    }
    return TARE_OK;
}

static tare_status check_all(saving *s)
{
    for (size_t i = 0; i < s->plan.count; i++) {
        tare_status status = check_fields(s, i);
        if (status != TARE_OK) return status;
        const tare_info info = tarei_save_describe(&s->plan.tensors[i]);
        status = check_tensor(s, &info);
        if (status != TARE_OK) return status;
        if (tarei_check_add(s->data_size, info.size, &s->data_size)) s->data_size = UINT64_MAX;
    }
    return check_metadata(s);
}

/* ------------------------------------------------------------------------------------------------
 * Order
 */

static int compare_names(const void *context, uint32_t a, uint32_t b)
{
    const tarei_save_plan *plan = context;
    const tare_info one = tarei_save_describe(&plan->tensors[a]);
    const tare_info other = tarei_save_describe(&plan->tensors[b]);
    return tarei_sort_compare(one.name, one.name_size, other.name, other.name_size);
}

static int compare_dtypes(const void *context, uint32_t a, uint32_t b)
{
    const tarei_save_plan *plan = context;
    const tare_dtype one = tarei_save_describe(&plan->tensors[a]).dtype;
    const tare_dtype other = tarei_save_describe(&plan->tensors[b]).dtype;
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
    s->order_size = 2 * most * sizeof *s->order;
    s->order = tarei_memory_take(&s->memory, s->order_size, TAREI_BUFFER_ALIGNMENT);
    if (s->order == NULL) return tarei_error_memory(s->error);
    size_t same = sort_all(s, plan->metadata_count, compare_keys);
    if (same != 0) {
        const tare_string *key = &plan->metadata[s->order[same]].key;
        return fail_named(s, TARE_E_DUPLICATE, "metadata", key->data, key->size, "is there twice");
    }
    same = sort_all(s, plan->count, compare_names);
    if (same != 0) {
        const tare_info info = tarei_save_describe(&plan->tensors[s->order[same]]);
        return fail_tensor(s, TARE_E_DUPLICATE, &info, "is there twice");
    }
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
    for (size_t i = 0; i < s->plan.count && status == TARE_OK; i++)
        status = tarei_save_file_tensor(&file, &s->plan.tensors[s->order[i]]);
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
    s->plan =
        (tarei_save_plan){tensors, NULL, count, s->options.metadata, s->options.metadata_count};
    /* Each takes more than a byte of the header, so that none needs to be looked at. */
    if (count > TAREI_HEADER_SIZE_MAX || s->plan.metadata_count > TAREI_HEADER_SIZE_MAX)
        return fail(s, TARE_E_HEADER_SIZE, "the header would take more than 100,000,000 bytes");
    status = check_all(s);
    if (status == TARE_OK) status = put_in_order(s);
    return status == TARE_OK ? measure(s) : status;
}

static tare_status saving_end(saving *s, tare_status status)
{
    if (s->order != NULL)
        tarei_memory_give(&s->memory, s->order, s->order_size, TAREI_BUFFER_ALIGNMENT);
    if (status == TARE_OK) tarei_error_clear(s->error);
    return status;
}

tare_status tare_save(const char *path, const tare_save_tensor *tensors, size_t count,
                      const tare_save_options *options, tare_error *error)
{
    tare_error unused;
    saving s = {.error = error != NULL ? error : &unused};
    tare_status status = saving_begin(&s, tensors, count, options);
    if (path == NULL) status = fail(&s, TARE_E_ARGUMENT, "path is NULL");
    if (status == TARE_OK && tarei_shards_is_foreign(path))
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
