#include <stdint.h>
#include <string.h>

#include "arena.h"
#include "support/alloc_probe.h"
#include "support/expect.h"

static alloc_probe probe;

static void expect_all_returned(const tarei_memory *memory)
{
    cr_expect_eq(probe.block_count, 0, "%zu blocks are out", probe.block_count);
    cr_expect_eq(probe.mistakes, 0, "%zu mistakes", probe.mistakes);
    cr_expect_eq(memory->held_size, 0);
}

Test(arena, memory_counts_what_it_holds)
{
    tarei_memory memory;
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    void *a = tarei_memory_take(&memory, 100, 8), *b = tarei_memory_take(&memory, 1, 4096);
    cr_expect_eq(memory.held_size, 101);
    cr_expect_eq((uintptr_t)b % 4096, 0);
    tarei_memory_give(&memory, a, 100, 8);
    cr_expect_eq(memory.held_size, 1);
    tarei_memory_give(&memory, b, 1, 4096);
    tarei_memory_give(&memory, NULL, 77, 8);
    expect_all_returned(&memory);
}

Test(arena, memory_of_no_bytes_is_there)
{
    tarei_memory memory;
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    void *nothing = tarei_memory_take(&memory, 0, 8);
    cr_expect_not_null(nothing);
    tarei_memory_give(&memory, nothing, 0, 8);
    expect_all_returned(&memory);
}

Test(arena, memory_without_hooks_is_aligned_too)
{
    tarei_memory memory;
    tarei_memory_init(&memory, NULL);
    for (size_t alignment = 1; alignment <= (size_t)2 << 20; alignment *= 2) {
        void *taken = tarei_memory_take(&memory, 3, alignment);
        cr_assert_not_null(taken);
        cr_expect_eq((uintptr_t)taken % alignment, 0, "%zu", alignment);
        memset(taken, 1, 3);
        tarei_memory_give(&memory, taken, 3, alignment);
    }
    cr_expect_eq(memory.held_size, 0);
    void *small[2] = {tarei_memory_take(&memory, 3, 1), tarei_memory_take(&memory, 3, 1)};
    uintptr_t both = (uintptr_t)small[0] | (uintptr_t)small[1];
    cr_expect_neq(both % ((size_t)2 << 20), 0, "aligned to no more than is asked for");
    for (size_t i = 0; i < 2; i++) tarei_memory_give(&memory, small[i], 3, 1);
    cr_expect_null(tarei_memory_take(&memory, UINT64_MAX, 64));
    cr_expect_null(tarei_memory_take(&memory, SIZE_MAX - 10, 64));
    cr_expect_eq(memory.held_size, 0);
}

