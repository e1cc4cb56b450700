#include <errno.h>
#include <string.h>

#include "error.h"
#include "source.h"
#include "support/expect.h"
#include "support/process_probe.h"
#include "support/temp_files.h"

static temp_path folder, path;

static void make_file(void)
{
    folder = temp_folder_make();
    path = temp_write(&folder, "f.safetensors", "0123456789", 10);
}

static void remove_file(void)
{
    temp_folder_remove(&folder);
}

TestSuite(source_file, .init = make_file, .fini = remove_file);

Test(source_file, reads_at_any_offset_and_nothing_of_no_bytes)
{
    tarei_source source;
    tare_error error = expect_poison();
    char target[10];
    cr_assert_eq(tarei_source_file_open(&source, TAREI_OS_CWD, path.text, 0, &error), TARE_OK);
    cr_expect_eq(source.size, 10);
    cr_expect_null(source.bytes);
    for (uint64_t offset = 0; offset <= 10; offset++)
        for (size_t size = 0; size <= 10 - offset; size++) {
            memset(target, 0, sizeof target);
            cr_assert_eq(tarei_source_read(&source, 0, offset, target, size, &error), TARE_OK);
            cr_expect_arr_eq(target, &"0123456789"[offset], size, "%zu bytes", size);
        }
    tarei_source_close(&source);
}

Test(source_file, that_is_missing_tells_path_shard_and_errno)
{
    tarei_source source;
    tare_error error = expect_poison();
    temp_path missing = temp_join(&folder, "missing");
    cr_expect_eq(tarei_source_file_open(&source, TAREI_OS_CWD, missing.text, 7, &error),
                 TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOENT);
    cr_expect_eq(error.shard, 7);
    expect_message("missing", "missing", &error);
    tarei_source_close(&source);
}

Test(source_file, that_shrank_has_changed)
{
    tarei_source source;
    tare_error error = expect_poison();
    char target[10];
    cr_assert_eq(tarei_source_file_open(&source, TAREI_OS_CWD, path.text, 0, &error), TARE_OK);
    temp_write(&folder, "f.safetensors", "01234", 5);
    cr_expect_eq(tarei_source_read(&source, 3, 2, target, 8, &error), TARE_E_CHANGED);
    cr_expect_eq(error.shard, 3);
    cr_expect_eq(error.offset, 2);
    cr_expect_eq(error.system_error, 0);
    cr_expect_eq(tarei_source_read(&source, 3, 9, target, 1, &error), TARE_E_CHANGED);
    cr_expect_eq(tarei_source_read(&source, 3, 0, target, 5, &error), TARE_OK);
    tarei_source_close(&source);
}

Test(source_file, may_be_closed_twice_and_before_it_is_open)
{
    size_t before = probe_descriptor_count();
    tarei_source source;
    tare_error error;
    tarei_source_init(&source);
    tarei_source_close(&source);
    cr_assert_eq(tarei_source_file_open(&source, TAREI_OS_CWD, path.text, 0, &error), TARE_OK);
    cr_expect_eq(probe_descriptor_count(), before + 1);
    tarei_source_close(&source);
    tarei_source_close(&source);
    cr_expect_eq(probe_descriptor_count(), before);
}
