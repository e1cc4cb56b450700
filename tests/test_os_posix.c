/* The operating system as it is on a bad day: every call that can fail does. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/os_faults.h"
#include "support/process_probe.h"
#include "support/temp_files.h"

static temp_path folder, path;
static build_text file;

static void make_files(void)
{
    static const build_tensor a[] = {{"a", 0, "U8", "[5]", 5}, {"aa", 0, "U8", "[2]", 2}};
    static const build_tensor b = {"b", 0, "F32", "[]", 4};
    static const char index[] =
        "{\"weight_map\":{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}}";
    folder = temp_folder_make();
    file = build_file(a, 2, "{\"format\":\"pt\"}");
    path = temp_write_text(&folder, "a.safetensors", &file);
    temp_write_built(&folder, "b.safetensors", build_file(&b, 1, NULL));
    temp_write(&folder, "model.safetensors.index.json", index, sizeof index - 1);
    os_faults_reset();
}

static void remove_files(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
    build_free(&file);
}

TestSuite(os_posix, .init = make_files, .fini = remove_files);

static tare_status open_at(const char *at, uint32_t backing, tare_model **model, tare_error *error)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.backing = backing;
    *model = expect_no_model();
    *error = expect_poison();
    return tare_open(at, &options, model, error);
}

Test(os_posix, a_mapping_that_is_refused_makes_auto_read)
{
    static const int errors[] = {ENODEV, ENOMEM, EACCES, EINVAL, EPERM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        tare_model *model;
        tare_error error;
        os_faults_reset();
        os_fault.fail_at[OS_MMAP] = 1;
        os_fault.error = errors[i];
        tare_status status = open_at(path.text, TARE_BACKING_AUTO, &model, &error);
        expect_opened("auto", status, model, &error);
        cr_expect_gt(os_fault.calls[OS_MMAP], 0);
        cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_READ);
        cr_expect_null(tare_data(model, tare_at(model, 0)));
        expect_bytes("auto", model, tare_find(model, "a", 1), file.data + file.size - 7, 5);
        tare_close(model);
    }
}

Test(os_posix, one_shard_may_be_mapped_and_another_read)
{
    tare_model *model;
    tare_error error;
    os_fault.fail_at[OS_MMAP] = 2;
    os_fault.error = ENOMEM;
    tare_status status = open_at(folder.text, TARE_BACKING_AUTO, &model, &error);
    expect_opened("auto", status, model, &error);
    cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_MAP);
    cr_expect_eq(tare_shard_at(model, 1).backing, TARE_BACKING_READ);
    cr_expect_not_null(tare_data(model, tare_find(model, "a", 1)));
    cr_expect_null(tare_data(model, tare_find(model, "b", 1)));
    tare_close(model);
}

Test(os_posix, a_mapping_that_is_refused_is_an_error_for_map)
{
    tare_model *model;
    tare_error error;
    os_fault.fail_at[OS_MMAP] = 1;
    os_fault.error = ENODEV;
    tare_status status = open_at(path.text, TARE_BACKING_MAP, &model, &error);
    expect_status("map", TARE_E_MAP, status, model, &error);
    cr_expect_eq(error.system_error, ENODEV);
    cr_expect_eq(error.shard, 0);
    expect_message("map", strerror(ENODEV), &error);
}

Test(os_posix, read_never_maps)
{
    tare_model *model;
    tare_error error;
    tare_status status = open_at(folder.text, TARE_BACKING_READ, &model, &error);
    expect_opened("read", status, model, &error);
    cr_expect_eq(os_fault.calls[OS_MMAP], 0);
    tare_close(model);
}

Test(os_posix, reading_that_fails_tells_errno_shard_and_offset)
{
    tare_model *model;
    tare_error error;
    os_fault.fail_at[OS_PREAD] = 2; /* the header behind its size */
    os_fault.error = EIO;
    tare_status status = open_at(path.text, TARE_BACKING_AUTO, &model, &error);
    expect_refused("EIO", TARE_E_READ, 8, status, model, &error);
    cr_expect_eq(error.system_error, EIO);
    cr_expect_eq(error.shard, 0);
    os_faults_reset();
    os_fault.fail_at[OS_PREAD] = 2;
    os_fault.error = 0; /* the file ends */
    status = open_at(path.text, TARE_BACKING_AUTO, &model, &error);
    expect_refused("early end", TARE_E_CHANGED, 8, status, model, &error);
}

