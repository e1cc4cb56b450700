/* How chunks land in slots of pinned memory, and how large they are: what load_device.c and
 * load_way.c choose where the caller does not. */
#include <inttypes.h>
#include <string.h>

#include "device.h"
#include "load.h"
#include "support/expect_device.h"
#include "support/load_models.h"

TestSuite(load_landing, .init = fake_cuda_reset, .timeout = 120);

/* Each to a place of its own, between which are bytes that stay: one slot has room for them all,
 * and not for so many copies. */
Test(load_landing, more_copies_than_a_slot_takes_fill_the_next)
{
    enum { COUNT = 3000, ROOM = 16 };
    static void *targets[COUNT];
    build_text file = load_small_tensors(COUNT, 1);
    tare_model *model = expect_open_bytes("small", &file);
    tare_device *device = expect_device("cuda:0");
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    uint64_t memory = fake_cuda_take(0, COUNT * ROOM);
    for (size_t i = 0; i < COUNT; i++) targets[i] = (void *)(uintptr_t)(memory + i * ROOM);
    options.device = device;
    options.threads = 1;
    options.chunk_size = 1 << 20;
    const tare_tensor *list[COUNT];
    for (size_t i = 0; i < COUNT; i++) list[i] = tare_at(model, i);
    cr_assert_eq(tare_load_into(model, list, targets, COUNT, &options, NULL), TARE_OK);
    const uint8_t *there = fake_cuda_look(memory, COUNT * ROOM);
    for (size_t i = 0; i < COUNT; i++)
        cr_assert_arr_eq(there + i * ROOM, tare_data(model, list[i]), tare_size(model, list[i]));
    /* The first of several batches for one slot may be refused: nothing is copied after it. */
    for (size_t at = 1; at < 5; at++) {
        tare_error error = expect_poison();
        fake_cuda_reset();
        fake_cuda()->fail_call = FAKE_MemcpyBatchAsync;
        fake_cuda()->fail_at = at;
        tare_status status = tare_load_into(model, list, targets, COUNT, &options, &error);
        expect_status("a batch", TARE_E_DEVICE, status, NULL, &error);
        cr_expect_eq(fake_cuda()->calls[FAKE_MemcpyBatchAsync], at);
        cr_expect_eq(fake_cuda()->calls[FAKE_MemcpyHtoDAsync], 0);
    }
    fake_cuda_give(memory);
    tare_device_close(device);
    tare_close(model);
    build_free(&file);
    expect_device_clean("copies");
}

/* What one thread has in flight, by the pinned memory that it takes: two slots. */
static uint64_t pinned_for(const tare_model *model, tare_device *device, uint64_t flight_size_max)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block = NULL;
    options.device = device;
    options.threads = 1;
    options.flight_size_max = flight_size_max;
    fake_cuda_reset();
    cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    return fake_cuda()->pin_size / 2;
}

Test(load_landing, chunks_are_as_large_as_a_device_and_others_beside_it_allow)
{
    enum { MIB = 1 << 20, PAGE = 4096 };
    static const build_tensor one = {"a", 0, "U8", "[12582912]", 12 * MIB};
    build_text file = build_file(&one, 1, NULL);
    tare_model *model = expect_open_bytes("12 MiB", &file);
    tare_device *device = expect_device("cuda:0");
    cr_expect_eq(pinned_for(model, device, 0), 3 * MIB + PAGE, "a quarter of all");
    tare_device_close(device);
    device = expect_device("cuda:0");
    tare_device *other = expect_device("cuda:1");
    cr_expect_eq(pinned_for(model, device, 0), 2 * MIB + PAGE, "beside another device");
    tare_device_close(other);
    tare_device_close(device);
    tare_device_options small = TARE_DEVICE_OPTIONS_INIT;
    small.staging_size_max = 64 << 10;
    cr_assert_eq(tare_device_open("cuda:0", &small, &device, NULL), TARE_OK);
    cr_expect_leq(pinned_for(model, device, UINT64_C(1) << 40), 32 << 10, "no more than it has");
    tare_device_close(device);
    tare_close(model);
    build_free(&file);
    expect_device_clean("chunks");
}

