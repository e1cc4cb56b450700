/* The ways in which bytes come, and what happens when they do not. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"
#include "support/expect.h"
#include "support/load_models.h"
#include "support/os_faults.h"
#include "support/process_probe.h"

static load_models models;

static void open_models(void)
{
    close(0); /* daemons have none, and then the first file that is opened is number 0 */
    load_models_open(&models);
    os_faults_reset();
}

static void close_models(void)
{
    os_faults_reset();
    load_models_close(&models);
}

TestSuite(load_chunk, .init = open_models, .fini = close_models, .timeout = 120);

static tare_status load(const tare_model *model, uint32_t io, uint32_t threads, tare_block **block,
                        tare_error *error)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.io = io;
    options.threads = threads;
    options.chunk_size = 131072;
    *error = expect_poison();
    return tare_load(model, NULL, 0, &options, block, error);
}

static void expect_loaded(const char *what, const tare_model *model, tare_status status,
                          tare_block *block, const tare_error *error)
{
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error->message);
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
        cr_assert(load_right(model, tare_at(model, i), tare_block_data(block, i)), "%s: %zu", what,
                  i);
    tare_block_close(block);
}

Test(load_chunk, goes_on_after_interruptions_and_short_reads)
{
    static const size_t pieces[] = {1, 7, 4096, 5000, 16384};
    for (uint32_t io = TARE_IO_BUFFERED; io <= TARE_IO_DIRECT; io++)
        for (size_t p = io == TARE_IO_DIRECT ? 2 : 0; p < 5; p++) {
            tare_block *block;
            tare_error error;
            os_faults_reset();
            os_fault.piece = pieces[p];
            os_fault.fail_at[OS_PREAD] = os_fault.fail_at[OS_PREADV] = 3;
            os_fault.fail_count = 4;
            os_fault.error = EINTR;
            tare_status status = load(models.way[LOAD_SHARDS], io, 2, &block, &error);
            cr_expect_gt(os_fault.calls[OS_PREAD] + os_fault.calls[OS_PREADV], 20);
            expect_loaded("in pieces", models.way[LOAD_SHARDS], status, block, &error);
        }
}

/* The n-th call of one kind fails, for every n: a clean error, or the right bytes where the library
 * can do without. */
static void check_every_failure(enum os_call call, int failure, size_t fail_count, uint32_t io,
                                uint32_t threads)
{
    size_t descriptors = probe_descriptor_count();
    const tare_model *model = models.way[LOAD_SHARDS];
    for (size_t n = 1;; n++) {
        tare_block *block;
        tare_error error;
        os_faults_reset();
        os_fault.fail_at[call] = n;
        os_fault.fail_count = fail_count;
        os_fault.error = failure;
        tare_status status = load(model, io, threads, &block, &error);
        size_t calls = os_fault.calls[call];
        os_faults_reset();
        if (status == TARE_OK) {
            expect_loaded(os_call_name(call), model, status, block, &error);
        } else {
            expect_status(os_call_name(call), failure == 0 ? TARE_E_CHANGED : TARE_E_READ, status,
                          NULL, &error);
            cr_assert_null(block);
            cr_expect_eq(error.system_error, failure, "%s", error.message);
            cr_expect_lt(error.shard, 3);
            expect_message(os_call_name(call), ".safetensors': tensor 't", &error);
        }
        cr_assert_eq(probe_descriptor_count(), descriptors, "a descriptor is left");
        if (calls < n) {
            cr_expect_eq(status, TARE_OK);
            return;
        }
        /* Past the page cache some may: what cannot be read so is read through it. */
        bool must_fail = call == OS_PREADV && failure != EINTR && io != TARE_IO_DIRECT;
        if (must_fail) cr_expect_neq(status, TARE_OK, "%s %zu", os_call_name(call), n);
    }
}

