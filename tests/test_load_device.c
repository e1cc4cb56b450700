#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect_device.h"
#include "support/load_models.h"
#include "support/name_sets.h"
#include "support/os_faults.h"
#include "support/process_probe.h"

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

TestSuite(load_device, .init = begin, .fini = end, .timeout = 120);

/* A list in an order that looks random, with the first entry once more at its end. */
static size_t shuffled(const tare_model *model, const tare_tensor **list)
{
    size_t count = tare_count(model);
    uint32_t *places = name_shuffle(count);
    for (size_t i = 0; i < count; i++) list[i] = tare_at(model, places[i]);
    free(places);
    list[count] = list[0];
    return count + 1;
}

static void check_tensor(const char *what, const tare_model *model, const tare_tensor *tensor,
                         const void *target)
{
    size_t size = (size_t)tare_size(model, tensor);
    const void *bytes = fake_cuda_look((uintptr_t)target, size);
    cr_assert_not_null(bytes, "%s: %s", what, tare_name(model, tensor).data);
    cr_assert(load_right(model, tensor, bytes), "%s: %s", what, tare_name(model, tensor).data);
}

static void check_block(const char *what, const tare_model *model, const tare_tensor *const *list,
                        size_t count, const tare_block *block, size_t alignment)
{
    size_t size;
    uintptr_t memory = (uintptr_t)tare_block_memory(block, &size);
    cr_assert_eq(tare_block_count(block), count, "%s", what);
    for (size_t i = 0; i < count; i++) {
        uintptr_t data = (uintptr_t)tare_block_data(block, i);
        cr_assert_eq(tare_block_size(block, i), tare_size(model, list[i]), "%s: %zu", what, i);
        cr_assert_eq(data % alignment, 0, "%s: %zu", what, i);
        cr_assert(data >= memory && data + tare_block_size(block, i) <= memory + size);
        check_tensor(what, model, list[i], tare_block_data(block, i));
    }
}

static void load_and_check(const char *what, const tare_model *model,
                           const tare_tensor *const *list, size_t count,
                           const tare_load_options *options)
{
    tare_block *block = NULL;
    tare_error error = expect_poison();
    tare_status status = tare_load(model, list, count, options, &block, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    cr_assert_eq(error.status, TARE_OK);
    cr_assert_eq(tare_block_device(block), options->device);
    check_block(what, model, list, count, block, options->alignment ? options->alignment : 256);
    tare_block_close(block);
}

/* Into pieces of memory of just the right size, where a byte too far is a copy to nowhere. */
static void load_into_and_check(const char *what, const tare_model *model,
                                const tare_tensor *const *list, size_t count,
                                const tare_load_options *options)
{
    void *targets[LOAD_TENSOR_COUNT + 1];
    tare_error error = expect_poison();
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)tare_size(model, list[i]);
        targets[i] = size != 0 ? (void *)(uintptr_t)fake_cuda_take(0, size) : NULL;
    }
    tare_status status = tare_load_into(model, list, targets, count, options, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    for (size_t i = 0; i < count; i++) {
        if (targets[i] == NULL) continue;
        check_tensor(what, model, list[i], targets[i]);
        fake_cuda_give((uintptr_t)targets[i]);
    }
}

