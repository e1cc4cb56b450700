/* How a load finds out whether a file is in the page cache: eight looks, each into another eighth of
 * what is to be loaded of it, more than half of which must find what they look for. */
#define _GNU_SOURCE /* MADV_NOHUGEPAGE */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/expect.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

enum { LOOKS = 8, SIZE = 131072 };

static temp_path folder;
static tare_model *model; /* of eight tensors of the same size, which come to a mebibyte */

static temp_path write_tensors(const char *file_name, char first)
{
    build_tensor tensors[LOOKS];
    char names[LOOKS][2];
    for (size_t i = 0; i < LOOKS; i++) {
        names[i][0] = (char)(first + (char)i), names[i][1] = 0;
        tensors[i] = (build_tensor){names[i], 0, "U8", "[131072]", SIZE};
    }
    return temp_write_built(&folder, file_name, build_file(tensors, LOOKS, NULL));
}

static void open_model(void)
{
    folder = temp_folder_make();
    temp_path path = write_tensors("model.safetensors", 'a');
    model = expect_open_path("model", path.text, TARE_BACKING_READ);
    os_faults_reset();
}

static void close_model(void)
{
    os_faults_reset();
    tare_close(model);
    temp_folder_remove(&folder);
}

TestSuite(load_cached, .init = open_model, .fini = close_model);

/* How many files are opened to be read past the page cache. */
static size_t direct_count(const tare_model *of, uint32_t flags)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.flags = flags;
    os_fault.calls[OS_OPEN] = os_fault.calls[OS_NOWAIT] = 0;
    cr_assert_eq(tare_load(of, NULL, 0, &options, &block, NULL), TARE_OK);
    tare_block_close(block);
    return os_fault.calls[OS_OPEN];
}

Test(load_cached, more_than_half_of_eight_looks_must_find_it)
{
    for (size_t cached = 0; cached <= LOOKS; cached++) {
        os_faults_reset();
        os_fault.uncached = 1;
        os_fault.cached_looks = cached;
        cr_expect_eq(direct_count(model, TARE_LOAD_DROP_BEHIND), cached <= LOOKS / 2, "%zu",
                     cached);
        cr_expect_eq(os_fault.calls[OS_NOWAIT], LOOKS);
    }
}

Test(load_cached, each_look_is_into_another_eighth_wherever_in_it)
{
    uint64_t least = SIZE, most = 0;
    for (uint64_t seed = 1; seed <= 64; seed++) {
        os_faults_reset();
        os_fault.random = seed * UINT64_C(0x9E3779B97F4A7C15);
        direct_count(model, 0);
        cr_assert_eq(os_fault.calls[OS_NOWAIT], LOOKS);
        for (size_t i = 0; i < LOOKS; i++) {
            uint64_t begin = tare_offset(model, tare_at(model, i)), at = os_fault.looked_at[i];
            cr_expect(at >= begin && at < begin + SIZE, "look %zu", i);
            least = at - begin < least ? at - begin : least;
            most = at - begin > most ? at - begin : most;
        }
    }
    cr_expect(least < SIZE / 8 && most >= SIZE - SIZE / 8, "they may be anywhere");
}

Test(load_cached, past_it_is_read_what_is_more_than_half_of_the_memory)
{
    enum { ALL = LOOKS * SIZE };
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    os_fault.uncached = 1;
    os_fault.memory_size = 2 * ALL;
    cr_expect_eq(direct_count(model, 0), 0);
    os_fault.memory_size = 2 * ALL - page;
    cr_expect_eq(direct_count(model, 0), 1);
}

Test(load_cached, every_shard_is_looked_at_by_itself)
{
    char index[1024] = "{\"weight_map\":{";
    size_t used = 15;
    temp_path shards = temp_make_folder(&folder, "shards");
    temp_path outer = folder;
    folder = shards;
    write_tensors("a.safetensors", 'a');
    write_tensors("b.safetensors", 'i');
    for (char c = 'a'; c < 'a' + 2 * LOOKS; c++)
        used += (size_t)snprintf(index + used, sizeof index - used, "%s\"%c\":\"%c.safetensors\"",
                                 c == 'a' ? "" : ",", c, c < 'i' ? 'a' : 'b');
    used += (size_t)snprintf(index + used, sizeof index - used, "}}");
    temp_write(&folder, "model.safetensors.index.json", index, used);
    tare_model *two = expect_open_path("shards", shards.text, TARE_BACKING_READ);
    folder = outer;
    os_fault.uncached = 1;
    os_fault.cached_looks = LOOKS; /* the first file is there */
    cr_expect_eq(direct_count(two, TARE_LOAD_DROP_BEHIND), 1);
    cr_expect_eq(os_fault.calls[OS_NOWAIT], 2 * LOOKS);
    tare_close(two);
}

/* The kernel is told of no bytes that are read past the page cache. */
Test(load_cached, what_is_read_past_it_may_be_descriptor_0)
{
    int input = dup(0);
    close(0);
    os_fault.uncached = 1;
    os_fault.memory_size = 4096;
    size_t direct = direct_count(model, 0);
    if (input >= 0) dup2(input, 0);
    cr_expect_eq(direct, 1);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 0);
}

