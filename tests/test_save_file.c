/* The way to the target: what was there before, what fails on the way, and what is left of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"
#include "save.h"
#include "support/expect.h"
#include "support/os_faults.h"
#include "support/process_probe.h"
#include "support/temp_files.h"

enum { LARGE = 3500000 };

static temp_path folder, target, source;
static build_text file;
static const char before[] = "what was there before";
static const uint64_t three[] = {3}, large[] = {LARGE};
static uint8_t bytes[LARGE + 3];

static void make_files(void)
{
    static const build_tensor tensors[] = {{"big", 0, "U8", "[3500000]", LARGE},
                                           {"small", 0, "U8", "[3]", 3}};
    folder = temp_folder_make();
    target = temp_write(&folder, "target.safetensors", before, sizeof before);
    file = build_file(tensors, 2, NULL);
    source = temp_write_text(&folder, "source.safetensors", &file);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = build_byte(i);
    os_faults_reset();
}

static void remove_files(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
    build_free(&file);
}

TestSuite(save_file, .init = make_files, .fini = remove_files);

static tare_save_tensor big_tensor(void)
{
    return (tare_save_tensor){.name = "big",
                              .name_size = 3,
                              .dtype = TARE_DTYPE_U8,
                              .shape = large,
                              .rank = 1,
                              .data = bytes,
                              .size = LARGE};
}

static tare_save_tensor small_tensor(void)
{
    return (tare_save_tensor){.name = "small",
                              .name_size = 5,
                              .dtype = TARE_DTYPE_U8,
                              .shape = three,
                              .rank = 1,
                              .data = bytes + LARGE,
                              .size = 3};
}

static tare_status save_to(const char *path, uint32_t flags, tare_error *error)
{
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    tare_save_tensor tensors[] = {small_tensor(), big_tensor()};
    options.flags = flags;
    *error = expect_poison();
    return tare_save(path, tensors, 2, &options, error);
}

static void check_content(const char *what, const char *path, const void *wanted,
                          size_t wanted_size)
{
    size_t size;
    char *now = temp_read(path, &size);
    cr_expect(size == wanted_size && memcmp(now, wanted, size) == 0, "%s: %s is another", what,
              path);
    free(now);
}

static void check_untouched(const char *what)
{
    check_content(what, target.text, before, sizeof before);
    cr_expect_eq(temp_entry_count(&folder), 2, "%s: something lies beside it", what);
}

static void check_saved(const char *what, const char *path)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path, NULL, &model, &error);
    expect_opened(what, status, model, &error);
    cr_expect_eq(tare_count(model), 2, "%s", what);
    expect_bytes(what, model, tare_find(model, "big", 3), bytes, LARGE);
    expect_bytes(what, model, tare_find(model, "small", 5), bytes + LARGE, 3);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * The target
 */

Test(save_file, makes_a_new_file_with_the_mode_of_any_other)
{
    static const mode_t masks[] = {0, 022, 077};
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        tare_error error;
        struct stat facts;
        snprintf(name, sizeof name, "new%zu", i);
        temp_path path = temp_join(&folder, name);
        mode_t old = umask(masks[i]);
        tare_status status = save_to(path.text, 0, &error);
        umask(old);
        cr_assert_eq(status, TARE_OK, "%s", error.message);
        check_saved("new", path.text);
        cr_assert_eq(stat(path.text, &facts), 0);
        cr_expect_eq(facts.st_mode & 0777, 0666 & ~masks[i], "mode %o", (unsigned)facts.st_mode);
        cr_expect_eq(temp_entry_count(&folder), 3 + i);
    }
}

