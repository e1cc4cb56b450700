/* Index files: opening with one, writing one, comparing one, and shards that are opened late. */
#include <stdlib.h>
#include <string.h>

#include "fault_engine.h"
#include "fault_world.h"

static tare_model *model;
static tare_options options;

static void prepare(void)
{
    options = (tare_options)TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.allocator = &fault_memory.hooks;
}

static void prepare_read(void)
{
    prepare();
    options.backing = TARE_BACKING_READ;
}

static void prepare_any(void)
{
    prepare();
    options.index = TARE_INDEX_AUTO;
}

static void prepare_by_header(void)
{
    prepare();
    options.index_check = TARE_INDEX_BY_HEADER;
}

static void prepare_named(void)
{
    prepare();
    options.index_path = fault_path("indexed.safetensors.tareidx");
    options.index_check = TARE_INDEX_BY_HEADER;
}

static void prepare_bytes(void)
{
    prepare();
    options.index_check = TARE_INDEX_BY_HEADER;
    options.index_bytes = (const char *)fault_world.index + 1;
    options.index_size = fault_world.index_size;
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
    return open_path("indexed.safetensors", error);
}

static tare_status open_shards(tare_error *error)
{
    return open_path("indexed", error);
}

static tare_status open_stale(tare_error *error)
{
    return open_path("stale.safetensors", error);
}

static tare_status open_damaged(tare_error *error)
{
    return open_path("damaged.safetensors", error);
}

static tare_status open_damaged_shards(tare_error *error)
{
    return open_path("damaged", error);
}

static tare_status open_bytes(tare_error *error)
{
    const build_text *file = &fault_world.one;
    model = (void *)&options;
    return FAULT_CALL(tare_open_bytes, file->data, file->size, &options, &model, error);
}

static tare_status open_reader(tare_error *error)
{
    model = (void *)&options;
    return FAULT_CALL(tare_open_reader, &fault_world.reader.reader, &options, &model, error);
}

/* ------------------------------------------------------------------------------------------------
 * Shards that are opened when their bytes are wanted
 */

static const void *data;
static size_t alignment;

static void prepare_late(void)
{
    model = fault_open("indexed", TARE_BACKING_AUTO, TARE_INDEX_REQUIRE);
}

static void prepare_late_map(void)
{
    model = fault_open("indexed", TARE_BACKING_MAP, TARE_INDEX_REQUIRE);
}

static void prepare_late_read(void)
{
    model = fault_open("indexed", TARE_BACKING_READ, TARE_INDEX_REQUIRE);
}

static tare_status ready_one(tare_error *error)
{
    return FAULT_CALL(tare_ready, model, tare_at(model, 4), error);
}

static tare_status ready_all(tare_error *error)
{
    return FAULT_CALL(tare_ready, model, NULL, error);
}

static tare_status data_late(tare_error *error)
{
    (void)error;
    data = FAULT_CALL(tare_data, model, tare_at(model, 4));
    return data != NULL ? TARE_OK : TARE_E_OPEN;
}

static uint64_t data_outcome(void)
{
    return fault_sum(0, data, (size_t)tare_size(model, tare_at(model, 4)));
}

static tare_status alignment_late(tare_error *error)
{
    (void)error;
    alignment = FAULT_CALL(tare_alignment, model, tare_at(model, 4));
    return alignment != 0 ? TARE_OK : TARE_E_OPEN;
}

static void prepare_close(void)
{
    prepare_late();
    if (tare_ready(model, NULL, NULL) != TARE_OK) abort();
}

static tare_status close_model(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_close, model);
    model = NULL;
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Writing and comparing
 */

static tare_index_options how;

static void prepare_writing(const char *name, uint32_t backing)
{
    model = fault_open(name, backing, TARE_INDEX_NEVER);
    how = (tare_index_options)TARE_INDEX_OPTIONS_INIT;
    how.allocator = &fault_memory.hooks;
}

static void prepare_write(void)
{
    prepare_writing("three", TARE_BACKING_AUTO);
    fault_target_make(NULL);
}

/* Over something that looks like the one of another model. */
static void prepare_replace(void)
{
    prepare_writing("one.safetensors", TARE_BACKING_READ);
    fault_target_make("TAREIDX");
    how.flags = TARE_SAVE_REPLACE;
}

static void prepare_write_gguf(void)
{
    prepare_writing("split-00001-of-00002.gguf", TARE_BACKING_READ);
    fault_target_make(NULL);
    how.allocator = NULL;
}

static void prepare_write_large(void)
{
    prepare_writing("large-00001-of-00002.gguf", TARE_BACKING_AUTO);
    fault_target_make(NULL);
}

