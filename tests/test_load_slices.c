/* Loading boxes of tensors, to the host and to a device, against tare_read_slice. */
#include <stdlib.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/fake_cuda.h"
#include "support/name_sets.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

enum { TENSOR_COUNT = 7, WAY_COUNT = 5, RANK_MAX = 3, ROUNDS = 60, ENTRY_MAX = 12 };

static const build_tensor tensors[TENSOR_COUNT] = {
    {"matrix", 0, "F32", "[300,70]", 84000}, {"wide", 0, "BF16", "[40,9000]", 720000},
    {"cube", 0, "U8", "[17,31,23]", 12121},  {"vector", 0, "I16", "[5001]", 10002},
    {"scalar", 0, "F64", "[]", 8},           {"empty", 0, "U8", "[4,0]", 0},
    {"half", 0, "F4", "[64,32]", 1024},
};

static temp_path folder;
static build_text file;
static reader_probe probe;
static tare_model *ways[WAY_COUNT];

static void begin(void)
{
    tare_options options = TARE_OPTIONS_INIT;
    fake_cuda_reset();
    folder = temp_folder_make();
    file = build_file(tensors, TENSOR_COUNT, NULL);
    temp_path path = temp_write_text(&folder, "m.safetensors", &file);
    reader_probe_init(&probe, file.data, file.size, 0);
    cr_assert_eq(tare_open(path.text, NULL, &ways[0], NULL), TARE_OK);
    options.backing = TARE_BACKING_READ;
    cr_assert_eq(tare_open(path.text, &options, &ways[1], NULL), TARE_OK);
    cr_assert_eq(tare_open_bytes(file.data, file.size, NULL, &ways[2], NULL), TARE_OK);
    cr_assert_eq(tare_open_reader(&probe.reader, NULL, &ways[3], NULL), TARE_OK);
    cr_assert_eq(tare_index_save(ways[0], NULL, NULL, NULL), TARE_OK);
    options.backing = TARE_BACKING_AUTO;
    options.index = TARE_INDEX_REQUIRE;
    cr_assert_eq(tare_open(path.text, &options, &ways[4], NULL), TARE_OK);
}

static void end(void)
{
    for (int i = 0; i < WAY_COUNT; i++) tare_close(ways[i]);
    build_free(&file);
    temp_folder_remove(&folder);
}

TestSuite(load_slices, .init = begin, .fini = end, .timeout = 120);

typedef struct boxes {
    const tare_tensor *list[ENTRY_MAX];
    tare_slice slices[ENTRY_MAX];
    uint64_t start[ENTRY_MAX][RANK_MAX];
    uint64_t stop[ENTRY_MAX][RANK_MAX];
    size_t count;
} boxes;

/* Random boxes of random tensors, some of them twice, some whole; F4 by whole rows. */
static void make_boxes(const tare_model *model, uint64_t *seed, boxes *made)
{
    made->count = (size_t)(name_random(seed) % (ENTRY_MAX + 1));
    for (size_t i = 0; i < made->count; i++) {
        made->list[i] = tare_at(model, (size_t)(name_random(seed) % TENSOR_COUNT));
        tare_info info = tare_describe(model, made->list[i]);
        made->slices[i] = (tare_slice){NULL, NULL};
        for (uint32_t d = 0; d < info.rank; d++) {
            bool whole = info.dtype == TARE_DTYPE_F4 && d == 1;
            uint64_t a = whole ? 0 : name_random(seed) % (info.shape[d] + 1);
            uint64_t b = whole ? info.shape[d] : name_random(seed) % (info.shape[d] + 1);
            made->start[i][d] = a < b ? a : b;
            made->stop[i][d] = a < b ? b : a;
        }
        if (name_random(seed) % 4 != 0) made->slices[i].start = made->start[i];
        if (name_random(seed) % 4 != 0) made->slices[i].stop = made->stop[i];
    }
}