Test(load_device, every_way_and_every_option_gives_the_same_bytes)
{
    static const uint64_t chunk_sizes[] = {0, 4096, 5000, 65536, UINT64_C(1) << 30};
    static const uint32_t threads[] = {0, 1, 2, 7};
    static const uint64_t flights[] = {0, 4096, 100000};
    tare_device *device = expect_device("cuda:0");
    for (int way = 0; way < LOAD_WAY_COUNT; way++) {
        const tare_tensor *list[LOAD_TENSOR_COUNT + 1];
        size_t count = shuffled(models.way[way], list);
        for (unsigned i = 0; i < 5 * 4 * 3 * 3 * 4; i += 11) { /* every pair of values is met */
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            options.chunk_size = chunk_sizes[i % 5];
            options.threads = threads[i / 5 % 4];
            options.io = i / 20 % 3;
            options.flight_size_max = flights[i / 60 % 3];
            options.flags = i / 180;
            if (options.chunk_size == UINT64_C(1) << 30 && options.flight_size_max == 0)
                options.flight_size_max = 1 << 20; /* pinned memory is twice that */
            options.alignment = i % 3 == 0 ? 0 : (size_t)1 << i % 13;
            options.device = device;
            char what[96];
            snprintf(what, sizeof what, "%s io %u chunk %zu threads %u flags %u flight %zu",
                     load_way_name(way), options.io, (size_t)options.chunk_size, options.threads,
                     options.flags, (size_t)options.flight_size_max);
            load_and_check(what, models.way[way], list, count, &options);
            load_into_and_check(what, models.way[way], list, count, &options);
        }
    }
    tare_device_close(device);
    expect_device_clean("options");
}

Test(load_device, nothing_is_a_block_too)
{
    tare_device *device = expect_device("cuda:0");
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    const tare_tensor *empty = tare_find(models.way[LOAD_READ], "t0", 2);
    size_t size = 1;
    options.device = device;
    for (size_t count = 0; count < 2; count++) {
        tare_block *block = NULL;
        cr_assert_eq(tare_load(models.way[LOAD_READ], &empty, count, &options, &block, NULL),
                     TARE_OK);
        cr_expect_not_null(tare_block_memory(block, &size));
        cr_expect_eq(size, 0);
        if (count == 1) cr_expect_not_null(tare_block_data(block, 0));
        tare_block_close(block);
        void *target = NULL;
        cr_assert_eq(tare_load_into(models.way[LOAD_READ], &empty, &target, count, &options, NULL),
                     TARE_OK);
    }
    tare_device_close(device);
    expect_device_clean("nothing");
}

