#define _POSIX_C_SOURCE 200809L

#include "model_folder.h"
#include "model_gguf.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_NAME "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"
#define GGUF_NAME "model.gguf"

static int fail(const char *what, const char *path, int error)
{
    fprintf(stderr, "make_model: %s %s: %s\n", what, path, strerror(error));
    return 1;
}

static char *join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path == NULL) {
        fputs("make_model: no memory\n", stderr);
        exit(1);
    }
    snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static int ends_with(const char *text, const char *end)
{
    size_t text_size = strlen(text), end_size = strlen(end);
    return text_size > end_size && strcmp(text + text_size - end_size, end) == 0;
}

/* What is at OUT already */

enum { OUT_FREE, OUT_SAME, OUT_OTHER, OUT_FOREIGN };

/* The recipe stands in quotes near the start of the index, or of the header of a single file. */
static int look_at(const char *path, const char *recipe)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return OUT_FOREIGN;
    char start[2048];
    size_t size = fread(start, 1, sizeof start - 1, file);
    fclose(file);
    start[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if (start[i] == '\0') start[i] = ' '; /* numbers of the format */
    const char *found = strstr(start, "\"make_model ");
    if (found == NULL) return OUT_FOREIGN;
    size_t recipe_size = strlen(recipe);
    return strncmp(found + 1, recipe, recipe_size) == 0 && found[1 + recipe_size] == '"'
               ? OUT_SAME
               : OUT_OTHER;
}

static int look_at_out(const struct model_request *request)
{
    struct stat facts;
    if (lstat(request->out, &facts) != 0) return OUT_FREE;
    if (request->file_only)
        return S_ISREG(facts.st_mode) ? look_at(request->out, request->recipe) : OUT_FOREIGN;
    if (!S_ISDIR(facts.st_mode)) return OUT_FOREIGN;
    if (rmdir(request->out) == 0) return OUT_FREE;
    const char *const names[] = {INDEX_NAME, SINGLE_NAME, GGUF_NAME};
    int found = OUT_FOREIGN;
    for (int i = 0; i < 3 && found == OUT_FOREIGN; i++) {
        char *path = join(request->out, names[i]);
        found = look_at(path, request->recipe);
        free(path);
    }
    return found;
}

/* Removes a folder that this program made: its files only, then the folder if it is empty. */
static void remove_folder(const char *folder)
{
    DIR *entries = opendir(folder);
    if (entries == NULL) return;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (!ends_with(entry->d_name, ".safetensors") && strcmp(entry->d_name, INDEX_NAME) != 0 &&
            strcmp(entry->d_name, GGUF_NAME) != 0)
            continue;
        char *path = join(folder, entry->d_name);
        unlink(path);
        free(path);
    }
    closedir(entries);
    rmdir(folder);
}

/* Writing */

static void shard_name(const struct model_request *request, size_t shard, char *name, size_t room)
{
    if (request->shards == 0)
        snprintf(name, room, "%s", request->gguf ? GGUF_NAME : SINGLE_NAME);
    else
        snprintf(name, room, "model-%05zu-of-%05zu.safetensors", shard + 1, request->shards);
}

struct entry {
    const char *name;
    uint32_t shard;
};

static int compare_entries(const void *left, const void *right)
{
    return strcmp(((const struct entry *)left)->name, ((const struct entry *)right)->name);
}

static size_t shard_start(size_t shard, size_t shards, size_t count)
{
    return shard * count / shards;
}

static void print_name(FILE *file, const char *name)
{
    putc('"', file);
    for (; *name != '\0'; name++) {
        if (*name == '"' || *name == '\\') putc('\\', file);
        if ((unsigned char)*name < 0x20)
            fprintf(file, "\\u%04x", (unsigned)(unsigned char)*name);
        else
            putc(*name, file);
    }
    putc('"', file);
}

/* As `json.dumps(index, indent=2, sort_keys=True)` writes it. */
static int write_index(const struct model_request *request, const struct names_list *list,
                       uint64_t total_size, const char *path)
{
    struct entry *entries = malloc((list->count + 1) * sizeof *entries);
    FILE *file = entries == NULL ? NULL : fopen(path, "wb");
    if (file == NULL) {
        free(entries);
        return errno;
    }
    for (size_t shard = 0, i = 0; shard < request->shards; shard++)
        for (; i < shard_start(shard + 1, request->shards, list->count); i++)
            entries[i] = (struct entry){list->tensors[i].name, (uint32_t)shard};
    qsort(entries, list->count, sizeof *entries, compare_entries);
    fprintf(file, "{\n  \"metadata\": {\n    \"recipe\": \"%s\",\n    \"total_size\": %llu\n  },\n",
            request->recipe, (unsigned long long)total_size);
    fputs("  \"weight_map\": {", file);
    for (size_t i = 0; i < list->count; i++) {
        char name[64];
        shard_name(request, entries[i].shard, name, sizeof name);
        fputs(i == 0 ? "\n    " : ",\n    ", file);
        print_name(file, entries[i].name);
        fprintf(file, ": \"%s\"", name);
    }
    fputs("\n  }\n}\n", file);
    free(entries);
    int failed = ferror(file) ? EIO : 0;
    return fclose(file) != 0 && failed == 0 ? errno : failed;
}

