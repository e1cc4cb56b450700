/* Paths: files, indexes and folders, whatever they are called and whatever stands there. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/process_probe.h"
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

TestSuite(shards, .init = make_folder, .fini = remove_folder);

/* Writes a file of one tensor whose name is the file's purpose. */
static temp_path write_model(const char *name, const char *tensor)
{
    build_tensor one = {tensor, 0, "U8", "[4]", 4};
    return temp_write_built(&folder, name, build_file(&one, 1, NULL));
}

static temp_path write_index(const char *name, const char *text)
{
    size_t mark;
    return temp_write_built(&folder, name, build_marked(text, &mark));
}

static tare_model *open_fine(const char *path)
{
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path, NULL, &model, &error);
    expect_opened(path, status, model, &error);
    return model;
}

/* The model at `path` holds this tensor. */
static void check_holds(const char *path, const char *tensor)
{
    tare_model *model = open_fine(path);
    cr_expect_not_null(tare_find(model, tensor, strlen(tensor)), "%s: no %s", path, tensor);
    tare_close(model);
}

static tare_error check_refused(const char *path, tare_status wanted)
{
    size_t descriptors = probe_descriptor_count();
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path, NULL, &model, &error);
    expect_status(path, wanted, status, model, &error);
    cr_expect_eq(probe_descriptor_count(), descriptors, "%s: a descriptor is left", path);
    cr_expect_eq(probe_mapping_count(folder.text), 0, "%s: a mapping is left", path);
    return error;
}

/* Two shards in the folder, listed by an index of that name. */
static temp_path write_sharded(const char *name)
{
    write_model("s1.safetensors", "a");
    write_model("s2.safetensors", "b");
    return write_index(name, "{'weight_map':{'a':'s1.safetensors','b':'s2.safetensors'}}");
}

Test(shards, a_folder_with_one_file_is_that_file)
{
    write_model("anything.safetensors", "only");
    write_index("config.json", "{}");
    check_holds(folder.text, "only");
}

Test(shards, a_folder_with_an_index_is_what_the_index_lists)
{
    write_sharded("model.safetensors.index.json");
    write_model("unlisted.safetensors", "c");
    tare_model *model = open_fine(folder.text);
    cr_expect_eq(tare_count(model), 2);
    cr_expect_eq(tare_shard_count(model), 2);
    cr_expect_null(tare_find(model, "c", 1), "a file that the index does not list was read");
    tare_close(model);
}

Test(shards, a_folder_with_one_index_of_another_name_is_that)
{
    write_sharded("diffusion_pytorch_model.safetensors.index.json");
    check_holds(folder.text, "a");
}

Test(shards, of_several_indexes_the_usual_one_is_taken)
{
    write_sharded("model.safetensors.index.json");
    write_index("model.fp16.safetensors.index.json", "{'weight_map':{}}");
    check_holds(folder.text, "a");
}

Test(shards, a_folder_with_several_unusual_indexes_is_ambiguous)
{
    write_sharded("a.safetensors.index.json");
    write_sharded("b.safetensors.index.json");
    tare_error error = check_refused(folder.text, TARE_E_AMBIGUOUS);
    expect_message("two indexes", "a.safetensors.index.json", &error);
    expect_message("two indexes", "b.safetensors.index.json", &error);
}

Test(shards, a_folder_with_several_files_and_no_index_is_ambiguous)
{
    write_model("model-20.safetensors", "a");
    write_model("model-1.safetensors", "b");
    write_model("model-3.safetensors", "c");
    tare_error error = check_refused(folder.text, TARE_E_AMBIGUOUS);
    expect_message("three files", ": 3 model files and no", &error);
    expect_message("three files", "such as 'model-1.safetensors' and 'model-20.safetensors': name",
                   &error);
}

Test(shards, a_folder_without_a_model_says_so)
{
    check_refused(folder.text, TARE_E_NO_MODEL);
    write_index("config.json", "{}");
    write_index("tensors.index.json", "{}");
    write_model("model.safetensors.bak", "a");
    write_model("model.SAFETENSORS", "a");
    check_refused(folder.text, TARE_E_NO_MODEL);
}

