/* The ways into a model: arguments, options, and what opening reads. Paths: test_shards.c. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/process_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};

static temp_path folder, path;
static build_text file;

static void make_file(void)
{
    folder = temp_folder_make();
    file = build_file(two, 2, "{\"format\":\"pt\"}");
    path = temp_write_text(&folder, "model.safetensors", &file);
}

static void remove_file(void)
{
    temp_folder_remove(&folder);
    build_free(&file);
}

TestSuite(open, .init = make_file, .fini = remove_file);

/* One call of each public function that opens. */
enum { WAY_COUNT = 4 };

static tare_status open_way(unsigned way, const tare_options *options, tare_model **model,
                            tare_error *error)
{
    static const tare_pair pair = {"a", 1, "x", 1};
    static reader_probe probe;
    *model = expect_no_model();
    *error = expect_poison();
    switch (way) {
    case 0: return tare_open(path.text, options, model, error);
    case 1: return tare_open_bytes(file.data, file.size, options, model, error);
    case 2: return tare_open_pairs(&pair, 1, options, model, error);
    default:
        reader_probe_init(&probe, file.data, file.size, 0);
        return tare_open_reader(&probe.reader, options, model, error);
    }
}

static void check_options(const char *what, const tare_options *options, tare_status wanted)
{
    for (unsigned way = 0; way < WAY_COUNT; way++) {
        tare_model *model;
        tare_error error;
        tare_status status = open_way(way, options, &model, &error);
        if (wanted == TARE_OK)
            expect_opened(what, status, model, &error);
        else
            expect_refused(what, wanted, TARE_NO_OFFSET, status, model, &error);
        if (status == TARE_OK) tare_close(model);
    }
}

Test(open, close_takes_null)
{
    tare_close(NULL);
    cr_expect(true);
}

Test(open, options_may_be_null_or_all_default)
{
    tare_options options = TARE_OPTIONS_INIT;
    check_options("NULL", NULL, TARE_OK);
    check_options("defaults", &options, TARE_OK);
}

Test(open, options_of_every_size_are_taken)
{
    tare_options options = TARE_OPTIONS_INIT;
    for (size_t size = sizeof options.struct_size; size <= sizeof options; size++) {
        void *exact = temp_copy(&options, size); /* AddressSanitizer sees a read beyond */
        memcpy(exact, &size, sizeof size);
        check_options("a shorter struct", exact, TARE_OK);
        free(exact);
    }
    for (size_t size = 0; size < sizeof options.struct_size; size++) {
        options.struct_size = size;
        check_options("no struct_size", &options, TARE_E_ARGUMENT);
    }
}

Test(open, options_beyond_their_size_are_not_looked_at)
{
    tare_options options;
    memset(&options, 0xFF, sizeof options);
    options.struct_size = sizeof options.struct_size;
    check_options("rubbish behind the size", &options, TARE_OK);
}

Test(open, options_of_a_later_version_must_be_zero)
{
    struct {
        tare_options options;
        unsigned char later[64];
    } longer = {.options = TARE_OPTIONS_INIT};
    for (size_t more = 1; more <= sizeof longer.later; more++) {
        longer.options.struct_size = sizeof longer.options + more;
        check_options("zero tail", &longer.options, TARE_OK);
        longer.later[more - 1] = 1;
        check_options("a tail that is not zero", &longer.options, TARE_E_ARGUMENT);
        longer.later[more - 1] = 0;
    }
}

Test(open, options_with_unknown_values_are_refused)
{
    static const uint32_t backings[] = {3, 4, 255, UINT32_MAX};
    static const uint32_t flags[] = {8, 16, 9, UINT32_MAX, UINT32_C(1) << 31};
    for (size_t i = 0; i < sizeof backings / sizeof backings[0]; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        options.backing = backings[i];
        check_options("backing", &options, TARE_E_ARGUMENT);
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        options.flags = flags[i];
        check_options("flags", &options, TARE_E_ARGUMENT);
    }
}

Test(open, options_that_ask_for_larger_headers_have_a_limit)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.header_size_max = 0x7FFFFFFF;
    check_options("2^31-1", &options, TARE_OK);
    options.header_size_max++;
    check_options("2^31", &options, TARE_E_ARGUMENT);
    options.header_size_max = UINT64_MAX;
    check_options("2^64-1", &options, TARE_E_ARGUMENT);
}