/* Tensors of a block come with one copy a slot, those of the caller's with one each. */
Test(load_device, copies_are_few)
{
    tare_device *device = expect_device("cuda:0");
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block = NULL;
    size_t size;
    options.device = device;
    options.threads = 1;
    options.chunk_size = 1 << 20;
    cr_assert_eq(tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_memory(block, &size);
    cr_expect_leq(fake_cuda()->copies, size / (1 << 20) + 2, "%zu", fake_cuda()->copies);
    for (size_t i = 0; i < tare_count(models.way[LOAD_READ]); i++)
        cr_expect_eq((uintptr_t)tare_block_data(block, i) % 256, 0, "%zu", i);
    tare_block_close(block);
    options.alignment = 2 << 20; /* too far apart to be copied along */
    cr_assert_eq(tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    tare_device_close(device);
    expect_device_clean("copies");
}

/* What lies between two tensors of a block is copied along up to a page. */
Test(load_device, a_page_of_padding_is_copied_along)
{
    static const build_tensor tensors[] = {
        {"a", 0, "U8", "[4096]", 4096}, {"b", 0, "U8", "[4096]", 4096}, {"c", 0, "U8", "[9]", 9}};
    temp_path path = temp_write_built(&models.folder, "pages", build_file(tensors, 3, NULL));
    tare_model *model = expect_open_path("pages", path.text, TARE_BACKING_READ);
    tare_device *device = expect_device("cuda:0");
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.device = device;
    for (unsigned i = 0; i < 2; i++) {
        tare_block *block = NULL;
        fake_cuda()->copies = 0;
        options.alignment = (size_t)8192 << i;
        cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
        cr_expect_eq(fake_cuda()->copies, i == 0 ? 1 : 3, "%u: %zu", i, fake_cuda()->copies);
        tare_block_close(block);
    }
    tare_close(model);
    tare_device_close(device);
    expect_device_clean("pages");
}

/* Where the driver has no batches, or says so when it is asked, copies are made one by one. */
Test(load_device, goes_without_batches)
{
    tare_device *device = expect_device("cuda:0");
    const tare_model *model = models.way[LOAD_READ];
    const tare_tensor *list[LOAD_TENSOR_COUNT + 1];
    size_t count = shuffled(model, list);
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.device = device;
    for (int refused = 0; refused < 2; refused++) {
        fake_cuda_reset();
        fake_cuda()->fail_call = FAKE_MemcpyBatchAsync;
        fake_cuda()->fail_at = (size_t)refused;
        fake_cuda()->fail_count = 0;
        fake_cuda()->fail_result = FAKE_E_NOT_SUPPORTED;
        load_into_and_check("batches", model, list, count, &options);
        cr_expect_gt(fake_cuda()->calls[FAKE_MemcpyBatchAsync], 0);
        if (refused) cr_expect_gt(fake_cuda()->calls[FAKE_MemcpyHtoDAsync], 40);
    }
    tare_device_close(device);
    expect_device_clean("batches");
}

Test(load_device, two_copies_are_a_batch_and_one_is_none)
{
    tare_device *device = expect_device("cuda:0");
    const tare_model *model = models.way[LOAD_READ];
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    const tare_tensor *list[3];
    size_t found = 0;
    for (size_t i = 0; found < 3; i++)
        if (tare_size(model, tare_at(model, i)) != 0) list[found++] = tare_at(model, i);
    options.device = device;
    options.threads = 1;
    for (size_t count = 1; count <= 3; count++) {
        fake_cuda()->calls[FAKE_MemcpyBatchAsync] = fake_cuda()->calls[FAKE_MemcpyHtoDAsync] = 0;
        load_into_and_check("a batch", model, list, count, &options);
        cr_expect_eq(fake_cuda()->calls[FAKE_MemcpyBatchAsync], count != 1, "%zu", count);
        cr_expect_eq(fake_cuda()->calls[FAKE_MemcpyHtoDAsync], count == 1, "%zu", count);
    }
    tare_device_close(device);
    expect_device_clean("a batch");
}

Test(load_device, many_small_tensors_fill_many_slots)
{
    enum { COUNT = 6000 };
    build_text file = load_small_tensors(COUNT, 0);
    tare_model *model = expect_open_bytes("small", &file);
    tare_device *device = expect_device("cuda:0");
    static const uint64_t chunk_sizes[] = {0, 4096, 1 << 20};
    for (size_t i = 0; i < 3; i++)
        for (size_t alignment = 1; alignment <= 8192; alignment *= 16) {
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_block *block = NULL;
            options.device = device;
            options.chunk_size = chunk_sizes[i];
            options.alignment = alignment;
            cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
            for (size_t t = 0; t < COUNT; t++) {
                size_t size = tare_block_size(block, t);
                const void *bytes = fake_cuda_look((uintptr_t)tare_block_data(block, t), size);
                cr_assert(size == 0 ||
                          memcmp(bytes, tare_data(model, tare_at(model, t)), size) == 0);
            }
            tare_block_close(block);
        }
    tare_device_close(device);
    tare_close(model);
    build_free(&file);
    expect_device_clean("small");
}

/* ------------------------------------------------------------------------------------------------
 * Digests
 */

Test(load_device, digests_are_checked)
{
    static tare_digest digests[LOAD_TENSOR_COUNT];
    tare_device *device = expect_device("cuda:0");
    const tare_model *model = models.way[LOAD_READ];
    cr_assert_eq(tare_hash_many(model, NULL, 0, NULL, digests, NULL), TARE_OK);
    for (uint32_t threads = 1; threads < 6; threads += 2)
        for (uint64_t chunk_size = 4096; chunk_size <= 1 << 20; chunk_size *= 4) {
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_block *block = NULL;
            options.device = device;
            options.threads = threads;
            options.chunk_size = chunk_size;
            options.digests = digests;
            cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
            for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
                if (tare_block_size(block, i) != 0)
                    check_tensor("digests", model, tare_at(model, i), tare_block_data(block, i));
            tare_block_close(block);
            for (size_t i = 0; i < LOAD_TENSOR_COUNT; i += 7) {
                tare_error error = expect_poison();
                digests[i].low ^= 1;
                tare_status status = tare_load(model, NULL, 0, &options, &block, &error);
                digests[i].low ^= 1;
                expect_status("a digest", TARE_E_DIGEST, status, NULL, &error);
                expect_message("a digest", tare_name(model, tare_at(model, i)).data, &error);
                cr_assert_null(block);
                cr_assert_eq(fake_cuda()->blocks, 0);
            }
        }
    tare_device_close(device);
    expect_device_clean("digests");
}

/* ------------------------------------------------------------------------------------------------
 * What stops a load
 */

typedef struct progress {
    uint64_t last;
    size_t calls;
    size_t stop_at;
    size_t mistakes;
} progress;

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    progress *seen = context;
    seen->mistakes += done < seen->last || done > total || (seen->calls == 0 && done != 0);
    seen->last = done;
    return ++seen->calls == seen->stop_at;
}

Test(load_device, can_be_stopped_at_every_chunk_and_leaves_nothing)
{
    tare_device *device = expect_device("cuda:0");
    size_t descriptors = probe_descriptor_count();
    for (uint32_t threads = 1; threads <= 4; threads += 3)
        for (size_t stop_at = 1;; stop_at++) {
            alloc_probe probe;
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_block *block = (void *)&models;
            tare_error error = expect_poison();
            progress seen = {.stop_at = stop_at};
            alloc_probe_init(&probe);
            options.device = device;
            options.threads = threads;
            options.chunk_size = 16384;
            options.allocator = &probe.hooks;
            options.progress = on_progress;
            options.progress_context = &seen;
            tare_status status =
                tare_load(models.way[LOAD_SHARDS], NULL, 0, &options, &block, &error);
            tare_block_close(status == TARE_OK ? block : NULL);
            cr_assert_eq(probe.block_count + probe.mistakes + seen.mistakes, 0);
            cr_assert_eq(probe_descriptor_count(), descriptors);
            cr_assert_eq(fake_cuda()->blocks + fake_cuda()->mistakes, 0);
            cr_assert_eq(fake_cuda()->pushed, 0);
            if (seen.calls < stop_at) {
                cr_assert_eq(status, TARE_OK);
                break;
            }
            expect_status("stopped", TARE_E_CANCELLED, status, NULL, &error);
            cr_assert_null(block);
        }
    tare_device_close(device);
    expect_device_clean("stopped");
}

/* Loads with a fault to come; afterwards nothing is left, and the next load is a good one. */
static tare_status load_with_faults(tare_device *device, uint32_t threads, bool into,
                                    tare_error *error)
{
    static const tare_tensor *list[LOAD_TENSOR_COUNT + 1];
    alloc_probe probe;
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block = NULL;
    tare_status status;
    const tare_model *model = models.way[LOAD_SHARDS];
    alloc_probe_init(&probe);
    *error = expect_poison();
    options.device = device;
    options.threads = threads;
    options.chunk_size = 65536;
    options.allocator = &probe.hooks;
    if (into) {
        void *targets[LOAD_TENSOR_COUNT + 1];
        size_t count = shuffled(model, list);
        for (size_t i = 0; i < count; i++)
            targets[i] =
                (void *)(uintptr_t)fake_cuda_take(0, (size_t)tare_size(model, list[i]) + 1);
        status = tare_load_into(model, list, targets, count, &options, error);
        for (size_t i = 0; i < count; i++) fake_cuda_give((uintptr_t)targets[i]);
    } else {
        status = tare_load(model, NULL, 0, &options, &block, error);
        cr_assert_eq(block != NULL, status == TARE_OK);
        tare_block_close(block);
    }
    cr_assert_eq(error->status, status);
    cr_assert_eq(probe.block_count + probe.mistakes, 0);
    cr_assert_eq(fake_cuda()->blocks + fake_cuda()->mistakes, 0, "%s", fake_cuda()->mistake);
    cr_assert_eq(fake_cuda()->pushed, 0);
    return status;
}

static void fail_every_call(uint32_t threads, bool into, size_t fail_count)
{
    for (size_t at = 1;; at++) {
        tare_error error;
        fake_cuda_reset();
        tare_device *device = expect_device("cuda:1");
        fake_cuda_reset();
        fake_cuda()->fail_at = at;
        fake_cuda()->fail_count = fail_count;
        tare_status status = load_with_faults(device, threads, into, &error);
        size_t failed = fake_cuda()->failed;
        if (status != TARE_OK) {
            cr_assert_eq(status, TARE_E_DEVICE, "%zu: %s", at, error.message);
            cr_assert_not_null(strstr(error.message, "cuda:1: cu"), "%s", error.message);
        }
        fake_cuda()->fail_at = 0;
        cr_assert_eq(load_with_faults(device, threads, into, &error), TARE_OK, "%zu", at);
        tare_device_close(device);
        expect_device_clean("every call");
        if (failed == 0) {
            cr_assert_eq(status, TARE_OK);
            break;
        }
    }
}

Test(load_device, every_call_of_the_driver_may_fail_once)
{
    for (uint32_t threads = 1; threads <= 3; threads += 2)
        for (int into = 0; into < 2; into++) fail_every_call(threads, into, 1);
}

/* What frees then fails too, but does it. */
Test(load_device, every_call_of_the_driver_may_fail_from_then_on)
{
    for (uint32_t threads = 1; threads <= 3; threads += 2) fail_every_call(threads, false, 0);
}

Test(load_device, every_kind_of_call_fails_a_load_that_needs_it)
{
    static const int needed[] = {FAKE_CtxPushCurrent,   FAKE_MemAlloc,         FAKE_MemHostRegister,
                                 FAKE_EventCreate,      FAKE_MemcpyHtoDAsync,  FAKE_EventRecord,
                                 FAKE_EventSynchronize, FAKE_StreamSynchronize};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        tare_error error;
        tare_device *device = expect_device("cuda:0");
        fake_cuda_reset();
        fake_cuda()->fail_call = needed[i];
        fake_cuda()->fail_at = 1;
        fake_cuda()->fail_count = 0;
        fake_cuda()->fail_result = FAKE_E_MEMORY;
        cr_expect_eq(load_with_faults(device, 2, false, &error), TARE_E_MEMORY, "%zu", i);
        fake_cuda_reset();
        tare_device_close(device);
        expect_device_clean("every kind");
    }
}