Test(os_posix, a_tensor_that_cannot_be_read_tells_its_name)
{
    tare_model *model;
    tare_error error;
    tare_status status = open_at(path.text, TARE_BACKING_MAP, &model, &error);
    expect_opened("mapped", status, model, &error);
    char target[5];
    os_faults_reset();
    os_fault.fail_at[OS_PREAD] = 1;
    os_fault.error = EIO;
    const tare_tensor *tensor = tare_find(model, "a", 1);
    status = tare_read(model, tensor, target, 5, &error);
    expect_refused("EIO", TARE_E_READ, tare_offset(model, tensor), status, NULL, &error);
    cr_expect_eq(error.system_error, EIO);
    expect_message("EIO", "'a'", &error);
    tare_close(model);
}

Test(os_posix, one_read_asks_for_a_gib_at_most)
{
    char target[8];
    size_t done;
    os_fault.pretend = 1;
    cr_expect_eq(tarei_os_read_at(-1, 0, target, (size_t)5 << 30, &done), 0);
    cr_expect_eq(done, (size_t)5 << 30);
    cr_expect_eq(os_fault.asked_max, (size_t)1 << 30);
    cr_expect_eq(os_fault.calls[OS_PREAD], 5);
}

Test(os_posix, so_does_one_read_of_many_pieces)
{
    tarei_os_piece pieces[600];
    char target[8];
    uint64_t done;
    os_fault.pretend = 1;
    for (size_t i = 0; i < 600; i++) pieces[i] = (tarei_os_piece){target, 3 << 20};
    cr_expect_eq(tarei_os_read_pieces(-1, 0, pieces, 600, &done), 0);
    cr_expect_eq(done, UINT64_C(1800) << 20);
    cr_expect_leq(os_fault.asked_max, (size_t)1 << 30);
    cr_expect_eq(os_fault.calls[OS_PREADV], 3, "256 pieces at a time");
    pieces[0].size = (size_t)3 << 30;
    cr_expect_eq(tarei_os_read_pieces(-1, 0, pieces, 1, &done), 0);
    cr_expect_eq(done, UINT64_C(3) << 30);
    cr_expect_eq(os_fault.asked_max, (size_t)1 << 30);
    cr_expect_eq(os_fault.calls[OS_PREADV], 6);
}

/* For one call Linux reads ahead no more than a disk takes at a time, whatever was asked for. */
Test(os_posix, reading_ahead_is_asked_for_in_small_pieces)
{
    enum { SIZE = (1 << 20) + 4096, PIECE = 128 << 10 };
    tarei_os_identity identity;
    int descriptor;
    const void *mapping;
    static const uint8_t bytes[SIZE];
    temp_path large = temp_write(&folder, "large", bytes, SIZE);
    cr_assert_eq(tarei_os_open_file(TAREI_OS_CWD, large.text, &descriptor, &identity), 0);
    cr_assert_eq(tarei_os_map(descriptor, SIZE, false, &mapping), 0);
    os_faults_reset();
    cr_expect_eq(tarei_os_advise_file(descriptor, 0, SIZE, TAREI_OS_WILL_NEED), 0);
    cr_expect_eq(os_fault.calls[OS_FADVISE], (SIZE + PIECE - 1) / PIECE);
    cr_expect_eq(os_fault.advised_size, SIZE);
    cr_expect_eq(tarei_os_advise_memory(mapping, SIZE, TAREI_OS_WILL_NEED), 0);
    cr_expect_eq(os_fault.calls[OS_MADVISE], (SIZE + PIECE - 1) / PIECE);
    cr_expect_eq(os_fault.advised_size, 2 * SIZE);
    os_faults_reset();
    os_fault.fail_at[OS_FADVISE] = 3;
    os_fault.error = EIO;
    cr_expect_eq(tarei_os_advise_file(descriptor, 0, SIZE, TAREI_OS_WILL_NEED), EIO);
    cr_expect_eq(os_fault.calls[OS_FADVISE], 3, "no more after a failure");
    tarei_os_unmap(mapping, SIZE);
    tarei_os_close(descriptor);
}