/* `found` NULL: the bytes are not to be had. */
static void check_slice(const tare_model *model, const boxes *of, size_t i, const void *found,
                        uint64_t size)
{
    uint64_t wanted_size;
    const tare_slice *slice = &of->slices[i];
    cr_assert_eq(tare_slice_size(model, of->list[i], slice->start, slice->stop, &wanted_size, NULL),
                 TARE_OK);
    cr_assert_eq(size, wanted_size);
    if (size == 0) return;
    void *wanted = malloc((size_t)size);
    cr_assert_eq(
        tare_read_slice(model, of->list[i], slice->start, slice->stop, wanted, (size_t)size, NULL),
        TARE_OK);
    cr_assert(found != NULL && memcmp(found, wanted, (size_t)size) == 0, "%s",
              tare_name(model, of->list[i]).data);
    free(wanted);
}

static const void *bytes_at(const tare_device *device, void *data, uint64_t size)
{
    if (device == NULL) return data;
    return size != 0 ? fake_cuda_look((uintptr_t)data, (size_t)size) : NULL;
}

static void load_block(const tare_model *model, const boxes *of, const tare_load_options *options)
{
    tare_block *block = NULL;
    tare_error error = expect_poison();
    tare_status status = tare_load(model, of->list, of->count, options, &block, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    size_t alignment = options->alignment != 0 ? options->alignment : 64;
    for (size_t i = 0; i < of->count; i++) {
        void *data = tare_block_data(block, i);
        uint64_t size = tare_block_size(block, i);
        cr_assert_eq((uintptr_t)data % alignment, 0);
        check_slice(model, of, i, bytes_at(options->device, data, size), size);
    }
    tare_block_close(block);
}

static void load_into(const tare_model *model, const boxes *of, const tare_load_options *options)
{
    void *targets[ENTRY_MAX];
    uint64_t sizes[ENTRY_MAX];
    size_t target_sizes[ENTRY_MAX];
    tare_load_options checked = *options;
    tare_error error = expect_poison();
    checked.target_sizes = target_sizes;
    for (size_t i = 0; i < of->count; i++) {
        const tare_slice *slice = &of->slices[i];
        tare_slice_size(model, of->list[i], slice->start, slice->stop, &sizes[i], NULL);
        targets[i] = NULL;
        if (sizes[i] != 0 && options->device != NULL)
            targets[i] = (void *)(uintptr_t)fake_cuda_take(0, (size_t)sizes[i]);
        else if (sizes[i] != 0)
            targets[i] = malloc((size_t)sizes[i]);
        target_sizes[i] = (size_t)sizes[i];
    }
    tare_status status = tare_load_into(model, of->list, targets, of->count, &checked, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    if (of->count != 0) {
        const size_t last = of->count - 1;
        target_sizes[last]++; /* which the sum of all shows too, but not whose it is */
        status = tare_load_into(model, of->list, targets, of->count, &checked, &error);
        cr_assert_eq(status, TARE_E_TARGET_SIZE, "%s", error.message);
        expect_message(
            "too large",
            sizes[last] != 0 ? tare_name(model, of->list[last]).data : "nothing is loaded", &error);
    }
    for (size_t i = 0; i < of->count; i++) {
        check_slice(model, of, i, bytes_at(options->device, targets[i], sizes[i]), sizes[i]);
        if (options->device == NULL)
            free(targets[i]);
        else if (targets[i] != NULL)
            fake_cuda_give((uintptr_t)targets[i]);
    }
}

Test(load_slices, random_boxes_in_every_way)
{
    static const uint64_t chunk_sizes[] = {0, 4096, 20000, 1 << 20};
    const char *text = getenv("SLICE_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) * 2 + 1 : 5;
    tare_device *device = NULL;
    cr_assert_eq(tare_device_open("cuda:0", NULL, &device, NULL), TARE_OK);
    for (unsigned round = 0; round < ROUNDS; round++)
        for (int way = 0; way < WAY_COUNT; way++) {
            boxes made;
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            make_boxes(ways[way], &seed, &made);
            options.slices = made.slices;
            options.chunk_size = chunk_sizes[name_random(&seed) % 4];
            options.threads = (uint32_t)(name_random(&seed) % 4);
            options.io = (uint32_t)(name_random(&seed) % 3);
            options.alignment = (size_t)1 << name_random(&seed) % 13;
            for (int to = 0; to < 2; to++) {
                options.device = to == 0 ? NULL : device;
                load_block(ways[way], &made, &options);
                load_into(ways[way], &made, &options);
            }
        }
    tare_device_close(device);
    cr_assert(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

/* The share of one of two ranks, of rows and of columns; a slot holds many runs and one copy brings
 * them. */
Test(load_slices, shares_of_ranks_come_with_few_copies)
{
    tare_device *device = NULL;
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    cr_assert_eq(tare_device_open("cuda:1", NULL, &device, NULL), TARE_OK);
    boxes made = {.list = {tare_find(ways[1], "wide", 4), tare_find(ways[1], "wide", 4)},
                  .start = {{20, 0}, {0, 4500}},
                  .stop = {{40, 9000}, {40, 9000}},
                  .count = 2};
    for (size_t i = 0; i < 2; i++) made.slices[i] = (tare_slice){made.start[i], made.stop[i]};
    options.device = device;
    options.slices = made.slices;
    options.threads = 1;
    options.chunk_size = 1 << 20;
    load_block(ways[1], &made, &options);
    cr_expect_leq(fake_cuda()->copies, 2, "%zu", fake_cuda()->copies);
    tare_device_close(device);
}

Test(load_slices, what_cannot_be_a_slice_is_refused)
{
    static const uint64_t good[] = {1, 2}, beyond[] = {301, 70}, odd[] = {3, 31};
    static const struct {
        const char *what;
        const char *name;
        tare_slice slice;
        tare_status status;
    } rows[] = {
        {"beyond the shape", "matrix", {NULL, beyond}, TARE_E_ARGUMENT},
        {"start behind stop", "matrix", {beyond, good}, TARE_E_ARGUMENT},
        {"within a byte", "half", {NULL, odd}, TARE_E_SUBBYTE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const tare_tensor *list[] = {tare_find(ways[0], "vector", 6),
                                     tare_find(ways[0], rows[i].name, strlen(rows[i].name))};
        tare_slice slices[] = {{NULL, NULL}, rows[i].slice};
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block = (void *)&probe;
        tare_error error = expect_poison();
        options.slices = slices;
        tare_status status = tare_load(ways[0], list, 2, &options, &block, &error);
        expect_status(rows[i].what, rows[i].status, status, NULL, &error);
        expect_message(rows[i].what, rows[i].name, &error);
        cr_expect_null(block);
    }
    tare_digest digests[TENSOR_COUNT] = {{0, 0}};
    tare_slice slices[TENSOR_COUNT] = {{NULL, NULL}};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block = (void *)&probe;
    options.slices = slices;
    options.digests = digests;
    cr_expect_eq(tare_load(ways[0], NULL, 0, &options, &block, NULL), TARE_E_ARGUMENT);
    cr_expect_null(block);
}

Test(load_slices, memory_may_run_out)
{
    uint64_t seed = 9;
    boxes made;
    do make_boxes(ways[1], &seed, &made);
    while (made.count < ENTRY_MAX);
    for (size_t at = 1;; at++) {
        alloc_probe hooks;
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block = NULL;
        alloc_probe_init(&hooks);
        hooks.fail_at = at;
        options.allocator = &hooks.hooks;
        options.slices = made.slices;
        tare_status status = tare_load(ways[1], made.list, made.count, &options, &block, NULL);
        tare_block_close(block);
        cr_assert_eq(hooks.block_count + hooks.mistakes, 0);
        if (hooks.refused == 0) {
            cr_assert_eq(status, TARE_OK);
            break;
        }
        cr_assert_eq(status, TARE_E_MEMORY);
    }
}