/* Without its context nothing of a device can be given back; all else goes on as it must. */
Test(load_device, a_context_may_be_refused)
{
    for (size_t at = 1;; at++) {
        alloc_probe probe;
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block = NULL;
        tare_error error = expect_poison();
        tare_device *device = expect_device("cuda:0");
        alloc_probe_init(&probe);
        fake_cuda_reset();
        fake_cuda()->fail_call = FAKE_CtxPushCurrent;
        fake_cuda()->fail_at = at;
        options.device = device;
        options.threads = 3;
        options.chunk_size = 16384;
        options.allocator = &probe.hooks;
        tare_status status = tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, &error);
        cr_assert(status == TARE_OK || status == TARE_E_DEVICE);
        cr_assert_eq(error.status, status);
        tare_block_close(block);
        tare_device_close(device);
        cr_assert_eq(probe.block_count + probe.mistakes, 0, "%zu", at);
        cr_assert_eq(fake_cuda()->pushed, 0);
        if (fake_cuda()->failed == 0) break;
    }
}

/* Fewer lanes than threads are no failure. */
Test(load_device, goes_on_with_as_much_pinned_memory_as_there_is)
{
    tare_device *device = expect_device("cuda:0");
    tare_error error;
    fake_cuda()->fail_call = FAKE_MemHostRegister;
    fake_cuda()->fail_at = 3;
    fake_cuda()->fail_count = 0;
    cr_expect_eq(load_with_faults(device, 6, false, &error), TARE_OK);
    cr_expect(fake_cuda()->pins == 1 || fake_cuda()->pins == 2);
    tare_device_close(device);
    expect_device_clean("lanes");
}

