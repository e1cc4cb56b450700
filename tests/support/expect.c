#include "expect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "temp_files.h"

tare_error expect_poison(void)
{
    tare_error error;
    memset(&error, 0xDB, sizeof error);
    return error;
}

tare_model *expect_no_model(void)
{
    static char place;
    return (tare_model *)(void *)&place;
}

/* Terminated, one line, printable ASCII. */
static int is_clean(const char *message, size_t capacity)
{
    for (size_t i = 0; i < capacity; i++) {
        unsigned char c = (unsigned char)message[i];
        if (c == 0) return 1;
        if (c < 0x20 || c > 0x7E) return 0;
    }
    return 0;
}

void expect_opened(const char *what, tare_status status, const tare_model *model,
                   const tare_error *error)
{
    cr_assert_eq(status, TARE_OK, "%s: refused with %s at %" PRIu64 ": %s", what,
                 tare_status_name(status), error->offset, error->message);
    cr_assert_not_null(model, "%s: opened, but there is no model", what);
    cr_expect_eq(error->status, TARE_OK, "%s: opened, but the error has a status", what);
    cr_expect_eq(error->system_error, 0, "%s: opened, but the error has an errno", what);
    cr_expect_eq(error->shard, TARE_NO_SHARD, "%s: opened, but the error names a shard", what);
    cr_expect_eq(error->offset, TARE_NO_OFFSET, "%s: opened, but the error has an offset", what);
    cr_expect_eq(error->message[0], 0, "%s: opened, but the error has a message", what);
}

void expect_status(const char *what, tare_status wanted, tare_status status,
                   const tare_model *model, const tare_error *error)
{
    cr_expect_eq(status, wanted, "%s: %s, not %s: %s", what, tare_status_name(status),
                 tare_status_name(wanted), status == TARE_OK ? "opened" : error->message);
    cr_expect_null(model, "%s: the output is not NULL", what);
    cr_expect_eq(error->status, status, "%s: returns another status than the error has", what);
    if (status == TARE_OK) return;
    cr_expect(is_clean(error->message, sizeof error->message), "%s: not fit to print", what);
    cr_expect_neq(error->message[0], 0, "%s: refused without a message", what);
    cr_expect_eq(error->reserved, 0, "%s: error.reserved is not 0", what);
}

void expect_refused(const char *what, tare_status wanted, uint64_t offset, tare_status status,
                    const tare_model *model, const tare_error *error)
{
    expect_status(what, wanted, status, model, error);
    cr_expect_eq(error->offset, offset, "%s: at %" PRIu64 ", not at %" PRIu64 ": %s", what,
                 error->offset, offset, error->message);
}

void expect_message(const char *what, const char *text, const tare_error *error)
{
    cr_expect_not_null(strstr(error->message, text), "%s: no '%s' in: %s", what, text,
                       error->message);
}

void expect_tensor(const char *what, const tare_model *model, size_t index, const char *name,
                   size_t name_size, const char *dtype, const uint64_t *shape, uint32_t rank,
                   uint64_t offset, uint64_t size)
{
    const tare_tensor *tensor = tare_at(model, index);
    cr_assert_not_null(tensor, "%s: no tensor %zu", what, index);
    cr_expect_eq(tare_index_of(model, tensor), index, "%s: tensor %zu is elsewhere", what, index);
    tare_info info = tare_describe(model, tensor);
    cr_assert_eq(info.name_size, name_size, "%s: tensor %zu: name_size %zu", what, index,
                 info.name_size);
    cr_expect_arr_eq(info.name, name, name_size, "%s: tensor %zu is '%s'", what, index, info.name);
    cr_expect_eq(info.name[name_size], 0, "%s: tensor %zu: no terminator", what, index);
    tare_string again = tare_name(model, tensor);
    cr_expect_eq(again.data, info.name, "%s: tensor %zu has two names", what, index);
    cr_expect_eq(again.size, info.name_size, "%s: tensor %zu has two sizes of name", what, index);
    cr_expect_str_eq(tare_dtype_name(info.dtype), dtype, "%s: tensor %zu: dtype", what, index);
    cr_expect_eq(info.rank, rank, "%s: tensor %zu: rank %" PRIu32, what, index, info.rank);
    cr_expect_not_null(info.shape, "%s: tensor %zu: shape is NULL", what, index);
    for (uint32_t i = 0; i < rank && info.rank == rank; i++)
        cr_expect_eq(info.shape[i], shape[i], "%s: tensor %zu: shape[%" PRIu32 "] is %" PRIu64,
                     what, index, i, info.shape[i]);
    cr_expect_eq(info.offset, offset, "%s: tensor %zu: offset %" PRIu64, what, index, info.offset);
    cr_expect_eq(tare_offset(model, tensor), offset, "%s: tensor %zu: tare_offset", what, index);
    cr_expect_eq(info.size, size, "%s: tensor %zu: size %" PRIu64, what, index, info.size);
    cr_expect_eq(tare_size(model, tensor), size, "%s: tensor %zu: tare_size", what, index);
    cr_expect_eq(info.reserved, 0, "%s: tensor %zu: reserved is not 0", what, index);
    cr_expect_eq(tare_find(model, name, name_size), tensor, "%s: '%s' is not found", what, name);
}