Test(os_posix, pages_are_no_childs)
{
    static const size_t sizes[] = {4096, (2 << 20) - 4096, (8 << 20) + 8192};
    for (size_t i = 0; i < 3; i++) {
        size_t size = sizes[i];
        int status;
        uint8_t *memory = tarei_os_take_pages(size);
        cr_assert_not_null(memory);
        cr_expect_eq((uintptr_t)memory % (2 << 20), 0);
        memset(memory, 7, size);
        pid_t child = fork();
        if (child == 0) {
            int same = memory[0] == 7 || memory[size - 1] == 7;
            tarei_os_give_pages(memory, size);
            _exit(same);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%zu", size);
        cr_expect(memory[0] == 7 && memory[size - 1] == 7);
        tarei_os_give_pages(memory, size);
    }
    cr_expect_null(tarei_os_take_pages(SIZE_MAX - 4095));
    cr_expect_null(tarei_os_take_pages(SIZE_MAX / 2 + 1));
}

Test(os_posix, locking_tells_how_much_may_be_locked)
{
    static char byte;
    uint64_t size_max = 1;
    const struct rlimit limit = {65536, 65536};
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    os_faults_reset();
    tarei_os_lock(&byte, 1, &size_max);
    cr_expect_eq(size_max, 65536);
    os_faults_reset();
    os_fault.fail_at[OS_RLIMIT] = 1;
    os_fault.error = EPERM;
    tarei_os_lock(&byte, 1, &size_max);
    cr_expect_eq(size_max, UINT64_MAX);
}

Test(os_posix, pages_are_there_before_anybody_writes)
{
    size_t size = 32 << 20;
    uint64_t before = probe_resident_size();
    void *memory = tarei_os_take_pages(size);
    cr_assert_not_null(memory);
    cr_expect_gt(probe_resident_size(), before + size / 2);
    tarei_os_give_pages(memory, size);
    cr_expect_lt(probe_resident_size(), before + size / 2);
}

Test(os_posix, without_random_bytes_names_are_still_found)
{
    static const int errors[] = {ENOSYS, EAGAIN, EINTR};
    for (size_t i = 0; i < 3; i++) {
        tare_model *model;
        tare_error error;
        os_faults_reset();
        os_fault.fail_at[OS_GETRANDOM] = 1;
        os_fault.error = errors[i];
        tare_status status = open_at(path.text, TARE_BACKING_AUTO, &model, &error);
        expect_opened("no random bytes", status, model, &error);
        cr_expect_not_null(tare_find(model, "aa", 2));
        cr_expect_null(tare_find(model, "aaa", 3));
        tare_close(model);
    }
}

Test(os_posix, a_fixed_seed_asks_for_no_random_bytes)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    options.flags = TARE_SEED_FIXED;
    cr_assert_eq(tare_open(path.text, &options, &model, NULL), TARE_OK);
    cr_expect_eq(os_fault.calls[OS_GETRANDOM], 0);
    tare_close(model);
}

