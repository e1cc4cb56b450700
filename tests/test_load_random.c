/* Random loads: any list of any model, any options, anything that may fail. What comes of each is
 * the right bytes, or an error of something that was made to fail, and nothing is left. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/load_models.h"
#include "support/name_sets.h"
#include "support/os_faults.h"
#include "support/process_probe.h"

enum { ROUNDS = 1000, LIST_MAX = 100, ALIGNED_MAX = 4 };

static load_models models;

static void open_models(void)
{
    load_models_open(&models);
}

static void close_models(void)
{
    os_faults_reset();
    load_models_close(&models);
}

TestSuite(load_random, .init = open_models, .fini = close_models, .timeout = 240);

/* One load, and what is known of it before. */
typedef struct trial {
    uint64_t seed;
    unsigned round;
    const tare_model *model;
    const tare_tensor *list[LIST_MAX];
    size_t count;
    bool all; /* of the model: no list */
    bool into;
    tare_load_options options;
    tare_slice slices[LIST_MAX];
    uint64_t bounds[LIST_MAX][2];
    tare_digest digests[LIST_MAX];
    size_t wrong; /* number of the entry with a wrong digest; LIST_MAX is none */
    alloc_probe probe;
    size_t reports;
    size_t stop_at; /* 0 is never */
    uint64_t done;
    uint64_t total;
    size_t mistakes;
} trial;

static uint64_t pick(trial *t, uint64_t count)
{
    return name_random(&t->seed) % count;
}

static int on_progress(void *context, uint64_t done, uint64_t total)
{
    trial *t = context;
    t->mistakes += done < t->done || done > total || (t->reports != 0 && total != t->total) ||
                   (t->reports == 0 && done != 0);
    t->done = done;
    t->total = total;
    return ++t->reports == t->stop_at;
}

static void choose_list(trial *t)
{
    t->model = models.way[pick(t, LOAD_WAY_COUNT)];
    t->all = pick(t, 8) == 0;
    t->count = t->all ? tare_count(t->model) : pick(t, 3) == 0 ? pick(t, 4) : pick(t, LIST_MAX);
    for (size_t i = 0; i < t->count; i++)
        t->list[i] = tare_at(t->model, t->all ? i : pick(t, tare_count(t->model)));
}

static void choose_options(trial *t)
{
    tare_load_options *options = &t->options;
    *options = (tare_load_options)TARE_LOAD_OPTIONS_INIT;
    options->io = (uint32_t)pick(t, 3);
    options->flags = (uint32_t)pick(t, 4);
    if (pick(t, 2)) options->alignment = (size_t)1 << pick(t, t->count <= ALIGNED_MAX ? 22 : 14);
    if (pick(t, 4)) options->threads = 1 + (uint32_t)pick(t, 8);
    if (pick(t, 3)) options->chunk_size = (4096u << pick(t, 9)) + pick(t, 5000);
    if (pick(t, 2)) options->flight_size_max = 4096 + pick(t, 1 << 20);
    if (pick(t, 2)) options->progress = on_progress;
    options->progress_context = t;
    t->stop_at = pick(t, 3) == 0 ? 1 + pick(t, 30) : 0;
    alloc_probe_init(&t->probe);
    if (pick(t, 8)) options->allocator = &t->probe.hooks;
    if (pick(t, 6) == 0) t->probe.fail_at = 1 + pick(t, 12);
    t->into = pick(t, 3) == 0;
}

/* Tensors here have one dimension. Some slices are all of a tensor, some nothing of it. */
static void choose_slices(trial *t)
{
    t->options.slices = t->slices;
    for (size_t i = 0; i < t->count; i++) {
        uint64_t size = tare_size(t->model, t->list[i]), *at = t->bounds[i];
        t->slices[i] = (tare_slice){NULL, NULL};
        at[0] = pick(t, size + 1);
        at[1] = at[0] + pick(t, size - at[0] + 1);
        if (pick(t, 3)) t->slices[i].start = &at[0];
        if (pick(t, 3)) t->slices[i].stop = &at[1];
    }
}

