/*
 * Folders that mean no good: everything that can stand where a model file is looked for, and what
 * happens to files while a model is open. Each row makes its folder anew.
 */
#define _XOPEN_SOURCE 700 /* symlink, truncate, mknod */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/expect.h"
#include "support/open_watch.h"
#include "support/process_probe.h"
#include "support/temp_files.h"

static temp_path folder;
static temp_path special; /* what is in the folder and must not be opened; "": nothing */

static void make_folder(void)
{
    special.text[0] = 0;
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

/* Nothing here may wait: a test that does is ended, and fails. */
TestSuite(hostile, .init = make_folder, .fini = remove_folder, .timeout = 60);

static temp_path write_model(const char *name, const char *tensor)
{
    build_tensor made = {tensor, 0, "U8", "[4]", 4};
    return temp_write_built(&folder, name, build_file(&made, 1, NULL));
}

static void write_list(const char *name, const char *marked)
{
    size_t mark;
    temp_write_built(&folder, name, build_marked(marked, &mark));
}

static void link_to(const char *target, const char *name)
{
    cr_assert_eq(symlink(target, temp_join(&folder, name).text), 0);
}

/* ------------------------------------------------------------------------------------------------
 * What stands in the place of a file. Each maker puts it at the name that it is given.
 */

static bool make_fifo(const char *name)
{
    special = temp_join(&folder, name);
    return mkfifo(special.text, 0600) == 0;
}

static bool make_socket(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    temp_path path = temp_join(&folder, name);
    if (strlen(path.text) >= sizeof address.sun_path) return false;
    memcpy(address.sun_path, path.text, strlen(path.text) + 1);
    int made = socket(AF_UNIX, SOCK_STREAM, 0);
    bool good = made >= 0 && bind(made, (struct sockaddr *)&address, sizeof address) == 0;
    if (made >= 0) close(made);
    return good;
}

static bool make_dir(const char *name)
{
    temp_make_folder(&folder, name);
    return true;
}

static bool make_full_dir(const char *name)
{
    char inside[256];
    temp_make_folder(&folder, name);
    snprintf(inside, sizeof inside, "%s/notes.txt", name);
    temp_write(&folder, inside, "x", 1);
    return true;
}

/* Of the kind of /dev/zero, which never ends. Only root makes one. */
static bool make_device(const char *name)
{
    special = temp_join(&folder, name);
    return mknod(special.text, S_IFCHR | 0600, makedev(1, 5)) == 0;
}

static bool make_link_to_zero(const char *name)
{
    link_to("/dev/zero", name);
    return true;
}

static bool make_link_to_terminal(const char *name)
{
    link_to("/dev/tty", name);
    return true;
}

static bool make_link_to_fifo(const char *name)
{
    link_to("behind", name);
    return make_fifo("behind");
}

static bool make_link_to_dir(const char *name)
{
    link_to(".", name);
    return true;
}

static bool make_loop(const char *name)
{
    link_to("other", name);
    link_to(name, "other");
    return true;
}

static bool make_own_loop(const char *name)
{
    link_to(name, name);
    return true;
}

static bool make_dangling(const char *name)
{
    link_to("/nothing/there.safetensors", name);
    return true;
}

static bool make_link_through_file(const char *name)
{
    link_to("plain/m.safetensors", name);
    temp_write(&folder, "plain", "x", 1);
    return true;
}

/* Root may read all: it becomes somebody else for the rest of this test's process, which is its
 * own. */
static bool make_unreadable(const char *name)
{
    temp_path path = write_model(name, "a");
    if (chmod(path.text, 0) != 0) return false;
    if (geteuid() != 0) return true;
    return chmod(folder.text, 0755) == 0 && seteuid(65534) == 0;
}

typedef struct place {
    const char *what;
    bool (*make)(const char *name); /* false: this host cannot */
    int failure;                    /* errno */
} place;

static const place places[] = {
    {"a FIFO", make_fifo, EINVAL},
    {"a socket", make_socket, EINVAL},
    {"a folder", make_dir, EISDIR},
    {"a folder with something in it", make_full_dir, EISDIR},
    {"a device", make_device, EINVAL},
    {"a link to a device", make_link_to_zero, EINVAL},
    {"a link to the terminal", make_link_to_terminal, EINVAL},
    {"a link to a FIFO", make_link_to_fifo, EINVAL},
    {"a link to the folder that it is in", make_link_to_dir, EISDIR},
    {"links in a circle", make_loop, ELOOP},
    {"a link to itself", make_own_loop, ELOOP},
    {"a link to nothing", make_dangling, ENOENT},
    {"a link through a file", make_link_through_file, ENOTDIR},
    {"a file that may not be read", make_unreadable, EACCES},
};

/* Refused within the time limit, with nothing left behind; as a shard with its number. A device or
 * a FIFO is not even opened, which would have effects of its own. */
static void check_place(const place *row, const char *path, uint32_t shard, bool any_status)
{
    size_t open_before = probe_descriptor_count();
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    int watch = open_watch_begin(special.text);
    tare_status status = tare_open(path, NULL, &model, &error);
    cr_expect_eq(open_watch_end(watch), 0, "%s: opened by the system", row->what);
    cr_expect_null(model, "%s", row->what);
    cr_expect_neq(status, TARE_OK, "%s: opened", row->what);
    if (!any_status) {
        expect_status(row->what, TARE_E_OPEN, status, model, &error);
        cr_expect_eq(error.shard, shard, "%s: shard %u", row->what, error.shard);
        cr_expect_eq(error.system_error, row->failure, "%s: errno %d", row->what,
                     error.system_error);
    }
    cr_expect_eq(probe_descriptor_count(), open_before, "%s", row->what);
}

static void for_each_place(const char *name, const char *path, uint32_t shard, bool any_status,
                           void (*prepare)(void))
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        make_folder();
        prepare();
        if (places[i].make(name))
            check_place(&places[i], temp_join(&folder, path).text, shard, any_status);
        if (geteuid() != getuid()) cr_assert_eq(seteuid(getuid()), 0);
        remove_folder();
    }
    make_folder(); /* for the suite's own end */
}

