/* Calls of os.h by themselves, for what no model shows: pieces of every size, descriptor 0, what
 * errno was before. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os.h"
#include "support/expect.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

enum { SIZE = 700, PIECES = 6 };

static temp_path folder, path;
static uint8_t bytes[SIZE];

static void make_file(void)
{
    for (size_t i = 0; i < SIZE; i++) bytes[i] = build_byte(i);
    folder = temp_folder_make();
    path = temp_write(&folder, "file", bytes, SIZE);
    os_faults_reset();
}

static void remove_file(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
}

TestSuite(os_calls, .init = make_file, .fini = remove_file);

static int open_file(void)
{
    int descriptor = open(path.text, O_RDONLY);
    cr_assert_geq(descriptor, 0);
    return descriptor;
}

/* Pieces of these sizes, three bytes apart, and one behind them that is not meant. */
typedef struct target {
    uint8_t room[SIZE];
    tarei_os_piece pieces[PIECES + 1];
    size_t total;
} target;

static void lay_out(target *t)
{
    static const size_t sizes[PIECES] = {5, 1, 0, 100, 7, 60};
    uint8_t *at = t->room;
    memset(t->room, 0xEE, sizeof t->room);
    t->total = 0;
    for (size_t i = 0; i <= PIECES; i++) {
        t->pieces[i] = (tarei_os_piece){at, i < PIECES ? sizes[i] : 50};
        at += t->pieces[i].size + 3;
        if (i < PIECES) t->total += sizes[i];
    }
}

/* The first `done` bytes from `offset` are in the pieces, and nothing else was written. */
static void check_pieces(const char *what, const target *t, uint64_t offset, uint64_t done)
{
    uint8_t wanted[SIZE];
    memset(wanted, 0xEE, sizeof wanted);
    for (size_t i = 0; i < PIECES; i++) {
        uint64_t size = t->pieces[i].size < done ? t->pieces[i].size : done;
        memcpy(wanted + ((uint8_t *)t->pieces[i].data - t->room), bytes + offset, (size_t)size);
        offset += size;
        done -= size;
    }
    cr_expect_eq(memcmp(t->room, wanted, sizeof wanted), 0, "%s", what);
}

Test(os_calls, pieces_are_filled_one_after_the_other_however_little_comes_at_a_time)
{
    int descriptor = open_file();
    for (size_t piece = 0; piece < 120; piece += piece < 10 ? 1 : 17) {
        target t;
        uint64_t done = 99;
        lay_out(&t);
        os_faults_reset();
        os_fault.piece = piece;
        cr_expect_eq(tarei_os_read_pieces(descriptor, 11, t.pieces, PIECES, &done), 0);
        cr_expect_eq(done, t.total, "%zu: %zu", piece, (size_t)done);
        check_pieces("all", &t, 11, t.total);
        size_t size = PIECES * sizeof *t.pieces;
        tarei_os_piece *exact = temp_copy(t.pieces, size); /* nothing behind them is looked at */
        cr_expect_eq(tarei_os_read_pieces(descriptor, 11, exact, PIECES, &done), 0);
        cr_expect_eq(done, t.total);
        free(exact);
    }
    close(descriptor);
}

Test(os_calls, as_many_pieces_as_one_call_may_have_take_one_call)
{
    static const size_t counts[] = {255, 256, 257, 512, 513}, calls[] = {1, 1, 2, 2, 3};
    int descriptor = open_file();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        tarei_os_piece pieces[513];
        uint8_t room[513];
        uint64_t done;
        for (size_t k = 0; k < counts[i]; k++) pieces[k] = (tarei_os_piece){&room[k], 1};
        os_faults_reset();
        cr_expect_eq(tarei_os_read_pieces(descriptor, 3, pieces, counts[i], &done), 0);
        cr_expect_eq(os_fault.calls[OS_PREADV], calls[i], "%zu pieces", counts[i]);
        cr_expect_eq(memcmp(room, bytes + 3, counts[i]), 0, "%zu pieces", counts[i]);
    }
    close(descriptor);
}

Test(os_calls, pieces_end_where_the_file_or_the_luck_does)
{
    int descriptor = open_file();
    target t;
    uint64_t done = 99;
    lay_out(&t);
    errno = EIO;
    cr_expect_eq(tarei_os_read_pieces(descriptor, SIZE - 50, t.pieces, PIECES, &done), 0);
    cr_expect_eq(done, 50);
    check_pieces("at the end", &t, SIZE - 50, 50);
    lay_out(&t);
    os_faults_reset();
    os_fault.piece = 9;
    os_fault.fail_at[OS_PREADV] = 3;
    os_fault.error = EIO;
    cr_expect_eq(tarei_os_read_pieces(descriptor, 0, t.pieces, PIECES, &done), EIO);
    cr_expect_eq(done, 15, "two pieces, and a part of another");
    check_pieces("a failure", &t, 0, 15);
    close(descriptor);
}

