/* Opening, in every way that there is, and listing files. */
#include <string.h>

#include "fault_subject.h"
#include "support/set_models.h"

static void prepare_map(void)
{
    fault_prepare();
    fault_options.backing = TARE_BACKING_MAP;
}
static void prepare_read(void)
{
    fault_prepare();
    fault_options.backing = TARE_BACKING_READ;
}

static void prepare_system_memory(void)
{
    fault_prepare();
    fault_options.allocator = NULL;
}

static void prepare_writable(void)
{
    fault_prepare();
    fault_options.flags = TARE_COPY_ON_WRITE;
}

static tare_status open_one(tare_error *error)
{
    return fault_open_path("one.safetensors", error);
}
static tare_status open_long(tare_error *error)
{
    return fault_open_path("long", error);
}
static tare_status open_names(tare_error *error)
{
    return fault_open_path("names", error);
}
static tare_status open_three(tare_error *error)
{
    return fault_open_path("three", error);
}
static tare_status open_none(tare_error *error)
{
    return fault_open_path("none.json", error);
}

static tare_status open_split(tare_error *error)
{
    return fault_open_path("split-00002-of-00002.gguf", error);
}

static tare_status open_large_split(tare_error *error)
{
    return fault_open_path("large-00001-of-00002.gguf", error);
}

static tare_status open_bytes(tare_error *error)
{
    return fault_open_bytes(&fault_world.longer, error);
}

static tare_status open_gguf_bytes(tare_error *error)
{
    return fault_open_bytes(&fault_world.gguf, error);
}

/* One name twice: what is wrong is said, or that there was no memory to find out. */
static tare_status open_twice(tare_error *error)
{
    static const char text[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
                               "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}";
    static const size_t size = sizeof text - 1;
    static char file[8 + sizeof text] = {sizeof text - 1};
    memcpy(file + 8, text, size);
    return fault_open_bytes(&(build_text){.data = file, .size = 8 + size}, error);
}

static tare_status open_files(tare_error *error)
{
    const file_list *list = &fault_world.files;
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open_files, list->files, list->count, &fault_options, &fault_model,
                      error);
}

/* Behind a reader, whose first bytes are in memory: a copy of them has to grow. */
static tare_status open_lent_files(tare_error *error)
{
    const file_list *list = &fault_world.gguf_files;
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open_files, list->files, list->count, &fault_options, &fault_model,
                      error);
}

/* All of them are, and a copy is made of what has to stay. */
static tare_status open_lent_whole(tare_error *error)
{
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open_files, &fault_world.gguf_lent, 1, &fault_options, &fault_model,
                      error);
}

static tare_pair pairs[300];
static size_t pair_count;

static void prepare_pairs(void)
{
    fault_prepare();
    pair_count = 300;
    for (size_t i = 0; i < pair_count; i++) {
        const tare_string *name = &fault_world.names.names[i];
        pairs[i] = (tare_pair){name->data, name->size, fault_world.one.data, i % 7};
    }
}

/* Every name is there twice, and the first one counts. */
static void prepare_double_pairs(void)
{
    fault_prepare();
    fault_options.flags = TARE_PAIRS_KEEP_FIRST;
    fault_options.alignment = 65536;
    pair_count = 6;
    for (size_t i = 0; i < pair_count; i++)
        pairs[i] = (tare_pair){i % 2 ? "a" : "b", 1, "xy", i % 3};
}

static tare_status open_pairs(tare_error *error)
{
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open_pairs, pairs, pair_count, &fault_options, &fault_model, error);
}

static tare_status open_no_pairs(tare_error *error)
{
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open_pairs, NULL, 0, &fault_options, &fault_model, error);
}

static uint64_t count_outcome(void)
{
    return tare_count(fault_model) + 1;
}

/* ------------------------------------------------------------------------------------------------
 * Closing
 */

static void prepare_close(void)
{
    fault_model = fault_open("three", TARE_BACKING_AUTO, TARE_INDEX_NEVER);
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
    return FAULT_CALL(tare_list_files, &file, &fault_options, visit, NULL, error);
}

static tare_status list_parts(tare_error *error)
{
    const tare_file file = {.name = "m-00001-of-00002.gguf"};
    listed = 1;
    return FAULT_CALL(tare_list_files, &file, &fault_options, visit, NULL, error);
}

#define OPENS(name, prepare, act) FAULT_OPENS(name, prepare, act, NULL, 0)
#define GROWS(name, prepare, act) FAULT_OPENS(name, prepare, act, NULL, FAULT_MEMORY_ONLY)

const fault_scenario fault_open_scenarios[] = {
    OPENS("open", fault_prepare, open_one),
    OPENS("open, mapped", prepare_map, open_one),
    OPENS("open, read", prepare_read, open_one),
    OPENS("open, to write to", prepare_writable, open_one),
    OPENS("open, shards", fault_prepare, open_three),
    OPENS("open, shards, read", prepare_read, open_three),
    FAULT_OPENS("open, shards, without hooks", prepare_system_memory, open_three, NULL,
                FAULT_WITHOUT_HOOKS),
    OPENS("open, split", fault_prepare, open_split),
    OPENS("open, a folder", fault_prepare, open_long),
    GROWS("open, many names", fault_prepare, open_names),
    GROWS("open, many names, read", prepare_read, open_names),
    OPENS("open, split, large", fault_prepare, open_large_split),
    {"open, no shards", fault_prepare, open_none, count_outcome, fault_no_model, fault_finish, 0,
     NULL, 0},
    OPENS("open_bytes", fault_prepare, open_bytes),
    OPENS("open_bytes, gguf", fault_prepare, open_gguf_bytes),
    {"open_bytes, a name twice", fault_prepare, open_twice, NULL, fault_no_model, fault_finish,
     TARE_E_DUPLICATE, NULL, 0},
    OPENS("open_reader", fault_prepare, fault_open_reader),
    OPENS("open_files", fault_prepare, open_files),
    OPENS("open_files, a short head", fault_prepare, open_lent_files),
    OPENS("open_files, a head that is all", fault_prepare, open_lent_whole),
    OPENS("open_pairs", prepare_pairs, open_pairs),
    {"open_pairs, names twice", prepare_double_pairs, open_pairs, count_outcome, fault_no_model,
     fault_finish, 0, NULL, 0},
    {"open_pairs, none", fault_prepare, open_no_pairs, count_outcome, fault_no_model, fault_finish,
     0, NULL, 0},
    FAULT_CLOSES("close", prepare_close, fault_close_model),
    {"list_files, shards", fault_prepare, list_shards, list_outcome, NULL, NULL, 0, NULL, 0},
    {"list_files, parts", fault_prepare, list_parts, list_outcome, NULL, NULL, 0, NULL, 0},
    {0},
};
