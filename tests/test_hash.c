#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "support/expect.h"
#include "support/os_faults.h"
#include "support/process_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

enum { TENSORS = 12, WAYS = 4, LARGE = 9000000 };

static temp_path folder, path;
static build_text file;

static const build_tensor tensors[TENSORS] = {
    {"a", 0, "U8", "[200000]", 200000}, {"b", 0, "U8", "[65536]", 65536},
    {"c", 0, "U8", "[65537]", 65537},   {"d", 0, "U8", "[1]", 1},
    {"e", 0, "U8", "[0]", 0},           {"f", 0, "F4", "[3,2]", 3},
    {"g", 0, "F64", "[3,5]", 120},      {"h", 0, "U8", "[9000000]", LARGE},
    {"i", 0, "U8", "[240]", 240},       {"j", 0, "U8", "[241]", 241},
    {"k", 0, "BOOL", "[17]", 17},       {"l", 0, "U8", "[65535]", 65535},
};

static void make_file(void)
{
    folder = temp_folder_make();
    file = build_file(tensors, TENSORS, NULL);
    path = temp_write_text(&folder, "model.safetensors", &file);
    os_faults_reset();
}

static void remove_file(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
    build_free(&file);
}

TestSuite(hash, .init = make_file, .fini = remove_file);

/* A reader that may let threads other than the first wait until progress was told so often. */
typedef struct slow_reader {
    tare_reader reader;
    pthread_t first;
    atomic_int reports;
    int reports_wanted;
    int strangers_wanted; /* the first waits until there were so many */
    atomic_int strangers; /* calls on other threads */
    int pause;            /* of those, some 20 ms */
} slow_reader;

static slow_reader slow;

static int64_t read_at(void *context, uint64_t offset, void *target, size_t size)
{
    slow_reader *self = context;
    if (!pthread_equal(pthread_self(), self->first)) {
        atomic_fetch_add(&self->strangers, 1);
        while (atomic_load(&self->reports) < self->reports_wanted) continue;
        if (self->pause) poll(NULL, 0, 20);
    }
    while (atomic_load(&self->strangers) < self->strangers_wanted) sched_yield();
    memcpy(target, file.data + offset, size);
    return (int64_t)size;
}

static tare_model *open_way(size_t way)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status;
    if (way == 0) return expect_open_bytes("memory", &file);
    if (way == 3) {
        slow = (slow_reader){.first = pthread_self()};
        slow.reader = (tare_reader){sizeof slow.reader, &slow, read_at, file.size};
        status = tare_open_reader(&slow.reader, NULL, &model, &error);
    } else {
        options.backing = way == 1 ? TARE_BACKING_MAP : TARE_BACKING_READ;
        status = tare_open(path.text, &options, &model, &error);
    }
    expect_opened("model", status, model, &error);
    os_faults_reset();
    return model;
}

static int same(tare_digest a, tare_digest b)
{
    return a.low == b.low && a.high == b.high;
}

static tare_digest wanted(const tare_model *model, const tare_tensor *tensor)
{
    return tarei_digest_make(file.data + tare_offset(model, tensor),
                             (size_t)tare_size(model, tensor));
}

static void expect_zero(const char *what, const tare_digest *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_expect(same(out[i], (tare_digest){0, 0}), "%s: digest %zu is left", what, i);
}

/* What xxhsum -H128 (xxHash 0.8.1) prints for these bytes. */
Test(hash, is_xxh3_128_without_a_seed)
{
    static const tare_pair pairs[] = {{"abc", 3, "abc", 3}, {"none", 4, NULL, 0}};
    tare_model *model;
    tare_digest digest;
    cr_assert_eq(tare_open_pairs(pairs, 2, NULL, &model, NULL), TARE_OK);
    cr_expect_eq(tare_hash(model, tare_at(model, 0), &digest, NULL), TARE_OK);
    cr_expect_eq(digest.high, UINT64_C(0x06b05ab6733a6185));
    cr_expect_eq(digest.low, UINT64_C(0x78af5f94892f3950));
    cr_expect_eq(tare_hash(model, tare_at(model, 1), &digest, NULL), TARE_OK);
    cr_expect_eq(digest.high, UINT64_C(0x99aa06d3014798d8));
    cr_expect_eq(digest.low, UINT64_C(0x6001c324468d497f));
    tare_close(model);
    for (size_t way = 0; way < WAYS; way++) {
        model = open_way(way);
        cr_expect_eq(tare_hash(model, tare_find(model, "a", 1), &digest, NULL), TARE_OK);
        cr_expect_eq(digest.high, UINT64_C(0x2f2a6f7066db3bef));
        cr_expect_eq(digest.low, UINT64_C(0x1b329889f08087bf));
        tare_close(model);
    }
}

