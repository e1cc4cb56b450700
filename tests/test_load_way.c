/* Through the page cache or past it, by how many threads, and what the kernel is told before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "load.h"
#include "support/expect.h"
#include "support/load_models.h"
#include "support/os_faults.h"

static load_models models;

static void open_models(void)
{
    load_models_open(&models);
    os_faults_reset();
}

static void close_models(void)
{
    os_faults_reset();
    load_models_close(&models);
}

TestSuite(load_way, .init = open_models, .fini = close_models, .timeout = 120);

/* Of tensors that lie apart the page cache is told before they are read; the bytes are the same. */
Test(load_way, what_is_scattered_and_not_cached_is_announced)
{
    for (int cached = 0; cached < 2; cached++)
        for (int way = LOAD_MAPPED; way <= LOAD_READ; way++) {
            const tare_model *model = models.way[way];
            const tare_tensor *list[LOAD_TENSOR_COUNT];
            size_t count = 0;
            for (size_t i = 0; i < tare_count(model); i += 3) list[count++] = tare_at(model, i);
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_block *block;
            options.threads = 2;
            os_fault.uncached = !cached;
            os_fault.calls[OS_FADVISE] = os_fault.advised_size = 0;
            cr_assert_eq(tare_load(model, list, count, &options, &block, NULL), TARE_OK);
            if (cached)
                cr_expect_eq(os_fault.calls[OS_FADVISE], 0);
            else
                cr_expect_gt(os_fault.calls[OS_FADVISE], 0);
            cr_expect_leq(os_fault.advised_size, models.file.size, "each byte once");
            for (size_t i = 0; i < count; i++)
                cr_expect(load_right(model, list[i], tare_block_data(block, i)), "%zu", i);
            tare_block_close(block);
        }
}

/* How many files a load opens to be read past the page cache. */
static size_t direct_count_with(const tare_model *model, uint32_t io, uint32_t flags, int uncached)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    tare_error error = expect_poison();
    options.io = io;
    options.flags = flags;
    os_fault.uncached = uncached;
    os_fault.calls[OS_OPEN] = os_fault.calls[OS_NOWAIT] = 0;
    tare_status status = tare_load(model, NULL, 0, &options, &block, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
        cr_assert(load_right(model, tare_at(model, i), tare_block_data(block, i)), "%zu", i);
    tare_block_close(block);
    return os_fault.calls[OS_OPEN];
}

Test(load_way, one_tensor_alone_is_read_past_the_page_cache_too)
{
    const tare_model *model = models.way[LOAD_SHARDS];
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.io = TARE_IO_DIRECT;
    for (size_t i = 0; i < tare_count(model); i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_block *block;
        os_fault.calls[OS_OPEN] = 0;
        cr_assert_eq(tare_load(model, &tensor, 1, &options, &block, NULL), TARE_OK);
        cr_expect_eq(os_fault.calls[OS_OPEN], tare_size(model, tensor) != 0, "%zu", i);
        cr_expect(load_right(model, tensor, tare_block_data(block, 0)), "%zu", i);
        tare_block_close(block);
    }
}

Test(load_way, of_one_tensor_in_each_shard_each_is_read_so)
{
    const tare_model *model = models.way[LOAD_SHARDS];
    const tare_tensor *list[] = {tare_find(model, "t1", 2), tare_find(model, "t17", 3),
                                 tare_find(model, "t33", 3)};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.io = TARE_IO_DIRECT;
    os_fault.calls[OS_OPEN] = 0;
    cr_assert_eq(tare_load(model, list, 3, &options, &block, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_OPEN], 3);
    for (size_t i = 0; i < 3; i++)
        cr_expect(load_right(model, list[i], tare_block_data(block, i)), "%zu", i);
    tare_block_close(block);
}

static size_t direct_count(const tare_model *model, uint32_t io, int uncached)
{
    return direct_count_with(model, io, 0, uncached);
}