Test(open, allocators_that_lack_something_are_refused)
{
    alloc_probe *probe = calloc(1, sizeof *probe);
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &probe->hooks;
    alloc_probe_init(probe);
    check_options("whole", &options, TARE_OK);
    probe->hooks.allocate = NULL;
    check_options("no allocate", &options, TARE_E_ARGUMENT);
    alloc_probe_init(probe);
    probe->hooks.release = NULL;
    check_options("no release", &options, TARE_E_ARGUMENT);
    alloc_probe_init(probe);
    probe->hooks.struct_size = 8;
    check_options("short", &options, TARE_E_ARGUMENT);
    free(probe);
}

Test(open, allocators_are_copied)
{
    static alloc_probe probe;
    tare_allocator *hooks = malloc(sizeof *hooks);
    tare_options options = TARE_OPTIONS_INIT;
    alloc_probe_init(&probe);
    *hooks = probe.hooks;
    options.allocator = hooks;
    tare_model *model;
    tare_error error;
    tare_status status = open_way(0, &options, &model, &error);
    memset(hooks, 0, sizeof *hooks);
    free(hooks);
    expect_opened("copied", status, model, &error);
    cr_expect_gt(probe.block_count, 0);
    tare_close(model);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
}

Test(open, arguments_that_are_missing_are_refused)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(NULL, NULL, &model, &error);
    expect_refused("no path", TARE_E_ARGUMENT, TARE_NO_OFFSET, status, model, &error);
    model = expect_no_model();
    status = tare_open_bytes(NULL, 8, NULL, &model, &error);
    expect_refused("no bytes", TARE_E_ARGUMENT, TARE_NO_OFFSET, status, model, &error);
    model = expect_no_model();
    status = tare_open_bytes(NULL, 0, NULL, &model, &error);
    expect_refused("no bytes of no size", TARE_E_TRUNCATED, 0, status, model, &error);
    model = expect_no_model();
    status = tare_open_reader(NULL, NULL, &model, &error);
    expect_refused("no reader", TARE_E_ARGUMENT, TARE_NO_OFFSET, status, model, &error);
    reader_probe probe;
    reader_probe_init(&probe, file.data, file.size, 0);
    probe.reader.read_at = NULL;
    model = expect_no_model();
    status = tare_open_reader(&probe.reader, NULL, &model, &error);
    expect_refused("no read_at", TARE_E_ARGUMENT, TARE_NO_OFFSET, status, model, &error);
    reader_probe_init(&probe, file.data, file.size, 0);
    probe.reader.struct_size = 0;
    model = expect_no_model();
    status = tare_open_reader(&probe.reader, NULL, &model, &error);
    expect_refused("no struct_size", TARE_E_ARGUMENT, TARE_NO_OFFSET, status, model, &error);
}

Test(open, without_an_output_it_is_an_error)
{
    tare_error error = expect_poison();
    tare_pair pair = {"a", 1, "x", 1};
    reader_probe probe;
    reader_probe_init(&probe, file.data, file.size, 0);
    cr_expect_eq(tare_open(path.text, NULL, NULL, &error), TARE_E_ARGUMENT);
    cr_expect_eq(error.status, TARE_E_ARGUMENT);
    cr_expect_eq(tare_open_bytes(file.data, file.size, NULL, NULL, &error), TARE_E_ARGUMENT);
    cr_expect_eq(tare_open_pairs(&pair, 1, NULL, NULL, &error), TARE_E_ARGUMENT);
    cr_expect_eq(tare_open_reader(&probe.reader, NULL, NULL, &error), TARE_E_ARGUMENT);
    cr_expect_eq(tare_open(path.text, NULL, NULL, NULL), TARE_E_ARGUMENT);
}

Test(open, works_without_an_error_to_write)
{
    tare_model *model = NULL;
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    tare_close(model);
    model = expect_no_model();
    cr_expect_eq(tare_open("/no/such/file.safetensors", NULL, &model, NULL), TARE_E_OPEN);
    cr_expect_null(model);
    cr_expect_eq(tare_open_bytes("x", 1, NULL, &model, NULL), TARE_E_TRUNCATED);
}

Test(open, writes_all_of_the_error_also_on_success)
{
    for (unsigned way = 0; way < WAY_COUNT; way++) {
        tare_model *model;
        tare_error error;
        tare_status status = open_way(way, NULL, &model, &error);
        expect_opened("written", status, model, &error);
        cr_expect_eq(error.reserved, 0);
        for (size_t i = 0; i < sizeof error.message; i++)
            cr_assert_eq(error.message[i], 0, "byte %zu of the message", i);
        tare_close(model);
    }
}

