#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/name_sets.h"
#include "support/os_faults.h"
#include "support/process_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

enum { TENSORS = 40 };

typedef enum way { WAY_MAP, WAY_READ, WAY_BYTES, WAY_PAIRS, WAY_READER, WAYS } way;
static const char *const way_names[WAYS] = {"mapped", "read", "bytes", "pairs", "reader"};

/* Tensors of 3 pages and a bit, so that each shares pages with its neighbours. */
static size_t page, tensor_size;
static temp_path folder, path;
static build_text file;
static reader_probe probe;
static alloc_probe memory;

static void make_file(void)
{
    static char names[TENSORS][8], shapes[TENSORS][16];
    build_tensor tensors[TENSORS];
    page = (size_t)sysconf(_SC_PAGESIZE);
    tensor_size = 3 * page + 100;
    for (unsigned i = 0; i < TENSORS; i++) {
        size_t size = i == 7 ? 0 : tensor_size;
        snprintf(names[i], sizeof names[i], "t%02u", i);
        snprintf(shapes[i], sizeof shapes[i], "[%zu]", size);
        tensors[i] = (build_tensor){names[i], 0, "U8", shapes[i], size};
    }
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

TestSuite(advise, .init = make_file, .fini = remove_file);

static tare_model *open_pairs(const tare_options *options)
{
    tare_pair pairs[TENSORS];
    char names[TENSORS][4];
    tare_model *model;
    for (unsigned i = 0; i < TENSORS; i++) {
        snprintf(names[i], sizeof names[i], "p%02u", i % 100);
        pairs[i] = (tare_pair){names[i], 3, file.data + i * page, i == 7 ? 0 : tensor_size};
    }
    cr_assert_eq(tare_open_pairs(pairs, TENSORS, options, &model, NULL), TARE_OK);
    return model;
}

static tare_model *open_way(way how)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = NULL;
    tare_error error = expect_poison();
    tare_status status = TARE_OK;
    alloc_probe_init(&memory);
    options.allocator = &memory.hooks;
    if (how == WAY_PAIRS) {
        model = open_pairs(&options);
    } else if (how == WAY_BYTES) {
        status = tare_open_bytes(file.data, file.size, &options, &model, &error);
    } else if (how == WAY_READER) {
        reader_probe_init(&probe, file.data, file.size, 0);
        status = tare_open_reader(&probe.reader, &options, &model, &error);
    } else {
        options.backing = how == WAY_MAP ? TARE_BACKING_MAP : TARE_BACKING_READ;
        status = tare_open(path.text, &options, &model, &error);
    }
    cr_assert_eq(status, TARE_OK, "%s", way_names[how]);
    os_faults_reset();
    reader_probe_reset(&probe);
    return model;
}

static void close_model(tare_model *model)
{
    tare_close(model);
    cr_expect_eq(memory.block_count, 0);
    cr_expect_eq(memory.mistakes, 0);
}

static size_t calls_of_all(void)
{
    return os_fault.calls[OS_MADVISE] + os_fault.calls[OS_FADVISE] + os_fault.calls[OS_MLOCK] +
           os_fault.calls[OS_MUNLOCK];
}

static size_t locked_size(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *facts = fopen("/proc/self/status", "r");
    cr_assert_not_null(facts);
    while (fgets(line, sizeof line, facts) != NULL) sscanf(line, "VmLck: %lu", &kib);
    fclose(facts);
    return (size_t)kib * 1024;
}

static void check_bytes(const char *what, const tare_model *model, way how)
{
    for (size_t i = 0; i < TENSORS; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        size_t size = (size_t)tare_size(model, tensor);
        size_t place = how == WAY_PAIRS ? i * page : (size_t)tare_offset(model, tensor);
        expect_bytes(what, model, tensor, file.data + place, size);
    }
}

/* Every tensor once, in an order that looks random. */
static void shuffled(const tare_model *model, const tare_tensor **list)
{
    uint32_t *order = name_shuffle(TENSORS);
    for (size_t i = 0; i < TENSORS; i++) list[i] = tare_at(model, order[i]);
    free(order);
}