static int write_gguf(const struct model_request *request, const struct names_list *list,
                      const char *path)
{
    struct model_gguf made = {
        .data = request->data, .recipe = request->recipe, .tokens = request->tokens};
    return model_gguf_write(list, &made, path);
}

static int write_files(const struct model_request *request, const struct names_list *list,
                       const char *target)
{
    uint64_t total_size = 0;
    size_t shards = request->shards == 0 ? 1 : request->shards;
    int failed = 0;
    for (size_t shard = 0; shard < shards && failed == 0; shard++) {
        char name[64];
        shard_name(request, shard, name, sizeof name);
        char *path = request->file_only ? NULL : join(target, name);
        size_t first = shard_start(shard, shards, list->count);
        size_t count = shard_start(shard + 1, shards, list->count) - first;
        const char *out = path == NULL ? target : path;
        struct model_shard made;
        if (request->gguf) {
            failed = write_gguf(request, list, out);
        } else if ((failed = model_shard_make(list, first, count, request->data, request->recipe,
                                              &made)) == 0) {
            failed = model_shard_write(list, &made, out);
            total_size += made.data_size;
            model_shard_free(&made);
        }
        free(path);
    }
    if (failed == 0 && request->shards != 0) {
        char *path = join(target, INDEX_NAME);
        failed = write_index(request, list, total_size, path);
        free(path);
    }
    return failed;
}

static void discard(const struct model_request *request, const char *target)
{
    if (request->file_only)
        unlink(target);
    else
        remove_folder(target);
}

/* Writes beside OUT and renames, so that OUT is never there in part. A folder cannot be renamed
 * over another: the old one steps aside first. */
static int make_out(const struct model_request *request, const struct names_list *list, int found)
{
    char suffix[32];
    size_t room = strlen(request->out) + sizeof suffix;
    char *beside = malloc(room), *old = malloc(room);
    if (beside == NULL || old == NULL) return fail("cannot make", request->out, ENOMEM);
    snprintf(beside, room, "%s.new-%ld", request->out, (long)getpid());
    snprintf(old, room, "%s.old-%ld", request->out, (long)getpid());

    int failed = 0;
    if (!request->file_only && mkdir(beside, 0777) != 0) failed = errno;
    if (failed == 0) failed = write_files(request, list, beside);
    int aside = failed == 0 && found == OUT_OTHER && !request->file_only;
    if (aside && rename(request->out, old) != 0) failed = errno;
    if (failed == 0 && rename(beside, request->out) != 0) failed = errno;
    if (failed != 0)
        discard(request, beside);
    else if (aside)
        remove_folder(old);
    free(beside);
    free(old);
    return failed == 0 ? 0 : fail("cannot make", request->out, failed);
}

const char *model_data_name(int data)
{
    static const char *const names[] = {"small", "true", "filled"};
    return data >= 0 && data < 3 ? names[data] : NULL;
}

int model_recipe(struct model_request *request)
{
    const char *names = request->names_path == NULL ? request->set : request->names_path;
    const char *base = strrchr(names, '/');
    int size = snprintf(request->recipe, sizeof request->recipe, "make_model %s %zu %s%s",
                        base == NULL ? names : base + 1, request->shards,
                        model_data_name(request->data), request->gguf ? " gguf" : "");
    return size > 0 && (size_t)size < sizeof request->recipe &&
           strpbrk(request->recipe, "\"\\\n\r\t") == NULL;
}

size_t model_published_shards(const char *set)
{
    if (strcmp(set, "S") == 0) return 2;
    if (strcmp(set, "M") == 0) return 4;
    if (strcmp(set, "L") == 0) return 163;
    size_t count = strtoul(set, NULL, 10);
    return count == 0 ? 1000 : 1 + count / 1000;
}

int model_make(const struct model_request *request)
{
    int found = look_at_out(request);
    if (found == OUT_SAME) return 0;
    if (found == OUT_FOREIGN) return fail("will not replace", request->out, EEXIST);

    struct names_list list;
    int failed = request->names_path == NULL ? names_make(request->set, &list)
                                             : names_read(request->names_path, &list);
    if (failed != 0)
        return fail("no names from",
                    request->names_path == NULL ? request->set : request->names_path, failed);
    int status = request->shards > list.count ? fail("too many shards for", request->out, EINVAL)
                                              : make_out(request, &list, found);
    names_free(&list);
    return status;
}
