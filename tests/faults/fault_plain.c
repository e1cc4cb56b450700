/* All that looks at what is in memory: it asks nothing of anybody, whatever fails. */
#include <stdlib.h>
#include <string.h>

#include "fault_subject.h"

static void prepare_headers(void)
{
    fault_model = fault_open("names", TARE_BACKING_AUTO, TARE_INDEX_NEVER);
}

static void prepare_gguf(void)
{
    fault_model = fault_open("split-00001-of-00002.gguf", TARE_BACKING_READ, TARE_INDEX_NEVER);
}

static void prepare_indexed(void)
{
    fault_model = fault_open("indexed", TARE_BACKING_READ, TARE_INDEX_REQUIRE);
}

static tare_status dtypes(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_status_name, TARE_E_JSON);
    FAULT_CALL(tare_status_text, TARE_E_JSON);
    FAULT_CALL(tare_dtype_name, TARE_DTYPE_F32);
    FAULT_CALL(tare_dtype_bits, TARE_DTYPE_F32);
    FAULT_CALL(tare_dtype_block_count, TARE_DTYPE_F32);
    FAULT_CALL(tare_dtype_block_size, TARE_DTYPE_F32);
    FAULT_CALL(tare_dtype_can_save, TARE_DTYPE_F32);
    FAULT_CALL(tare_dtype_find, "F32", 3);
    FAULT_CALL(tare_kind_name, TARE_KIND_U8);
    fault_called("tare_version");
    return tare_version()[0] == '0' ? TARE_OK : TARE_E_VERSION;
}

static tare_status finding(tare_error *error)
{
    (void)error;
    tare_string names[3], near[TARE_SUGGEST_COUNT];
    const tare_tensor *found[3];
    size_t last = FAULT_CALL(tare_count, fault_model) - 1;
    names[0] = FAULT_CALL(tare_name, fault_model, FAULT_CALL(tare_at, fault_model, 0));
    names[1] = tare_name(fault_model, tare_at(fault_model, last));
    names[2] = (tare_string){"there is no such", 16};
    size_t wrong = 0;
    for (size_t i = 0; i < 3; i++) {
        found[i] = FAULT_CALL(tare_find, fault_model, names[i].data, names[i].size);
        tare_key key = FAULT_CALL(tare_key_make, fault_model, names[i].data, names[i].size);
        wrong += FAULT_CALL(tare_find_key, fault_model, &key) != found[i];
    }
    wrong += FAULT_CALL(tare_index_of, fault_model, found[1]) != last;
    wrong += FAULT_CALL(tare_find_many, fault_model, names, 3, found) != 2;
    tare_range range = FAULT_CALL(tare_prefix, fault_model, names[0].data, 1);
    wrong += FAULT_CALL(tare_next, fault_model, &range) == NULL;
    FAULT_CALL(tare_suggest, fault_model, names[0].data, names[0].size, 0, near);
    wrong += FAULT_CALL(tare_name_distance, names[0], names[0], 4) != 0;
    return wrong == 0 ? TARE_OK : TARE_E_ABSENT;
}

static tare_status facts(tare_error *error)
{
    const tare_tensor *tensor = tare_at(fault_model, 2);
    tare_stat stat = {.struct_size = sizeof stat};
    uint64_t size;
    tare_info info = FAULT_CALL(tare_describe, fault_model, tensor);
    size_t wrong = info.size != FAULT_CALL(tare_size, fault_model, tensor);
    wrong += info.offset != FAULT_CALL(tare_offset, fault_model, tensor);
    FAULT_CALL(tare_shard_count, fault_model);
    FAULT_CALL(tare_shard_at, fault_model, 0);
    FAULT_CALL(tare_model_stat, fault_model, &stat);
    FAULT_CALL(tare_index_path, fault_model);
    wrong += FAULT_CALL(tare_slice_size, fault_model, tensor, NULL, NULL, &size, error) != TARE_OK;
    return wrong == 0 && size == info.size ? TARE_OK : TARE_E_SIZE;
}

/* Where shards are open. */
static tare_status data(tare_error *error)
{
    const tare_tensor *tensor = tare_at(fault_model, 2);
    size_t wrong = FAULT_CALL(tare_data, fault_model, tensor) == NULL;
    wrong += FAULT_CALL(tare_alignment, fault_model, tensor) == 0;
    wrong += FAULT_CALL(tare_ready, fault_model, NULL, error) != TARE_OK;
    wrong += FAULT_CALL(tare_index_status, fault_model, error) != TARE_E_OPEN;
    memset(error, 0, sizeof *error);
    return wrong == 0 ? TARE_OK : TARE_E_READ;
}