Test(advise, leaves_the_bytes_as_they_are)
{
    for (way how = 0; how < WAYS; how++) {
        tare_model *model = open_way(how);
        const tare_tensor *list[2 * TENSORS];
        shuffled(model, list);
        shuffled(model, list + TENSORS);
        for (uint32_t advice = TARE_ADVISE_WILL_NEED; advice <= TARE_ADVISE_UNLOCK; advice++) {
            int locks = advice == TARE_ADVISE_LOCK || advice == TARE_ADVISE_UNLOCK;
            tare_status wanted =
                locks && (how == WAY_READ || how == WAY_READER) ? TARE_E_UNSUPPORTED : TARE_OK;
            for (size_t count = 0; count <= 2 * TENSORS; count += 5) {
                tare_error error = expect_poison();
                tare_status status = tare_advise(model, list, count, advice, &error);
                cr_expect_eq(status, count == 0 ? TARE_OK : wanted, "%s %u %zu: %s", way_names[how],
                             (unsigned)advice, count, error.message);
                cr_expect_eq(error.status, status);
                cr_expect_eq(error.system_error, 0, "the system was not asked");
            }
            cr_expect_eq(tare_advise(model, NULL, 0, advice, NULL), wanted);
            cr_expect_eq(tare_advise(model, NULL, TENSORS, advice, NULL), wanted);
            check_bytes(way_names[how], model, how);
        }
        close_model(model);
    }
    cr_expect_eq(locked_size(), 0);
}

Test(advise, asks_nothing_of_a_reader)
{
    tare_model *model = open_way(WAY_READER);
    for (uint32_t advice = TARE_ADVISE_WILL_NEED; advice <= TARE_ADVISE_POPULATE; advice++)
        cr_expect_eq(tare_advise(model, NULL, 0, advice, NULL), TARE_OK);
    cr_expect_eq(probe.calls + calls_of_all(), 0);
    close_model(model);
}

