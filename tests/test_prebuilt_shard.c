/* Shards of a model from an index file: opened when their bytes are wanted, by whoever wants
 * them. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"
#include "support/expect.h"
#include "support/index_probe.h"
#include "support/os_faults.h"
#include "support/process_probe.h"
#include "support/temp_files.h"

enum { SHARD_COUNT = 6, THREAD_COUNT = 8, SECONDS_MAX = 60 };

static temp_path folder;

static void make_shards(void)
{
    char name[32], tensor[8];
    build_text list = {0};
    folder = temp_folder_make();
    build_addf(&list, "{\"weight_map\":{");
    for (int i = 0; i < SHARD_COUNT; i++) {
        snprintf(name, sizeof name, "%d.safetensors", i);
        snprintf(tensor, sizeof tensor, "t%d", i);
        const build_tensor one = {tensor, 0, "U8", "[100]", 100};
        temp_write_built(&folder, name, build_file(&one, 1, NULL));
        build_addf(&list, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", tensor, name);
    }
    build_addf(&list, "}}");
    temp_write_built(&folder, "model.safetensors.index.json", list);
    tare_model *model;
    tare_error error;
    cr_assert_eq(tare_open(folder.text, NULL, &model, &error), TARE_OK, "%s", error.message);
    cr_assert_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
}

static void remove_shards(void)
{
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_shard, .init = make_shards, .fini = remove_shards);

static tare_model *open_indexed(uint32_t backing)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.backing = backing;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(folder.text, &options, &model, &error);
    expect_opened("indexed", status, model, &error);
    return model;
}

static size_t mapped_shards(void)
{
    size_t count = 0;
    char name[32];
    for (int i = 0; i < SHARD_COUNT; i++) {
        snprintf(name, sizeof name, "%d.safetensors", i);
        count += probe_mapping_count(temp_join(&folder, name).text);
    }
    return count;
}

Test(prebuilt_shard, none_is_opened_before_its_bytes_are_wanted)
{
    tare_model *model = open_indexed(TARE_BACKING_AUTO);
    cr_expect_eq(mapped_shards(), 0);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        tare_describe(model, tare_at(model, i));
        cr_expect_eq(tare_shard_at(model, i).size > 100, 1);
        cr_expect_eq(tare_shard_at(model, i).backing, TARE_BACKING_MAP);
    }
    cr_expect_eq(mapped_shards(), 0);
    cr_expect_not_null(tare_data(model, tare_at(model, 3)));
    cr_expect_eq(mapped_shards(), 1);
    char bytes[100];
    cr_expect_eq(tare_read(model, tare_at(model, 5), bytes, 100, NULL), TARE_OK);
    cr_expect_eq(mapped_shards(), 2);
    tare_block *block;
    const tare_tensor *wanted[] = {tare_at(model, 1), tare_at(model, 3)};
    cr_expect_eq(tare_load(model, wanted, 2, NULL, &block, NULL), TARE_OK);
    cr_expect_eq(mapped_shards(), 3);
    tare_block_close(block);
    cr_expect_eq(tare_ready(model, NULL, NULL), TARE_OK);
    cr_expect_eq(mapped_shards(), SHARD_COUNT);
    tare_close(model);
    cr_expect_eq(mapped_shards(), 0);
}

/* Loading decides by the file that it reads, whether the first shard is open or not. */
Test(prebuilt_shard, the_last_one_is_loaded_past_the_page_cache_too)
{
    for (uint32_t io = TARE_IO_AUTO; io <= TARE_IO_DIRECT; io++) {
        tare_model *model = open_indexed(TARE_BACKING_AUTO);
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        options.io = io;
        options.flags = TARE_LOAD_DROP_BEHIND;
        const tare_tensor *last = tare_at(model, SHARD_COUNT - 1);
        tare_block *block;
        tare_error error = expect_poison();
        cr_assert_eq(tare_load(model, &last, 1, &options, &block, &error), TARE_OK, "%s",
                     error.message);
        cr_expect_eq(memcmp(tare_block_data(block, 0), tare_data(model, last), 100), 0);
        tare_block_close(block);
        tare_close(model);
    }
}

