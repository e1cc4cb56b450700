/*
 * Where memory comes from, and when. This program is linked with --wrap for malloc and its like, to
 * see that nothing goes past the hooks. What happens when there is none is the business of
 * tests/faults.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/growing_files.h"
#include "support/name_sets.h"
#include "support/process_probe.h"
#include "support/reader_probe.h"
#include "support/set_models.h"
#include "support/temp_files.h"

static temp_path folder;
static build_text file, long_file, gguf_file;
static name_set set;
static size_t past_hooks; /* calls of malloc and its like */

void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    past_hooks++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    past_hooks++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    past_hooks++;
    return __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    past_hooks++;
    return __real_aligned_alloc(alignment, size);
}

static void make_models(void)
{
    static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};
    folder = temp_folder_make();
    file = build_file(two, 2, "{\"format\":\"pt\"}");
    long_file = growing_safetensors();
    temp_write_text(&folder, "single.safetensors", &file);
    temp_make_folder(&folder, "sharded");
    temp_make_folder(&folder, "alone");
    temp_write_text(&folder, "alone/m.safetensors", &long_file);
    gguf_file = growing_gguf();
    temp_write_text(&folder, "m-00001-of-00002.gguf", &gguf_file);
    temp_write_built(&folder, "m-00002-of-00002.gguf",
                     gguf_text(GGUF_HEAD("1", "2") GGUF_U16("split.no", "1") GGUF_U16(
                                   "split.count", "2") GGUF_TENSOR("a", "3", "24", "0") "p32 d3",
                               NULL));
    set = name_set_text();
    for (size_t i = 0; i < set.count; i++) set.shards[i] = (uint32_t)(i * 7 % 5);
    temp_path sharded = temp_join(&folder, "sharded");
    set_write_shards(&set, &sharded);
}

static void remove_models(void)
{
    temp_folder_remove(&folder);
    build_free(&file);
    build_free(&long_file);
    build_free(&gguf_file);
    name_set_free(&set);
}

TestSuite(allocation, .init = make_models, .fini = remove_models);

typedef tare_status opener(const tare_options *options, tare_model **model, tare_error *error);

static tare_status open_sharded(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open(temp_join(&folder, "sharded").text, options, model, error);
}

static tare_status open_gguf_bytes(const tare_options *options, tare_model **model,
                                   tare_error *error)
{
    return tare_open_bytes(gguf_file.data, gguf_file.size, options, model, error);
}

static tare_status open_bytes(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open_bytes(long_file.data, long_file.size, options, model, error);
}

static tare_status open_reader(const tare_options *options, tare_model **model, tare_error *error)
{
    static reader_probe probe;
    reader_probe_init(&probe, long_file.data, long_file.size, 100);
    return tare_open_reader(&probe.reader, options, model, error);
}

static alloc_probe probe;

static void check_nothing_left(const char *what, size_t n, size_t descriptors)
{
    cr_expect_eq(probe.block_count, 0, "%s %zu: %zu blocks are left", what, n, probe.block_count);
    cr_expect_eq(probe.mistakes, 0, "%s %zu: %zu mistakes", what, n, probe.mistakes);
    cr_expect_eq(probe_descriptor_count(), descriptors, "%s %zu: a descriptor is left", what, n);
    cr_expect_eq(probe_mapping_count(folder.text), 0, "%s %zu: a mapping is left", what, n);
}

/* Damage is reported as such however little memory there is, or as the lack of it; nothing
 * stays. */
Test(allocation, may_fail_at_every_call_for_damaged_files)
{
    static const char *const tails[] = {
        ",\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[999999,1000000]}}",
        ",\"layer.0.w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
        ",\"x\":{\"dtype\":\"U8\"}}",
        ",}",
    };
    for (size_t t = 0; t < sizeof tails / sizeof tails[0]; t++) {
        uint64_t header_size = 0;
        for (unsigned b = 8; b-- > 0;)
            header_size = header_size << 8 | (unsigned char)long_file.data[b];
        build_text header = {0};
        build_add(&header, long_file.data + 8, (size_t)header_size - 1);
        build_add(&header, tails[t], strlen(tails[t]));
        build_text damaged =
            build_raw(header.data, header.size, long_file.size - 8 - (size_t)header_size);
        tare_options options = TARE_OPTIONS_INIT;
        options.allocator = &probe.hooks;
        size_t descriptors = probe_descriptor_count();
        for (size_t n = 1; n < 1000; n++) {
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            alloc_probe_init(&probe);
            probe.fail_at = n;
            tare_status status =
                tare_open_bytes(damaged.data, damaged.size, &options, &model, &error);
            cr_expect_neq(status, TARE_OK, "%s", tails[t]);
            expect_status("damaged", status, status, model, &error);
            if (probe.refused == 0) cr_expect_neq(status, TARE_E_MEMORY, "%s", tails[t]);
            check_nothing_left("damaged", n, descriptors);
            if (probe.refused == 0) break;
        }
        build_free(&header);
        build_free(&damaged);
    }
}

/* Of so many names that finding one goes by its two parts, which are as many: whatever of them had
 * no memory, the model does not open. */
