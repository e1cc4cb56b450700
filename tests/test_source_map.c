#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "source.h"
#include "support/expect.h"
#include "support/process_probe.h"
#include "support/temp_files.h"

static temp_path folder, path;
static tarei_source source;
static tare_error error;

static void open_file(void)
{
    folder = temp_folder_make();
    path = temp_write(&folder, "f.safetensors", "0123456789", 10);
    error = expect_poison();
    cr_assert_eq(tarei_source_file_open(&source, TAREI_OS_CWD, path.text, 0, &error), TARE_OK);
}

static void remove_file(void)
{
    tarei_source_close(&source);
    cr_expect_eq(probe_mapping_count(folder.text), 0);
    temp_folder_remove(&folder);
}

TestSuite(source_map, .init = open_file, .fini = remove_file);

Test(source_map, two_files_are_the_same_if_all_that_is_known_of_them_is_but_the_mode)
{
    const tarei_os_identity one = {1, 2, 3, 4, 5, 6};
    tarei_os_identity others[5] = {one, one, one, one, one};
    others[0].size++;
    others[1].device++;
    others[2].number++;
    others[3].modified_s++;
    others[4].modified_ns++;
    cr_expect(tarei_source_same(&one, &one));
    tarei_os_identity of_another_mode = one;
    of_another_mode.mode++;
    cr_expect(tarei_source_same(&one, &of_another_mode));
    for (size_t i = 0; i < 5; i++) cr_expect(!tarei_source_same(&one, &others[i]), "%zu", i);
}

Test(source_map, holds_the_bytes_of_the_file)
{
    cr_assert_eq(tarei_source_map(&source, path.text, 0, &error), TARE_OK);
    cr_expect_arr_eq(source.bytes, "0123456789", 10);
    cr_expect_eq(probe_mapping_count(path.text), 1);
}

Test(source_map, reads_from_the_file_and_not_from_the_mapping)
{
    char target[10];
    cr_assert_eq(tarei_source_map(&source, path.text, 0, &error), TARE_OK);
    temp_write(&folder, "f.safetensors", "01234", 5);
    cr_expect_eq(tarei_source_read(&source, 0, 0, target, 10, &error), TARE_E_CHANGED,
                 "and no signal");
}

static void check_changed(const char *what)
{
    cr_expect_eq(tarei_source_map(&source, path.text, 4, &error), TARE_E_CHANGED, "%s", what);
    cr_expect_eq(error.shard, 4, "%s", what);
    cr_expect_null(source.bytes, "%s", what);
    cr_expect_eq(probe_mapping_count(folder.text), 0, "%s", what);
}

Test(source_map, of_a_file_that_grew_is_refused)
{
    temp_write(&folder, "f.safetensors", "0123456789ab", 12);
    check_changed("grown");
}

Test(source_map, of_a_file_that_shrank_is_refused)
{
    temp_write(&folder, "f.safetensors", "012345678", 9);
    check_changed("shrunk");
}

Test(source_map, of_a_file_that_was_written_is_refused)
{
    struct timespec times[2] = {{0, UTIME_OMIT}, {1, 2}};
    cr_assert_eq(utimensat(AT_FDCWD, path.text, times, 0), 0);
    check_changed("another time");
}

Test(source_map, of_a_file_that_was_replaced_by_name_stays_the_old_one)
{
    temp_path other = temp_write(&folder, "other", "abcdefghij", 10);
    cr_assert_eq(rename(other.text, path.text), 0);
    cr_assert_eq(tarei_source_map(&source, path.text, 0, &error), TARE_OK);
    cr_expect_arr_eq(source.bytes, "0123456789", 10);
}

Test(source_map, beyond_the_address_space_is_refused_and_the_file_still_read)
{
    char target[2];
    source.size = UINT64_C(1) << 62;
    cr_expect_eq(tarei_source_map(&source, path.text, 2, &error), TARE_E_MAP);
    cr_expect_neq(error.system_error, 0);
    cr_expect_eq(error.shard, 2);
    cr_expect_null(source.bytes);
    cr_expect_eq(tarei_source_read(&source, 0, 1, target, 2, &error), TARE_OK);
    cr_expect_arr_eq(target, "12", 2);
}