Test(advise, takes_neighbours_together_in_whatever_order)
{
    enum { AHEAD = 128 << 10 };
    static const way ways[] = {WAY_MAP, WAY_READ, WAY_BYTES, WAY_PAIRS};
    for (size_t i = 0; i < 4; i++) {
        tare_model *model = open_way(ways[i]);
        const tare_tensor *list[TENSORS];
        shuffled(model, list);
        cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
        /* One stretch, for which the system is called once for each 128 KiB. */
        uint64_t size = os_fault.advised_size, calls = (size + AHEAD - 1) / AHEAD;
        cr_expect_eq(calls_of_all(), calls, "%s: all: %zu", way_names[ways[i]], calls_of_all());
        cr_expect_geq(size, (TENSORS - 1) * tensor_size);
        cr_expect_leq(size, (TENSORS - 1) * (tensor_size + 64) + 2 * page);
        os_faults_reset();
        cr_expect_eq(tare_advise(model, list, TENSORS, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
        cr_expect_eq(calls_of_all(), calls, "%s: shuffled: %zu", way_names[ways[i]],
                     calls_of_all());
        cr_expect_eq(os_fault.advised_size, size);
        /* Two pieces, with other tensors between them. */
        const tare_tensor *some[] = {tare_at(model, 20), tare_at(model, 2), tare_at(model, 21),
                                     tare_at(model, 1), tare_at(model, 20)};
        os_faults_reset();
        cr_expect_eq(tare_advise(model, some, 5, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
        cr_expect_eq(calls_of_all(), 2, "%s: pieces: %zu", way_names[ways[i]], calls_of_all());
        cr_expect_leq(os_fault.advised_size, 4 * (tensor_size + 2 * page));
        close_model(model);
    }
}

/* The list is sorted by a bit for each tensor of the model. */
Test(advise, of_many_tensors_a_few_that_lie_far_apart)
{
    enum { MANY = 300 };
    static char names[MANY][8], shape[16];
    static build_tensor many[MANY];
    snprintf(shape, sizeof shape, "[%zu]", 2 * page);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "t%03u", i);
        many[i] = (build_tensor){names[i], 0, "U8", shape, 2 * page};
    }
    temp_path at = temp_write_built(&folder, "many.safetensors", build_file(many, MANY, NULL));
    tare_model *model = expect_open_path("many", at.text, TARE_BACKING_MAP);
    static const size_t places[] = {299, 3, 130, 63, 64, 260};
    const tare_tensor *list[6];
    for (size_t i = 0; i < 6; i++) list[i] = tare_at(model, places[i]);
    os_faults_reset();
    cr_expect_eq(tare_advise(model, list, 6, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
    cr_expect_eq(calls_of_all(), 5, "63 and 64 are neighbours: %zu", calls_of_all());
    cr_expect_geq(os_fault.advised_size, 12 * page);
    tare_close(model);
}

Test(advise, allocates_for_a_list_out_of_order_only)
{
    tare_model *model = open_way(WAY_MAP);
    const tare_tensor *list[TENSORS];
    size_t calls = memory.calls;
    for (size_t i = 0; i < TENSORS; i++) list[i] = tare_at(model, i);
    cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
    cr_expect_eq(tare_advise(model, list, TENSORS, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
    for (size_t i = 0; i < TENSORS; i++) list[i] = tare_at(model, i / 2); /* each twice */
    cr_expect_eq(tare_advise(model, list, TENSORS, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
    cr_expect_eq(memory.calls, calls);
    shuffled(model, list);
    size_t held = memory.block_count;
    cr_expect_eq(tare_advise(model, list, TENSORS, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
    cr_expect_eq(memory.calls, calls + 1);
    cr_expect_eq(memory.block_count, held);
    memory.fail_at = memory.calls + 1;
    tare_error error = expect_poison();
    tare_status status = tare_advise(model, list, TENSORS, TARE_ADVISE_WILL_NEED, &error);
    expect_status("without memory", TARE_E_MEMORY, status, NULL, &error);
    close_model(model);
}

Test(advise, refuses_what_is_no_advice_and_no_tensor)
{
    tare_model *model = open_way(WAY_MAP);
    const tare_tensor *list[] = {tare_at(model, 0), NULL};
    static const uint32_t advices[] = {0, 6, UINT32_MAX};
    tare_error error;
    for (size_t i = 0; i < 3; i++) {
        error = expect_poison();
        tare_status status = tare_advise(model, list, 1, advices[i], &error);
        expect_status("an advice", TARE_E_ARGUMENT, status, NULL, &error);
    }
    error = expect_poison();
    tare_status status = tare_advise(model, list, 2, TARE_ADVISE_LOCK, &error);
    expect_status("a tensor", TARE_E_ARGUMENT, status, NULL, &error);
    expect_message("a tensor", "tensor 1", &error);
    status = tare_advise(model, NULL, 3, TARE_ADVISE_WILL_NEED, &error);
    expect_status("a count", TARE_E_ARGUMENT, status, NULL, &error);
    cr_expect_eq(tare_advise(model, list, 2, 9, NULL), TARE_E_ARGUMENT, "without an error");
    cr_expect_eq(calls_of_all(), 0);
    close_model(model);
}

/* ------------------------------------------------------------------------------------------------
 * What it does to pages
 */

Test(advise, populate_makes_mapped_pages_present)
{
    tare_model *model = open_way(WAY_MAP);
    const tare_tensor *list[] = {tare_at(model, 3), tare_at(model, 4)};
    cr_expect_eq(probe_mapping_resident(folder.text), 0);
    cr_expect_eq(tare_advise(model, list, 2, TARE_ADVISE_POPULATE, NULL), TARE_OK);
    cr_expect_geq(probe_mapping_resident(folder.text), 2 * tensor_size);
    cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_POPULATE, NULL), TARE_OK);
    cr_expect_geq(probe_mapping_resident(folder.text), (TENSORS - 1) * tensor_size);
    close_model(model);
}

Test(advise, populate_reads_where_the_kernel_is_old)
{
    static const way ways[] = {WAY_MAP, WAY_READ, WAY_BYTES, WAY_PAIRS};
    for (size_t i = 0; i < 4; i++) {
        tare_model *model = open_way(ways[i]);
        int file_backed = ways[i] <= WAY_READ;
        os_fault.advice_refused = MADV_POPULATE_READ;
        uint64_t before = probe_read_size();
        cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_POPULATE, NULL), TARE_OK);
        uint64_t read = probe_read_size() - before;
        cr_expect(!file_backed || read >= (TENSORS - 1) * tensor_size, "%s: %zu bytes read",
                  way_names[ways[i]], (size_t)read);
        cr_expect_eq(os_fault.calls[OS_PREAD] > 0, file_backed, "%s", way_names[ways[i]]);
        os_fault.advice_refused = 0;
        check_bytes(way_names[ways[i]], model, ways[i]);
        close_model(model);
    }
}

/* What a caller mapped is touched page by page. */
Test(advise, populate_touches_memory_where_the_kernel_is_old)
{
    int opened = open(path.text, O_RDONLY);
    void *mapped = mmap(NULL, file.size, PROT_READ, MAP_PRIVATE, opened, 0);
    cr_assert(opened >= 0 && mapped != MAP_FAILED);
    tare_model *model;
    cr_assert_eq(tare_open_bytes(mapped, file.size, NULL, &model, NULL), TARE_OK);
    cr_assert_eq(madvise(mapped, file.size, MADV_DONTNEED), 0);
    cr_expect_eq(probe_mapping_resident(folder.text), 0);
    os_fault.advice_refused = MADV_POPULATE_READ;
    cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_POPULATE, NULL), TARE_OK);
    cr_expect_geq(probe_mapping_resident(folder.text), (TENSORS - 1) * tensor_size);
    tare_close(model);
    munmap(mapped, file.size);
    close(opened);
}

Test(advise, do_not_need_drops_pages_but_those_of_others)
{
    tare_model *model = open_way(WAY_MAP);
    tare_advise(model, NULL, 0, TARE_ADVISE_POPULATE, NULL);
    uint64_t all = probe_mapping_resident(folder.text);
    const tare_tensor *list[] = {tare_at(model, 5)};
    os_faults_reset();
    cr_expect_eq(tare_advise(model, list, 1, TARE_ADVISE_DO_NOT_NEED, NULL), TARE_OK);
    uint64_t begin = tare_offset(model, list[0]), end = begin + tensor_size;
    uint64_t whole = end / page * page - (begin + page - 1) / page * page;
    cr_expect_eq(all - probe_mapping_resident(folder.text), whole);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 1);
    cr_expect_eq(os_fault.advised_size, 2 * whole);
    check_bytes("dropped", model, WAY_MAP);
    cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_DO_NOT_NEED, NULL), TARE_OK);
    cr_expect_leq(probe_mapping_resident(folder.text), page, "the page of the header");
    check_bytes("all dropped", model, WAY_MAP);
    close_model(model);
}

/* In GGUF there is padding between them, which is nobody's. */
Test(advise, do_not_need_takes_tensors_together_that_follow_one_another)
{
    build_text padded =
        gguf_text(GGUF_HEAD("3", "1") GGUF_U32("general.alignment", "4096")
                      GGUF_TENSOR("a", "51202", "0", "0") GGUF_TENSOR("b", "51202", "0", "208896")
                          GGUF_TENSOR("c", "51202", "0",
                                      "417792") "p4096 d204808 p4096 d204808 p4096 d204808 p4096",
                  NULL);
    temp_path at = temp_write_built(&folder, "model.gguf", padded);
    tare_model *model = expect_open_path("padded", at.text, TARE_BACKING_MAP);
    os_faults_reset();
    cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_DO_NOT_NEED, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 1);
    cr_expect_eq(os_fault.advised_at[0], tare_offset(model, tare_at(model, 0)), "a whole page");
    const tare_tensor *apart[] = {tare_at(model, 0), tare_at(model, 2)};
    os_faults_reset();
    cr_expect_eq(tare_advise(model, apart, 2, TARE_ADVISE_DO_NOT_NEED, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 2);
    tare_close(model);
}

Test(advise, do_not_need_never_drops_memory)
{
    for (way how = WAY_BYTES; how <= WAY_PAIRS; how++) {
        tare_model *model = open_way(how);
        cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_DO_NOT_NEED, NULL), TARE_OK);
        cr_expect_eq(calls_of_all(), 0);
        check_bytes(way_names[how], model, how);
        close_model(model);
    }
}