void expect_bytes(const char *what, const tare_model *model, const tare_tensor *tensor,
                  const void *bytes, size_t size)
{
    tare_error error = expect_poison();
    char *target = malloc(size ? size : 1);
    cr_assert_eq(tare_size(model, tensor), size, "%s: size", what);
    tare_status status = tare_read(model, tensor, size ? target : NULL, size, &error);
    cr_expect_eq(status, TARE_OK, "%s: tare_read: %s", what, error.message);
    cr_expect_eq(error.status, TARE_OK, "%s: tare_read leaves a status", what);
    if (size != 0) cr_expect_arr_eq(target, bytes, size, "%s: tare_read gives other bytes", what);
    free(target);
    const void *data = tare_data(model, tensor);
    if (size == 0) cr_expect_not_null(data, "%s: no bytes, but tare_data is NULL", what);
    if (data != NULL && size != 0)
        cr_expect_arr_eq(data, bytes, size, "%s: tare_data gives other bytes", what);
    size_t alignment = tare_alignment(model, tensor);
    cr_expect_eq(alignment == 0, data == NULL, "%s: tare_alignment is %zu", what, alignment);
    if (data == NULL) return;
    cr_expect_eq((uintptr_t)data % alignment, 0, "%s: not aligned to %zu", what, alignment);
    cr_expect(alignment == 2u << 20 || (uintptr_t)data / alignment % 2 == 1,
              "%s: aligned to more than %zu", what, alignment);
}

void expect_same_models(const char *what, const tare_model *a, const tare_model *b)
{
    cr_assert_eq(tare_count(a), tare_count(b), "%s: count", what);
    for (size_t i = 0; i < tare_count(a); i++) {
        const tare_tensor *tensor = tare_at(a, i);
        tare_info info = tare_describe(a, tensor);
        expect_tensor(what, b, i, info.name, info.name_size, tare_dtype_name(info.dtype),
                      info.shape, info.rank, info.offset, info.size);
        cr_expect_eq(tare_describe(b, tare_at(b, i)).shard, info.shard, "%s: shard", what);
        size_t size = (size_t)info.size;
        char *bytes = malloc(size ? size : 1);
        cr_assert_eq(tare_read(a, tensor, bytes, size, NULL), TARE_OK, "%s: tare_read", what);
        expect_bytes(what, b, tare_at(b, i), bytes, size);
        free(bytes);
    }
    cr_assert_eq(tare_metadata_count(a), tare_metadata_count(b), "%s: metadata", what);
    for (size_t i = 0; i < tare_metadata_count(a); i++) {
        tare_string key[2], value[2];
        cr_expect_eq(tare_metadata_at(a, i, &key[0], &value[0], NULL), 1, "%s", what);
        cr_expect_eq(tare_metadata_at(b, i, &key[1], &value[1], NULL), 1, "%s", what);
        cr_assert_eq(key[0].size, key[1].size, "%s: key %zu", what, i);
        cr_assert_eq(value[0].size, value[1].size, "%s: value %zu", what, i);
        cr_expect_arr_eq(key[0].data, key[1].data, key[0].size, "%s: key %zu", what, i);
        if (value[0].size > 0)
            cr_expect_arr_eq(value[0].data, value[1].data, value[0].size, "%s: %zu", what, i);
        tare_value x = tare_metadata_value_at(a, i), y = tare_metadata_value_at(b, i);
        cr_expect_eq(x.kind, y.kind, "%s: kind of value %zu", what, i);
        cr_expect_eq(x.item_kind, y.item_kind, "%s: kind of the items of value %zu", what, i);
        cr_expect_eq(x.count, y.count, "%s: count of value %zu", what, i);
        cr_assert_eq(x.size, y.size, "%s: size of value %zu", what, i);
        if (x.size > 0) cr_expect_arr_eq(x.data, y.data, x.size, "%s: value %zu", what, i);
    }
}

tare_model *expect_open_bytes(const char *what, const build_text *file)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_bytes(file->data, file->size, NULL, &model, &error);
    expect_opened(what, status, model, &error);
    return model;
}

tare_model *expect_open_path(const char *what, const char *path, uint32_t backing)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.backing = backing;
    tare_status status = tare_open(path, &options, &model, &error);
    expect_opened(what, status, model, &error);
    return model;
}
