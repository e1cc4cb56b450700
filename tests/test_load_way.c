/* Through the page cache or past it, by how many threads, and what the kernel is told before. */
#include <errno.h>

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
}

/* ------------------------------------------------------------------------------------------------
 * How many threads
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
