#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

/*
 * At no time is a part of a model there that would be taken for all of it, as a shard alone in its
 * folder would, or an index that means other files than those of its names:
 *
 *   where no model of that name is          index in, files in
 *   where no name of a new file is taken    files in, index in (over the old one), old files out
 *   where some are                          old index aside, files over the old ones, index in
 *
 * A step that fails is followed by the way back, which needs no space. A program that is killed on
 * the way leaves, in the first case, no model or the new one: an index says which file is missing.
 * In the second the old or the new one, under the name of its file or index; the folder, which then
 * may have files of both, opens as none. In the third perhaps none, but the files of the old one,
 * under their names, in the folder aside; every name is in use all the while.
 *
 * Nothing is removed before all that is new is in its place and the disk has been told, and nothing
 * of which it cannot be told what it is.
 */

static bool no_memory(const pack_target *target)
{
    return pack_fail(target->stem, "out of memory");
}

static bool sync_folder(const pack_target *target)
{
    const char *folder = pack_target_folder(target);
    return pack_fail_for(folder, place_sync_folder(folder));
}

typedef enum way {
    NEW,
    OVER,
    KEEP
} way; /* where there is nothing; or was; or from where it stays */

static bool is_linked(const char *a, const char *b)
{
    place one, other;
    return place_look(a, false, &one) && place_look(b, false, &other) &&
           place_is_same(&one, &other);
}

/* A second name of what is new goes with the stage. */
static int move(const char *from, const char *to, way how)
{
    if (how != OVER) {
        int failure = place_link(from, to);
        if (failure == EEXIST && is_linked(from, to)) return 0; /* asked twice, by NFS or by us */
        if (failure == 0 || failure == EEXIST || failure == ENOENT) return failure;
    }
    return place_rename(from, to); /* also for a file system where nothing has two names */
}

/* Moves file `index`, or the index over all, between two folders. ENOENT where there is none. */
static int move_between(const pack_target *target, const char *from, const char *to, size_t index,
                        way how)
{
    char *old = pack_target_name(target, from, index);
    char *new = pack_target_name(target, to, index);
    int failure = old != NULL && new != NULL ? move(old, new, how) : ENOMEM;
    free(old);
    free(new);
    return failure;
}

/* False, and says so, with the name that it has or is to have in its place. */
static bool has_moved(const pack_target *target, size_t index, int failure)
{
    if (failure == 0) return true;
    char *path = pack_target_path(target, index);
    pack_fail_for(path != NULL ? path : target->stem, failure);
    free(path);
    return false;
}

static bool move_in_one(const pack_target *target, size_t index)
{
    way how = target->force ? OVER : NEW;
    return has_moved(target, index,
                     move_between(target, target->stage, target->folder, index, how));
}

/* Whether something is at a path that may be NULL for want of memory; frees it. */
static bool look(const pack_target *target, char *path, bool *is_there)
{
    place found = {.kind = PLACE_EMPTY};
    bool told = path != NULL ? place_look(path, false, &found) : no_memory(target);
    *is_there = found.kind != PLACE_EMPTY;
    free(path);
    return told;
}

/* Whether a file that is not the index has the name of a new one. */
static bool look_taken(const pack_target *target, bool *taken)
{
    bool told = true;
    *taken = false;
    for (size_t i = 0; i < target->file_count && told && !*taken; i++)
        told = look(target, pack_target_path(target, i), taken);
    return told;
}

/* Whether a model of that name is there, as one file or as an index. */
static bool look_replaced(const pack_target *target, bool *replaced)
{
    pack_target whole = *target;
    whole.file_count = 1;
    return look(target, pack_target_path(target, target->file_count), replaced) &&
           (*replaced || look(target, pack_target_path(&whole, 0), replaced));
}

static bool make_aside(pack_target *target)
{
    size_t size = strlen(target->stage);
    char *aside = malloc(size + sizeof "old/");
    if (aside == NULL) return no_memory(target);
    snprintf(aside, size + sizeof "old/", "%sold/", target->stage);
    if (!pack_fail_for(pack_target_folder(target), place_make_folder(aside))) {
        free(aside);
        return false;
    }
    target->aside = aside;
    return true;
}

static bool put_aside_one(const pack_target *target, size_t index, way how)
{
    int failure = move_between(target, target->folder, target->aside, index, how);
    return has_moved(target, index, failure == ENOENT ? 0 : failure);
}

/* The index first. */
static bool put_aside(pack_target *target)
{
    bool taken = false;
    if (target->force && !look_taken(target, &taken)) return false;
    if (!taken) return true;
    bool good = make_aside(target) && put_aside_one(target, target->file_count, OVER) &&
                sync_folder(target);
    for (size_t i = 0; i < target->file_count && good; i++) good = put_aside_one(target, i, KEEP);
    return good;
}