Test(save_file, refuses_a_target_that_is_there_unless_it_may_be_replaced)
{
    tare_error error;
    tare_status status = save_to(target.text, 0, &error);
    expect_status("there", TARE_E_EXISTS, status, NULL, &error);
    expect_message("there", "target.safetensors", &error);
    check_untouched("there");
    cr_expect_eq(os_fault.calls[OS_WRITE], 0);
    status = save_to(target.text, TARE_SAVE_REPLACE, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    check_saved("replaced", target.text);
    cr_expect_eq(temp_entry_count(&folder), 2);
}

static temp_path come_up;

static int make_target(void *context, uint64_t done, uint64_t total)
{
    (void)context, (void)done, (void)total;
    FILE *made = fopen(come_up.text, "w");
    if (made != NULL) fclose(made);
    return 0;
}

Test(save_file, replaces_no_file_that_comes_up_meanwhile)
{
    for (int with_link = 0; with_link < 2; with_link++) {
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        tare_save_tensor tensor = small_tensor();
        tare_error error = expect_poison();
        come_up = temp_join(&folder, with_link ? "late" : "later");
        options.progress = make_target;
        os_faults_reset();
        os_fault.fail_at[OS_RENAME] = with_link ? 1 : 0;
        os_fault.error = EINVAL;
        tare_status status = tare_save(come_up.text, &tensor, 1, &options, &error);
        expect_status("meanwhile", TARE_E_EXISTS, status, NULL, &error);
        check_content("meanwhile", come_up.text, "", 0);
        cr_expect_eq(temp_entry_count(&folder), 3 + (size_t)with_link);
    }
}

Test(save_file, gives_a_second_name_where_renaming_cannot_keep_the_first)
{
    static const int errors[] = {EINVAL, ENOSYS};
    for (size_t i = 0; i < 2; i++) {
        tare_error error;
        temp_path path = temp_join(&folder, i == 0 ? "one" : "two");
        os_faults_reset();
        os_fault.fail_at[OS_RENAME] = 1;
        os_fault.error = errors[i];
        tare_status status = save_to(path.text, 0, &error);
        cr_assert_eq(status, TARE_OK, "%s", error.message);
        cr_expect_eq(os_fault.calls[OS_LINK], 1);
        check_saved("linked", path.text);
        cr_expect_eq(temp_entry_count(&folder), 3 + i);
    }
}

Test(save_file, says_so_where_neither_can_be_done)
{
    tare_error error;
    temp_path path = temp_join(&folder, "new");
    os_fault.fail_at[OS_RENAME] = os_fault.fail_at[OS_LINK] = 1;
    os_fault.error = ENOSYS;
    tare_status status = save_to(path.text, 0, &error);
    expect_status("neither", TARE_E_WRITE, status, NULL, &error);
    cr_expect_eq(error.system_error, ENOSYS);
    check_untouched("neither");
}

Test(save_file, replaces_a_symbolic_link_and_not_what_it_leads_to)
{
    temp_path link = temp_join(&folder, "link");
    struct stat facts;
    tare_error error;
    cr_assert_eq(symlink("target.safetensors", link.text), 0);
    cr_expect_eq(save_to(link.text, 0, &error), TARE_E_EXISTS);
    cr_expect_eq(save_to(link.text, TARE_SAVE_REPLACE, &error), TARE_OK, "%s", error.message);
    cr_assert_eq(lstat(link.text, &facts), 0);
    cr_expect(S_ISREG(facts.st_mode));
    check_saved("link", link.text);
    check_content("link", target.text, before, sizeof before);
}

Test(save_file, refuses_folders_and_what_is_no_file)
{
    static const struct {
        const char *name;
        int failure;
    } rows[] = {{"folder", EISDIR}, {"folder/", EISDIR},     {"fifo", EINVAL},
                {".", EISDIR},      {"absent/file", ENOENT}, {"target.safetensors/x", ENOTDIR},
                {"", EISDIR},       {"folder/..", EISDIR}};
    temp_make_folder(&folder, "folder");
    cr_assert_eq(mkfifo(temp_join(&folder, "fifo").text, 0600), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_error error;
        tare_status status =
            save_to(temp_join(&folder, rows[i].name).text, TARE_SAVE_REPLACE, &error);
        expect_status(rows[i].name, TARE_E_WRITE, status, NULL, &error);
        cr_expect_eq(error.system_error, rows[i].failure, "%s: %s", rows[i].name, error.message);
        cr_expect_eq(temp_entry_count(&folder), 4, "%s", rows[i].name);
    }
    tare_error error;
    expect_status("empty", TARE_E_WRITE, save_to("", 0, &error), NULL, &error);
}

Test(save_file, takes_paths_without_a_folder)
{
    tare_error error;
    cr_assert_eq(chdir(folder.text), 0);
    cr_expect_eq(save_to("plain", 0, &error), TARE_OK, "%s", error.message);
    check_saved("plain", temp_join(&folder, "plain").text);
}

Test(save_file, leaves_mappings_of_the_old_file_alive)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.backing = TARE_BACKING_MAP;
    cr_assert_eq(tare_open(source.text, &options, &model, NULL), TARE_OK);
    const uint8_t *data = tare_data(model, tare_find(model, "big", 3));
    tare_save_tensor small = {.model = model, .tensor = tare_find(model, "small", 5)};
    tare_save_options save = TARE_SAVE_OPTIONS_INIT;
    save.flags = TARE_SAVE_REPLACE;
    tare_status status = tare_save(source.text, &small, 1, &save, &error); /* over itself */
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    cr_expect_arr_eq(data, file.data + file.size - 3 - LARGE, LARGE, "the mapping changed");
    tare_model *now = expect_no_model();
    cr_assert_eq(tare_open(source.text, NULL, &now, NULL), TARE_OK);
    cr_expect_eq(tare_count(now), 1);
    expect_bytes("small", now, tare_at(now, 0), file.data + file.size - 3, 3);
    tare_close(now);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Progress
 */

typedef struct steps {
    size_t calls;
    size_t stop_at;
    uint64_t last;
    uint64_t total;
    size_t mistakes;
} steps;

static int count_step(void *context, uint64_t done, uint64_t total)
{
    steps *seen = context;
    seen->calls++;
    seen->mistakes += done <= seen->last || done > total || (seen->total && total != seen->total);
    seen->last = done;
    seen->total = total;
    return seen->calls == seen->stop_at;
}

Test(save_file, tells_how_far_it_is_and_can_be_stopped_at_each_step)
{
    for (size_t stop_at = 1;; stop_at++) {
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        tare_save_tensor tensors[] = {small_tensor(), big_tensor()};
        tare_error error = expect_poison();
        steps seen = {0, stop_at, 0, 0, 0};
        options.flags = TARE_SAVE_REPLACE;
        options.progress = count_step;
        options.progress_context = &seen;
        tare_status status = tare_save(target.text, tensors, 2, &options, &error);
        cr_expect_eq(seen.mistakes, 0);
        if (seen.calls < stop_at) {
            cr_assert_eq(status, TARE_OK, "%s", error.message);
            cr_expect_gt(seen.calls, 2);
            cr_expect_eq(seen.last, seen.total);
            struct stat facts;
            cr_assert_eq(stat(target.text, &facts), 0);
            cr_expect_eq((uint64_t)facts.st_size, seen.total);
            break;
        }
        expect_status("stopped", TARE_E_CANCELLED, status, NULL, &error);
        cr_expect_eq(seen.calls, stop_at, "called after it said stop");
        check_untouched("stopped");
    }
}

/* ------------------------------------------------------------------------------------------------
 * Failures
 */

/* Saves a model that is read, or memory, while the n-th call of one kind fails, for every n. Only
 * what comes after the file has its name may fail and leave the new file. */
static void check_every_failure(enum os_call call, int failure, size_t fail_count, int from_model)
{
    size_t descriptors = probe_descriptor_count();
    tare_options reading = TARE_OPTIONS_INIT;
    reading.backing = TARE_BACKING_READ;
    for (size_t n = 1;; n++) {
        char what[64];
        snprintf(what, sizeof what, "%s %zu: errno %d", os_call_name(call), n, failure);
        tare_model *model = expect_no_model();
        cr_assert_eq(tare_open(source.text, &reading, &model, NULL), TARE_OK);
        tare_save_tensor tensors[] = {small_tensor(), big_tensor()};
        for (size_t i = 0; i < 2 && from_model; i++)
            tensors[i] = (tare_save_tensor){.model = model, .tensor = tare_at(model, i)};
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        tare_error error = expect_poison();
        options.flags = TARE_SAVE_REPLACE;
        os_faults_reset();
        os_fault.piece = 700001;
        os_fault.fail_at[call] = n;
        os_fault.fail_count = fail_count;
        os_fault.error = failure;
        tare_status status = tare_save(target.text, tensors, 2, &options, &error);
        size_t calls = os_fault.calls[call];
        os_faults_reset();
        tare_close(model);
        cr_expect_eq(probe_descriptor_count(), descriptors, "%s: a descriptor is left", what);
        if (status == TARE_OK) {
            cr_expect(calls < n || failure == EINTR || call == OS_CLOSE || call == OS_GETRANDOM ||
                          (call == OS_FSYNC && failure == EINVAL),
                      "%s: is not noticed", what);
            check_saved(what, target.text);
        } else {
            cr_expect_eq(error.system_error, failure, "%s: %s", what, error.message);
            cr_expect(status == TARE_E_WRITE || status == TARE_E_READ, "%s: %s", what,
                      tare_status_name(status));
            cr_expect_eq(error.status, status);
            if (strstr(error.message, "is in place") != NULL) {
                cr_expect(call == OS_FSYNC && n == 2, "%s: %s", what, error.message);
                check_saved(what, target.text);
            } else {
                check_content(what, target.text, before, sizeof before);
            }
        }
        cr_expect_eq(temp_entry_count(&folder), 2, "%s: something lies beside it", what);
        temp_write(&folder, "target.safetensors", before, sizeof before);
        if (calls < n) break;
    }
}

Test(save_file, every_call_may_fail_once_or_from_then_on)
{
    static const enum os_call calls[] = {OS_OPEN,  OS_FSTATAT, OS_WRITE, OS_FSYNC,
                                         OS_CLOSE, OS_RENAME,  OS_PREAD, OS_GETRANDOM};
    static const int failures[] = {EIO, ENOSPC};
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++)
        for (size_t f = 0; f < sizeof failures / sizeof failures[0]; f++)
            for (size_t count = 0; count < 2; count++)
                for (int from_model = 0; from_model < 2; from_model++)
                    check_every_failure(calls[c], failures[f], count, from_model);
}

