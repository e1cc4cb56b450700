/* Devices, with the driver of support/fake_cuda.h. */
#include <stdlib.h>
#include <string.h>

#include "fault_engine.h"
#include "fault_world.h"
#include "support/fake_cuda.h"

enum { LIST_MAX = 16 };

static tare_model *model;
static tare_device *device;
static tare_block *block;
static tare_device_options options;
static tare_load_options how;
static tare_digest digests[LIST_MAX];
static double rate;
static const tare_tensor *list[LIST_MAX];
static void *targets[LIST_MAX];

static void prepare_opening(void)
{
    options = (tare_device_options)TARE_DEVICE_OPTIONS_INIT;
    options.allocator = &fault_memory.hooks;
}

static void prepare_opening_plainly(void)
{
    options = (tare_device_options)TARE_DEVICE_OPTIONS_INIT;
}

static void finish_device(void)
{
    tare_device_close(device);
    device = NULL;
}

static bool no_device(void)
{
    return device == NULL;
}

static uint64_t device_number(void)
{
    return tare_device_describe(device).number + 1;
}

static tare_status open_first(tare_error *error)
{
    device = (void *)&options;
    return FAULT_CALL(tare_device_open, "cuda", &options, &device, error);
}

static tare_status open_second(tare_error *error)
{
    device = (void *)&options;
    return FAULT_CALL(tare_device_open, "cuda:1", &options, &device, error);
}

static void prepare_device(void)
{
    prepare_opening();
    if (tare_device_open("cuda:0", &options, &device, NULL) != TARE_OK) abort();
}

static tare_status close_device(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_device_close, device);
    device = NULL;
    return TARE_OK;
}

static tare_status measure(tare_error *error)
{
    rate = 1;
    return FAULT_CALL(tare_device_measure, device, 1, &rate, error);
}

static bool no_rate(void)
{
    return rate == 0;
}

/* ------------------------------------------------------------------------------------------------
 * Loading
 */

static void prepare_load(uint32_t threads)
{
    prepare_device();
    model = fault_open("three", TARE_BACKING_READ, TARE_INDEX_NEVER);
    how = (tare_load_options)TARE_LOAD_OPTIONS_INIT;
    how.device = device;
    how.threads = threads;
    how.chunk_size = 16384;
    how.allocator = &fault_memory.hooks;
}

static void prepare_one_lane(void)
{
    prepare_load(1);
}

static void prepare_lanes(void)
{
    prepare_load(3);
}

static void prepare_direct(void)
{
    prepare_load(1);
    how.io = TARE_IO_DIRECT;
}

static void prepare_digests(void)
{
    prepare_load(1);
    if (tare_hash_many(model, NULL, 0, NULL, digests, NULL) != TARE_OK) abort();
    how.digests = digests;
}

static void finish_load(void)
{
    tare_block_close(block);
    block = NULL;
    tare_close(model);
    finish_device();
}

static tare_status load(tare_error *error)
{
    block = (void *)&how;
    return FAULT_CALL(tare_load, model, NULL, 0, &how, &block, error);
}

static bool no_block(void)
{
    return block == NULL;
}

static uint64_t loaded(void)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < tare_block_count(block); i++) {
        size_t size = tare_block_size(block, i);
        const void *bytes = fake_cuda_look((uintptr_t)tare_block_data(block, i), size);
        sum = bytes != NULL ? fault_sum(sum, bytes, size) : 3;
    }
    return sum;
}

static void prepare_into(void)
{
    prepare_load(2);
    for (size_t i = 0; i < tare_count(model); i++) {
        list[i] = tare_at(model, i);
        size_t size = (size_t)tare_size(model, list[i]);
        targets[i] = size != 0 ? (void *)(uintptr_t)fake_cuda_take(0, size) : NULL;
    }
}

static tare_status load_into(tare_error *error)
{
    size_t count = tare_count(model);
    return FAULT_CALL(tare_load_into, model, list, targets, count, &how, error);
}

static uint64_t loaded_into(void)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < tare_count(model); i++) {
        size_t size = (size_t)tare_size(model, list[i]);
        if (size != 0) sum = fault_sum(sum, fake_cuda_look((uintptr_t)targets[i], size), size);
    }
    return sum;
}

static void finish_into(void)
{
    for (size_t i = 0; i < tare_count(model); i++)
        if (targets[i] != NULL) fake_cuda_give((uintptr_t)targets[i]);
    finish_load();
}

static void prepare_close(void)
{
    prepare_load(2);
    if (tare_load(model, NULL, 0, &how, &block, NULL) != TARE_OK) abort();
}

static tare_status close_block(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_block_close, block);
    block = NULL;
    FAULT_CALL(tare_device_close, device);
    device = NULL;
    return TARE_OK;
}

#define LOADS(name, prepare)                                           \
    {                                                                  \
        name, prepare, load, loaded, no_block, finish_load, 0, NULL, 0 \
    }

const fault_scenario fault_device_scenarios[] = {
    {"device_open", prepare_opening, open_first, device_number, no_device, finish_device, 0, NULL,
     0},
    {"device_open, the second", prepare_opening, open_second, device_number, no_device,
     finish_device, 0, NULL, 0},
    {"device_open, without hooks", prepare_opening_plainly, open_first, device_number, no_device,
     finish_device, 0, NULL, FAULT_WITHOUT_HOOKS},
    {"device_close", prepare_device, close_device, NULL, NULL, NULL, 0, NULL,
     FAULT_ONLY_ONCE | FAULT_NEVER_FAILS | FAULT_HAS_NO_ERROR},
    {"device_measure", prepare_device, measure, NULL, no_rate, finish_device, 0, NULL, 0},
    LOADS("device, load", prepare_one_lane),
    LOADS("device, load, threads", prepare_lanes),
    LOADS("device, load, past the page cache", prepare_direct),
    LOADS("device, load, with digests", prepare_digests),
    {"device, load_into", prepare_into, load_into, loaded_into, NULL, finish_into, 0, NULL, 0},
    {"device, block_close", prepare_close, close_block, NULL, NULL, finish_load, 0, NULL,
     FAULT_ONLY_ONCE | FAULT_NEVER_FAILS | FAULT_HAS_NO_ERROR},
    {0},
};
