/* Index files: opening with one, writing one, comparing one, and shards that are opened late. */
#include <stdlib.h>

#include "fault_subject.h"

static void prepare(void)
{
    fault_prepare();
    fault_options.index = TARE_INDEX_REQUIRE;
}

static void prepare_read(void)
{
    prepare();
    fault_options.backing = TARE_BACKING_READ;
}

static void prepare_any(void)
{
    prepare();
    fault_options.index = TARE_INDEX_AUTO;
}

static void prepare_by_header(void)
{
    prepare();
    fault_options.index_check = TARE_INDEX_BY_HEADER;
}

static void prepare_named(void)
{
    prepare();
    fault_options.index_path = fault_path("indexed.safetensors.tareidx");
    fault_options.index_check = TARE_INDEX_BY_HEADER;
}

static void prepare_bytes(void)
{
    prepare();
    fault_options.index_check = TARE_INDEX_BY_HEADER;
    fault_options.index_bytes = (const char *)fault_world.index + 1;
    fault_options.index_size = fault_world.index_size;
}

static tare_status open_one(tare_error *error)
{
    return fault_open_path("indexed.safetensors", error);
}

static tare_status open_shards(tare_error *error)
{
    return fault_open_path("indexed", error);
}

static tare_status open_stale(tare_error *error)
{
    return fault_open_path("stale.safetensors", error);
}

static tare_status open_damaged(tare_error *error)
{
    return fault_open_path("damaged.safetensors", error);
}

static tare_status open_damaged_shards(tare_error *error)
{
    return fault_open_path("damaged", error);
}

static tare_status open_bytes(tare_error *error)
{
    return fault_open_bytes(&fault_world.one, error);
}

/* ------------------------------------------------------------------------------------------------
 * Shards that are opened when their bytes are wanted
 */

static const void *data;
static size_t alignment;

static void prepare_late(void)
{
    fault_model = fault_open("indexed", TARE_BACKING_AUTO, TARE_INDEX_REQUIRE);
}

static void prepare_late_map(void)
{
    fault_model = fault_open("indexed", TARE_BACKING_MAP, TARE_INDEX_REQUIRE);
}

static void prepare_late_read(void)
{
    fault_model = fault_open("indexed", TARE_BACKING_READ, TARE_INDEX_REQUIRE);
}

static tare_status ready_one(tare_error *error)
{
    return FAULT_CALL(tare_ready, fault_model, tare_at(fault_model, 4), error);
}

static tare_status ready_all(tare_error *error)
{
    return FAULT_CALL(tare_ready, fault_model, NULL, error);
}

static tare_status data_late(tare_error *error)
{
    (void)error;
    data = FAULT_CALL(tare_data, fault_model, tare_at(fault_model, 4));
    return data != NULL ? TARE_OK : TARE_E_OPEN;
}

static tare_status data_late_at(tare_error *error)
{
    const tare_tensor *tensor = tare_at(fault_model, 4);
    const size_t size = (size_t)tare_size(fault_model, tensor);
    (void)error;
    data = FAULT_CALL(tare_data_at, fault_model, tensor, 0, size);
    return data != NULL ? TARE_OK : TARE_E_OPEN;
}

static uint64_t data_outcome(void)
{
    return fault_sum(0, data, (size_t)tare_size(fault_model, tare_at(fault_model, 4)));
}

static tare_status alignment_late(tare_error *error)
{
    (void)error;
    alignment = FAULT_CALL(tare_alignment, fault_model, tare_at(fault_model, 4));
    return alignment != 0 ? TARE_OK : TARE_E_OPEN;
}

static void prepare_close(void)
{
    prepare_late();
    if (tare_ready(fault_model, NULL, NULL) != TARE_OK) abort();
}

/* ------------------------------------------------------------------------------------------------
 * Writing and comparing
 */

static tare_index_options how;

static void prepare_writing(const char *name, uint32_t backing)
{
    fault_model = fault_open(name, backing, TARE_INDEX_NEVER);
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
    return FAULT_CALL(tare_index_save, fault_model, path, &how, error);
}

static void finish_writing(void)
{
    fault_target_remove();
    fault_finish();
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
    return FAULT_CALL(tare_index_check, fault_model, checked, &how, error);
}

static void prepare_status(void)
{
    fault_prepare();
    if (open_damaged_shards(NULL) != TARE_OK) abort();
}

static tare_status tell_status(tare_error *error)
{
    return FAULT_CALL(tare_index_status, fault_model, error);
}

/* An index file that ends early is damaged; a model that does is another one. */
static const tare_status index_statuses[] = {TARE_E_PREBUILT, 0};

#define OPENS(name, prepare, act) FAULT_OPENS(name, prepare, act, index_statuses, 0)

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
    OPENS("index, open_reader", prepare_named, fault_open_reader),
    {"index, ready, a shard", prepare_late, ready_one, fault_model_outcome, NULL, fault_finish, 0,
     NULL, 0},
    {"index, ready, mapped", prepare_late_map, ready_all, fault_model_outcome, NULL, fault_finish,
     0, NULL, 0},
    {"index, ready, read", prepare_late_read, ready_all, fault_model_outcome, NULL, fault_finish, 0,
     NULL, 0},
    {"index, data", prepare_late_map, data_late, data_outcome, NULL, fault_finish, 0, NULL,
     FAULT_HAS_NO_ERROR},
    {"index, data, checked", prepare_late_map, data_late_at, data_outcome, NULL, fault_finish, 0,
     NULL, FAULT_HAS_NO_ERROR},
    {"index, alignment", prepare_late_map, alignment_late, NULL, NULL, fault_finish, 0, NULL,
     FAULT_HAS_NO_ERROR},
    FAULT_CLOSES("index, close", prepare_close, fault_close_model),
    FAULT_WRITES("index_save", prepare_write, write_index, finish_writing, 0),
    FAULT_WRITES("index_save, another", prepare_replace, write_index, finish_writing, 0),
    FAULT_WRITES("index_save, gguf", prepare_write_gguf, write_index, finish_writing,
                 FAULT_WITHOUT_HOOKS),
    FAULT_WRITES("index_save, large", prepare_write_large, write_index, finish_writing,
                 FAULT_MEMORY_ONLY),
    FAULT_WRITES("index_save, of a reader", prepare_write_of_reader, write_index, finish_writing,
                 0),
    {"index_check, shards", prepare_check, check_index, NULL, NULL, fault_finish, 0, index_statuses,
     0},
    {"index_check", prepare_check_one, check_index, NULL, NULL, fault_finish, 0, index_statuses, 0},
    {"index_status", prepare_status, tell_status, NULL, NULL, fault_finish, TARE_E_PREBUILT, NULL,
     FAULT_ASKS_NOTHING},
    {0},
};
