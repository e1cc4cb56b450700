/* GGUF through the calls that load, slice, hash and advise: they know no formats, and what is new
 * to them is blocks, alignments, bytes between tensors that are nobody's, and parts of a split
 * file. */
#define _XOPEN_SOURCE 700 /* truncate */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "digest.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/name_sets.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

enum {
    WAYS = 6,
    TENSORS = 36,
    PARTS = 3,
    RANK_MAX = 4,
    NAME_ROOM = 8,
    SPLIT = 4,
    PERIOD = 65536 /* of build_byte */,
    LARGEST = 1200000
};

static const char *const way_names[WAYS] = {"memory", "mapped",    "read",
                                            "reader", "split map", "split read"};

/* Their numbers in GGUF; elements and bytes of a block. */
static const struct {
    const char *dtype;
    unsigned type, count, size;
} types[] = {
    {"F32", 0, 1, 4},       {"F16", 1, 1, 2},         {"Q4_0", 2, 32, 18},
    {"Q5_1", 7, 32, 24},    {"Q8_0", 8, 32, 34},      {"Q4_K", 12, 256, 144},
    {"Q6_K", 14, 256, 210}, {"IQ2_XXS", 16, 256, 66}, {"IQ4_NL", 20, 32, 18},
    {"I8", 24, 1, 1},       {"I64", 27, 1, 8},        {"BF16", 30, 1, 2},
    {"TQ1_0", 34, 256, 54}, {"MXFP4", 39, 32, 17},    {"NVFP4", 40, 64, 36},
    {"Q1_0", 41, 128, 18},
};
enum { TYPES = sizeof types / sizeof types[0] };

typedef struct made_tensor {
    char name[NAME_ROOM];
    size_t type;
    uint32_t rank;
    uint64_t shape[RANK_MAX]; /* the slowest dimension first */
    uint64_t size;
} made_tensor;

typedef struct gguf_models {
    made_tensor made[TENSORS];
    temp_path folder;
    temp_path part[PARTS];
    build_text file;
    reader_probe probe;
    tare_model *way[WAYS];
} gguf_models;

static gguf_models all;
static unsigned char pattern[PERIOD + LARGEST];

static uint64_t below(uint64_t *state, uint64_t end)
{
    return name_random(state) % end;
}

/* One of them is large enough to be read straight to where it goes, past the page cache. */
static void make_tensor(uint64_t *state, unsigned number)
{
    made_tensor *made = &all.made[number];
    *made = (made_tensor){.type = number < TYPES ? number : below(state, TYPES)};
    snprintf(made->name, sizeof made->name, "t%u", number);
    made->rank = types[made->type].count > 1 || number == 0 ? 1 : 0;
    made->rank += (uint32_t)below(state, RANK_MAX + 1 - made->rank);
    uint64_t elements = 1;
    for (uint32_t d = 0; d < made->rank; d++) {
        uint64_t size = below(state, 30) == 0 ? 0 : 1 + below(state, made->rank < 3 ? 9 : 5);
        if (d + 1 == made->rank) size *= types[made->type].count;
        if (number == 0) size = d + 1 == made->rank ? 300000 : 1;
        made->shape[d] = size;
        elements *= size;
    }
    made->size = elements / types[made->type].count * types[made->type].size;
}

/* Tensors from `first` to before `end`, as a file whose byte at offset i is build_byte(i). */
static build_text make_file(unsigned first, unsigned end, int part, unsigned alignment)
{
    build_text words = {0};
    uint64_t offset = 0;
    build_addf(&words, "'GGUF' 4:3 8:%u 8:%d " GGUF_U32("general.alignment", "%u"), end - first,
               part < 0 ? 1 : 4, alignment);
    if (part >= 0)
        build_addf(&words,
                   GGUF_U16("split.no", "%d") GGUF_U16("split.count", "%d")
                       GGUF_U32("split.tensors.count", "%d"),
                   part, PARTS, TENSORS);
    for (unsigned i = first; i < end; i++) {
        const made_tensor *made = &all.made[i];
        build_addf(&words, "\"%s\" 4:%u ", made->name, made->rank);
        for (uint32_t d = made->rank; d-- > 0;)
            build_addf(&words, "8:%llu ", (unsigned long long)made->shape[d]);
        build_addf(&words, "4:%u 8:%llu ", types[made->type].type, (unsigned long long)offset);
        offset += (made->size + alignment - 1) / alignment * alignment;
    }
    build_addf(&words, "p%u d%llu", alignment, (unsigned long long)offset);
    build_text file = gguf_text(words.data, NULL);
    build_free(&words);
    return file;
}

