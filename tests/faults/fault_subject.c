#include "fault_subject.h"

#include <stdlib.h>

tare_model *fault_model;
tare_block *fault_block;
tare_device *fault_device;
tare_options fault_options;
tare_load_options fault_loading;
const tare_tensor *fault_list[FAULT_LIST_MAX];
tare_digest fault_digests[FAULT_LIST_MAX];

void fault_finish(void)
{
    tare_block_close(fault_block);
    tare_close(fault_model);
    tare_device_close(fault_device);
    fault_block = NULL;
    fault_model = NULL;
    fault_device = NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Opening. The output holds something beforehand, so that it shows whether a failure clears it.
 */

void fault_prepare(void)
{
    fault_options = (tare_options)TARE_OPTIONS_INIT;
    fault_options.allocator = &fault_memory.hooks;
}

tare_status fault_open_path(const char *name, tare_error *error)
{
    const char *path = fault_path(name);
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open, path, &fault_options, &fault_model, error);
}

tare_status fault_open_bytes(const build_text *file, tare_error *error)
{
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open_bytes, file->data, file->size, &fault_options, &fault_model, error);
}

tare_status fault_open_reader(tare_error *error)
{
    const tare_reader *reader = &fault_world.reader.reader;
    fault_model = (void *)&fault_options;
    return FAULT_CALL(tare_open_reader, reader, &fault_options, &fault_model, error);
}

tare_status fault_close_model(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_close, fault_model);
    fault_model = NULL;
    return TARE_OK;
}

bool fault_no_model(void)
{
    return fault_model == NULL;
}

uint64_t fault_model_outcome(void)
{
    return fault_sum_model(fault_model);
}

/* ------------------------------------------------------------------------------------------------
 * Loading
 */

void fault_prepare_load(const char *name, uint32_t backing, uint32_t io, uint32_t threads)
{
    fault_model = fault_open(name, backing, TARE_INDEX_AUTO);
    fault_loading = (tare_load_options)TARE_LOAD_OPTIONS_INIT;
    fault_loading.io = io;
    fault_loading.threads = threads;
    fault_loading.chunk_size = 4096;
    fault_loading.allocator = &fault_memory.hooks;
    for (size_t i = 0; i < tare_count(fault_model); i++) fault_list[i] = tare_at(fault_model, i);
}

void fault_prepare_digests(void)
{
    if (tare_hash_many(fault_model, NULL, 0, NULL, fault_digests, NULL) != TARE_OK) abort();
    fault_loading.digests = fault_digests;
}

tare_status fault_load(tare_error *error)
{
    fault_block = (void *)&fault_loading;
    return FAULT_CALL(tare_load, fault_model, NULL, 0, &fault_loading, &fault_block, error);
}

bool fault_no_block(void)
{
    return fault_block == NULL;
}