Test(shards, a_folder_may_end_in_slashes)
{
    write_model("m.safetensors", "only");
    check_holds(temp_join(&folder, "").text, "only");
    check_holds(temp_join(&folder, "///").text, "only");
    check_holds(temp_join(&folder, ".").text, "only");
}

/* As they are joined: with one slash and no other. */
Test(shards, paths_of_files_in_it_have_one_slash_more_at_most)
{
    static const struct {
        const char *folder, *index;
    } rows[] = {{"sub", "sub/m.safetensors.tareidx"},
                {"sub/", "sub/m.safetensors.tareidx"},
                {".", "./m.safetensors.tareidx"}};
    temp_make_folder(&folder, "sub");
    write_model("sub/m.safetensors", "only");
    write_model("m.safetensors", "only");
    cr_assert_eq(chdir(folder.text), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_model *model = expect_no_model();
        cr_assert_eq(tare_open(rows[i].folder, NULL, &model, NULL), TARE_OK);
        cr_expect_str_eq(tare_index_path(model).data, rows[i].index);
        tare_close(model);
    }
}

Test(shards, paths_may_be_relative)
{
    temp_path sub = temp_make_folder(&folder, "sub");
    write_model("sub/m.safetensors", "only");
    cr_assert_eq(chdir(folder.text), 0);
    check_holds("sub", "only");
    check_holds("sub/", "only");
    check_holds("sub/m.safetensors", "only");
    check_holds("./sub/../sub/m.safetensors", "only");
    cr_assert_eq(chdir(sub.text), 0);
    check_holds(".", "only");
    check_holds("m.safetensors", "only");
}

Test(shards, an_index_reads_shards_beside_it_wherever_the_process_is)
{
    temp_path sub = temp_make_folder(&folder, "sub");
    write_model("sub/s.safetensors", "right");
    write_model("s.safetensors", "wrong");
    temp_path index = write_index("sub/i.json", "{'weight_map':{'right':'s.safetensors'}}");
    check_holds(index.text, "right");
    cr_assert_eq(chdir(folder.text), 0);
    check_holds("sub/i.json", "right");
    check_holds("./sub//i.json", "right");
    cr_assert_eq(chdir(sub.text), 0);
    check_holds("i.json", "right");
    check_holds("./i.json", "right");
    cr_assert_eq(chdir("/"), 0);
    check_holds(index.text, "right");
}

Test(shards, a_name_without_an_ending_is_a_safetensors_file)
{
    temp_path path = write_model("blob", "only");
    check_holds(path.text, "only");
}

Test(shards, shards_may_lie_in_folders_below)
{
    temp_make_folder(&folder, "x");
    temp_make_folder(&folder, "x/y");
    write_model("x/y/s.safetensors", "deep");
    write_model("s.safetensors", "flat");
    temp_path index =
        write_index("i.json", "{'weight_map':{'deep':'x/y/s.safetensors','flat':'s.safetensors'}}");
    tare_model *model = open_fine(index.text);
    cr_expect_str_eq(tare_shard_at(model, 0).name.data, "s.safetensors");
    cr_expect_str_eq(tare_shard_at(model, 1).name.data, "x/y/s.safetensors");
    cr_expect_eq(tare_describe(model, tare_find(model, "deep", 4)).shard, 1);
    tare_close(model);
}

Test(shards, what_is_missing_cannot_be_opened)
{
    static const char *const names[] = {"no.safetensors", "no.json", "no/m.safetensors",
                                        "no/i.json",      "no/",     "no"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tare_error error = check_refused(temp_join(&folder, names[i]).text, TARE_E_OPEN);
        cr_expect_eq(error.system_error, ENOENT, "%s", names[i]);
    }
    tare_error error = check_refused("", TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOENT);
    error = check_refused("/no such file at the root.json", TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOENT);
    write_model("m.safetensors", "a");
    error = check_refused(temp_join(&folder, "m.safetensors/").text, TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOTDIR);
    error = check_refused(temp_join(&folder, "m.safetensors/i.json").text, TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOTDIR);
}