static void choose_digests(trial *t)
{
    t->options.digests = t->digests;
    for (size_t i = 0; i < t->count; i++)
        cr_assert_eq(tare_hash(t->model, t->list[i], &t->digests[i], NULL), TARE_OK);
    if (t->count == 0 || pick(t, 2)) return;
    t->wrong = pick(t, t->count);
    *(pick(t, 2) ? &t->digests[t->wrong].low : &t->digests[t->wrong].high) ^= 1;
}

static void choose_faults(trial *t)
{
    static const enum os_call calls[] = {OS_PREADV, OS_PREADV,  OS_PREADV,  OS_OPEN,
                                         OS_THREAD, OS_FADVISE, OS_MADVISE, OS_NOWAIT};
    static const int failures[] = {EIO, EINVAL, ENOMEM, 0, OS_SHORT}; /* the last two of reads */
    os_faults_reset();
    reader_probe_reset(&models.probe);
    models.probe.piece = pick(t, 4) == 0 ? 1000 + pick(t, 50000) : 0;
    models.probe.answer_at = pick(t, 4) == 0 ? 1 + pick(t, 8) : 0;
    models.probe.answer = pick(t, 2) ? -EIO : 0;
    if (pick(t, 3) == 0) os_fault.piece = 512 + pick(t, 20000);
    if (pick(t, 3) == 0) os_fault.direct_refused = (int)pick(t, 3);
    os_fault.uncached = (int)pick(t, 2);
    if (pick(t, 2)) os_fault.memory_size = 4096;
    if (pick(t, 2)) return;
    enum os_call call = calls[pick(t, 8)];
    os_fault.fail_at[call] = 1 + pick(t, 20);
    os_fault.fail_count = pick(t, 3);
    os_fault.error = failures[pick(t, call == OS_PREADV ? 5 : 3)];
    if (pick(t, 4) == 0) os_fault.error = EINTR, os_fault.fail_count++;
}

static void choose(trial *t, unsigned round, uint64_t seed)
{
    *t = (trial){.seed = (seed + round) * UINT64_C(0x9E3779B97F4A7C15) | 1,
                 .round = round,
                 .wrong = LIST_MAX};
    os_faults_reset();
    models.probe.answer_at = 0;
    choose_list(t);
    choose_options(t);
    switch (pick(t, 4)) {
    case 0: choose_slices(t); break;
    case 1: choose_digests(t); break;
    default: break;
    }
    choose_faults(t);
}

/* The part of entry `i` that was asked for. */
static uint64_t part_of(const trial *t, size_t i, uint64_t *start)
{
    uint64_t stop = tare_size(t->model, t->list[i]);
    *start = 0;
    if (t->options.slices == NULL) return stop;
    if (t->slices[i].start != NULL) *start = *t->slices[i].start;
    if (t->slices[i].stop != NULL) stop = *t->slices[i].stop;
    return stop - *start;
}

static bool is_right(const trial *t, size_t i, const void *bytes, size_t size)
{
    uint64_t start;
    if (part_of(t, i, &start) != size) return false;
    if (t->options.slices == NULL) return load_right(t->model, t->list[i], bytes);
    int shards = t->model == models.way[LOAD_SHARDS]; /* there bytes are others */
    const tare_model *there = models.way[shards ? LOAD_SHARDS : LOAD_MEMORY];
    tare_string name = tare_name(t->model, t->list[i]);
    const char *wanted = tare_data(there, tare_find(there, name.data, name.size));
    return size == 0 || memcmp(wanted + start, bytes, size) == 0;
}

