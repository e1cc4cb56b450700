/* Opening, in every way that there is, and listing files. */
#include <string.h>

#include "fault_engine.h"
#include "fault_world.h"
#include "support/set_models.h"

static tare_model *model;
static tare_options options;

static void prepare_with(uint32_t backing)
{
    options = (tare_options)TARE_OPTIONS_INIT;
    options.backing = backing;
    options.allocator = &fault_memory.hooks;
}

static void prepare(void)
{
    prepare_with(TARE_BACKING_AUTO);
}
static void prepare_map(void)
{
    prepare_with(TARE_BACKING_MAP);
}
static void prepare_read(void)
{
    prepare_with(TARE_BACKING_READ);
}

static void prepare_system_memory(void)
{
    prepare();
    options.allocator = NULL;
}

static void prepare_writable(void)
{
    prepare();
    options.flags = TARE_COPY_ON_WRITE;
}

static void finish(void)
{
    tare_close(model);
    model = NULL;
}

static bool is_empty(void)
{
    return model == NULL;
}
static uint64_t outcome(void)
{
    return fault_sum_model(model);
}

static tare_status open_path(const char *name, tare_error *error)
{
    const char *path = fault_path(name);
    model = (void *)&options;
    return FAULT_CALL(tare_open, path, &options, &model, error);
}

static tare_status open_one(tare_error *error)
{
    return open_path("one.safetensors", error);
}
static tare_status open_long(tare_error *error)
{
    return open_path("long", error);
}
static tare_status open_names(tare_error *error)
{
    return open_path("names", error);
}
static tare_status open_three(tare_error *error)
{
    return open_path("three", error);
}
static tare_status open_none(tare_error *error)
{
    return open_path("none.json", error);
}

static tare_status open_split(tare_error *error)
{
    return open_path("split-00002-of-00002.gguf", error);
}

static tare_status open_large_split(tare_error *error)
{
    return open_path("large-00001-of-00002.gguf", error);
}

static tare_status open_bytes(tare_error *error)
{
    const build_text *file = &fault_world.longer;
    model = (void *)&options;
    return FAULT_CALL(tare_open_bytes, file->data, file->size, &options, &model, error);
}

static tare_status open_gguf_bytes(tare_error *error)
{
    const build_text *file = &fault_world.gguf;
    model = (void *)&options;
    return FAULT_CALL(tare_open_bytes, file->data, file->size, &options, &model, error);
}

