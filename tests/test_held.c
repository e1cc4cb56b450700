/* What the library holds of the system, and with which rights: mappings, descriptors, seeds. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "support/expect.h"
#include "support/os_faults.h"
#include "support/process_probe.h"
#include "support/temp_files.h"

static const build_tensor first[] = {{"a", 0, "U8", "[5000]", 5000}, {"b", 0, "U8", "[3]", 3}};
static const build_tensor second = {"c", 0, "F32", "[]", 4};
static const char list[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\","
                           "\"c\":\"2.safetensors\"}}";

static temp_path folder;

static tare_model *open_model(uint32_t backing, uint32_t index, uint32_t flags)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.backing = backing;
    options.index = index;
    options.flags = flags;
    tare_status status = tare_open(folder.text, &options, &model, &error);
    expect_opened(folder.text, status, model, &error);
    return model;
}

static void make_model(void)
{
    folder = temp_folder_make();
    temp_write_built(&folder, "1.safetensors", build_file(first, 2, "{\"format\":\"pt\"}"));
    temp_write_built(&folder, "2.safetensors", build_file(&second, 1, NULL));
    temp_write(&folder, "model.safetensors.index.json", list, sizeof list - 1);
    tare_model *model = open_model(TARE_BACKING_AUTO, TARE_INDEX_NEVER, 0);
    cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
    tare_close(model);
    os_faults_reset();
}

static void remove_model(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
}

TestSuite(held, .init = make_model, .fini = remove_model);

/* ------------------------------------------------------------------------------------------------
 * Mappings
 */

static void expect_mappings(const char *what, const char *name, const char *rights)
{
    const char *path = temp_join(&folder, name).text;
    cr_expect_eq(probe_mapping_count(path), 1, "%s: %s", what, name);
    cr_expect_eq(probe_mapping_count_with(path, rights), 1, "%s: %s is not %s", what, name, rights);
}

static void check_mappings(const char *what, uint32_t index, uint32_t flags, const char *rights)
{
    tare_model *model = open_model(TARE_BACKING_MAP, index, flags);
    for (size_t i = 0; i < tare_count(model); i++)
        cr_expect_not_null(tare_data(model, tare_at(model, i)), "%s: %zu", what, i);
    expect_mappings(what, "1.safetensors", rights);
    expect_mappings(what, "2.safetensors", rights);
    if (index == TARE_INDEX_REQUIRE) expect_mappings(what, "tare.idx", "r--p");
    cr_expect_eq(probe_mapping_count(folder.text), index == TARE_INDEX_REQUIRE ? 3 : 2, "%s", what);
    tare_close(model);
    cr_expect_eq(os_fault.mapped_shared, 0, "%s", what);
}

Test(held, mappings_of_models_are_private_and_read_only)
{
    check_mappings("headers", TARE_INDEX_NEVER, 0, "r--p");
}

Test(held, so_are_those_of_index_files_and_of_what_they_lead_to)
{
    check_mappings("an index file", TARE_INDEX_REQUIRE, 0, "r--p");
}

/* Only tensors can be written then, and only for this process. */
Test(held, mappings_to_write_to_are_private_and_leave_the_index_file_read_only)
{
    check_mappings("headers", TARE_INDEX_NEVER, TARE_COPY_ON_WRITE, "rw-p");
    check_mappings("an index file", TARE_INDEX_REQUIRE, TARE_COPY_ON_WRITE, "rw-p");
}

/* ------------------------------------------------------------------------------------------------
 * Descriptors
 */

/* `count` descriptors lead into the folder, and a program that is started now gets none of them. */
static void expect_descriptors(const char *what, size_t count)
{
    size_t inherited, found = probe_descriptors_of(folder.text, &inherited);
    cr_expect_eq(found, count, "%s: %zu descriptors", what, found);
    cr_expect_eq(inherited, 0, "%s: %zu are for children too", what, inherited);
}

