#define _XOPEN_SOURCE 700
#include "fault_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fault_engine.h"
#include "support/gguf_text.h"
#include "support/growing_files.h"
#include "support/set_models.h"

fault_world_type fault_world;

const char *fault_path(const char *name)
{
    static temp_path paths[4];
    static unsigned at;
    at = (at + 1) % 4;
    paths[at] = temp_join(&fault_world.folder, name);
    return paths[at].text;
}

/* ------------------------------------------------------------------------------------------------
 * Making them
 */

static const build_tensor tensors[] = {
    {"t0", 0, "U8", "[0]", 0},         {"t1", 0, "U8", "[1]", 1},
    {"t2", 0, "U8", "[40,25]", 1000},  {"t3", 0, "F32", "[32,32]", 4096},
    {"t4", 0, "U8", "[5000]", 5000},   {"t5", 0, "U8", "[0]", 0},
    {"t6", 0, "U8", "[12345]", 12345}, {"t7", 0, "BF16", "[60,20,2]", 4800},
    {"t8", 0, "U8", "[10,900]", 9000},
};
enum { TENSOR_COUNT = sizeof tensors / sizeof tensors[0], SHARD_COUNT = 3 };

/* Of a split file. */
static build_text make_gguf_part(int number)
{
    static const char *const words[] = {
        GGUF_HEAD("2", "3") GGUF_U16("split.no", "0") GGUF_U16("split.count", "2")
            GGUF_TEXT("general.name", "small") GGUF_TENSOR("b", "40", "24", "0")
                GGUF_TENSOR("c", "7", "24", "64") "p32 d71",
        GGUF_HEAD("1", "2") GGUF_U16("split.no", "1") GGUF_U16("split.count", "2")
            GGUF_TENSOR("a", "3", "24", "0") "p32 d3"};
    return gguf_text(words[number], NULL);
}