Test(shards, a_missing_shard_is_named_with_its_number)
{
    write_sharded("i.json");
    cr_assert_eq(unlink(temp_join(&folder, "s2.safetensors").text), 0);
    tare_error error = check_refused(temp_join(&folder, "i.json").text, TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOENT);
    cr_expect_eq(error.shard, 1);
    expect_message("missing", "s2.safetensors", &error);
}

Test(shards, a_damaged_shard_is_named_with_number_and_offset)
{
    size_t mark;
    write_sharded("i.json");
    build_text header =
        build_marked("{'b':{'dtype':^'X8','shape':[4],'data_offsets':[0,4]}}", &mark);
    temp_write_built(&folder, "s2.safetensors", build_raw(header.data, header.size, 4));
    build_free(&header);
    tare_error error = check_refused(temp_join(&folder, "i.json").text, TARE_E_DTYPE);
    cr_expect_eq(error.shard, 1);
    cr_expect_eq(error.offset, 8 + mark);
    expect_message("damaged", "s2.safetensors", &error);
}

Test(shards, a_name_in_two_shards_is_refused_with_both)
{
    build_tensor both[] = {{"b", 0, "U8", "[1]", 1}, {"a", 0, "U8", "[1]", 1}};
    write_sharded("i.json");
    temp_write_built(&folder, "s2.safetensors", build_file(both, 2, NULL));
    tare_error error = check_refused(temp_join(&folder, "i.json").text, TARE_E_DUPLICATE);
    expect_message("in two shards", "'a'", &error);
    expect_message("in two shards", "s1.safetensors", &error);
    expect_message("in two shards", "s2.safetensors", &error);
}

Test(shards, a_listed_name_that_is_elsewhere_is_refused_with_both)
{
    write_sharded("i.json");
    temp_path index =
        write_index("j.json", "{'weight_map':{'a':'s2.safetensors','b':'s1.safetensors'}}");
    tare_error error = check_refused(index.text, TARE_E_SHARD_TENSOR);
    expect_message("elsewhere", "'a'", &error);
    expect_message("elsewhere", "s1.safetensors", &error);
    expect_message("elsewhere", "s2.safetensors", &error);
    cr_expect_eq(error.offset, 15);
}

Test(shards, symbolic_links_are_followed)
{
    temp_make_folder(&folder, "blobs");
    temp_make_folder(&folder, "snapshot");
    write_model("blobs/1234", "a");
    write_model("blobs/5678", "b");
    write_index("blobs/9abc", "{'weight_map':{'a':'s1.safetensors','b':'s2.safetensors'}}");
    temp_path link = temp_join(&folder, "snapshot/s1.safetensors");
    cr_assert_eq(symlink("../blobs/1234", link.text), 0);
    check_holds(link.text, "a");
    check_holds(temp_join(&folder, "snapshot").text, "a");
    cr_assert_eq(symlink("../blobs/5678", temp_join(&folder, "snapshot/s2.safetensors").text), 0);
    cr_assert_eq(
        symlink("../blobs/9abc", temp_join(&folder, "snapshot/model.safetensors.index.json").text),
        0);
    check_holds(temp_join(&folder, "snapshot").text, "b");
    check_holds(temp_join(&folder, "snapshot/model.safetensors.index.json").text, "b");
    cr_assert_eq(symlink("snapshot", temp_join(&folder, "latest").text), 0);
    check_holds(temp_join(&folder, "latest").text, "a");
}

Test(shards, symbolic_links_to_nothing_cannot_be_opened)
{
    cr_assert_eq(symlink("nothing", temp_join(&folder, "m.safetensors").text), 0);
    tare_error error = check_refused(temp_join(&folder, "m.safetensors").text, TARE_E_OPEN);
    cr_expect_eq(error.system_error, ENOENT);
    check_refused(folder.text, TARE_E_OPEN);
    cr_assert_eq(symlink("loop.safetensors", temp_join(&folder, "loop.safetensors").text), 0);
    error = check_refused(temp_join(&folder, "loop.safetensors").text, TARE_E_OPEN);
    cr_expect_eq(error.system_error, ELOOP);
}