Test(open, a_reader_is_asked_for_the_header_only)
{
    static const size_t pieces[] = {0, 1, 5};
    for (size_t i = 0; i < 3; i++) {
        reader_probe probe;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        reader_probe_init(&probe, file.data, file.size, pieces[i]);
        tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
        expect_opened("reader", status, model, &error);
        cr_expect_eq(probe.lowest, 0);
        cr_expect_eq(probe.end, file.size - 19, "up to %zu", (size_t)probe.end);
        cr_expect_eq(probe.given, file.size - 19, "no byte twice");
        cr_expect_eq(probe.mistakes, 0);
        tare_shard_info shard = tare_shard_at(model, 0);
        cr_expect_eq(shard.size, file.size);
        cr_expect_eq(shard.data_offset, file.size - 19);
        cr_expect_eq(shard.backing, TARE_BACKING_READ);
        cr_expect_str_eq(shard.name.data, "");
        size_t calls = probe.calls;
        tare_find(model, "a", 1);
        cr_expect_eq(probe.calls, calls, "finding reads");
        tare_close(model);
    }
}

Test(open, a_reader_of_more_than_64_tib_is_beyond_the_limit)
{
    static const uint64_t sizes[] = {(UINT64_C(1) << 46) - 1, UINT64_C(1) << 46, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        reader_probe probe;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        reader_probe_init(&probe, file.data, file.size, 0);
        probe.reader.total_size = sizes[i];
        tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
        /* Below the limit there are just too many bytes. */
        expect_status("large", i == 0 ? TARE_E_COVER : TARE_E_LIMIT, status, model, &error);
        cr_expect_eq(error.shard, 0);
        cr_expect_leq(probe.end, file.size - 19, "asked for data");
    }
}

Test(open, a_reader_that_fails_while_opening_is_an_error)
{
    static const struct {
        int64_t answer;
        tare_status status;
        int system_error;
    } rows[] = {
        {0, TARE_E_CHANGED, 0},
        {-EIO, TARE_E_READ, EIO},
        {-ETIMEDOUT, TARE_E_READ, ETIMEDOUT},
        {INT64_MIN, TARE_E_READ, EIO},
        {INT64_MAX, TARE_E_READ, EIO},
        {1 << 20, TARE_E_READ, EIO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t at = 1; at <= 4; at++) {
            reader_probe probe;
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            reader_probe_init(&probe, file.data, file.size, 6);
            probe.answer_at = at;
            probe.answer = rows[i].answer;
            tare_status status = tare_open_reader(&probe.reader, NULL, &model, &error);
            expect_status("a reader that fails", rows[i].status, status, model, &error);
            cr_expect_eq(error.system_error, rows[i].system_error, "answer %zu", i);
            cr_expect_eq(error.shard, 0);
            cr_expect_eq(error.offset, at <= 2 ? 0 : 8, "call %zu", at);
        }
}

/* A file of 3 GiB that takes no room on the disk: a hole, which reads as zero bytes. */
static temp_path make_sparse(void)
{
    static const char header[] = "{\"t\":{\"dtype\":\"U8\",\"shape\":[3221225472],"
                                 "\"data_offsets\":[0,3221225472]}}";
    build_text text = build_raw(header, sizeof header - 1, 0);
    temp_path sparse = temp_write_text(&folder, "sparse.safetensors", &text);
    cr_assert_eq(truncate(sparse.text, (off_t)text.size + 3221225472), 0);
    build_free(&text);
    return sparse;
}

static void check_sparse(uint32_t backing)
{
    temp_path sparse = make_sparse();
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.backing = backing;
    uint64_t read_before = probe_read_size(), resident_before = probe_resident_size();
    uint64_t own = probe_read_size() - read_before; /* what asking reads */
    read_before = probe_read_size();
    tare_status status = tare_open(sparse.text, &options, &model, &error);
    uint64_t read_size = probe_read_size() - read_before - own;
    expect_opened("3 GiB", status, model, &error);
    cr_expect_leq(read_size, 4096, "%zu bytes read", (size_t)read_size);
    cr_expect_leq(probe_resident_size() - resident_before, 16 << 20);
    cr_expect_eq(probe_mapping_count(sparse.text), backing == TARE_BACKING_MAP);
    cr_expect_eq(probe_mapping_resident(sparse.text), 0, "mapped bytes were touched");
    cr_expect_eq(tare_size(model, tare_at(model, 0)), 3221225472);
    tare_close(model);
    cr_expect_eq(probe_mapping_count(sparse.text), 0);
}

Test(open, touches_no_byte_of_the_data_of_a_mapped_file)
{
    check_sparse(TARE_BACKING_MAP);
}

Test(open, touches_no_byte_of_the_data_of_a_file_that_is_read)
{
    check_sparse(TARE_BACKING_READ);
}

Test(open, the_page_beyond_3_gib_is_where_it_should_be)
{
    temp_path sparse = make_sparse();
    int descriptor = open(sparse.text, O_WRONLY);
    struct stat facts;
    cr_assert_eq(fstat(descriptor, &facts), 0);
    cr_assert_eq(pwrite(descriptor, "end", 3, facts.st_size - 3), 3);
    close(descriptor);
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(sparse.text, NULL, &model, NULL), TARE_OK);
    const tare_tensor *tensor = tare_find(model, "t", 1);
    const char *data = tare_data(model, tensor);
    cr_assert_not_null(data);
    cr_expect_arr_eq(data + tare_size(model, tensor) - 3, "end", 3);
    tare_close(model);
}

