/*
 * Memory that runs out: the n-th allocation fails, for every n, once and from then on, in every call
 * that allocates. This program is linked with --wrap for malloc and its like, to see that nothing
 * goes past the hooks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/file_list.h"
#include "support/gguf_text.h"
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

/* Enough of everything that storage has to grow: tensors out of order, shapes that differ, long and
 * escaped names, metadata. */
static build_text make_long_file(void)
{
    build_text header = {0};
    build_addf(&header, "{\"__metadata__\":{\"format\":\"pt\"");
    for (unsigned i = 0; i < 300; i++) build_addf(&header, ",\"key %u\":\"\\u00e9 %u\"", i, i);
    build_addf(&header, "}");
    unsigned end = 0;
    for (unsigned i = 0; i < 600; i++) end += i % 40;
    unsigned at = end;
    for (unsigned i = 600; i-- > 0;) {
        unsigned size = i % 40;
        build_addf(&header,
                   ",\"layer\\u002e%u.w\":{\"dtype\":\"U8\",\"shape\":[1,%u,1], "
                   "\"data_offsets\":[%u,%u]}",
                   i, size, at - size, at);
        at -= size;
    }
    build_addf(&header, "}");
    build_text made = build_raw(header.data, header.size, end);
    build_free(&header);
    return made;
}

/* Tensors and entries enough for their storage to grow, an array that stays in the header, and a
 * header of several pieces. */
static build_text make_gguf_file(void)
{
    build_text made = gguf_text(GGUF_HEAD("700", "403") GGUF_U16("split.no", "0")
                                    GGUF_U16("split.count", "2") "\"words\" 4:9 4:8 8:2 \"one\" "
                                                                 "90000\"x\" ",
                                NULL);
    for (unsigned i = 0; i < 1100; i++) {
        char words[120];
        if (i < 400)
            snprintf(words, sizeof words, GGUF_TEXT("key %u", "value %u"), i, i);
        else
            snprintf(words, sizeof words, GGUF_TENSOR("layer.%u.w", "%u", "24", "0"), i, 0u);
        build_text one = gguf_text(words, NULL);
        build_add(&made, one.data, one.size);
        build_free(&one);
    }
    while (made.size % 32 != 0) build_add(&made, "", 1);
    return made;
}

static void make_models(void)
{
    static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};
    folder = temp_folder_make();
    file = build_file(two, 2, "{\"format\":\"pt\"}");
    long_file = make_long_file();
    temp_write_text(&folder, "single.safetensors", &file);
    temp_make_folder(&folder, "sharded");
    temp_make_folder(&folder, "alone");
    temp_write_text(&folder, "alone/m.safetensors", &long_file);
    gguf_file = make_gguf_file();
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

static tare_status open_single(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open(temp_join(&folder, "single.safetensors").text, options, model, error);
}

static tare_status open_folder(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open(temp_join(&folder, "alone").text, options, model, error);
}

static tare_status open_sharded(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open(temp_join(&folder, "sharded").text, options, model, error);
}

static tare_status open_split(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open(temp_join(&folder, "m-00001-of-00002.gguf").text, options, model, error);
}

static tare_status open_gguf_bytes(const tare_options *options, tare_model **model,
                                   tare_error *error)
{
    return tare_open_bytes(gguf_file.data, gguf_file.size, options, model, error);
}

static tare_status open_no_shards(const tare_options *options, tare_model **model,
                                  tare_error *error)
{
    static const char index[] = "{\"weight_map\":{}}";
    temp_path path = temp_write(&folder, "none.json", index, sizeof index - 1);
    return tare_open(path.text, options, model, error);
}

