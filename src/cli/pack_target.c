#define _XOPEN_SOURCE 700
#include "pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char extension[] = ".safetensors";
enum { EXTENSION_SIZE = sizeof extension - 1, FILE_COUNT_MAX = 99999 };

static bool fail(const char *path, const char *what)
{
    char shown[1024];
    cli_message("%s: %s", text_escape(text_of(path), shown, sizeof shown), what);
    return false;
}

static bool fail_system(const char *path)
{
    return fail(path, strerror(errno));
}

static char *join(const char *a, const char *b, const char *c, const char *d)
{
    size_t room = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *path = malloc(room);
    if (path != NULL) snprintf(path, room, "%s%s%s%s", a, b, c, d);
    return path;
}

/* folder + name of file `index`, or of the index over all files. */
static char *path_in(const pack_target *target, const char *folder, size_t index)
{
    char number[64] = "";
    if (index == target->file_count) return join(folder, target->stem, extension, ".index.json");
    if (target->file_count > 1) {
        snprintf(number, sizeof number, "-%05zu-of-%05zu", index + 1, target->file_count);
    }
    return join(folder, target->stem, number, extension);
}

char *pack_target_path(const pack_target *target, size_t index)
{
    return path_in(target, target->folder, index);
}

char *pack_target_stage_path(const pack_target *target, size_t index)
{
    return path_in(target, target->stage != NULL ? target->stage : target->folder, index);
}

/* Splits OUT into a folder and a name, and makes the folder if OUT is one. */
static bool understand(const char *out, pack_target *target)
{
    struct stat facts;
    size_t size = strlen(out);
    bool is_folder = stat(out, &facts) == 0 && S_ISDIR(facts.st_mode);
    bool is_file =
        !is_folder && size >= EXTENSION_SIZE && strcmp(out + size - EXTENSION_SIZE, extension) == 0;
    const char *slash = strrchr(out, '/');
    size_t folder_size = is_file ? (slash != NULL ? (size_t)(slash - out) + 1 : 0) : size;
    bool ends = folder_size == 0 || out[folder_size - 1] == '/';
    target->folder = join("", out, ends ? "" : "/", "");
    target->stem = is_file ? join("", out + folder_size, "", "") : join("model", "", "", "");
    if (target->folder == NULL || target->stem == NULL) return fail(out, "out of memory");
    if (is_file) {
        target->folder[folder_size] = '\0';
        target->stem[size - folder_size - EXTENSION_SIZE] = '\0';
        return true;
    }
    if (size == 0) return fail("''", "is no file and no folder");
    target->made_folder = !is_folder && mkdir(out, 0777) == 0;
    return is_folder || target->made_folder || fail_system(out);
}

/* An index is read by the rules for names of shards: docs/format_safetensors.md, X-PATH. */
static bool may_be_listed(const pack_target *target)
{
    tare_string left = text_of(target->stem);
    while (left.size > 0) {
        uint32_t code;
        size_t taken = text_decode(left, &code);
        if (code == UINT32_MAX || code < 0x20 || code == 0x7F || code == '\\' || code == ':') {
            return fail(target->stem, "no shard can have that name");
        }
        left.data += taken;
        left.size -= taken;
    }
    return true;
}

static bool is_there(const char *path)
{
    struct stat facts;
    return lstat(path, &facts) == 0;
}

/* A model of that name in whichever form: as one file, as an index, or as one of our files. */
static bool check_free(const pack_target *target)
{
    const pack_target single = {.folder = target->folder, .stem = target->stem, .file_count = 1};
    for (size_t i = 0; i < target->file_count + 2; i++) {
        char *path = i < target->file_count ? pack_target_path(target, i)
                                            : pack_target_path(&single, i - target->file_count);
        bool taken = path == NULL || is_there(path);
        if (path == NULL)
            fail(target->stem, "out of memory");
        else if (taken)
            fail(path, "is there already; --force writes over it");
        free(path);
        if (taken) return false;
    }
    return true;
}

static bool make_stage(pack_target *target)
{
    char *stage = join(target->folder, ".tare-XXXXXX", "/", "");
    if (stage == NULL) return fail(target->folder, "out of memory");
    size_t size = strlen(stage);
    stage[size - 1] = '\0';
    if (mkdtemp(stage) == NULL) {
        fail_system(target->folder[0] != '\0' ? target->folder : ".");
        free(stage);
        return false;
    }
    stage[size - 1] = '/';
    target->stage = stage;
    return true;
}