Test(open, holds_a_descriptor_and_a_mapping_until_it_is_closed)
{
    static const uint32_t backings[] = {TARE_BACKING_AUTO, TARE_BACKING_MAP, TARE_BACKING_READ};
    size_t before = probe_descriptor_count();
    for (size_t i = 0; i < 3; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model = expect_no_model();
        options.backing = backings[i];
        cr_assert_eq(tare_open(path.text, &options, &model, NULL), TARE_OK);
        cr_expect_eq(probe_descriptor_count(), before + 1);
        bool mapped = backings[i] != TARE_BACKING_READ;
        cr_expect_eq(probe_mapping_count(path.text), mapped);
        tare_shard_info shard = tare_shard_at(model, 0);
        cr_expect_eq(shard.backing, mapped ? TARE_BACKING_MAP : TARE_BACKING_READ);
        tare_close(model);
        cr_expect_eq(probe_descriptor_count(), before);
        cr_expect_eq(probe_mapping_count(path.text), 0);
    }
}

Test(open, a_model_outlives_the_name_of_its_file)
{
    static const uint32_t backings[] = {TARE_BACKING_MAP, TARE_BACKING_READ};
    for (size_t i = 0; i < 2; i++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model = expect_no_model();
        options.backing = backings[i];
        temp_path again = temp_write_text(&folder, "again.safetensors", &file);
        cr_assert_eq(tare_open(again.text, &options, &model, NULL), TARE_OK);
        cr_assert_eq(unlink(again.text), 0);
        expect_bytes("unlinked", model, tare_find(model, "b", 1), file.data + file.size - 3, 3);
        tare_close(model);
    }
}

Test(open, a_mapping_cannot_be_written_through)
{
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    const tare_tensor *tensor = tare_find(model, "b", 1);
    int zero = open("/dev/zero", O_RDONLY);
    errno = 0;
    ssize_t got = read(zero, (void *)(uintptr_t)tare_data(model, tensor), 1);
    cr_expect(got == -1 && errno == EFAULT, "the kernel could write to the mapping");
    close(zero);
    tare_close(model);
}

/* What the tensor "b" holds in memory, and what tare_read gives. */
static void check_b(const tare_model *model, const char *in_memory, const char *in_file)
{
    const tare_tensor *tensor = tare_find(model, "b", 1);
    char bytes[3];
    cr_expect_arr_eq(tare_data(model, tensor), in_memory, 3);
    cr_assert_eq(tare_read(model, tensor, bytes, 3, NULL), TARE_OK);
    cr_expect_arr_eq(bytes, in_file, 3);
}

Test(open, copy_on_write_keeps_the_file_and_other_models_as_they_are)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *written = expect_no_model(), *other = expect_no_model();
    const char *old = file.data + file.size - 3;
    options.flags = TARE_COPY_ON_WRITE;
    cr_assert_eq(tare_open(path.text, &options, &written, NULL), TARE_OK);
    cr_assert_eq(tare_open(path.text, &options, &other, NULL), TARE_OK);
    cr_expect_eq(tare_shard_at(written, 0).backing, TARE_BACKING_MAP);
    memcpy((void *)(uintptr_t)tare_data(written, tare_find(written, "b", 1)), "new", 3);
    check_b(written, "new", old);
    check_b(other, old, old);
    tare_close(written);
    tare_close(other);
    size_t size;
    char *now = temp_read(path.text, &size);
    cr_assert_eq(size, file.size);
    cr_expect_arr_eq(now, file.data, size);
    free(now);
}