/* One name twice: what is wrong is said, or that there was no memory to find out. */
static tare_status open_twice(tare_error *error)
{
    static const char text[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
                               "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    static const size_t size = sizeof text - 1;
    static char file[8 + sizeof text] = {sizeof text - 1};
    memcpy(file + 8, text, size);
    model = (void *)&options;
    return FAULT_CALL(tare_open_bytes, file, 8 + size, &options, &model, error);
}

static tare_status open_reader(tare_error *error)
{
    model = (void *)&options;
    return FAULT_CALL(tare_open_reader, &fault_world.reader.reader, &options, &model, error);
}

static tare_status open_files(tare_error *error)
{
    const file_list *list = &fault_world.files;
    model = (void *)&options;
    return FAULT_CALL(tare_open_files, list->files, list->count, &options, &model, error);
}

/* Behind a reader, whose first bytes are in memory: a copy of them has to grow. */
static tare_status open_lent_files(tare_error *error)
{
    const file_list *list = &fault_world.gguf_files;
    model = (void *)&options;
    return FAULT_CALL(tare_open_files, list->files, list->count, &options, &model, error);
}

static tare_pair pairs[300];
static size_t pair_count;

static void prepare_pairs(void)
{
    prepare();
    pair_count = 300;
    for (size_t i = 0; i < pair_count; i++) {
        const tare_string *name = &fault_world.names.names[i];
        pairs[i] = (tare_pair){name->data, name->size, fault_world.one.data, i % 7};
    }
}

/* Every name is there twice, and the first one counts. */
static void prepare_double_pairs(void)
{
    prepare();
    options.flags = TARE_PAIRS_KEEP_FIRST;
    options.alignment = 65536;
    pair_count = 6;
    for (size_t i = 0; i < pair_count; i++)
        pairs[i] = (tare_pair){i % 2 ? "a" : "b", 1, "xy", i % 3};
}

static tare_status open_pairs(tare_error *error)
{
    model = (void *)&options;
    return FAULT_CALL(tare_open_pairs, pairs, pair_count, &options, &model, error);
}

static tare_status open_no_pairs(tare_error *error)
{
    model = (void *)&options;
    return FAULT_CALL(tare_open_pairs, NULL, 0, &options, &model, error);
}

static uint64_t count_outcome(void)
{
    return tare_count(model) + 1;
}

/* ------------------------------------------------------------------------------------------------
 * Closing
 */

static void prepare_close(void)
{
    model = fault_open("three", TARE_BACKING_AUTO, TARE_INDEX_NEVER);
}

static tare_status close_model(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_close, model);
    model = NULL;
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Lists of files
 */

static uint64_t listed;

static int visit(void *context, const char *name, size_t name_size)
{
    (void)context;
    listed = fault_sum(listed, name, name_size);
    return 0;
}

static uint64_t list_outcome(void)
{
    return listed;
}

static tare_status list_shards(tare_error *error)
{
    static const char text[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}";
    const tare_file file = {.name = "m.json", .bytes = text, .size = sizeof text - 1};
    listed = 1;
    return FAULT_CALL(tare_list_files, &file, &options, visit, NULL, error);
}

static tare_status list_parts(tare_error *error)
{
    const tare_file file = {.name = "m-00001-of-00002.gguf"};
    listed = 1;
    return FAULT_CALL(tare_list_files, &file, &options, visit, NULL, error);
}

#define OPENS(name, prepare, act)                                 \
    {                                                             \
        name, prepare, act, outcome, is_empty, finish, 0, NULL, 0 \
    }
#define GROWS(name, prepare, act)                                                 \
    {                                                                             \
        name, prepare, act, outcome, is_empty, finish, 0, NULL, FAULT_MEMORY_ONLY \
    }

const fault_scenario fault_open_scenarios[] = {
    OPENS("open", prepare, open_one),
    OPENS("open, mapped", prepare_map, open_one),
    OPENS("open, read", prepare_read, open_one),
    OPENS("open, to write to", prepare_writable, open_one),
    OPENS("open, shards", prepare, open_three),
    OPENS("open, shards, read", prepare_read, open_three),
    {"open, shards, without hooks", prepare_system_memory, open_three, outcome, is_empty, finish, 0,
     NULL, FAULT_WITHOUT_HOOKS},
    OPENS("open, split", prepare, open_split),
    GROWS("open, a folder", prepare, open_long),
    GROWS("open, many names", prepare, open_names),
    GROWS("open, many names, read", prepare_read, open_names),
    GROWS("open, split, large", prepare, open_large_split),
    {"open, no shards", prepare, open_none, count_outcome, is_empty, finish, 0, NULL, 0},
    GROWS("open_bytes", prepare, open_bytes),
    GROWS("open_bytes, gguf", prepare, open_gguf_bytes),
    {"open_bytes, a name twice", prepare, open_twice, NULL, is_empty, finish, TARE_E_DUPLICATE,
     NULL, 0},
    OPENS("open_reader", prepare, open_reader),
    GROWS("open_files", prepare, open_files),
    GROWS("open_files, a short head", prepare, open_lent_files),
    OPENS("open_pairs", prepare_pairs, open_pairs),
    {"open_pairs, names twice", prepare_double_pairs, open_pairs, count_outcome, is_empty, finish,
     0, NULL, 0},
    {"open_pairs, none", prepare, open_no_pairs, count_outcome, is_empty, finish, 0, NULL, 0},
    {"close", prepare_close, close_model, NULL, NULL, NULL, 0, NULL,
     FAULT_ONLY_ONCE | FAULT_NEVER_FAILS | FAULT_HAS_NO_ERROR},
    {"list_files, shards", prepare, list_shards, list_outcome, NULL, NULL, 0, NULL, 0},
    {"list_files, parts", prepare, list_parts, list_outcome, NULL, NULL, 0, NULL, 0},
    {0},
};