Test(os_posix, finding_makes_no_system_call)
{
    tare_model *model;
    tare_error error;
    open_at(folder.text, TARE_BACKING_AUTO, &model, &error);
    os_faults_reset();
    tare_string names[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    const tare_tensor *out[3];
    for (size_t i = 0; i < 3; i++) {
        const tare_tensor *tensor = tare_find(model, names[i].data, names[i].size);
        tare_key key = tare_key_make(model, names[i].data, names[i].size);
        cr_expect_eq(tare_find_key(model, &key), tensor);
        if (tensor != NULL) cr_expect_not_null(tare_data(model, tensor));
    }
    cr_expect_eq(tare_find_many(model, names, 3, out), 2);
    tare_metadata_find(model, "format", 6);
    for (size_t call = 0; call < OS_CALL_COUNT; call++)
        cr_expect_eq(os_fault.calls[call], 0, "%s", os_call_name((enum os_call)call));
    tare_close(model);
}

/* The n-th call of one kind fails, for every n that opening makes: a clean error or, where the
 * library can do without, a model; never anything left. */
static void check_every_failure(const char *at, uint32_t backing, enum os_call call, int failure,
                                size_t fail_count)
{
    size_t descriptors = probe_descriptor_count();
    for (size_t n = 1;; n++) {
        tare_model *model;
        tare_error error;
        os_faults_reset();
        os_fault.fail_at[call] = n;
        os_fault.fail_count = fail_count;
        os_fault.error = failure;
        tare_status status = open_at(at, backing, &model, &error);
        size_t calls = os_fault.calls[call];
        os_faults_reset();
        if (status != TARE_OK) {
            expect_status(os_call_name(call), status, status, model, &error);
            /* A folder that stat cannot tell is opened as a file, which it is not. */
            cr_expect_eq(error.system_error, call == OS_STAT ? EISDIR : failure, "%s %zu: %s",
                         os_call_name(call), n, error.message);
            cr_expect(status == TARE_E_OPEN || status == TARE_E_READ || status == TARE_E_MAP,
                      "%s %zu: %s", os_call_name(call), n, tare_status_name(status));
        } else {
            cr_assert_not_null(model);
            cr_expect_eq(tare_count(model), 3, "%s %zu", os_call_name(call), n);
            tare_close(model);
        }
        cr_expect_eq(probe_descriptor_count(), descriptors, "%s %zu: a descriptor is left",
                     os_call_name(call), n);
        cr_expect_eq(probe_mapping_count(folder.text), 0, "%s %zu: a mapping is left",
                     os_call_name(call), n);
        if (calls < n) {
            cr_expect_eq(status, TARE_OK, "%s: refused without a failure", os_call_name(call));
            break;
        }
    }
}

Test(os_posix, every_call_may_fail_once_or_from_then_on)
{
    static const enum os_call calls[] = {OS_OPEN, OS_STAT,    OS_FSTAT,   OS_FSTATAT,  OS_PREAD,
                                         OS_MMAP, OS_OPENDIR, OS_READDIR, OS_GETRANDOM};
    static const int failures[] = {EIO, ENOMEM, EMFILE, EACCES};
    static const uint32_t backings[] = {TARE_BACKING_AUTO, TARE_BACKING_MAP, TARE_BACKING_READ};
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++)
        for (size_t f = 0; f < 4; f++)
            for (size_t b = 0; b < 3; b++)
                for (size_t count = 0; count < 2; count++)
                    check_every_failure(folder.text, backings[b], calls[c], failures[f], count);
}

