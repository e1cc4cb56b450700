/* What parsing leaves behind: records beside their sizes, and dtypes with shapes kept once. */
#include <stdlib.h>
#include <string.h>

#include "parse.h"
#include "support/alloc_probe.h"
#include "support/expect.h"

static alloc_probe probe;
static tarei_memory memory;
static tarei_parsed parsed;

static void start(void)
{
    alloc_probe_init(&probe);
    tarei_memory_init(&memory, &probe.hooks);
    memset(&parsed, 0, sizeof parsed);
    parsed.memory = &memory;
}

static void finish(void)
{
    tarei_buffer_free(&parsed.records, &memory);
    tarei_buffer_free(&parsed.sizes, &memory);
    tarei_buffer_free(&parsed.layouts, &memory);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
    cr_expect_eq(memory.held_size, 0);
}

TestSuite(parsed, .init = start, .fini = finish);

static uint32_t intern(tare_dtype dtype, const uint64_t *shape, uint32_t rank, uint64_t size)
{
    cr_assert(tarei_parsed_layout_begin(&parsed));
    for (uint32_t i = 0; i < rank; i++) cr_assert(tarei_parsed_layout_push(&parsed, shape[i]));
    return tarei_parsed_layout_intern(&parsed, dtype, size);
}

static void check_layout(uint32_t place, tare_dtype dtype, const uint64_t *shape, uint32_t rank,
                         uint64_t size)
{
    tarei_record record = {.layout = place};
    const tarei_layout *layout = tarei_parsed_layout(&parsed, &record);
    cr_assert_eq(layout->rank, rank, "rank %u", layout->rank);
    cr_expect_eq(layout->dtype, dtype);
    cr_expect_eq(layout->size, size);
    for (uint32_t i = 0; i < rank; i++) cr_expect_eq(layout->shape[i], shape[i], "shape[%u]", i);
}

Test(parsed, records_stand_beside_their_sizes)
{
    for (uint32_t i = 0; i < 1000; i++) {
        tarei_record record = {.where = i * UINT64_C(7), .layout = i, .name = ~i};
        cr_assert(tarei_parsed_add(&parsed.records, &parsed.sizes, &memory, record, i * 3));
    }
    const tarei_record *records = parsed.records.data;
    const uint32_t *sizes = parsed.sizes.data;
    cr_expect_eq(parsed.records.size, 1000 * sizeof *records);
    cr_expect_geq(parsed.records.capacity, 1001 * sizeof *records, "no room for one more");
    for (uint32_t i = 0; i < 1000; i++) {
        cr_expect_eq(records[i].where, i * UINT64_C(7));
        cr_expect_eq(records[i].layout, i);
        cr_expect_eq(records[i].name, ~i);
        cr_expect_eq(sizes[i], i * 3);
    }
}

Test(parsed, the_same_dtype_and_shape_are_kept_once)
{
    static const uint64_t shape[] = {7168, 1536};
    uint32_t first = intern(TARE_DTYPE_BF16, shape, 2, 22020096);
    uint64_t size = parsed.layout_at;
    for (int i = 0; i < 100; i++)
        cr_expect_eq(intern(TARE_DTYPE_BF16, shape, 2, 22020096), first, "time %d", i);
    cr_expect_eq(parsed.layout_at, size, "kept again");
    check_layout(first, TARE_DTYPE_BF16, shape, 2, 22020096);
}

Test(parsed, what_differs_in_anything_is_kept_apart)
{
    static const uint64_t shape[] = {2, 3, 4}, other[] = {2, 4, 3};
    uint32_t places[] = {
        intern(TARE_DTYPE_U8, shape, 3, 24), intern(TARE_DTYPE_I8, shape, 3, 24),
        intern(TARE_DTYPE_U8, other, 3, 24), intern(TARE_DTYPE_U8, shape, 2, 6),
        intern(TARE_DTYPE_U8, shape, 0, 1),  intern(TARE_DTYPE_I8, shape, 0, 1),
    };
    for (size_t i = 0; i < 6; i++)
        for (size_t j = 0; j < i; j++) cr_expect_neq(places[i], places[j], "%zu and %zu", i, j);
    check_layout(places[0], TARE_DTYPE_U8, shape, 3, 24);
    check_layout(places[1], TARE_DTYPE_I8, shape, 3, 24);
    check_layout(places[2], TARE_DTYPE_U8, other, 3, 24);
    check_layout(places[3], TARE_DTYPE_U8, shape, 2, 6);
    check_layout(places[4], TARE_DTYPE_U8, NULL, 0, 1);
    check_layout(places[5], TARE_DTYPE_I8, NULL, 0, 1);
}

