#include "pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char extension[] = ".safetensors";
enum { EXTENSION_SIZE = sizeof extension - 1, FILE_COUNT_MAX = 99999 };

bool pack_fail(const char *path, const char *what)
{
    char shown[1024];
    cli_message("%s: %s", text_escape(text_of(path), shown, sizeof shown), what);
    return false;
}

bool pack_fail_for(const char *path, int failure)
{
    return failure == 0 || pack_fail(path, strerror(failure));
}

static char *join(const char *a, const char *b, const char *c, const char *d)
{
    size_t room = strlen(a) + strlen(b) + strlen(c) + strlen(d) + 1;
    char *path = malloc(room);
    if (path != NULL) snprintf(path, room, "%s%s%s%s", a, b, c, d);
    return path;
}

const char *pack_target_folder(const pack_target *target)
{
    return target->folder[0] != '\0' ? target->folder : ".";
}

char *pack_target_name(const pack_target *target, const char *folder, size_t index)
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
    return pack_target_name(target, target->folder, index);
}

char *pack_target_stage_path(const pack_target *target, size_t index)
{
    return pack_target_name(target, target->stage != NULL ? target->stage : target->folder, index);
}

char *pack_target_prebuilt(const pack_target *target, bool of_folder)
{
    if (of_folder) return join(target->folder, "tare.idx", "", "");
    return join(target->folder, target->stem, extension, ".tareidx");
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);
    size_t end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* What nobody means as the name of a folder; a slash behind it says that it is one. */
static bool may_be_folder(const char *out)
{
    if (out[0] == '\0') return pack_fail("''", "is no file and no folder");
    if (strcmp(out, "-") == 0)
        return pack_fail(out, "a model is not written to standard output, but to a file or folder");
    if (ends_with(out, ".gguf"))
        return pack_fail(out, "GGUF is not written; name a .safetensors file or a folder");
    if (ends_with(out, ".json"))
        return pack_fail(out, "name the model, as in NAME.safetensors; its index comes beside it");
    return true;
}

/* Splits OUT into a folder and a name, and makes the folder if OUT is one. */
static bool understand(const char *out, pack_target *target)
{
    place found;
    size_t size = strlen(out);
    if (!place_look(out, true, &found)) return false;
    bool is_folder = found.kind == PLACE_FOLDER;
    bool is_file = !is_folder && ends_with(out, extension);
    const char *slash = strrchr(out, '/');
    size_t folder_size = is_file ? (slash != NULL ? (size_t)(slash - out) + 1 : 0) : size;
    bool ends = folder_size == 0 || out[folder_size - 1] == '/';
    target->folder = join("", out, ends ? "" : "/", "");
    target->stem = is_file ? join("", out + folder_size, "", "") : join("model", "", "", "");
    if (target->folder == NULL || target->stem == NULL) return pack_fail(out, "out of memory");
    if (is_file) {
        target->folder[folder_size] = '\0';
        target->stem[size - folder_size - EXTENSION_SIZE] = '\0';
        return true;
    }
    target->out = out;
    if (is_folder) return true;
    if (found.kind != PLACE_EMPTY)
        return pack_fail(out, "is there and is no folder; name a folder, or a file that ends in "
                              ".safetensors");
    if (!may_be_folder(out)) return false;
    target->made_folder = pack_fail_for(out, place_make_folder(out));
    return target->made_folder;
}

/* An index is read by the rules for names of shards: docs/format_safetensors.md, X-PATH. */
static bool may_be_listed(const pack_target *target)
{
    tare_string left = text_of(target->stem);
    while (left.size > 0) {
        uint32_t code;
        size_t taken = text_decode(left, &code);
        if (code == UINT32_MAX || code < 0x20 || code == 0x7F || code == '\\' || code == ':') {
            return pack_fail(target->stem, "no shard can have that name");
        }
        left.data += taken;
        left.size -= taken;
    }
    return true;
}

/* Only files and links can be written over; nothing is, unless forced. */
static bool check_place(void *context, const pack_target *target, const char *path)
{
    place found;
    (void)context;
    if (!place_look(path, false, &found)) return false;
    if (found.kind == PLACE_EMPTY) return true;
    if (found.kind == PLACE_FOLDER) return pack_fail(path, "is a folder");
    if (found.kind == PLACE_OTHER) return pack_fail(path, "is not a regular file");
    return target->force || pack_fail(path, "is there already; --force writes over it");
}

static bool check_places(const pack_target *target)
{
    bool good = true;
    for (size_t i = 0; i < target->file_count + (target->file_count > 1) && good; i++) {
        char *path = pack_target_path(target, i);
        good = path != NULL ? check_place(NULL, target, path)
                            : pack_fail(target->stem, "out of memory");
        free(path);
    }
    return good && pack_target_each_old(target, check_place, NULL);
}