Test(os_posix, every_call_may_fail_for_a_split_file_too)
{
#define PART(number, tensors) \
    GGUF_HEAD(tensors, "2") GGUF_U16("split.no", number) GGUF_U16("split.count", "2")
    static const enum os_call calls[] = {OS_OPEN, OS_FSTAT, OS_FSTATAT, OS_PREAD, OS_MMAP};
    temp_write_built(&folder, "m-00002-of-00002.gguf",
                     gguf_text(PART("1", "1") GGUF_TENSOR("c", "5", "24", "0") "p32 d5", NULL));
    temp_path part = temp_write_built(&folder, "m-00001-of-00002.gguf",
                                      gguf_text(PART("0", "2") GGUF_TENSOR("a", "1", "24", "0")
                                                    GGUF_TENSOR("b", "3", "24", "32") "p32 d35",
                                                NULL));
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++)
        for (uint32_t backing = 0; backing <= TARE_BACKING_READ; backing++)
            for (size_t count = 0; count < 2; count++)
                check_every_failure(part.text, backing, calls[c], EIO, count);
}

Test(os_posix, a_path_that_stat_cannot_tell_is_tried_as_a_file)
{
    tare_model *model;
    tare_error error;
    os_fault.fail_at[OS_STAT] = 1;
    os_fault.error = EOVERFLOW;
    tare_status status = open_at(path.text, TARE_BACKING_AUTO, &model, &error);
    expect_opened("no stat", status, model, &error);
    tare_close(model);
}

Test(os_posix, what_cannot_be_told_of_the_machine_is_guessed)
{
    os_fault.no_facts = 1;
    os_fault.always[OS_AFFINITY] = EPERM;
    cr_expect_eq(tarei_os_processor_count(), 1);
    cr_expect_eq(tarei_os_memory_size(), UINT64_MAX);
    os_faults_reset();
    cr_expect_geq(tarei_os_processor_count(), 1);
    cr_expect_lt(tarei_os_memory_size(), UINT64_MAX);
}

Test(os_posix, what_is_no_regular_file_is_identified_as_such)
{
    tarei_os_identity identity;
    temp_make_folder(&folder, "within");
    cr_assert_eq(mkfifo(temp_join(&folder, "fifo").text, 0600), 0);
    cr_expect_eq(tarei_os_identify_at(TAREI_OS_CWD, path.text, &identity), 0);
    cr_expect_eq(identity.size, file.size);
    cr_expect_eq(tarei_os_identify_at(TAREI_OS_CWD, folder.text, &identity), EISDIR);
    cr_expect_eq(tarei_os_identify_at(TAREI_OS_CWD, temp_join(&folder, "fifo").text, &identity),
                 EINVAL);
    cr_expect_eq(tarei_os_identify_at(TAREI_OS_CWD, temp_join(&folder, "none").text, &identity),
                 ENOENT);
}

Test(os_posix, what_is_no_regular_file_is_not_even_opened)
{
    tarei_os_identity identity;
    int descriptor = -7;
    temp_path fifo = temp_join(&folder, "fifo");
    cr_assert_eq(mkfifo(fifo.text, 0600), 0);
    cr_expect_eq(tarei_os_open_file(TAREI_OS_CWD, fifo.text, &descriptor, &identity), EINVAL);
    cr_expect_eq(tarei_os_open_file(TAREI_OS_CWD, folder.text, &descriptor, &identity), EISDIR);
    cr_expect_eq(os_fault.calls[OS_OPEN], 0);
    cr_expect_eq(descriptor, -7);
}

static void put_fifo(void)
{
    cr_assert_eq(unlink(path.text), 0);
    cr_assert_eq(mkfifo(path.text, 0600), 0);
}

static void put_folder(void)
{
    cr_assert_eq(unlink(path.text), 0);
    temp_make_folder(&folder, "a.safetensors");
}

static void put_nothing(void)
{
    cr_assert_eq(unlink(path.text), 0);
}

static void put_other_file(void)
{
    cr_assert_eq(rename(temp_join(&folder, "b.safetensors").text, path.text), 0);
}