Test(load_chunk, every_call_may_fail_once_or_from_then_on)
{
    static const enum os_call calls[] = {OS_PREADV,  OS_PREAD,    OS_OPEN,  OS_THREAD,
                                         OS_MADVISE, OS_AFFINITY, OS_NOWAIT};
    static const int failures[] = {EIO, EINVAL, ENOMEM, 0}; /* 0: the file ends */
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++)
        for (size_t f = 0; f < (calls[c] == OS_PREADV || calls[c] == OS_PREAD ? 4 : 3); f++)
            for (uint32_t io = TARE_IO_AUTO; io <= TARE_IO_DIRECT; io++)
                for (uint32_t threads = 1; threads <= 3; threads += 2)
                    check_every_failure(calls[c], failures[f], threads == 1, io, threads);
}

Test(load_chunk, an_error_names_the_tensor_and_the_byte)
{
    const tare_model *model = models.way[LOAD_READ];
    const tare_tensor *list[] = {tare_find(model, "t2", 2), tare_find(model, "t3", 2),
                                 tare_find(model, "t4", 2)};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    uint64_t first = tare_offset(model, list[0]);
    options.alignment = 128;                          /* so that each is a vector of its own */
    for (size_t piece = 1; piece < 171; piece += 9) { /* t2 has 7 bytes, t3 64, t4 100 */
        tare_block *block;
        tare_error error = expect_poison();
        os_faults_reset();
        os_fault.piece = piece;
        os_fault.fail_at[OS_PREADV] = 2;
        os_fault.error = EIO;
        tare_status status = tare_load(model, list, 3, &options, &block, &error);
        size_t got = piece < 7 ? piece : piece < 71 ? 7 : 71; /* whole vectors, see os_faults.c */
        expect_refused("EIO", TARE_E_READ, first + got, status, NULL, &error);
        expect_message("EIO", got < 7 ? "'t2'" : got < 71 ? "'t3'" : "'t4'", &error);
    }
}

/* Where reading ends between two tensors, the first one is complete. */
Test(load_chunk, an_error_names_the_tensor_behind_a_gap)
{
    const tare_model *model = models.way[LOAD_READ];
    const tare_tensor *list[] = {tare_find(model, "t3", 2), tare_find(model, "t5", 2)};
    uint64_t gap = tare_offset(model, list[0]) + tare_size(model, list[0]);
    uint64_t wanted = tare_offset(model, list[1]);
    cr_assert_eq(wanted - gap, 100);
    for (uint32_t io = TARE_IO_BUFFERED; io <= TARE_IO_DIRECT; io++)
        for (uint64_t size = wanted; size + 30 > gap; size -= 10) {
            tare_block *block;
            tare_error error = expect_poison();
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            options.io = io;
            cr_assert_eq(truncate(models.path.text, (off_t)models.file.size), 0);
            cr_assert_eq(truncate(models.path.text, (off_t)size), 0);
            tare_status status = tare_load(model, list, 2, &options, &block, &error);
            uint64_t at = size < gap ? size : wanted;
            expect_refused("in a gap", TARE_E_CHANGED, at, status, NULL, &error);
            expect_message("in a gap", size < gap ? "tensor 't3'" : "tensor 't5'", &error);
        }
}

Test(load_chunk, a_file_system_without_direct_reads_is_read_through_the_cache)
{
    for (int refused = 1; refused <= 2; refused++)
        for (int way = LOAD_MAPPED; way <= LOAD_SHARDS; way++) {
            tare_block *block;
            tare_error error;
            os_faults_reset();
            os_fault.direct_refused = refused;
            tare_status status = load(models.way[way], TARE_IO_DIRECT, 2, &block, &error);
            cr_expect_gt(os_fault.calls[OS_PREADV], 0);
            cr_expect_gt(os_fault.refused, 0);
            expect_loaded(load_way_name(way), models.way[way], status, block, &error);
        }
}