static void write_shards(const char *name)
{
    temp_path folder = temp_make_folder(&fault_world.folder, name);
    build_text list = {0};
    build_addf(&list, "{\"weight_map\":{");
    for (size_t s = 0; s < SHARD_COUNT; s++) {
        char file[32];
        size_t first = s * TENSOR_COUNT / SHARD_COUNT, end = (s + 1) * TENSOR_COUNT / SHARD_COUNT;
        snprintf(file, sizeof file, "%zu.safetensors", s);
        temp_write_built(&folder, file,
                         build_file(tensors + first, end - first, "{\"format\":\"pt\"}"));
        for (size_t i = first; i < end; i++)
            build_addf(&list, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", tensors[i].name, file);
    }
    build_addf(&list, "}}");
    temp_write_built(&folder, "model.safetensors.index.json", list);
}

static void must(tare_status status, const tare_error *error)
{
    if (status == TARE_OK) return;
    fprintf(stderr, "the models cannot be made: %s\n", error->message);
    exit(1);
}

static void write_index(const char *name)
{
    tare_model *model;
    tare_error error;
    must(tare_open(fault_path(name), NULL, &model, &error), &error);
    must(tare_index_save(model, NULL, NULL, &error), &error);
    tare_close(model);
}

/* Changes a byte in the middle of an index file: one of a table that nobody has looked at yet, or
 * of what opening needs. */
static void damage(const char *name, size_t at)
{
    size_t size;
    uint8_t *bytes = temp_read(fault_path(name), &size);
    bytes[at] ^= 0x55;
    temp_write(&fault_world.folder, name, bytes, size);
    free(bytes);
}

static void make_indexed(void)
{
    static const char *const files[] = {"indexed.safetensors", "stale.safetensors",
                                        "damaged.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        temp_write_text(&fault_world.folder, files[i], &fault_world.one);
        write_index(files[i]);
    }
    write_shards("indexed");
    write_shards("damaged");
    write_index("indexed");
    write_index("damaged");
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    if (utimensat(AT_FDCWD, fault_path("stale.safetensors"), times, 0) != 0) abort();
    damage("damaged.safetensors.tareidx", 20);
    damage("damaged/tare.idx", 20);
    size_t size;
    char *bytes = temp_read(fault_path("indexed.safetensors.tareidx"), &size);
    char *room = malloc(size + 65);
    if (room == NULL) abort();
    fault_world.index = room;
    fault_world.index_size = size;
    memcpy(room + 1, bytes, size);
    free(bytes);
}

void fault_world_make(void)
{
    temp_path *folder = &fault_world.folder;
    *folder = temp_folder_make();
    fault_world.one = build_file(tensors, TENSOR_COUNT, "{\"format\":\"pt\"}");
    fault_world.longer = growing_safetensors();
    fault_world.gguf = growing_gguf();
    temp_write_text(folder, "one.safetensors", &fault_world.one);
    temp_make_folder(folder, "long");
    temp_write_text(folder, "long/m.safetensors", &fault_world.longer);
    temp_make_folder(folder, "gguf");
    temp_write_text(folder, "gguf/m.gguf", &fault_world.gguf);
    temp_write_text(folder, "large-00001-of-00002.gguf", &fault_world.gguf);
    temp_write_built(folder, "large-00002-of-00002.gguf", make_gguf_part(1));
    temp_write_built(folder, "split-00001-of-00002.gguf", make_gguf_part(0));
    temp_write_built(folder, "split-00002-of-00002.gguf", make_gguf_part(1));
    static const char nothing[] = "{\"weight_map\":{}}";
    temp_write(folder, "none.json", nothing, sizeof nothing - 1);
    fault_world.names = name_set_text();
    for (size_t i = 0; i < fault_world.names.count; i++)
        fault_world.names.shards[i] = (uint32_t)(i * 7 % 5);
    temp_path names = temp_make_folder(folder, "names");
    set_write_shards(&fault_world.names, &names);
    file_list_read(&fault_world.files, names.text);
    file_list_read(&fault_world.gguf_files, fault_path("gguf"));
    file_list_lend(&fault_world.gguf_files, 1000);
    tare_file *lent = &fault_world.gguf_lent;
    reader_probe_init(&fault_world.gguf_reader, fault_world.gguf.data, fault_world.gguf.size, 0);
    *lent = (tare_file){.name = "m.gguf", .reader = &fault_world.gguf_reader.reader};
    lent->bytes = fault_world.gguf.data;
    lent->size = fault_world.gguf.size;
    write_shards("three");
    make_indexed();
    reader_probe_init(&fault_world.reader, fault_world.one.data, fault_world.one.size, 0);
}

void fault_world_remove(void)
{
    temp_folder_remove(&fault_world.folder);
    build_free(&fault_world.one);
    build_free(&fault_world.longer);
    build_free(&fault_world.gguf);
    name_set_free(&fault_world.names);
    file_list_free(&fault_world.files);
    file_list_free(&fault_world.gguf_files);
    free(fault_world.index);
}

/* ------------------------------------------------------------------------------------------------
 * Looking at what came of it
 */

uint64_t fault_sum(uint64_t before, const void *bytes, size_t size)
{
    return XXH3_64bits_withSeed(bytes, size, before) | 1;
}

uint64_t fault_sum_model(const tare_model *model)
{
    size_t count = tare_count(model), step = count / 16 + 1;
    uint64_t sum = fault_sum(0, &count, sizeof count);
    for (size_t i = 0; i < count; i += step) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_info info = tare_describe(model, tensor);
        char *bytes = malloc((size_t)info.size + 1);
        if (bytes == NULL || tare_find(model, info.name, info.name_size) != tensor) abort();
        sum = fault_sum(sum, info.name, info.name_size);
        sum = fault_sum(sum, info.shape, info.rank * sizeof *info.shape);
        if (tare_read(model, tensor, bytes, (size_t)info.size, NULL) != TARE_OK) sum = 3;
        sum = fault_sum(sum, bytes, (size_t)info.size);
        free(bytes);
    }
    tare_string key = {NULL, 0}, value = {NULL, 0};
    for (size_t i = 0; tare_metadata_at(model, i, &key, &value, NULL); i += 1 + i / 4) {
        sum = fault_sum(sum, key.data, key.size);
        if (value.data != NULL) sum = fault_sum(sum, value.data, value.size);
    }
    return sum;
}

static uint64_t sum_file(const char *path)
{
    size_t size;
    void *bytes = temp_read(path, &size);
    uint64_t sum = fault_sum(0, bytes, size);
    free(bytes);
    return sum;
}

tare_model *fault_open(const char *name, uint32_t backing, uint32_t index)
{
    tare_model *model = NULL;
    tare_error error;
    tare_options options = TARE_OPTIONS_INIT;
    options.backing = backing;
    options.index = index;
    options.allocator = &fault_memory.hooks;
    if (name == NULL)
        must(tare_open_reader(&fault_world.reader.reader, &options, &model, &error), &error);
    else
        must(tare_open(fault_path(name), &options, &model, &error), &error);
    return model;
}

/* ------------------------------------------------------------------------------------------------
 * A place to write to
 */

static temp_path out;
static const char *before;

void fault_target_make(const char *text)
{
    before = text;
    out = temp_make_folder(&fault_world.folder, "out");
    if (text != NULL) temp_write(&out, "target", text, strlen(text));
}

const char *fault_target(void)
{
    return fault_path("out/target");
}

uint64_t fault_target_outcome(void)
{
    return sum_file(fault_target());
}

bool fault_target_untouched(void)
{
    if (fault_said("is in place")) return true;
    if (temp_entry_count(&out) != (before != NULL)) return false;
    return before == NULL || fault_target_outcome() == fault_sum(0, before, strlen(before));
}

void fault_target_remove(void)
{
    temp_folder_remove(&out);
}
