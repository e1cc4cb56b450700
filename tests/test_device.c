#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/fake_cuda.h"
#include "support/load_models.h"
#include "support/os_faults.h"

static load_models models;

static void begin(void)
{
    os_faults_reset();
    fake_cuda_reset();
    load_models_open(&models);
}

static void end(void)
{
    load_models_close(&models);
}

TestSuite(device, .init = begin, .fini = end, .timeout = 60);

static tare_device *open_device(const char *name, uint64_t staging_size_max)
{
    tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
    tare_device *device = NULL;
    tare_error error = expect_poison();
    options.staging_size_max = staging_size_max;
    cr_assert_eq(tare_device_open(name, &options, &device, &error), TARE_OK, "%s", error.message);
    return device;
}

static tare_block *load(tare_device *device, uint32_t threads, uint64_t chunk_size)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block = NULL;
    tare_error error = expect_poison();
    options.device = device;
    options.threads = threads;
    options.chunk_size = chunk_size;
    tare_status status = tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    return block;
}

Test(device, names_say_which)
{
    static const char *const good[] = {"cuda", "cuda:0", "cuda:1", "cuda:0001"};
    static const char *const bad[] = {"",        "cud",     "cuda:",   "cuda:x",  "cuda:1x",
                                      "cuda:-1", "cuda: 1", "cuda1",   "CUDA:0",  "cuda:12345",
                                      "hip:0",   "cpu",     "cuda:\n", "cuda:1:2"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        tare_device_close(open_device(good[i], 0));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tare_device *device = (void *)&models;
        tare_error error = expect_poison();
        tare_status status = tare_device_open(bad[i], NULL, &device, &error);
        expect_status(bad[i], TARE_E_ARGUMENT, status, NULL, &error);
        expect_message(bad[i], "no device is called", &error);
        cr_expect_null(device);
    }
    tare_error error = expect_poison();
    cr_expect_eq(tare_device_open("cuda:0", NULL, NULL, &error), TARE_E_ARGUMENT);
    tare_device *device = (void *)&models;
    cr_expect_eq(tare_device_open(NULL, NULL, &device, NULL), TARE_E_ARGUMENT);
    cr_expect_null(device);
    tare_device_close(NULL);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device, takes_options_of_any_size)
{
    unsigned char room[sizeof(tare_device_options) + 16];
    for (size_t size = 0; size <= sizeof room; size++) {
        tare_device *device = NULL;
        memset(room, 0, sizeof room);
        memcpy(room, &size, sizeof size);
        const tare_device_options *options = (const void *)room;
        tare_status wanted = size < sizeof size ? TARE_E_ARGUMENT : TARE_OK;
        cr_assert_eq(tare_device_open("cuda:0", options, &device, NULL), wanted, "%zu", size);
        tare_device_close(device);
        if (size <= sizeof(tare_device_options)) continue;
        room[size - 1] = 1;
        cr_assert_eq(tare_device_open("cuda:0", options, &device, NULL), TARE_E_ARGUMENT);
        cr_assert_null(device);
    }
    tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
    tare_allocator hooks = {.struct_size = sizeof hooks};
    tare_device *device;
    options.staging_size_max = 65535;
    cr_expect_eq(tare_device_open("cuda:0", &options, &device, NULL), TARE_E_ARGUMENT);
    options = (tare_device_options)TARE_DEVICE_OPTIONS_INIT;
    options.allocator = &hooks;
    cr_expect_eq(tare_device_open("cuda:0", &options, &device, NULL), TARE_E_ARGUMENT);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device, facts_are_told)
{
    tare_device *device = open_device("cuda:1", 0);
    tare_device_info info = tare_device_describe(device);
    cr_expect_eq(info.kind, TARE_DEVICE_CUDA);
    cr_expect_eq(info.number, 1);
    cr_expect_str_eq(info.label.data, "cuda:1");
    cr_expect_eq(info.label.size, 6);
    cr_expect_str_eq(info.name.data, "Fake 1");
    cr_expect_eq(info.name.size, 6);
    cr_expect_eq(info.staging_size, 0);
    tare_device_close(device);
}