/* A damaged index may have tensors of one shard here and there. */
Test(prebuilt_shard, one_that_comes_again_is_opened_once_to_be_read_past_the_page_cache)
{
    enum { RECORDS = 8, RECORD_SIZE = 16 };
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = open_indexed(TARE_BACKING_AUTO);
    index_image image = index_make(model, temp_join(&folder, "copy").text);
    tare_close(model);
    uint8_t *records = image.bytes + index_section_offset(&image, RECORDS);
    memcpy(records + 3 * RECORD_SIZE, records, sizeof(uint64_t)); /* where t0 is */
    index_seal(&image);
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image.bytes;
    options.index_size = image.size;
    size_t descriptors = probe_descriptor_count();
    tare_error error = expect_poison();
    tare_status status = tare_open(folder.text, &options, &model, &error);
    expect_opened("out of order", status, model, &error);
    tare_load_options direct = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    direct.io = TARE_IO_DIRECT;
    cr_assert_eq(tare_load(model, NULL, 0, &direct, &block, &error), TARE_OK, "%s", error.message);
    cr_expect_eq(memcmp(tare_block_data(block, 3), tare_block_data(block, 0), 100), 0);
    tare_block_close(block);
    tare_close(model);
    cr_expect_eq(probe_descriptor_count(), descriptors);
    index_free(&image);
}

Test(prebuilt_shard, opened_late_they_can_be_written_to_where_that_was_asked_for)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.flags = TARE_COPY_ON_WRITE;
    tare_model *model, *other = open_indexed(TARE_BACKING_AUTO);
    cr_assert_eq(tare_open(folder.text, &options, &model, NULL), TARE_OK);
    const tare_tensor *tensor = tare_at(model, 4);
    unsigned char *bytes = (void *)(uintptr_t)tare_data(model, tensor);
    const unsigned char *others = tare_data(other, tare_at(other, 4));
    unsigned char before = others[7], in_file[100];
    bytes[7] = (unsigned char)~before;
    cr_expect_eq(others[7], before);
    cr_expect_eq(probe_mapping_count_with(folder.text, "rw-p"), 1, "that shard, and no index file");
    cr_expect_eq(tare_read(model, tensor, in_file, 100, NULL), TARE_OK);
    cr_expect_eq(in_file[7], before);
    tare_close(model);
    tare_close(other);
}

/* They are found in the folder that was opened, whatever its path leads to by then. */
Test(prebuilt_shard, they_are_opened_after_a_change_of_folder)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    for (uint32_t backing = TARE_BACKING_MAP; backing <= TARE_BACKING_READ; backing++) {
        tare_model *model;
        tare_error error;
        char bytes[100];
        cr_assert_eq(chdir(folder.text), 0);
        options.backing = backing;
        tare_status status = tare_open(".", &options, &model, &error);
        expect_opened("relative", status, model, &error);
        cr_assert_eq(chdir("/"), 0);
        for (size_t i = 0; i < SHARD_COUNT; i++) {
            status = tare_read(model, tare_at(model, i), bytes, sizeof bytes, &error);
            cr_expect_eq(status, TARE_OK, "%s", error.message);
        }
        tare_block *block;
        cr_expect_eq(tare_load(model, NULL, 0, NULL, &block, &error), TARE_OK);
        tare_block_close(block);
        tare_close(model);
    }
}

Test(prebuilt_shard, with_read_backing_none_is_mapped)
{
    tare_model *model = open_indexed(TARE_BACKING_READ);
    cr_expect_null(tare_data(model, tare_at(model, 0)));
    cr_expect_eq(tare_ready(model, tare_at(model, 0), NULL), TARE_OK);
    cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_READ);
    cr_expect_eq(tare_shard_at(model, 1).backing, TARE_BACKING_READ);
    char bytes[100];
    cr_expect_eq(tare_read(model, tare_at(model, 0), bytes, 100, NULL), TARE_OK);
    cr_expect_eq(mapped_shards(), 0);
    tare_close(model);
}