Test(save_file, interruptions_and_short_writes_are_gone_on_after)
{
    static const enum os_call calls[] = {OS_WRITE, OS_FSYNC, OS_CLOSE, OS_PREAD};
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++)
        for (size_t n = 1; n < 8; n++) {
            tare_error error;
            os_faults_reset();
            os_fault.piece = 400000 + n;
            os_fault.fail_at[calls[c]] = n;
            os_fault.fail_count = 3;
            os_fault.error = EINTR;
            tare_status status = save_to(target.text, TARE_SAVE_REPLACE, &error);
            cr_assert_eq(status, TARE_OK, "%s %zu: %s", os_call_name(calls[c]), n, error.message);
            os_faults_reset();
            check_saved("interrupted", target.text);
        }
}

Test(save_file, a_write_of_nothing_is_a_failure_and_no_endless_loop)
{
    tare_error error;
    os_fault.fail_at[OS_WRITE] = 1;
    os_fault.error = 0;
    tare_status status = save_to(target.text, TARE_SAVE_REPLACE, &error);
    expect_status("nothing", TARE_E_WRITE, status, NULL, &error);
    check_untouched("nothing");
}

Test(save_file, one_write_asks_for_a_gib_at_most)
{
    os_fault.pretend = 1;
    cr_expect_eq(tarei_os_write(-1, bytes, (size_t)5 << 30), 0);
    cr_expect_eq(os_fault.asked_max, (size_t)1 << 30);
    cr_expect_eq(os_fault.calls[OS_WRITE], 5);
}