static void open_path(size_t way, const temp_path *path, uint32_t backing)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_error error = expect_poison();
    options.backing = backing;
    tare_status status = tare_open(path->text, &options, &all.way[way], &error);
    expect_opened(way_names[way], status, all.way[way], &error);
}

static void open_models(uint64_t seed)
{
    uint64_t state = seed * UINT64_C(0x9E3779B97F4A7C15);
    unsigned alignment = seed % 3 == 0 ? 8 : seed % 3 == 1 ? 32 : 4096;
    tare_error error = expect_poison();
    for (size_t i = 0; i < sizeof pattern; i++) pattern[i] = build_byte(i);
    for (unsigned i = 0; i < TENSORS; i++) make_tensor(&state, i);
    all.folder = temp_folder_make();
    all.file = make_file(0, TENSORS, -1, alignment);
    temp_path path = temp_write_text(&all.folder, "m.gguf", &all.file);
    for (unsigned i = 0; i < PARTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "p-0000%u-of-0000%d.gguf", i + 1, PARTS);
        all.part[i] = temp_write_built(
            &all.folder, name,
            make_file(i * TENSORS / PARTS, (i + 1) * TENSORS / PARTS, (int)i, alignment));
    }
    all.way[0] = expect_open_bytes("memory", &all.file);
    open_path(1, &path, TARE_BACKING_MAP);
    open_path(2, &path, TARE_BACKING_READ);
    reader_probe_init(&all.probe, all.file.data, all.file.size, seed % 2 ? 0 : 1000);
    tare_status status = tare_open_reader(&all.probe.reader, NULL, &all.way[3], &error);
    expect_opened("reader", status, all.way[3], &error);
    open_path(SPLIT, &all.part[1], TARE_BACKING_MAP);
    open_path(SPLIT + 1, &all.part[2], TARE_BACKING_READ);
}

static void close_models(void)
{
    for (size_t i = 0; i < WAYS; i++) tare_close(all.way[i]);
    cr_expect_eq(all.probe.mistakes, 0, "the reader is asked for what is not there");
    build_free(&all.file);
    temp_folder_remove(&all.folder);
}

static uint64_t first_seed(void)
{
    const char *given = getenv("GGUF_SEED");
    return given != NULL ? strtoull(given, NULL, 10) : 1;
}

static const tare_tensor *find(const tare_model *model, unsigned number)
{
    const char *name = all.made[number].name;
    const tare_tensor *tensor = tare_find(model, name, strlen(name));
    cr_assert_not_null(tensor, "%s", name);
    return tensor;
}

/* The tensor's bytes, by how the file was built. */
static const unsigned char *wanted_bytes(const tare_model *model, const tare_tensor *tensor)
{
    return pattern + tare_offset(model, tensor) % PERIOD;
}

static void expect_right(const char *what, const tare_model *model, const tare_tensor *tensor,
                         const void *bytes)
{
    size_t size = (size_t)tare_size(model, tensor);
    cr_assert(size == 0 || memcmp(bytes, wanted_bytes(model, tensor), size) == 0,
              "%s: %s: other bytes", what, tare_name(model, tensor).data);
}

/* ------------------------------------------------------------------------------------------------
 * Loading
 */

/* All tensors, backwards. */
static void make_list(const tare_model *model, const tare_tensor **list)
{
    for (unsigned i = 0; i < TENSORS; i++) list[i] = tare_at(model, TENSORS - 1 - i);
}

