/* Signals: every system call that one may interrupt is made again. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "os.h"
#include "support/expect.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

static temp_path folder, path;
static build_text file;

static void make_files(void)
{
    static const build_tensor a[] = {{"a", 0, "U8", "[5]", 5}, {"aa", 0, "U8", "[2]", 2}};
    static const build_tensor b = {"b", 0, "F32", "[]", 4};
    folder = temp_folder_make();
    file = build_file(a, 2, NULL);
    path = temp_write_text(&folder, "a.safetensors", &file);
    temp_write_built(&folder, "b.safetensors", build_file(&b, 1, NULL));
    static const char index[] =
        "{\"weight_map\":{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}}";
    temp_write(&folder, "model.safetensors.index.json", index, sizeof index - 1);
    os_faults_reset();
}

static void remove_files(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
    build_free(&file);
}

TestSuite(os_interrupted, .init = make_files, .fini = remove_files);

static tare_model *open_folder(const char *what, uint32_t backing)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.backing = backing;
    tare_status status = tare_open(folder.text, &options, &model, &error);
    expect_opened(what, status, model, &error);
    return model;
}

Test(os_interrupted, reading_goes_on_after_interruptions_and_short_reads)
{
    for (size_t piece = 1; piece < 10; piece++) {
        os_faults_reset();
        os_fault.piece = piece;
        os_fault.fail_at[OS_PREAD] = piece;
        os_fault.fail_count = 3;
        os_fault.error = EINTR;
        tare_model *model = open_folder("in pieces", TARE_BACKING_READ);
        cr_expect_gt(os_fault.calls[OS_PREAD], piece + 3);
        expect_bytes("in pieces", model, tare_find(model, "a", 1), file.data + file.size - 7, 5);
        tare_close(model);
    }
}

/* As if nothing had been: no file is taken for a folder, none is read that could be mapped. */
Test(os_interrupted, opening_goes_on_after_interruptions)
{
    static const enum os_call calls[] = {OS_OPEN,    OS_STAT,    OS_FSTAT, OS_FSTATAT,
                                         OS_OPENDIR, OS_READDIR, OS_PREAD, OS_MMAP};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        size_t made = 1;
        for (size_t n = 1; n <= made; n++) {
            os_faults_reset();
            os_fault.fail_at[calls[i]] = n;
            os_fault.fail_count = 3;
            os_fault.error = EINTR;
            tare_model *model = open_folder(os_call_name(calls[i]), TARE_BACKING_AUTO);
            cr_expect_eq(os_fault.failed, 3, "%s %zu", os_call_name(calls[i]), n);
            made = os_fault.calls[calls[i]] - 3;
            cr_expect_eq(tare_count(model), 3);
            cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_MAP);
            cr_expect_eq(tare_shard_at(model, 1).backing, TARE_BACKING_MAP);
            tare_close(model);
        }
    }
}

/* ------------------------------------------------------------------------------------------------
 * The same of each call by itself; `file` is open, and mapped
 */

static int open_descriptor;
static const void *open_mapping;

