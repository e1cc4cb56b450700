/* The calls that write an index file and compare one with its model. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/temp_files.h"

static const build_tensor some[] = {{"layers.0.a", 0, "F32", "[2,2]", 16},
                                    {"layers.1.a", 0, "F32", "[2,2]", 16}};

static temp_path folder, path, index_path;
static tare_model *model;

static void open_model(void)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    folder = temp_folder_make();
    path = temp_write_built(&folder, "m.safetensors", build_file(some, 2, "{\"k\":\"v\"}"));
    index_path = temp_join(&folder, "m.safetensors.tareidx");
    cr_assert_eq(tare_open(path.text, &options, &model, NULL), TARE_OK);
}

static void close_model(void)
{
    tare_close(model);
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_write, .init = open_model, .fini = close_model, .timeout = 120);

static void check_save(const char *what, const char *at, const tare_index_options *options,
                       tare_status wanted)
{
    tare_error error = expect_poison();
    cr_expect_eq(tare_index_save(model, at, options, &error), wanted, "%s: %s", what,
                 error.message);
    cr_expect_eq(error.status, wanted, "%s", what);
}

static void check_check(const char *what, const char *at, tare_status wanted, uint64_t offset,
                        const char *says)
{
    tare_error error = expect_poison();
    cr_expect_eq(tare_index_check(model, at, NULL, &error), wanted, "%s: %s", what, error.message);
    cr_expect_eq(error.status, wanted, "%s", what);
    if (offset != 0)
        cr_expect_eq(error.offset, offset, "%s: %lu", what, (unsigned long)error.offset);
    if (says != NULL) expect_message(what, says, &error);
}

Test(prebuilt_write, who_may_not_read_the_model_may_not_read_it)
{
    static const mode_t modes[] = {0600, 0640, 0444};
    mode_t old = umask(022);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct stat facts;
        cr_assert_eq(chmod(path.text, modes[i]), 0);
        check_save("mode", NULL, NULL, TARE_OK);
        cr_assert_eq(stat(index_path.text, &facts), 0);
        cr_expect_eq(facts.st_mode & 0777, modes[i], "mode %o", (unsigned)facts.st_mode);
    }
    umask(old);
}

Test(prebuilt_write, the_usual_place_is_beside_the_file)
{
    cr_expect_str_eq(tare_index_path(model).data, index_path.text);
    cr_expect_eq(tare_index_path(model).size, strlen(index_path.text));
    check_check("none", NULL, TARE_E_OPEN, 0, NULL);
    check_save("usual", NULL, NULL, TARE_OK);
    check_check("usual", NULL, TARE_OK, 0, NULL);
    check_save("once more", NULL, NULL, TARE_OK);
    cr_expect_eq(temp_entry_count(&folder), 2, "nothing lies beside it");
}

Test(prebuilt_write, only_an_index_file_is_replaced)
{
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    temp_path other = temp_write(&folder, "other", "TareIdx", 7);
    check_save("something else", other.text, NULL, TARE_E_EXISTS);
    temp_write(&folder, "other", "TareIdy, and more", 17);
    check_save("as large, and something else", other.text, NULL, TARE_E_EXISTS);
    options.flags = TARE_SAVE_REPLACE;
    check_save("replaced", other.text, &options, TARE_OK);
    check_save("an index file", other.text, NULL, TARE_OK);
    check_save("a folder", folder.text, NULL, TARE_E_WRITE);
    check_save("no such folder", temp_join(&folder, "no/such").text, NULL, TARE_E_WRITE);
}

/* Whatever leads to it: a path, a link, another name of the same file. */
static void check_kept(const char *what, const char *of, const char *at)
{
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    size_t before, after;
    void *kept = temp_read(of, &before);
    for (options.flags = 0; options.flags <= TARE_SAVE_REPLACE; options.flags++) {
        tare_error error = expect_poison();
        size_t entries = temp_entry_count(&folder);
        cr_expect_eq(tare_index_save(model, at, &options, &error), TARE_E_EXISTS, "%s", what);
        cr_expect_eq(error.status, TARE_E_EXISTS, "%s", what);
        expect_message(what, "is a file of the model itself", &error);
        void *now = temp_read(of, &after);
        cr_expect(after == before && memcmp(now, kept, before) == 0, "%s: it changed", what);
        cr_expect_eq(temp_entry_count(&folder), entries, "%s: something lies beside it", what);
        free(now);
    }
    free(kept);
}