Test(load_chunk, many_small_tensors_are_few_calls)
{
    enum { COUNT = 4000 };
    build_tensor *tensors = calloc(COUNT, sizeof *tensors);
    char(*names)[8] = calloc(COUNT, sizeof *names);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "n%zu", i);
        tensors[i] = (build_tensor){names[i], 0, "U8", "[13]", 13};
    }
    temp_path path =
        temp_write_built(&models.folder, "many.safetensors", build_file(tensors, COUNT, NULL));
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    os_faults_reset();
    cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
    cr_expect_leq(os_fault.calls[OS_PREADV], COUNT / 256 + 1);
    cr_expect_eq(os_fault.calls[OS_PREAD], 0);
    for (size_t i = 0; i < COUNT; i++)
        cr_assert(load_right(model, tare_at(model, i), tare_block_data(block, i)));
    tare_block_close(block);
    options.alignment = 1; /* memory is then as the file is: one read, whatever the count */
    os_faults_reset();
    cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_PREADV], 1);
    tare_block_close(block);
    tare_close(model);
    free(tensors);
    free(names);
}

enum { NEAR_COUNT = 600 };

/* Tensors of many sizes, none of which is a multiple of an alignment, and a header of any size. */
static tare_model *open_near(size_t shift)
{
    static char names[NEAR_COUNT][40], shapes[NEAR_COUNT][16];
    build_tensor tensors[NEAR_COUNT];
    for (size_t i = 0; i < NEAR_COUNT; i++) {
        size_t size = i % 200 == 99 ? 300001 : i * 37 % 1501;
        snprintf(names[i], sizeof names[i], "n%zu%.*s", i, i == 0 ? (int)shift : 0,
                 "********************************");
        snprintf(shapes[i], sizeof shapes[i], "[%zu]", size);
        tensors[i] = (build_tensor){names[i], 0, "U8", shapes[i], size};
    }
    temp_path path =
        temp_write_built(&models.folder, "near.safetensors", build_file(tensors, NEAR_COUNT, NULL));
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    return model;
}

/* However file and memory lie to each other, pages that are read into what parts are to have become
 * the right bytes; whatever of them comes first, or through the cache after all. */
Test(load_chunk, direct_reads_land_in_the_block)
{
    static const size_t alignments[] = {1, 8, 64, 512, 4096, 65536};
    for (size_t shift = 0; shift <= 32; shift += 8) {
        tare_model *model = open_near(shift);
        for (size_t run = 0; run < 6 * 3 * 2; run++) {
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            options.alignment = alignments[run % 6];
            options.chunk_size = UINT64_C(131072) << (run / 6 % 3 * 2);
            options.threads = run < 18 ? 1 : 3;
            options.io = TARE_IO_DIRECT;
            tare_block *block;
            os_faults_reset();
            os_fault.piece = run % 5 == 4 ? 8192 : 0;
            if (run % 7 == 6) {
                os_fault.fail_at[OS_PREADV] = 2;
                os_fault.fail_count = 1;
                os_fault.error = EINVAL;
            }
            cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
            for (size_t i = 0; i < NEAR_COUNT; i++)
                cr_assert(load_right(model, tare_at(model, i), tare_block_data(block, i)),
                          "%zu %zu %zu", shift, run, i);
            tare_block_close(block);
        }
        tare_close(model);
    }
}

