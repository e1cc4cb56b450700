#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "os.h"
#include "support/expect.h"
#include "support/load_models.h"
#include "support/name_sets.h"

enum { UNIT = TAREI_OS_DIRECT_UNIT };

static load_models models;
static tarei_memory memory;

static void open_models(void)
{
    load_models_open(&models);
    tarei_memory_init(&memory, NULL);
}

static void close_models(void)
{
    load_models_close(&models);
}

TestSuite(load_plan, .init = open_models, .fini = close_models);

/* A model of one file with that header, which goes away; the bytes of its tensors are not there. */
static tare_model *open_header(build_text header, uint64_t data_size)
{
    static reader_probe probe;
    build_text file = build_raw(header.data, header.size, 0);
    reader_probe_init(&probe, (const uint8_t *)file.data, file.size, 0);
    probe.reader.total_size += data_size;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
    expect_opened("a header", status, model, &error);
    build_free(&file);
    build_free(&header);
    return model;
}

/* The same of tensors of these sizes. */
static tare_model *open_sizes_behind(const uint64_t *sizes, size_t count, size_t header_size)
{
    build_text header = {0};
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++, at += sizes[i - 1])
        build_addf(&header,
                   "%s\"t%03zu\":{\"dtype\":\"U8\",\"shape\":[%llu],\"data_offsets\":[%llu,%llu]}",
                   i ? "," : "{", i, (unsigned long long)sizes[i], (unsigned long long)at,
                   (unsigned long long)(at + sizes[i]));
    build_addf(&header, "}");
    while (header.size < header_size) build_addf(&header, " ");
    return open_header(header, at);
}

static tare_model *open_sizes(const uint64_t *sizes, size_t count)
{
    return open_sizes_behind(sizes, count, 0);
}

static void begin(tarei_load_plan *plan, const tare_model *model, const tare_tensor *const *list,
                  size_t count)
{
    tare_error error;
    cr_assert_eq(tarei_load_plan_begin(plan, &memory, model, list, count, NULL, &error), TARE_OK);
    for (uint32_t i = 0; i < plan->part_count; i++) plan->parts[i].target = 1 << 20;
}

static void cut(tarei_load_plan *plan, uint64_t chunk_size, uint64_t gap_size)
{
    tare_error error;
    cr_assert_eq(tarei_load_plan_cut(plan, chunk_size, gap_size, &error), TARE_OK);
}

/* Every byte of every part is in one chunk; chunks keep their limits; streams are what is cut. */
static void check_cover(const tarei_load_plan *plan, uint64_t chunk_size, uint64_t gap_size)
{
    uint64_t *covered = calloc(plan->part_count + 1, sizeof *covered);
    uint32_t *cuts = calloc(plan->part_count + 1, sizeof *cuts);
    for (uint32_t c = 0; c < plan->chunk_count; c++) {
        const tarei_load_chunk *chunk = &plan->chunks[c];
        uint64_t page = chunk->begin / UNIT * UNIT, at = chunk->begin, size = 0;
        cr_assert_leq((chunk->end + UNIT - 1) / UNIT * UNIT - page, chunk_size);
        for (uint32_t p = chunk->part; p < chunk->part + chunk->part_count; p++) {
            const tarei_load_part *part = &plan->parts[p];
            tarei_load_span span = tarei_load_span_of(chunk, part);
            uint64_t offset = part->where & TAREI_OFFSET_MAX;
            cr_assert_eq(part->where >> TAREI_OFFSET_BITS, chunk->shard);
            cr_assert_eq(span.begin, offset + covered[p], "pieces come in order");
            cr_assert_eq((uintptr_t)span.target, part->target + covered[p]);
            cr_assert(span.begin >= at && span.begin - at <= gap_size);
            cr_assert_gt(span.size, 0);
            at = span.begin + span.size;
            covered[p] += span.size;
            size += span.size;
            cuts[p]++;
        }
        cr_assert_eq(at, chunk->end);
        cr_assert_eq(size, chunk->size);
    }
    uint32_t streams = 0;
    for (uint32_t p = 0; p < plan->part_count; p++) {
        cr_assert_eq(covered[p], plan->parts[p].size);
        cr_assert_eq(plan->parts[p].stream, cuts[p] > 1 ? streams++ : TAREI_LOAD_WHOLE);
        if (plan->taper_count == 0 && plan->parts[p].size <= chunk_size - UNIT)
            cr_assert_eq(cuts[p], 1);
    }
    cr_assert_eq(plan->stream_count, streams);
    free(covered);
    free(cuts);
}

