#include <stdio.h>

#include "support/expect.h"
#include "support/load_models.h"

static load_models models;
static tare_digest digests[LOAD_TENSOR_COUNT];

static void open_models(void)
{
    load_models_open(&models);
    const tare_model *model = models.way[LOAD_MEMORY];
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
        cr_assert_eq(tare_hash(model, tare_at(model, i), &digests[i], NULL), TARE_OK);
}

static void close_models(void)
{
    load_models_close(&models);
}

TestSuite(load_verify, .init = open_models, .fini = close_models, .timeout = 120);

static const uint64_t chunk_sizes[] = {4096, 12288, 65536, 1 << 20};

static tare_status load(const tare_model *model, uint64_t chunk_size, uint32_t threads,
                        const tare_digest *expected, tare_block **block, tare_error *error)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.chunk_size = chunk_size;
    options.threads = threads;
    options.digests = expected;
    *error = expect_poison();
    return tare_load(model, NULL, 0, &options, block, error);
}

Test(load_verify, right_digests_pass_however_tensors_are_cut)
{
    for (int way = LOAD_MEMORY; way <= LOAD_READER; way++) {
        if (way == LOAD_SHARDS) continue; /* there empty tensors are in other places */
        for (size_t c = 0; c < 4; c++)
            for (uint32_t threads = 1; threads <= 9; threads += 2) {
                tare_block *block;
                tare_error error;
                tare_status status =
                    load(models.way[way], chunk_sizes[c], threads, digests, &block, &error);
                cr_assert_eq(status, TARE_OK, "%s: %s", load_way_name(way), error.message);
                for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
                    cr_assert(load_right(models.way[way], tare_at(models.way[way], i),
                                         tare_block_data(block, i)));
                tare_block_close(block);
            }
    }
}

/* Each of them wrong once, those of empty tensors too. */
Test(load_verify, a_wrong_digest_names_its_tensor)
{
    const tare_model *model = models.way[LOAD_READ];
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
        for (size_t c = 0; c < 4; c++) {
            tare_block *block;
            tare_error error;
            uint64_t *half = c % 2 ? &digests[i].low : &digests[i].high;
            *half ^= UINT64_C(1) << i;
            tare_status status =
                load(model, chunk_sizes[c], 1 + (uint32_t)(i + c) % 5, digests, &block, &error);
            *half ^= UINT64_C(1) << i;
            const tare_tensor *tensor = tare_at(model, i);
            expect_refused("wrong", TARE_E_DIGEST, tare_offset(model, tensor), status, NULL,
                           &error);
            expect_message("wrong", tare_name(model, tensor).data, &error);
            expect_message("wrong", "m.safetensors'", &error);
            cr_expect_eq(error.shard, 0);
            cr_expect_null(block);
        }
}

/* Many threads at the pieces of few tensors: whoever comes last must not be left behind. */
Test(load_verify, no_piece_is_left_unhashed)
{
    const tare_model *model = models.way[LOAD_MEMORY];
    const tare_tensor *list[] = {tare_find(model, "t15", 3), tare_find(model, "t31", 3)};
    tare_digest wanted[2];
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(tare_hash(model, list[i], &wanted[i], NULL), TARE_OK);
    for (unsigned round = 0; round < 300; round++) {
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.chunk_size = 4096;
        options.threads = 2 + round % 7;
        options.digests = wanted;
        wanted[1].low ^= round % 2; /* a tensor that nobody hashed would pass */
        tare_status status = tare_load(model, list, 2, &options, &block, NULL);
        wanted[1].low ^= round % 2;
        cr_assert_eq(status, round % 2 ? TARE_E_DIGEST : TARE_OK, "round %u", round);
        tare_block_close(block);
    }
}

Test(load_verify, bytes_that_changed_on_disk_are_found)
{
    const tare_model *model = models.way[LOAD_READ];
    tare_block *block;
    tare_error error;
    const tare_tensor *tensor = tare_find(model, "t15", 3);
    models.file.data[tare_offset(model, tensor) + 123456] ^= 1;
    FILE *file = fopen(models.path.text, "r+b"); /* in place: it stays the file that is open */
    cr_assert_eq(fwrite(models.file.data, 1, models.file.size, file), models.file.size);
    cr_assert_eq(fclose(file), 0);
    tare_status status = load(model, 0, 0, digests, &block, &error);
    expect_refused("changed", TARE_E_DIGEST, tare_offset(model, tensor), status, NULL, &error);
    expect_message("changed", "'t15'", &error);
}
