/* Devices, with the driver of support/fake_cuda.h. */
#include <stdlib.h>

#include "fault_subject.h"
#include "support/fake_cuda.h"

static tare_device_options options;
static double rate;
static void *targets[FAULT_LIST_MAX];

static void prepare_opening(void)
{
    options = (tare_device_options)TARE_DEVICE_OPTIONS_INIT;
    options.allocator = &fault_memory.hooks;
}

static void prepare_opening_plainly(void)
{
    options = (tare_device_options)TARE_DEVICE_OPTIONS_INIT;
}

static bool no_device(void)
{
    return fault_device == NULL;
}

static uint64_t device_number(void)
{
    return tare_device_describe(fault_device).number + 1;
}

static tare_status open_first(tare_error *error)
{
    fault_device = (void *)&options;
    return FAULT_CALL(tare_device_open, "cuda", &options, &fault_device, error);
}

static tare_status open_second(tare_error *error)
{
    fault_device = (void *)&options;
    return FAULT_CALL(tare_device_open, "cuda:1", &options, &fault_device, error);
}

static void prepare_device(void)
{
    prepare_opening();
    if (tare_device_open("cuda:0", &options, &fault_device, NULL) != TARE_OK) abort();
}

static tare_status close_device(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_device_close, fault_device);
    fault_device = NULL;
    return TARE_OK;
}

static tare_status measure(tare_error *error)
{
    rate = 1;
    return FAULT_CALL(tare_device_measure, fault_device, 1, &rate, error);
}

static bool no_rate(void)
{
    return rate == 0;
}

/* ------------------------------------------------------------------------------------------------
 * Loading
 */

static void prepare_load(uint32_t io, uint32_t threads)
{
    prepare_device();
    fault_prepare_load("three", TARE_BACKING_READ, io, threads);
    fault_loading.device = fault_device;
    fault_loading.chunk_size = 16384;
}

static void prepare_one_lane(void)
{
    prepare_load(TARE_IO_AUTO, 1);
}

static void prepare_lanes(void)
{
    prepare_load(TARE_IO_AUTO, 3);
}

static void prepare_direct(void)
{
    prepare_load(TARE_IO_DIRECT, 1);
}

static void prepare_digests(void)
{
    prepare_load(TARE_IO_AUTO, 1);
    fault_prepare_digests();
}

static uint64_t loaded(void)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < tare_block_count(fault_block); i++) {
        size_t size = tare_block_size(fault_block, i);
        const void *bytes = fake_cuda_look((uintptr_t)tare_block_data(fault_block, i), size);
        sum = bytes != NULL ? fault_sum(sum, bytes, size) : 3;
    }
    return sum;
}

static void prepare_into(void)
{
    prepare_load(TARE_IO_AUTO, 2);
    for (size_t i = 0; i < tare_count(fault_model); i++) {
        size_t size = (size_t)tare_size(fault_model, fault_list[i]);
        targets[i] = size != 0 ? (void *)(uintptr_t)fake_cuda_take(0, size) : NULL;
    }
}

static tare_status load_into(tare_error *error)
{
    size_t count = tare_count(fault_model);
    return FAULT_CALL(tare_load_into, fault_model, fault_list, targets, count, &fault_loading,
                      error);
}

static uint64_t loaded_into(void)
{
    uint64_t sum = 1;
    for (size_t i = 0; i < tare_count(fault_model); i++) {
        size_t size = (size_t)tare_size(fault_model, fault_list[i]);
        if (size != 0) sum = fault_sum(sum, fake_cuda_look((uintptr_t)targets[i], size), size);
    }
    return sum;
}

static void finish_into(void)
{
    for (size_t i = 0; i < tare_count(fault_model); i++)
        if (targets[i] != NULL) fake_cuda_give((uintptr_t)targets[i]);
    fault_finish();
}

static void prepare_close(void)
{
    prepare_load(TARE_IO_AUTO, 2);
    if (tare_load(fault_model, NULL, 0, &fault_loading, &fault_block, NULL) != TARE_OK) abort();
}

static tare_status close_block(tare_error *error)
{
    (void)error;
    FAULT_CALL(tare_block_close, fault_block);
    fault_block = NULL;
    FAULT_CALL(tare_device_close, fault_device);
    fault_device = NULL;
    return TARE_OK;
}

const fault_scenario fault_device_scenarios[] = {
    {"device_open", prepare_opening, open_first, device_number, no_device, fault_finish, 0, NULL,
     0},
    {"device_open, the second", prepare_opening, open_second, device_number, no_device,
     fault_finish, 0, NULL, 0},
    {"device_open, without hooks", prepare_opening_plainly, open_first, device_number, no_device,
     fault_finish, 0, NULL, FAULT_WITHOUT_HOOKS},
    FAULT_CLOSES("device_close", prepare_device, close_device),
    {"device_measure", prepare_device, measure, NULL, no_rate, fault_finish, 0, NULL, 0},
    FAULT_LOADS("device, load", prepare_one_lane, loaded, 0),
    FAULT_LOADS("device, load, threads", prepare_lanes, loaded, 0),
    FAULT_LOADS("device, load, past the page cache", prepare_direct, loaded, 0),
    FAULT_LOADS("device, load, with digests", prepare_digests, loaded, 0),
    {"device, load_into", prepare_into, load_into, loaded_into, NULL, finish_into, 0, NULL, 0},
    FAULT_CLOSES("device, block_close", prepare_close, close_block),
    {0},
};
