/* Which bytes an advice is about, to the byte: what is joined, rounded, passed over and touched. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

enum { PAGE = 4096, MANY = 200 };

static temp_path folder;

static void make_folder(void)
{
    if (sysconf(_SC_PAGESIZE) != PAGE) cr_skip_test("pages are larger here");
    folder = temp_folder_make();
    os_faults_reset();
}

static void remove_folder(void)
{
    os_faults_reset();
    if (folder.text[0] != 0) temp_folder_remove(&folder);
}

TestSuite(advise_extents, .init = make_folder, .fini = remove_folder);

/* Tensors of these ends, one behind the other, whose data begins at the second page. */
static build_text make_file(const char *names, const size_t *ends, size_t count)
{
    build_text header = {0};
    size_t begin = 0;
    for (size_t i = 0; i < count; begin = ends[i++])
        build_addf(&header,
                   "%c\"%c%03zu\":{\"dtype\":\"U8\",\"shape\":[%zu],\"data_offsets\":[%zu,%zu]}",
                   i == 0 ? '{' : ',', names != NULL ? names[i] : 't', names != NULL ? 0 : i,
                   ends[i] - begin, begin, ends[i]);
    build_addf(&header, "}");
    size_t size = (header.size + 8 + PAGE - 1) / PAGE * PAGE - 8;
    while (header.size < size) build_addf(&header, " ");
    build_text file = build_raw(header.data, header.size, begin);
    build_free(&header);
    return file;
}

static const tare_tensor *find(const tare_model *model, char name)
{
    char text[] = {name, '0', '0', '0'};
    return tare_find(model, text, sizeof text);
}

Test(advise_extents, joins_what_is_near_and_spares_what_is_not_asked_for)
{
    static const char names[] = "abcdefghikl";
    static const size_t ends[] = {PAGE,          2 * PAGE,      3 * PAGE, 3 * PAGE + 1,
                                  6 * PAGE + 1,  6 * PAGE + 2,  8 * PAGE, 8 * PAGE + 10,
                                  9 * PAGE + 10, 9 * PAGE + 10, 10 * PAGE};
    enum { AHEAD = TARE_ADVISE_WILL_NEED, DROP = TARE_ADVISE_DO_NOT_NEED };
    static const struct {
        const char *list;
        uint32_t advice;
        size_t calls;
        uint64_t first, size; /* in the data */
    } rows[] = {
        {"a", AHEAD, 1, 0, PAGE},
        {"aa", AHEAD, 1, 0, PAGE},
        {"ac", AHEAD, 1, 0, 3 * PAGE}, /* a page between them is no reason for a call */
        {"ac", DROP, 2, 0, 2 * PAGE},
        {"ad", AHEAD, 2, 0, PAGE + 1},
        {"d", AHEAD, 1, 3 * PAGE, 1},
        {"k", AHEAD, 0, 0, 0},
        {"k", DROP, 0, 0, 0},
        {"e", DROP, 1, 4 * PAGE, 2 * PAGE},
        {"eg", DROP, 2, 4 * PAGE, 3 * PAGE}, /* a byte between them is another's */
        {"efg", DROP, 1, 4 * PAGE, 4 * PAGE},
        {"i", DROP, 0, 0, 0}, /* two pages, and none of its own */
        {"l", DROP, 0, 0, 0},
        {"kl", DROP, 0, 0, 0},
        {"il", DROP, 1, 9 * PAGE, PAGE},
    };
    build_text file = make_file(names, ends, sizeof ends / sizeof *ends);
    temp_path path = temp_write_text(&folder, "model.safetensors", &file);
    tare_model *model = expect_open_path("model", path.text, TARE_BACKING_READ);
    uint64_t data = tare_shard_at(model, 0).data_offset;
    cr_assert_eq(data, PAGE);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const tare_tensor *list[4];
        size_t count = strlen(rows[i].list);
        for (size_t k = 0; k < count; k++) list[k] = find(model, rows[i].list[k]);
        os_faults_reset();
        cr_expect_eq(tare_advise(model, list, count, rows[i].advice, NULL), TARE_OK);
        cr_expect_eq(os_fault.calls[OS_FADVISE], rows[i].calls, "row %zu: %zu calls", i,
                     os_fault.calls[OS_FADVISE]);
        cr_expect_eq(os_fault.advised_size, rows[i].size, "row %zu: %zu bytes", i,
                     (size_t)os_fault.advised_size);
        cr_expect_eq(os_fault.advised_wrong, 0, "row %zu", i);
        if (rows[i].calls != 0) cr_expect_eq(os_fault.advised_at[0], data + rows[i].first);
    }
    tare_close(model);
    build_free(&file);
}