/* Only so many are counted, of which loads say how many share the processor's cache. */
Test(device, of_more_than_64_devices_those_beyond_are_not_counted)
{
    static const char *const names[] = {"cuda:63", "cuda:64", "cuda:79", "cuda:0"};
    static const uint32_t counts[] = {1, 1, 1, 2};
    tare_device *devices[4];
    fake_cuda()->device_count = FAKE_DEVICE_MAX;
    for (size_t i = 0; i < 4; i++) {
        devices[i] = open_device(names[i], 0);
        cr_expect_eq(tarei_device_count(), counts[i], "%s", names[i]);
        tare_block_close(load(devices[i], 2, 4096));
    }
    for (size_t i = 4; i-- > 0;) {
        cr_expect_eq(tarei_device_count(), counts[i], "%s", names[i]);
        tare_device_close(devices[i]);
    }
    cr_expect_eq(tarei_device_count(), 0);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device, a_link_is_of_no_rate_where_the_clock_stands_still)
{
    tare_device *device = open_device("cuda:0", 0);
    tare_error error = expect_poison();
    double rate = 7;
    fake_cuda()->clock_stopped = 1;
    cr_expect_eq(tare_device_measure(device, 1, &rate, &error), TARE_OK, "%s", error.message);
    cr_expect(rate == 0, "%g", rate);
    tare_device_close(device);
}