/* Batches are all chunks in order; none could take the next chunk too. */
static void check_batches(const tarei_load_plan *plan, uint64_t chunk_size)
{
    uint32_t chunk = 0;
    for (uint32_t b = 0; b < plan->batch_count; b++) {
        uint64_t size = 0;
        cr_assert_eq(plan->batches[b], chunk);
        cr_assert_lt(plan->batches[b], plan->batches[b + 1]);
        for (; chunk < plan->batches[b + 1]; chunk++) size += plan->chunks[chunk].size;
        cr_assert_leq(size, chunk_size);
        if (chunk < plan->chunk_count) cr_assert_gt(size + plan->chunks[chunk].size, chunk_size);
    }
    cr_assert_eq(plan->batches[plan->batch_count], plan->chunk_count);
}

Test(load_plan, parts_come_by_shard_and_offset_whatever_the_order_asked_for)
{
    const tare_model *model = models.way[LOAD_SHARDS];
    const tare_tensor *list[LOAD_TENSOR_COUNT];
    uint32_t *places = name_shuffle(LOAD_TENSOR_COUNT);
    uint64_t size = 0;
    size_t parts = 0;
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) {
        list[i] = tare_at(model, places[i]);
        size += tare_size(model, list[i]);
        parts += tare_size(model, list[i]) != 0;
    }
    tarei_load_plan plan;
    begin(&plan, model, list, LOAD_TENSOR_COUNT);
    cr_assert_eq(plan.part_count, parts, "empty tensors have none");
    cr_assert_eq(plan.size, size);
    for (uint32_t i = 0; i < plan.part_count; i++) {
        const tare_tensor *tensor = list[plan.parts[i].entry];
        cr_expect_eq(plan.parts[i].where, tensor->where);
        cr_expect_eq(plan.parts[i].size, tare_size(model, tensor));
        cr_expect(i == 0 || plan.parts[i - 1].where < plan.parts[i].where);
    }
    cut(&plan, 1 << 30, 0);
    cr_expect_eq(plan.chunk_count, 3, "one for each shard");
    check_cover(&plan, 1 << 30, 0);
    tarei_load_plan_free(&plan);
    cr_expect_eq(memory.held_size, 0);
    free(places);
}