Test(advise, lock_keeps_pages_until_unlock_or_close)
{
    static const way ways[] = {WAY_MAP, WAY_BYTES, WAY_PAIRS};
    for (size_t i = 0; i < 3; i++) {
        tare_model *model = open_way(ways[i]);
        const tare_tensor *list[] = {tare_at(model, 9), tare_at(model, 3)};
        cr_assert_eq(locked_size(), 0);
        cr_assert_eq(tare_advise(model, list, 2, TARE_ADVISE_LOCK, NULL), TARE_OK,
                     "a process may lock 64 KiB at least");
        cr_expect_geq(locked_size(), 2 * tensor_size, "%s", way_names[ways[i]]);
        cr_expect_eq(tare_advise(model, list, 2, TARE_ADVISE_LOCK, NULL), TARE_OK);
        cr_expect_eq(tare_advise(model, list, 1, TARE_ADVISE_UNLOCK, NULL), TARE_OK);
        cr_expect_leq(locked_size(), tensor_size + 2 * page);
        if (ways[i] != WAY_MAP)
            cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_UNLOCK, NULL), TARE_OK);
        close_model(model);
        cr_expect_eq(locked_size(), 0, "%s: closed", way_names[ways[i]]);
    }
}

Test(advise, pages_that_are_locked_cannot_be_given_back)
{
    tare_model *model = open_way(WAY_MAP);
    const tare_tensor *list[] = {tare_at(model, 9)};
    cr_assert_eq(tare_advise(model, list, 1, TARE_ADVISE_LOCK, NULL), TARE_OK);
    tare_error error = expect_poison();
    tare_status status = tare_advise(model, list, 1, TARE_ADVISE_DO_NOT_NEED, &error);
    expect_status("locked", TARE_E_UNSUPPORTED, status, NULL, &error);
    expect_message("locked", "'t09'", &error);
    cr_expect_eq(error.system_error, EINVAL);
    cr_expect_eq(tare_advise(model, list, 1, TARE_ADVISE_UNLOCK, NULL), TARE_OK);
    cr_expect_eq(tare_advise(model, list, 1, TARE_ADVISE_DO_NOT_NEED, NULL), TARE_OK);
    close_model(model);
}