static void prepare_write_of_reader(void)
{
    prepare_writing(NULL, TARE_BACKING_AUTO);
    fault_target_make(NULL);
}

static tare_status write_index(tare_error *error)
{
    const char *path = fault_target();
    return FAULT_CALL(tare_index_save, model, path, &how, error);
}

static uint64_t written(void)
{
    return fault_sum_file(fault_target());
}

static bool is_not_written(void)
{
    return fault_target_untouched() || fault_said("is in place");
}

static void finish_writing(void)
{
    fault_target_remove();
    finish();
}

static const char *checked;

static void prepare_check(void)
{
    prepare_writing("indexed", TARE_BACKING_READ);
    checked = NULL;
}

static void prepare_check_one(void)
{
    prepare_writing("indexed.safetensors", TARE_BACKING_READ);
    checked = fault_path("indexed.safetensors.tareidx");
}

static tare_status check_index(tare_error *error)
{
    return FAULT_CALL(tare_index_check, model, checked, &how, error);
}

static void prepare_status(void)
{
    options = (tare_options)TARE_OPTIONS_INIT;
    options.allocator = &fault_memory.hooks;
    if (tare_open(fault_path("damaged"), &options, &model, NULL) != TARE_OK) abort();
}

static tare_status tell_status(tare_error *error)
{
    return FAULT_CALL(tare_index_status, model, error);
}

/* An index file that ends early is damaged; a model that does is another one. */
static const tare_status index_statuses[] = {TARE_E_PREBUILT, 0};

#define OPENS(name, prepare, act)                                           \
    {                                                                       \
        name, prepare, act, outcome, is_empty, finish, 0, index_statuses, 0 \
    }

const fault_scenario fault_index_scenarios[] = {
    OPENS("index, open", prepare, open_one),
    OPENS("index, open, read", prepare_read, open_one),
    OPENS("index, open if it fits", prepare_any, open_one),
    OPENS("index, open, by header", prepare_by_header, open_one),
    OPENS("index, open, shards", prepare, open_shards),
    OPENS("index, open, shards, read", prepare_read, open_shards),
    OPENS("index, open, shards, by header", prepare_by_header, open_shards),
    OPENS("index, open, shards if it fits", prepare_any, open_shards),
    OPENS("index, open, stale", prepare_any, open_stale),
    OPENS("index, open, damaged", prepare_any, open_damaged),
    OPENS("index, open, damaged, of shards", prepare_any, open_damaged_shards),
    OPENS("index, open_bytes", prepare_bytes, open_bytes),
    OPENS("index, open_reader", prepare_named, open_reader),
    {"index, ready, a shard", prepare_late, ready_one, outcome, NULL, finish, 0, NULL, 0},
    {"index, ready, mapped", prepare_late_map, ready_all, outcome, NULL, finish, 0, NULL, 0},
    {"index, ready, read", prepare_late_read, ready_all, outcome, NULL, finish, 0, NULL, 0},
    {"index, data", prepare_late_map, data_late, data_outcome, NULL, finish, 0, NULL,
     FAULT_HAS_NO_ERROR},
    {"index, alignment", prepare_late_map, alignment_late, NULL, NULL, finish, 0, NULL,
     FAULT_HAS_NO_ERROR},
    {"index, close", prepare_close, close_model, NULL, NULL, NULL, 0, NULL,
     FAULT_ONLY_ONCE | FAULT_NEVER_FAILS | FAULT_HAS_NO_ERROR},
    {"index_save", prepare_write, write_index, written, is_not_written, finish_writing, 0, NULL, 0},
    {"index_save, another", prepare_replace, write_index, written, is_not_written, finish_writing,
     0, NULL, 0},
    {"index_save, gguf", prepare_write_gguf, write_index, written, is_not_written, finish_writing,
     0, NULL, FAULT_WITHOUT_HOOKS},
    {"index_save, large", prepare_write_large, write_index, written, is_not_written, finish_writing,
     0, NULL, FAULT_MEMORY_ONLY},
    {"index_save, of a reader", prepare_write_of_reader, write_index, written, is_not_written,
     finish_writing, 0, NULL, 0},
    {"index_check, shards", prepare_check, check_index, NULL, NULL, finish, 0, index_statuses, 0},
    {"index_check", prepare_check_one, check_index, NULL, NULL, finish, 0, index_statuses, 0},
    {"index_status", prepare_status, tell_status, NULL, NULL, finish, TARE_E_PREBUILT, NULL,
     FAULT_ASKS_NOTHING},
    {0},
};