Test(hash, of_one_tensor_is_that_of_its_bytes)
{
    for (size_t way = 0; way < WAYS; way++) {
        tare_model *model = open_way(way);
        for (size_t i = 0; i < TENSORS; i++) {
            tare_error error = expect_poison();
            tare_digest digest = {1, 1};
            const tare_tensor *tensor = tare_at(model, i);
            cr_expect_eq(tare_hash(model, tensor, &digest, &error), TARE_OK);
            cr_expect_eq(error.status, TARE_OK);
            cr_expect(same(digest, wanted(model, tensor)), "%zu", i);
        }
        cr_expect_eq(tare_hash(model, tare_at(model, 0), NULL, NULL), TARE_E_ARGUMENT);
        tare_close(model);
    }
}

Test(hash, of_many_is_that_of_each)
{
    static const uint32_t threads[] = {0, 1, 2, 5, 64};
    for (size_t way = 0; way < WAYS; way++)
        for (size_t t = 0; t < 5; t++) {
            tare_model *model = open_way(way);
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            const tare_tensor *list[2 * TENSORS];
            tare_digest out[2 * TENSORS];
            options.threads = threads[t];
            for (size_t i = 0; i < 2 * TENSORS; i++)
                list[i] = tare_at(model, (2 * TENSORS - 1 - i) % TENSORS);
            tare_error error = expect_poison();
            tare_status status = tare_hash_many(model, list, 2 * TENSORS, &options, out, &error);
            cr_expect_eq(status, TARE_OK, "%s", error.message);
            cr_expect_eq(error.status, TARE_OK);
            for (size_t i = 0; i < 2 * TENSORS; i++)
                cr_expect(same(out[i], wanted(model, list[i])), "way %zu, %zu", way, i);
            memset(out, 0, sizeof out);
            cr_expect_eq(tare_hash_many(model, NULL, t & 1 ? TENSORS : 0, &options, out, NULL),
                         TARE_OK);
            for (size_t i = 0; i < TENSORS; i++)
                cr_expect(same(out[i], wanted(model, tare_at(model, i))), "all: %zu", i);
            if (way == 3 && threads[t] < 2)
                cr_expect_eq(slow.strangers, 0,
                             "a reader runs on one thread unless more are asked");
            tare_close(model);
        }
}

Test(hash, of_little_starts_no_thread_unless_asked)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_model *model = open_way(0);
    const tare_tensor *list[] = {tare_at(model, 0), tare_at(model, 1), tare_at(model, 2)};
    tare_digest out[3];
    for (options.threads = 0; options.threads < 4; options.threads++) {
        os_faults_reset();
        cr_expect_eq(tare_hash_many(model, list, 3, &options, out, NULL), TARE_OK);
        cr_expect_eq(os_fault.calls[OS_THREAD] == 0, options.threads < 2, "%u", options.threads);
    }
    tare_close(model);
}

Test(hash, of_no_tensor_is_nothing)
{
    tare_model *model = open_way(0), *none;
    const tare_tensor *list[1] = {NULL};
    cr_expect_eq(tare_hash_many(model, list, 0, NULL, NULL, NULL), TARE_OK);
    cr_assert_eq(tare_open_pairs(NULL, 0, NULL, &none, NULL), TARE_OK);
    cr_expect_eq(tare_hash_many(none, NULL, 0, NULL, NULL, NULL), TARE_OK);
    tare_close(none);
    tare_close(model);
}

