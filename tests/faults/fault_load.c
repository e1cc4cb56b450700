/* Loading into memory of the host. */
#include <stdlib.h>
#include <string.h>

#include "fault_engine.h"
#include "fault_world.h"

enum { LIST_MAX = 16, TARGET_SIZE = 65536 };

static tare_model *model;
static tare_block *block;
static tare_load_options how;
static tare_digest digests[LIST_MAX];
static uint64_t starts[LIST_MAX][3], stops[LIST_MAX][3];
static tare_slice slices[LIST_MAX];
static const tare_tensor *list[LIST_MAX];
static void *targets[LIST_MAX];
static char room[TARGET_SIZE];

static void prepare_with(const char *name, uint32_t backing, uint32_t io, uint32_t threads)
{
    model = fault_open(name, backing, TARE_INDEX_AUTO);
    how = (tare_load_options)TARE_LOAD_OPTIONS_INIT;
    how.io = io;
    how.threads = threads;
    how.chunk_size = 4096;
    how.allocator = &fault_memory.hooks;
    for (size_t i = 0; i < tare_count(model); i++) list[i] = tare_at(model, i);
}

static void prepare_buffered(void)
{
    prepare_with("three", TARE_BACKING_MAP, TARE_IO_BUFFERED, 1);
}

static void prepare_threads(void)
{
    prepare_with("three", TARE_BACKING_READ, TARE_IO_BUFFERED, 3);
}

static void prepare_direct(void)
{
    prepare_with("one.safetensors", TARE_BACKING_READ, TARE_IO_DIRECT, 2);
}

static void prepare_auto(void)
{
    prepare_with("three", TARE_BACKING_READ, TARE_IO_AUTO, 0);
    how.flags = TARE_LOAD_DROP_BEHIND | TARE_LOAD_SMALL_PAGES;
}

static void prepare_system_memory(void)
{
    prepare_with("one.safetensors", TARE_BACKING_MAP, TARE_IO_DIRECT, 1);
    how.allocator = NULL;
    how.alignment = 262144; /* so that it is large enough for huge pages */
}

static void prepare_reader(void)
{
    prepare_with(NULL, TARE_BACKING_AUTO, TARE_IO_AUTO, 1);
}

static void prepare_late(void)
{
    prepare_with("indexed", TARE_BACKING_AUTO, TARE_IO_BUFFERED, 1);
}

static void prepare_digests(void)
{
    prepare_with("three", TARE_BACKING_READ, TARE_IO_BUFFERED, 2);
    if (tare_hash_many(model, NULL, 0, NULL, digests, NULL) != TARE_OK) abort();
    how.digests = digests;
}

static void prepare_wrong_digest(void)
{
    prepare_digests();
    digests[6].low ^= 1;
}

/* The middle half of the last dimension. */
static void prepare_slices(void)
{
    prepare_with("three", TARE_BACKING_READ, TARE_IO_DIRECT, 1);
    for (size_t i = 0; i < tare_count(model); i++) {
        tare_info info = tare_describe(model, list[i]);
        for (uint32_t d = 0; d < info.rank; d++) {
            bool last = d + 1 == info.rank;
            starts[i][d] = last ? info.shape[d] / 4 : 0;
            stops[i][d] = last ? info.shape[d] * 3 / 4 : info.shape[d];
        }
        slices[i] = (tare_slice){starts[i], stops[i]};
    }
    how.slices = slices;
}

static void finish(void)
{
    tare_block_close(block);
    block = NULL;
    tare_close(model);
}

static tare_status load(tare_error *error)
{
    block = (void *)&how;
    return FAULT_CALL(tare_load, model, NULL, 0, &how, &block, error);
}

static uint64_t loaded(void)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < tare_block_count(block); i++)
        sum = fault_sum(sum, tare_block_data(block, i), tare_block_size(block, i));
    return sum;
}

static bool is_empty(void)
{
    return block == NULL;
}

static tare_status load_into(tare_error *error)
{
    size_t count = tare_count(model), at = 0;
    memset(room, 0, sizeof room);
    for (size_t i = 0; i < count; i++) {
        targets[i] = room + at;
        at += (size_t)tare_size(model, list[i]);
    }
    return FAULT_CALL(tare_load_into, model, list, targets, count, &how, error);
}

static uint64_t loaded_into(void)
{
    return fault_sum(0, room, sizeof room);
}

static void finish_into(void)
{
    tare_close(model);
}

static void prepare_close(void)
{
    prepare_buffered();
    if (tare_load(model, NULL, 0, &how, &block, NULL) != TARE_OK) abort();
}

static tare_status close_block(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_block_close, block);
    block = NULL;
    return TARE_OK;
}

#define LOADS(name, prepare)                                      \
    {                                                             \
        name, prepare, load, loaded, is_empty, finish, 0, NULL, 0 \
    }

const fault_scenario fault_load_scenarios[] = {
    LOADS("load", prepare_buffered),
    LOADS("load, threads", prepare_threads),
    LOADS("load, past the page cache", prepare_direct),
    LOADS("load, as it thinks best", prepare_auto),
    {"load, without hooks", prepare_system_memory, load, loaded, is_empty, finish, 0, NULL,
     FAULT_WITHOUT_HOOKS},
    LOADS("load, of a reader", prepare_reader),
    LOADS("load, indexed", prepare_late),
    LOADS("load, with digests", prepare_digests),
    {"load, with a wrong digest", prepare_wrong_digest, load, NULL, is_empty, finish, TARE_E_DIGEST,
     NULL, 0},
    LOADS("load, slices", prepare_slices),
    {"load_into", prepare_threads, load_into, loaded_into, NULL, finish_into, 0, NULL, 0},
    {"load_into, past the page cache", prepare_direct, load_into, loaded_into, NULL, finish_into, 0,
     NULL, 0},
    {"block_close", prepare_close, close_block, NULL, NULL, finish_into, 0, NULL,
     FAULT_ONLY_ONCE | FAULT_NEVER_FAILS | FAULT_HAS_NO_ERROR},
    {0},
};