Test(held, descriptors_of_models_are_not_for_children)
{
    static const uint32_t backings[] = {TARE_BACKING_MAP, TARE_BACKING_READ};
    for (size_t i = 0; i < 2; i++) {
        tare_model *model = open_model(backings[i], TARE_INDEX_NEVER, 0);
        expect_descriptors("headers", 2);
        tare_close(model);
        model = open_model(backings[i], TARE_INDEX_REQUIRE, 0);
        size_t inherited;
        cr_expect_gt(probe_descriptors_of(folder.text, &inherited), 0);
        for (size_t at = 0; at < tare_count(model); at++) {
            char bytes[5000];
            const tare_tensor *tensor = tare_at(model, at);
            cr_expect_eq(tare_read(model, tensor, bytes, tare_size(model, tensor), NULL), TARE_OK);
        }
        cr_expect_geq(probe_descriptors_of(folder.text, &inherited), 2);
        cr_expect_eq(inherited, 0, "an index file");
        tare_close(model);
    }
    expect_descriptors("closed", 0);
}

static size_t asked;

static int look_at_descriptors(void *context, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    expect_descriptors(context, 2);
    asked++;
    return 0;
}

/* That of the folder, and that of the file which has no name yet. */
Test(held, descriptors_of_what_is_saved_are_not_for_children)
{
    static const char bytes[4];
    const tare_save_tensor tensor = {
        .name = "t", .name_size = 1, .dtype = TARE_DTYPE_F32, .data = bytes, .size = sizeof bytes};
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    temp_path target = temp_join(&folder, "saved.safetensors");
    options.progress = look_at_descriptors;
    options.progress_context = (char[]){"saving"};
    cr_assert_eq(tare_save(target.text, &tensor, 1, &options, NULL), TARE_OK);
    cr_expect_geq(asked, 1);
    expect_descriptors("saved", 0);
}

/* Of every call of openat, also those that are closed again before anybody could look. */
Test(held, every_file_is_opened_close_on_exec_and_as_no_terminal)
{
    enum { BOTH = O_CLOEXEC | O_NOCTTY };
    static const uint32_t ios[] = {TARE_IO_BUFFERED, TARE_IO_DIRECT};
    tare_model *model = open_model(TARE_BACKING_AUTO, TARE_INDEX_NEVER, 0);
    cr_expect_gt(os_fault.calls[OS_OPEN], 2);
    cr_expect_eq(os_fault.open_flags_missing & BOTH, 0, "opening");
    cr_expect_neq(os_fault.open_flags_missing & O_CREAT, 0, "flags are looked at");
    for (size_t i = 0; i < 2; i++) {
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.io = ios[i];
        cr_assert_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
        tare_block_close(block);
        cr_expect_eq(os_fault.open_flags_missing & BOTH, 0, "loading");
    }
    size_t before = os_fault.calls[OS_OPEN];
    cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
    cr_expect_gt(os_fault.calls[OS_OPEN], before);
    cr_expect_eq(os_fault.open_flags_missing & BOTH, 0, "saving an index file");
    tare_close(model);
    model = open_model(TARE_BACKING_AUTO, TARE_INDEX_REQUIRE, 0);
    cr_expect_eq(os_fault.open_flags_missing & BOTH, 0, "an index file");
    tare_close(model);
}