/* The cache is small and forgets; what it gives back is right whatever it has forgotten. */
Test(parsed, thousands_of_shapes_in_turn_stay_right)
{
    enum { COUNT = 3000 };
    static uint32_t places[2][COUNT];
    for (size_t round = 0; round < 2; round++)
        for (uint64_t i = 0; i < COUNT; i++)
            places[round][i] = intern(TARE_DTYPE_F32, (uint64_t[]){i, i + 1}, 2, 4 * i * (i + 1));
    for (size_t round = 0; round < 2; round++)
        for (uint64_t i = 0; i < COUNT; i++)
            check_layout(places[round][i], TARE_DTYPE_F32, (uint64_t[]){i, i + 1}, 2,
                         4 * i * (i + 1));
}

Test(parsed, a_shape_of_any_rank_is_kept)
{
    enum { RANK = 100000 };
    uint64_t *shape = calloc(RANK, sizeof *shape);
    for (uint32_t i = 0; i < RANK; i++) shape[i] = i;
    uint32_t place = intern(TARE_DTYPE_U8, shape, RANK, 0);
    cr_expect_eq(intern(TARE_DTYPE_U8, shape, RANK, 0), place);
    check_layout(place, TARE_DTYPE_U8, shape, RANK, 0);
    free(shape);
}

Test(parsed, a_shape_that_was_given_up_leaves_nothing)
{
    static const uint64_t shape[] = {5};
    uint32_t before = intern(TARE_DTYPE_U8, shape, 1, 5);
    cr_assert(tarei_parsed_layout_begin(&parsed));
    cr_assert(tarei_parsed_layout_push(&parsed, 77));
    uint32_t after = intern(TARE_DTYPE_I8, shape, 1, 5);
    check_layout(before, TARE_DTYPE_U8, shape, 1, 5);
    check_layout(after, TARE_DTYPE_I8, shape, 1, 5);
}

Test(parsed, without_memory_it_says_so)
{
    tarei_record record = {.where = 1};
    probe.fail_at = 1;
    probe.fail_more = SIZE_MAX;
    cr_expect_not(tarei_parsed_add(&parsed.records, &parsed.sizes, &memory, record, 1));
    cr_expect_not(tarei_parsed_layout_begin(&parsed));
    probe.fail_at = probe.calls + 2;
    cr_expect_not(tarei_parsed_add(&parsed.records, &parsed.sizes, &memory, record, 1));
    cr_expect_eq(parsed.records.size, 0, "a record without its size");
    probe.fail_at = 0;
    cr_assert(tarei_parsed_layout_begin(&parsed));
    probe.fail_at = probe.calls + 1;
    size_t pushed = 0;
    while (pushed < 10000 && tarei_parsed_layout_push(&parsed, 1)) pushed++;
    cr_expect_lt(pushed, 10000, "grew without memory");
}

/* Places of layouts are 32 bits of 8-byte units. A model that comes near to that is not made: what
 * was parsed before says that it has so many, and the header has no tensor. */
Test(parsed, shapes_have_32_gib_at_most)
{
    static const char gguf[24] = {'G', 'G', 'U', 'F', 3};
    const uint64_t most = (uint64_t)UINT32_MAX * TAREI_LAYOUT_UNIT;
    for (int is_gguf = 0; is_gguf < 2; is_gguf++)
        for (uint64_t more = 0; more <= TAREI_LAYOUT_UNIT; more += TAREI_LAYOUT_UNIT) {
            tare_error error = expect_poison();
            tarei_gguf facts;
            tarei_cursor cursor = {.bytes = (const uint8_t *)gguf,
                                   .have = sizeof gguf,
                                   .file_size = sizeof gguf,
                                   .size_max = sizeof gguf,
                                   .error = &error};
            parsed.layouts.size = most - TAREI_LAYOUT_UNIT + more;
            tare_status status = is_gguf ? tarei_parse_gguf(&parsed, &cursor, &facts)
                                         : tarei_parse_safetensors(&parsed, "{}", 2, 10, 0, &error);
            cr_expect_eq(status, more == 0 ? TARE_OK : TARE_E_LIMIT, "%d", is_gguf);
            if (more != 0) expect_message("shapes", "32 GiB of shapes", &error);
        }
    parsed.layouts.size = 0;
}

/* What is just as much as may be is not what is too much. */
Test(parsed, an_excess_is_told_by_the_limit_that_it_is_beyond)
{
    static const uint64_t limits[TAREI_LIMITS] = {5, 5, 5, 5};
    static const char *const wanted[] = {
        "more tensors than tensor_count_max", "more dimensions than rank_max",
        "its name is longer than name_size_max", "more metadata than metadata_size_max"};
    for (size_t i = 0; i < TAREI_LIMITS; i++) {
        uint64_t found[TAREI_LIMITS] = {5, 5, 5, 5};
        found[i] = 6;
        const char *fault = tarei_parsed_fault(limits, found[0], found[1], found[2], found[3]);
        cr_expect_str_eq(fault, wanted[i]);
    }
    cr_expect_null(tarei_parsed_fault(limits, 5, 5, 5, 5));
}
