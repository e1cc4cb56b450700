/* Random models, saved, opened, and saved again from there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/name_sets.h"
#include "support/temp_files.h"

static temp_path folder, target;

static void make_folder(void)
{
    folder = temp_folder_make();
    target = temp_write(&folder, "target.safetensors", "before", 6);
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(save_random, .init = make_folder, .fini = remove_folder);

enum { MODEL_COUNT = 60 };

typedef struct random_model {
    build_text names, bytes;
    uint64_t shapes[MODEL_COUNT][3];
    tare_save_tensor tensors[MODEL_COUNT];
    tare_save_metadata metadata[3];
    size_t count;
    size_t metadata_count;
} random_model;

static const char *const pieces[] = {"layer.", "7", "\xc3\xa9",         "\"",          "\\", "\n",
                                     "/",      "w", "\xf0\x9f\x98\x80", "__metadata__"};

static void random_tensor(random_model *made, size_t i, uint64_t *seed)
{
    tare_save_tensor *tensor = &made->tensors[i];
    tensor->dtype = (tare_dtype)(name_random(seed) % 22 + 1);
    tensor->rank = (uint32_t)(name_random(seed) % 3);
    tensor->shape = made->shapes[i];
    uint64_t elements = 1;
    for (uint32_t d = 0; d < tensor->rank; d++)
        elements *= made->shapes[i][d] = name_random(seed) % 6;
    if (tare_dtype_bits(tensor->dtype) % 8 != 0) {
        made->shapes[i][tensor->rank++] = 4;
        elements *= 4;
    }
    tensor->size = (size_t)(elements * tare_dtype_bits(tensor->dtype) / 8);
    for (size_t b = 0; b < tensor->size; b++) {
        uint8_t byte = (uint8_t)name_random(seed);
        build_add(&made->bytes, &byte, 1);
    }
    tensor->name_size = made->names.size;
    for (size_t p = name_random(seed) % 5; p > 0; p--) {
        const char *piece = pieces[name_random(seed) % (sizeof pieces / sizeof pieces[0])];
        build_add(&made->names, piece, strlen(piece));
    }
    build_addf(&made->names, "%zu", i); /* so that no two are equal */
    tensor->name_size = made->names.size - tensor->name_size;
}

/* Free its names and bytes. */
static void random_make(random_model *made, uint64_t seed)
{
    memset(made, 0, sizeof *made);
    made->count = name_random(&seed) % (MODEL_COUNT + 1);
    made->metadata_count = name_random(&seed) % 4;
    for (size_t i = 0; i < made->count; i++) random_tensor(made, i, &seed);
    size_t name_at = 0, bytes_at = 0;
    for (size_t i = 0; i < made->count; i++) { /* now that they no longer move */
        made->tensors[i].name = made->names.data + name_at;
        made->tensors[i].data = made->bytes.data != NULL ? made->bytes.data + bytes_at : NULL;
        name_at += made->tensors[i].name_size;
        bytes_at += made->tensors[i].size;
    }
    for (size_t i = 0; i < made->metadata_count; i++) {
        const char *key = pieces[(seed + i) % (sizeof pieces / sizeof pieces[0])];
        made->metadata[i] =
            (tare_save_metadata){{key, strlen(key)}, {key, i == 1 ? 0 : strlen(key)}};
    }
}