/* Opens the file in every way and uses it in every way; how often each system call was made. */
static void count_calls(const char *path, size_t calls[OS_CALL_COUNT])
{
    static const uint32_t backings[] = {TARE_BACKING_MAP, TARE_BACKING_READ};
    static const uint64_t start[] = {0, 0}, stop[] = {50, 1};
    static uint8_t bytes[50 * 20000];
    os_faults_reset();
    os_fault.always[OS_FADVISE] = EINVAL; /* so that no pages go, which the next call would miss */
    for (size_t i = 0; i < 4; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_load_options loading = TARE_LOAD_OPTIONS_INIT;
        tare_model *model;
        tare_block *block;
        tare_digest digest;
        tare_error error = expect_poison();
        options.backing = backings[i % 2];
        options.index = i < 2 ? TARE_INDEX_NEVER : TARE_INDEX_REQUIRE;
        cr_assert_eq(tare_open(path, &options, &model, &error), TARE_OK, "%s", error.message);
        const tare_tensor *tensor = tare_at(model, 0);
        size_t size = (size_t)tare_size(model, tensor);
        cr_expect_eq(tare_read(model, tensor, bytes, size, NULL), TARE_OK);
        cr_expect_eq(tare_read_slice(model, tensor, start, stop, bytes, 50, NULL), TARE_OK);
        for (uint32_t advice = TARE_ADVISE_WILL_NEED; advice <= TARE_ADVISE_UNLOCK; advice++)
            tare_advise(model, NULL, 0, advice, NULL);
        loading.threads = 1;
        for (uint32_t io = TARE_IO_AUTO; io <= TARE_IO_DIRECT; io++) {
            loading.io = io;
            cr_expect_eq(tare_load(model, NULL, 0, &loading, &block, NULL), TARE_OK);
            tare_block_close(block);
        }
        loading.flags = TARE_LOAD_DROP_BEHIND;
        cr_expect_eq(tare_hash_many(model, NULL, 0, &loading, &digest, NULL), TARE_OK);
        if (i == 1) cr_expect_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
        tare_close(model);
    }
    memcpy(calls, os_fault.calls, sizeof os_fault.calls);
}

static void count_calls_of_saving(const char *path, size_t calls[OS_CALL_COUNT])
{
    static const char bytes[4];
    const tare_save_tensor tensor = {
        .name = "t", .name_size = 1, .dtype = TARE_DTYPE_F32, .data = bytes, .size = sizeof bytes};
    os_faults_reset();
    cr_expect_eq(tare_save(path, &tensor, 1, NULL, NULL), TARE_OK);
    memcpy(calls, os_fault.calls, sizeof os_fault.calls);
}

/* To programs that closed their input the kernel gives 0, a descriptor like any other. */
Test(held, a_file_may_have_the_descriptor_0)
{
    static const build_tensor wide = {"w", 0, "U8", "[50,20000]", 50 * 20000};
    size_t calls[2][2][OS_CALL_COUNT];
    for (size_t i = 0; i < 2; i++) {
        const char *name = i == 0 ? "x.safetensors" : "y.safetensors";
        temp_path path = temp_write_built(&folder, name, build_file(&wide, 1, NULL));
        if (i == 1) cr_assert_eq(close(0), 0);
        count_calls(path.text, calls[0][i]);
        temp_path saved = temp_join(&folder, i == 0 ? "v.safetensors" : "w.safetensors");
        count_calls_of_saving(saved.text, calls[1][i]);
    }
    cr_expect_gt(calls[0][0][OS_PREAD], 0);
    for (size_t saving = 0; saving < 2; saving++)
        for (size_t call = 0; call < OS_CALL_COUNT; call++)
            cr_expect_eq(calls[saving][1][call], calls[saving][0][call], "%s: %zu, not %zu",
                         os_call_name((enum os_call)call), calls[saving][1][call],
                         calls[saving][0][call]);
}

