#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/load_models.h"
#include "support/name_sets.h"
#include "support/process_probe.h"

static load_models models;

static void open_models(void)
{
    load_models_open(&models);
}

static void close_models(void)
{
    load_models_close(&models);
}

TestSuite(load_run, .init = open_models, .fini = close_models, .timeout = 120);

static tare_block *expect_no_block(void)
{
    static char room;
    return (tare_block *)(void *)&room;
}

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

static void check_block(const char *what, const tare_model *model, const tare_tensor *const *list,
                        size_t count, const tare_block *block, size_t alignment)
{
    size_t size;
    const char *memory = tare_block_memory(block, &size);
    cr_assert_eq(tare_block_count(block), count, "%s", what);
    for (size_t i = 0; i < count; i++) {
        const char *data = tare_block_data(block, i);
        cr_assert_not_null(data, "%s: %zu", what, i);
        cr_assert_eq(tare_block_size(block, i), tare_size(model, list[i]), "%s: %zu", what, i);
        cr_assert_eq((uintptr_t)data % alignment, 0, "%s: %zu", what, i);
        cr_assert(data >= memory && data + tare_block_size(block, i) <= memory + size);
        cr_assert(load_right(model, list[i], data), "%s: %s", what, tare_name(model, list[i]).data);
    }
    cr_expect_null(tare_block_data(block, count));
    cr_expect_eq(tare_block_size(block, count), 0);
}

static void load_and_check(const char *what, const tare_model *model,
                           const tare_tensor *const *list, size_t count,
                           const tare_load_options *options)
{
    tare_block *block = expect_no_block();
    tare_error error = expect_poison();
    tare_status status = tare_load(model, list, count, options, &block, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    cr_assert_eq(error.status, TARE_OK);
    check_block(what, model, list, count, block, options->alignment ? options->alignment : 64);
    tare_block_close(block);
}

/* The same into buffers of just the right size, so that AddressSanitizer sees a byte too far. */
static void load_into_and_check(const char *what, const tare_model *model,
                                const tare_tensor *const *list, size_t count,
                                const tare_load_options *options)
{
    void *targets[LOAD_TENSOR_COUNT + 1];
    tare_error error = expect_poison();
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)tare_size(model, list[i]);
        targets[i] = size != 0 ? malloc(size) : NULL;
    }
    tare_status status = tare_load_into(model, list, targets, count, options, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    for (size_t i = 0; i < count; i++) {
        cr_assert(load_right(model, list[i], targets[i]), "%s: %s", what,
                  tare_name(model, list[i]).data);
        free(targets[i]);
    }
}

Test(load_run, every_way_and_every_option_gives_the_same_bytes)
{
    static const uint64_t chunk_sizes[] = {0, 4096, 5000, 65536, UINT64_C(1) << 30};
    static const uint32_t threads[] = {0, 1, 2, 7};
    static const uint64_t flights[] = {0, 4096, 100000};
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
                options.flight_size_max = 1 << 20; /* a bounce buffer is that large */
            options.alignment = (size_t)1 << i % 13;
            char what[96];
            snprintf(what, sizeof what, "%s io %u chunk %zu threads %u flags %u flight %zu",
                     load_way_name(way), options.io, (size_t)options.chunk_size, options.threads,
                     options.flags, (size_t)options.flight_size_max);
            load_and_check(what, models.way[way], list, count, &options);
            load_into_and_check(what, models.way[way], list, count, &options);
        }
    }
}

Test(load_run, without_a_list_all_tensors_come_in_order)
{
    for (int way = 0; way < LOAD_WAY_COUNT; way++) {
        const tare_model *model = models.way[way];
        const tare_tensor *list[LOAD_TENSOR_COUNT];
        for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) list[i] = tare_at(model, i);
        for (size_t count = 0; count <= LOAD_TENSOR_COUNT; count += LOAD_TENSOR_COUNT) {
            tare_block *block = expect_no_block();
            cr_assert_eq(tare_load(model, NULL, count, NULL, &block, NULL), TARE_OK);
            check_block(load_way_name(way), model, list, LOAD_TENSOR_COUNT, block, 64);
            tare_block_close(block);
        }
    }
    tare_block *block = expect_no_block();
    tare_error error = expect_poison();
    tare_status status = tare_load(models.way[0], NULL, 3, NULL, &block, &error);
    expect_status("a count without a list", TARE_E_ARGUMENT, status, NULL, &error);
    cr_expect_null(block);
}