static int sync_it(void)
{
    return tarei_os_sync(open_descriptor);
}
static int write_it(void)
{
    int made;
    if (tarei_os_create(TAREI_OS_CWD, temp_join(&folder, "made").text, 0600, &made) != 0) return -1;
    int failure = tarei_os_write(made, "four", 4);
    return failure != 0 ? failure : tarei_os_close_written(made);
}
static int rename_it(void)
{
    temp_path to = temp_join(&folder, "b.safetensors");
    return tarei_os_rename(TAREI_OS_CWD, path.text, to.text, true);
}
static int rename_to_new(void)
{
    temp_path to = temp_join(&folder, "new");
    int failure = tarei_os_rename(TAREI_OS_CWD, path.text, to.text, false);
    return failure != 0 ? failure : access(path.text, F_OK) == 0;
}
static int link_to_new(void)
{
    os_fault.rename_refused = 1;
    return rename_to_new();
}
static int remove_it(void)
{
    tarei_os_remove(TAREI_OS_CWD, path.text);
    return access(path.text, F_OK) == 0;
}
static int look_at_entry(void)
{
    tarei_os_entry entry;
    int failure = tarei_os_look(TAREI_OS_CWD, path.text, &entry);
    return failure != 0 ? failure : entry != TAREI_OS_REPLACEABLE;
}
static int read_pieces(void)
{
    char bytes[8];
    const tarei_os_piece pieces[] = {{bytes, 5}, {bytes + 5, 3}};
    uint64_t done;
    int failure = tarei_os_read_pieces(open_descriptor, 0, pieces, 2, &done);
    return failure != 0 ? failure : done != 8 || memcmp(bytes, file.data, 8) != 0;
}
static int is_uncached(void)
{
    os_fault.uncached = 1;
    return tarei_os_is_cached(open_descriptor, 0);
}
static int advise_file(void)
{
    return tarei_os_advise_file(open_descriptor, 0, file.size, TAREI_OS_WILL_NEED);
}
static int forget_file(void)
{
    return tarei_os_advise_file(open_descriptor, 0, file.size, TAREI_OS_DO_NOT_NEED);
}
static int advise_memory(void)
{
    return tarei_os_advise_memory(open_mapping, file.size, TAREI_OS_WILL_NEED);
}
static int populate(void)
{
    int failure = tarei_os_populate(open_mapping, file.size);
    return failure == ENOTSUP ? 0 : failure; /* an old kernel */
}
static int lock(void)
{
    uint64_t size_max;
    int failure = tarei_os_lock(open_mapping, file.size, &size_max);
    return failure != 0 ? failure : tarei_os_unlock(open_mapping, file.size);
}
static int take_pages(void)
{
    void *memory = tarei_os_take_pages(4096);
    if (memory != NULL) tarei_os_give_pages(memory, 4096);
    return memory == NULL;
}

Test(os_interrupted, what_is_interrupted_is_done_again)
{
    static const struct {
        enum os_call call;
        int (*act)(void);
    } rows[] = {{OS_FSYNC, sync_it},       {OS_WRITE, write_it},        {OS_OPEN, write_it},
                {OS_RENAME, rename_it},    {OS_RENAME, rename_to_new},  {OS_LINK, link_to_new},
                {OS_UNLINK, link_to_new},  {OS_UNLINK, remove_it},      {OS_FSTATAT, look_at_entry},
                {OS_PREADV, read_pieces},  {OS_NOWAIT, is_uncached},    {OS_FADVISE, advise_file},
                {OS_FADVISE, forget_file}, {OS_MADVISE, advise_memory}, {OS_MADVISE, populate},
                {OS_MLOCK, lock},          {OS_MUNLOCK, lock},          {OS_MMAP, take_pages}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tarei_os_identity identity;
        cr_assert_eq(tarei_os_open_file(TAREI_OS_CWD, path.text, &open_descriptor, &identity), 0);
        cr_assert_eq(tarei_os_map(open_descriptor, file.size, false, &open_mapping), 0);
        os_faults_reset();
        os_fault.fail_at[rows[i].call] = 1;
        os_fault.fail_count = 3;
        os_fault.error = EINTR;
        int failure = rows[i].act();
        cr_expect_eq(failure, 0, "%s, row %zu: %d", os_call_name(rows[i].call), i, failure);
        cr_expect_eq(os_fault.failed, 3, "%s, row %zu", os_call_name(rows[i].call), i);
        os_faults_reset();
        tarei_os_unmap(open_mapping, file.size);
        tarei_os_close(open_descriptor);
        remove_files();
        make_files();
    }
}

/* Another thread may have got the number of a descriptor by then. */
Test(os_interrupted, to_close_is_never_tried_again)
{
    int descriptor;
    tarei_os_identity identity;
    for (int written = 0; written < 2; written++) {
        cr_assert_eq(tarei_os_open_file(TAREI_OS_CWD, path.text, &descriptor, &identity), 0);
        os_faults_reset();
        os_fault.always[OS_CLOSE] = EINTR;
        if (written)
            cr_expect_eq(tarei_os_close_written(descriptor), 0);
        else
            tarei_os_close(descriptor);
        cr_expect_eq(os_fault.calls[OS_CLOSE], 1);
    }
}