/* What begins a load takes no more threads than pinned memory has lanes, and one in any case. */
Test(load_landing, threads_fit_in_pinned_memory_whoever_asks)
{
    static const struct {
        uint64_t chunk_size;
        uint32_t threads, fit;
    } rows[] = {{4096, 3, 3}, {4096, 4, 4}, {4096, 5, 4}, {4096, 64, 4}, {1 << 20, 5, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
        tare_device *device;
        tare_error error = expect_poison();
        tarei_memory memory;
        tarei_load_device begun = {0};
        uint32_t threads = rows[i].threads;
        options.staging_size_max = 65536;
        cr_assert_eq(tare_device_open("cuda:0", &options, &device, &error), TARE_OK);
        tarei_memory_init(&memory, NULL);
        cr_assert_eq(
            tarei_load_device_begin(&begun, device, &memory, rows[i].chunk_size, &threads, &error),
            TARE_OK, "%s", error.message);
        cr_expect_eq(threads, rows[i].fit, "row %zu: %" PRIu32, i, threads);
        tarei_load_device_free(&begun);
        tare_device_close(device);
        expect_device_clean("threads");
    }
}

/* Of two at once each has a lane, and the others are for whoever comes first. */
Test(load_landing, two_loads_share_the_bound_of_their_device)
{
    tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
    tare_device *device;
    tare_error error = expect_poison();
    tarei_memory memory;
    tarei_load_device loads[2] = {{0}, {0}};
    bool ready[8];
    uint32_t ready_count = 0;
    options.staging_size_max = 65536; /* four lanes */
    cr_assert_eq(tare_device_open("cuda:0", &options, &device, &error), TARE_OK);
    tarei_memory_init(&memory, NULL);
    for (size_t i = 0; i < 2; i++) {
        uint32_t threads = 4;
        cr_assert_eq(tarei_load_device_begin(&loads[i], device, &memory, 4096, &threads, &error),
                     TARE_OK, "%s", error.message);
        cr_assert_eq(threads, 4);
    }
    for (uint32_t i = 0; i < 8; i++) {
        cr_assert_eq(tarei_load_device_enter(&loads[i / 4], i % 4, &ready[i], &error), TARE_OK);
        ready_count += ready[i];
    }
    cr_expect(ready[0] && ready[4] && ready_count == 4, "%" PRIu32, ready_count);
    cr_expect_leq(fake_cuda()->pin_size_max, options.staging_size_max);
    for (uint32_t i = 8; i-- > 0;)
        if (ready[i]) cr_expect_eq(tarei_load_device_leave(&loads[i / 4], i % 4, &error), TARE_OK);
    for (size_t i = 0; i < 2; i++) tarei_load_device_free(&loads[i]);
    tare_device_close(device);
    expect_device_clean("two loads");
}

/* The lane that was taken is kept for the next load, and freed with the device. */
Test(load_landing, a_load_that_never_began_gives_back_its_lane_without_its_context_too)
{
    for (int refused = 0; refused < 2; refused++) {
        tare_device *device = expect_device("cuda:0");
        tare_error error = expect_poison();
        tarei_memory memory;
        tarei_load_device begun = {0};
        uint32_t threads = 2;
        tarei_memory_init(&memory, NULL);
        cr_assert_eq(tarei_load_device_begin(&begun, device, &memory, 4096, &threads, &error),
                     TARE_OK);
        uint64_t held = tare_device_describe(device).staging_size;
        fake_cuda_reset();
        fake_cuda()->fail_call = FAKE_CtxPushCurrent;
        fake_cuda()->fail_at = (size_t)refused;
        tarei_load_device_free(&begun);
        cr_expect_eq(fake_cuda()->failed, (size_t)refused);
        cr_expect_eq(fake_cuda()->mistakes, 0, "%s", fake_cuda()->mistake);
        cr_expect_gt(held, 0);
        cr_expect_eq(tare_device_describe(device).staging_size, held);
        fake_cuda_reset();
        tare_device_close(device);
        expect_device_clean("a lane");
    }
}
