/* The name under which a file is written until it is complete, and what has that name already. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/expect.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

static const uint64_t chosen = UINT64_C(0x0123456789ABCDEF);
static const char kept[] = "what has the name already";
static const build_tensor one = {"a", 0, "U8", "[4]", 4};

static temp_path folder, target;
static tare_model *model;

static void make_files(void)
{
    folder = temp_folder_make();
    temp_path path = temp_write_built(&folder, "m.safetensors", build_file(&one, 1, NULL));
    target = temp_join(&folder, "target");
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    os_faults_reset();
}

static void remove_files(void)
{
    os_faults_reset();
    tare_close(model);
    temp_folder_remove(&folder);
}

TestSuite(save_name, .init = make_files, .fini = remove_files, .timeout = 120);

/* The two calls that write a file. */
enum { MODEL, INDEX, WRITER_COUNT };
static const char *const writers[WRITER_COUNT] = {"tare_save", "tare_index_save"};

static tare_status write_target(int writer, tare_error *error)
{
    tare_save_options save = TARE_SAVE_OPTIONS_INIT;
    tare_index_options index = TARE_INDEX_OPTIONS_INIT;
    const tare_save_tensor tensor = {.model = model, .tensor = tare_at(model, 0)};
    save.flags = index.flags = TARE_SAVE_REPLACE;
    *error = expect_poison();
    return writer == INDEX ? tare_index_save(model, target.text, &index, error)
                           : tare_save(target.text, &tensor, 1, &save, error);
}

static temp_path path_of(uint64_t random)
{
    char name[64];
    snprintf(name, sizeof name, ".tare-%016" PRIx64 ".tmp", random);
    return temp_join(&folder, name);
}

static void expect_created(const char *what, uint64_t random)
{
    cr_expect_str_eq(strrchr(path_of(random).text, '/') + 1, os_fault.created, "%s: it is %s", what,
                     os_fault.created);
}

static void expect_written(int writer)
{
    tare_error error;
    cr_assert_eq(write_target(writer, &error), TARE_OK, "%s: %s", writers[writer], error.message);
}

Test(save_name, is_made_of_eight_random_bytes_of_the_kernel)
{
    static const uint64_t given[] = {UINT64_C(0xFEDCBA9876543210), 7};
    for (int writer = 0; writer < WRITER_COUNT; writer++)
        for (size_t i = 0; i < 2; i++) {
            os_faults_reset();
            os_fault.random = given[i];
            expect_written(writer);
            cr_expect_eq(os_fault.calls[OS_GETRANDOM], 1, "%s", writers[writer]);
            expect_created(writers[writer], given[i]);
            cr_expect_eq(temp_entry_count(&folder), 2, "%s: it stays", writers[writer]);
        }
}

Test(save_name, is_of_a_file_that_is_new)
{
    for (int writer = 0; writer < WRITER_COUNT; writer++) {
        enum { NEW = O_CREAT | O_EXCL };
        cr_assert_eq(chmod(temp_join(&folder, "m.safetensors").text, 0640), 0);
        expect_written(writer);
        cr_expect_eq(os_fault.created_flags & NEW, NEW, "%s", writers[writer]);
        cr_expect_eq(os_fault.created_flags & O_ACCMODE, O_WRONLY, "%s", writers[writer]);
        cr_expect_eq(os_fault.created_mode, writer == INDEX ? 0640 : 0666, "%s", writers[writer]);
    }
}

Test(save_name, is_another_one_each_time)
{
    char names[16][sizeof os_fault.created];
    for (size_t i = 0; i < 16; i++) {
        expect_written((int)(i % WRITER_COUNT));
        memcpy(names[i], os_fault.created, sizeof names[i]);
        for (size_t j = 0; j < i; j++) cr_expect_str_neq(names[i], names[j], "%zu, %zu", j, i);
    }
}

/* Then it comes from the time and an address: it could be guessed, and that is of no use, since
 * what has the name is left alone. */
Test(save_name, is_another_one_too_where_there_are_no_random_bytes)
{
    static const int failures[] = {ENOSYS, EAGAIN, OS_SHORT};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        char first[sizeof os_fault.created];
        os_faults_reset();
        os_fault.random = chosen;
        os_fault.fail_at[OS_GETRANDOM] = 1;
        os_fault.error = failures[i];
        expect_written(MODEL);
        memcpy(first, os_fault.created, sizeof first);
        size_t tries = 0;
        for (; tries < 1000 && strcmp(first, os_fault.created) == 0; tries++) expect_written(MODEL);
        cr_expect_lt(tries, 1000, "%d: always %s", failures[i], first);
        cr_expect_str_neq(first, ".tare-00000000000000ef.tmp", "the byte that came is no name");
    }
}