static void load_and_check(const char *what, const tare_model *model, tare_load_options *options)
{
    const tare_tensor *list[TENSORS];
    tare_digest digests[TENSORS];
    tare_block *block;
    tare_error error = expect_poison();
    make_list(model, list);
    for (unsigned i = 0; i < TENSORS; i++) {
        size_t size = (size_t)tare_size(model, list[i]);
        digests[i] = tarei_digest_make(wanted_bytes(model, list[i]), size);
    }
    options->digests = digests;
    tare_status status = tare_load(model, list, TENSORS, options, &block, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    for (unsigned i = 0; i < TENSORS; i++) {
        cr_assert_eq(tare_block_size(block, i), tare_size(model, list[i]), "%s", what);
        cr_assert_eq((uintptr_t)tare_block_data(block, i) % options->alignment, 0, "%s", what);
        expect_right(what, model, list[i], tare_block_data(block, i));
    }
    tare_block_close(block);
    options->digests = NULL;
}

static void load_into_and_check(const char *what, const tare_model *model,
                                const tare_load_options *options)
{
    const tare_tensor *list[TENSORS];
    void *targets[TENSORS];
    tare_error error = expect_poison();
    make_list(model, list);
    for (unsigned i = 0; i < TENSORS; i++) {
        size_t size = (size_t)tare_size(model, list[i]);
        targets[i] = size != 0 ? malloc(size) : NULL;
    }
    tare_status status = tare_load_into(model, list, targets, TENSORS, options, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", what, error.message);
    for (unsigned i = 0; i < TENSORS; i++) {
        expect_right(what, model, list[i], targets[i]);
        free(targets[i]);
    }
}

Test(gguf, loads_alike_in_every_way)
{
    static const uint64_t chunk_sizes[] = {0, 4096, 65536};
    for (uint64_t seed = first_seed(), end = seed + 3; seed < end; seed++) {
        open_models(seed);
        for (unsigned i = 0; i < WAYS * 3 * 3 * 2; i++) {
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            unsigned way = i % WAYS;
            options.io = i / WAYS % 3;
            options.chunk_size = chunk_sizes[i / WAYS / 3 % 3];
            options.flags = i / WAYS / 9 ? TARE_LOAD_DROP_BEHIND : 0;
            options.threads = i % 4;
            options.alignment = (size_t)1 << i % 14;
            char what[96];
            snprintf(what, sizeof what, "GGUF_SEED=%u: %s io %u chunk %u flags %u", (unsigned)seed,
                     way_names[way], options.io, (unsigned)options.chunk_size, options.flags);
            load_and_check(what, all.way[way], &options);
            load_into_and_check(what, all.way[way], &options);
        }
        close_models();
    }
}

Test(gguf, a_part_that_was_cut_short_is_named)
{
    open_models(1);
    cr_assert_eq(truncate(all.part[2].text, 3000), 0);
    for (size_t way = SPLIT; way < WAYS; way++) {
        tare_error error = expect_poison();
        tare_block *block;
        tare_status status = tare_load(all.way[way], NULL, 0, NULL, &block, &error);
        cr_expect_eq(status, TARE_E_CHANGED, "%s: %s", way_names[way], error.message);
        cr_expect_null(block);
        cr_expect_eq(error.shard, 2);
        expect_message("the file", "p-00003-of-00003.gguf", &error);
        tare_digest digests[TENSORS];
        status = tare_hash_many(all.way[way], NULL, 0, NULL, digests, &error);
        cr_expect_eq(status, TARE_E_CHANGED, "%s: %s", way_names[way], error.message);
        expect_message("the file", "p-00003-of-00003.gguf", &error);
        status = tare_advise(all.way[way], NULL, 0, TARE_ADVISE_POPULATE, &error);
        cr_expect_eq(status, TARE_E_CHANGED, "%s: %s", way_names[way], error.message);
        expect_message("the file", "p-00003-of-00003.gguf", &error);
    }
    close_models();
}

/* ------------------------------------------------------------------------------------------------
 * Digests and advice
 */

Test(gguf, digests_are_those_of_the_bytes)
{
    open_models(2);
    for (size_t way = 0; way < WAYS; way++) {
        const tare_model *model = all.way[way];
        tare_digest many[TENSORS], one;
        tare_error error = expect_poison();
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        options.threads = 3;
        cr_assert_eq(tare_hash_many(model, NULL, 0, &options, many, &error), TARE_OK, "%s: %s",
                     way_names[way], error.message);
        for (unsigned i = 0; i < TENSORS; i++) {
            const tare_tensor *tensor = tare_at(model, i);
            size_t size = (size_t)tare_size(model, tensor);
            tare_digest wanted = tarei_digest_make(wanted_bytes(model, tensor), size);
            cr_assert_eq(tare_hash(model, tensor, &one, NULL), TARE_OK);
            cr_expect(tarei_digest_equal(one, wanted), "%s: %u", way_names[way], i);
            cr_expect(tarei_digest_equal(many[i], wanted), "%s: %u", way_names[way], i);
        }
        /* A wrong one is told by the name of its tensor, and of its part. */
        const tare_tensor *last = find(model, TENSORS - 1);
        tare_block *block;
        many[tare_index_of(model, last)].low ^= 1;
        options.digests = many;
        tare_status status = tare_load(model, NULL, 0, &options, &block, &error);
        cr_expect_eq(status, TARE_E_DIGEST, "%s: %s", way_names[way], error.message);
        cr_expect_eq(error.shard, way < SPLIT ? 0 : PARTS - 1);
        expect_message(way_names[way], "tensor 't35'", &error);
    }
    close_models();
}

Test(gguf, advice_leaves_the_bytes_as_they_are)
{
    open_models(3);
    for (size_t way = 0; way < WAYS; way++) {
        const tare_model *model = all.way[way];
        const tare_tensor *list[TENSORS];
        make_list(model, list);
        for (uint32_t advice = TARE_ADVISE_WILL_NEED; advice <= TARE_ADVISE_POPULATE; advice++) {
            tare_error error = expect_poison();
            tare_status status = tare_advise(model, list, TENSORS, advice, &error);
            cr_expect_eq(status, TARE_OK, "%s: %s", way_names[way], error.message);
            for (unsigned i = 0; i < TENSORS; i++)
                expect_bytes(way_names[way], model, list[i], wanted_bytes(model, list[i]),
                             (size_t)tare_size(model, list[i]));
        }
        /* A page or two of memory: no limit is so low. */
        int in_memory = tare_data(model, find(model, 4)) != NULL;
        const tare_tensor *small = find(model, 4);
        tare_status locked = tare_advise(model, &small, 1, TARE_ADVISE_LOCK, NULL);
        cr_expect_eq(locked, in_memory ? TARE_OK : TARE_E_UNSUPPORTED, "%s", way_names[way]);
        locked = tare_advise(model, &small, 1, TARE_ADVISE_UNLOCK, NULL);
        cr_expect_eq(locked, in_memory ? TARE_OK : TARE_E_UNSUPPORTED, "%s", way_names[way]);
    }
    close_models();
}

/* ------------------------------------------------------------------------------------------------
 * Slices
 */

/* What a box holds, found one block at a time: rows are whole blocks, so only the last dimension
 * can cut one. Free `bytes`. */
typedef struct expected {
    unsigned char *bytes;
    size_t size;
    int splits;
} expected;

static expected slice_naively(const made_tensor *made, const unsigned char *data,
                              const uint64_t *start, const uint64_t *stop)
{
    uint64_t count = types[made->type].count, size = types[made->type].size, elements = 1;
    uint32_t rank = made->rank, last = rank - 1;
    uint64_t index[RANK_MAX] = {0};
    expected box = {0};
    for (uint32_t d = 0; d < rank; d++) elements *= stop[d] - start[d], index[d] = start[d];
    if (elements == 0) return box;
    box.splits = rank > 0 && (start[last] % count != 0 || stop[last] % count != 0);
    if (box.splits) return box;
    box.bytes = malloc((size_t)(elements / count * size));
    for (;;) {
        uint64_t place = 0;
        for (uint32_t d = 0; d < rank; d++) place = place * made->shape[d] + index[d];
        memcpy(box.bytes + box.size, data + place / count * size, (size_t)size);
        box.size += (size_t)size;
        uint32_t d = rank;
        while (d-- > 0) {
            index[d] += d == last ? count : 1;
            if (index[d] < stop[d]) break;
            index[d] = start[d];
        }
        if (d == UINT32_MAX) return box;
    }
}

static void random_box(uint64_t *state, const made_tensor *made, uint64_t *start, uint64_t *stop)
{
    uint64_t count = types[made->type].count;
    for (uint32_t d = 0; d < made->rank; d++) {
        uint64_t size = made->shape[d], a = below(state, size + 1), b = below(state, size + 1);
        if (d + 1 == made->rank && below(state, 6) != 0) a -= a % count, b -= b % count;
        if (below(state, 3) == 0 || (a == b && below(state, 4) != 0)) a = 0, b = size;
        start[d] = a < b ? a : b;
        stop[d] = a < b ? b : a;
    }
}

static void check_box(const char *what, unsigned number, const uint64_t *start,
                      const uint64_t *stop)
{
    const made_tensor *made = &all.made[number];
    char dimension[64];
    snprintf(dimension, sizeof dimension, "dimension %u: the slice begins or ends within a block",
             made->rank - 1);
    for (size_t way = 0; way < WAYS; way++) {
        const tare_model *model = all.way[way];
        const tare_tensor *tensor = find(model, number);
        expected box = slice_naively(made, wanted_bytes(model, tensor), start, stop);
        tare_status wanted = box.splits ? TARE_E_SUBBYTE : TARE_OK;
        tare_error error = expect_poison();
        uint64_t size = 99;
        tare_status status = tare_slice_size(model, tensor, start, stop, &size, &error);
        cr_assert_eq(status, wanted, "%s: %s: %s", what, way_names[way], error.message);
        cr_assert_eq(size, box.size, "%s: %s", what, way_names[way]);
        unsigned char *target = malloc(box.size + 1);
        status = tare_read_slice(model, tensor, start, stop, target, box.size, &error);
        cr_assert_eq(status, wanted, "%s: %s: %s", what, way_names[way], error.message);
        if (box.splits) {
            expect_message(what, dimension, &error);
            expect_message(what, made->name, &error);
        } else if (box.size != 0) {
            cr_assert_eq(memcmp(target, box.bytes, box.size), 0, "%s: %s: other bytes", what,
                         way_names[way]);
        }
        free(target);
        free(box.bytes);
    }
}

Test(gguf, slices_are_what_a_loop_over_blocks_gives)
{
    unsigned met[RANK_MAX + 1] = {0};
    for (uint64_t seed = first_seed(), end = seed + 6; seed < end; seed++) {
        uint64_t state = seed * 77;
        open_models(seed);
        for (unsigned i = 1; i < TENSORS; i++) {
            met[all.made[i].rank]++;
            for (unsigned box = 0; box < 15; box++) {
                uint64_t start[RANK_MAX], stop[RANK_MAX];
                char what[96];
                random_box(&state, &all.made[i], start, stop);
                snprintf(what, sizeof what, "GGUF_SEED=%u: %s %s, box %u", (unsigned)seed,
                         all.made[i].name, types[all.made[i].type].dtype, box);
                check_box(what, i, start, stop);
            }
        }
        close_models();
    }
    for (unsigned rank = 0; rank <= RANK_MAX; rank++) cr_expect_gt(met[rank], 0, "rank %u", rank);
}

/* Every block of a row, alone and up to the next, and one element too few or too many. */
Test(gguf, slices_of_rows_end_where_blocks_do)
{
    open_models(1);
    for (unsigned i = 0; i < TYPES; i++) {
        made_tensor *made = &all.made[i];
        uint64_t count = types[made->type].count,
                 row = made->rank ? made->shape[made->rank - 1] : 0;
        uint64_t start[RANK_MAX] = {0}, stop[RANK_MAX];
        if (count == 1 || row == 0) continue;
        memcpy(stop, made->shape, sizeof stop);
        for (uint64_t at = 0; at < row; at += count)
            for (int less = -1; less <= 1; less++) {
                start[made->rank - 1] = at;
                stop[made->rank - 1] = at + count + (uint64_t)(int64_t)less;
                if (stop[made->rank - 1] > row) continue;
                check_box(types[made->type].dtype, i, start, stop);
            }
    }
    close_models();
}