Test(load_run, pairs_are_copied)
{
    static const tare_pair pairs[] = {{"b", 1, "beta", 4}, {"e", 1, "", 0}, {"a", 1, "alpha", 5}};
    tare_model *model = expect_no_model();
    tare_block *block = expect_no_block();
    cr_assert_eq(tare_open_pairs(pairs, 3, NULL, &model, NULL), TARE_OK);
    const tare_tensor *list[] = {tare_find(model, "a", 1), tare_find(model, "e", 1),
                                 tare_find(model, "b", 1)};
    cr_assert_eq(tare_load(model, list, 3, NULL, &block, NULL), TARE_OK);
    tare_close(model);
    cr_expect_arr_eq(tare_block_data(block, 0), "alpha", 5, "a block outlives its model");
    cr_expect_arr_eq(tare_block_data(block, 2), "beta", 4);
    cr_expect_not_null(tare_block_data(block, 1));
    cr_expect_eq(tare_block_size(block, 1), 0);
    memset(tare_block_data(block, 0), 'x', 5);
    tare_block_close(block);
}

Test(load_run, of_nothing_is_an_empty_block)
{
    const tare_tensor *empty = tare_find(models.way[LOAD_READ], "t0", 2);
    for (size_t count = 0; count < 2; count++) {
        tare_block *block = expect_no_block();
        size_t size = 1;
        cr_assert_eq(tare_load(models.way[LOAD_READ], &empty, count, NULL, &block, NULL), TARE_OK);
        cr_expect_eq(tare_block_count(block), count);
        cr_expect_not_null(tare_block_memory(block, &size));
        cr_expect_eq(size, 0);
        cr_expect_eq(tare_block_data(block, 0) != NULL, count == 1);
        tare_block_close(block);
    }
    cr_expect_eq(tare_load_into(models.way[LOAD_READ], &empty, NULL, 1, NULL, NULL), TARE_OK);
    tare_model *none = expect_no_model();
    tare_block *block = expect_no_block();
    cr_assert_eq(tare_open_pairs(NULL, 0, NULL, &none, NULL), TARE_OK);
    cr_assert_eq(tare_load(none, NULL, 0, NULL, &block, NULL), TARE_OK);
    cr_expect_eq(tare_block_count(block), 0);
    tare_block_close(block);
    tare_close(none);
    tare_block_close(NULL);
}

static void expect_argument(const char *what, const tare_tensor *const *list, size_t count,
                            const tare_load_options *options)
{
    tare_block *block = expect_no_block();
    tare_error error = expect_poison();
    tare_status status = tare_load(models.way[LOAD_READ], list, count, options, &block, &error);
    expect_status(what, TARE_E_ARGUMENT, status, NULL, &error);
    cr_expect_null(block, "%s", what);
}