Test(load_device, reading_may_fail_and_the_tensor_is_named)
{
    static const enum os_call calls[] = {OS_PREAD, OS_PREADV};
    tare_device *device = expect_device("cuda:0");
    for (size_t c = 0; c < 2; c++)
        for (size_t at = 1;; at++) {
            tare_error error = expect_poison();
            os_faults_reset();
            os_fault.fail_at[calls[c]] = at;
            os_fault.fail_count = 1;
            os_fault.error = 5; /* EIO */
            tare_status status = load_with_faults(device, 1, false, &error);
            size_t made = os_fault.calls[calls[c]];
            os_faults_reset();
            if (made < at) {
                cr_assert_eq(status, TARE_OK);
                break;
            }
            expect_status("reading", TARE_E_READ, status, NULL, &error);
            cr_assert_eq(error.system_error, 5);
            expect_message("reading", "tensor 't", &error);
        }
    tare_device_close(device);
    expect_device_clean("reading");
}

/* ------------------------------------------------------------------------------------------------
 * Several at once
 */

typedef struct loader {
    pthread_t thread;
    tare_device *device;
    const tare_model *model;
    unsigned number;
} loader;

static void *run_loader(void *context)
{
    const loader *self = context;
    for (unsigned round = 0; round < 10; round++) {
        const tare_tensor *list[LOAD_TENSOR_COUNT];
        size_t count = 0;
        for (size_t i = self->number % 2; i < LOAD_TENSOR_COUNT; i += 2)
            list[count++] = tare_at(self->model, i);
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block = NULL;
        options.device = self->device;
        options.threads = 1 + (round + self->number) % 4;
        options.chunk_size = UINT64_C(8192) << round % 4;
        cr_assert_eq(tare_load(self->model, list, count, &options, &block, NULL), TARE_OK);
        for (size_t i = 0; i < count; i++) {
            if (tare_block_size(block, i) == 0) continue;
            check_tensor("several", self->model, list[i], tare_block_data(block, i));
            cr_assert_eq(fake_cuda_device_of((uintptr_t)tare_block_data(block, i)),
                         (int)tare_device_describe(self->device).number);
        }
        tare_block_close(block);
    }
    return NULL;
}