Test(allocation, may_fail_at_every_call_for_names_in_pairs)
{
    name_set names = name_set_groups(20000, 1);
    build_text whole = set_build_shard(&names, 0);
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &probe.hooks;
    size_t descriptors = probe_descriptor_count(), refused = 0;
    for (size_t n = 1; n < 1000; n++) {
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        alloc_probe_init(&probe);
        probe.fail_at = n;
        tare_status status = tare_open_bytes(whole.data, whole.size, &options, &model, &error);
        bool done = probe.refused == 0;
        if (status == TARE_OK) {
            for (size_t i = 0; i < names.count; i += 7)
                cr_assert_not_null(tare_find(model, names.names[i].data, names.names[i].size));
            tare_close(model);
        } else {
            expect_status("pairs", TARE_E_MEMORY, status, model, &error);
            refused++;
        }
        check_nothing_left("pairs", n, descriptors);
        if (done) break;
    }
    cr_expect_gt(refused, 10);
    build_free(&whole);
    name_set_free(&names);
}

Test(allocation, goes_through_the_hooks_only)
{
    static opener *const openers[] = {open_bytes, open_reader, open_gguf_bytes};
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &probe.hooks;
    for (size_t i = 0; i < 3; i++) {
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        alloc_probe_init(&probe);
        past_hooks = 0;
        tare_status status = openers[i](&options, &model, &error);
        size_t calls = past_hooks;
        expect_opened("hooks", status, model, &error);
        cr_expect_eq(calls, 0, "opener %zu: %zu calls go past the hooks", i, calls);
        tare_close(model);
    }
    static const char *const paths[] = {"single.safetensors", "sharded", "alone",
                                        "m-00002-of-00002.gguf"};
    for (size_t i = 0; i < 4; i++) {
        tare_model *model = expect_no_model();
        temp_path path = temp_join(&folder, paths[i]);
        past_hooks = 0;
        tare_status status = tare_open(path.text, &options, &model, NULL);
        size_t calls = past_hooks;
        cr_assert_eq(status, TARE_OK);
        cr_expect_eq(calls, 0, "%s: %zu calls go past the hooks", paths[i], calls);
        tare_close(model);
    }
}

Test(allocation, of_a_load_goes_through_its_own_hooks_only)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = open_sharded(NULL, &model, &error);
    expect_opened("shards", status, model, &error);
    tare_digest *digests = calloc(set.count, sizeof *digests);
    cr_assert_eq(tare_hash_many(model, NULL, 0, NULL, digests, NULL), TARE_OK);
    options.threads = 1; /* libc takes memory for each thread */
    options.digests = digests;
    for (options.io = TARE_IO_AUTO; options.io <= TARE_IO_DIRECT; options.io++) {
        tare_block *block = NULL;
        alloc_probe_init(&probe);
        options.allocator = &probe.hooks;
        past_hooks = 0;
        cr_assert_eq(tare_load(model, NULL, 0, &options, &block, &error), TARE_OK);
        size_t calls = past_hooks;
        cr_expect_eq(calls, 0);
        cr_expect_eq(probe.block_count, 2, "the block and its list");
        tare_block_close(block);
        cr_expect_eq(probe.block_count + probe.mistakes, 0);
    }
    free(digests);
    tare_close(model);
}

Test(allocation, happens_when_opening_and_closing_only)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    tare_status status = open_sharded(&options, &model, &error);
    expect_opened("shards", status, model, &error);
    const tare_tensor **out = calloc(set.count, sizeof *out);
    tare_digest *digests = calloc(set.count, sizeof *digests);
    tare_load_options alone = TARE_LOAD_OPTIONS_INIT;
    alone.threads = 1;
    char target[2];
    size_t calls = probe.calls, blocks = probe.block_count;
    past_hooks = 0;
    for (size_t i = 0; i < set.count; i++) {
        const tare_tensor *tensor = tare_find(model, set.names[i].data, set.names[i].size);
        tare_key key = tare_key_make(model, set.names[i].data, set.names[i].size);
        cr_assert_eq(tare_find_key(model, &key), tensor);
        tare_range range = tare_prefix(model, set.names[i].data, 2);
        while (tare_next(model, &range) != NULL) continue;
        tare_describe(model, tensor);
        tare_data(model, tensor);
        cr_assert_eq(tare_read(model, tensor, target, set_tensor_size(i), &error), TARE_OK);
        tare_read(model, tensor, target, 99, &error);
        const uint64_t half = set_tensor_size(i) / 2;
        tare_read_slice(model, tensor, &half, NULL, target, set_tensor_size(i) - half, &error);
        cr_assert_eq(error.status, TARE_OK);
    }
    tare_find_many(model, set.names, set.count, out);
    cr_expect_eq(tare_hash_many(model, NULL, 0, &alone, digests, &error), TARE_OK);
    cr_expect_eq(tare_hash(model, tare_at(model, 0), digests, &error), TARE_OK);
    cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_WILL_NEED, &error), TARE_OK);
    cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_POPULATE, &error), TARE_OK);
    tare_metadata_find(model, "format", 6);
    uint64_t number;
    tare_metadata_u64(model, "format", 6, &number, &error);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    cr_expect_eq(past_hooks, 0);
    cr_expect_eq(probe.calls, calls);
    cr_expect_eq(probe.block_count, blocks);
    free(out);
    free(digests);
    tare_close(model);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
}