Test(prebuilt_write, a_file_of_the_model_is_never_replaced)
{
    temp_path link = temp_join(&folder, "link"), other = temp_join(&folder, "other");
    temp_path dangling = temp_join(&folder, "dangling"), loop = temp_join(&folder, "loop");
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    options.flags = TARE_SAVE_REPLACE;
    check_kept("the path", path.text, path.text);
    check_kept("the path, said otherwise", path.text, temp_join(&folder, "./m.safetensors").text);
    cr_assert_eq(symlink("m.safetensors", link.text), 0);
    cr_assert_eq(symlink("none", dangling.text), 0);
    cr_assert_eq(symlink("loop", loop.text), 0);
    cr_assert_eq(linkat(AT_FDCWD, path.text, AT_FDCWD, other.text, 0), 0);
    check_kept("a link", path.text, link.text);
    check_kept("another name", path.text, other.text);
    check_save("a link to nothing", dangling.text, &options, TARE_OK);
    check_save("a link to itself", loop.text, &options, TARE_OK);
    check_save("below a file", temp_join(&folder, "m.safetensors/x").text, &options, TARE_E_WRITE);
    temp_path fifo = temp_join(&folder, "fifo");
    cr_assert_eq(mkfifo(fifo.text, 0600), 0);
    check_save("a FIFO", fifo.text, &options, TARE_E_WRITE);
    check_save("a folder", folder.text, &options, TARE_E_WRITE);
    char name[300];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    check_save("a name that cannot be", name, &options, TARE_E_WRITE);
}

/* Opened from their headers, and from an index file, which has no shard open. */
Test(prebuilt_write, nor_is_a_shard_or_the_list_of_shards)
{
    static const char list[] = "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}";
    static const build_tensor one = {"a", 0, "U8", "[4]", 4}, two = {"b", 0, "U8", "[4]", 4};
    cr_assert_eq(unlink(path.text), 0);
    const temp_path files[] = {
        temp_write_built(&folder, "1.safetensors", build_file(&one, 1, NULL)),
        temp_write_built(&folder, "2.safetensors", build_file(&two, 1, NULL)),
        temp_write(&folder, "model.safetensors.index.json", list, sizeof list - 1)};
    for (int round = 0; round < 2; round++) {
        tare_close(model);
        cr_assert_eq(tare_open(folder.text, NULL, &model, NULL), TARE_OK);
        cr_expect_eq(tare_index_status(model, NULL), round == 0 ? TARE_E_OPEN : TARE_OK);
        for (size_t i = 0; i < 3; i++) check_kept(files[i].text, files[i].text, files[i].text);
        check_save("the usual place", NULL, NULL, TARE_OK);
    }
}

/* Renamed to where a file of the model was: what is open is the old one, of another inode. */
static void check_new_one_kept(const char *what, const temp_path *of)
{
    temp_path old = temp_join(&folder, "old");
    size_t size;
    void *bytes = temp_read(of->text, &size);
    temp_path late = temp_write(&folder, "late", bytes, size);
    free(bytes);
    cr_assert_eq(rename(of->text, old.text), 0);
    cr_assert_eq(rename(late.text, of->text), 0);
    check_kept(what, of->text, of->text);
    check_kept(what, old.text, old.text);
    cr_assert_eq(rename(old.text, of->text), 0);
}

Test(prebuilt_write, nor_is_what_has_taken_the_place_of_one)
{
    static const char list[] =
        "{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"sub/2.safetensors\"}}";
    static const build_tensor one = {"a", 0, "U8", "[4]", 4}, two = {"b", 0, "U8", "[4]", 4};
    check_new_one_kept("a path", &path);
    tare_close(model);
    cr_assert_eq(tare_open(folder.text, NULL, &model, NULL), TARE_OK);
    check_new_one_kept("a folder with one file", &path);
    tare_close(model);
    cr_assert_eq(chdir(folder.text), 0);
    cr_assert_eq(tare_open("m.safetensors", NULL, &model, NULL), TARE_OK);
    check_new_one_kept("no folder", &path);
    temp_path sharded = temp_make_folder(&folder, "sharded");
    temp_path below = temp_make_folder(&sharded, "sub");
    const temp_path files[] = {
        temp_write_built(&sharded, "1.safetensors", build_file(&one, 1, NULL)),
        temp_write_built(&below, "2.safetensors", build_file(&two, 1, NULL)),
        temp_write(&sharded, "model.safetensors.index.json", list, sizeof list - 1)};
    for (int round = 0; round < 2; round++) {
        tare_close(model);
        cr_assert_eq(tare_open(sharded.text, NULL, &model, NULL), TARE_OK);
        cr_expect_eq(tare_index_status(model, NULL), round == 0 ? TARE_E_OPEN : TARE_OK);
        for (size_t i = 0; i < 3; i++) check_new_one_kept(files[i].text, &files[i]);
        check_save("the usual place", NULL, NULL, TARE_OK);
    }
}