/* And what is opened for a while is closed again, whatever number it has. */
Test(held, what_has_the_descriptor_0_for_a_while_is_closed)
{
    temp_path saved = temp_join(&folder, "saved.safetensors");
    tare_model *model = open_model(TARE_BACKING_READ, TARE_INDEX_NEVER, 0);
    size_t calls[OS_CALL_COUNT];
    cr_assert_eq(close(0), 0);
    for (uint32_t io = TARE_IO_AUTO; io <= TARE_IO_DIRECT; io++) {
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.io = io;
        cr_expect_eq(tare_load(model, NULL, 0, &options, &block, NULL), TARE_OK);
        tare_block_close(block);
        cr_expect_eq(fcntl(0, F_GETFD), -1, "loading");
    }
    cr_expect_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
    cr_expect_eq(fcntl(0, F_GETFD), -1, "saving an index file");
    cr_expect_eq(tare_index_check(model, NULL, NULL, NULL), TARE_OK);
    cr_expect_eq(fcntl(0, F_GETFD), -1, "checking it");
    count_calls_of_saving(saved.text, calls);
    cr_expect_eq(fcntl(0, F_GETFD), -1, "saving");
    for (uint32_t i = 0; i < 6; i++) {
        tare_close(open_model(i / 2, i % 2 ? TARE_INDEX_REQUIRE : TARE_INDEX_NEVER, 0));
        cr_expect_eq(fcntl(0, F_GETFD), -1, "opening");
    }
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *none;
    options.index = TARE_INDEX_NEVER;
    temp_write(&folder, "bad.safetensors", "bad", 3);
    cr_expect_neq(tare_open(temp_join(&folder, "bad.safetensors").text, &options, &none, NULL),
                  TARE_OK);
    cr_expect_eq(fcntl(0, F_GETFD), -1, "a damaged file");
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Seeds
 */

Test(held, the_seed_of_a_model_is_what_the_kernel_gives)
{
    static const uint64_t given[] = {UINT64_C(0x0123456789ABCDEF), 7};
    for (size_t i = 0; i < 2; i++) {
        os_faults_reset();
        os_fault.random = given[i];
        tare_model *model = open_model(TARE_BACKING_AUTO, TARE_INDEX_NEVER, 0);
        cr_expect_eq(os_fault.calls[OS_GETRANDOM], 2, "one for tensors, one for metadata");
        cr_expect_eq(model->index.seed.seed, given[i]);
        tare_close(model);
    }
}

Test(held, a_fixed_seed_is_the_callers)
{
    static const uint64_t given[] = {0, 1, UINT64_C(0xFEDCBA9876543210)};
    for (size_t i = 0; i < 3; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model = expect_no_model();
        options.index = TARE_INDEX_NEVER;
        options.flags = TARE_SEED_FIXED;
        options.seed = given[i];
        cr_assert_eq(tare_open(folder.text, &options, &model, NULL), TARE_OK);
        cr_expect_eq(model->index.seed.seed, given[i]);
        cr_expect_eq(os_fault.calls[OS_GETRANDOM], 0);
        tare_close(model);
    }
}

Test(held, every_model_asks_for_a_seed_of_its_own)
{
    tare_model *models[8];
    for (size_t i = 0; i < 8; i++) {
        models[i] = open_model(TARE_BACKING_AUTO, TARE_INDEX_NEVER, 0);
        cr_expect_eq(os_fault.calls[OS_GETRANDOM], 2 * (i + 1));
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(models[i]->index.seed.seed, models[j]->index.seed.seed);
    }
    for (size_t i = 0; i < 8; i++) tare_close(models[i]);
}

/* Refused, or fewer bytes than a seed has: then time and an address are taken, which go on. */
Test(held, without_random_bytes_seeds_still_differ)
{
    static const int failures[] = {ENOSYS, EAGAIN, EINTR, OS_SHORT};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        os_faults_reset();
        os_fault.random = UINT64_C(0x5A5A5A5A5A5A5A5A);
        os_fault.fail_at[OS_GETRANDOM] = 1;
        os_fault.error = failures[i];
        uint64_t one = tarei_os_random(), other = one;
        cr_expect_neq(one, 0, "%d", failures[i]);
        cr_expect_neq(one, os_fault.random, "%d", failures[i]);
        cr_expect_neq(one, os_fault.random & 0xFF, "%d: the byte that came is no seed",
                      failures[i]);
        size_t tries = 0;
        for (; other == one && tries < 1000000; tries++) other = tarei_os_random();
        cr_expect_neq(one, other, "%d: it stands still", failures[i]);
        cr_expect_eq(os_fault.calls[OS_GETRANDOM], tries + 1, "each tries the kernel first");
    }
}
