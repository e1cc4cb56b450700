/* What fills the buffer that files are written through, of a mebibyte, and what comes behind a
 * write that failed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/expect.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

enum { BUFFER = 1 << 20 };

static temp_path folder, target;
static uint8_t bytes[BUFFER];

static void make_files(void)
{
    folder = temp_folder_make();
    target = temp_write(&folder, "target.safetensors", "", 0);
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = build_byte(i);
    os_faults_reset();
}

static void remove_files(void)
{
    os_faults_reset();
    temp_folder_remove(&folder);
}

TestSuite(save_buffer, .init = make_files, .fini = remove_files);

static tare_save_tensor tensor_of(const uint64_t *size)
{
    return (tare_save_tensor){.name = "big",
                              .name_size = 3,
                              .dtype = TARE_DTYPE_U8,
                              .shape = size,
                              .rank = 1,
                              .data = bytes,
                              .size = (size_t)*size};
}

Test(save_buffer, a_file_may_fill_the_buffer_and_no_more)
{
    uint64_t size = BUFFER - 200;
    struct stat facts = {0};
    for (int i = 0; i < 4 && facts.st_size != BUFFER; i++) {
        tare_save_tensor tensor = tensor_of(&size);
        tare_save_options options = TARE_SAVE_OPTIONS_INIT;
        options.flags = TARE_SAVE_REPLACE;
        os_faults_reset();
        cr_assert_eq(tare_save(target.text, &tensor, 1, &options, NULL), TARE_OK);
        cr_assert_eq(stat(target.text, &facts), 0);
        size = (uint64_t)((int64_t)size + BUFFER - facts.st_size);
    }
    cr_assert_eq(facts.st_size, BUFFER);
    cr_expect_eq(os_fault.calls[OS_WRITE], 1, "no write of nothing");
    tare_model *model = expect_open_path("a mebibyte", target.text, TARE_BACKING_READ);
    expect_bytes("a mebibyte", model, tare_find(model, "big", 3), bytes, (size_t)size);
    tare_close(model);
}

/* What comes behind a write that failed is not written. */
Test(save_buffer, a_header_that_cannot_be_written_is_given_up)
{
    static char text[2 * BUFFER];
    static const uint64_t three = 3;
    const tare_save_tensor tensor = tensor_of(&three);
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    memset(text, 'x', sizeof text);
    const tare_save_metadata long_text = {{"key", 3}, {text, sizeof text}};
    options.flags = TARE_SAVE_REPLACE;
    options.metadata = &long_text;
    options.metadata_count = 1;
    for (size_t at = 1; at < 3; at++) {
        tare_error error = expect_poison();
        os_faults_reset();
        os_fault.fail_at[OS_WRITE] = at;
        os_fault.error = ENOSPC;
        tare_status status = tare_save(target.text, &tensor, 1, &options, &error);
        expect_status("header", TARE_E_WRITE, status, NULL, &error);
        cr_expect_eq(error.system_error, ENOSPC);
        cr_expect_eq(os_fault.calls[OS_WRITE], at);
        cr_expect_eq(temp_entry_count(&folder), 1, "nothing was made");
    }
}

static tare_model *open_many(void)
{
    enum { COUNT = 40000 };
    build_tensor *tensors = calloc(COUNT, sizeof *tensors);
    char(*names)[24] = calloc(COUNT, sizeof *names);
    cr_assert(tensors != NULL && names != NULL);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "tensor number %zu", i);
        tensors[i] = (build_tensor){names[i], 0, "U8", "[0]", 0};
    }
    temp_path path =
        temp_write_built(&folder, "many.safetensors", build_file(tensors, COUNT, NULL));
    free(tensors);
    free(names);
    return expect_open_path("many", path.text, TARE_BACKING_READ);
}

Test(save_buffer, an_index_that_cannot_be_written_is_given_up)
{
    tare_model *model = open_many();
    size_t entries = temp_entry_count(&folder), writes = 0;
    for (size_t at = 1; writes + 1 >= at; at++) {
        tare_error error = expect_poison();
        os_faults_reset();
        os_fault.fail_at[OS_WRITE] = at;
        os_fault.error = EIO;
        tare_status status = tare_index_save(model, NULL, NULL, &error);
        writes = os_fault.calls[OS_WRITE];
        if (writes < at) {
            cr_expect_gt(at, 2, "it is so small that one write is all");
            cr_expect_eq(status, TARE_OK, "%s", error.message);
            break;
        }
        expect_status("index", TARE_E_WRITE, status, NULL, &error);
        cr_expect_eq(writes, at, "nothing more is written");
        cr_expect_eq(temp_entry_count(&folder), entries);
    }
    tare_close(model);
}

static void check_not_replaced(int call)
{
    static const build_tensor one = {"a", 0, "U8", "[3]", 3};
    temp_path source = temp_write_built(&folder, "one.safetensors", build_file(&one, 1, NULL));
    tare_model *model = expect_open_path("source", source.text, TARE_BACKING_READ);
    cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
    bool kept = false;
    for (size_t at = 1;; at++) {
        tare_error error = expect_poison();
        os_faults_reset();
        os_fault.fail_at[call] = at;
        os_fault.fail_count = 1;
        os_fault.error = EIO;
        tare_status status = tare_index_save(model, NULL, NULL, &error);
        if (os_fault.failed == 0) {
            cr_expect_eq(status, TARE_OK, "%s", error.message);
            break;
        }
        cr_expect(status == TARE_E_READ || status == TARE_E_OPEN || status == TARE_E_WRITE ||
                      status == TARE_E_EXISTS,
                  "%zu: %s", at, error.message);
        kept = kept || status == TARE_E_EXISTS;
        os_faults_reset();
        cr_expect_eq(tare_index_check(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    }
    cr_expect(kept);
    tare_close(model);
}

/* What cannot be opened or read is taken for something else than an index file, and stays. */
Test(save_buffer, what_cannot_be_read_is_not_replaced)
{
    check_not_replaced(OS_PREAD);
    check_not_replaced(OS_OPEN);
}