/* Paths end at 4,095 bytes, names in a folder that is open do not: what the first 4,095 of a
 * shard's lead to is no file of the model. */
Test(prebuilt_write, a_place_beyond_what_paths_reach_is_not_cut_short)
{
    enum { FOLDER_SIZE = 3990, STEP = 200 };
    char name[STEP + 1], list[512];
    temp_path deep = folder;
    memset(name, 'x', sizeof name);
    while (strlen(deep.text) < FOLDER_SIZE) {
        size_t left = FOLDER_SIZE - strlen(deep.text) - 1;
        name[left > STEP ? STEP - 1 : left] = 0; /* with its slash it leaves one byte at least */
        deep = temp_make_folder(&deep, name);
        memset(name, 'x', sizeof name);
    }
    cr_assert_eq(strlen(deep.text), FOLDER_SIZE);
    cr_assert_eq(chdir(deep.text), 0);
    const temp_path here = {"."};
    snprintf(list, sizeof list, "{\"weight_map\":{\"layers.0.a\":\"%.150s.safetensors\"}}", name);
    temp_write(&here, "model.safetensors.index.json", list, strlen(list));
    snprintf(list, sizeof list, "%.150s.safetensors", name);
    temp_path long_one = temp_write_built(&here, list, build_file(some, 1, NULL));
    tare_close(model);
    cr_assert_eq(tare_open(deep.text, NULL, &model, NULL), TARE_OK);
    name[4095 - FOLDER_SIZE - 1] = 0;
    check_save("new", name, NULL, TARE_OK);
    check_save("once more", name, NULL, TARE_OK);
    cr_assert_eq(unlink(long_one.text), 0); /* what removes all of it goes by paths */
}

/* A model of two shards, and the list of them. */
static temp_path write_sharded(const temp_path *to)
{
    static const char list[] =
        "{\"weight_map\":{\"layers.0.a\":\"0.safetensors\",\"layers.1.a\":\"1.safetensors\"}}";
    temp_path sharded = temp_make_folder(to, "sharded");
    temp_write_built(&sharded, "0.safetensors", build_file(&some[0], 1, NULL));
    temp_write_built(&sharded, "1.safetensors", build_file(&some[1], 1, NULL));
    temp_write(&sharded, "model.safetensors.index.json", list, sizeof list - 1);
    return sharded;
}

static temp_path make_sharded(void)
{
    temp_path sharded = write_sharded(&folder);
    tare_close(model);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    cr_assert_eq(tare_open(sharded.text, &options, &model, NULL), TARE_OK);
    return temp_join(&sharded, "model.safetensors.index.json");
}