Test(hash, refuses_arguments_that_cannot_be)
{
    tare_model *model = open_way(0);
    tare_load_options good = TARE_LOAD_OPTIONS_INIT, options;
    const tare_tensor *list[] = {tare_at(model, 0), NULL};
    tare_digest out[TENSORS] = {{1, 1}};
    tare_error error = expect_poison();
    tare_status status = tare_hash_many(model, list, 2, NULL, out, &error);
    expect_status("a tensor that is NULL", TARE_E_ARGUMENT, status, NULL, &error);
    expect_message("a tensor that is NULL", "tensor 1", &error);
    expect_zero("a tensor that is NULL", out, 2);
    status = tare_hash_many(model, NULL, 3, NULL, out, &error);
    expect_status("another count", TARE_E_ARGUMENT, status, NULL, &error);
    status = tare_hash_many(model, list, 1, NULL, NULL, &error);
    expect_status("no room", TARE_E_ARGUMENT, status, NULL, &error);
    options = good;
    options.threads = 1025;
    status = tare_hash_many(model, list, 1, &options, out, &error);
    expect_status("threads", TARE_E_ARGUMENT, status, NULL, &error);
    options = good;
    options.struct_size = 0;
    cr_expect_eq(tare_hash_many(model, list, 1, &options, out, NULL), TARE_E_ARGUMENT);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Progress
 */

typedef struct watch {
    pthread_t thread;
    size_t calls;
    size_t stop_at;
    uint64_t last;
    uint64_t total;
    size_t mistakes;
} watch;

static int progress(void *context, uint64_t done, uint64_t total)
{
    watch *self = context;
    self->mistakes += !pthread_equal(self->thread, pthread_self()) || done < self->last ||
                      done > total || (self->calls == 0) != (done == 0);
    self->last = done;
    self->total = total;
    atomic_fetch_add(&slow.reports, 1);
    return ++self->calls == self->stop_at;
}

Test(hash, tells_its_progress_from_nothing_to_all)
{
    for (size_t way = 0; way < WAYS; way++)
        for (uint32_t threads = 1; threads <= 8; threads *= 2) {
            tare_model *model = open_way(way);
            watch seen = {.thread = pthread_self()};
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_digest out[TENSORS];
            options.threads = threads;
            options.progress = progress;
            options.progress_context = &seen;
            slow.reports_wanted = 3; /* also while only others are at work */
            cr_expect_eq(tare_hash_many(model, NULL, 0, &options, out, NULL), TARE_OK);
            cr_expect_eq(seen.mistakes, 0);
            cr_expect_eq(seen.last, seen.total);
            cr_expect_eq(seen.total, file.size - tare_shard_at(model, 0).data_offset);
            cr_expect(threads > 1 || seen.calls >= 4, "%zu calls", seen.calls);
            tare_close(model);
        }
}

static size_t started_for(const tare_model *model, unsigned processors)
{
    tare_digest out[20];
    os_faults_reset();
    os_fault.processors = processors;
    cr_assert_eq(tare_hash_many(model, NULL, 0, NULL, out, NULL), TARE_OK);
    return os_fault.calls[OS_THREAD] + 1;
}

Test(hash, takes_a_thread_for_each_processor_up_to_16)
{
    static uint8_t mib[1 << 20];
    static const unsigned processors[] = {1, 2, 15, 16, 17, 64};
    static const char letters[] = "abcdefghijklmnopqrst";
    tare_pair pairs[20];
    tare_model *many, *few, *small;
    for (size_t i = 0; i < 20; i++) pairs[i] = (tare_pair){letters + i, 1, mib, sizeof mib};
    cr_assert_eq(tare_open_pairs(pairs, 20, NULL, &many, NULL), TARE_OK);
    cr_assert_eq(tare_open_pairs(pairs, 3, NULL, &few, NULL), TARE_OK);
    for (size_t i = 0; i < 20; i++) pairs[i].size = 100000;
    cr_assert_eq(tare_open_pairs(pairs, 20, NULL, &small, NULL), TARE_OK);
    for (size_t i = 0; i < sizeof processors / sizeof *processors; i++) {
        unsigned count = processors[i];
        cr_expect_eq(started_for(many, count), count < 16 ? count : 16, "%u", count);
        cr_expect_eq(started_for(few, count), count < 3 ? count : 3, "one for each tensor");
        cr_expect_eq(started_for(small, count), count < 2 ? count : 2, "and for each MiB begun");
    }
    tare_model *reader = open_way(3);
    cr_expect_eq(started_for(reader, 16), 1);
    tare_close(reader);
    tare_close(many);
    tare_close(few);
    tare_close(small);
}

/* The last piece is told by the report of the end, and what others hash by the first thread. */
Test(hash, reports_every_4_mib_on_the_first_thread_alone)
{
    static uint8_t bytes[9 << 20];
    for (size_t size = 4 << 20; size <= sizeof bytes; size += 1 << 20) {
        const tare_pair pair = {"x", 1, bytes, size};
        watch seen = {.thread = pthread_self()};
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_model *model;
        tare_digest out[1];
        options.progress = progress;
        options.progress_context = &seen;
        cr_assert_eq(tare_open_pairs(&pair, 1, NULL, &model, NULL), TARE_OK);
        cr_expect_eq(tare_hash_many(model, NULL, 0, &options, out, NULL), TARE_OK);
        cr_expect_eq(seen.calls, 2 + (size - 1) / (4 << 20), "of %zu bytes", size);
        cr_expect_eq(seen.mistakes, 0);
        tare_close(model);
    }
    tare_model *model = open_way(3);
    watch seen = {.thread = pthread_self()};
    const tare_tensor *list[] = {tare_find(model, "a", 1), tare_find(model, "h", 1)};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_digest out[2];
    options.threads = 2;
    options.progress = progress;
    options.progress_context = &seen;
    slow.strangers_wanted = 1;
    cr_expect_eq(tare_hash_many(model, list, 2, &options, out, NULL), TARE_OK);
    cr_expect_gt(atomic_load(&slow.strangers), 0);
    cr_expect_eq(seen.mistakes, 0);
    for (size_t i = 0; i < 2; i++) cr_expect(same(out[i], wanted(model, list[i])));
    tare_close(model);
}

static size_t naps;

static void count_nap(void)
{
    naps++;
}

/* The other thread is in its only read until the first has told something after its own. */
Test(hash, of_the_last_tensors_is_told_while_others_hash_them)
{
    for (int told = 0; told < 2; told++) {
        tare_model *model = open_way(3);
        const tare_tensor *list[] = {tare_find(model, "d", 1), tare_find(model, "i", 1)};
        watch seen = {.thread = pthread_self()};
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_digest out[2];
        options.threads = 2;
        options.progress = told ? progress : NULL;
        options.progress_context = &seen;
        slow.strangers_wanted = 1;
        slow.reports_wanted = told ? 2 : 0;
        slow.pause = !told; /* which gives the first time to nap, as it need not */
        os_fault.nap = told ? NULL : count_nap;
        cr_expect_eq(tare_hash_many(model, list, 2, &options, out, NULL), TARE_OK);
        cr_expect_eq(naps, 0, "nobody waits to hear of it");
        cr_expect(!told || seen.calls >= 3);
        cr_expect_eq(seen.mistakes, 0);
        tare_close(model);
    }
}

Test(hash, can_be_stopped_at_every_report)
{
    for (uint32_t threads = 1; threads <= 4; threads += 3)
        for (size_t stop_at = 1;; stop_at++) {
            tare_model *model = open_way(2);
            watch seen = {.thread = pthread_self(), .stop_at = stop_at};
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            tare_digest out[TENSORS];
            tare_error error = expect_poison();
            options.threads = threads;
            options.progress = progress;
            options.progress_context = &seen;
            tare_status status = tare_hash_many(model, NULL, 0, &options, out, &error);
            tare_close(model);
            cr_expect_eq(seen.mistakes, 0);
            if (seen.calls < stop_at) {
                cr_expect_eq(status, TARE_OK);
                break;
            }
            expect_status("stopped", TARE_E_CANCELLED, status, NULL, &error);
            expect_zero("stopped", out, TENSORS);
            cr_expect_eq(seen.calls, stop_at, "and asks no more");
        }
}

/* ------------------------------------------------------------------------------------------------
 * Failures
 */

Test(hash, fails_cleanly_at_every_read)
{
    static const int failures[] = {EIO, 0, EINTR};
    for (uint32_t threads = 1; threads <= 4; threads += 3)
        for (size_t f = 0; f < 3; f++)
            for (size_t n = 1; n < 400; n += n < 20 ? 1 : 19) {
                tare_model *model = open_way(n & 1 ? 1 : 2);
                tare_load_options options = TARE_LOAD_OPTIONS_INIT;
                tare_digest out[TENSORS];
                tare_error error = expect_poison();
                options.threads = threads;
                os_fault.fail_at[OS_PREAD] = n;
                os_fault.fail_count = 1;
                os_fault.error = failures[f];
                os_fault.piece = 50000;
                tare_status status = tare_hash_many(model, NULL, 0, &options, out, &error);
                int reached = os_fault.calls[OS_PREAD] >= n;
                tare_close(model);
                if (!reached || failures[f] == EINTR) {
                    cr_expect_eq(status, TARE_OK, "%s", error.message);
                    continue;
                }
                cr_expect_eq(status, failures[f] ? TARE_E_READ : TARE_E_CHANGED);
                cr_expect_eq(error.system_error, failures[f]);
                expect_message("a read that fails", "tensor '", &error);
                expect_zero("a read that fails", out, TENSORS);
            }
}

Test(hash, of_a_file_that_shrank_is_an_error_also_when_mapped)
{
    for (size_t way = 1; way <= 2; way++) {
        temp_write_text(&folder, "model.safetensors", &file);
        tare_model *model = open_way(way);
        temp_write(&folder, "model.safetensors", file.data, file.size - 1000);
        tare_digest out[TENSORS];
        tare_error error = expect_poison();
        tare_status status = tare_hash_many(model, NULL, 0, NULL, out, &error);
        expect_status("cut", TARE_E_CHANGED, status, NULL, &error);
        expect_message("cut", "'l'", &error);
        status = tare_hash(model, tare_find(model, "l", 1), out, &error);
        expect_status("cut", TARE_E_CHANGED, status, NULL, &error);
        expect_zero("cut", out, 1);
        tare_close(model);
    }
}

static int stop_at_once(void *context, uint64_t done, uint64_t total)
{
    (void)context, (void)done, (void)total;
    return 1;
}

Test(hash, can_drop_the_pages_behind)
{
    tare_model *model = open_way(2);
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_digest out[TENSORS];
    cr_expect_eq(tare_hash_many(model, NULL, 0, &options, out, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 0);
    options.flags = TARE_LOAD_DROP_BEHIND;
    cr_expect_eq(tare_hash_many(model, NULL, 0, &options, out, NULL), TARE_OK);
    cr_expect_geq(os_fault.advised_size, file.size - tare_shard_at(model, 0).data_offset);
    for (size_t i = 0; i < TENSORS; i++) cr_expect(same(out[i], wanted(model, tare_at(model, i))));
    tare_close(model);
    model = open_way(2); /* in any order, and stopped */
    const tare_tensor *list[] = {tare_find(model, "h", 1), tare_find(model, "a", 1),
                                 tare_find(model, "i", 1)};
    cr_expect_eq(tare_hash_many(model, list, 3, &options, out, NULL), TARE_OK);
    for (size_t i = 0; i < 3; i++) cr_expect(same(out[i], wanted(model, list[i])));
    options.progress = stop_at_once;
    cr_expect_eq(tare_hash_many(model, list, 3, &options, out, NULL), TARE_E_CANCELLED);
    options.progress = NULL;
    tare_close(model);
    for (size_t way = 0; way <= 3; way += 3) { /* of no file there are none */
        model = open_way(way);
        os_faults_reset();
        cr_expect_eq(tare_hash_many(model, NULL, 0, &options, out, NULL), TARE_OK);
        cr_expect_eq(os_fault.calls[OS_FADVISE], 0);
        tare_close(model);
    }
}

static int tell_total(void *context, uint64_t done, uint64_t total)
{
    *(uint64_t *)context = total;
    return done == 0;
}

/* Of each folio, as soon as it is hashed, and of all once more: other threads may have looked at
 * the first one meanwhile. Whole folios and pages are asked for. */
Test(hash, drops_each_folio_once_it_is_hashed_and_all_at_the_end)
{
    enum { FOLIO = 2 << 20, PAGE = 4096 };
    static const struct {
        const char *name;
        size_t calls;
    } rows[] = {{"h", 6}, {"a", 2}, {"b", 2}, {"d", 2}, {"e", 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tare_model *model = open_way(1 + i % 2);
        const tare_tensor *tensor = tare_find(model, rows[i].name, 1);
        uint64_t offset = tare_offset(model, tensor), size = tare_size(model, tensor), wanted = 0;
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_digest out;
        options.flags = TARE_LOAD_DROP_BEHIND;
        os_faults_reset();
        cr_expect_eq(tare_hash_many(model, &tensor, 1, &options, &out, NULL), TARE_OK);
        for (uint64_t at = 0; at < size; at += FOLIO) {
            uint64_t end = offset + (size - at < FOLIO ? size : at + FOLIO);
            wanted += (end + PAGE - 1) / PAGE * PAGE - (offset + at) / FOLIO * FOLIO;
        }
        if (size != 0) wanted += (offset + size + PAGE - 1) / PAGE * PAGE - offset / FOLIO * FOLIO;
        cr_expect_eq(os_fault.calls[OS_FADVISE], rows[i].calls, "%s: %zu", rows[i].name,
                     os_fault.calls[OS_FADVISE]);
        cr_expect_eq(os_fault.advised_size, wanted, "%s: %" PRIu64, rows[i].name,
                     os_fault.advised_size);
        tare_close(model);
    }
}

/* What is told is how many there are, as far as that can be counted; no byte of them is there. */
Test(hash, of_more_bytes_than_can_be_counted_tells_the_most_there_is)
{
    enum { COUNT = 1 << 19 };
    static const char header[] = "{\"t\":{\"dtype\":\"U8\",\"shape\":[35184372088832],"
                                 "\"data_offsets\":[0,35184372088832]}}";
    build_text text = build_raw(header, sizeof header - 1, 0);
    reader_probe probe;
    reader_probe_init(&probe, text.data, text.size, 0);
    probe.reader.total_size += UINT64_C(1) << 45;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
    expect_opened("32 TiB", status, model, &error);
    const tare_tensor **list = malloc(COUNT * sizeof *list);
    tare_digest *out = malloc(COUNT * sizeof *out);
    uint64_t total = 0;
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    for (size_t i = 0; i < COUNT; i++) list[i] = tare_at(model, 0);
    options.progress = tell_total;
    options.progress_context = &total;
    status = tare_hash_many(model, list, COUNT, &options, out, &error);
    expect_status("2^64 bytes", TARE_E_CANCELLED, status, NULL, &error);
    cr_expect_eq(total, UINT64_MAX);
    expect_zero("2^64 bytes", out, COUNT);
    free(list);
    free(out);
    tare_close(model);
    build_free(&text);
}

/* The system keeps them in folios as large as a huge page, and gives up none that is asked for in
 * part. */
Test(hash, drops_pages_however_the_system_keeps_them)
{
    if (!probe_drop_cached(path.text)) cr_skip_test("this file system keeps its pages");
    for (uint32_t threads = 1; threads <= 4; threads++) {
        tare_model *model = open_way(2);
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_digest out[TENSORS];
        options.threads = threads;
        options.flags = TARE_LOAD_DROP_BEHIND;
        cr_expect_eq(tare_hash_many(model, NULL, 0, &options, out, NULL), TARE_OK);
        tare_close(model);
        cr_expect_leq(probe_cached_size(path.text), 65536, "%u threads", threads);
    }
}