/* More than one pass of the sort looks at. */
Test(load_plan, thousands_in_any_order_come_by_offset)
{
    enum { COUNT = 5000 };
    static uint64_t sizes[COUNT];
    static const tare_tensor *list[COUNT];
    for (size_t i = 0; i < COUNT; i++) sizes[i] = 1 + i % 3;
    tare_model *model = open_sizes(sizes, COUNT);
    uint32_t *places = name_shuffle(COUNT);
    for (size_t i = 0; i < COUNT; i++) list[i] = tare_at(model, places[i]);
    tarei_load_plan plan;
    begin(&plan, model, list, COUNT);
    cr_assert_eq(plan.part_count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert_eq(places[plan.parts[i].entry], i, "in the order of the file");
    cut(&plan, 1 << 20, 0);
    cr_expect_eq(plan.chunk_count, 1);
    check_cover(&plan, 1 << 20, 0);
    tarei_load_plan_free(&plan);
    tare_close(model);
    free(places);
}

/* Of so many that their numbers have three digits of the sort. Only what is listed is there. */
Test(load_plan, lists_of_many_millions_come_by_offset)
{
    enum { ALL = (1 << 22) + 4000, COUNT = 4000, STEP = ALL / COUNT };
    static tarei_layout byte = {.size = 1, .dtype = TARE_DTYPE_U8}; /* a scalar */
    tarei_shard shard = {.source = {.descriptor = -1, .size = ALL}};
    tare_model model = {.layouts = (const uint64_t *)&byte, .shards = &shard, .shard_count = 1};
    model.tensors.records = calloc(ALL, sizeof *model.tensors.records);
    model.tensors.count = ALL;
    cr_assert_not_null(model.tensors.records);
    const tare_tensor **list = malloc(COUNT * sizeof *list);
    uint32_t *places = name_shuffle(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        size_t index = places[i] * (size_t)STEP + STEP - 1;
        model.tensors.records[index].where = index;
        list[i] = &model.tensors.records[index];
    }
    tarei_load_plan plan;
    begin(&plan, &model, list, COUNT);
    cr_assert_eq(plan.part_count, COUNT);
    for (uint32_t i = 1; i < COUNT; i++)
        cr_assert_gt(plan.parts[i].where, plan.parts[i - 1].where, "%u", i);
    tarei_load_plan_free(&plan);
    free(places);
    free(list);
    free(model.tensors.records);
}

Test(load_plan, small_gaps_are_read_along_and_larger_ones_are_not)
{
    static const uint64_t sizes[] = {100, 500, 100, 501, 100, 500};
    tare_model *model = open_sizes(sizes, 6);
    const tare_tensor *list[] = {tare_at(model, 4), tare_at(model, 0), tare_at(model, 2)};
    tarei_load_plan plan;
    begin(&plan, model, list, 3);
    cut(&plan, 1 << 20, 500);
    check_cover(&plan, 1 << 20, 500);
    cr_assert_eq(plan.chunk_count, 2);
    cr_expect_eq(plan.chunks[0].part_count, 2);
    cr_expect_eq(plan.chunks[0].begin, tare_offset(model, list[1]), "nothing before the first");
    cr_expect_eq(plan.chunks[0].end, tare_offset(model, list[2]) + 100, "nor behind the last");
    cr_expect_eq(plan.chunks[0].size, 200);
    tarei_load_plan_free(&plan);
    tare_close(model);
}

Test(load_plan, small_chunks_are_taken_together)
{
    static uint64_t sizes[1000];
    const tare_tensor *list[500];
    for (size_t i = 0; i < 1000; i++) sizes[i] = i % 2 ? 5000 : 100;
    tare_model *model = open_sizes(sizes, 1000);
    for (size_t i = 0; i < 500; i++) list[i] = tare_at(model, 2 * i);
    tarei_load_plan plan;
    begin(&plan, model, list, 500);
    cut(&plan, 2 * UNIT, 4096);
    cr_expect_eq(plan.chunk_count, 500);
    cr_expect_eq(plan.batch_count, 500 / 81 + 1, "81 of 100 bytes fit into 8192");
    check_batches(&plan, 2 * UNIT);
    tarei_load_plan_free(&plan);
    begin(&plan, model, list, 0);
    cut(&plan, 2 * UNIT, 4096);
    cr_expect_eq(plan.batch_count, 0);
    check_batches(&plan, 2 * UNIT);
    tarei_load_plan_free(&plan);
    tare_close(model);
}

/* To a device: what has room in a slot together, with 256 bytes between those that lie apart. */
Test(load_plan, parts_share_a_slot_as_far_as_it_goes)
{
    static const struct {
        uint64_t size, step, landing_size;
        uint32_t chunk_count;
    } rows[] = {
        {100, 100, 2 * UNIT, 38},  /* 81 of 100 bytes */
        {100, 101, 2 * UNIT, 131}, /* 1 of 100 and 22 of 356 */
        {100, 100, 1000, 300},     /* 10, which fill it */
        {2, 2, 2 * UNIT, 3},       /* 1,024 are the most */
        {2, 2, 2048, 3},           /* which is just room for them */
        {2, 2, 2046, 3},
    };
    static uint64_t sizes[3000];
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        for (size_t i = 0; i < 3000; i++) sizes[i] = rows[r].size;
        tare_model *model = open_sizes(sizes, 3000);
        tarei_load_plan plan;
        begin(&plan, model, NULL, 3000);
        for (uint32_t i = 0; i < plan.part_count; i++) plan.parts[i].target = i * rows[r].step;
        plan.landing_size = rows[r].landing_size;
        cut(&plan, 1000 * UNIT, 4096);
        cr_expect_eq(plan.chunk_count, rows[r].chunk_count, "row %zu: %u", r, plan.chunk_count);
        tarei_load_plan_free(&plan);
        tare_close(model);
    }
}

