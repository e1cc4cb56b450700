/* Files that a caller hands in by name: which are the model, and what is read of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/file_list.h"
#include "support/gguf_text.h"
#include "support/temp_files.h"

static temp_path folder;
static file_list list;

static void make_folder(void)
{
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    file_list_free(&list);
    temp_folder_remove(&folder);
}

TestSuite(folder, .init = make_folder, .fini = remove_folder);

static void write_model(const char *name, const char *tensor)
{
    build_tensor one = {tensor, 0, "U8", "[4]", 4};
    temp_write_built(&folder, name, build_file(&one, 1, "{\"of\":\"a file\"}"));
}

static void write_marked(const char *name, const char *text)
{
    size_t mark;
    temp_write_built(&folder, name, build_marked(text, &mark));
}

static void write_sharded(void)
{
    write_model("s1.safetensors", "a");
    temp_make_folder(&folder, "sub");
    write_model("sub/s2.safetensors", "b");
    write_marked("model.safetensors.index.json",
                 "{'weight_map':{'b':'sub/s2.safetensors','a':'s1.safetensors'}}");
}

#define PART(tensors, number)    \
    GGUF_HEAD(tensors, "3")      \
    GGUF_U16("split.no", number) \
    GGUF_U16("split.count", "2") "\"words\" 4:9 4:8 8:2 \"one\" \"another\" "

static void write_split(void)
{
    temp_write_built(&folder, "m-00001-of-00002.gguf",
                     gguf_text(PART("1", "0") GGUF_TENSOR("a", "5", "24", "0") "p32 d5", NULL));
    temp_write_built(&folder, "m-00002-of-00002.gguf",
                     gguf_text(PART("1", "1") GGUF_TENSOR("b", "3", "24", "0") "p32 d3", NULL));
}

static tare_model *open_fine(const char *what)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_files(list.files, list.count, NULL, &model, &error);
    expect_opened(what, status, model, &error);
    return model;
}

static tare_error check_refused(const char *what, tare_status wanted)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_files(list.files, list.count, NULL, &model, &error);
    expect_status(what, wanted, status, model, &error);
    return error;
}

/* What the files give is what the folder gives, whatever they are made of. */
static void check_as_folder(const char *what)
{
    tare_model *wanted;
    cr_assert_eq(tare_open(folder.text, NULL, &wanted, NULL), TARE_OK, "%s", what);
    file_list_read(&list, folder.text);
    tare_model *model = open_fine(what);
    expect_same_models(what, model, wanted);
    cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_MEMORY, "%s", what);
    tare_close(model);
    for (size_t head = 0; head < 700; head += head < 40 ? 1 : 37) {
        file_list_lend(&list, head);
        model = open_fine(what);
        file_list_spoil(&list);
        expect_same_models(what, model, wanted);
        cr_expect_eq(tare_shard_at(model, 0).backing, TARE_BACKING_READ, "%s", what);
        cr_expect_null(tare_data(model, tare_at(model, 0)), "%s", what);
        tare_close(model);
    }
    tare_close(wanted);
}

Test(folder, of_one_file_is_that_file)
{
    write_model("anything.safetensors", "only");
    check_as_folder("one file");
}

Test(folder, of_an_index_is_what_the_index_lists)
{
    write_sharded();
    write_model("unlisted.safetensors", "c");
    write_marked("config.json", "{}");
    check_as_folder("an index");
}

Test(folder, of_parts_is_all_of_them)
{
    write_split();
    check_as_folder("split");
}

Test(folder, heads_that_hold_the_header_leave_nothing_to_read)
{
    write_split();
    file_list_read(&list, folder.text);
    tare_model *model = open_fine("split");
    size_t data_offset = (size_t)tare_shard_at(model, 0).data_offset;
    tare_close(model);
    file_list_lend(&list, data_offset);
    model = open_fine("heads");
    for (size_t i = 0; i < list.count; i++) cr_expect_eq(list.probes[i].calls, 0);
    unsigned char bytes[5];
    cr_expect_eq(tare_read(model, tare_at(model, 0), bytes, 5, NULL), TARE_OK);
    cr_expect_eq(list.probes[0].calls + list.probes[1].calls, 1, "bytes come from the reader");
    tare_close(model);

    file_list_lend(&list, data_offset - 40);
    model = open_fine("short heads");
    for (size_t i = 0; i < list.count; i++)
        cr_expect_geq(list.probes[i].lowest, data_offset - 40, "bytes of the head were asked for");
    tare_close(model);
}