/* What is not aside was not there before, and then what has moved there is removed. */
static bool bring_back(const pack_target *target, size_t index, bool moved)
{
    int failure = ENOENT;
    if (target->aside != NULL)
        failure = move_between(target, target->aside, target->folder, index, OVER);
    if (failure != ENOENT) return has_moved(target, index, failure);
    char *path = moved ? pack_target_path(target, index) : NULL;
    bool good =
        !moved || (path != NULL ? pack_fail_for(path, place_remove(path)) : no_memory(target));
    free(path);
    return good;
}

/* The way back for `count` files that are in their places, perhaps the index, and all that is
 * aside; the index last, and not over files of both models. */
static void undo(pack_target *target, size_t count, bool index_in)
{
    bool good = true;
    for (size_t i = 0; i < target->file_count; i++) good &= bring_back(target, i, i < count);
    if (good && bring_back(target, target->file_count, index_in)) return;
    if (target->aside != NULL) {
        target->keeps_aside = true;
        pack_fail(target->aside, "has files of the old model that could not be moved back");
    } else {
        pack_fail(pack_target_folder(target), "has files of the new model, which is not complete");
    }
}

static bool move_in(pack_target *target)
{
    bool index_in = false;
    bool replaced;
    if (!look_replaced(target, &replaced)) return false;
    bool good = put_aside(target);
    if (good && !replaced) {
        index_in = move_in_one(target, target->file_count);
        good = index_in && sync_folder(target);
    }
    size_t moved = 0;
    for (; moved < target->file_count && good; moved += good) good = move_in_one(target, moved);
    if (good && replaced) good = sync_folder(target) && move_in_one(target, target->file_count);
    if (!good) undo(target, moved, index_in);
    return good;
}

#if defined(__GNUC__) && __GNUC__ >= 10 && !defined(__clang__) /* loses what realloc did not move */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* After the first, which is opened before the others, the disk must not have them without it. */
static bool remove_file(pack_target *noted, const char *path)
{
    size_t count = noted->removed_count;
    char **grown = realloc(noted->removed, (count + 1) * sizeof *grown);
    if (grown == NULL) return no_memory(noted);
    noted->removed = grown;
    grown[count] = strdup(path);
    if (grown[count] == NULL) return no_memory(noted);
    if (!pack_fail_for(path, place_remove(path))) {
        free(grown[count]);
        return false;
    }
    noted->removed_count++;
    return count > 0 || sync_folder(noted);
}

static bool remove_old(void *context, const pack_target *target, const char *path)
{
    place found;
    if (!place_look(path, false, &found)) return false;
    if (found.kind == PLACE_EMPTY) return true;
    for (size_t i = 0; i < target->old_count; i++)
        if (place_is_unchanged(&target->old[i], &found)) return remove_file(context, path);
    pack_fail(path, "has come meanwhile, and stays");
    return true;
}

static bool remove_if_there(pack_target *target, const char *path)
{
    place found;
    if (!place_look(path, false, &found)) return false;
    return found.kind == PLACE_EMPTY || remove_file(target, path);
}

/* An index file of the old model: it would be passed over, with a message each time. That of a
 * folder is of the old model where that is what the folder has. */
static bool remove_prebuilt(pack_target *target, bool was_listed)
{
    char *beside = pack_target_prebuilt(target, false);
    char *whole = pack_target_prebuilt(target, true);
    bool good = beside != NULL && whole != NULL;
    if (!good) no_memory(target);
    good =
        good && remove_if_there(target, beside) && (!was_listed || remove_if_there(target, whole));
    free(beside);
    free(whole);
    return good;
}

/* Of the new model, which is there whether that goes well or not. */
static bool finish(pack_target *target, bool was_listed)
{
    if (target->stage != NULL && !sync_folder(target)) {
        target->keeps_aside = target->aside != NULL;
        return false;
    }
    if (!target->force) return true;
    return pack_target_each_old(target, remove_old, target) &&
           remove_prebuilt(target, was_listed) &&
           (target->removed_count == 0 || sync_folder(target));
}

bool pack_commit(pack_target *target)
{
    bool was_listed;
    bool told = look(target, pack_target_path(target, target->file_count), &was_listed);
    if (target->stage != NULL && (!told || !move_in(target))) return false;
    if (told && finish(target, was_listed)) return true;
    pack_target_tell_removed(target);
    if (target->keeps_aside) pack_fail(target->aside, "has files of the old model");
    return pack_fail(pack_target_folder(target),
                     "has all of the new model, and may have files of an old one beside it");
}

enum { REMOVED_SHOWN = 3 };

void pack_target_tell_removed(const pack_target *target)
{
    size_t count = target->removed_count;
    for (size_t i = 0; i < count && i < REMOVED_SHOWN; i++)
        pack_fail(target->removed[i], "was of the old model, and is removed");
    if (count > REMOVED_SHOWN)
        cli_message("of the old model %zu more are removed", count - REMOVED_SHOWN);
}