/* Each device gets tensors of its own, and each has two loads at one time. */
Test(load_device, several_devices_and_several_loads_at_once)
{
    tare_device *devices[] = {expect_device("cuda:0"), expect_device("cuda:1")};
    loader loaders[4];
    for (unsigned i = 0; i < 4; i++) {
        loaders[i] = (loader){.device = devices[i % 2], .model = models.way[i], .number = i};
        cr_assert_eq(pthread_create(&loaders[i].thread, NULL, run_loader, &loaders[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) cr_assert_eq(pthread_join(loaders[i].thread, NULL), 0);
    tare_device_close(devices[0]);
    tare_device_close(devices[1]);
    expect_device_clean("several");
}

Test(load_device, the_current_context_is_used_and_left)
{
    void *context = fake_cuda_context(0);
    fake_cuda_set_current(context);
    tare_device *device = expect_device("cuda:0");
    tare_error error;
    cr_expect_eq(load_with_faults(device, 3, false, &error), TARE_OK);
    cr_expect_eq(fake_cuda_current(), context);
    fake_cuda_set_current(NULL); /* the block and the pinned memory are of the device's context */
    cr_expect_eq(load_with_faults(device, 3, true, &error), TARE_OK);
    cr_expect_null(fake_cuda_current());
    tare_device_close(device);
    fake_cuda_context_free(context);
    expect_device_clean("context");
}