Test(load_run, refuses_options_out_of_range)
{
    static const struct {
        const char *what;
        tare_load_options options;
    } rows[] = {
        {"no size", {.struct_size = 0}},
        {"io", {.struct_size = sizeof(tare_load_options), .io = 3}},
        {"flags", {.struct_size = sizeof(tare_load_options), .flags = 4}},
        {"odd alignment", {.struct_size = sizeof(tare_load_options), .alignment = 48}},
        {"large alignment", {.struct_size = sizeof(tare_load_options), .alignment = 4 << 20}},
        {"threads", {.struct_size = sizeof(tare_load_options), .threads = 1025}},
        {"reserved", {.struct_size = sizeof(tare_load_options), .reserved = 1}},
        {"small chunk", {.struct_size = sizeof(tare_load_options), .chunk_size = 4095}},
        {"large chunk", {.struct_size = sizeof(tare_load_options), .chunk_size = (1 << 30) + 1}},
        {"small flight", {.struct_size = sizeof(tare_load_options), .flight_size_max = 4095}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_argument(rows[i].what, NULL, 0, &rows[i].options);
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_allocator hooks = {.struct_size = sizeof hooks};
    options.allocator = &hooks;
    expect_argument("hooks", NULL, 0, &options);
    const tare_tensor *list[] = {tare_at(models.way[LOAD_READ], 5), NULL};
    expect_argument("a tensor that is NULL", list, 2, NULL);
    tare_error error = expect_poison();
    tare_status status = tare_load(models.way[LOAD_READ], list, 1, NULL, NULL, &error);
    expect_status("no out", TARE_E_ARGUMENT, status, NULL, &error);
    status = tare_load_into(models.way[LOAD_READ], list, NULL, 1, NULL, &error);
    expect_status("no targets", TARE_E_ARGUMENT, status, NULL, &error);
    void *target = NULL;
    status = tare_load_into(models.way[LOAD_READ], list, &target, 1, NULL, &error);
    expect_status("no target", TARE_E_ARGUMENT, status, NULL, &error);
    expect_message("no target", tare_name(models.way[LOAD_READ], list[0]).data, &error);
    cr_expect_eq(tare_load(models.way[0], list, 2, NULL, NULL, NULL), TARE_E_ARGUMENT);
}

static const char *const size_changes[] = {"exact", "one too few", "one too many", "empty"};

/* One that is wrong is found before a byte is written, also that of a tensor without bytes. */
Test(load_run, targets_of_sizes_that_are_told_must_have_them)
{
    const tare_model *model = models.way[LOAD_READ];
    size_t count = tare_count(model), empty = SIZE_MAX, full = SIZE_MAX;
    void **targets = calloc(count, sizeof *targets);
    size_t *sizes = calloc(count, sizeof *sizes);
    cr_assert(targets != NULL && sizes != NULL);
    for (size_t i = 0; i < count; i++) {
        sizes[i] = (size_t)tare_size(model, tare_at(model, i));
        targets[i] = calloc(sizes[i] + 1, 1);
        if (sizes[i] == 0) empty = i;
        if (sizes[i] > 1) full = i;
    }
    cr_assert(empty != SIZE_MAX && full != SIZE_MAX);
    for (size_t change = 0; change < 4; change++) {
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_error error = expect_poison();
        size_t at = change == 3 ? empty : full, was = sizes[at];
        options.target_sizes = sizes;
        sizes[at] += change == 0 ? 0 : change == 1 ? SIZE_MAX : 1;
        tare_status status = tare_load_into(model, NULL, targets, 0, &options, &error);
        sizes[at] = was;
        const uint8_t *bytes = targets[full];
        if (change == 0) {
            cr_assert_eq(status, TARE_OK, "%s", error.message);
            cr_expect(load_right(model, tare_at(model, full), targets[full]));
            memset(targets[full], 0, sizes[full]);
            continue;
        }
        expect_status(size_changes[change], TARE_E_TARGET_SIZE, status, NULL, &error);
        if (change != 3)
            expect_message("named", tare_name(model, tare_at(model, full)).data, &error);
        for (size_t i = 0; i < sizes[full]; i++) cr_assert_eq(bytes[i], 0);
    }
    sizes[full] = SIZE_MAX; /* no sum of such is taken for another one */
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.target_sizes = sizes;
    cr_expect_eq(tare_load_into(model, NULL, targets, 0, &options, NULL), TARE_E_TARGET_SIZE);
    for (size_t i = 0; i < count; i++) free(targets[i]);
    free(targets);
    free(sizes);
}

Test(load_run, takes_options_of_any_size)
{
    unsigned char room[sizeof(tare_load_options) + 16] = {0};
    for (size_t size = sizeof(size_t); size <= sizeof room; size++) {
        tare_block *block = expect_no_block();
        memset(room, 0, sizeof room);
        memcpy(room, &size, sizeof size);
        const tare_load_options *options = (const void *)room;
        cr_assert_eq(tare_load(models.way[0], NULL, 0, options, &block, NULL), TARE_OK, "%zu",
                     size);
        tare_block_close(block);
        if (size <= sizeof(tare_load_options)) continue;
        room[size - 1] = 1;
        cr_assert_eq(tare_load(models.way[0], NULL, 0, options, &block, NULL), TARE_E_ARGUMENT);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Progress
 */

typedef struct progress {
    uint64_t last;
    uint64_t total;
    size_t calls;
    size_t stop_at; /* the number of the call that says so; 0 is none */
    size_t mistakes;
} progress;

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    progress *seen = context;
    seen->calls++;
    seen->mistakes += seen->calls == 1 ? done != 0 : done < seen->last || total != seen->total;
    seen->mistakes += done > total;
    seen->last = done;
    seen->total = total;
    return seen->calls == seen->stop_at;
}

static uint64_t size_of_all(const tare_model *model)
{
    uint64_t size = 0;
    for (size_t i = 0; i < tare_count(model); i++) size += tare_size(model, tare_at(model, i));
    return size;
}

Test(load_run, progress_begins_with_nothing_and_ends_with_all)
{
    for (int way = 0; way < LOAD_WAY_COUNT; way++)
        for (uint32_t threads = 1; threads < 9; threads++) {
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_block *block = expect_no_block();
            progress seen = {0};
            options.threads = threads;
            options.chunk_size = 8192;
            options.progress = on_progress;
            options.progress_context = &seen;
            cr_assert_eq(tare_load(models.way[way], NULL, 0, &options, &block, NULL), TARE_OK);
            tare_block_close(block);
            cr_expect_eq(seen.mistakes, 0, "%s", load_way_name(way));
            cr_expect_eq(seen.total, size_of_all(models.way[way]));
            cr_expect_eq(seen.last, seen.total);
            if (threads == 1) cr_expect_gt(seen.calls, seen.total / 8192);
        }
}

Test(load_run, can_be_stopped_at_every_chunk_and_leaves_nothing)
{
    size_t descriptors = probe_descriptor_count();
    for (uint32_t io = 0; io < 3; io++)
        for (uint32_t threads = 1; threads <= 4; threads += 3)
            for (size_t stop_at = 1;; stop_at++) {
                alloc_probe probe;
                tare_load_options options = TARE_LOAD_OPTIONS_INIT;
                tare_block *block = expect_no_block();
                tare_error error = expect_poison();
                progress seen = {.stop_at = stop_at};
                alloc_probe_init(&probe);
                options.io = io;
                options.threads = threads;
                options.chunk_size = 16384;
                options.allocator = &probe.hooks;
                options.progress = on_progress;
                options.progress_context = &seen;
                tare_status status =
                    tare_load(models.way[LOAD_SHARDS], NULL, 0, &options, &block, &error);
                if (status == TARE_OK) tare_block_close(block);
                cr_assert_eq(probe.block_count + probe.mistakes, 0);
                cr_assert_eq(probe_descriptor_count(), descriptors);
                if (seen.calls < stop_at) {
                    cr_assert_eq(status, TARE_OK);
                    break;
                }
                expect_status("stopped", TARE_E_CANCELLED, status, NULL, &error);
                cr_assert_null(block);
                cr_assert_eq(seen.calls, stop_at, "nothing is told after that");
            }
}

Test(load_run, nothing_is_written_after_a_stop)
{
    const tare_model *model = models.way[LOAD_READ];
    const tare_tensor *list[LOAD_TENSOR_COUNT + 1];
    void *targets[LOAD_TENSOR_COUNT + 1];
    size_t count = shuffled(model, list);
    for (size_t stop_at = 1; stop_at < 20; stop_at++) {
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        progress seen = {.stop_at = stop_at};
        options.threads = 6;
        options.chunk_size = 4096;
        options.progress = on_progress;
        options.progress_context = &seen;
        for (size_t i = 0; i < count; i++) targets[i] = malloc(tare_size(model, list[i]) + 1);
        tare_status status = tare_load_into(model, list, targets, count, &options, NULL);
        for (size_t i = 0; i < count; i++) free(targets[i]); /* a write would be one after free */
        cr_expect(status == TARE_E_CANCELLED || seen.calls < stop_at);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Memory
 */

Test(load_run, memory_that_runs_out_is_an_error_and_leaves_nothing)
{
    tare_digest digests[LOAD_TENSOR_COUNT];
    const tare_model *model = models.way[LOAD_READ];
    size_t descriptors = probe_descriptor_count();
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
        cr_assert_eq(tare_hash(model, tare_at(model, i), &digests[i], NULL), TARE_OK);
    for (int onwards = 0; onwards < 2; onwards++)
        for (size_t fail_at = 1;; fail_at++) {
            alloc_probe probe;
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_block *block = expect_no_block();
            tare_error error = expect_poison();
            alloc_probe_init(&probe);
            probe.fail_at = fail_at;
            probe.fail_more = onwards ? SIZE_MAX : 0;
            options.io = TARE_IO_DIRECT;
            options.chunk_size = 4096;
            options.digests = digests;
            options.allocator = &probe.hooks;
            tare_status status = tare_load(model, NULL, 0, &options, &block, &error);
            if (status == TARE_OK) {
                tare_block_close(block);
            } else {
                expect_status("no memory", TARE_E_MEMORY, status, NULL, &error);
                cr_expect_null(block);
            }
            cr_assert_eq(probe.block_count + probe.mistakes, 0, "at %zu", fail_at);
            cr_assert_eq(probe_descriptor_count(), descriptors);
            if (probe.refused == 0) {
                cr_expect_eq(status, TARE_OK);
                cr_expect_gt(fail_at, 8);
                break;
            }
        }
}

Test(load_run, memory_beyond_the_block_is_what_is_in_flight_and_some_for_each_tensor)
{
    static const uint64_t flights[] = {4096, 65536, 262144};
    for (uint32_t io = TARE_IO_BUFFERED; io <= TARE_IO_DIRECT; io++)
        for (size_t f = 0; f < 3; f++)
            for (uint32_t threads = 1; threads <= 8; threads++) {
                alloc_probe probe;
                tare_load_options options = TARE_LOAD_OPTIONS_INIT;
                tare_block *block = expect_no_block();
                size_t size;
                alloc_probe_init(&probe);
                options.io = io;
                options.threads = threads;
                options.flight_size_max = flights[f];
                options.allocator = &probe.hooks;
                cr_assert_eq(tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, NULL),
                             TARE_OK);
                tare_block_memory(block, &size);
                uint64_t beyond = probe.peak_size - size;
                if (io == TARE_IO_DIRECT) {
                    cr_expect_geq(beyond, 4096);
                    cr_expect_leq(beyond, flights[f] + 32768, "%zu", (size_t)beyond);
                } else {
                    cr_expect_leq(beyond, 32768, "%zu", (size_t)beyond);
                }
                cr_expect_leq(size,
                              size_of_all(models.way[LOAD_READ]) + 64 * LOAD_TENSOR_COUNT + 4096);
                tare_block_close(block);
                cr_expect_eq(probe.block_count + probe.mistakes, 0);
            }
}

Test(load_run, many_small_tensors_take_few_calls_of_the_allocator)
{
    name_set set = name_set_deepseek();
    tare_pair *pairs = calloc(set.count, sizeof *pairs);
    alloc_probe probe;
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_block *block = expect_no_block();
    for (size_t i = 0; i < set.count; i++)
        pairs[i] = (tare_pair){set.names[i].data, set.names[i].size, set.names[i].data, 5};
    cr_assert_eq(tare_open_pairs(pairs, set.count, NULL, &model, NULL), TARE_OK);
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
    cr_expect_leq(probe.calls, 16, "%zu", probe.calls);
    for (size_t i = 0; i < set.count; i++)
        cr_assert_arr_eq(tare_block_data(block, i), set.names[i].data, 5);
    tare_block_close(block);
    tare_close(model);
    free(pairs);
    name_set_free(&set);
}

Test(load_run, large_blocks_are_loaded_with_pages_of_both_kinds)
{
    enum { SIZE = 5 << 20 };
    build_tensor tensors[] = {{"odd", 0, "U8", "[13]", 13}, {"large", 0, "U8", "[5242880]", SIZE}};
    temp_path path =
        temp_write_built(&models.folder, "large.safetensors", build_file(tensors, 2, NULL));
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    const tare_tensor *list[] = {tare_at(model, 0), tare_at(model, 1)};
    for (uint32_t io = 0; io < 3; io++)
        for (uint32_t flags = 0; flags < 4; flags++)
            for (size_t alignment = 1; alignment <= 2 << 20; alignment *= 64) {
                tare_load_options options = TARE_LOAD_OPTIONS_INIT;
                options.io = io;
                options.flags = flags;
                options.alignment = alignment;
                load_and_check("large", model, list, 2, &options);
            }
    tare_close(model);
}

typedef struct steps {
    uint64_t last, most;
} steps;

static int on_step(void *context, uint64_t done, uint64_t total)
{
    steps *seen = context;
    (void)total;
    if (done - seen->last > seen->most) seen->most = done - seen->last;
    seen->last = done;
    return 0;
}

/* Of so many bytes that a quarter of a thread's share is more. */
Test(load_run, chunks_have_four_mebibytes_at_most_unless_they_are_asked_to)
{
    static const build_tensor large = {"a", 0, "U8", "[20971520]", 20 << 20};
    build_text file = build_file(&large, 1, NULL);
    tare_model *model = expect_open_bytes("20 MiB", &file);
    for (int asked = 0; asked < 2; asked++) {
        steps seen = {0, 0};
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.threads = 1;
        options.chunk_size = asked ? 8 << 20 : 0;
        options.progress = on_step;
        options.progress_context = &seen;
        cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
        cr_expect_leq(seen.most, asked ? 8 << 20 : 4 << 20);
        cr_expect_gt(seen.most, asked ? 7 << 20 : 3 << 20);
        tare_block_close(block);
    }
    tare_close(model);
    build_free(&file);
}
