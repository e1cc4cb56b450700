/* How chunks land in slots of pinned memory, and how large they are: what load_device.c and
 * load_way.c choose where the caller does not. */
#include <string.h>

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
