/* Loading into memory of the host. */
#include <stdlib.h>
#include <string.h>

#include "fault_subject.h"

enum { TARGET_SIZE = 65536 };

static uint64_t starts[FAULT_LIST_MAX][3], stops[FAULT_LIST_MAX][3];
static tare_slice slices[FAULT_LIST_MAX];
static void *targets[FAULT_LIST_MAX];
static char room[TARGET_SIZE];

static void prepare_buffered(void)
{
    fault_prepare_load("three", TARE_BACKING_MAP, TARE_IO_BUFFERED, 1);
}

static void prepare_threads(void)
{
    fault_prepare_load("three", TARE_BACKING_READ, TARE_IO_BUFFERED, 3);
}

static void prepare_direct(void)
{
    fault_prepare_load("one.safetensors", TARE_BACKING_READ, TARE_IO_DIRECT, 2);
}

static void prepare_auto(void)
{
    fault_prepare_load("three", TARE_BACKING_READ, TARE_IO_AUTO, 0);
    fault_loading.flags = TARE_LOAD_DROP_BEHIND | TARE_LOAD_SMALL_PAGES;
}

static void prepare_system_memory(void)
{
    fault_prepare_load("one.safetensors", TARE_BACKING_MAP, TARE_IO_DIRECT, 1);
    fault_loading.allocator = NULL;
    fault_loading.alignment = 262144; /* so that it is large enough for huge pages */
}

static void prepare_reader(void)
{
    fault_prepare_load(NULL, TARE_BACKING_AUTO, TARE_IO_AUTO, 1);
}

static void prepare_late(void)
{
    fault_prepare_load("indexed", TARE_BACKING_AUTO, TARE_IO_BUFFERED, 1);
}

static void prepare_digests(void)
{
    fault_prepare_load("three", TARE_BACKING_READ, TARE_IO_BUFFERED, 2);
    fault_prepare_digests();
}

static void prepare_wrong_digest(void)
{
    prepare_digests();
    fault_digests[6].low ^= 1;
}

/* The middle half of the last dimension. */
static void prepare_slices(void)
{
    fault_prepare_load("three", TARE_BACKING_READ, TARE_IO_DIRECT, 1);
    for (size_t i = 0; i < tare_count(fault_model); i++) {
        tare_info info = tare_describe(fault_model, fault_list[i]);
        for (uint32_t d = 0; d < info.rank; d++) {
            bool last = d + 1 == info.rank;
            starts[i][d] = last ? info.shape[d] / 4 : 0;
            stops[i][d] = last ? info.shape[d] * 3 / 4 : info.shape[d];
        }
        slices[i] = (tare_slice){starts[i], stops[i]};
    }
    fault_loading.slices = slices;
}

static uint64_t loaded(void)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < tare_block_count(fault_block); i++)
        sum = fault_sum(sum, tare_block_data(fault_block, i), tare_block_size(fault_block, i));
    return sum;
}

static tare_status load_into(tare_error *error)
{
    size_t count = tare_count(fault_model), at = 0;
    memset(room, 0, sizeof room);
    for (size_t i = 0; i < count; i++) {
        targets[i] = room + at;
        at += (size_t)tare_size(fault_model, fault_list[i]);
    }
    return FAULT_CALL(tare_load_into, fault_model, fault_list, targets, count, &fault_loading,
                      error);
}

static uint64_t loaded_into(void)
{
    return fault_sum(0, room, sizeof room);
}

static void prepare_close(void)
{
    prepare_buffered();
    if (tare_load(fault_model, NULL, 0, &fault_loading, &fault_block, NULL) != TARE_OK) abort();
}

static tare_status close_block(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_block_close, fault_block);
    fault_block = NULL;
    return TARE_OK;
}

const fault_scenario fault_load_scenarios[] = {
    FAULT_LOADS("load", prepare_buffered, loaded, 0),
    FAULT_LOADS("load, threads", prepare_threads, loaded, 0),
    FAULT_LOADS("load, past the page cache", prepare_direct, loaded, 0),
    FAULT_LOADS("load, as it thinks best", prepare_auto, loaded, 0),
    FAULT_LOADS("load, without hooks", prepare_system_memory, loaded, FAULT_WITHOUT_HOOKS),
    FAULT_LOADS("load, of a reader", prepare_reader, loaded, 0),
    FAULT_LOADS("load, indexed", prepare_late, loaded, 0),
    FAULT_LOADS("load, with digests", prepare_digests, loaded, 0),
    {"load, with a wrong digest", prepare_wrong_digest, fault_load, NULL, fault_no_block,
     fault_finish, TARE_E_DIGEST, NULL, 0},
    FAULT_LOADS("load, slices", prepare_slices, loaded, 0),
    {"load_into", prepare_threads, load_into, loaded_into, NULL, fault_finish, 0, NULL, 0},
    {"load_into, past the page cache", prepare_direct, load_into, loaded_into, NULL, fault_finish,
     0, NULL, 0},
    FAULT_CLOSES("block_close", prepare_close, close_block),
    {0},
};