Test(open, stat_counts_what_the_model_holds)
{
    static alloc_probe probe;
    for (unsigned way = 0; way < WAY_COUNT; way++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        tare_error error;
        alloc_probe_init(&probe);
        options.allocator = &probe.hooks;
        tare_status status = open_way(way, &options, &model, &error);
        expect_opened("stat", status, model, &error);
        tare_stat stat = {.struct_size = sizeof stat};
        tare_model_stat(model, &stat);
        cr_expect_eq(stat.memory_size, probe.block_size, "way %u", way);
        cr_expect_geq(stat.memory_size, stat.record_size + stat.name_size + stat.shape_size);
        cr_expect_leq(stat.record_size, 16 * (tare_count(model) + 1));
        cr_expect_eq(stat.struct_size, sizeof stat);
        cr_expect_eq(stat.reserved, 0);
        tare_close(model);
        cr_expect_eq(probe.block_count + probe.mistakes, 0, "way %u", way);
    }
}

Test(open, stat_writes_no_more_than_its_size)
{
    tare_model *model;
    tare_error error;
    open_way(1, NULL, &model, &error);
    for (size_t size = sizeof(size_t); size <= sizeof(tare_stat); size++) {
        unsigned char room[sizeof(tare_stat) + 1];
        memset(room, 0xEE, sizeof room);
        memcpy(room, &size, sizeof size);
        unsigned char *exact = temp_copy(room, size);
        tare_model_stat(model, (tare_stat *)(void *)exact);
        cr_expect_eq(memcmp(exact, room, sizeof size), 0, "struct_size %zu changed", size);
        free(exact);
    }
    tare_close(model);
}

Test(open, version_is_that_of_the_header)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", TARE_VERSION_MAJOR, TARE_VERSION_MINOR,
             TARE_VERSION_PATCH);
    cr_expect_str_eq(tare_version(), version);
}

Test(open, beside_a_name_that_leaves_no_room_for_another_there_is_no_index_file)
{
    char name[252];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    temp_path named = temp_join(&folder, name);
    cr_assert_eq(rename(path.text, named.text), 0);
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(named.text, NULL, &model, &error);
    expect_opened("a long name", status, model, &error);
    cr_expect_eq(tare_index_status(model, &error), TARE_E_OPEN);
    expect_message("none", "there is no index file", &error);
    tare_close(model);
}

/* 1.7 million empty tensors in a header of 96 MB: a legal file that costs others gigabytes. */
Test(open, a_header_of_1700000_empty_tensors_takes_less_than_400_mb)
{
    enum { COUNT = 1700000 };
    static alloc_probe probe;
    build_text header = {0};
    build_add(&header, "{", 1);
    for (uint32_t i = 0; i < COUNT; i++)
        build_addf(&header, "%s\"%x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                   i ? "," : "", i);
    build_add(&header, "}", 1);
    build_text large = build_raw(header.data, header.size, 0);
    temp_path at = temp_write_text(&folder, "large.safetensors", &large);
    cr_assert_leq(header.size, 100000000);
    build_free(&header);
    build_free(&large);
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    options.flags = TARE_SEED_FIXED; /* by another one, now and then, some name goes further */
    options.seed = 1;
    tare_status status = tare_open(at.text, &options, &model, &error);
    expect_opened("1,700,000", status, model, &error);
    cr_expect_eq(tare_count(model), COUNT);
    cr_expect_leq(probe.peak_size, 400000000, "%zu bytes at most", probe.peak_size);
    cr_expect_leq(probe.calls, 60, "%zu calls", probe.calls);
    cr_expect_eq(tare_find(model, "0", 1), tare_at(model, 0));
    cr_expect_eq(tare_find(model, "19f09f", 6), tare_at(model, COUNT - 1));
    cr_expect_null(tare_find(model, "19f0a0", 6));
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    cr_expect_leq(stat.probe_max, 32, "%u lines", stat.probe_max);
    cr_expect_eq(stat.index_reseeds + stat.index_sorted, 0);
    tare_close(model);
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
}