Test(load_plan, a_tensor_that_fits_into_a_chunk_is_not_cut)
{
    static const uint64_t sizes[] = {3 * UNIT, 3 * UNIT, 2 * UNIT, 9 * UNIT, 5, 70 * UNIT, 3};
    tare_model *model = open_sizes(sizes, 7);
    for (uint64_t pages = 1; pages < 90; pages++) {
        tarei_load_plan plan;
        begin(&plan, model, NULL, 7);
        cut(&plan, pages * UNIT, 0);
        check_cover(&plan, pages * UNIT, 0);
        cr_expect_leq(plan.chunk_count, 90 / pages + 7);
        tarei_load_plan_free(&plan);
    }
    tare_close(model);
}

Test(load_plan, one_listed_twice_is_read_twice)
{
    static const uint64_t sizes[] = {100, 20000, 100};
    tare_model *model = open_sizes(sizes, 3);
    const tare_tensor *list[] = {tare_at(model, 1), tare_at(model, 0), tare_at(model, 1),
                                 tare_at(model, 1), tare_at(model, 2), tare_at(model, 2)};
    for (uint64_t pages = 1; pages < 12; pages++) {
        tarei_load_plan plan;
        begin(&plan, model, list, 6);
        cr_assert_eq(plan.part_count, 6);
        cr_expect(plan.parts[1].entry == 0 && plan.parts[2].entry == 2 && plan.parts[3].entry == 3,
                  "as they were listed");
        cut(&plan, pages * UNIT, 1 << 20);
        check_cover(&plan, pages * UNIT, 1 << 20);
        tarei_load_plan_free(&plan);
    }
    tare_close(model);
}

Test(load_plan, random_lists_are_covered)
{
    static uint64_t sizes[200];
    const tare_tensor *list[200];
    uint64_t seed = 7;
    for (size_t i = 0; i < 200; i++) sizes[i] = name_random(&seed) % (i % 9 ? 3000 : 60000);
    tare_model *model = open_sizes(sizes, 200);
    for (unsigned round = 0; round < 400; round++) {
        size_t count = name_random(&seed) % 200;
        for (size_t i = 0; i < count; i++) list[i] = tare_at(model, name_random(&seed) % 200);
        uint64_t chunk_size = (1 + name_random(&seed) % 16) * UNIT;
        uint64_t gap_size = name_random(&seed) % 5000;
        tarei_load_plan plan;
        begin(&plan, model, list, count);
        cut(&plan, chunk_size, gap_size);
        check_cover(&plan, chunk_size, gap_size);
        check_batches(&plan, chunk_size);
        tarei_load_plan_free(&plan);
    }
    cr_expect_eq(memory.held_size, 0);
    tare_close(model);
}