/* Whole pages are read, whatever byte of one is the last. */
Test(load_chunk, direct_reads_end_at_any_byte_of_a_page)
{
    for (uint64_t more = 0; more < 8; more++) {
        char shape[16];
        uint64_t size = 200000;
        tare_model *model = NULL;
        for (int known = 0; known < 2; known++) { /* headers of both have the same size */
            snprintf(shape, sizeof shape, "[%u]", (unsigned)size);
            build_tensor one = {"a", 0, "U8", shape, size};
            temp_path path =
                temp_write_built(&models.folder, "end.safetensors", build_file(&one, 1, NULL));
            tare_close(model);
            cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
            uint64_t end = tare_offset(model, tare_at(model, 0)) + size;
            size += (TAREI_OS_DIRECT_UNIT - 3 + more - end) % TAREI_OS_DIRECT_UNIT;
        }
        tare_error error;
        tare_block *block;
        tare_status status = load(model, TARE_IO_DIRECT, 1, &block, &error);
        cr_assert_eq(status, TARE_OK, "%d: %s", (int)more - 3, error.message);
        cr_expect(memcmp(tare_block_data(block, 0), tare_data(model, tare_at(model, 0)), size) == 0,
                  "%d", (int)more - 3);
        tare_block_close(block);
        tare_close(model);
    }
}

/* Of the caller's memory nothing is written but the targets, though they are near each other. */
Test(load_chunk, direct_reads_leave_what_is_between_targets)
{
    tare_model *model = open_near(8);
    const tare_tensor *list[NEAR_COUNT];
    void *targets[NEAR_COUNT];
    size_t room = 3 << 20;
    uint8_t *memory = malloc(room);
    static const size_t gaps[] = {0, 1, 32, 64, 96};
    for (size_t g = 0; g < 5; g++)
        for (size_t phase = 0; phase < 4096; phase += 819) {
            size_t at = phase, gap = gaps[g];
            memset(memory, 0xA5, room);
            for (size_t i = 0; i < NEAR_COUNT; i++) {
                list[i] = tare_at(model, i);
                targets[i] = memory + at;
                at += tare_size(model, list[i]) + gap;
            }
            cr_assert_leq(at, room);
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            options.io = TARE_IO_DIRECT;
            cr_assert_eq(tare_load_into(model, list, targets, NEAR_COUNT, &options, NULL), TARE_OK);
            for (size_t i = 0; i < NEAR_COUNT; i++) {
                const uint8_t *after = (uint8_t *)targets[i] + tare_size(model, list[i]);
                cr_assert(load_right(model, list[i], targets[i]), "%zu %zu %zu", gap, phase, i);
                for (size_t k = 0; k < gap; k++) cr_assert_eq(after[k], 0xA5);
            }
            for (size_t k = 0; k < phase; k++) cr_assert_eq(memory[k], 0xA5);
            for (size_t k = at; k < room; k++) cr_assert_eq(memory[k], 0xA5);
        }
    free(memory);
    tare_close(model);
}

Test(load_chunk, what_lies_between_is_read_along_only_where_it_is_small)
{
    for (int way = LOAD_MAPPED; way < LOAD_WAY_COUNT; way++)
        for (size_t step = 2; step < 9; step++) {
            const tare_model *model = models.way[way];
            const tare_tensor *list[LOAD_TENSOR_COUNT];
            size_t count = 0, size;
            for (size_t i = 0; i < LOAD_TENSOR_COUNT; i += step) list[count++] = tare_at(model, i);
            tare_block *block;
            os_faults_reset();
            cr_assert_eq(tare_load(model, list, count, NULL, &block, NULL), TARE_OK);
            tare_block_memory(block, &size);
            cr_expect_leq(os_fault.asked_max, size + count * TAREI_LOAD_GAP_NEAR);
            cr_expect_leq(os_fault.calls[OS_PREADV], count);
            for (size_t i = 0; i < count; i++)
                cr_assert(load_right(model, list[i], tare_block_data(block, i)), "%s %zu %zu",
                          load_way_name(way), step, i);
            tare_block_close(block);
        }
}

