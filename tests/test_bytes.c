#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

/* Tensors whose places are aligned to everything from 1 byte on. */
static const build_tensor tensors[] = {
    {"one", 0, "U8", "[1]", 1},        {"odd", 0, "F32", "[2]", 8},
    {"empty", 0, "F64", "[0,3]", 0},   {"half", 0, "F4", "[2,3]", 3},
    {"scalar", 0, "F64", "[]", 8},     {"big", 0, "U8", "[70000]", 70000},
    {"last empty", 0, "I8", "[0]", 0},
};

enum { COUNT = sizeof tensors / sizeof tensors[0] };

static temp_path folder, path;
static build_text file;

static void make_file(void)
{
    folder = temp_folder_make();
    file = build_file(tensors, COUNT, NULL);
    path = temp_write_text(&folder, "model.safetensors", &file);
}

static void remove_file(void)
{
    temp_folder_remove(&folder);
    build_free(&file);
}

TestSuite(bytes, .init = make_file, .fini = remove_file);

static tare_model *open_path(uint32_t backing)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.backing = backing;
    tare_status status = tare_open(path.text, &options, &model, &error);
    expect_opened("file", status, model, &error);
    return model;
}

static void check_all(const char *what, const tare_model *model)
{
    size_t at = file.size - 70020;
    cr_assert_eq(tare_count(model), COUNT, "%s", what);
    for (size_t i = 0; i < COUNT; i++) {
        const tare_tensor *tensor = tare_find(model, tensors[i].name, strlen(tensors[i].name));
        cr_assert_eq(tensor, tare_at(model, i), "%s: %s", what, tensors[i].name);
        cr_expect_eq(tare_offset(model, tensor), at, "%s: %s", what, tensors[i].name);
        expect_bytes(what, model, tensor, file.data + at, tensors[i].size);
        at += tensors[i].size;
    }
}

Test(bytes, are_the_same_with_every_backing)
{
    static const uint32_t backings[] = {TARE_BACKING_AUTO, TARE_BACKING_MAP, TARE_BACKING_READ};
    for (size_t i = 0; i < 3; i++) {
        tare_model *model = open_path(backings[i]);
        check_all("backing", model);
        tare_close(model);
    }
}

Test(bytes, in_memory_are_those_of_the_caller)
{
    tare_model *model = expect_open_bytes("memory", &file);
    check_all("memory", model);
    for (size_t i = 0; i < COUNT; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        cr_expect_eq((const char *)tare_data(model, tensor), file.data + tare_offset(model, tensor),
                     "%s", tensors[i].name);
    }
    tare_close(model);
}

Test(bytes, in_memory_say_so)
{
    tare_model *model = expect_open_bytes("memory", &file);
    tare_shard_info shard = tare_shard_at(model, 0);
    cr_expect_eq(shard.backing, TARE_BACKING_MEMORY);
    cr_expect_eq(shard.size, file.size);
    cr_expect_eq(shard.data_offset, file.size - 70020);
    cr_expect_str_eq(shard.name.data, "");
    cr_expect_null(tare_shard_at(model, 1).name.data);
    tare_close(model);
}

Test(bytes, in_memory_need_no_alignment)
{
    char *room = malloc(file.size + 16);
    for (size_t shift = 0; shift < 16; shift++) {
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        memcpy(room + shift, file.data, file.size);
        tare_status status = tare_open_bytes(room + shift, file.size, NULL, &model, &error);
        expect_opened("shifted", status, model, &error);
        check_all("shifted", model);
        tare_close(model);
    }
    free(room);
}

Test(bytes, are_not_in_memory_when_they_are_read)
{
    tare_model *model = open_path(TARE_BACKING_READ);
    for (size_t i = 0; i < COUNT; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        cr_expect_eq(tare_data(model, tensor) == NULL, tensors[i].size != 0, "%s", tensors[i].name);
        cr_expect_eq(tare_alignment(model, tensor) == 0, tensors[i].size != 0);
    }
    tare_close(model);
}

Test(bytes, of_a_reader_are_fetched_one_tensor_at_a_time)
{
    static const size_t pieces[] = {0, 1, 7, 4096};
    for (size_t p = 0; p < 4; p++) {
        reader_probe probe;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        reader_probe_init(&probe, file.data, file.size, pieces[p]);
        tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
        expect_opened("reader", status, model, &error);
        for (size_t i = 0; i < COUNT; i++) {
            const tare_tensor *tensor = tare_at(model, i);
            uint64_t offset = tare_offset(model, tensor);
            reader_probe_reset(&probe);
            expect_bytes("reader", model, tensor, file.data + offset, tensors[i].size);
            if (tensors[i].size == 0) {
                cr_expect_eq(probe.calls, 0, "%s: read nothing", tensors[i].name);
                continue;
            }
            cr_expect_eq(probe.lowest, offset, "%s", tensors[i].name);
            cr_expect_eq(probe.end, offset + tensors[i].size, "%s", tensors[i].name);
            cr_expect_eq(probe.given, tensors[i].size, "%s", tensors[i].name);
            cr_expect_eq(probe.mistakes, 0);
        }
        tare_close(model);
    }
}