/* An open of a FIFO waits for a writer, unless it is told not to: this test would hang. */
Test(shards, what_is_no_regular_file_is_refused_and_never_waited_for, .timeout = 30)
{
    temp_path pipe = temp_join(&folder, "pipe.safetensors");
    cr_assert_eq(mkfifo(pipe.text, 0600), 0);
    check_refused(pipe.text, TARE_E_OPEN);
    check_refused(folder.text, TARE_E_OPEN);
    cr_assert_eq(mkfifo(temp_join(&folder, "pipe.json").text, 0600), 0);
    check_refused(temp_join(&folder, "pipe.json").text, TARE_E_OPEN);
    temp_path index = write_index("i.json", "{'weight_map':{'a':'pipe.safetensors'}}");
    tare_error error = check_refused(index.text, TARE_E_OPEN);
    cr_expect_eq(error.shard, 0);
    check_refused("/dev/null", TARE_E_OPEN);
    check_refused("/dev/zero", TARE_E_OPEN);
}

Test(shards, a_folder_for_a_shard_is_refused)
{
    temp_make_folder(&folder, "dir.safetensors");
    temp_path index = write_index("i.json", "{'weight_map':{'a':'dir.safetensors'}}");
    tare_error error = check_refused(index.text, TARE_E_OPEN);
    cr_expect_eq(error.system_error, EISDIR);
    cr_expect_eq(error.shard, 0);
}

Test(shards, a_folder_named_like_a_file_is_a_folder)
{
    temp_path dir = temp_make_folder(&folder, "dir.safetensors");
    write_model("dir.safetensors/m.safetensors", "inside");
    check_holds(dir.text, "inside");
    temp_path json = temp_make_folder(&folder, "dir.json");
    write_model("dir.json/m.safetensors", "inside");
    check_holds(json.text, "inside");
}

Test(shards, what_may_not_be_read_cannot_be_opened)
{
    if (geteuid() == 0) {
        remove_folder(); /* a test that is skipped does not come to its .fini */
        cr_skip_test("root may read everything");
    }
    temp_path path = write_model("m.safetensors", "a");
    cr_assert_eq(chmod(path.text, 0), 0);
    tare_error error = check_refused(path.text, TARE_E_OPEN);
    cr_expect_eq(error.system_error, EACCES);
    temp_path sub = temp_make_folder(&folder, "sub");
    cr_assert_eq(chmod(sub.text, 0), 0);
    check_refused(sub.text, TARE_E_OPEN);
    cr_assert_eq(chmod(sub.text, 0700), 0);
}

Test(shards, an_index_of_any_size_is_read_whole)
{
    build_text text = {0};
    build_addf(&text, "{\"metadata\":{\"x\":\"");
    for (size_t i = 0; i < 300000; i++) build_add(&text, "0123456789", 10);
    build_addf(&text, "\"},\"weight_map\":{\"a\":\"s.safetensors\"}}");
    write_model("s.safetensors", "a");
    temp_path index = temp_write_built(&folder, "i.json", text);
    check_holds(index.text, "a");
}

Test(shards, an_index_is_not_held_to_the_limit_of_headers)
{
    temp_path index = write_sharded("i.json");
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    struct stat shard, list;
    cr_assert_eq(stat(temp_join(&folder, "s1.safetensors").text, &shard), 0);
    cr_assert_eq(stat(index.text, &list), 0);
    options.header_size_max = (uint64_t)shard.st_size - 8 - 4;
    cr_assert_lt(options.header_size_max, (uint64_t)list.st_size);
    tare_status status = tare_open(index.text, &options, &model, &error);
    expect_opened("small headers", status, model, &error);
    tare_close(model);
    options.header_size_max--;
    status = tare_open(index.text, &options, &model, &error);
    expect_refused("a byte less", TARE_E_HEADER_SIZE, 0, status, model, &error);
}

