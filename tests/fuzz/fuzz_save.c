/*
 * Saving, then opening. An input tells of tensors and metadata, good and bad ones: what is saved is
 * opened and is what was saved, in memory and from the model once more the same bytes, and what is
 * refused leaves no file behind.
 */
#define _XOPEN_SOURCE 700
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

enum { TENSOR_MAX = 24, RANK_MAX = 4, METADATA_MAX = 6 };

typedef struct input {
    const uint8_t *at, *end;
} input;

typedef struct plan {
    tare_save_tensor tensors[TENSOR_MAX];
    uint64_t shapes[TENSOR_MAX][RANK_MAX];
    size_t count;
    tare_save_metadata metadata[METADATA_MAX];
    size_t metadata_count;
} plan;

static uint8_t take(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static const void *take_bytes(input *in, size_t *size)
{
    const uint8_t *at = in->at;
    if (*size > (size_t)(in->end - at)) *size = (size_t)(in->end - at);
    in->at += *size;
    return at;
}

static tare_string take_text(input *in)
{
    size_t size = take(in) % 40;
    const void *text = take_bytes(in, &size);
    return (tare_string){text, size};
}

static void take_tensor(input *in, plan *p)
{
    tare_save_tensor *tensor = &p->tensors[p->count];
    uint64_t *shape = p->shapes[p->count++], elements = 1;
    tare_string name = take_text(in);
    uint8_t how = take(in);
    *tensor = (tare_save_tensor){.name = name.data, .name_size = name.size};
    tensor->dtype = take(in) % 52;
    tensor->rank = how % (RANK_MAX + 1);
    tensor->shape = shape;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        shape[i] = take(in) % 8;
        if (how >> 3 == 31) shape[i] <<= 61; /* too large in one way or another */
        elements *= shape[i];
    }
    uint64_t size = elements * tare_dtype_bits(tensor->dtype) / 8;
    tensor->size = size < 65536 ? (size_t)size : 65536;
    if (how >> 3 == 30) tensor->size++;
    tensor->data = take_bytes(in, &tensor->size);
}

/* The same in memory, and from the model that was made: the bytes of the file. */
static void check_same(const plan *p, const tare_model *model, tare_save_options options)
{
    uint64_t size;
    const uint64_t wanted = tare_shard_at(model, 0).size;
    tare_save_tensor again[TENSOR_MAX] = {{0}};
    tare_save_metadata strings[METADATA_MAX];
    uint8_t *bytes = malloc((size_t)wanted), *more = malloc((size_t)wanted);
    FUZZ_CHECK(bytes != NULL && more != NULL);
    FUZZ_CHECK(tare_save_bytes(p->tensors, p->count, &options, bytes, (size_t)wanted, &size,
                               NULL) == TARE_OK);
    FUZZ_CHECK(size == wanted);
    for (size_t i = 0; i < p->count; i++) {
        const tare_save_tensor *one = &p->tensors[i];
        again[i].model = model;
        again[i].tensor = tare_find(model, one->name, one->name_size);
    }
    for (size_t i = 0; i < p->metadata_count; i++)
        tare_metadata_at(model, i, &strings[i].key, &strings[i].value, NULL);
    options.metadata = strings;
    FUZZ_CHECK(tare_save_bytes(again, p->count, &options, NULL, 0, &size, NULL) == TARE_OK);
    FUZZ_CHECK(size == wanted);
    FUZZ_CHECK(tare_save_bytes(again, p->count, &options, more, (size_t)wanted, NULL, NULL) ==
               TARE_OK);
    FUZZ_CHECK(memcmp(bytes, more, (size_t)wanted) == 0);
    free(bytes);
    free(more);
}

static void check_saved(const plan *p, const char *path, const tare_save_options *options)
{
    tare_model *model;
    tare_error error;
    FUZZ_CHECK(tare_open(path, NULL, &model, &error) == TARE_OK);
    FUZZ_CHECK(tare_count(model) == p->count);
    for (size_t i = 0; i < p->count; i++) {
        const tare_save_tensor *wanted = &p->tensors[i];
        const tare_tensor *tensor = tare_find(model, wanted->name, wanted->name_size);
        FUZZ_CHECK(tensor != NULL);
        tare_info info = tare_describe(model, tensor);
        FUZZ_CHECK(info.dtype == wanted->dtype && info.rank == wanted->rank);
        FUZZ_CHECK(memcmp(info.shape, wanted->shape, info.rank * sizeof *info.shape) == 0);
        FUZZ_CHECK(info.size == wanted->size);
        FUZZ_CHECK(memcmp(tare_data(model, tensor), wanted->data, wanted->size) == 0);
    }
    FUZZ_CHECK(tare_metadata_count(model) == p->metadata_count);
    for (size_t i = 0; i < p->metadata_count; i++) {
        tare_string key, value;
        tare_metadata_at(model, i, &key, &value, NULL);
        FUZZ_CHECK(key.size == p->metadata[i].key.size && value.size == p->metadata[i].value.size);
        FUZZ_CHECK(memcmp(key.data, p->metadata[i].key.data, key.size) == 0);
        FUZZ_CHECK(memcmp(value.data, p->metadata[i].value.data, value.size) == 0);
    }
    check_same(p, model, *options);
    tare_close(model);
}

/* In memory where there is such a folder: a file each time wears a disk out. */
static const char *target(void)
{
    static char path[64];
    if (path[0] == '\0')
        snprintf(path, sizeof path, "%s/tare-fuzz-%ld.safetensors",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (long)getpid());
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    plan p;
    tare_error error;
    memset(&p, 0, sizeof p);
    uint8_t *copy = fuzz_copy(data, size);
    input in = {copy, copy + size};
    size_t count = take(&in) % (TENSOR_MAX + 1);
    p.metadata_count = take(&in) % (METADATA_MAX + 1);
    for (size_t i = 0; i < p.metadata_count; i++) {
        p.metadata[i].key = take_text(&in);
        p.metadata[i].value = take_text(&in);
    }
    while (p.count < count) take_tensor(&in, &p);
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    options.metadata = p.metadata;
    options.metadata_count = p.metadata_count;
    options.alignment = (size_t)8 << take(&in) % 10;
    tare_status status = tare_save(target(), p.tensors, p.count, &options, &error);
    FUZZ_CHECK(status == error.status);
    FUZZ_CHECK((access(target(), F_OK) == 0) == (status == TARE_OK));
    if (status == TARE_OK) check_saved(&p, target(), &options);
    unlink(target());
    free(copy);
    return 0;
}