static tare_status metadata(tare_error *error)
{
    uint64_t u;
    int64_t i;
    double f;
    int b;
    tare_string text, key;
    tare_value value, item;
    uint32_t shard;
    FAULT_CALL(tare_metadata_count, fault_model);
    FAULT_CALL(tare_metadata_at, fault_model, 0, &key, &text, &shard);
    value = FAULT_CALL(tare_metadata_value_at, fault_model, 0);
    FAULT_CALL(tare_metadata_find, fault_model, "format", 6);
    value = FAULT_CALL(tare_metadata_value, fault_model, "split.count", 11);
    FAULT_CALL(tare_value_u64, value, &u);
    FAULT_CALL(tare_value_i64, value, &i);
    FAULT_CALL(tare_value_f64, value, &f);
    FAULT_CALL(tare_value_bool, value, &b);
    FAULT_CALL(tare_value_string, value, &text);
    FAULT_CALL(tare_metadata_u64, fault_model, "split.count", 11, &u, error);
    FAULT_CALL(tare_metadata_i64, fault_model, "split.count", 11, &i, error);
    FAULT_CALL(tare_metadata_f64, fault_model, "split.count", 11, &f, error);
    FAULT_CALL(tare_metadata_bool, fault_model, "split.count", 11, &b, error);
    FAULT_CALL(tare_metadata_string, fault_model, "format", 6, &text, error);
    FAULT_CALL(tare_metadata_array, fault_model, "words", 5, &value, error);
    FAULT_CALL(tare_value_next, &value, &item);
    memset(error, 0, sizeof *error);
    return TARE_OK;
}

static void prepare_block(void)
{
    tare_load_options how = TARE_LOAD_OPTIONS_INIT;
    fault_model = fault_open("three", TARE_BACKING_AUTO, TARE_INDEX_NEVER);
    if (tare_device_open("cuda:0", NULL, &fault_device, NULL) != TARE_OK) abort();
    how.device = fault_device;
    how.threads = 1;
    if (tare_load(fault_model, NULL, 0, &how, &fault_block, NULL) != TARE_OK) abort();
}

static tare_status look_at_block(tare_error *error)
{
    size_t size;
    (void)error;
    FAULT_CALL(tare_block_count, fault_block);
    FAULT_CALL(tare_block_data, fault_block, 0);
    FAULT_CALL(tare_block_size, fault_block, 0);
    FAULT_CALL(tare_block_memory, fault_block, &size);
    FAULT_CALL(tare_block_device, fault_block);
    FAULT_CALL(tare_device_describe, fault_device);
    return TARE_OK;
}

#define ASKS_NOTHING(name, prepare, act, more)                                             \
    {                                                                                      \
        name, prepare, act, NULL, NULL, fault_finish, 0, NULL, FAULT_ASKS_NOTHING | (more) \
    }

const fault_scenario fault_plain_scenarios[] = {
    ASKS_NOTHING("plain, names of things", NULL, dtypes, FAULT_HAS_NO_ERROR),
    ASKS_NOTHING("plain, finding", prepare_headers, finding, FAULT_HAS_NO_ERROR),
    ASKS_NOTHING("plain, finding, gguf", prepare_gguf, finding, FAULT_HAS_NO_ERROR),
    ASKS_NOTHING("plain, finding, indexed", prepare_indexed, finding, FAULT_HAS_NO_ERROR),
    ASKS_NOTHING("plain, facts", prepare_headers, facts, 0),
    ASKS_NOTHING("plain, facts, indexed", prepare_indexed, facts, 0),
    ASKS_NOTHING("plain, data", prepare_headers, data, FAULT_HAS_NO_ERROR),
    ASKS_NOTHING("plain, metadata", prepare_gguf, metadata, FAULT_HAS_NO_ERROR),
    ASKS_NOTHING("plain, metadata, indexed", prepare_indexed, metadata, FAULT_HAS_NO_ERROR),
    ASKS_NOTHING("plain, a block", prepare_block, look_at_block, FAULT_HAS_NO_ERROR),
    {0},
};