/* Several tensors of one chunk need a place to be read to, whichever shard has a reader. */
Test(folder, in_memory_and_behind_readers_are_loaded_at_once)
{
    build_tensor tensors[] = {{"b", 0, "U8", "[4]", 4}, {"c", 0, "U8", "[9]", 9}};
    write_model("s1.safetensors", "a");
    temp_write_built(&folder, "s2.safetensors", build_file(tensors, 2, NULL));
    write_marked("model.safetensors.index.json",
                 "{'weight_map':{'a':'s1.safetensors','b':'s2.safetensors','c':'s2.safetensors'}}");
    file_list_read(&list, folder.text);
    tare_file *second = file_list_find(&list, "s2.safetensors");
    second->reader = &list.probes[second - list.files].reader;
    second->bytes = NULL;
    second->size = 0;
    tare_model *model = open_fine("one of each");
    tare_block *block;
    cr_assert_eq(tare_load(model, NULL, 0, NULL, &block, NULL), TARE_OK);
    cr_expect_eq(tare_block_count(block), 3);
    for (size_t i = 0; i < 3; i++) {
        uint8_t bytes[16];
        size_t size = tare_block_size(block, i);
        cr_assert_eq(tare_read(model, tare_at(model, i), bytes, size, NULL), TARE_OK);
        cr_expect_arr_eq(tare_block_data(block, i), bytes, size, "tensor %zu", i);
    }
    tare_block_close(block);
    tare_close(model);
}

Test(folder, of_one_file_needs_no_name)
{
    write_split();
    file_list_read(&list, folder.text);
    tare_model *model, *wanted;
    tare_file one = *file_list_find(&list, "m-00002-of-00002.gguf");
    cr_assert_eq(tare_open_bytes(one.bytes, one.size, NULL, &wanted, NULL), TARE_OK);
    one.name = NULL;
    cr_assert_eq(tare_open_files(&one, 1, NULL, &model, NULL), TARE_OK);
    expect_same_models("without a name", model, wanted);
    cr_expect_str_eq(tare_shard_at(model, 0).name.data, "");
    tare_close(model);
    one.name = "sub/of/any.gguf";
    cr_assert_eq(tare_open_files(&one, 1, NULL, &model, NULL), TARE_OK);
    cr_expect_str_eq(tare_shard_at(model, 0).name.data, "sub/of/any.gguf");
    tare_close(model);
    one.name = "wrong.safetensors";
    cr_expect_eq(tare_open_files(&one, 1, NULL, &model, NULL), TARE_E_FORMAT, "as of a path");
    tare_close(wanted);
}

Test(folder, lacks_a_file_that_is_needed)
{
    write_sharded();
    file_list_read(&list, folder.text);
    file_list_find(&list, "sub/s2.safetensors")->name = "s2.safetensors";
    tare_error error = check_refused("a shard", TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOENT);
    cr_expect_eq(error.shard, 1);
    expect_message("a shard", "'sub/s2.safetensors'", &error);
    list.count = 0;
}

Test(folder, lacks_a_part)
{
    write_split();
    file_list_read(&list, folder.text);
    tare_file second = *file_list_find(&list, "m-00002-of-00002.gguf");
    tare_model *model;
    tare_error error;
    cr_expect_eq(tare_open_files(&second, 1, NULL, &model, &error), TARE_E_OPEN);
    expect_message("a part", "'m-00001-of-00002.gguf'", &error);
}