/* Or else the tests that find nothing opened would find nothing in any case. */
Test(hostile, what_is_opened_is_seen)
{
    temp_path path = write_model("m.safetensors", "a");
    int watch = open_watch_begin(path.text);
    if (watch < 0) cr_skip("inotify is not to be had here");
    tare_close(expect_open_path("watched", path.text, TARE_BACKING_AUTO));
    cr_expect_geq(open_watch_end(watch), 1);
}

static void prepare_nothing(void) {}

static void prepare_sharded(void)
{
    write_model("0.safetensors", "0");
    write_list("m.safetensors.index.json",
               "{'weight_map':{'0':'0.safetensors','a':'s.safetensors'}}");
}

/* Of the folder of a model whose index file is somewhere else. */
static void prepare_part(void)
{
    static const char head[] = "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"
                               "\10\0\0\0\0\0\0\0split.no\2\0\0\0\0\0"
                               "\13\0\0\0\0\0\0\0split.count\2\0\0\0\2";
    temp_write(&folder, "m-00001-of-00002.gguf", head, sizeof head);
}

Test(hostile, what_is_no_file_is_refused_as_a_shard)
{
    remove_folder();
    for_each_place("s.safetensors", "m.safetensors.index.json", 1, false, prepare_sharded);
}

Test(hostile, what_is_no_file_is_refused_as_a_part_of_a_split_file)
{
    remove_folder();
    for_each_place("m-00002-of-00002.gguf", "m-00001-of-00002.gguf", 1, false, prepare_part);
}

/* A folder that is named, or named like a file, is looked into: whatever that says. */
Test(hostile, what_is_no_file_is_refused_as_a_model)
{
    remove_folder();
    for_each_place("m.safetensors", "m.safetensors", TARE_NO_SHARD, true, prepare_nothing);
    remove_folder();
    for_each_place("m.gguf", "", TARE_NO_SHARD, true, prepare_nothing);
}

Test(hostile, what_is_no_file_is_refused_as_an_index)
{
    remove_folder();
    for_each_place("m.safetensors.index.json", "m.safetensors.index.json", TARE_NO_SHARD, true,
                   prepare_nothing);
    remove_folder();
    for_each_place("model.safetensors.index.json", "", TARE_NO_SHARD, true, prepare_nothing);
}

/* A model opens whatever stands where its index file would. */
Test(hostile, what_is_no_file_is_no_index_file)
{
    remove_folder();
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        make_folder();
        if (places[i].make("m.safetensors.tareidx")) {
            if (geteuid() != getuid()) cr_assert_eq(seteuid(getuid()), 0);
            temp_path path = write_model("m.safetensors", "a");
            if (getuid() == 0 && places[i].make == make_unreadable) cr_assert_eq(seteuid(65534), 0);
            tare_options options = TARE_OPTIONS_INIT;
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            int watch = open_watch_begin(special.text);
            tare_status status = tare_open(path.text, &options, &model, &error);
            expect_opened(places[i].what, status, model, &error);
            cr_expect_eq(tare_index_status(model, NULL), TARE_E_OPEN, "%s", places[i].what);
            if (special.text[0] != 0) {
                status = tare_index_save(model, NULL, NULL, &error);
                cr_expect(status == TARE_E_WRITE || status == TARE_E_EXISTS, "%s: %s",
                          places[i].what, error.message);
            }
            tare_close(model);
            cr_expect_eq(open_watch_end(watch), 0, "%s", places[i].what);
            options.index = TARE_INDEX_REQUIRE;
            model = expect_no_model();
            status = tare_open(path.text, &options, &model, &error);
            expect_status(places[i].what, TARE_E_OPEN, status, model, &error);
        }
        if (geteuid() != getuid()) cr_assert_eq(seteuid(getuid()), 0);
        remove_folder();
    }
    make_folder();
}

