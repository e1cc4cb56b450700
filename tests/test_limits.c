/* What tare_options allow a model to have: both sides of each limit, in every way of opening. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/file_list.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/reader_probe.h"
#include "support/temp_files.h"

static temp_path folder;

static void make_folder(void)
{
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(limits, .init = make_folder, .fini = remove_folder);

/* A limit by its place in the options; ^ in the text stands before what is refused when `most` goes
 * down by one. */
typedef struct limit_row {
    const char *what;
    const char *text;
    size_t field;
    uint64_t most;
} limit_row;

#define TENSORS offsetof(tare_options, tensor_count_max)
#define RANK offsetof(tare_options, rank_max)
#define NAME offsetof(tare_options, name_size_max)
#define METADATA offsetof(tare_options, metadata_size_max)

static build_text unmarked(const char *text)
{
    size_t mark;
    return build_marked(text, &mark);
}

static tare_options with_limit(size_t field, uint64_t most)
{
    tare_options options = TARE_OPTIONS_INIT;
    memcpy((char *)&options + field, &most, sizeof most);
    return options;
}

enum { WAY_BYTES, WAY_READER, WAY_MAP, WAY_READ, WAY_FILES, WAYS };

static tare_status open_way(int way, const build_text *file, const char *path, tare_options options,
                            tare_model **model, tare_error *error)
{
    static reader_probe probe;
    const tare_file files[] = {{.name = "m", .bytes = file->data, .size = file->size}};
    *model = expect_no_model();
    *error = expect_poison();
    reader_probe_init(&probe, file->data, file->size, 7);
    options.backing = way == WAY_READ ? TARE_BACKING_READ : TARE_BACKING_AUTO;
    switch (way) {
    case WAY_BYTES: return tare_open_bytes(file->data, file->size, &options, model, error);
    case WAY_READER: return tare_open_reader(&probe.reader, &options, model, error);
    case WAY_FILES: return tare_open_files(files, 1, &options, model, error);
    default: return tare_open(path, &options, model, error);
    }
}

static void check_row(const limit_row *row, const build_text *file, size_t mark)
{
    temp_path path = temp_write_text(&folder, "m", file);
    for (int way = 0; way < WAYS; way++) {
        const uint64_t fine[] = {row->most, row->most + 1, UINT64_MAX, 0};
        tare_model *model;
        tare_error error;
        tare_status status;
        for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
            tare_options options = with_limit(row->field, fine[i]);
            status = open_way(way, file, path.text, options, &model, &error);
            expect_opened(row->what, status, model, &error);
            tare_close(model);
        }
        status =
            open_way(way, file, path.text, with_limit(row->field, row->most - 1), &model, &error);
        expect_refused(row->what, TARE_E_LIMIT, mark, status, model, &error);
        cr_expect_eq(error.shard, 0);
    }
}

#define TENSOR(shape, offsets) "{'dtype':'U8','shape':" shape ",'data_offsets':" offsets "}"

Test(limits, hold_in_safetensors_at_the_name)
{
    static const limit_row rows[] = {
        {"two tensors", "{'a':" TENSOR("[1]", "[0,1]") ",^'b':" TENSOR("[0]", "[1,1]") "}", TENSORS,
         2},
        {"two tensors out of order",
         "{'b':" TENSOR("[0]", "[1,1]") ",^'a':" TENSOR("[1]", "[0,1]") "}", TENSORS, 2},
        {"three dimensions",
         "{'a':" TENSOR("[0,0]", "[0,0]") ",^'b':" TENSOR("[1,1,1]", "[0,1]") "}", RANK, 3},
        {"three dimensions, with spaces",
         "{ ^'a' : { 'shape' : [ 1, 1, 1 ], 'dtype' : 'U8', 'data_offsets' : [ 0, 1 ] } }", RANK,
         3},
        {"a name of 5 bytes",
         "{'a':" TENSOR("[0]", "[0,0]") ",^'12345':" TENSOR("[1]", "[0,1]") "}", NAME, 5},
        {"a name of 2 bytes once unescaped", "{^'\\u00e9':" TENSOR("[1]", "[0,1]") "}", NAME, 2},
        {"metadata of 8 bytes",
         "{'a':" TENSOR("[1]", "[0,1]") ",'__metadata__':{'k':'123',^'l':'567','m':''}}", METADATA,
         9},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t mark;
        build_text header = build_marked(rows[i].text, &mark);
        if (i == 6) mark = (size_t)(strstr(header.data, "\"m\"") - header.data);
        build_text file = build_raw(header.data, header.size, 1);
        check_row(&rows[i], &file, 8 + mark);
        build_free(&header);
        build_free(&file);
    }
}