Test(save_file, a_name_that_is_taken_is_made_anew)
{
    tare_error error;
    os_fault.fail_at[OS_OPEN] = 2; /* the first opens the folder */
    os_fault.fail_count = 15;
    os_fault.error = EEXIST;
    tare_status status = save_to(target.text, TARE_SAVE_REPLACE, &error);
    cr_assert_eq(status, TARE_OK, "%s", error.message);
    check_saved("taken", target.text);
    os_faults_reset();
    temp_write(&folder, "target.safetensors", before, sizeof before);
    os_fault.fail_at[OS_OPEN] = 2;
    os_fault.error = EEXIST;
    status = save_to(target.text, TARE_SAVE_REPLACE, &error);
    expect_status("taken", TARE_E_WRITE, status, NULL, &error);
    cr_expect_eq(os_fault.calls[OS_OPEN], 1 + 16);
    check_untouched("taken");
}

/* As a system may say where the target has become a folder with something in it. */
Test(save_file, a_target_that_cannot_be_replaced_is_a_failure)
{
    tare_error error;
    os_fault.fail_at[OS_RENAME] = 1;
    os_fault.error = EEXIST;
    tare_status status = save_to(target.text, TARE_SAVE_REPLACE, &error);
    expect_status("not replaced", TARE_E_WRITE, status, NULL, &error);
    cr_expect_eq(error.system_error, EEXIST);
    check_untouched("not replaced");
}