/* ------------------------------------------------------------------------------------------------
 * Failures
 */

Test(advise, of_a_file_that_shrank_is_an_error_and_no_signal)
{
    static const struct {
        way how;
        uint32_t advice;
        int refused;
        tare_status wanted;
    } rows[] = {
        {WAY_MAP, TARE_ADVISE_WILL_NEED, 0, TARE_OK},
        {WAY_MAP, TARE_ADVISE_POPULATE, 0, TARE_E_CHANGED},
        {WAY_MAP, TARE_ADVISE_POPULATE, MADV_POPULATE_READ, TARE_E_CHANGED},
        {WAY_MAP, TARE_ADVISE_LOCK, 0, TARE_E_CHANGED},
        {WAY_MAP, TARE_ADVISE_DO_NOT_NEED, 0, TARE_OK},
        {WAY_READ, TARE_ADVISE_WILL_NEED, 0, TARE_OK},
        {WAY_READ, TARE_ADVISE_POPULATE, 0, TARE_E_CHANGED},
        {WAY_READ, TARE_ADVISE_DO_NOT_NEED, 0, TARE_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        temp_write_text(&folder, "model.safetensors", &file);
        tare_model *model = open_way(rows[i].how);
        const tare_tensor *list[] = {tare_at(model, 1), tare_at(model, TENSORS - 1)};
        temp_write(&folder, "model.safetensors", file.data, file.size - 2 * tensor_size);
        os_fault.advice_refused = rows[i].refused;
        tare_error error = expect_poison();
        tare_status status = tare_advise(model, list, 2, rows[i].advice, &error);
        cr_expect_eq(status, rows[i].wanted, "row %zu: %s", i, error.message);
        if (status != TARE_OK) {
            expect_message("cut", "'t39'", &error);
            cr_expect_eq(error.offset, tare_offset(model, list[1]), "row %zu", i);
        }
        close_model(model);
    }
}

/* Nobody knows then whether a file was cut short, which memory never is: why it failed is told. */
Test(advise, of_what_cannot_be_looked_at_either_tells_why_it_failed)
{
    static const way ways[] = {WAY_MAP, WAY_READ, WAY_BYTES};
    for (size_t i = 0; i < 3; i++) {
        tare_model *model = open_way(ways[i]);
        const tare_tensor *tensor = tare_at(model, 1);
        tare_error error = expect_poison();
        os_fault.always[OS_MADVISE] = os_fault.always[OS_PREAD] = os_fault.always[OS_FSTAT] = EIO;
        tare_status status = tare_advise(model, &tensor, 1, TARE_ADVISE_POPULATE, &error);
        expect_refused(way_names[i], TARE_E_READ, tare_offset(model, tensor), status, NULL, &error);
        cr_expect_eq(os_fault.calls[OS_FSTAT], i < 2, "%s", way_names[i]);
        cr_expect_eq(error.system_error, EIO, "%s", way_names[i]);
        os_faults_reset();
        close_model(model);
    }
}

/* Neighbours are taken together; the one that the file ends in is named all the same. */
Test(advise, of_a_file_that_shrank_names_the_tensor_at_its_end)
{
    static const struct {
        way how;
        uint32_t advice;
        int refused;
    } rows[] = {
        {WAY_MAP, TARE_ADVISE_POPULATE, 0},
        {WAY_MAP, TARE_ADVISE_POPULATE, MADV_POPULATE_READ},
        {WAY_MAP, TARE_ADVISE_LOCK, 0},
        {WAY_READ, TARE_ADVISE_POPULATE, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t cut = 0; cut <= 20 * page; cut += 5 * page) {
            temp_write_text(&folder, "model.safetensors", &file);
            tare_model *model = open_way(rows[i].how);
            uint64_t size = tare_offset(model, tare_at(model, TENSORS - 1)) - cut;
            size_t named = TENSORS - 1 - (cut + tensor_size - 1) / tensor_size;
            temp_write(&folder, "model.safetensors", file.data, size);
            os_fault.advice_refused = rows[i].refused;
            tare_error error = expect_poison();
            tare_status status = tare_advise(model, NULL, 0, rows[i].advice, &error);
            expect_refused("cut", TARE_E_CHANGED, size, status, NULL, &error);
            cr_expect_eq(error.system_error, 0, "the system did not fail");
            expect_message("cut", tare_name(model, tare_at(model, named)).data, &error);
            close_model(model);
        }
}

/* A tensor between two that are asked for, which its index file puts behind all layouts. */
Test(advise, of_a_file_that_shrank_names_no_tensor_that_is_led_astray)
{
    enum { ASTRAY = 7, RECORDS = 8, RECORD_SIZE = 16, LAYOUT_AT = 8 };
    static const size_t named[] = {ASTRAY - 1, ASTRAY + 1};
    tare_model *model = open_way(WAY_READ);
    index_image image = index_make(model, temp_join(&folder, "an.idx").text);
    close_model(model);
    size_t record = index_section_offset(&image, RECORDS) + ASTRAY * RECORD_SIZE;
    memset(image.bytes + record + LAYOUT_AT, 0xFF, sizeof(uint32_t));
    index_seal(&image);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_check = TARE_INDEX_BY_HEADER; /* the file is written anew */
    options.index_bytes = image.bytes;
    options.index_size = image.size;
    for (size_t i = 0; i < 2; i++) {
        tare_error error = expect_poison();
        temp_write_text(&folder, "model.safetensors", &file);
        tare_status status = tare_open(path.text, &options, &model, &error);
        expect_opened("with an index", status, model, &error);
        const tare_tensor *list[] = {tare_at(model, ASTRAY - 1), tare_at(model, ASTRAY + 1)};
        uint64_t size = tare_offset(model, list[i]) + page;
        cr_expect_eq(tare_ready(model, list[i], &error), TARE_OK, "%s", error.message);
        cr_expect_eq(tare_ready(model, tare_at(model, ASTRAY), &error), TARE_E_PREBUILT);
        temp_write(&folder, "model.safetensors", file.data, size);
        status = tare_advise(model, list, 2, TARE_ADVISE_POPULATE, &error);
        expect_refused("cut", TARE_E_CHANGED, size, status, NULL, &error);
        expect_message("cut", tare_name(model, tare_at(model, named[i])).data, &error);
        tare_close(model);
    }
    index_free(&image);
}

Test(advise, lock_says_how_much_may_be_locked)
{
    static const int failures[] = {ENOMEM, EAGAIN, EPERM};
    for (size_t i = 0; i < 3; i++) {
        tare_model *model = open_way(WAY_MAP);
        tare_error error = expect_poison();
        os_fault.fail_at[OS_MLOCK] = 1;
        os_fault.error = failures[i];
        tare_status status = tare_advise(model, NULL, 0, TARE_ADVISE_LOCK, &error);
        expect_status("mlock", TARE_E_LIMIT, status, NULL, &error);
        expect_message("mlock", "ulimit -l", &error);
        expect_message("mlock", "'t00'", &error);
        cr_expect_eq(error.system_error, failures[i]);
        close_model(model);
    }
}

/* Each call of the system fails in turn, for an advice that takes two calls of it. */
Test(advise, reports_every_call_that_fails)
{
    static const struct {
        way how;
        uint32_t advice;
        enum os_call call;
        int failure;
        tare_status wanted;
    } rows[] = {
        {WAY_MAP, TARE_ADVISE_WILL_NEED, OS_MADVISE, EIO, TARE_E_READ},
        {WAY_MAP, TARE_ADVISE_WILL_NEED, OS_MADVISE, EAGAIN, TARE_E_UNSUPPORTED},
        {WAY_BYTES, TARE_ADVISE_WILL_NEED, OS_MADVISE, EBADF, TARE_OK},
        {WAY_READ, TARE_ADVISE_WILL_NEED, OS_FADVISE, EINVAL, TARE_E_UNSUPPORTED},
        {WAY_MAP, TARE_ADVISE_DO_NOT_NEED, OS_MADVISE, EINVAL, TARE_E_UNSUPPORTED},
        {WAY_MAP, TARE_ADVISE_DO_NOT_NEED, OS_FADVISE, EBADF, TARE_E_UNSUPPORTED},
        {WAY_READ, TARE_ADVISE_DO_NOT_NEED, OS_FADVISE, EIO, TARE_E_READ},
        {WAY_MAP, TARE_ADVISE_POPULATE, OS_MADVISE, EFAULT, TARE_E_READ},
        {WAY_MAP, TARE_ADVISE_POPULATE, OS_MADVISE, EHWPOISON, TARE_E_READ},
        {WAY_MAP, TARE_ADVISE_POPULATE, OS_MADVISE, EINVAL, TARE_OK},
        {WAY_MAP, TARE_ADVISE_POPULATE, OS_MADVISE, EINTR, TARE_OK},
        {WAY_READ, TARE_ADVISE_POPULATE, OS_PREAD, EIO, TARE_E_READ},
        {WAY_READ, TARE_ADVISE_POPULATE, OS_PREAD, EINTR, TARE_OK},
        {WAY_READ, TARE_ADVISE_POPULATE, OS_PREAD, 0, TARE_E_CHANGED},
        {WAY_MAP, TARE_ADVISE_LOCK, OS_MLOCK, EIO, TARE_E_READ},
        {WAY_MAP, TARE_ADVISE_LOCK, OS_MLOCK, EAGAIN, TARE_E_LIMIT},
        {WAY_MAP, TARE_ADVISE_UNLOCK, OS_MUNLOCK, ENOMEM, TARE_E_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t n = 1; n <= 2; n++) {
            tare_model *model = open_way(rows[i].how);
            const tare_tensor *list[] = {tare_at(model, 30), tare_at(model, 2)};
            tare_error error = expect_poison();
            os_fault.fail_at[rows[i].call] = n;
            os_fault.fail_count = 1;
            os_fault.error = rows[i].failure;
            tare_status status = tare_advise(model, list, 2, rows[i].advice, &error);
            cr_expect_eq(status, rows[i].wanted, "row %zu: %s", i, error.message);
            cr_expect_geq(os_fault.calls[rows[i].call], n, "row %zu", i);
            cr_expect_eq(error.system_error, status == TARE_OK ? 0 : rows[i].failure);
            const char *name = n == 1 ? "'t02'" : "'t30'";
            if (rows[i].call == OS_PREAD) name = "'t"; /* one read or several, by the page */
            if (status != TARE_OK) expect_message("a call that fails", name, &error);
            os_faults_reset();
            check_bytes("afterwards", model, rows[i].how);
            close_model(model);
        }
}