/* The usual place was told from where the process was when it opened the model. */
Test(prebuilt_write, after_a_change_of_folder_the_usual_place_is_refused)
{
    temp_path away = temp_make_folder(&folder, "away");
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    make_sharded();
    for (int sharded = 0; sharded < 2; sharded++) {
        const char *at = sharded ? "sharded" : "m.safetensors";
        const char *usual = sharded ? "sharded/tare.idx" : "m.safetensors.tareidx";
        cr_assert_eq(chdir(folder.text), 0);
        tare_close(model);
        cr_assert_eq(tare_open(at, &options, &model, NULL), TARE_OK);
        check_save("here", NULL, NULL, TARE_OK);
        cr_assert_eq(chdir(away.text), 0);
        check_save("away", NULL, NULL, TARE_E_CHANGED);
        check_check("away", NULL, TARE_E_CHANGED, 0, "is the working folder another?");
        cr_expect_eq(temp_entry_count(&away), 0);
        temp_path named = temp_join(&folder, usual);
        tare_status wanted = sharded ? TARE_E_OPEN : TARE_OK; /* its list is read once more */
        check_check("by name", named.text, wanted, 0, NULL);
        check_save("by name", named.text, NULL, wanted);
    }
    /* A model of that name in the new folder is another one. */
    temp_write_built(&away, "m.safetensors", build_file(some, 2, "{\"k\":\"v\"}"));
    temp_path its_like = write_sharded(&away);
    for (int sharded = 0; sharded < 2; sharded++) {
        tare_close(model);
        cr_assert_eq(chdir(folder.text), 0);
        const char *at = sharded ? "sharded" : "m.safetensors";
        cr_assert_eq(tare_open(at, &options, &model, NULL), TARE_OK);
        cr_assert_eq(chdir(away.text), 0);
        check_save("its like", NULL, NULL, TARE_E_CHANGED);
    }
    cr_expect_eq(temp_entry_count(&away), 2);
    cr_expect_eq(temp_entry_count(&its_like), 3);
}

Test(prebuilt_write, arguments_are_checked)
{
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    options.flags = 2;
    check_save("flags", NULL, &options, TARE_E_ARGUMENT);
    options = (tare_index_options)TARE_INDEX_OPTIONS_INIT;
    options.reserved = 1;
    check_save("reserved", NULL, &options, TARE_E_ARGUMENT);
    options.struct_size = 0;
    check_save("no size", NULL, &options, TARE_E_ARGUMENT);
    options = (tare_index_options)TARE_INDEX_OPTIONS_INIT;
    const tare_allocator no_hooks = {sizeof no_hooks, NULL, NULL, NULL};
    options.allocator = &no_hooks;
    check_save("no hooks", NULL, &options, TARE_E_ARGUMENT);
    tare_model *file_model = model;
    const tare_pair pair = {"a", 1, "x", 1};
    cr_assert_eq(tare_open_pairs(&pair, 1, NULL, &model, NULL), TARE_OK);
    cr_expect_null(tare_index_path(model).data);
    check_save("pairs, no place", NULL, NULL, TARE_E_ARGUMENT);
    check_save("pairs", index_path.text, NULL, TARE_E_UNSUPPORTED);
    tare_close(model);
    model = file_model;
    check_save("fine", NULL, NULL, TARE_OK);
    cr_assert_eq(tare_open(path.text, NULL, &model, NULL), TARE_OK);
    cr_expect_eq(tare_index_status(model, NULL), TARE_OK);
    check_check("of itself", NULL, TARE_E_ARGUMENT, 0, "TARE_INDEX_NEVER");
    tare_close(model);
    model = file_model;
}

Test(prebuilt_write, a_model_that_changed_since_it_was_opened_is_not_indexed)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(utimensat(AT_FDCWD, path.text, times, 0), 0);
    check_save("touched", NULL, NULL, TARE_E_CHANGED);
    cr_expect_eq(temp_entry_count(&folder), 1);
}

Test(prebuilt_write, every_byte_that_differs_is_found)
{
    check_save("usual", NULL, NULL, TARE_OK);
    size_t size;
    uint8_t *bytes = temp_read(index_path.text, &size);
    temp_path other = temp_join(&folder, "other");
    tare_error error;
    for (size_t at = 0; at < size; at++) {
        index_image changed = index_copy(bytes, size);
        changed.bytes[at] ^= 0x10;
        temp_write(&folder, "other", changed.bytes, size);
        cr_expect_neq(tare_index_check(model, other.text, NULL, &error), TARE_OK, "%zu", at);
        index_seal(&changed);
        if (memcmp(changed.bytes, bytes, size) != 0) {
            temp_write(&folder, "other", changed.bytes, size);
            cr_expect_neq(tare_index_check(model, other.text, NULL, &error), TARE_OK, "%zu, sealed",
                          at);
        }
        index_free(&changed);
    }
    free(bytes);
}