static tare_status open_no_pairs(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open_pairs(NULL, 0, options, model, error);
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

static file_list files;

static tare_status open_files(const tare_options *options, tare_model **model, tare_error *error)
{
    return tare_open_files(files.files, files.count, options, model, error);
}

static tare_status open_pairs(const tare_options *options, tare_model **model, tare_error *error)
{
    return set_open_pairs(&set, options, model, error);
}

static tare_status open_pairs_twice(const tare_options *options, tare_model **model,
                                    tare_error *error)
{
    static const tare_pair pairs[] = {{"a", 1, "x", 1}, {"a", 1, "y", 1}, {"b", 1, NULL, 0}};
    tare_options keep = *options;
    keep.flags = TARE_PAIRS_KEEP_FIRST;
    keep.alignment = (size_t)2 << 20;
    return tare_open_pairs(pairs, 3, &keep, model, error);
}

static alloc_probe probe;

static size_t count_of(opener *open)
{
    static const tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = open(&options, &model, &error);
    expect_opened("with all memory there is", status, model, &error);
    size_t count = tare_count(model);
    tare_close(model);
    return count;
}

static void check_nothing_left(const char *what, size_t n, size_t descriptors)
{
    cr_expect_eq(probe.block_count, 0, "%s %zu: %zu blocks are left", what, n, probe.block_count);
    cr_expect_eq(probe.mistakes, 0, "%s %zu: %zu mistakes", what, n, probe.mistakes);
    cr_expect_eq(probe_descriptor_count(), descriptors, "%s %zu: a descriptor is left", what, n);
    cr_expect_eq(probe_mapping_count(folder.text), 0, "%s %zu: a mapping is left", what, n);
}

/* A second attempt that finds memory may make up for a failure that does not last; then the model
 * must be whole. */
static void check_opener(const char *what, opener *open, uint32_t backing, int onwards)
{
    size_t wanted = count_of(open);
    size_t descriptors = probe_descriptor_count();
    tare_options options = TARE_OPTIONS_INIT;
    options.backing = backing;
    options.allocator = &probe.hooks;
    for (size_t n = 1; n < 1000; n++) {
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        alloc_probe_init(&probe);
        probe.fail_at = n;
        probe.fail_onwards = onwards;
        tare_status status = open(&options, &model, &error);
        if (status == TARE_OK && (probe.refused == 0 || !onwards)) {
            expect_opened(what, status, model, &error);
            cr_expect_eq(tare_count(model), wanted, "%s %zu: a part is lacking", what, n);
        } else {
            expect_status(what, TARE_E_MEMORY, status, model, &error);
            cr_expect_eq(error.offset, TARE_NO_OFFSET, "%s %zu", what, n);
        }
        tare_close(status == TARE_OK ? model : NULL);
        check_nothing_left(what, n, descriptors);
        if (probe.refused == 0) {
            cr_expect_gt(n, 3, "%s allocates %zu times", what, n - 1);
            return;
        }
        probe.fail_at = 0; /* now there is memory */
        status = open(&options, &model, &error);
        expect_opened(what, status, model, &error);
        tare_close(model);
        check_nothing_left(what, n, descriptors);
    }
    cr_expect_fail("%s: more than 1,000 allocations", what);
}

static void check_once_and_onwards(const char *what, opener *open, uint32_t backing)
{
    check_opener(what, open, backing, 0);
    check_opener(what, open, backing, 1);
}

static void check_backings(const char *what, opener *open)
{
    check_once_and_onwards(what, open, TARE_BACKING_AUTO);
    check_once_and_onwards(what, open, TARE_BACKING_MAP);
    check_once_and_onwards(what, open, TARE_BACKING_READ);
}

Test(allocation, may_fail_at_every_call_for_one_file)
{
    check_backings("single", open_single);
}

Test(allocation, may_fail_at_every_call_for_a_folder)
{
    check_backings("folder", open_folder);
}

Test(allocation, may_fail_at_every_call_for_shards)
{
    check_backings("sharded", open_sharded);
}

Test(allocation, may_fail_at_every_call_for_split_gguf)
{
    check_backings("split", open_split);
    check_once_and_onwards("gguf bytes", open_gguf_bytes, TARE_BACKING_AUTO);
}

Test(allocation, may_fail_at_every_call_for_nothing)
{
    check_backings("no shards", open_no_shards);
    check_once_and_onwards("no pairs", open_no_pairs, TARE_BACKING_AUTO);
}

Test(allocation, may_fail_at_every_call_for_bytes)
{
    check_once_and_onwards("bytes", open_bytes, TARE_BACKING_AUTO);
}

Test(allocation, may_fail_at_every_call_for_a_reader)
{
    check_once_and_onwards("reader", open_reader, TARE_BACKING_AUTO);
}

/* Heads of 1,000 bytes: of the GGUF part a copy has to grow. */
Test(allocation, may_fail_at_every_call_for_files)
{
    temp_path sharded = temp_join(&folder, "sharded");
    file_list_read(&files, sharded.text);
    check_once_and_onwards("sharded files", open_files, TARE_BACKING_AUTO);
    file_list_free(&files);
    temp_path split = temp_make_folder(&folder, "split");
    temp_write_text(&split, "m.gguf", &gguf_file);
    file_list_read(&files, split.text);
    file_list_lend(&files, 1000);
    check_once_and_onwards("a short head", open_files, TARE_BACKING_AUTO);
    file_list_lend(&files, 1 << 20);
    check_once_and_onwards("a head that is lent", open_files, TARE_BACKING_AUTO);
    file_list_free(&files);
}

static int visit_nothing(void *context, const char *name, size_t name_size)
{
    (void)context, (void)name, (void)name_size;
    return 0;
}

Test(allocation, may_fail_at_every_call_for_a_list_of_files)
{
    static const char index[] =
        "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}";
    const tare_file listed = {.name = "m.json", .bytes = index, .size = sizeof index - 1};
    const tare_file part = {.name = "m-00001-of-00002.gguf"};
    const tare_file *kinds[] = {&listed, &part};
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &probe.hooks;
    for (size_t kind = 0; kind < 2; kind++) {
        for (size_t n = 1;; n++) {
            alloc_probe_init(&probe);
            probe.fail_at = n;
            tare_status status = tare_list_files(kinds[kind], &options, visit_nothing, NULL, NULL);
            cr_expect_eq(probe.block_count, 0, "kind %zu, %zu: blocks are left", kind, n);
            if (probe.refused == 0) {
                cr_expect_eq(status, TARE_OK);
                cr_expect_gt(n, 3, "kind %zu allocates %zu times", kind, n - 1);
                break;
            }
            cr_expect_eq(status, TARE_E_MEMORY, "kind %zu, %zu", kind, n);
        }
    }
}

Test(allocation, may_fail_at_every_call_for_pairs)
{
    check_once_and_onwards("pairs", open_pairs, TARE_BACKING_AUTO);
    check_once_and_onwards("pairs twice", open_pairs_twice, TARE_BACKING_AUTO);
}

/* Damage is reported as such however little memory there is, or as the lack of it; nothing stays. */
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

/* To a file, or to memory where `name` is NULL. */
static tare_status save_model(const tare_model *model, const char *name)
{
    tare_save_tensor *tensors = __real_calloc(tare_count(model), sizeof *tensors);
    for (size_t i = 0; i < tare_count(model); i++)
        tensors[i] = (tare_save_tensor){.model = model, .tensor = tare_at(model, i)};
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    options.flags = TARE_SAVE_REPLACE;
    options.allocator = &probe.hooks;
    tare_error error = expect_poison();
    tare_status status;
    if (name != NULL) {
        temp_path path = temp_join(&folder, name);
        status = tare_save(path.text, tensors, tare_count(model), &options, &error);
    } else {
        uint64_t size;
        tare_save_bytes(tensors, tare_count(model), NULL, NULL, 0, &size, NULL);
        void *bytes = __real_malloc((size_t)size);
        past_hooks = 0;
        status = tare_save_bytes(tensors, tare_count(model), &options, bytes, (size_t)size, NULL,
                                 &error);
        free(bytes);
    }
    cr_expect_eq(error.status, status);
    free(tensors);
    return status;
}

Test(allocation, may_fail_at_every_call_for_saving)
{
    tare_model *model = expect_open_bytes("save", &long_file);
    temp_path path = temp_write(&folder, "saved.safetensors", "before", 6);
    size_t entries = temp_entry_count(&folder), descriptors = probe_descriptor_count();
    for (int onwards = 0; onwards < 2; onwards++) {
        for (size_t n = 1;; n++) {
            alloc_probe_init(&probe);
            probe.fail_at = n;
            probe.fail_onwards = onwards;
            past_hooks = 0;
            tare_status status = save_model(model, "saved.safetensors");
            cr_expect_eq(past_hooks, 0, "%zu: %zu calls go past the hooks", n, past_hooks);
            cr_expect_eq(status, probe.refused != 0 ? TARE_E_MEMORY : TARE_OK, "%zu", n);
            check_nothing_left("save", n, descriptors);
            cr_expect_eq(temp_entry_count(&folder), entries, "%zu: a file is left", n);
            if (status == TARE_OK) {
                cr_expect_gt(n, 3, "saving allocates %zu times", n - 1);
                break;
            }
            size_t size;
            char *now = temp_read(path.text, &size);
            cr_expect(size == 6 && memcmp(now, "before", 6) == 0, "%zu: the target changed", n);
            free(now);
        }
        temp_write(&folder, "saved.safetensors", "before", 6);
    }
    tare_close(model);
}

Test(allocation, may_fail_at_every_call_for_saving_to_memory)
{
    tare_model *model = expect_open_bytes("save", &long_file);
    size_t descriptors = probe_descriptor_count();
    tare_status status = TARE_E_MEMORY;
    for (size_t n = 1; status != TARE_OK; n++) {
        alloc_probe_init(&probe);
        probe.fail_at = n;
        status = save_model(model, NULL);
        cr_expect_eq(past_hooks, 0, "%zu: %zu calls go past the hooks", n, past_hooks);
        cr_expect_eq(status, probe.refused != 0 ? TARE_E_MEMORY : TARE_OK, "%zu", n);
        check_nothing_left("save", n, descriptors);
        if (status == TARE_OK) cr_expect_gt(n, 2, "saving allocates %zu times", n - 1);
    }
    tare_close(model);
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