/* It is opened without waiting, and what it is by then is what counts. */
Test(os_posix, what_takes_the_place_of_a_file_just_before_it_is_opened_is_seen)
{
    static const struct {
        const char *what;
        void (*put)(void);
        int failure;
    } rows[] = {{"a FIFO", put_fifo, EINVAL},
                {"a folder", put_folder, EISDIR},
                {"nothing", put_nothing, ENOENT},
                {"another file", put_other_file, 0}};
    size_t descriptors = probe_descriptor_count();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stat facts;
        tarei_os_identity identity;
        int descriptor = -7;
        os_fault.before_open = rows[i].put;
        int failure = tarei_os_open_file(TAREI_OS_CWD, path.text, &descriptor, &identity);
        cr_expect_eq(failure, rows[i].failure, "%s: %d", rows[i].what, failure);
        if (failure == 0) {
            cr_assert_eq(fstat(descriptor, &facts), 0);
            cr_expect_eq(identity.number, facts.st_ino);
            tarei_os_close(descriptor);
        }
        cr_expect_eq(probe_descriptor_count(), descriptors, "%s", rows[i].what);
        remove_files();
        make_files();
    }
}

Test(os_posix, a_kernel_without_huge_pages_is_no_failure)
{
    static _Alignas(4096) uint8_t memory[4096];
    static const tarei_os_advice advices[] = {TAREI_OS_HUGE_PAGES, TAREI_OS_SMALL_PAGES};
    for (size_t i = 0; i < 2; i++) {
        os_fault.always[OS_MADVISE] = EINVAL;
        cr_expect_eq(tarei_os_advise_memory(memory, sizeof memory, advices[i]), 0);
        os_fault.always[OS_MADVISE] = ENOMEM;
        cr_expect_eq(tarei_os_advise_memory(memory, sizeof memory, advices[i]), ENOMEM);
    }
}

Test(os_posix, advice_about_much_memory_ends_with_the_first_failure)
{
    enum { SIZE = 1 << 20 };
    static uint8_t memory[SIZE];
    cr_expect_eq(tarei_os_advise_memory(memory, 0, TAREI_OS_WILL_NEED), 0);
    cr_expect_eq(os_fault.calls[OS_MADVISE], 0);
    os_fault.pretend = 1;
    cr_expect_eq(tarei_os_advise_memory(memory, SIZE, TAREI_OS_WILL_NEED), 0);
    size_t all = os_fault.calls[OS_MADVISE];
    cr_assert_gt(all, 3);
    os_fault.calls[OS_MADVISE] = 0;
    os_fault.fail_at[OS_MADVISE] = 3;
    os_fault.error = EIO;
    cr_expect_eq(tarei_os_advise_memory(memory, SIZE, TAREI_OS_WILL_NEED), EIO);
    cr_expect_eq(os_fault.calls[OS_MADVISE], 3);
}

/* Claimed by the system calls and never touched. */
Test(os_posix, pieces_beyond_a_gibibyte_take_several_calls)
{
    static char room[1];
    const tarei_os_piece pieces[] = {{room, (size_t)3 << 29}, {room, (size_t)1 << 29}};
    uint64_t done;
    os_fault.pretend = 1;
    cr_expect_eq(tarei_os_read_pieces(0, 0, pieces, 2, &done), 0);
    cr_expect_eq(done, UINT64_C(1) << 31);
    cr_expect_eq(os_fault.calls[OS_PREADV], 2);
    cr_expect_eq(os_fault.asked_max, (size_t)1 << 30);
}

Test(os_posix, what_a_number_means_is_said_also_where_the_system_has_no_text)
{
    char text[96], small[8];
    tarei_os_error_text(ENOENT, text, sizeof text);
    cr_expect_str_eq(text, strerror(ENOENT));
    tarei_os_error_text(ENOENT, small, sizeof small);
    cr_expect_eq(strncmp(text, small, 7), 0);
    cr_expect_eq(strlen(small), 7);
    os_fault.no_texts = 1;
    tarei_os_error_text(ENOENT, text, sizeof text);
    cr_expect_str_eq(text, "system error 2");
    tarei_os_error_text(-1, small, sizeof small);
    cr_expect_str_eq(small, "system ");
}