Test(limits, hold_in_gguf_at_the_count_or_the_name)
{
    static const limit_row rows[] = {
        {"two tensors",
         "'GGUF' 4:3 ^8:2 8:0 " GGUF_TENSOR("a", "1", "24", "0")
             GGUF_TENSOR("b", "1", "24", "32") "p32 d33",
         TENSORS, 2},
        {"two dimensions",
         GGUF_HEAD("2", "0")
             GGUF_TENSOR("a", "1", "24", "0") "^\"b\" 4:2 8:1 8:1 4:24 8:32 p32 d33",
         RANK, 2},
        {"a name of 5 bytes",
         GGUF_HEAD("2", "0")
             GGUF_TENSOR("a", "1", "24", "0") "^" GGUF_TENSOR("12345", "1", "24", "32") "p32 d33",
         NAME, 5},
        {"a text", GGUF_HEAD("0", "2") GGUF_TEXT("k", "12") "^" GGUF_TEXT("l", "345"), METADATA, 7},
        {"a number", GGUF_HEAD("0", "2") GGUF_TEXT("k", "12") "^" GGUF_U32("l", "7"), METADATA, 8},
        {"an array of three u32", GGUF_HEAD("0", "1") "^\"k\" 4:9 4:4 8:3 4:1 4:2 4:3", METADATA,
         13},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t mark;
        build_text file = gguf_text(rows[i].text, &mark);
        check_row(&rows[i], &file, mark);
        build_free(&file);
    }
}