Test(load_chunk, pages_are_dropped_behind_when_asked)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.io = TARE_IO_BUFFERED;
    cr_assert_eq(tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 0);
    options.flags = TARE_LOAD_DROP_BEHIND;
    cr_assert_eq(tare_load(models.way[LOAD_READ], NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    cr_expect_gt(os_fault.calls[OS_FADVISE], 0);
    cr_expect_geq(os_fault.advised_size, models.file.size - 4096);
}

/* The pages of its chunk, and those that it shares with what lies around it. */
Test(load_chunk, pages_of_one_small_tensor_are_dropped)
{
    const tare_model *model = models.way[LOAD_READ];
    const tare_tensor *tensor = tare_find(model, "t14", 3); /* of 70,001 bytes */
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.io = TARE_IO_BUFFERED;
    options.flags = TARE_LOAD_DROP_BEHIND;
    cr_assert_eq(tare_load(model, &tensor, 1, &options, &block, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 2);
    tare_block_close(block);
}

/* Two slices of one tensor, far apart, the last one first and the first one first. */
Test(load_chunk, pages_of_slices_in_any_order_are_dropped)
{
    enum { SIZE = 6 << 20 };
    const build_tensor large = {"large", 0, "U8", "[6291456]", SIZE};
    const uint64_t bounds[] = {0, 1 << 20, 5 << 20, SIZE};
    const tare_slice slices[] = {
        {&bounds[2], &bounds[3]}, {&bounds[0], &bounds[1]}, {&bounds[2], &bounds[3]}};
    temp_path path =
        temp_write_built(&models.folder, "large.safetensors", build_file(&large, 1, NULL));
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    const tare_tensor *list[] = {tare_at(model, 0), tare_at(model, 0)};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.io = TARE_IO_BUFFERED;
    options.flags = TARE_LOAD_DROP_BEHIND;
    for (size_t first = 0; first < 2; first++) {
        options.slices = &slices[first];
        cr_assert_eq(tare_load(model, list, 2, &options, &block, NULL), TARE_OK);
        cr_expect_gt(os_fault.calls[OS_FADVISE], 2);
        cr_expect_eq(os_fault.advised_wrong, 0);
        tare_block_close(block);
    }
    tare_close(model);
}

Test(load_chunk, of_each_tensor_the_first_folio_is_dropped_too)
{
    const tare_model *model = models.way[LOAD_READ];
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.io = TARE_IO_BUFFERED;
    options.flags = TARE_LOAD_DROP_BEHIND;
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_block *block;
        if (tare_size(model, tensor) == 0) continue;
        os_faults_reset();
        cr_assert_eq(tare_load(model, &tensor, 1, &options, &block, NULL), TARE_OK);
        tare_block_close(block);
        uint64_t at = tare_offset(model, tensor) / TAREI_LOAD_FOLIO_SIZE * TAREI_LOAD_FOLIO_SIZE;
        cr_expect_eq(os_fault.advised_at[0], at, "%zu", i);
        cr_expect_eq(os_fault.advised_at[1], at, "%zu", i);
    }
}

/* Nor is anything asked where nothing is read. */
Test(load_chunk, of_a_reader_no_pages_are_dropped)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.flags = TARE_LOAD_DROP_BEHIND;
    cr_assert_eq(tare_load(models.way[LOAD_READER], NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    const tare_tensor *none[1] = {NULL};
    cr_assert_eq(tare_load(models.way[LOAD_READ], none, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 0);
}

/* ------------------------------------------------------------------------------------------------
 * Files and readers that change their mind
 */

typedef struct shrink {
    const char *path;
    uint64_t at;
    uint64_t size;
} shrink;

static int shrink_half_way(void *context, uint64_t done, uint64_t total)
{
    (void)total;
    const shrink *plan = context;
    if (done >= plan->at) cr_assert_eq(truncate(plan->path, (off_t)plan->size), 0);
    return 0;
}

Test(load_chunk, a_file_that_shrinks_half_way_is_an_error)
{
    for (int way = LOAD_MAPPED; way <= LOAD_READ; way++)
        for (uint32_t io = 0; io < 3; io++)
            for (uint32_t threads = 1; threads <= 3; threads += 2) {
                tare_block *block;
                tare_error error = expect_poison();
                FILE *file = fopen(models.path.text, "r+b");
                cr_assert_eq(fwrite(models.file.data, 1, models.file.size, file), models.file.size);
                cr_assert_eq(fclose(file), 0);
                shrink plan = {models.path.text, models.file.size / 4, models.file.size / 2};
                tare_load_options options = TARE_LOAD_OPTIONS_INIT;
                options.io = io;
                options.threads = threads;
                options.chunk_size = 4096;
                options.progress = shrink_half_way;
                options.progress_context = &plan;
                tare_status status = tare_load(models.way[way], NULL, 0, &options, &block, &error);
                if (threads > 1 && status == TARE_OK) { /* the others were done before */
                    tare_block_close(block);
                    continue;
                }
                expect_status("shrank", TARE_E_CHANGED, status, NULL, &error);
                cr_expect_null(block);
                cr_expect_geq(error.offset, models.file.size / 4, "%s", error.message);
                expect_message("shrank", "tensor 't", &error);
            }
}

Test(load_chunk, a_reader_that_fails_is_an_error)
{
    const tare_model *model = models.way[LOAD_READER];
    static const int64_t answers[] = {0, -5, -113};
    for (size_t a = 0; a < 3; a++)
        for (size_t n = 1;; n++) {
            tare_block *block;
            tare_error error;
            reader_probe_reset(&models.probe);
            models.probe.answer_at = n;
            models.probe.answer = answers[a];
            tare_status status = load(model, TARE_IO_AUTO, 1, &block, &error);
            if (models.probe.calls < n) {
                expect_loaded("reader", model, status, block, &error);
                cr_expect_gt(n, 10);
                break;
            }
            expect_status("reader", a == 0 ? TARE_E_CHANGED : TARE_E_READ, status, NULL, &error);
            cr_expect_eq(error.system_error, -answers[a]);
            expect_message("reader", "tensor 't", &error);
            cr_expect_null(block);
        }
}

Test(load_chunk, a_reader_is_asked_on_this_thread_and_seldom)
{
    tare_block *block;
    tare_error error = expect_poison();
    reader_probe_reset(&models.probe);
    tare_status status = tare_load(models.way[LOAD_READER], NULL, 0, NULL, &block, &error);
    cr_expect_eq(os_fault.calls[OS_THREAD], 0);
    cr_expect_leq(models.probe.calls, models.file.size / 262144 + 2);
    cr_expect_eq(models.probe.mistakes, 0);
    expect_loaded("reader", models.way[LOAD_READER], status, block, &error);
    for (size_t piece = 1000; piece < 40000; piece *= 3) {
        models.probe.piece = piece;
        status = load(models.way[LOAD_READER], TARE_IO_DIRECT, 1, &block, &error);
        expect_loaded("in pieces", models.way[LOAD_READER], status, block, &error);
    }
}

/* What lies between two tensors that are far apart stays in the page cache. */
Test(load_chunk, what_nobody_asked_for_is_not_dropped)
{
    static const build_tensor tensors[] = {{"first", 0, "U8", "[5000]", 5000},
                                           {"between", 0, "U8", "[9000000]", 9000000},
                                           {"last", 0, "U8", "[5000]", 5000}};
    temp_path path = temp_write_built(&models.folder, "apart", build_file(tensors, 3, NULL));
    tare_model *model = expect_open_path("apart", path.text, TARE_BACKING_READ);
    const tare_tensor *list[] = {tare_at(model, 0), tare_at(model, 2)};
    tare_load_options options = {.struct_size = sizeof options, .io = TARE_IO_BUFFERED};
    tare_block *block;
    options.flags = TARE_LOAD_DROP_BEHIND;
    os_faults_reset();
    cr_assert_eq(tare_load(model, list, 2, &options, &block, NULL), TARE_OK);
    cr_expect(os_fault.advised_size >= 10000 && os_fault.advised_size <= 5000000);
    tare_block_close(block);
    tare_close(model);
}