Test(prebuilt_write, what_is_wrong_is_said)
{
    check_save("usual", NULL, NULL, TARE_OK);
    size_t size;
    uint8_t *bytes = temp_read(index_path.text, &size);
    index_image image = index_copy(bytes, size);
    size_t shards = index_section_offset(&image, 0), text = index_section_offset(&image, 9);
    image.bytes[shards] ^= 1;
    temp_write(&folder, "m.safetensors.tareidx", image.bytes, size);
    check_check("damage in front", NULL, TARE_E_PREBUILT, shards,
                "its shards do not have their digest");
    image.bytes[shards] ^= 1;
    image.bytes[text + 3] ^= 1;
    temp_write(&folder, "m.safetensors.tareidx", image.bytes, size);
    check_check("damage", NULL, TARE_E_PREBUILT, text, "its text do not have their digest");
    index_seal(&image);
    temp_write(&folder, "m.safetensors.tareidx", image.bytes, size);
    check_check("a lie", NULL, TARE_E_PREBUILT, text + 3, "its text are not what the model tells");
    image.bytes[12] = 2;
    temp_write(&folder, "m.safetensors.tareidx", image.bytes, size);
    check_check("another version", NULL, TARE_E_VERSION, 12, "version 2");
    temp_write(&folder, "m.safetensors.tareidx", bytes, size);
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(utimensat(AT_FDCWD, path.text, times, 0), 0);
    tare_close(model);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    cr_assert_eq(tare_open(path.text, &options, &model, NULL), TARE_OK);
    check_check("stale", NULL, TARE_E_STALE, 0, "m.safetensors': modified since");
    index_free(&image);
    free(bytes);
}

static void add_third_shard(void)
{
    static const build_tensor third = {"layers.2.a", 0, "U8", "[1]", 1};
    static const char list[] =
        "{\"weight_map\":{\"layers.0.a\":\"0.safetensors\",\"layers.1.a\":\"1.safetensors\","
        "\"layers.2.a\":\"2.safetensors\"}}";
    temp_path sharded = temp_join(&folder, "sharded");
    temp_write_built(&sharded, "2.safetensors", build_file(&third, 1, NULL));
    temp_write(&sharded, "model.safetensors.index.json", list, sizeof list - 1);
    tare_close(model);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    cr_assert_eq(tare_open(sharded.text, &options, &model, NULL), TARE_OK);
}

static void touch(const char *at)
{
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    cr_assert_eq(utimensat(AT_FDCWD, at, times, 0), 0);
}

Test(prebuilt_write, a_list_of_shards_that_changed_is_named)
{
    temp_path list = make_sharded();
    check_save("as it was opened", NULL, NULL, TARE_OK);
    touch(list.text);
    tare_error error = expect_poison();
    cr_expect_eq(tare_index_save(model, NULL, NULL, &error), TARE_E_CHANGED);
    expect_message("save", "model.safetensors.index.json", &error);
    tare_close(model);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    cr_assert_eq(tare_open(list.text, &options, &model, NULL), TARE_OK);
    check_check("an index from before", NULL, TARE_E_STALE, 0, "model.safetensors.index.json");
    cr_expect_eq(unlink(list.text), 0);
    cr_expect_eq(tare_index_save(model, NULL, NULL, &error), TARE_E_OPEN);
    expect_message("save", "model.safetensors.index.json", &error);
}

Test(prebuilt_write, that_of_a_model_of_another_kind_is_stale)
{
    check_save("one file", NULL, NULL, TARE_OK);
    make_sharded();
    check_check("of one file", index_path.text, TARE_E_STALE, 0, "a model of 1 shards");
    check_save("in place of one file's", index_path.text, NULL, TARE_E_EXISTS);
    check_save("two shards", NULL, NULL, TARE_OK);
    temp_path two_shards = temp_join(&folder, "sharded/tare.idx");
    add_third_shard();
    check_check("of two shards", two_shards.text, TARE_E_STALE, 0, "a model of 2 shards");
    tare_error error;
    cr_expect_eq(tare_index_check(model, index_path.text, NULL, NULL), TARE_E_STALE);
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    options.reserved = 1;
    cr_expect_eq(tare_index_check(model, NULL, &options, &error), TARE_E_ARGUMENT);
    cr_expect_eq(tare_index_check(model, NULL, NULL, NULL), TARE_E_STALE);
    check_save("three shards", NULL, NULL, TARE_OK);
    cr_expect_eq(tare_index_check(model, NULL, NULL, NULL), TARE_OK);
}