/* ------------------------------------------------------------------------------------------------
 * A name that is taken
 */

enum { A_FILE, A_LINK, A_LINK_TO_NOTHING, A_FOLDER, A_FIFO, KIND_COUNT };
static const char *const kinds[KIND_COUNT] = {"a file", "a link", "a link to nothing", "a folder",
                                              "a FIFO"};

/* Puts it at that name; links lead to `victim`, or to nothing. */
static temp_path put(int kind)
{
    temp_path at = path_of(chosen);
    char name[64];
    temp_write(&folder, "victim", kept, sizeof kept);
    snprintf(name, sizeof name, "%s", strrchr(at.text, '/') + 1);
    if (kind == A_FILE) temp_write(&folder, name, kept, sizeof kept);
    if (kind == A_LINK) cr_assert_eq(symlink("victim", at.text), 0);
    if (kind == A_LINK_TO_NOTHING) cr_assert_eq(symlink("nothing", at.text), 0);
    if (kind == A_FOLDER) temp_make_folder(&folder, name);
    if (kind == A_FIFO) cr_assert_eq(mkfifo(at.text, 0600), 0);
    return at;
}

static void expect_content(const char *what, const char *path)
{
    size_t size;
    char *now = temp_read(path, &size);
    cr_expect(size == sizeof kept && memcmp(now, kept, size) == 0, "%s: %s is another", what, path);
    free(now);
}

/* As it was put there, down to its inode, and what it leads to. */
static void expect_left(int kind, const temp_path *at, const struct stat *before)
{
    struct stat now = {0};
    cr_expect_eq(lstat(at->text, &now), 0, "%s is gone", kinds[kind]);
    cr_expect(now.st_ino == before->st_ino && now.st_mode == before->st_mode &&
                  now.st_size == before->st_size,
              "%s is another", kinds[kind]);
    expect_content(kinds[kind], temp_join(&folder, "victim").text);
    if (kind == A_FILE) expect_content(kinds[kind], at->text);
    cr_expect_eq(lstat(temp_join(&folder, "nothing").text, &now), -1, "%s", kinds[kind]);
}

static void take_away(int kind, const temp_path *at)
{
    cr_assert_eq(kind == A_FOLDER ? rmdir(at->text) : unlink(at->text), 0);
}

Test(save_name, leaves_what_has_it_alone_and_becomes_another)
{
    for (int writer = 0; writer < WRITER_COUNT; writer++)
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            struct stat before;
            temp_path at = put(kind);
            cr_assert_eq(lstat(at.text, &before), 0);
            os_faults_reset();
            os_fault.random = chosen;
            os_fault.random_step = 1;
            expect_written(writer);
            cr_expect_eq(os_fault.calls[OS_GETRANDOM], 2, "%s: %s", writers[writer], kinds[kind]);
            expect_created(kinds[kind], chosen + 1);
            expect_left(kind, &at, &before);
            take_away(kind, &at);
        }
}

Test(save_name, is_tried_sixteen_times)
{
    static const char old[] = "what was there before";
    for (int writer = 0; writer < WRITER_COUNT; writer++)
        for (int kind = 0; kind < KIND_COUNT; kind++) {
            size_t size;
            tare_error error;
            struct stat before;
            temp_path at = put(kind);
            cr_assert_eq(lstat(at.text, &before), 0);
            temp_write(&folder, "target", old, sizeof old);
            os_faults_reset();
            os_fault.random = chosen;
            tare_status status = write_target(writer, &error);
            expect_status(kinds[kind], TARE_E_WRITE, status, NULL, &error);
            cr_expect_eq(error.system_error, EEXIST, "%s", error.message);
            cr_expect_eq(os_fault.calls[OS_GETRANDOM], 16, "%s", kinds[kind]);
            cr_expect_eq(os_fault.calls[OS_WRITE], 0, "%s", kinds[kind]);
            cr_expect_eq(os_fault.calls[OS_UNLINK], 0, "%s", kinds[kind]);
            expect_left(kind, &at, &before);
            char *now = temp_read(target.text, &size);
            cr_expect(size == sizeof old && memcmp(now, old, size) == 0, "%s", writers[writer]);
            free(now);
            take_away(kind, &at);
        }
}