Test(device, the_link_is_measured)
{
    tare_device *device = open_device("cuda:0", 0);
    for (uint64_t size = 0; size < 300; size += 100) {
        tare_error error = expect_poison();
        double rate = 0;
        size_t copies = fake_cuda()->copies, timed = fake_cuda()->timed_events;
        cr_assert_eq(tare_device_measure(device, size << 20, &rate, &error), TARE_OK);
        copies = fake_cuda()->copies - copies;
        cr_expect_eq(copies, 1 + (size != 0 ? size : 2048) / 64, "%zu of 64 MiB", copies);
        cr_expect_eq(fake_cuda()->timed_events, timed + 2);
        cr_expect_eq(error.status, TARE_OK);
        cr_expect(rate > FAKE_RATE * 0.999e9 && rate < FAKE_RATE * 1.001e9, "%g", rate);
    }
    tare_error poison = expect_poison();
    size_t copies = fake_cuda()->copies;
    double least;
    cr_expect_eq(tare_device_measure(device, 1, &least, NULL), TARE_OK);
    cr_expect_eq(fake_cuda()->copies, copies + 2, "the first is not measured");
    cr_expect_eq(tare_device_measure(device, 1, NULL, &poison), TARE_E_ARGUMENT);
    expect_message("no rate", "rate is NULL", &poison);
    cr_expect_eq(fake_cuda()->pins, 0);
    size_t streams = fake_cuda()->streams;
    for (size_t at = 1;; at++) {
        tare_error error = expect_poison();
        double rate = 1;
        fake_cuda_reset();
        fake_cuda()->fail_at = at;
        tare_status status = tare_device_measure(device, 1, &rate, &error);
        cr_assert_eq(fake_cuda()->streams + fake_cuda()->events + fake_cuda()->pins, streams);
        cr_assert_eq(fake_cuda()->mistakes, 0, "%s", fake_cuda()->mistake);
        if (fake_cuda()->failed == 0) break;
        cr_assert(status == TARE_E_DEVICE || rate > 0, "%zu", at); /* what frees is not asked */
        cr_assert_eq(error.status, status, "%zu", at);
    }
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device, pinned_memory_is_kept_for_the_next_load)
{
    tare_device *device = open_device("cuda:0", 0);
    tare_block_close(load(device, 1, 16384));
    uint64_t size = tare_device_describe(device).staging_size;
    size_t streams = fake_cuda()->streams, pinned = fake_cuda()->calls[FAKE_MemHostRegister];
    cr_expect_eq(size, fake_cuda()->pin_size);
    for (int i = 0; i < 3; i++) tare_block_close(load(device, 1, 8192 + 4096 * (uint64_t)(i % 2)));
    cr_expect_eq(fake_cuda()->calls[FAKE_MemHostRegister], pinned);
    cr_expect_eq(fake_cuda()->streams, streams);
    tare_block_close(load(device, 1, 65536)); /* slots that are too small are made anew */
    cr_expect_eq(fake_cuda()->calls[FAKE_MemHostRegister], pinned + 1);
    cr_expect_eq(fake_cuda()->streams, streams);
    cr_expect_eq(tare_device_describe(device).staging_size, fake_cuda()->pin_size);
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

/* And its events, which tell no time, since that takes longer. */
Test(device, a_lane_that_just_fits_is_taken_before_one_that_is_too_small)
{
    tare_device *device = open_device("cuda:0", 0);
    tarei_lane *small, *fitting, *taken;
    cr_assert_eq(tarei_device_enter(device, NULL), TARE_OK);
    cr_assert_eq(tarei_device_lane_take(device, 4096, false, &small, NULL), TARE_OK);
    cr_assert_eq(tarei_device_lane_take(device, 8192, false, &fitting, NULL), TARE_OK);
    tarei_device_lane_give(device, fitting);
    tarei_device_lane_give(device, small);
    cr_expect_eq(tarei_device_lane_take(device, 8192, false, &taken, NULL), TARE_OK);
    cr_expect_eq(taken, fitting);
    cr_expect_eq(fake_cuda()->timed_events, 0);
    tarei_device_lane_give(device, taken);
    tarei_device_leave(device);
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

/* Slots of several devices are half as large. */
Test(device, devices_are_counted)
{
    cr_expect_eq(tarei_device_count(), 0);
    tare_device *first = open_device("cuda:0", 0), *same = open_device("cuda:0", 0);
    cr_expect_eq(tarei_device_count(), 1);
    tare_device *second = open_device("cuda:1", 0);
    cr_expect_eq(tarei_device_count(), 2);
    tare_device_close(first);
    cr_expect_eq(tarei_device_count(), 2);
    tare_device_close(same);
    tare_device_close(second);
    cr_expect_eq(tarei_device_count(), 0);
}

Test(device, pinned_memory_is_bounded)
{
    static const uint64_t bounds[] = {65536, 100000, 1 << 20};
    for (size_t i = 0; i < 3; i++)
        for (uint32_t threads = 0; threads < 20; threads += 7)
            for (uint64_t chunk_size = 0; chunk_size <= 1 << 20; chunk_size += 1 << 18) {
                fake_cuda_reset();
                tare_device *device = open_device("cuda:0", bounds[i]);
                tare_block_close(load(device, threads, chunk_size));
                cr_expect_leq(fake_cuda()->pin_size_max, bounds[i], "%zu %u %zu", i, threads,
                              (size_t)chunk_size);
                cr_expect_leq(fake_cuda()->pin_size, bounds[i]);
                tare_device_close(device);
                cr_assert(fake_cuda_clean(), "%s", fake_cuda()->mistake);
            }
}

typedef struct inner_load {
    tare_device *device;
    uint64_t chunk_size;
    size_t count;
} inner_load;

/* A load to the same device while another one is under way. */
static int load_within(void *context, uint64_t done, uint64_t total)
{
    inner_load *inner = context;
    (void)done, (void)total;
    tare_block_close(load(inner->device, 4, inner->chunk_size));
    inner->count++;
    return 0;
}

Test(device, a_load_within_another_has_one_thread_at_least)
{
    for (uint64_t chunk_size = 4096; chunk_size <= 24576; chunk_size += 20480) {
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        inner_load inner = {open_device("cuda:0", 65536), chunk_size, 0};
        tare_block *block = NULL;
        tare_error error = expect_poison();
        options.device = inner.device;
        options.threads = 1;
        options.chunk_size = 24576;
        options.progress = load_within;
        options.progress_context = &inner;
        tare_status status = tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, &error);
        cr_assert_eq(status, TARE_OK, "%s", error.message);
        cr_expect_gt(inner.count, 2);
        tare_block_close(block);
        cr_expect_leq(fake_cuda()->pin_size, 65536, "more is kept than may be");
        tare_device_close(inner.device);
        cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
    }
}

/* What loads with small chunks have left makes room for large ones, all of it if need be. */
Test(device, pinned_memory_is_bounded_from_one_load_to_the_next)
{
    enum { BOUND = 1 << 20 };
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    inner_load inner = {open_device("cuda:0", BOUND), 4096, 0};
    tare_block *block = NULL;
    options.device = inner.device;
    options.threads = 1;
    options.chunk_size = 4096;
    options.progress = load_within;
    options.progress_context = &inner;
    cr_assert_eq(tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    cr_assert_gt(fake_cuda()->pins, 1);
    tare_block_close(load(inner.device, 1, BOUND));
    cr_expect_eq(fake_cuda()->pins, 1);
    cr_expect_leq(fake_cuda()->pin_size_max, BOUND, "%zu", (size_t)fake_cuda()->pin_size_max);
    cr_expect_eq(tare_device_describe(inner.device).staging_size, fake_cuda()->pin_size);
    tare_device_close(inner.device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device, blocks_may_be_closed_after_their_device)
{
    tare_device *device = open_device("cuda:1", 0);
    tare_block *block = load(device, 2, 0), *other = load(device, 1, 0);
    tare_device_close(device);
    cr_expect_eq(fake_cuda()->pins + fake_cuda()->streams + fake_cuda()->events, 0);
    cr_expect_eq(fake_cuda()->retained, 1);
    cr_expect_eq(tare_device_describe(tare_block_device(block)).number, 1);
    tare_block_close(block);
    tare_block_close(other);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device, memory_of_the_host_comes_from_the_hooks)
{
    for (size_t at = 1;; at++) {
        alloc_probe probe;
        tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
        tare_device *device = NULL;
        tare_error error = expect_poison();
        alloc_probe_init(&probe);
        probe.fail_at = at;
        options.allocator = &probe.hooks;
        tare_status status = tare_device_open("cuda:0", &options, &device, &error);
        if (status == TARE_OK) {
            tare_load_options how = TARE_LOAD_OPTIONS_INIT;
            tare_block *block = NULL;
            how.device = device;
            how.threads = 2;
            how.chunk_size = 16384;
            status = tare_load(models.way[LOAD_MAPPED], NULL, 0, &how, &block, &error);
            tare_block_close(block);
        }
        tare_device_close(device);
        cr_assert(fake_cuda_clean(), "%s", fake_cuda()->mistake);
        cr_assert_eq(probe.block_count + probe.mistakes, 0, "%zu", at);
        if (probe.refused == 0) break;
        cr_assert(status == TARE_E_MEMORY || at > 3, "%zu", at); /* a second lane may be missed */
    }
}

/* ------------------------------------------------------------------------------------------------
 * Lanes
 */

static tare_device *held;
static size_t naps;

/* Whoever holds it lets go while others sleep for the third time. */
static void let_go(void)
{
    if (++naps == 3) atomic_flag_clear(&held->lock);
}

Test(device, who_finds_the_lanes_held_sleeps_until_they_are_not)
{
    tare_device *device = held = open_device("cuda:0", 0);
    os_fault.nap = let_go;
    for (int round = 0; round < 2; round++) { /* a lane that is made, and one that is kept */
        naps = 0;
        cr_assert_eq(atomic_flag_test_and_set(&device->lock), 0);
        tare_block_close(load(device, 1, 65536));
        cr_expect_eq(naps, 3);
        cr_assert_eq(atomic_flag_test_and_set(&device->lock), 0, "it is let go");
        atomic_flag_clear(&device->lock);
    }
    os_fault.nap = NULL;
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

/* Two lanes are as much as there may be; a third is had only where there must be one. */
Test(device, pinned_memory_has_a_bound_that_one_lane_alone_may_pass)
{
    enum { SLOT = 65536, LANE = TAREI_DEVICE_SLOTS * SLOT };
    tare_device *device = open_device("cuda:0", 2 * LANE);
    tarei_lane *lanes[4] = {NULL};
    tare_error error = expect_poison();
    cr_assert_eq(tarei_device_enter(device, &error), TARE_OK);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(tarei_device_lane_take(device, SLOT, false, &lanes[i], &error), TARE_OK);
        cr_assert_not_null(lanes[i]);
    }
    cr_expect_eq(tarei_device_lane_take(device, SLOT, false, &lanes[2], &error), TARE_OK);
    cr_expect_null(lanes[2]);
    uint64_t most = UINT64_MAX / TAREI_DEVICE_SLOTS; /* beyond what can be counted */
    cr_expect_eq(tarei_device_lane_take(device, most, false, &lanes[2], &error), TARE_OK);
    cr_expect_null(lanes[2]);
    cr_expect_eq(tare_device_describe(device).staging_size, 2 * LANE);
    cr_expect_eq(tarei_device_lane_take(device, SLOT, true, &lanes[3], &error), TARE_OK);
    cr_assert_not_null(lanes[3]);
    cr_expect_eq(tare_device_describe(device).staging_size, 3 * LANE);
    tarei_device_lane_give(device, lanes[3]);
    cr_expect_eq(tare_device_describe(device).staging_size, 2 * LANE, "it is not kept");
    for (size_t i = 0; i < 2; i++) tarei_device_lane_give(device, lanes[i]);
    cr_expect_eq(tare_device_describe(device).staging_size, 2 * LANE, "they are");
    tarei_device_leave(device);
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device, blocks_of_more_bytes_than_can_be_counted_are_refused)
{
    tare_device *device = open_device("cuda:0", 0);
    uint64_t taken;
    uint8_t *bytes;
    for (uint64_t less = 1; less <= 4096; less *= 2) {
        tare_error error = expect_poison();
        tare_status status =
            tarei_load_device_take(device, UINT64_MAX - less, 8192, &taken, &bytes, &error);
        expect_status("2^64 bytes", TARE_E_MEMORY, status, NULL, &error);
    }
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}