Test(bytes, read_wants_a_target_of_exactly_the_size)
{
    char target[16];
    tare_model *model = open_path(TARE_BACKING_AUTO);
    const tare_tensor *tensor = tare_find(model, "odd", 3);
    static const size_t sizes[] = {0, 1, 7, 9, 16, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        tare_error error = expect_poison();
        tare_status status = tare_read(model, tensor, target, sizes[i], &error);
        expect_refused("another size", TARE_E_TARGET_SIZE, tare_offset(model, tensor), status, NULL,
                       &error);
        expect_message("another size", "'odd'", &error);
        cr_expect_eq(error.shard, 0);
    }
    tare_error error = expect_poison();
    tare_status status = tare_read(model, tensor, NULL, 8, &error);
    expect_status("no target", TARE_E_ARGUMENT, status, NULL, &error);
    status = tare_read(model, tare_find(model, "empty", 5), target, 1, &error);
    expect_status("a byte of none", TARE_E_TARGET_SIZE, status, NULL, &error);
    cr_expect_eq(tare_read(model, tare_find(model, "empty", 5), target, 0, &error), TARE_OK);
    cr_expect_eq(tare_read(model, tensor, target, 7, NULL), TARE_E_TARGET_SIZE, "without an error");
    cr_expect_eq(tare_read(model, tensor, target, 8, NULL), TARE_OK, "without an error");
    tare_close(model);
}

Test(bytes, read_writes_the_target_and_nothing_beside_it)
{
    tare_model *model = open_path(TARE_BACKING_READ);
    const tare_tensor *tensor = tare_find(model, "odd", 3);
    char target[24];
    memset(target, 'x', sizeof target);
    cr_assert_eq(tare_read(model, tensor, target + 8, 8, NULL), TARE_OK);
    cr_expect_arr_eq(target, "xxxxxxxx", 8);
    cr_expect_arr_eq(target + 16, "xxxxxxxx", 8);
    cr_expect_arr_eq(target + 8, file.data + tare_offset(model, tensor), 8);
    tare_close(model);
}

static void check_parts(const tare_model *model)
{
    const tare_tensor *tensor = tare_find(model, "odd", 3);
    const char *bytes = file.data + tare_offset(model, tensor);
    for (uint64_t begin = 0; begin <= 9; begin++)
        for (size_t size = 0; size <= 10; size++) {
            tare_error error = expect_poison();
            char *target = malloc(size ? size : 1);
            tare_status status = tare_read_at(model, tensor, begin, target, size, &error);
            if (begin + size <= 8) {
                cr_expect_eq(status, TARE_OK, "%zu from %zu", size, (size_t)begin);
                cr_expect_eq(error.status, TARE_OK);
                cr_expect_arr_eq(target, bytes + begin, size, "%zu from %zu", size, (size_t)begin);
            } else {
                expect_status("beyond", TARE_E_TARGET_SIZE, status, NULL, &error);
                expect_message("beyond", "'odd'", &error);
            }
            free(target);
        }
    static const uint64_t beyond[] = {9, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63};
    for (size_t i = 0; i < 4; i++) {
        char target[8];
        tare_error error = expect_poison();
        tare_status status = tare_read_at(model, tensor, beyond[i], target, 8, &error);
        expect_status("far beyond", TARE_E_TARGET_SIZE, status, NULL, &error);
        cr_expect_eq(tare_read_at(model, tensor, beyond[i], NULL, 0, NULL), TARE_E_TARGET_SIZE);
    }
    cr_expect_eq(tare_read_at(model, tensor, 8, NULL, 0, NULL), TARE_OK);
    cr_expect_eq(tare_read_at(model, tensor, 0, NULL, 1, NULL), TARE_E_ARGUMENT);
}

Test(bytes, read_at_gives_any_part_of_a_tensor)
{
    reader_probe probe;
    tare_model *model = expect_open_bytes("memory", &file);
    check_parts(model);
    tare_close(model);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++) {
        model = open_path(backing);
        check_parts(model);
        tare_close(model);
    }
    reader_probe_init(&probe, file.data, file.size, 3);
    cr_assert_eq(tare_open_reader(&probe.reader, NULL, &model, NULL), TARE_OK);
    check_parts(model);
    cr_expect_eq(probe.mistakes, 0);
    tare_close(model);
}