/* A bit for each tensor, of which whole words are passed over. */
Test(advise_extents, of_a_list_out_of_order_are_those_of_it_and_no_others)
{
    static const size_t lists[][3] = {{63, 3, 3}, {128, 64, 64}, {199, 0, 127}, {192, 191, 65}};
    static const size_t sizes[] = {2, 2, 3, 3}, calls[] = {2, 2, 3, 2};
    size_t ends[MANY];
    for (size_t i = 0; i < MANY; i++) ends[i] = (i + 1) * PAGE;
    build_text file = make_file(NULL, ends, MANY);
    temp_path path = temp_write_text(&folder, "many.safetensors", &file);
    tare_model *model = expect_open_path("many", path.text, TARE_BACKING_READ);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const tare_tensor *list[3];
        for (size_t k = 0; k < 3; k++) list[k] = tare_at(model, lists[i][k]);
        os_faults_reset();
        cr_expect_eq(tare_advise(model, list, 3, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
        cr_expect_eq(os_fault.calls[OS_FADVISE], calls[i], "list %zu", i);
        cr_expect_eq(os_fault.advised_size, sizes[i] * PAGE, "list %zu: %zu", i,
                     (size_t)os_fault.advised_size);
    }
    tare_close(model);
    build_free(&file);
}

Test(advise_extents, a_list_out_of_order_takes_a_bit_for_each_tensor)
{
    enum { MOST = 4160 };
    static const size_t counts[] = {2, 63, 64, 65, 128, MOST};
    static char names[MOST][8];
    static tare_pair pairs[MOST];
    static alloc_probe memory;
    for (size_t i = 0; i < MOST; i++) {
        snprintf(names[i], sizeof names[i], "%04zu", i);
        pairs[i] = (tare_pair){names[i], 4, names[i], 4};
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        alloc_probe_init(&memory);
        options.allocator = &memory.hooks;
        cr_assert_eq(tare_open_pairs(pairs, counts[i], &options, &model, NULL), TARE_OK);
        const tare_tensor *list[] = {tare_at(model, counts[i] - 1), tare_at(model, 0)};
        size_t held = memory.block_size;
        memory.peak_size = held;
        cr_expect_eq(tare_advise(model, list, 2, TARE_ADVISE_WILL_NEED, NULL), TARE_OK);
        cr_expect_eq(memory.peak_size - held, (counts[i] + 63) / 64 * 8, "of %zu: %zu", counts[i],
                     memory.peak_size - held);
        tare_close(model);
        cr_expect_eq(memory.block_count + memory.mistakes, 0);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Memory of the caller's that is touched, where the kernel is old
 */

/* Pages with this content, behind which none may be touched. */
static uint8_t *make_guarded(const build_text *file)
{
    uint8_t *all = mmap(NULL, file->size + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(all, MAP_FAILED);
    cr_assert_eq(mprotect(all, file->size, PROT_READ | PROT_WRITE), 0);
    memcpy(all, file->data, file->size);
    return all;
}

Test(advise_extents, each_page_of_memory_is_touched_and_none_behind_it)
{
    enum { PAGES = 7 };
    static const size_t rows[][2] = {
        {PAGE - 1, 2 * PAGE + 1}, /* the last byte of one, a whole one, the first byte of one */
        {PAGE, PAGE + 1},         {2 * PAGE, 4 * PAGE},
        {5 * PAGE, 7 * PAGE}, /* up to the end */
        {7 * PAGE - 1, 7 * PAGE}, {3 * PAGE + 5, 4 * PAGE + 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t ends[] = {rows[i][0], rows[i][1], PAGES * PAGE};
        build_text file = make_file("abc", ends, 3);
        uint8_t *memory = make_guarded(&file);
        unsigned char there[PAGES];
        tare_model *model;
        cr_assert_eq(tare_open_bytes(memory, file.size, NULL, &model, NULL), TARE_OK);
        const tare_tensor *tensor = find(model, 'b');
        cr_assert_eq(madvise(memory + PAGE, PAGES * PAGE, MADV_DONTNEED), 0);
        os_fault.advice_refused = MADV_POPULATE_READ;
        cr_expect_eq(tare_advise(model, &tensor, 1, TARE_ADVISE_POPULATE, NULL), TARE_OK);
        cr_assert_eq(mincore(memory + PAGE, PAGES * PAGE, there), 0);
        for (size_t k = 0; k < PAGES; k++) {
            int wanted = rows[i][0] < (k + 1) * PAGE && rows[i][1] > k * PAGE;
            cr_expect_eq(there[k] & 1, wanted, "row %zu, page %zu", i, k);
        }
        os_faults_reset();
        tare_close(model);
        munmap(memory, file.size + PAGE);
        build_free(&file);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Failures
 */

Test(advise_extents, a_read_that_fails_says_how)
{
    static const size_t ends[] = {2 * PAGE};
    static const struct {
        int failure;
        const char *text;
    } rows[] = {{0, "the data ends early"}, {EIO, "reading failed: "}};
    build_text file = make_file("a", ends, 1);
    temp_path path = temp_write_text(&folder, "model.safetensors", &file);
    for (size_t i = 0; i < 2; i++) {
        tare_model *model = expect_open_path("model", path.text, TARE_BACKING_READ);
        tare_error error = expect_poison();
        os_faults_reset();
        os_fault.fail_at[OS_PREAD] = 1;
        os_fault.error = rows[i].failure;
        cr_expect_neq(tare_advise(model, NULL, 0, TARE_ADVISE_POPULATE, &error), TARE_OK);
        expect_message("a read", rows[i].text, &error);
        cr_expect_eq(error.system_error, rows[i].failure);
        os_faults_reset();
        tare_close(model);
    }
    build_free(&file);
}

/* The page that the file ends in is there, with zeros behind its end. */
Test(advise_extents, a_byte_less_is_a_file_that_shrank)
{
    static const size_t ends[] = {PAGE + 100};
    build_text file = make_file("a", ends, 1);
    temp_path path = temp_write_text(&folder, "model.safetensors", &file);
    tare_model *model = expect_open_path("model", path.text, TARE_BACKING_MAP);
    temp_write(&folder, "model.safetensors", file.data, file.size - 1);
    tare_error error = expect_poison();
    tare_status status = tare_advise(model, NULL, 0, TARE_ADVISE_POPULATE, &error);
    expect_refused("a byte less", TARE_E_CHANGED, file.size - 1, status, NULL, &error);
    cr_expect_eq(error.system_error, 0, "the system did not fail");
    tare_close(model);
    build_free(&file);
}