/* ------------------------------------------------------------------------------------------------
 * What the kernel is told of tensors that lie apart, and of those that fill chunks
 */

enum { SMALL = 4096, BETWEEN = 3 << 20, BLOCK = 2 << 20 };

/* Two small tensors with much between them, and one of a huge page. */
static tare_model *open_apart(void)
{
    static const build_tensor apart[] = {{"a", 0, "U8", "[4096]", SMALL},
                                         {"b", 0, "U8", "[3145728]", BETWEEN},
                                         {"c", 0, "U8", "[4096]", SMALL},
                                         {"d", 0, "U8", "[2097152]", BLOCK}};
    temp_path path = temp_write_built(&folder, "apart.safetensors", build_file(apart, 4, NULL));
    return expect_open_path("apart", path.text, TARE_BACKING_READ);
}

static void load_two(const tare_model *of, const char *first, const char *second,
                     const tare_load_options *options)
{
    const tare_tensor *list[] = {tare_find(of, first, 1), tare_find(of, second, 1)};
    tare_block *block;
    os_fault.calls[OS_FADVISE] = os_fault.advised_size = 0;
    cr_assert_eq(tare_load(of, list, first == second ? 1 : 2, options, &block, NULL), TARE_OK);
    tare_block_close(block);
}

Test(load_cached, small_chunks_are_announced_and_those_that_fill_a_batch_are_not)
{
    tare_model *apart = open_apart();
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    static const char large[] = "d";
    options.threads = 1;
    options.io = TARE_IO_BUFFERED;
    options.chunk_size = 256 << 10;
    os_fault.uncached = 1;
    load_two(apart, "a", "c", &options);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 2);
    cr_expect_eq(os_fault.advised_size, 2 * SMALL);
    load_two(apart, large, large, &options);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 0);
    tare_close(apart);
}

Test(load_cached, of_what_lies_apart_each_is_dropped_when_read_and_at_the_end)
{
    tare_model *apart = open_apart();
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.threads = 1;
    options.io = TARE_IO_BUFFERED;
    options.flags = TARE_LOAD_DROP_BEHIND;
    load_two(apart, "a", "c", &options);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 4);
    tare_close(apart);
}

Test(load_cached, small_pages_are_asked_for_blocks_of_a_huge_page_that_are_ours)
{
    tare_model *apart = open_apart();
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    static const char large[] = "d", small[] = "a";
    options.flags = TARE_LOAD_SMALL_PAGES;
    os_fault.advice_refused = MADV_NOHUGEPAGE;
    load_two(apart, large, large, &options);
    cr_expect_eq(os_fault.refused, 1);
    load_two(apart, small, small, &options);
    cr_expect_eq(os_fault.refused, 1, "not of small ones");
    tare_close(apart);
}

/* Up to a folio lies between what is dropped together at the end. */
Test(load_cached, what_lies_a_folio_apart_is_dropped_together_and_so_is_what_came_twice)
{
    static const build_tensor near[] = {{"a", 0, "U8", "[4096]", SMALL},
                                        {"b", 0, "U8", "[2097152]", BLOCK},
                                        {"c", 0, "U8", "[4096]", SMALL},
                                        {"d", 0, "U8", "[2097153]", BLOCK + 1},
                                        {"e", 0, "U8", "[4096]", SMALL}};
    static const struct {
        const char *first, *second;
        size_t calls;
    } rows[] = {{"a", "c", 3}, {"c", "e", 4}, {"a", "a", 3}};
    temp_path path = temp_write_built(&folder, "near.safetensors", build_file(near, 5, NULL));
    tare_model *of = expect_open_path("near", path.text, TARE_BACKING_READ);
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.threads = 1;
    options.io = TARE_IO_BUFFERED;
    options.flags = TARE_LOAD_DROP_BEHIND;
    for (size_t i = 0; i < 3; i++) {
        const tare_tensor *list[] = {tare_find(of, rows[i].first, 1),
                                     tare_find(of, rows[i].second, 1)};
        tare_block *block;
        os_faults_reset();
        cr_assert_eq(tare_load(of, list, 2, &options, &block, NULL), TARE_OK);
        tare_block_close(block);
        cr_expect_eq(os_fault.calls[OS_FADVISE], rows[i].calls, "row %zu: %zu", i,
                     os_fault.calls[OS_FADVISE]);
    }
    tare_close(of);
}

/* Only what a file system cannot do is tried another way. */
Test(load_cached, a_read_past_the_cache_that_fails_is_not_made_through_it)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    tare_error error = expect_poison();
    options.threads = 1;
    options.io = TARE_IO_DIRECT;
    os_fault.fail_at[OS_PREADV] = os_fault.fail_count = 1;
    os_fault.error = EIO;
    cr_expect_eq(tare_load(model, NULL, 0, &options, &block, &error), TARE_E_READ);
    cr_expect_eq(error.system_error, EIO);
}