Test(shards, an_index_beyond_the_limit_is_refused)
{
    static alloc_probe probe;
    temp_path index = write_index("i.json", "{'weight_map':{}}");
    cr_assert_eq(truncate(index.text, ((off_t)1 << 30) + 1), 0); /* a hole, no bytes on the disk */
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    alloc_probe_init(&probe);
    options.allocator = &probe.hooks;
    tare_status status = tare_open(index.text, &options, &model, &error);
    expect_status("more than 1 GiB", TARE_E_LIMIT, status, model, &error);
    cr_expect_lt(probe.peak_size, 1 << 20, "memory was taken for it");
    cr_expect_eq(probe.block_count + probe.mistakes, 0);
}

Test(shards, a_message_begins_with_the_file_that_it_speaks_of)
{
    temp_path index = write_sharded("i.json");
    temp_path path = write_index("bad.safetensors", "12345678");
    tare_error error = check_refused(path.text, TARE_E_HEADER_SIZE);
    char start[TEMP_PATH_MAX + 8];
    snprintf(start, sizeof start, "'%s': ", path.text);
    cr_expect_eq(strncmp(error.message, start, strlen(start)), 0, "%s", error.message);
    write_index("s2.safetensors", "12345678");
    error = check_refused(index.text, TARE_E_HEADER_SIZE);
    cr_expect_eq(strncmp(error.message, "'s2.safetensors': ", 18), 0, "%s", error.message);
    write_index("i.json", "[]");
    error = check_refused(index.text, TARE_E_INDEX);
    cr_expect_not_null(strstr(error.message, "i.json': "), "%s", error.message);
}

Test(shards, a_file_name_of_any_bytes_is_quoted)
{
    temp_path path = temp_join(&folder, "no\n\x1b[31m \xff \xc3\xa9.safetensors");
    tare_error error = check_refused(path.text, TARE_E_OPEN);
    expect_message("escaped", "no\\x0a\\x1b[31m \\xff \\xc3\\xa9.safetensors", &error);
}

Test(shards, hidden_files_of_a_folder_are_not_its_model)
{
    write_model("model.safetensors", "only");
    write_model("._model.safetensors", "hidden");
    write_index(".model.safetensors.index.json", "{'weight_map':{}}");
    check_holds(folder.text, "only");
}

Test(shards, folders_in_a_folder_are_not_its_model)
{
    write_model("model.safetensors", "only");
    temp_make_folder(&folder, "old.safetensors");
    temp_make_folder(&folder, "old.safetensors.index.json");
    check_holds(folder.text, "only");
}

Test(shards, many_shards_take_a_descriptor_each_and_give_it_back)
{
    enum { COUNT = 200 };
    build_text index = {0};
    build_addf(&index, "{\"weight_map\":{");
    for (unsigned i = 0; i < COUNT; i++) {
        char name[64], tensor[16];
        snprintf(name, sizeof name, "s%03u.safetensors", i);
        snprintf(tensor, sizeof tensor, "t%u", i);
        write_model(name, tensor);
        build_addf(&index, "%s\"%s\":\"%s\"", i ? "," : "", tensor, name);
    }
    build_addf(&index, "}}");
    temp_path path = temp_write_built(&folder, "i.json", index);
    size_t before = probe_descriptor_count();
    tare_model *model = open_fine(path.text);
    cr_expect_eq(tare_shard_count(model), COUNT);
    cr_expect_eq(probe_descriptor_count(), before + COUNT);
    cr_expect_eq(probe_mapping_count(folder.text), COUNT);
    tare_close(model);
    cr_expect_eq(probe_descriptor_count(), before);
    cr_expect_eq(probe_mapping_count(folder.text), 0);
    cr_assert_eq(truncate(temp_join(&folder, "s150.safetensors").text, 20), 0);
    check_refused(path.text, TARE_E_TRUNCATED);
}