Test(prebuilt_shard, one_that_cannot_be_mapped_is_read_where_nothing_else_was_asked_for)
{
    char bytes[100];
    for (int must = 0; must < 2; must++) {
        tare_model *model = open_indexed(must ? TARE_BACKING_MAP : TARE_BACKING_AUTO);
        const tare_tensor *tensor = tare_at(model, 2);
        tare_error error = expect_poison();
        os_faults_reset();
        os_fault.always[OS_MMAP] = ENODEV;
        cr_expect_eq(tare_ready(model, tensor, &error), must ? TARE_E_MAP : TARE_OK);
        cr_expect_eq(tare_read(model, tensor, bytes, 100, NULL), must ? TARE_E_MAP : TARE_OK);
        cr_expect_null(tare_data(model, tensor));
        cr_expect_eq(error.shard, must ? 2 : TARE_NO_SHARD);
        os_faults_reset();
        tare_close(model);
    }
}

typedef struct change {
    const char *what;
    void (*make)(const char *path);
    tare_status status;
} change;

static void remove_it(const char *path)
{
    cr_assert_eq(unlink(path), 0);
}

static void touch_it(const char *path)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void cut_it(const char *path)
{
    cr_assert_eq(truncate(path, 90), 0);
}

/* The same bytes and time, but another file: what was seen was not this one. */
static void replace_it(const char *path)
{
    size_t size;
    struct stat facts;
    void *bytes = temp_read(path, &size);
    cr_assert_eq(lstat(path, &facts), 0);
    temp_path other = temp_write(&folder, "other", bytes, size);
    struct timespec times[2] = {facts.st_atim, facts.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, other.text, times, 0), 0);
    cr_assert_eq(rename(other.text, path), 0);
    free(bytes);
}

static void make_folder(const char *path)
{
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0777), 0);
}

static const change changes[] = {
    {"removed", remove_it, TARE_E_OPEN},
    {"touched", touch_it, TARE_E_CHANGED},
    {"cut", cut_it, TARE_E_CHANGED},
    {"replaced", replace_it, TARE_E_CHANGED},
    {"made a folder", make_folder, TARE_E_OPEN},
};

Test(prebuilt_shard, one_that_changed_since_is_an_error_of_whoever_wants_it)
{
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const char *what = changes[i].what;
        char name[32], bytes[100];
        tare_model *model = open_indexed(TARE_BACKING_AUTO);
        size_t last = SHARD_COUNT - 1, descriptors = probe_descriptor_count();
        const tare_tensor *tensor = tare_at(model, last);
        snprintf(name, sizeof name, "%zu.safetensors", last);
        temp_path path = temp_join(&folder, name);
        size_t size;
        void *kept = temp_read(path.text, &size);
        changes[i].make(path.text);
        tare_error error = expect_poison();
        tare_block *block;
        tare_digest digest;
        cr_expect_null(tare_data(model, tensor), "%s", what);
        cr_expect_eq(tare_ready(model, tensor, &error), changes[i].status, "%s", what);
        expect_message(what, name, &error);
        expect_message(what, "'t5'", &error);
        const char *named = strstr(error.message, name);
        cr_expect(named == NULL || strstr(named + 1, name) == NULL, "%s: %s", what, error.message);
        cr_expect_eq(error.shard, last, "%s", what);
        cr_expect_eq(tare_ready(model, NULL, &error), changes[i].status, "%s", what);
        cr_expect_eq(tare_read(model, tensor, bytes, 100, &error), changes[i].status, "%s", what);
        cr_expect_eq(tare_load(model, &tensor, 1, NULL, &block, &error), changes[i].status);
        cr_expect_null(block);
        cr_expect_eq(tare_hash(model, tensor, &digest, &error), changes[i].status, "%s", what);
        cr_expect_eq(tare_read_slice(model, tensor, NULL, NULL, bytes, 100, &error),
                     changes[i].status, "%s", what);
        cr_expect_eq(tare_advise(model, &tensor, 1, TARE_ADVISE_WILL_NEED, &error),
                     changes[i].status, "%s", what);
        cr_expect_eq(tare_alignment(model, tensor), 0, "%s", what);
        cr_expect_eq(tare_shard_at(model, last).size, size, "%s: as the index has it", what);
        cr_expect_eq(tare_read(model, tare_at(model, 0), bytes, 100, &error), TARE_OK, "%s", what);
        tare_close(model);
        cr_expect_eq(probe_descriptor_count(), descriptors - 1, "%s", what);
        rmdir(path.text);
        temp_write(&folder, name, kept, size);
        free(kept);
        cr_assert_eq(tare_open(folder.text, NULL, &model, NULL), TARE_OK);
        cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
        tare_close(model);
    }
}