/* The last chunks get smaller, down to a least size, and each is a batch of its own. */
Test(load_plan, chunks_taper_where_threads_shall_end_together)
{
    enum { COUNT = 1000, CHUNK = 4 << 20, LEAST = TAREI_LOAD_TAPER_SIZE, THREADS = 8 };
    uint64_t sizes[COUNT];
    for (size_t i = 0; i < COUNT; i++) sizes[i] = 50000 + i * 100;
    tare_model *model = open_sizes(sizes, COUNT);
    tarei_load_plan plan;
    begin(&plan, model, NULL, COUNT);
    plan.taper_count = THREADS;
    cut(&plan, CHUNK, 0);
    check_cover(&plan, CHUNK, 0);
    uint64_t left = plan.size;
    for (uint32_t i = 0; i < plan.chunk_count; left -= plan.chunks[i++].size) {
        const tarei_load_chunk *chunk = &plan.chunks[i];
        const tarei_load_part *last = &plan.parts[chunk->part + chunk->part_count - 1];
        cr_expect(chunk->end % UNIT == 0 ||
                      chunk->end == (last->where & TAREI_OFFSET_MAX) + last->size,
                  "%u ends with a page or a part", i);
        cr_expect_leq(plan.chunks[i].size, LEAST > left / THREADS ? LEAST : left / THREADS, "%u",
                      i);
        if (left > CHUNK * (THREADS + 1))
            cr_expect_gt(plan.chunks[i].size, CHUNK - 200000, "%u", i);
    }
    cr_expect_eq(plan.batch_count, plan.chunk_count);
    tarei_load_plan_free(&plan);
    tare_close(model);
}

Test(load_plan, what_is_left_is_shared_in_whole_pages)
{
    enum { THREADS = 8, SHARE = TAREI_LOAD_TAPER_SIZE + UNIT };
    for (uint64_t more = 0; more <= THREADS; more += THREADS) {
        const uint64_t size = THREADS * SHARE + more; /* of each a byte more, which is no page */
        tare_model *model = open_sizes_behind(&size, 1, UNIT - 8);
        tarei_load_plan plan;
        begin(&plan, model, NULL, 1);
        plan.taper_count = THREADS;
        cut(&plan, 4 << 20, 0);
        cr_expect_eq(plan.chunks[0].size, SHARE, "%u", plan.chunks[0].size);
        cr_expect_eq(plan.chunks[1].size, TAREI_LOAD_TAPER_SIZE, "%u", plan.chunks[1].size);
        tarei_load_plan_free(&plan);
        tare_close(model);
    }
}

Test(load_plan, parts_fill_a_chunk_to_its_last_byte)
{
    static const uint64_t sizes[] = {UNIT, UNIT, UNIT, UNIT, UNIT + 1, UNIT - 1};
    static const uint32_t firsts[] = {0, 2, 4};
    tare_model *model = open_sizes_behind(sizes, 6, UNIT - 8);
    tarei_load_plan plan;
    begin(&plan, model, NULL, 6);
    cut(&plan, 2 * UNIT, 0);
    cr_assert_eq(plan.chunk_count, 3);
    for (uint32_t i = 0; i < 3; i++) cr_expect_eq(plan.chunks[i].part, firsts[i]);
    tarei_load_plan_free(&plan);
    tare_close(model);
}

/* What is hashed in order stays with one thread from its first chunk to its last, whatever a batch
 * is to hold; and nothing else does. */