Test(folder, with_none_or_several_is_refused)
{
    tare_model *model = expect_no_model();
    cr_expect_eq(tare_open_files(NULL, 0, NULL, &model, NULL), TARE_E_NO_MODEL);
    cr_expect_null(model);
    write_model("a.safetensors", "a");
    write_model("b.safetensors", "b");
    file_list_read(&list, folder.text);
    tare_error error = check_refused("two", TARE_E_AMBIGUOUS);
    expect_message("two", "a.safetensors", &error);
    file_list_find(&list, "b.safetensors")->name = NULL; /* which no list can mean */
    tare_model *named = open_fine("one of two has no name");
    cr_expect_not_null(tare_find(named, "a", 1));
    tare_close(named);
    static char endless[600]; /* nor is a name that no folder can have looked at */
    memset(endless, 'x', sizeof endless - 1);
    memcpy(endless + sizeof endless - 13, ".safetensors", 12);
    for (size_t i = 0; i < list.count; i++)
        if (list.files[i].name == NULL) list.files[i].name = endless;
    tare_close(open_fine("one of two has an endless name"));
    for (size_t i = 0; i < list.count; i++)
        if (list.files[i].name == endless) list.files[i].name = "b.safetensors";
    file_list_find(&list, "a.safetensors")->name = "a.txt";
    file_list_find(&list, "b.safetensors")->name = "sub/b.safetensors";
    check_refused("no model in the top folder", TARE_E_NO_MODEL);
    list.count = 0;
}

static int no_visit(void *context, const char *name, size_t name_size)
{
    (void)context, (void)name, (void)name_size;
    cr_expect_fail("nothing is visited");
    return 0;
}

Test(folder, files_that_cannot_be_are_refused)
{
    write_model("a.safetensors", "a");
    file_list_read(&list, folder.text);
    tare_file good = list.files[0];
    list.count = 2;
    list.files[1] = good;
    tare_error error = check_refused("one name twice", TARE_E_ARGUMENT);
    expect_message("one name twice", "'a.safetensors'", &error);
    list.files[1].name = "b";
    for (int i = 0; i < 2; i++) {
        list.files[1].later[i] = 1;
        error = check_refused("a field of another version", TARE_E_ARGUMENT);
        expect_message("a field of another version", "'b': a field is set", &error);
        tare_error listed;
        cr_expect_eq(tare_list_files(&list.files[1], NULL, no_visit, NULL, &listed),
                     TARE_E_ARGUMENT);
        list.files[1].later[i] = 0;
    }
    list.files[1].bytes = NULL;
    check_refused("no bytes", TARE_E_ARGUMENT);
    tare_reader reader = list.probes[0].reader;
    list.files[1].bytes = good.bytes;
    list.files[1].reader = &reader;
    reader.total_size = good.size - 1;
    check_refused("a head beyond the file", TARE_E_ARGUMENT);
    reader.total_size = good.size;
    tare_close(open_fine("a head that is all"));
    reader.struct_size = 0;
    check_refused("a reader of no size", TARE_E_ARGUMENT);
    reader = list.probes[0].reader;
    reader.read_at = NULL;
    check_refused("a reader that cannot read", TARE_E_ARGUMENT);
    tare_model *model = expect_no_model();
    cr_expect_eq(tare_open_files(NULL, 1, NULL, &model, NULL), TARE_E_ARGUMENT);
    cr_expect_null(model);
    cr_expect_eq(tare_open_files(&good, 1, NULL, NULL, NULL), TARE_E_ARGUMENT);
    model = expect_no_model();
    cr_expect_eq(tare_open_files(&good, ((size_t)1 << 30) + 1, NULL, &model, NULL), TARE_E_LIMIT);
    cr_expect_null(model);
    good.later[0] = 1; /* is refused before the next one is looked at, of as many as may be */
    model = expect_no_model();
    cr_expect_eq(tare_open_files(&good, (size_t)1 << 30, NULL, &model, NULL), TARE_E_ARGUMENT);
    good.later[0] = 0;
    list.count = 1;
    list.files[0] = good;
}

/* ------------------------------------------------------------------------------------------------
 * tare_list_files
 */

typedef struct told {
    char text[256];
    size_t stop_at; /* names; 0 is never */
    size_t count;
} told;

static int tell(void *context, const char *name, size_t name_size)
{
    told *to = context;
    cr_expect_eq(strlen(name), name_size);
    strncat(to->text, name, sizeof to->text - strlen(to->text) - 1);
    strncat(to->text, " ", sizeof to->text - strlen(to->text) - 1);
    return ++to->count == to->stop_at ? 7 : 0;
}