Test(load_way, by_itself_reads_past_the_page_cache_what_would_not_stay_in_it)
{
    const tare_model *model = models.way[LOAD_SHARDS];
    cr_expect_eq(direct_count(model, TARE_IO_AUTO, 1), 0, "it stays");
    cr_expect_gt(os_fault.calls[OS_NOWAIT], 0);
    os_fault.memory_size = models.file.size; /* has no room for it twice */
    cr_expect_eq(direct_count(model, TARE_IO_AUTO, 0), 0, "is there");
    cr_expect_eq(direct_count(model, TARE_IO_AUTO, 1), 3, "each shard");
    cr_expect_eq(direct_count(models.way[LOAD_MAPPED], TARE_IO_AUTO, 1), 1);
    os_fault.memory_size = 0;
    cr_expect_eq(direct_count_with(model, TARE_IO_AUTO, TARE_LOAD_DROP_BEHIND, 0), 0, "is there");
    cr_expect_eq(direct_count_with(model, TARE_IO_AUTO, TARE_LOAD_DROP_BEHIND, 1), 3, "each shard");
    cr_expect_eq(direct_count(model, TARE_IO_BUFFERED, 1), 0);
    cr_expect_eq(direct_count(model, TARE_IO_DIRECT, 0), 3);
    cr_expect_eq(os_fault.calls[OS_NOWAIT], 0, "without a look");
    cr_expect_eq(direct_count(models.way[LOAD_MEMORY], TARE_IO_DIRECT, 1), 0);
    cr_expect_eq(direct_count(models.way[LOAD_READER], TARE_IO_DIRECT, 1), 0);
}

Test(load_way, what_cannot_be_told_is_taken_for_cached)
{
    static const int failures[] = {EOPNOTSUPP, ENOSYS, EINVAL, EIO};
    for (size_t f = 0; f < 4; f++) {
        os_faults_reset();
        os_fault.fail_at[OS_NOWAIT] = 1;
        os_fault.error = failures[f];
        os_fault.memory_size = 4096;
        cr_expect_eq(direct_count(models.way[LOAD_SHARDS], TARE_IO_AUTO, 0), 0);
    }
}

Test(load_way, some_files_may_be_cached_and_others_not)
{
    os_fault.memory_size = 4096;
    os_fault.fail_at[OS_NOWAIT] = 9; /* eight for the first file, then eight for the second */
    os_fault.fail_count = 8;
    os_fault.error = EAGAIN;
    cr_expect_eq(direct_count(models.way[LOAD_SHARDS], TARE_IO_AUTO, 0), 1);
}

/* However small its chunks are. */
Test(load_way, a_small_load_starts_no_thread)
{
    const tare_model *model = models.way[LOAD_READ];
    const tare_tensor *tensor = tare_find(model, "t14", 3); /* of 70,001 bytes */
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.chunk_size = 4096;
    cr_assert_eq(tare_load(model, &tensor, 1, &options, &block, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_THREAD], 0);
    cr_expect(load_right(model, tensor, tare_block_data(block, 0)));
    tare_block_close(block);
    options.threads = 2;
    cr_assert_eq(tare_load(model, &tensor, 1, &options, &block, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_THREAD], 1, "it has chunks for two");
    tare_block_close(block);
    options.threads = 16;
    options.chunk_size = 32768;
    os_fault.calls[OS_THREAD] = 0;
    cr_assert_eq(tare_load(model, &tensor, 1, &options, &block, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_THREAD], 2, "and for three");
    tare_block_close(block);
}

/* ------------------------------------------------------------------------------------------------
 * Where the bytes land
 */

/* So that no copy is needed; through the page cache there is one anyway. */
Test(load_way, large_tensors_lie_in_memory_as_in_the_file)
{
    static const build_tensor tensors[] = {{"small", 0, "U8", "[5000]", 5000},
                                           {"large", 0, "U8", "[2000000]", 2000000}};
    static const uint32_t ios[] = {TARE_IO_AUTO, TARE_IO_DIRECT};
    temp_path path = temp_write_built(&models.folder, "large", build_file(tensors, 2, NULL));
    tare_model *model = expect_open_path("large", path.text, TARE_BACKING_READ);
    for (size_t i = 0; i < 2; i++) {
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.io = ios[i];
        options.alignment = 1;
        cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
        uint64_t at = (uintptr_t)tare_block_data(block, 1);
        cr_expect_eq((at - tare_offset(model, tare_at(model, 1))) % 4096, 0, "%u", ios[i]);
        tare_block_close(block);
    }
    tare_close(model);
}