/* A folder has one index file, also where it holds two lists of shards. */
Test(prebuilt_write, that_of_another_list_is_not_replaced_unasked)
{
    temp_path list = make_sharded(), sharded = temp_join(&folder, "sharded");
    check_save("the first list", NULL, NULL, TARE_OK);
    size_t size, other_size;
    char *before = temp_read(temp_join(&sharded, "tare.idx").text, &size);
    void *text = temp_read(list.text, &other_size);
    temp_path other = temp_write(&sharded, "b.safetensors.index.json", text, other_size);
    tare_close(model);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    cr_assert_eq(tare_open(other.text, &options, &model, NULL), TARE_OK);
    tare_error error = expect_poison();
    cr_expect_eq(tare_index_save(model, NULL, NULL, &error), TARE_E_EXISTS);
    expect_message("the other", "another model, 'model.safetensors.index.json'", &error);
    char *after = temp_read(temp_join(&sharded, "tare.idx").text, &other_size);
    cr_expect(size == other_size && memcmp(before, after, size) == 0);
    tare_index_options force = TARE_INDEX_OPTIONS_INIT;
    force.flags = TARE_SAVE_REPLACE;
    check_save("forced", NULL, &force, TARE_OK);
    check_save("its own", NULL, NULL, TARE_OK);
    for (unsigned section = 0; section < 2; section++) { /* shards, and names with no end */
        uint8_t *bytes = temp_read(temp_join(&sharded, "tare.idx").text, &other_size);
        index_image image = index_copy(bytes, other_size);
        size_t begin = index_section_offset(&image, section);
        memset(image.bytes + begin, 0xFF, index_section_offset(&image, section + 1) - begin);
        temp_write(&sharded, "tare.idx", image.bytes, other_size);
        check_save("damaged shards", NULL, NULL, TARE_OK);
        index_free(&image);
        free(bytes);
    }
    tare_close(model);
    cr_assert_eq(tare_open(path.text, &options, &model, NULL), TARE_OK);
    cr_expect_eq(tare_index_save(model, temp_join(&sharded, "tare.idx").text, NULL, &error),
                 TARE_E_EXISTS);
    /* Nobody can tell whose a damaged one is. */
    memset(after + 100, 0, size - 100);
    temp_write(&sharded, "tare.idx", after, size);
    check_save("damaged", temp_join(&sharded, "tare.idx").text, NULL, TARE_OK);
    free(before), free(after), free(text);
}

#define PART(number)             \
    GGUF_HEAD("1", "2")          \
    GGUF_U16("split.no", number) \
    GGUF_U16("split.count", "2") GGUF_TENSOR("t" number, "8", "0", "0") "p32 d32"

/* Any part of it is the same model. */
Test(prebuilt_write, that_of_a_split_file_is_replaced_by_its_own_alone)
{
    static const char *const names[] = {"q-00001-of-00002.gguf", "q-00002-of-00002.gguf",
                                        "r-00001-of-00002.gguf", "r-00002-of-00002.gguf"};
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    for (size_t i = 0; i < 4; i++)
        temp_write_built(&folder, names[i], gguf_text(i % 2 == 0 ? PART("0") : PART("1"), NULL));
    for (size_t i = 0; i < 4; i++) {
        tare_close(model);
        cr_assert_eq(tare_open(temp_join(&folder, names[i]).text, &options, &model, NULL), TARE_OK);
        check_save(names[i], NULL, NULL, i < 2 ? TARE_OK : TARE_E_EXISTS);
        check_check(names[i], NULL, i < 2 ? TARE_OK : TARE_E_STALE, 0, NULL);
    }
    tare_error error = expect_poison();
    tare_index_save(model, NULL, NULL, &error);
    expect_message("another's", "another model, 'q'", &error);
}

/* Opened with an index, its shards are opened when another index is made of it. */
Test(prebuilt_write, a_shard_that_is_gone_is_named)
{
    make_sharded();
    check_save("two shards", NULL, NULL, TARE_OK);
    tare_close(model);
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    temp_path sharded = temp_join(&folder, "sharded");
    cr_assert_eq(tare_open(sharded.text, &options, &model, NULL), TARE_OK);
    cr_expect_eq(unlink(temp_join(&sharded, "1.safetensors").text), 0);
    tare_error error = expect_poison();
    cr_expect_eq(tare_index_save(model, NULL, NULL, &error), TARE_E_OPEN);
    expect_message("save", "1.safetensors", &error);
    cr_expect_eq(error.shard, 1);
}