Test(prebuilt_shard, one_that_comes_back_is_opened_then)
{
    tare_model *model = open_indexed(TARE_BACKING_AUTO);
    temp_path path = temp_join(&folder, "2.safetensors"), away = temp_join(&folder, "away");
    cr_assert_eq(rename(path.text, away.text), 0);
    cr_expect_null(tare_data(model, tare_at(model, 2)));
    cr_assert_eq(rename(away.text, path.text), 0);
    cr_expect_not_null(tare_data(model, tare_at(model, 2)));
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Threads
 */

typedef struct work {
    pthread_t thread;
    const tare_model *model;
    int number;
    size_t wrong;
} work;

static void *use_all(void *context)
{
    work *w = context;
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        const tare_tensor *tensor = tare_at(w->model, (i + (size_t)w->number) % SHARD_COUNT);
        char bytes[100];
        const void *data = tare_data(w->model, tensor);
        w->wrong += data == NULL;
        w->wrong += tare_read(w->model, tensor, bytes, 100, NULL) != TARE_OK;
        w->wrong += data != NULL && memcmp(bytes, data, 100) != 0;
        w->wrong += tare_data(w->model, tensor) != data;
        w->wrong += tare_shard_at(w->model, i).size <= 100;
    }
    return NULL;
}

Test(prebuilt_shard, of_many_threads_that_open_them_one_keeps_each)
{
    for (int round = 0; round < 50; round++) {
        work works[THREAD_COUNT];
        tare_model *model = open_indexed(TARE_BACKING_AUTO);
        size_t before = probe_descriptor_count();
        for (int i = 0; i < THREAD_COUNT; i++) {
            works[i] = (work){.model = model, .number = i};
            cr_assert_eq(pthread_create(&works[i].thread, NULL, use_all, &works[i]), 0);
        }
        for (int i = 0; i < THREAD_COUNT; i++) {
            pthread_join(works[i].thread, NULL);
            cr_expect_eq(works[i].wrong, 0);
        }
        cr_expect_eq(probe_descriptor_count(), before + SHARD_COUNT);
        cr_expect_eq(mapped_shards(), SHARD_COUNT);
        tare_close(model);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Who opens one while somebody else does
 */

static tare_model *shared;
static sem_t opening, go_on;

static void stop_here(void)
{
    sem_post(&opening);
    sem_wait(&go_on);
}

static void *want_first(void *context)
{
    work *w = context;
    w->wrong += tare_data(w->model, tare_at(w->model, 0)) == NULL;
    return NULL;
}

static int is_readable(const tare_model *model)
{
    char bytes[100];
    const tare_tensor *tensor = tare_at(model, 0);
    const void *data = tare_data(model, tensor);
    return data != NULL && tare_read(model, tensor, bytes, 100, NULL) == TARE_OK &&
           memcmp(data, bytes, 100) == 0;
}

/* The child has no such thread, and must not wait for it. */
Test(prebuilt_shard, a_child_opens_what_a_thread_was_opening_when_it_was_forked)
{
    work w = {.model = open_indexed(TARE_BACKING_AUTO)};
    int status = -1;
    cr_assert_eq(sem_init(&opening, 0, 0) | sem_init(&go_on, 0, 0), 0);
    os_fault.before_open = stop_here;
    cr_assert_eq(pthread_create(&w.thread, NULL, want_first, &w), 0);
    sem_wait(&opening);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        alarm(SECONDS_MAX);
        _exit(is_readable(w.model) ? 0 : 1);
    }
    cr_expect_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0, "the child ended with %x", (unsigned)status);
    cr_expect(is_readable(w.model), "nor does another thread wait");
    sem_post(&go_on);
    pthread_join(w.thread, NULL);
    cr_expect_eq(w.wrong, 0);
    cr_expect_eq(mapped_shards(), 1);
    tare_close((tare_model *)(uintptr_t)w.model);
}

