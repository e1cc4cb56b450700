#include "load_models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 3, NAME_MAX_SIZE = 24, PERIOD = 65536 /* of build_byte */ };

static uint8_t period[PERIOD];

static const size_t sizes[] = {0,    1,    7,     64,    100, 4095, 4096,  4097,
                               8192, 5000, 12345, 65536, 3,   0,    70001, LOAD_SIZE_MAX};

typedef struct names {
    char text[LOAD_TENSOR_COUNT][NAME_MAX_SIZE];
    char shapes[LOAD_TENSOR_COUNT][NAME_MAX_SIZE];
} names;

static size_t fill(build_tensor *tensors, names *all, size_t first, size_t end)
{
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        size_t size = sizes[i % (sizeof sizes / sizeof sizes[0])];
        snprintf(all->text[i], NAME_MAX_SIZE, "t%zu", i);
        snprintf(all->shapes[i], NAME_MAX_SIZE, "[%zu]", size);
        tensors[count++] = (build_tensor){all->text[i], 0, "U8", all->shapes[i], size};
    }
    return count;
}

static void must(tare_status status, const tare_error *error)
{
    if (status == TARE_OK) return;
    fprintf(stderr, "the test cannot go on: %s\n", error->message);
    abort();
}

static void write_shards(const temp_path *folder)
{
    build_text index = {0};
    build_tensor tensors[LOAD_TENSOR_COUNT];
    names all;
    build_addf(&index, "{\"weight_map\":{");
    for (size_t s = 0; s < SHARDS; s++) {
        char name[32];
        size_t first = s * LOAD_TENSOR_COUNT / SHARDS, end = (s + 1) * LOAD_TENSOR_COUNT / SHARDS;
        snprintf(name, sizeof name, "s%zu.safetensors", s);
        temp_write_built(folder, name, build_file(tensors, fill(tensors, &all, first, end), NULL));
        for (size_t i = first; i < end; i++)
            build_addf(&index, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", all.text[i], name);
    }
    build_addf(&index, "}}");
    temp_write_built(folder, "model.safetensors.index.json", index);
}

void load_models_open(load_models *models)
{
    for (size_t i = 0; i < PERIOD; i++) period[i] = build_byte(i);
    build_tensor tensors[LOAD_TENSOR_COUNT];
    names all;
    tare_error error;
    models->folder = temp_folder_make();
    temp_path shards = temp_make_folder(&models->folder, "shards");
    models->file = build_file(tensors, fill(tensors, &all, 0, LOAD_TENSOR_COUNT), NULL);
    models->path = temp_write_text(&models->folder, "m.safetensors", &models->file);
    write_shards(&shards);
    reader_probe_init(&models->probe, models->file.data, models->file.size, 0);
    tare_options options = TARE_OPTIONS_INIT;
    const build_text *file = &models->file;
    must(tare_open_bytes(file->data, file->size, NULL, &models->way[LOAD_MEMORY], &error), &error);
    must(tare_open(models->path.text, NULL, &models->way[LOAD_MAPPED], &error), &error);
    must(tare_open(shards.text, NULL, &models->way[LOAD_SHARDS], &error), &error);
    options.backing = TARE_BACKING_READ;
    must(tare_open(models->path.text, &options, &models->way[LOAD_READ], &error), &error);
    must(tare_open_reader(&models->probe.reader, NULL, &models->way[LOAD_READER], &error), &error);
}

void load_models_leave(load_models *models)
{
    for (int way = 0; way < LOAD_WAY_COUNT; way++) tare_close(models->way[way]);
    build_free(&models->file);
}

void load_models_close(load_models *models)
{
    load_models_leave(models);
    temp_folder_remove(&models->folder);
}

const char *load_way_name(int way)
{
    static const char *const all[LOAD_WAY_COUNT] = {"memory", "mapped", "read", "shards", "reader"};
    return all[way];
}

int load_right(const tare_model *model, const tare_tensor *tensor, const void *bytes)
{
    tare_info info = tare_describe(model, tensor);
    uint64_t at = info.offset - tare_shard_at(model, info.shard).data_offset;
    for (uint64_t i = 0; i < info.size;) {
        size_t from = (size_t)((at + i) % PERIOD), size = PERIOD - from;
        if (size > info.size - i) size = (size_t)(info.size - i);
        if (memcmp((const char *)bytes + i, period + from, size) != 0) return 0;
        i += size;
    }
    return 1;
}

build_text load_small_tensors(size_t count, size_t least)
{
    build_tensor *tensors = calloc(count, sizeof *tensors);
    char(*texts)[2][24] = calloc(count, sizeof *texts);
    if (tensors == NULL || texts == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        size_t size = least + i % (7 - least);
        snprintf(texts[i][0], 24, "n%zu", i);
        snprintf(texts[i][1], 24, "[%zu]", size);
        tensors[i] = (build_tensor){texts[i][0], 0, "U8", texts[i][1], size};
    }
    build_text file = build_file(tensors, count, NULL);
    free(tensors);
    free(texts);
    return file;
}