Test(bytes, are_had_by_part_where_they_are_in_memory)
{
    const tare_options *mapped = NULL;
    tare_model *model = expect_open_bytes("memory", &file);
    for (int way = 0; way < 2; way++) {
        for (size_t i = 0; i < COUNT; i++) {
            const tare_tensor *tensor = tare_at(model, i);
            const size_t size = (size_t)tare_size(model, tensor);
            const char *data = tare_data(model, tensor);
            cr_expect_null(tare_data_at(model, tensor, 0, size + 1));
            cr_expect_null(tare_data_at(model, tensor, size + 1, 0));
            cr_expect_null(tare_data_at(model, tensor, UINT64_MAX, 1));
            cr_expect_null(tare_data_at(model, tensor, 1, SIZE_MAX));
            cr_expect_not_null(tare_data_at(model, tensor, 0, size));
            if (size != 0) cr_expect_null(tare_data_at(model, tensor, 1, size));
            if (size == 0) continue; /* what is not NULL is not to be read */
            cr_expect_eq(tare_data_at(model, tensor, 0, size), data);
            cr_expect_eq(tare_data_at(model, tensor, 0, 0), data);
            cr_expect_eq(tare_data_at(model, tensor, size, 0), data + size);
            cr_expect_eq(tare_data_at(model, tensor, size / 2, size - size / 2), data + size / 2);
        }
        tare_close(model);
        cr_assert_eq(tare_open(path.text, mapped, &model, NULL), TARE_OK);
    }
    tare_close(model);
    model = open_path(TARE_BACKING_READ);
    cr_expect_null(tare_data_at(model, tare_at(model, 0), 0, 1));
    tare_close(model);
}

Test(bytes, alignment_is_the_largest_power_of_two_up_to_2_mib)
{
    enum { MIB = 1 << 20 };
    char *room = aligned_alloc(4 * MIB, 8 * MIB);
    cr_assert_not_null(room);
    static const size_t places[] = {0, 1, 2, 3, 4, 6, 8, 64, 96, 4096, MIB, 2 * MIB, 3 * MIB};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        build_tensor one = {"t", 0, "U8", "[1]", 1};
        build_text text = build_file(&one, 1, NULL);
        /* The data comes to stand at 4 MiB + places[i]. */
        char *start = room + 4 * MIB + places[i] - (text.size - 1);
        memcpy(start, text.data, text.size);
        tare_model *model = expect_no_model();
        cr_assert_eq(tare_open_bytes(start, text.size, NULL, &model, NULL), TARE_OK);
        size_t wanted = places[i] == 0 ? 2 * MIB : places[i] & (~places[i] + 1);
        cr_expect_eq(tare_alignment(model, tare_at(model, 0)), wanted, "%zu: %zu", places[i],
                     tare_alignment(model, tare_at(model, 0)));
        tare_close(model);
        build_free(&text);
    }
    free(room);
}

Test(bytes, of_a_file_that_shrank_are_an_error_when_read)
{
    static const uint32_t backings[] = {TARE_BACKING_MAP, TARE_BACKING_READ};
    for (size_t i = 0; i < 2; i++) {
        temp_write_text(&folder, "model.safetensors", &file);
        tare_model *model = open_path(backings[i]);
        temp_write(&folder, "model.safetensors", file.data, file.size - 60000);
        char *target = malloc(70000);
        tare_error error = expect_poison();
        const tare_tensor *big = tare_find(model, "big", 3);
        tare_status status = tare_read(model, big, target, 70000, &error);
        expect_refused("a file that shrank", TARE_E_CHANGED, tare_offset(model, big), status, NULL,
                       &error);
        expect_message("a file that shrank", "'big'", &error);
        cr_expect_eq(error.shard, 0);
        const tare_tensor *odd = tare_find(model, "odd", 3);
        cr_expect_eq(tare_read(model, odd, target, 8, &error), TARE_OK, "what is left can be read");
        free(target);
        tare_close(model);
    }
}

Test(bytes, of_a_reader_that_fails_are_an_error)
{
    static const struct {
        int64_t answer;
        tare_status status;
        int system_error;
    } rows[] = {{0, TARE_E_CHANGED, 0}, {-5, TARE_E_READ, 5}, {-113, TARE_E_READ, 113}};
    for (size_t i = 0; i < 3; i++) {
        reader_probe probe;
        tare_model *model = expect_no_model();
        char target[8];
        reader_probe_init(&probe, file.data, file.size, 3);
        cr_assert_eq(tare_open_reader(&probe.reader, NULL, &model, NULL), TARE_OK);
        reader_probe_reset(&probe);
        probe.answer_at = 2; /* of three */
        probe.answer = rows[i].answer;
        tare_error error = expect_poison();
        const tare_tensor *odd = tare_find(model, "odd", 3);
        tare_status status = tare_read(model, odd, target, 8, &error);
        expect_refused("a reader that fails", rows[i].status, tare_offset(model, odd), status, NULL,
                       &error);
        cr_expect_eq(error.system_error, rows[i].system_error);
        probe.answer_at = 0;
        cr_expect_eq(tare_read(model, odd, target, 8, &error), TARE_OK, "and later does not");
        cr_expect_eq(error.status, TARE_OK);
        tare_close(model);
    }
}