/* Many small ones in a row too: all but the pages at the ends of chunks. */
Test(load_way, what_lies_in_memory_as_in_the_file_is_read_there_and_not_copied)
{
    enum { COUNT = 100, SIZE = 3000 };
    static char names[COUNT][8];
    static _Alignas(4096) uint8_t memory[COUNT * SIZE + 8192];
    build_tensor tensors[COUNT];
    const tare_tensor *list[COUNT];
    void *targets[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "t%02u", i);
        tensors[i] = (build_tensor){names[i], 0, "U8", "[3000]", SIZE};
    }
    temp_path path = temp_write_built(&models.folder, "row", build_file(tensors, COUNT, NULL));
    tare_model *model = expect_open_path("row", path.text, TARE_BACKING_READ);
    uint64_t from = tare_offset(model, tare_at(model, 0)) & ~UINT64_C(4095);
    for (size_t i = 0; i < COUNT; i++) {
        list[i] = tare_at(model, i);
        targets[i] = memory + (tare_offset(model, list[i]) - from);
    }
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.io = TARE_IO_DIRECT;
    os_fault.watched = memory;
    os_fault.watched_room = sizeof memory;
    cr_assert_eq(tare_load_into(model, list, targets, COUNT, &options, NULL), TARE_OK);
    cr_expect_gt(os_fault.watched_size, COUNT * SIZE * 4 / 5, "%zu", os_fault.watched_size);
    for (size_t i = 0; i < COUNT; i++) cr_expect(load_right(model, list[i], targets[i]), "%zu", i);
    tare_close(model);
}