static void open_first(void)
{
    tare_data(shared, tare_at(shared, 0));
}

/* One opens it while the other is about to: which of their calls fails, and what comes of it. */
static const struct meeting {
    const char *what;
    enum os_call call;
    size_t fail_at;
    size_t mapped;
} meetings[] = {
    {"nothing fails", OS_OPEN, 0, 1},
    {"the later one does not open it", OS_OPEN, 2, 1},
    {"the earlier one does not open it", OS_OPEN, 1, 1},
    {"the later one does not map it", OS_MMAP, 2, 1},
    {"the earlier one does not map it", OS_MMAP, 1, 0},
};

Test(prebuilt_shard, who_comes_later_takes_what_is_there_and_keeps_nothing)
{
    for (size_t i = 0; i < sizeof meetings / sizeof *meetings; i++) {
        const char *what = meetings[i].what;
        shared = open_indexed(TARE_BACKING_AUTO);
        size_t descriptors = probe_descriptor_count();
        tare_error error = expect_poison();
        os_faults_reset();
        os_fault.fail_at[meetings[i].call] = meetings[i].fail_at;
        os_fault.fail_count = 1;
        os_fault.error = EMFILE;
        os_fault.before_open = open_first;
        cr_expect_eq(tare_ready(shared, tare_at(shared, 0), &error), TARE_OK, "%s", what);
        cr_expect_eq(error.status, TARE_OK, "%s: %s", what, error.message);
        cr_expect_eq(os_fault.failed, meetings[i].fail_at != 0, "%s", what);
        cr_expect_eq(tare_data(shared, tare_at(shared, 0)) != NULL, meetings[i].mapped, "%s", what);
        cr_expect_eq(mapped_shards(), meetings[i].mapped, "%s", what);
        cr_expect_eq(probe_descriptor_count(), descriptors + 1, "%s", what);
        tare_close(shared);
        os_faults_reset();
        cr_expect_eq(mapped_shards(), 0, "%s", what);
        cr_expect_eq(probe_descriptor_count(), descriptors - 1, "%s", what);
    }
}

/* As a child finds it that was forked between two steps of a thread which publishes. */
Test(prebuilt_shard, what_somebody_began_to_publish_is_ended_by_whoever_comes)
{
    for (int steps = 1; steps <= 3; steps++) {
        tare_model *model = open_indexed(TARE_BACKING_AUTO);
        size_t descriptors = probe_descriptor_count();
        tarei_shard *shard = &model->shards[0];
        size_t size = (size_t)shard->source.size;
        int descriptor = open(temp_join(&folder, "0.safetensors").text, O_RDONLY);
        void *mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        cr_assert(descriptor >= 0 && mapping != MAP_FAILED);
        shard->source.descriptor = descriptor;
        if (steps >= 2) shard->mapping = mapping;
        if (steps >= 3) shard->source.bytes = mapping;
        if (steps == 1) munmap(mapping, size);
        cr_expect(is_readable(model), "%d steps", steps);
        cr_expect_eq(shard->source.descriptor, descriptor);
        if (steps >= 2) cr_expect_eq(shard->source.bytes, mapping);
        cr_expect_eq(mapped_shards(), 1, "%d steps", steps);
        cr_expect_eq(probe_descriptor_count(), descriptors + 1, "%d steps", steps);
        tare_close(model);
        cr_expect_eq(mapped_shards(), 0, "%d steps", steps);
    }
}