static void check_holds(const char *what, const tare_model *model, const random_model *made)
{
    cr_assert_eq(tare_count(model), made->count, "%s", what);
    for (size_t i = 0; i < made->count; i++) {
        const tare_save_tensor *wanted = &made->tensors[i];
        const tare_tensor *tensor = tare_find(model, wanted->name, wanted->name_size);
        cr_assert_not_null(tensor, "%s: tensor %zu", what, i);
        tare_info info = tare_describe(model, tensor);
        cr_expect_eq(info.dtype, wanted->dtype, "%s: tensor %zu", what, i);
        cr_assert_eq(info.rank, wanted->rank, "%s: tensor %zu", what, i);
        uint32_t width = tare_dtype_bits(info.dtype) / 8;
        if (width != 0) cr_expect_eq(info.offset % width, 0, "%s: tensor %zu", what, i);
        for (uint32_t d = 0; d < info.rank; d++)
            cr_expect_eq(info.shape[d], wanted->shape[d], "%s: tensor %zu", what, i);
        expect_bytes(what, model, tensor, wanted->data, wanted->size);
    }
    cr_assert_eq(tare_metadata_count(model), made->metadata_count, "%s", what);
    for (size_t i = 0; i < made->metadata_count; i++) {
        tare_string key, value;
        tare_metadata_at(model, i, &key, &value, NULL);
        cr_expect_eq(name_compare(key.data, key.size, made->metadata[i].key.data,
                                  made->metadata[i].key.size),
                     0, "%s: key %zu", what, i);
        cr_expect_eq(name_compare(value.data, value.size, made->metadata[i].value.data,
                                  made->metadata[i].value.size),
                     0, "%s: value %zu", what, i);
    }
}

/* Into memory: the same bytes, of a size that is told beforehand and kept to. */
static void check_bytes(const char *what, const tare_save_tensor *tensors, size_t count,
                        const tare_save_options *options, const char *file, size_t size)
{
    tare_error error = expect_poison();
    uint64_t told = 9;
    char *bytes = malloc(size);
    tare_status status = tare_save_bytes(tensors, count, options, NULL, 0, &told, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    cr_assert_eq(told, size, "%s", what);
    status = tare_save_bytes(tensors, count, options, bytes, size - 1, &told, &error);
    cr_expect_eq(status, TARE_E_TARGET_SIZE, "%s", what);
    cr_expect_eq(told, 0, "%s", what);
    status = tare_save_bytes(tensors, count, options, bytes, size, NULL, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    cr_expect_arr_eq(bytes, file, size, "%s", what);
    free(bytes);
}

/* Saves, opens, and saves again from the model in the order in which it lists its tensors: the same
 * file. */
Test(save_random, models_come_back_as_they_were)
{
    const char *wanted = getenv("SAVE_SEED");
    uint64_t first = wanted != NULL ? strtoull(wanted, NULL, 10) : 1;
    printf("random models: seeds %llu to %llu (SAVE_SEED)\n", (unsigned long long)first,
           (unsigned long long)first + 149);
    for (uint64_t seed = first; seed < first + 150; seed++) {
        random_model made;
        char what[32];
        snprintf(what, sizeof what, "seed %llu", (unsigned long long)seed);
        random_make(&made, seed * 2 + 1);
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        tare_error error = expect_poison();
        options.flags = TARE_SAVE_REPLACE;
        options.alignment = (size_t)8 << seed % 10;
        options.metadata = made.metadata;
        options.metadata_count = made.metadata_count;
        tare_status status = tare_save(target.text, made.tensors, made.count, &options, &error);
        cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
        cr_expect_eq(error.status, TARE_OK);
        size_t size, again_size;
        char *file = temp_read(target.text, &size);
        check_bytes(what, made.tensors, made.count, &options, file, size);
        tare_model *model =
            expect_open_path(what, target.text, seed % 3 == 0 ? TARE_BACKING_READ : 0);
        check_holds(what, model, &made);
        tare_save_tensor again[MODEL_COUNT];
        for (size_t i = 0; i < made.count; i++)
            again[i] =
                (tare_save_tensor){.model = model, .tensor = tare_at(model, made.count - 1 - i)};
        check_bytes(what, again, made.count, &options, file, size);
        status = tare_save(target.text, again, made.count, &options, &error);
        cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
        char *file_again = temp_read(target.text, &again_size);
        cr_assert_eq(size, again_size, "%s", what);
        cr_expect_arr_eq(file, file_again, size, "%s", what);
        tare_close(model);
        free(file);
        free(file_again);
        build_free(&made.names);
        build_free(&made.bytes);
    }
    cr_expect_eq(temp_entry_count(&folder), 1);
}