Test(arena, pieces_are_aligned_and_do_not_overlap)
{
    enum { COUNT = 500 };
    tarei_memory memory;
    tarei_arena arena;
    unsigned char *pieces[COUNT];
    size_t sizes[COUNT];
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    tarei_arena_init(&arena, &memory);
    for (size_t i = 0; i < COUNT; i++) {
        size_t alignment = (size_t)1 << i % 13;
        sizes[i] = i * i % 977;
        if (i % 50 == 49) sizes[i] = 20000; /* more than a chunk */
        pieces[i] = tarei_arena_take(&arena, sizes[i], alignment);
        cr_assert_not_null(pieces[i], "piece %zu", i);
        cr_expect_eq((uintptr_t)pieces[i] % alignment, 0, "piece %zu to %zu", i, alignment);
        memset(pieces[i], (int)(i % 251), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++)
        for (size_t at = 0; at < sizes[i]; at++)
            cr_assert_eq(pieces[i][at], i % 251, "piece %zu was written over", i);
    tarei_arena_free(&arena);
    expect_all_returned(&memory);
}

Test(arena, a_large_piece_does_not_waste_the_chunk_before)
{
    tarei_memory memory;
    tarei_arena arena;
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    tarei_arena_init(&arena, &memory);
    for (size_t i = 0; i < 20; i++) {
        cr_assert_not_null(tarei_arena_take(&arena, 64, 64));
        cr_assert_not_null(tarei_arena_take(&arena, 100000, 64));
    }
    cr_expect_eq(probe.block_count, 21, "%zu chunks", probe.block_count);
    tarei_arena_free(&arena);
    expect_all_returned(&memory);
}

Test(arena, a_new_chunk_is_filled_before_another_is_taken)
{
    enum { COUNT = 200, SIZE = 3000 };
    tarei_memory memory;
    tarei_arena arena;
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    tarei_arena_init(&arena, &memory);
    for (size_t i = 0; i < COUNT; i++) cr_assert_not_null(tarei_arena_take(&arena, SIZE, 8));
    cr_expect_lt(probe.block_count, COUNT / 2, "%zu chunks", probe.block_count);
    tarei_arena_free(&arena);
    expect_all_returned(&memory);
}

Test(arena, without_memory_it_says_so_and_stays_usable)
{
    tarei_memory memory;
    tarei_arena arena;
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    tarei_arena_init(&arena, &memory);
    cr_assert_not_null(tarei_arena_take(&arena, 10, 1));
    probe.fail_at = 2;
    cr_expect_null(tarei_arena_take(&arena, 1000000, 64));
    cr_expect_not_null(tarei_arena_take(&arena, 10, 1));
    cr_expect_null(tarei_arena_take(&arena, UINT64_MAX, 64));
    cr_expect_null(tarei_arena_take(&arena, UINT64_MAX - 64, 1));
    cr_expect_null(tarei_arena_take(&arena, UINT64_MAX - 16, 1)); /* with its footer */
    cr_expect_not_null(tarei_arena_take(&arena, 1000000, 64));
    tarei_arena_free(&arena);
    expect_all_returned(&memory);
}

Test(arena, buffers_keep_their_bytes_while_they_grow)
{
    tarei_memory memory;
    tarei_buffer buffer = {0};
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    for (uint32_t i = 0; i < 10000; i++) {
        cr_assert(tarei_buffer_reserve(&buffer, &memory, sizeof i));
        memcpy((char *)buffer.data + buffer.size, &i, sizeof i);
        buffer.size += sizeof i;
    }
    for (uint32_t i = 0; i < 10000; i++)
        cr_assert_eq(((uint32_t *)buffer.data)[i], i, "item %u", i);
    cr_expect_lt(probe.calls, 40, "%zu calls for 10,000 items", probe.calls);
    cr_expect_leq(buffer.capacity, 2 * buffer.size);
    tarei_buffer_free(&buffer, &memory);
    cr_expect_null(buffer.data);
    expect_all_returned(&memory);
}

Test(arena, buffers_without_memory_stay_as_they_are)
{
    tarei_memory memory;
    tarei_buffer buffer = {0};
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    cr_assert(tarei_buffer_reserve(&buffer, &memory, 4));
    memcpy(buffer.data, "abcd", 4);
    buffer.size = 4;
    probe.fail_at = 2;
    cr_expect_not(tarei_buffer_reserve(&buffer, &memory, 100000));
    cr_expect_arr_eq(buffer.data, "abcd", 4);
    cr_expect_not(tarei_buffer_reserve(&buffer, &memory, UINT64_MAX));
    cr_expect_not(tarei_buffer_reserve(&buffer, &memory, UINT64_MAX - 100));
    cr_expect(tarei_buffer_reserve(&buffer, &memory, 100000));
    cr_expect_arr_eq(buffer.data, "abcd", 4);
    tarei_buffer_free(&buffer, &memory);
    expect_all_returned(&memory);
}

Test(arena, gives_pieces_of_every_size_on_a_fresh_arena)
{
    static const size_t alignments[] = {1, 64, 4096};
    for (size_t a = 0; a < 3; a++) {
        for (uint64_t size = 0; size<40000; size += size> 15000 && size < 17500 ? 1 : 61) {
            tarei_memory memory;
            tarei_arena arena;
            alloc_probe_init(&probe);
            tarei_memory_init(&memory, &probe.hooks);
            tarei_arena_init(&arena, &memory);
            unsigned char *piece = tarei_arena_take(&arena, size, alignments[a]);
            cr_assert_not_null(piece, "%llu bytes", (unsigned long long)size);
            memset(piece, 1, (size_t)size);
            tarei_arena_free(&arena);
            expect_all_returned(&memory);
        }
    }
}

Test(arena, trimming_keeps_the_bytes_and_gives_back_the_rest)
{
    tarei_memory memory;
    tarei_buffer buffer = {0};
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    cr_assert(tarei_buffer_reserve(&buffer, &memory, 100000));
    memset(buffer.data, 7, 10000);
    buffer.size = 10000;
    tarei_buffer_trim(&buffer, &memory, 16);
    cr_expect_eq(buffer.capacity, 10016);
    cr_expect_eq(memory.held_size, 10016);
    for (size_t i = 0; i < 10000; i++) cr_assert_eq(((unsigned char *)buffer.data)[i], 7);
    tarei_buffer_trim(&buffer, &memory, 16); /* nothing to gain */
    cr_expect_eq(buffer.capacity, 10016);
    tarei_buffer_free(&buffer, &memory);
    expect_all_returned(&memory);
}

Test(arena, trimming_what_holds_nothing_gives_back_all_but_the_spare)
{
    tarei_memory memory;
    tarei_buffer buffer = {0};
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    tarei_buffer_trim(&buffer, &memory, 16);
    cr_expect_null(buffer.data);
    cr_assert(tarei_buffer_reserve(&buffer, &memory, 100000));
    probe.fail_at = 2;
    tarei_buffer_trim(&buffer, &memory, 16);
    cr_expect_eq(buffer.capacity, 100000, "without memory it stays");
    tarei_buffer_trim(&buffer, &memory, 16);
    cr_expect_eq(buffer.size, 0);
    cr_expect_eq(buffer.capacity, 16);
    cr_expect_eq(memory.held_size, 16);
    tarei_buffer_free(&buffer, &memory);
    expect_all_returned(&memory);
}