/* ------------------------------------------------------------------------------------------------
 * Links, which are followed wherever they lead: model caches are made of them
 */

Test(hostile, links_out_of_the_folder_lead_to_regular_files_only)
{
    temp_make_folder(&folder, "model");
    temp_make_folder(&folder, "blobs");
    write_model("blobs/1234", "a");
    link_to("../blobs/1234", "model/s.safetensors");
    link_to("../blobs", "model/below");
    write_model("blobs/t.safetensors", "b");
    write_list("model/m.safetensors.index.json",
               "{'weight_map':{'a':'s.safetensors','b':'below/t.safetensors'}}");
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(temp_join(&folder, "model").text, NULL, &model, &error);
    expect_opened("links out", status, model, &error);
    cr_expect_eq(tare_count(model), 2);
    tare_close(model);
}

/* ------------------------------------------------------------------------------------------------
 * Names that would lead out
 */

Test(hostile, no_spelling_of_a_shard_leads_out_of_the_folder)
{
    static const struct {
        const char *name; /* as JSON has it, between quotes */
        tare_status status;
    } rows[] = {
        {"../out.safetensors", TARE_E_SHARD_NAME},
        {"sub/../../out.safetensors", TARE_E_SHARD_NAME},
        {"sub/../m.safetensors", TARE_E_SHARD_NAME},
        {"..\\/out.safetensors", TARE_E_SHARD_NAME},
        {"\\u002e\\u002e/out.safetensors", TARE_E_SHARD_NAME},
        {"..\\u002fout.safetensors", TARE_E_SHARD_NAME},
        {"..\\\\out.safetensors", TARE_E_SHARD_NAME},
        {"..\\u005cout.safetensors", TARE_E_SHARD_NAME},
        {"sub\\\\..\\\\..\\\\out.safetensors", TARE_E_SHARD_NAME},
        {"./../out.safetensors", TARE_E_SHARD_NAME},
        {"//out.safetensors", TARE_E_SHARD_NAME},
        {"....//out.safetensors", TARE_E_SHARD_NAME},
        {"../out.safetensors/", TARE_E_SHARD_NAME},
        {"out.safetensors/..", TARE_E_SHARD_NAME},
        {"out.safetensors/.", TARE_E_SHARD_NAME},
        {"../out.safetensors\\u0000.safetensors", TARE_E_SHARD_NAME},
        {"m\\u0000/../../out.safetensors", TARE_E_SHARD_NAME},
        {"..\\n/out.safetensors", TARE_E_SHARD_NAME},
        {"..\\t/out.safetensors", TARE_E_SHARD_NAME},
        {"file://../out.safetensors", TARE_E_SHARD_NAME},
        {"\\\\\\\\?\\\\C:\\\\out.safetensors", TARE_E_SHARD_NAME},
        {"..:/out.safetensors", TARE_E_SHARD_NAME},
        /* Overlong forms and halves of surrogates are no UTF-8. */
        {"\xC0\xAE\xC0\xAE/out.safetensors", TARE_E_UTF8},
        {"..\xC0\xAFout.safetensors", TARE_E_UTF8},
        {"..\xE0\x80\xAFout.safetensors", TARE_E_UTF8},
        {"..\\ud800/out.safetensors", TARE_E_JSON},
        /* Nobody decodes these: they are names of files below, which are not there. */
        {"%2e%2e/out.safetensors", TARE_E_OPEN},
        {"..%2fout.safetensors", TARE_E_OPEN},
        {"%2e%2e%2fout.safetensors", TARE_E_OPEN},
        {"..%5cout.safetensors", TARE_E_OPEN},
        {"..%c0%afout.safetensors", TARE_E_OPEN},
        {"..\xE2\x88\x95out.safetensors", TARE_E_OPEN},            /* division slash */
        {"..\xEF\xBC\x8Fout.safetensors", TARE_E_OPEN},            /* wide slash */
        {"..\xE2\x81\x84out.safetensors", TARE_E_OPEN},            /* fraction slash */
        {"..\xEF\xBC\xBCout.safetensors", TARE_E_OPEN},            /* wide backslash */
        {"\xE2\x80\xA4\xE2\x80\xA4/out.safetensors", TARE_E_OPEN}, /* one dot leader */
        {"\xE2\x80\xA5/out.safetensors", TARE_E_OPEN},             /* two dot leader */
        {"\xEF\xBC\x8E\xEF\xBC\x8E/out.safetensors", TARE_E_OPEN}, /* wide dots */
        {"..\xE2\x80\x8B/out.safetensors", TARE_E_OPEN},           /* a space of no width */
        {"\xEF\xBB\xBF../out.safetensors", TARE_E_OPEN},           /* a byte order mark */
        {"~/out.safetensors", TARE_E_OPEN},
        {"$HOME/out.safetensors", TARE_E_OPEN},
        {"... /out.safetensors", TARE_E_OPEN},
        {" ../out.safetensors", TARE_E_OPEN},
        {".../out.safetensors", TARE_E_OPEN},
    };
    temp_make_folder(&folder, "model");
    temp_make_folder(&folder, "model/sub");
    write_model("out.safetensors", "a");
    write_model("model/m.safetensors", "a");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        build_text list = {0};
        build_addf(&list, "{\"weight_map\":{\"a\":\"%s\"}}", rows[i].name);
        temp_path path = temp_write_built(&folder, "model/m.safetensors.index.json", list);
        tare_model *model = expect_no_model();
        tare_error error = expect_poison();
        tare_status status = tare_open(path.text, NULL, &model, &error);
        expect_status(rows[i].name, rows[i].status, status, model, &error);
        if (rows[i].status == TARE_E_OPEN) cr_expect_eq(error.system_error, ENOENT);
        if (rows[i].status == TARE_E_SHARD_NAME) cr_expect_eq(error.offset, 19);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Very many shards
 */

enum { MANY = 100000 };

static build_text list_many(void)
{
    build_text list = {0};
    build_addf(&list, "{\"weight_map\":{");
    for (int i = 0; i < MANY; i++)
        build_addf(&list, "%s\"t%05d\":\"%05d.safetensors\"", i == 0 ? "" : ",", i, i);
    build_addf(&list, "}}");
    return list;
}

Test(hostile, a_hundred_thousand_shards_in_memory_are_one_model)
{
    static char names[MANY + 1][32];
    build_text list = list_many(), *shards = malloc(MANY * sizeof *shards);
    tare_file *files = calloc(MANY + 1, sizeof *files);
    cr_assert(shards != NULL && files != NULL);
    for (int i = 0; i < MANY; i++) {
        char name[16];
        build_tensor made = {name, 0, "U8", "[1]", 1};
        snprintf(name, sizeof name, "t%05d", i);
        snprintf(names[i], sizeof names[i], "%05d.safetensors", i);
        shards[i] = build_file(&made, 1, NULL);
        files[i] = (tare_file){.name = names[i], .bytes = shards[i].data, .size = shards[i].size};
    }
    files[MANY] =
        (tare_file){.name = "model.safetensors.index.json", .bytes = list.data, .size = list.size};
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_files(files, MANY + 1, NULL, &model, &error);
    expect_opened("100,000 shards", status, model, &error);
    cr_expect_eq(tare_shard_count(model), MANY);
    cr_expect_eq(tare_count(model), MANY);
    const tare_tensor *last = tare_find(model, "t99999", 6);
    cr_expect_eq(tare_describe(model, last).shard, MANY - 1);
    tare_close(model);
    files[MANY - 1].size--; /* the last one is cut short */
    model = expect_no_model();
    status = tare_open_files(files, MANY + 1, NULL, &model, &error);
    expect_status("the last one cut", TARE_E_COVER, status, model, &error);
    cr_expect_eq(error.shard, MANY - 1);
    for (int i = 0; i < MANY; i++) build_free(&shards[i]);
    free(shards);
    free(files);
    build_free(&list);
}

/* On the disk each takes a descriptor. Which shard was one too many is told, and none stays
 * open. */
Test(hostile, more_shards_than_files_may_be_open_are_an_error)
{
    enum { OPEN_MOST = 40 };
    struct rlimit most = {OPEN_MOST, OPEN_MOST};
    temp_path path = temp_write_built(&folder, "m.safetensors.index.json", list_many());
    write_model("blob", "t");
    for (int i = 0; i < OPEN_MOST; i++) {
        char name[32];
        snprintf(name, sizeof name, "%05d.safetensors", i);
        link_to("blob", name);
    }
    size_t open_before = probe_descriptor_count();
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &most), 0);
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path.text, NULL, &model, &error);
    expect_status("too many", TARE_E_OPEN, status, model, &error);
    cr_expect_eq(error.system_error, EMFILE);
    cr_expect_lt(error.shard, OPEN_MOST);
    cr_expect_eq(probe_descriptor_count(), open_before);
}