static tare_error check_told(const tare_file *file, tare_status wanted, const char *names,
                             size_t stop_at)
{
    told to = {.stop_at = stop_at};
    tare_error error = expect_poison();
    cr_expect_eq(tare_list_files(file, NULL, tell, &to, &error), wanted, "%s: %s", names,
                 error.message);
    cr_expect_eq(error.status, wanted);
    cr_expect_str_eq(to.text, names);
    return error;
}

Test(folder, names_of_files_are_told_from_one)
{
    write_sharded();
    file_list_read(&list, folder.text);
    tare_file index = *file_list_find(&list, "model.safetensors.index.json");
    check_told(&index, TARE_OK, "s1.safetensors sub/s2.safetensors ", 0);
    check_told(&index, TARE_E_CANCELLED, "s1.safetensors ", 1);
    tare_file part = {.name = "m-00002-of-00003.gguf"};
    check_told(&part, TARE_OK, "m-00001-of-00003.gguf m-00002-of-00003.gguf m-00003-of-00003.gguf ",
               0);
    check_told(&part, TARE_E_CANCELLED, "m-00001-of-00003.gguf m-00002-of-00003.gguf ", 2);
    tare_file other = {.name = "any.safetensors"};
    check_told(&other, TARE_OK, "any.safetensors ", 0);
    check_told(&other, TARE_E_CANCELLED, "any.safetensors ", 1);
    check_told(&(tare_file){0}, TARE_OK, " ", 0);
    index.size--;
    tare_error error = check_told(&index, TARE_E_JSON, "", 0);
    cr_expect_eq(error.offset, index.size);
    index.bytes = NULL;
    check_told(&index, TARE_E_ARGUMENT, "", 0);
    cr_expect_eq(tare_list_files(NULL, NULL, tell, NULL, NULL), TARE_E_ARGUMENT);
    cr_expect_eq(tare_list_files(&other, NULL, NULL, NULL, NULL), TARE_E_ARGUMENT);
}

/* Index files are of files that stay where they are: of files that were handed in none is saved,
 * but one that was made elsewhere is used where it is named. */
Test(folder, index_files_are_used_where_they_are_named)
{
    write_sharded();
    tare_options options = TARE_OPTIONS_INIT;
    temp_path saved = temp_join(&folder, "tare.idx");
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    cr_assert_eq(tare_open(folder.text, NULL, &model, NULL), TARE_OK);
    cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
    tare_close(model);
    file_list_read(&list, folder.text);
    options.index_path = saved.text;
    tare_status status = tare_open_files(list.files, list.count, &options, &model, &error);
    expect_opened("named", status, model, &error);
    cr_expect_eq(tare_index_status(model, &error), TARE_OK, "%s", error.message);
    cr_expect_eq(tare_index_save(model, saved.text, NULL, &error), TARE_E_UNSUPPORTED);
    cr_expect_null(tare_index_path(model).data);
    cr_expect_eq(tare_index_path(model).size, 0);
    tare_close(model);
    options.index_path = NULL;
    options.index = TARE_INDEX_REQUIRE;
    model = expect_no_model();
    status = tare_open_files(list.files, list.count, &options, &model, &error);
    expect_status("among them, but not named", TARE_E_OPEN, status, model, &error);

    const tare_file *one = file_list_find(&list, "s1.safetensors");
    temp_path path = temp_join(&folder, "s1.safetensors"), beside = temp_join(&folder, "one.idx");
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    cr_assert_eq(tare_index_save(model, beside.text, NULL, NULL), TARE_OK);
    tare_close(model);
    options.index_path = beside.text;
    error = expect_poison();
    model = expect_no_model();
    status = tare_open_files(one, 1, &options, &model, &error);
    expect_opened("one file", status, model, &error);
    const tare_tensor *tensor = tare_find(model, "a", 1);
    cr_expect(tensor != NULL && tare_size(model, tensor) == 4);
    cr_expect_not_null(tare_data(model, tensor));
    tare_close(model);
    options.index_path = NULL;
    model = expect_no_model();
    status = tare_open_files(one, 1, &options, &model, &error);
    expect_status("none beside it", TARE_E_OPEN, status, model, &error);
}