bool pack_target_make_stage(pack_target *target)
{
    if (target->file_count == 1) return true;
    char *stage = join(target->folder, ".tare-XXXXXX", "/", "");
    if (stage == NULL) return pack_fail(target->folder, "out of memory");
    size_t size = strlen(stage);
    stage[size - 1] = '\0';
    if (!pack_fail_for(pack_target_folder(target), place_make_temporary(stage))) {
        free(stage);
        return false;
    }
    stage[size - 1] = '/';
    target->stage = stage;
    return true;
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

/* Whether a folder that holds that entry beside a new model of one file would not open as that. */
static bool is_in_the_way(const pack_target *target, const char *name)
{
    static const char index[] = ".safetensors.index.json";
    if (name[0] == '.') return false;
    if (ends_with(name, ".gguf")) return true;
    bool is_index = ends_with(name, index);
    if (!is_index && !ends_with(name, extension)) return false;
    size_t size = strlen(name) - (is_index ? sizeof index - 1 : (size_t)EXTENSION_SIZE);
    bool own = size == strlen(target->stem) && memcmp(name, target->stem, size) == 0;
    return !own && (!target->force || !is_shard(target, name));
}

static bool is_no_neighbour(void *context, const char *name)
{
    const pack_target *target = context;
    char shown[256];
    char what[512];
    if (!is_in_the_way(target, name)) return true;
    snprintf(what, sizeof what,
             "has %s, beside which it would not open as the new model; name another folder, or a "
             "file in it that ends in .safetensors",
             text_escape(text_of(name), shown, sizeof shown));
    return pack_fail(target->out, what);
}

/* A folder that is the target must open as what was written there. With an index of the usual name
 * it does, whatever else it holds. */
bool pack_target_check_neighbours(pack_target *target)
{
    if (target->file_count > 1 || target->made_folder || target->out == NULL) return true;
    return place_list(target->out, is_no_neighbour, target);
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
    return (file_count == 1 || may_be_listed(target)) && check_places(target);
}

/* Of as many files as the new model has: one of them. */
static bool is_new(const pack_target *target, const char *name)
{
    char end[48];
    int size = snprintf(end, sizeof end, "-of-%05zu.safetensors", target->file_count);
    return target->file_count > 1 && strcmp(name + strlen(name) - (size_t)size, end) == 0;
}

typedef struct old_shards {
    const pack_target *target;
    bool (*visit)(void *context, const pack_target *target, const char *path);
    void *context;
} old_shards;

static bool visit_old_shard(void *context, const char *name)
{
    const old_shards *old = context;
    const pack_target *target = old->target;
    if (!is_shard(target, name) || is_new(target, name)) return true;
    char *path = join(target->folder, name, "", "");
    bool good = path != NULL ? old->visit(old->context, target, path)
                             : pack_fail(target->stem, "out of memory");
    free(path);
    return good;
}

/* An index, or a whole model in place of one, is opened before shards that nothing lists. Those are
 * in nobody's way unless they are to be removed. */
bool pack_target_each_old(const pack_target *target,
                          bool (*visit)(void *context, const pack_target *target, const char *path),
                          void *context)
{
    char *path =
        join(target->folder, target->stem, extension, target->file_count > 1 ? "" : ".index.json");
    bool good =
        path != NULL ? visit(context, target, path) : pack_fail(target->stem, "out of memory");
    free(path);
    if (!good || !target->force) return good;
    old_shards old = {target, visit, context};
    return place_list(pack_target_folder(target), visit_old_shard, &old);
}

/* With all that is in it, and the slash behind its name. */
static void remove_stage(const pack_target *target, char *folder)
{
    if (folder == NULL) return;
    for (size_t i = 0; i <= target->file_count; i++) {
        char *path = pack_target_name(target, folder, i);
        if (path != NULL) place_remove(path);
        free(path);
    }
    if (place_remove_folder(folder) != 0 && !target->keeps_aside)
        pack_fail(folder, "cannot be removed, and is needed no more");
    free(folder);
}

void pack_target_end(pack_target *target, bool done)
{
    if (target->keeps_aside)
        free(target->aside);
    else
        remove_stage(target, target->aside);
    remove_stage(target, target->stage);
    if (target->made_folder && !done) place_remove_folder(target->folder);
    for (size_t i = 0; i < target->removed_count; i++) free(target->removed[i]);
    free(target->removed);
    free(target->old);
    free(target->folder);
    free(target->stem);
}
