#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

/*
 * --force writes over a model of the same name, and removes what is left of it. Where the model
 * that is read is part of that, nothing may go but what is packed: a file of it of which a tensor
 * is left out must stay, and so must a file that only has its name from the same model. Files are
 * told by what they are, whatever the path that leads to them; if one cannot be told, nothing goes.
 */

typedef struct source_file {
    place place;
    size_t left_out; /* tensors */
} source_file;

typedef struct guard {
    pack_target *target;
    const char *model; /* its path */
    source_file *files;
    size_t count;
    bool overlaps;
    char *stranger; /* the first file that is none of the model */
} guard;

static bool no_memory(const guard *g)
{
    return pack_fail(g->model, "out of memory");
}

/* A file that is gone could have become any other. */
static bool add_file(guard *g, const char *path, size_t left_out, bool must_be)
{
    place found;
    if (path == NULL) return no_memory(g);
    if (!place_look(path, true, &found)) return false;
    if (found.kind != PLACE_EMPTY)
        g->files[g->count++] = (source_file){found, left_out};
    else if (must_be)
        return pack_fail(path, "is of the model that is read, and is not there any more");
    return true;
}

/* A shard's name is the path itself, or leads on from the folder of what was opened. */
static char *shard_path(const char *model, bool is_folder, const char *name)
{
    const char *slash = strrchr(model, '/');
    size_t size = slash != NULL ? (size_t)(slash - model) + 1 : 0;
    if (is_folder) size = strlen(model);
    if (strcmp(name, model) == 0) size = 0;
    size_t room = size + strlen(name) + 2;
    char *path = malloc(room);
    if (path != NULL)
        snprintf(path, room, "%.*s%s%s", (int)size, model, is_folder ? "/" : "", name);
    return path;
}

/* Of each shard, how many tensors are left out. NULL without memory. */
static size_t *count_left_out(const tare_model *model, const pack_list *list)
{
    size_t *counts = calloc(tare_shard_count(model) + 1, sizeof *counts);
    if (counts == NULL) return NULL;
    for (size_t i = 0; i < tare_count(model); i++)
        counts[tare_describe(model, tare_at(model, i)).shard]++;
    for (size_t i = 0; i < list->count; i++)
        counts[tare_describe(model, list->tensors[i].tensor).shard]--;
    return counts;
}

static bool add_shards(guard *g, const tare_model *model, const pack_list *list, bool is_folder)
{
    size_t shards = tare_shard_count(model);
    size_t *counts = count_left_out(model, list);
    g->files = malloc((shards + 1) * sizeof *g->files);
    if (counts == NULL || g->files == NULL) {
        free(counts);
        return no_memory(g);
    }
    bool good = true;
    for (size_t i = 0; i < shards && good; i++) {
        char *path = shard_path(g->model, is_folder, tare_shard_at(model, i).name.data);
        good = add_file(g, path, counts[i], true);
        free(path);
    }
    free(counts);
    return good;
}

/* Its shards, and the index that they were found by: what was opened, or, where that was the folder
 * of the target, the index there. */
static bool list_files(guard *g, const tare_model *model, const pack_list *list,
                       const pack_target *target)
{
    place opened, folder;
    size_t left_out = tare_count(model) - list->count;
    if (!place_look(g->model, true, &opened)) return false;
    bool is_folder = opened.kind == PLACE_FOLDER;
    if (!add_shards(g, model, list, is_folder)) return false;
    if (!is_folder) return add_file(g, g->model, left_out, true);
    if (!place_look(pack_target_folder(target), true, &folder)) return false;
    if (!place_is_same(&opened, &folder)) return true;
    char *index = pack_target_name(target, target->folder, target->file_count);
    bool good = add_file(g, index, left_out, false);
    free(index);
    return good;
}

static bool refuse(const guard *g, const char *path, size_t left_out)
{
    char model[512];
    char what[768];
    text_escape(text_of(g->model), model, sizeof model);
    if (left_out > 0)
        snprintf(what, sizeof what,
                 "is of %s, which is read, and %zu of its tensors would be lost; write to another "
                 "place",
                 model, left_out);
    else
        snprintf(what, sizeof what,
                 "would be replaced with %s, which is read, but is not of it; move it, or write to "
                 "another place",
                 model);
    return pack_fail(path, what);
}

#if defined(__GNUC__) && __GNUC__ >= 10 && !defined(__clang__) /* loses what realloc did not move */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* What comes later is not of the old model, but another process's, perhaps all that it has. */
static bool note_old(guard *g, const char *path)
{
    pack_target *target = g->target;
    place found;
    if (!place_look(path, false, &found)) return false;
    place *grown = realloc(target->old, (target->old_count + 1) * sizeof *grown);
    if (grown == NULL) return no_memory(g);
    grown[target->old_count++] = found;
    target->old = grown;
    return true;
}

/* A file that would be replaced or removed, or is not there. */
static bool meet(void *context, const pack_target *target, const char *path)
{
    guard *g = context;
    place found;
    (void)target;
    if (!note_old(g, path) || !place_look(path, true, &found)) return false;
    if (found.kind == PLACE_EMPTY) return true;
    for (size_t i = 0; i < g->count; i++) {
        const source_file *file = &g->files[i];
        if (!place_is_same(&file->place, &found)) continue;
        g->overlaps = true;
        return file->left_out == 0 || refuse(g, path, file->left_out);
    }
    if (g->stranger == NULL) g->stranger = strdup(path);
    return g->stranger != NULL || pack_fail(path, "out of memory");
}

bool pack_guard(const cli_options *options, const tare_model *model, const pack_list *list,
                pack_target *target)
{
    guard g = {.target = target, .model = options->operands[0]};
    if (!target->force) return true;
    bool good = list_files(&g, model, list, target);
    for (size_t i = 0; i < target->file_count + (target->file_count > 1) && good; i++) {
        char *path = pack_target_path(target, i);
        good = path != NULL ? meet(&g, target, path) : no_memory(&g);
        free(path);
    }
    good = good && pack_target_each_old(target, meet, &g);
    if (good && g.overlaps && g.stranger != NULL) good = refuse(&g, g.stranger, 0);
    free(g.files);
    free(g.stranger);
    return good;
}