Test(os_calls, a_file_opened_past_the_cache_may_be_descriptor_0)
{
    int descriptor = open_file(), direct = -2, input = dup(0);
    close(0);
    errno = EPERM;
    int failure = tarei_os_open_direct(descriptor, &direct);
    if (input >= 0) dup2(input, 0);
    if (failure == EINVAL) cr_skip_test("this file system reads nothing past the cache");
    cr_expect_eq(failure, 0, "%d", failure);
    cr_expect_eq(direct, 0);
    close(descriptor);
}

/* One byte is asked for, and what lies behind the end is as good as there. */
Test(os_calls, whether_a_byte_is_cached_takes_a_look_at_one)
{
    int descriptor = open_file();
    cr_expect(tarei_os_is_cached(descriptor, 0));
    cr_expect_eq(os_fault.asked_max, 1);
    errno = EAGAIN;
    cr_expect(tarei_os_is_cached(descriptor, SIZE + 5000));
    os_fault.uncached = 1;
    cr_expect_not(tarei_os_is_cached(descriptor, 0));
    os_faults_reset();
    os_fault.fail_at[OS_NOWAIT] = 1;
    os_fault.error = EOPNOTSUPP;
    cr_expect(tarei_os_is_cached(descriptor, 0), "that cannot be told");
    close(descriptor);
}

Test(os_calls, a_write_of_nothing_is_a_failure)
{
    int descriptor = open(path.text, O_WRONLY);
    os_fault.fail_at[OS_WRITE] = 1;
    os_fault.error = 0;
    cr_expect_eq(tarei_os_write(descriptor, bytes, SIZE), EIO);
    os_faults_reset();
    os_fault.piece = 33;
    cr_expect_eq(tarei_os_write(descriptor, bytes, SIZE), 0);
    cr_expect_eq(os_fault.calls[OS_WRITE], (SIZE + 32) / 33);
    close(descriptor);
}

/* Where renameat2 does not know how, a second name is made, and the first one goes. */
Test(os_calls, a_new_name_never_replaces_unasked)
{
    int descriptor = open(folder.text, O_RDONLY | O_DIRECTORY);
    temp_write(&folder, "other", "x", 1);
    for (int refused = 0; refused <= 1; refused++) {
        os_fault.rename_refused = refused;
        cr_expect_eq(tarei_os_rename(descriptor, "file", "other", false), EEXIST);
        cr_expect_eq(tarei_os_rename(descriptor, "file", "new", false), 0);
        cr_expect_eq(temp_entry_count(&folder), 2);
        cr_expect_eq(tarei_os_rename(descriptor, "new", "file", false), 0);
    }
    os_faults_reset();
    cr_expect_eq(tarei_os_rename(descriptor, "absent", "new", false), ENOENT);
    cr_expect_eq(os_fault.calls[OS_LINK], 0, "what fails otherwise is not tried again");
    cr_expect_eq(tarei_os_rename(descriptor, "file", "other", true), 0);
    cr_expect_eq(temp_entry_count(&folder), 1);
    close(descriptor);
}

Test(os_calls, processors_are_those_that_this_process_may_use)
{
    static const unsigned counts[] = {1, 3, 17};
    os_fault.no_facts = 1; /* how many there are is another question */
    for (size_t i = 0; i < 3; i++) {
        os_fault.processors = counts[i];
        cr_expect_eq(tarei_os_processor_count(), counts[i]);
    }
}

Test(os_calls, pages_are_asked_to_be_huge_or_small)
{
    static const struct {
        tarei_os_advice advice;
        int wanted, other;
    } rows[] = {{TAREI_OS_HUGE_PAGES, MADV_HUGEPAGE, MADV_NOHUGEPAGE},
                {TAREI_OS_SMALL_PAGES, MADV_NOHUGEPAGE, MADV_HUGEPAGE}};
    size_t size = 4 << 20;
    void *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < 2; i++) {
        os_faults_reset();
        os_fault.advice_refused = rows[i].other;
        cr_expect_eq(tarei_os_advise_memory(memory, size, rows[i].advice), 0);
        cr_expect_eq(os_fault.refused, 0);
        os_fault.advice_refused = rows[i].wanted;
        cr_expect_eq(tarei_os_advise_memory(memory, size, rows[i].advice), 0, "no failure");
        cr_expect_eq(os_fault.refused, 1);
    }
    munmap(memory, size);
}