Test(load_plan, chunks_of_one_part_are_one_batch_where_they_must_come_in_order)
{
    static const uint64_t sizes[] = {100,  100,  100,  9000, 4000, 9000, 4000,
                                     9000, 4000, 9000, 4000, 9000, 30000};
    static const uint8_t some[] = {0, 1, 2, 4, 6, 8, 10, 12};
    static const uint32_t batches[] = {0, 2, 4, 5};
    const tare_tensor *list[8];
    tare_model *model = open_sizes_behind(sizes, 13, UNIT - 8);
    for (size_t i = 0; i < 8; i++) list[i] = tare_at(model, some[i]);
    tarei_load_plan plan;
    begin(&plan, model, list, 8);
    plan.in_order = true;
    cut(&plan, 2 * UNIT, 0);
    cr_assert_eq(plan.batch_count, 4, "%u", plan.batch_count);
    for (uint32_t i = 0; i < 4; i++) cr_expect_eq(plan.batches[i], batches[i], "%u", i);
    cr_expect_geq(plan.chunk_count, 5 + 30000 / (2 * UNIT));
    tarei_load_plan_free(&plan);
    const tare_tensor *large = tare_at(model, 12);
    begin(&plan, model, &large, 1);
    plan.in_order = true;
    cut(&plan, 2 * UNIT, 0);
    cr_expect_eq(plan.batch_count, 1);
    tarei_load_plan_free(&plan);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Places in a block
 */

Test(load_plan, places_are_aligned_and_apart)
{
    const tare_model *model = models.way[LOAD_SHARDS];
    for (size_t alignment = 1; alignment <= TAREI_ALIGNMENT_MAX; alignment *= 2)
        for (int direct = 0; direct < 2; direct++) {
            tarei_load_plan plan;
            uint64_t size, end = 0;
            tare_error error;
            begin(&plan, model, NULL, LOAD_TENSOR_COUNT);
            cr_assert_eq(tarei_load_plan_place(&plan, alignment, direct, &size, &error), TARE_OK);
            for (uint32_t i = 0; i < plan.part_count; i++) {
                cr_assert_eq(plan.parts[i].target % alignment, 0);
                cr_assert_geq(plan.parts[i].target, end);
                cr_assert_lt(plan.parts[i].target - end, alignment, "nothing is lost");
                end = plan.parts[i].target + plan.parts[i].size;
            }
            cr_assert_eq(size, end);
            tarei_load_plan_free(&plan);
        }
}

Test(load_plan, large_parts_lie_in_memory_as_in_the_file_where_that_saves_a_copy)
{
    static const uint64_t sizes[] = {64, 5 << 20, 100, 3 << 20, 28, 1 << 20, 64, (1 << 20) - 64};
    tare_model *model = open_sizes(sizes, 8);
    for (size_t alignment = 1; alignment <= 8192; alignment *= 2) {
        tarei_load_plan plan;
        uint64_t size;
        tare_error error;
        begin(&plan, model, NULL, 8);
        cr_assert_eq(tarei_load_plan_place(&plan, alignment, true, &size, &error), TARE_OK);
        for (uint32_t i = 0; i < 8; i++) {
            uint64_t offset = tare_offset(model, tare_at(model, i));
            cr_expect_eq(plan.parts[i].target % alignment, 0);
            if (sizes[i] >= 1 << 20 && offset % alignment == 0)
                cr_expect_eq(plan.parts[i].target % UNIT, offset % UNIT, "%zu: %u", alignment, i);
        }
        cr_expect_leq(size, (10 << 20) + 8 * (alignment + UNIT));
        tarei_load_plan_free(&plan);
    }
    tare_close(model);
}

/* A mebibyte is large, and a byte less is not; nothing is moved where nothing is read directly. */
Test(load_plan, only_parts_of_a_mebibyte_lie_in_memory_as_in_the_file)
{
    static const uint64_t sizes[] = {64, 100, 1 << 20, (1 << 20) - 1};
    tare_model *model = open_sizes(sizes, 4);
    for (size_t large = 2; large <= 3; large++)
        for (int direct = 0; direct <= 1; direct++) {
            const tare_tensor *list[] = {tare_at(model, 0), tare_at(model, large)};
            uint64_t offset = tare_offset(model, list[1]), size;
            tarei_load_plan plan;
            tare_error error;
            begin(&plan, model, list, 2);
            cr_assert_eq(tarei_load_plan_place(&plan, 1, direct, &size, &error), TARE_OK);
            uint64_t wanted = large == 2 && direct ? 64 + (offset - 64) % UNIT : 64;
            cr_expect_eq(plan.parts[1].target, wanted, "%zu, %d", large, direct);
            tarei_load_plan_free(&plan);
        }
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Limits
 */

Test(load_plan, more_than_can_be_counted_is_an_error)
{
    static const uint64_t sizes[] = {UINT64_C(1) << 45};
    enum { COUNT = 1 << 19 };
    tare_model *model = open_sizes(sizes, 1);
    const tare_tensor **list = malloc(COUNT * sizeof *list);
    tare_block *block = NULL;
    tare_error error = expect_poison();
    for (size_t i = 0; i < COUNT; i++) list[i] = tare_at(model, 0);
    tare_status status = tare_load(model, list, COUNT, NULL, &block, &error);
    expect_status("2^64 bytes", TARE_E_LIMIT, status, NULL, &error);
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.alignment = 4096;
    status = tare_load(model, list, 1 << 30, &options, &block, &error);
    expect_status("2^30 tensors", TARE_E_LIMIT, status, NULL, &error);
    status = tare_load(model, list, SIZE_MAX, NULL, &block, &error);
    expect_status("as many as there are", TARE_E_LIMIT, status, NULL, &error);
    free(list);
    tare_close(model);
}

/* That the last place is moved to where direct reads want it must not lead beyond 64 bits. */
Test(load_plan, places_beyond_64_bits_are_an_error)
{
    for (uint64_t room = 32; room <= UNIT; room += 32) {
        tarei_load_part parts[] = {{.size = UINT64_MAX - room + 1, .entry = 0},
                                   {.where = 64, .size = 2 << 20, .entry = 1}};
        tarei_load_plan plan = {.parts = parts, .part_count = 2};
        uint64_t size;
        tare_error error = expect_poison();
        tare_status status = tarei_load_plan_place(&plan, 64, true, &size, &error);
        expect_status("2^64 bytes", TARE_E_LIMIT, status, NULL, &error);
    }
}

/* Their sizes come to less than 2^64, and what lies between them to more; no byte is read. */
Test(load_plan, a_block_beyond_2_to_the_64_bytes_is_an_error)
{
    enum { COUNT = 1 << 19, ALIGNMENT = 2 << 20, PAGE = 4096 };
    static const uint64_t half = UINT64_C(1) << 45;
    static const uint64_t rows[][2] = {
        {half - PAGE, 1}, /* the next multiple of the alignment is beyond it */
        {half - 2 * ALIGNMENT - PAGE, (UINT64_C(1) << 41) + (1 << 30)}, /* the last one's end is */
    };
    const tare_tensor **list = malloc((COUNT + 1) * sizeof *list);
    for (size_t r = 0; r < 2; r++) {
        tare_model *model = open_sizes(rows[r], 2);
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block = NULL;
        tare_error error = expect_poison();
        for (size_t i = 0; i < COUNT; i++) list[i] = tare_at(model, 0);
        list[COUNT] = tare_at(model, 1);
        options.alignment = ALIGNMENT;
        options.io = TARE_IO_BUFFERED;
        tare_status status = tare_load(model, list, COUNT + 1, &options, &block, &error);
        expect_status("places", TARE_E_LIMIT, status, NULL, &error);
        tare_close(model);
    }
    free(list);
}

Test(load_plan, slices_of_2_to_the_30_runs_are_an_error)
{
    static const uint64_t start[] = {0, 0}, stop[] = {1 << 30, 1};
    const tare_slice first_column = {start, stop};
    build_text header = {0};
    build_addf(&header, "{\"t\":{\"dtype\":\"U8\",\"shape\":[1073741824,2],"
                        "\"data_offsets\":[0,2147483648]}}");
    tare_model *model = open_header(header, UINT64_C(1) << 31);
    const tare_tensor *tensor = tare_at(model, 0);
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block = NULL;
    tare_error error = expect_poison();
    options.slices = &first_column;
    tare_status status = tare_load(model, &tensor, 1, &options, &block, &error);
    expect_status("a column", TARE_E_LIMIT, status, NULL, &error);
    tare_close(model);
}