bool pack_target_begin(const cli_options *options, size_t file_count, pack_target *target)
{
    memset(target, 0, sizeof *target);
    target->file_count = file_count;
    target->force = (options->given & OPTION_FORCE) != 0;
    if (file_count > FILE_COUNT_MAX) {
        cli_message("that makes %zu files, more than %d; take a larger --shard-size", file_count,
                    FILE_COUNT_MAX);
        return false;
    }
    if (!understand(options->output, target)) return false;
    if (!target->force && !check_free(target)) return false;
    return file_count == 1 || (may_be_listed(target) && make_stage(target));
}

static bool sync_folder(const pack_target *target)
{
    const char *folder = target->folder[0] != '\0' ? target->folder : ".";
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = descriptor >= 0 && (fsync(descriptor) == 0 || errno == EINVAL);
    if (!good) fail_system(folder);
    if (descriptor >= 0) close(descriptor);
    return good;
}

/* Never over what is there, unless forced. */
static bool move(const pack_target *target, const char *from, const char *to)
{
    if (!target->force) {
        if (link(from, to) == 0) return unlink(from) == 0 || fail_system(from);
        if (errno == EEXIST) return fail_system(to);
    }
    return rename(from, to) == 0 || fail_system(to);
}

static bool move_file(const pack_target *target, size_t index)
{
    char *from = pack_target_stage_path(target, index);
    char *to = pack_target_path(target, index);
    bool good =
        from != NULL && to != NULL ? move(target, from, to) : fail(target->stem, "out of memory");
    free(from);
    free(to);
    return good;
}

/* Removes what would be taken for the model in place of the new one. */
static bool remove_other(const pack_target *target, const char *tail)
{
    char *path = join(target->folder, target->stem, extension, tail);
    bool good = path != NULL && (unlink(path) == 0 || errno == ENOENT);
    if (!good) fail_system(path != NULL ? path : target->stem);
    free(path);
    return good;
}

static void remove_files(const pack_target *target, size_t count, bool staged)
{
    for (size_t i = 0; i < count; i++) {
        char *path = staged ? pack_target_stage_path(target, i) : pack_target_path(target, i);
        if (path != NULL) unlink(path);
        free(path);
    }
}

/* STEM-00001-of-00005.safetensors */
static bool is_shard(const pack_target *target, const char *name)
{
    static const char pattern[] = "-00000-of-00000.safetensors";
    size_t stem_size = strlen(target->stem);
    if (strlen(name) != stem_size + sizeof pattern - 1) return false;
    if (memcmp(name, target->stem, stem_size) != 0) return false;
    for (size_t i = 0; i < sizeof pattern - 1; i++) {
        char letter = name[stem_size + i];
        bool same = pattern[i] == '0' ? letter >= '0' && letter <= '9' : letter == pattern[i];
        if (!same) return false;
    }
    return true;
}

/* Of as many files as the new model has: one of them. */
static bool is_new(const pack_target *target, const char *name)
{
    char end[48];
    int size = snprintf(end, sizeof end, "-of-%05zu.safetensors", target->file_count);
    return target->file_count > 1 && strcmp(name + strlen(name) - (size_t)size, end) == 0;
}

/* Removes files of a model that was split otherwise: nothing lists them any more, and a folder of
 * several models does not open. */
static bool remove_old_shards(const pack_target *target)
{
    DIR *folder = opendir(target->folder[0] != '\0' ? target->folder : ".");
    if (folder == NULL) return fail_system(target->folder);
    bool good = true;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL && good;) {
        if (!is_shard(target, entry->d_name) || is_new(target, entry->d_name)) continue;
        good = unlinkat(dirfd(folder), entry->d_name, 0) == 0 || fail_system(entry->d_name);
    }
    closedir(folder);
    return good;
}

/* At no time is there an index that lists a file which is not there, or not the one it means. */
bool pack_target_commit(pack_target *target)
{
    if (target->stage == NULL) {
        return !target->force || (remove_other(target, ".index.json") &&
                                  remove_old_shards(target) && sync_folder(target));
    }
    bool good = !target->force || (remove_other(target, ".index.json") &&
                                   remove_other(target, "") && sync_folder(target));
    size_t moved = 0;
    while (good && moved < target->file_count) {
        good = move_file(target, moved);
        moved += good;
    }
    if (good && target->force) good = remove_old_shards(target);
    good = good && sync_folder(target) && move_file(target, target->file_count);
    if (!good && !target->force) remove_files(target, moved, false);
    return good && sync_folder(target);
}

void pack_target_end(pack_target *target, bool done)
{
    if (target->stage != NULL) {
        remove_files(target, target->file_count + 1, true);
        rmdir(target->stage);
    }
    if (target->made_folder && !done) rmdir(target->folder);
    free(target->folder);
    free(target->stem);
    free(target->stage);
}