/* Whether something was made to happen that gives this error. */
static bool has_reason(const trial *t, const tare_error *error)
{
    bool reader = t->model == models.way[LOAD_READER];
    bool asked =
        reader && models.probe.answer_at != 0 && models.probe.calls >= models.probe.answer_at;
    switch (error->status) {
    case TARE_E_CANCELLED: return t->stop_at != 0 && t->reports == t->stop_at;
    case TARE_E_MEMORY: return t->probe.refused != 0;
    case TARE_E_DIGEST: return t->wrong != LIST_MAX;
    case TARE_E_READ:
    case TARE_E_CHANGED:
        return asked || (os_fault.failed != 0 && os_fault.fail_at[OS_PREADV] != 0 &&
                         (error->status == TARE_E_READ ? os_fault.error > 0 : os_fault.error == 0));
    default: return false;
    }
}

static void check_end(trial *t, tare_status status, const tare_error *error)
{
    cr_assert_eq(status, error->status, "%u", t->round);
    cr_assert_eq(t->mistakes, 0, "%u: progress", t->round);
    if (status != TARE_OK) {
        cr_assert(has_reason(t, error), "%u: %s", t->round, error->message);
    } else {
        cr_assert(t->wrong == LIST_MAX, "%u: a wrong digest", t->round);
        cr_assert(t->options.progress == NULL || t->done == t->total, "%u", t->round);
        cr_assert(t->reports == 0 || t->reports != t->stop_at, "%u: was stopped", t->round);
    }
    cr_assert_eq(os_hold.threads, 0, "%u: a thread is left", t->round);
}

static tare_status run_load(trial *t)
{
    tare_block *block = (tare_block *)(void *)t;
    tare_error error = expect_poison();
    tare_status status = tare_load(t->model, t->all ? NULL : t->list, t->all ? 0 : t->count,
                                   &t->options, &block, &error);
    size_t align = t->options.alignment != 0 ? t->options.alignment : 64;
    check_end(t, status, &error);
    cr_assert_eq(block == NULL, status != TARE_OK, "%u", t->round);
    for (size_t i = 0; i < t->count && block != NULL; i++) {
        void *bytes = tare_block_data(block, i);
        size_t size = tare_block_size(block, i);
        cr_assert(is_right(t, i, bytes, size), "%u: %zu", t->round, i);
        cr_assert_eq((uintptr_t)bytes % align, 0, "%u: %zu", t->round, i);
    }
    tare_block_close(block);
    return status;
}

/* To memory of just the right size. */
static tare_status run_into(trial *t)
{
    void *targets[LIST_MAX];
    tare_error error = expect_poison();
    uint64_t start;
    for (size_t i = 0; i < t->count; i++) {
        size_t size = (size_t)part_of(t, i, &start);
        targets[i] = size != 0 ? malloc(size) : NULL;
    }
    tare_status status = tare_load_into(t->model, t->all ? NULL : t->list, targets,
                                        t->all ? 0 : t->count, &t->options, &error);
    check_end(t, status, &error);
    for (size_t i = 0; i < t->count; i++) {
        size_t size = (size_t)part_of(t, i, &start);
        cr_assert(status != TARE_OK || is_right(t, i, targets[i], size), "%u: %zu", t->round, i);
        free(targets[i]);
    }
    return status;
}

Test(load_random, gives_right_bytes_or_a_reason_and_leaves_nothing)
{
    static trial t;
    size_t descriptors = probe_descriptor_count(), ends[TARE_E_DIGEST + 1] = {0};
    const char *given = getenv("LOAD_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        choose(&t, round, seed);
        ends[t.into ? run_into(&t) : run_load(&t)]++;
        cr_assert_eq(t.probe.block_count + t.probe.mistakes, 0, "%u", round);
        cr_assert_eq(probe_descriptor_count(), descriptors, "%u: a descriptor is left", round);
    }
    static const tare_status all[] = {TARE_E_MEMORY, TARE_E_READ, TARE_E_CHANGED, TARE_E_CANCELLED,
                                      TARE_E_DIGEST};
    cr_expect_gt(ends[TARE_OK], ROUNDS / 2);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        cr_expect_gt(ends[all[i]], ROUNDS / 100, "%s", tare_status_name(all[i]));
}