Test(shards, metadata_of_shards_is_listed_shard_by_shard)
{
    build_tensor a = {"a", 0, "U8", "[1]", 1}, b = {"b", 0, "U8", "[1]", 1};
    temp_write_built(&folder, "1.safetensors",
                     build_file(&a, 1, "{\"format\":\"pt\",\"x\":\"1\"}"));
    temp_write_built(&folder, "2.safetensors",
                     build_file(&b, 1, "{\"y\":\"2\",\"format\":\"np\"}"));
    temp_path index =
        write_index("i.json", "{'weight_map':{'a':'1.safetensors','b':'2.safetensors'}}");
    tare_model *model = open_fine(index.text);
    static const struct {
        const char *key, *value;
        uint32_t shard;
    } wanted[] = {{"format", "pt", 0}, {"x", "1", 0}, {"y", "2", 1}, {"format", "np", 1}};
    cr_assert_eq(tare_metadata_count(model), 4);
    for (size_t i = 0; i < 4; i++) {
        tare_string key, value;
        uint32_t shard;
        cr_assert_eq(tare_metadata_at(model, i, &key, &value, &shard), 1);
        cr_expect_str_eq(key.data, wanted[i].key);
        cr_expect_str_eq(value.data, wanted[i].value);
        cr_expect_eq(shard, wanted[i].shard);
    }
    cr_expect_str_eq(tare_metadata_find(model, "format", 6).data, "pt", "not the first shard's");
    cr_expect_str_eq(tare_metadata_find(model, "y", 1).data, "2");
    cr_expect_null(tare_metadata_find(model, "z", 1).data);
    tare_close(model);
}

/* Numbers of shards have 18 bits. Nothing is opened for one too many, and the first is missing. */
/* Each is sorted by itself, and names stay as long as they are. */
Test(shards, of_each_shard_tensors_come_in_the_order_of_their_bytes)
{
#define TENSOR(name, size, offsets) \
    "'" name "':{'dtype':'U8','shape':[" size "],'data_offsets':" offsets "}"
    static const char *const headers[] = {
        "{" TENSOR("longest", "2", "[3,5]") "," TENSOR("a", "3", "[0,3]") "}",
        "{" TENSOR("c", "1", "[4,5]") "," TENSOR("shorter", "1", "[0,1]") "," TENSOR("bb", "3",
                                                                                     "[1,4]") "}"};
    static const char *const names[] = {"a", "longest", "shorter", "bb", "c"};
    static const uint64_t offsets[] = {0, 3, 0, 1, 4}, sizes[] = {3, 2, 1, 3, 1};
    size_t mark, header_sizes[2];
    for (size_t i = 0; i < 2; i++) {
        build_text header = build_marked(headers[i], &mark);
        header_sizes[i] = header.size;
        temp_write_built(&folder, i == 0 ? "s1.safetensors" : "s2.safetensors",
                         build_raw(header.data, header.size, 5));
        build_free(&header);
    }
    write_index("m.safetensors.index.json",
                "{'weight_map':{'a':'s1.safetensors','longest':'s1.safetensors','bb':'s2.safe"
                "tensors','c':'s2.safetensors','shorter':'s2.safetensors'}}");
    tare_model *model = open_fine(folder.text);
    cr_assert_eq(tare_count(model), 5);
    for (size_t i = 0; i < 5; i++) {
        const uint64_t shape[] = {sizes[i]};
        expect_tensor(names[i], model, i, names[i], strlen(names[i]), "U8", shape, 1,
                      8 + header_sizes[i / 2 > 0] + offsets[i], sizes[i]);
    }
    tare_close(model);
}

Test(shards, of_262144_shards_and_no_more)
{
    enum { SHARDS_MAX = 1 << 18 };
    build_text text = {0};
    build_addf(&text, "{\"weight_map\":{\"0\":\"0.safetensors\"");
    for (int i = 1; i < SHARDS_MAX; i++) build_addf(&text, ",\"%d\":\"%d.safetensors\"", i, i);
    for (int more = 0; more < 2; more++) {
        build_text whole = {0};
        build_add(&whole, text.data, text.size);
        build_addf(&whole, more ? ",\"x\":\"x.safetensors\"}}" : "}}");
        temp_path path = temp_write_built(&folder, "m.safetensors.index.json", whole);
        tare_error error = check_refused(path.text, more ? TARE_E_LIMIT : TARE_E_OPEN);
        expect_message("shards", more ? "2^18 shards" : "0.safetensors", &error);
    }
    build_free(&text);
}