Test(limits, beyond_those_of_gguf_leave_those)
{
    static const gguf_damage rows[] = {
        {"five dimensions", GGUF_HEAD("1", "0") "\"a\" ^4:5 8:1 8:1 8:1 8:1 8:1 4:24 8:0 p32 d1",
         TARE_E_SHAPE},
        {"a name of 64 bytes", GGUF_HEAD("1", "0") "^64\"x\" 4:0 4:24 8:0 p32 d1", TARE_E_LIMIT},
    };
    for (size_t i = 0; i < 2; i++) {
        size_t mark;
        build_text file = gguf_text(rows[i].words, &mark);
        tare_options options = with_limit(RANK, 5);
        options.name_size_max = 64;
        tare_model *model;
        tare_error error;
        tare_status status = open_way(WAY_BYTES, &file, "", options, &model, &error);
        expect_refused(rows[i].what, rows[i].status, mark, status, model, &error);
        build_free(&file);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Models of several files
 */

static void write_shard(const char *name, const char *marked, size_t data_size)
{
    build_text header = unmarked(marked);
    temp_write_built(&folder, name, build_raw(header.data, header.size, data_size));
    build_free(&header);
}

/* Two shards; the second has a tensor that the index does not list. */
static temp_path write_sharded(void)
{
    build_text list = unmarked("{'weight_map':{'a':'1.safetensors','b':'2.safetensors'}}");
    write_shard("1.safetensors", "{'__metadata__':{'k':'1'},'a':" TENSOR("[1]", "[0,1]") "}", 1);
    write_shard("2.safetensors",
                "{'__metadata__':{'k':'12'},'b':" TENSOR("[1,1]", "[0,1]") ",'cd':" TENSOR(
                    "[0]", "[1,1]") "}",
                1);
    return temp_write_built(&folder, "model.safetensors.index.json", list);
}

/* Opens by its folder, and from its files in memory. */
static void check_several(const char *what, tare_options options, uint64_t offset, uint32_t shard)
{
    file_list list;
    file_list_read(&list, folder.text);
    for (int files = 0; files < 2; files++) {
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = files
                                 ? tare_open_files(list.files, list.count, &options, &model, &error)
                                 : tare_open(folder.text, &options, &model, &error);
        if (offset == 0) {
            expect_opened(what, status, model, &error);
        } else {
            expect_refused(what, TARE_E_LIMIT, offset, status, model, &error);
            cr_expect_eq(error.shard, shard, "%s: shard %u", what, error.shard);
        }
        tare_close(model);
    }
    file_list_free(&list);
}

static uint64_t place_of(const char *name, const char *text)
{
    size_t size;
    char *bytes = temp_read(temp_join(&folder, name).text, &size);
    for (size_t at = 0; at + strlen(text) <= size; at++) {
        if (memcmp(bytes + at, text, strlen(text)) != 0) continue;
        free(bytes);
        return at;
    }
    free(bytes);
    cr_assert_fail("%s is not in %s", text, name);
    return 0;
}

Test(limits, hold_for_all_shards_together)
{
    write_sharded();
    check_several("3 tensors", with_limit(TENSORS, 3), 0, 0);
    check_several("3 tensors, not 2", with_limit(TENSORS, 2), place_of("2.safetensors", "\"cd\""),
                  1);
    check_several("2 listed, not 1", with_limit(TENSORS, 1),
                  place_of("model.safetensors.index.json", "\"b\""), TARE_NO_SHARD);
    check_several("rank 2", with_limit(RANK, 2), 0, 0);
    check_several("rank 2, not 1", with_limit(RANK, 1), place_of("2.safetensors", "\"b\""), 1);
    check_several("a name of 2", with_limit(NAME, 2), 0, 0);
    check_several("a name of 2, not 1", with_limit(NAME, 1), place_of("2.safetensors", "\"cd\""),
                  1);
    check_several("metadata of 5", with_limit(METADATA, 5), 0, 0);
    check_several("metadata of 5, not 4", with_limit(METADATA, 4),
                  place_of("2.safetensors", "\"k\""), 1);
}

Test(limits, hold_for_what_an_index_lists)
{
    build_text list = unmarked("{'weight_map':{'a':'1.safetensors','bcd':'1.safetensors'}}");
    write_shard("1.safetensors",
                "{'a':" TENSOR("[1]", "[0,1]") ",'bcd':" TENSOR("[0]", "[1,1]") "}", 1);
    temp_write_built(&folder, "model.safetensors.index.json", list);
    uint64_t place = place_of("model.safetensors.index.json", "\"bcd\"");
    check_several("2 listed", with_limit(TENSORS, 2), 0, 0);
    check_several("2 listed, not 1", with_limit(TENSORS, 1), place, TARE_NO_SHARD);
    check_several("3 bytes listed", with_limit(NAME, 3), 0, 0);
    check_several("3 bytes listed, not 2", with_limit(NAME, 2), place, TARE_NO_SHARD);
}

static int count_files(void *context, const char *name, size_t name_size)
{
    (void)name, (void)name_size;
    ++*(int *)context;
    return 0;
}

Test(limits, hold_where_only_files_are_listed)
{
    build_text text = unmarked("{'weight_map':{'a':'1.safetensors','b':'1.safetensors'}}");
    const tare_file file = {.name = "m.json", .bytes = text.data, .size = text.size};
    for (uint64_t most = 1; most <= 2; most++) {
        int count = 0;
        tare_error error = expect_poison();
        tare_options options = with_limit(TENSORS, most);
        tare_status status = tare_list_files(&file, &options, count_files, &count, &error);
        cr_expect_eq(status, most == 2 ? TARE_OK : TARE_E_LIMIT);
        cr_expect_eq(count, most == 2);
        if (most == 1)
            cr_expect_eq(error.offset, (uint64_t)(strstr(text.data, "\"b\"") - text.data));
    }
    build_free(&text);
}

#define PART(tensors, number) \
    GGUF_HEAD(tensors, "2") GGUF_U16("split.no", number) GGUF_U16("split.count", "2")

Test(limits, hold_for_all_parts_of_a_split_file)
{
    temp_write_built(&folder, "m-00001-of-00002.gguf",
                     gguf_text(PART("2", "0") GGUF_TENSOR("a", "1", "24", "0")
                                   GGUF_TENSOR("b", "1", "24", "32") "p32 d33",
                               NULL));
    temp_write_built(&folder, "m-00002-of-00002.gguf",
                     gguf_text(PART("1", "1") GGUF_TENSOR("c", "1", "24", "0") "p32 d1", NULL));
    check_several("3 tensors", with_limit(TENSORS, 3), 0, 0);
    check_several("3 tensors, not 2", with_limit(TENSORS, 2), 8, 1);
    check_several("3 tensors, not 1", with_limit(TENSORS, 1), 8, 0);
    uint64_t all = 2 * (strlen("split.no") + 2 + strlen("split.count") + 2);
    check_several("metadata", with_limit(METADATA, all), 0, 0);
    check_several("a byte less", with_limit(METADATA, all - 1),
                  place_of("m-00002-of-00002.gguf", "split.count") - 8, 1);
}

/* ------------------------------------------------------------------------------------------------
 * Models from an index file, and of pairs
 */

static void check_indexed(const char *what, const char *path, size_t field, uint64_t most)
{
    for (uint32_t index = TARE_INDEX_AUTO; index <= TARE_INDEX_REQUIRE; index++) {
        tare_options options = with_limit(field, most);
        options.index = index;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(path, &options, &model, &error);
        expect_opened(what, status, model, &error);
        cr_expect_eq(tare_index_status(model, NULL) == TARE_OK, index != TARE_INDEX_NEVER);
        for (size_t i = 0; i < tare_count(model); i++)
            cr_expect_neq(tare_describe(model, tare_at(model, i)).dtype, 0);
        tare_close(model);
        options = with_limit(field, most - 1);
        options.index = index;
        model = expect_no_model();
        status = tare_open(path, &options, &model, &error);
        expect_status(what, TARE_E_LIMIT, status, model, &error);
    }
}

Test(limits, hold_in_index_files)
{
    tare_model *model;
    temp_path list = write_sharded(), second = temp_join(&folder, "2.safetensors");
    const char *const paths[] = {list.text, second.text};
    for (int one = 0; one < 2; one++) {
        cr_assert_eq(tare_open(paths[one], NULL, &model, NULL), TARE_OK);
        cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
        tare_close(model);
        check_indexed("tensors", paths[one], TENSORS, one ? 2 : 3);
        check_indexed("rank", paths[one], RANK, 2);
        check_indexed("name", paths[one], NAME, 2);
        check_indexed("metadata", paths[one], METADATA, one ? 3 : 5);
    }
}

/* Tensors of two and three dimensions, or of four and one: else the models are alike. */
static index_image index_of_ranks(const char *first, const char *second, build_text *file)
{
    const build_tensor tensors[] = {{"a", 0, "U8", first, 6}, {"b", 0, "U8", second, 6}};
    *file = build_file(tensors, 2, NULL);
    tare_model *model = expect_open_bytes("ranks", file);
    index_image image = index_make(model, temp_join(&folder, "ranks.idx").text);
    tare_close(model);
    return image;
}

Test(limits, of_dimensions_holds_in_an_index_file_that_changes_later)
{
    build_text file, other_file;
    index_image image = index_of_ranks("[2,3]", "[1,2,3]", &file);
    index_image other = index_of_ranks("[1,1,2,3]", "[6]", &other_file);
    index_image mapped = index_copy(image.bytes, image.size);
    cr_assert_eq(image.size, other.size);
    static const struct {
        uint64_t most;
        uint32_t rank;
    } rows[] = {{0, 4}, {UINT64_MAX, 4}, {5, 4}, {4, 4}, {3, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_options options = with_limit(RANK, rows[i].most);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        options.index = TARE_INDEX_REQUIRE;
        options.index_bytes = mapped.bytes;
        options.index_size = mapped.size;
        tare_status status = tare_open_bytes(file.data, file.size, &options, &model, &error);
        expect_opened("with its index", status, model, &error);
        memcpy(mapped.bytes, other.bytes, other.size);
        cr_expect_eq(tare_describe(model, tare_at(model, 0)).rank, rows[i].rank, "row %zu", i);
        cr_expect_eq(tare_describe(model, tare_at(model, 1)).rank, 1, "row %zu", i);
        memcpy(mapped.bytes, image.bytes, image.size);
        tare_close(model);
    }
    index_free(&image);
    index_free(&other);
    index_free(&mapped);
    build_free(&file);
    build_free(&other_file);
}

Test(limits, hold_in_index_files_of_gguf)
{
    static const char words[] = GGUF_HEAD("1", "2") GGUF_TEXT(
        "k", "12") "\"l\" 4:9 4:8 8:2 \"ab\" \"\" \"tensor\" 4:4 8:1 8:1 8:1 8:1 4:24 8:0 p32 d1";
    temp_path path = temp_write_built(&folder, "m.gguf", gguf_text(words, NULL));
    tare_model *model;
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
    tare_close(model);
    check_indexed("rank", path.text, RANK, 4);
    check_indexed("name", path.text, NAME, 6);
    check_indexed("metadata", path.text, METADATA, 1 + 2 + 1 + 8 + 2 + 8);
}

Test(limits, of_count_and_name_hold_for_pairs)
{
    static const tare_pair pairs[] = {{"a", 1, "x", 1}, {"bcd", 3, "x", 1}};
    static const limit_row rows[] = {
        {"pairs", NULL, TENSORS, 2}, {"a name", NULL, NAME, 3}, {"a dimension", NULL, RANK, 1}};
    for (size_t i = 0; i < 3; i++) {
        for (int less = 0; less < (i == 2 ? 1 : 2); less++) { /* 0 dimensions are no limit */
            tare_options options = with_limit(rows[i].field, rows[i].most - (uint64_t)less);
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            tare_status status = tare_open_pairs(pairs, 2, &options, &model, &error);
            if (less == 0)
                expect_opened(rows[i].what, status, model, &error);
            else
                expect_refused(rows[i].what, TARE_E_LIMIT, TARE_NO_OFFSET, status, model, &error);
            tare_close(model);
        }
    }
}

/* A head, and zeros for ever. */
static int64_t read_head(void *context, uint64_t offset, void *target, size_t size)
{
    const build_text *head = context;
    memset(target, 0, size);
    if (offset < head->size) {
        size_t some = head->size - (size_t)offset;
        memcpy(target, head->data + offset, some < size ? some : size);
    }
    return (int64_t)size;
}

Test(limits, of_tensors_are_2_to_the_30_less_1_by_default)
{
    for (int more = 0; more < 2; more++) {
        build_text head =
            gguf_text(more ? "'GGUF' 4:3 8:1073741824 8:0" : "'GGUF' 4:3 8:1073741823 8:0", NULL);
        const tare_reader reader = {sizeof reader, &head, read_head, UINT64_C(1) << 40};
        tare_options options = with_limit(TENSORS, UINT64_MAX);
        options.header_size_max = 64;
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open_reader(&reader, &options, &model, &error);
        if (more)
            expect_refused("2^30", TARE_E_LIMIT, 8, status, model, &error);
        else
            expect_status("2^30-1", TARE_E_HEADER_SIZE, status, model, &error);
        build_free(&head);
    }
}