Test(save_file, a_folder_that_cannot_be_synced_is_no_failure)
{
    tare_error error;
    os_fault.fail_at[OS_FSYNC] = 2;
    os_fault.error = EINVAL;
    tare_status status = save_to(target.text, TARE_SAVE_REPLACE, &error);
    cr_expect_eq(status, TARE_OK, "%s", error.message);
    cr_expect_eq(os_fault.calls[OS_FSYNC], 2);
}

Test(save_file, a_limit_on_the_size_of_files_is_an_error)
{
    tare_error error;
    struct rlimit limit = {1 << 20, 1 << 20};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    tare_status status = save_to(target.text, TARE_SAVE_REPLACE, &error);
    expect_status("limit", TARE_E_WRITE, status, NULL, &error);
    cr_expect_eq(error.system_error, EFBIG);
    check_untouched("limit");
}

Test(save_file, a_mapped_file_that_is_cut_short_is_an_error)
{
    for (size_t i = 0; i < 2; i++) {
        temp_write_text(&folder, "source.safetensors", &file);
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        options.backing = TARE_BACKING_MAP;
        cr_assert_eq(tare_open(source.text, &options, &model, NULL), TARE_OK);
        tare_save_tensor tensor = {.model = model, .tensor = tare_at(model, i)};
        tare_save_options save = TARE_SAVE_OPTIONS_INIT;
        save.flags = TARE_SAVE_REPLACE;
        cr_assert_eq(truncate(source.text, 4096), 0);
        tare_status status = tare_save(target.text, &tensor, 1, &save, &error);
        cr_expect(status == TARE_E_READ || status == TARE_E_CHANGED, "%s: %s",
                  tare_status_name(status), error.message);
        check_untouched("cut short");
        tare_close(model);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Measured otherwise
 */

/* Nothing is written beyond what there is room for, and no file is made of less. */
Test(save_file, of_other_than_its_size_is_a_failure)
{
    static const struct {
        uint64_t total;
        size_t size;
        tare_status wanted;
    } rows[] = {{4, 5, TARE_E_CHANGED}, {6, 5, TARE_E_CHANGED}, {5, 5, TARE_OK}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        tarei_memory memory;
        tarei_save_file made;
        tare_error error = expect_poison();
        uint8_t *room = malloc((size_t)rows[i].total);
        const temp_path path = temp_join(&folder, "new");
        tarei_memory_init(&memory, NULL);
        for (int to_file = 0; to_file < 2; to_file++) {
            tare_status status =
                to_file ? tarei_save_file_begin(&made, path.text, TAREI_OS_MODE_ANY, rows[i].total,
                                                &options, &memory, &error)
                        : tarei_save_file_begin_memory(&made, room, rows[i].total, &options,
                                                       &memory, &error);
            cr_assert_eq(status, TARE_OK);
            status = tarei_save_file_text(&made, "12345", rows[i].size);
            status = tarei_save_file_end(&made, status);
            cr_expect_eq(status, rows[i].wanted, "row %zu", i);
            if (status != TARE_OK) expect_message("size", "has other than the", &error);
        }
        cr_expect_eq(access(path.text, F_OK) == 0, rows[i].wanted == TARE_OK, "row %zu", i);
        free(room);
    }
}