static void *allocate_pages(void *context, size_t size, size_t alignment)
{
    size_t *odd = context;
    *odd += alignment == 4096 && size % 4096 != 0;
    return aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void release_pages(void *context, void *memory, size_t size, size_t alignment)
{
    (void)context, (void)size, (void)alignment;
    free(memory);
}

/* Where one thread's bytes end, those of the next begin. */
Test(load_way, what_is_read_past_the_page_cache_has_whole_pages)
{
    static const build_tensor tensors[] = {{"a", 0, "U8", "[5000]", 5000},
                                           {"b", 0, "U8", "[5000]", 5000}};
    temp_path path = temp_write_built(&models.folder, "pages", build_file(tensors, 2, NULL));
    tare_model *model = expect_open_path("pages", path.text, TARE_BACKING_READ);
    for (uint64_t chunk_size = 4096; chunk_size <= 65536; chunk_size *= 2) {
        size_t odd = 0;
        tare_allocator hooks = {sizeof hooks, &odd, allocate_pages, release_pages};
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.io = TARE_IO_DIRECT;
        options.threads = 3;
        options.chunk_size = chunk_size;
        options.allocator = &hooks;
        cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
        cr_expect_leq(odd, 1, "the block alone: %d", (int)chunk_size);
        tare_block_close(block);
    }
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * How many threads, and the size of chunks
 */

enum { NEAR, FAR }; /* parts that follow each other, and parts with gaps between */
enum { KIB = 1024, MIB = 1024 * KIB };

static const struct {
    const char *what;
    uint32_t direct, absent; /* shards that are read past the page cache, and not from it */
    int parts;               /* NEAR or FAR */
    bool device;
    uint64_t size;
    uint32_t threads[4]; /* with 1, 8, 16 and 64 processors */
} rows[] = {
    {"cached", 0, 0, NEAR, false, 64 * MIB, {1, 8, 16, 16}},
    {"cached, few bytes", 0, 0, NEAR, false, 1 * MIB, {1, 5, 5, 5}},
    {"cached, scattered", 0, 0, FAR, false, 64 * MIB, {1, 8, 16, 16}},
    {"absent", 0, 1, NEAR, false, 64 * MIB, {1, 8, 16, 16}},
    {"absent, scattered", 0, 1, FAR, false, 64 * MIB, {8, 8, 16, 16}},
    {"direct", 1, 0, NEAR, false, 64 * MIB, {16, 16, 16, 16}},
    {"direct, scattered", 1, 0, FAR, false, 64 * MIB, {64, 64, 64, 64}},
    {"direct, scattered, few bytes", 1, 0, FAR, false, 1 * MIB, {5, 5, 5, 5}},
    {"to a device, cached", 0, 0, NEAR, true, 64 * MIB, {1, 8, 12, 12}},
    {"to a device, absent", 0, 1, NEAR, true, 64 * MIB, {1, 8, 16, 16}},
    {"to a device, absent, scattered", 0, 1, FAR, true, 64 * MIB, {8, 8, 16, 16}},
    {"to a device, direct", 1, 0, NEAR, true, 64 * MIB, {32, 32, 32, 32}},
    {"to a device, direct and absent", 1, 1, NEAR, true, 64 * MIB, {32, 32, 32, 32}},
    {"to a device, direct, scattered", 1, 0, FAR, true, 64 * MIB, {64, 64, 64, 64}},
};

/* Of a plan of that many bytes, in pieces of 128 KiB, or of one. */
static uint32_t threads_of(size_t row, const tare_model *model, unsigned processors)
{
    static tarei_load_part parts[512];
    tarei_load_plan plan = {.model = model, .size = rows[row].size, .parts = parts};
    tarei_load_ways ways = {&plan, NULL, rows[row].direct, rows[row].absent};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_device device = {.staging_size_max = 256 * MIB};
    for (uint64_t at = 0; at < plan.size; at += 128 * KIB)
        parts[plan.part_count++] = (tarei_load_part){
            .where = rows[row].parts == FAR ? 2 * at : at,
            .size = 128 * KIB,
        };
    options.device = rows[row].device ? &device : NULL;
    os_fault.processors = processors;
    tarei_load_ways_choose(&ways, &options);
    return options.threads;
}

Test(load_way, threads_follow_from_the_processors_and_where_the_bytes_are)
{
    static const unsigned processors[] = {1, 8, 16, 64};
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
        for (size_t p = 0; p < 4; p++) {
            uint32_t wanted = rows[row].threads[p];
            uint32_t threads = threads_of(row, models.way[LOAD_READ], processors[p]);
            cr_expect_eq(threads, wanted, "%s, %u processors: %u", rows[row].what, processors[p],
                         threads);
            cr_expect_eq(threads_of(row, models.way[LOAD_READER], processors[p]), 1,
                         "a reader runs on the thread that called");
        }
}

#define GIB (UINT64_C(1024) * MIB)

typedef struct choice {
    const char *what;
    unsigned processors;
    uint64_t size;       /* of all that is loaded */
    uint32_t part_count; /* that lie so many bytes from each other; 0 is one */
    uint64_t gap, begin; /* of the first */
    uint32_t absent, direct;
    uint64_t staging; /* of the device; 0 is no device */
    uint32_t threads, chosen_threads;
    uint64_t chunk, chosen_chunk, flight, chosen_flight;
} choice;

static void check_choice(const choice *row)
{
    enum { PART_SIZE = 100, PARTS_MAX = 5000 };
    static tarei_load_part parts[PARTS_MAX];
    static const tare_model model;
    uint32_t count = row->part_count != 0 ? row->part_count : 1;
    for (uint32_t i = 0; i < count; i++) {
        parts[i].where = row->begin + i * (PART_SIZE + row->gap);
        parts[i].size = PART_SIZE;
    }
    tarei_load_plan plan = {
        .model = &model, .part_count = count, .parts = parts, .size = row->size};
    tarei_load_ways ways = {
        .plan = &plan, .direct_count = row->direct, .absent_count = row->absent};
    tare_device device = {.staging_size_max = row->staging};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.device = row->staging != 0 ? &device : NULL;
    options.threads = row->threads;
    options.chunk_size = row->chunk;
    options.flight_size_max = row->flight;
    os_fault.processors = row->processors;
    tarei_load_ways_choose(&ways, &options);
    cr_expect_eq(options.threads, row->chosen_threads, "%s: %u threads", row->what,
                 options.threads);
    cr_expect_eq(options.chunk_size, row->chosen_chunk, "%s: chunks of %llu", row->what,
                 (unsigned long long)options.chunk_size);
    cr_expect_eq(options.flight_size_max, row->chosen_flight, "%s: %llu in flight", row->what,
                 (unsigned long long)options.flight_size_max);
}

#define THREADS(number) .chosen_threads = (number)
#define CHUNK(size) .chosen_chunk = (size)
#define SCATTERED .part_count = 4098, .gap = 4097 /* one read more than chunks of 1 GiB */
#define STAGED(size) .staging = 2 * ((size) + 4096), .chosen_flight = (size)

Test(load_way, threads_are_those_of_the_machine_within_what_is_of_use)
{
    static const choice choices[] = {
        {"17", 17, GIB, THREADS(16), CHUNK(4 * MIB)},
        {"nothing", 16, 0, THREADS(1), CHUNK(256 * KIB)},
        {"less than a chunk", 16, 256 * KIB - 1, THREADS(1), CHUNK(256 * KIB)},
        {"a chunk", 16, 256 * KIB, THREADS(2), CHUNK(256 * KIB)},
        {"15 chunks", 16, 15 * 256 * KIB, THREADS(16), CHUNK(256 * KIB)},
        {"scattered, of 9", 9, GIB, SCATTERED, .absent = 1, THREADS(9), CHUNK(4 * MIB)},
        {"as many reads as chunks", 2, GIB, .part_count = 4097, .gap = 4097, .absent = 1,
         THREADS(2), CHUNK(4 * MIB)},
        {"one more for the first", 2, GIB, .part_count = 4097, .gap = 4097, .begin = 4097,
         .absent = 1, THREADS(8), CHUNK(4 * MIB)},
        {"scattered, some past it", 2, GIB, SCATTERED, .absent = 1, .direct = 1, THREADS(64),
         CHUNK(MIB)},
        {"parts near each other", 2, GIB, .part_count = 5000, .gap = 4096, .absent = 1, THREADS(2),
         CHUNK(4 * MIB)},
        {"parts that overlap", 2, GIB, .part_count = 5000, .gap = 0 - UINT64_C(1), .absent = 1,
         THREADS(8), CHUNK(4 * MIB)},
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) check_choice(&choices[i]);
}

Test(load_way, threads_to_a_device_are_fewer_from_the_page_cache_and_more_past_it)
{
    static const choice choices[] = {
        {"of 12", 12, GIB, STAGED(GIB), THREADS(12), CHUNK(4 * MIB)},
        {"of 13", 13, GIB, STAGED(GIB), THREADS(12), CHUNK(4 * MIB)},
        {"scattered, past it", 2, GIB, SCATTERED, .direct = 1, STAGED(GIB), THREADS(64),
         CHUNK(MIB)},
        {"little memory", 12, GIB, STAGED(8 * MIB), THREADS(12), CHUNK(680 * KIB)},
        {"less of it", 12, GIB, STAGED(MIB), THREADS(4), CHUNK(256 * KIB)},
        {"less than the caller allows", 2, GIB, STAGED(MIB), .flight = MIB + 1, THREADS(2),
         CHUNK(512 * KIB)},
        {"more than the caller allows", 2, GIB, .staging = GIB, .flight = MIB, .chosen_flight = MIB,
         THREADS(2), CHUNK(512 * KIB)},
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) check_choice(&choices[i]);
}

Test(load_way, chunks_are_a_quarter_of_what_a_thread_does_within_what_may_be_in_flight)
{
    static const choice choices[] = {
        {"a quarter", 2, 16 * MIB, THREADS(2), CHUNK(2 * MIB)},
        {"in whole pages", 2, 16 * MIB + 32767, THREADS(2), CHUNK(2 * MIB)},
        {"a page more", 2, 16 * MIB + 32768, THREADS(2), CHUNK(2 * MIB + 4096)},
        {"at least", 1, MIB, THREADS(1), CHUNK(256 * KIB)},
        {"more than that", 1, MIB + 4 * 4096, THREADS(1), CHUNK(256 * KIB + 4096)},
        {"of many threads", 2, GIB, .threads = 32, THREADS(32), CHUNK(2 * MIB)},
        {"of the caller's size", 2, GIB, .chunk = 8191, THREADS(2), CHUNK(4096)},
        {"of the caller's flight", 4, GIB, .flight = 2 * MIB, .chosen_flight = 2 * MIB, THREADS(4),
         CHUNK(512 * KIB)},
        {"for fewer threads", 5, GIB, .flight = MIB, .chosen_flight = MIB, THREADS(4),
         CHUNK(256 * KIB)},
        {"of all that may be in flight", 5, GIB, .flight = 8192, .chosen_flight = 8192, THREADS(1),
         CHUNK(8192)},
        {"of both", 5, GIB, .chunk = MIB, .flight = 3 * MIB - 1, .chosen_flight = 3 * MIB - 1,
         THREADS(2), CHUNK(MIB)},
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) check_choice(&choices[i]);
}
