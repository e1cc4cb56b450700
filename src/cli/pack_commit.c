#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
 * In the second the old or the new one. In the third perhaps none, but the files of the old one,
 * under their names, in the folder aside; every name is in use all the while.
 */

static bool sync_folder(const pack_target *target)
{
    const char *folder = target->folder[0] != '\0' ? target->folder : ".";
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = descriptor >= 0 && (fsync(descriptor) == 0 || errno == EINVAL);
    if (!good) pack_fail_system(folder);
    if (descriptor >= 0) close(descriptor);
    return good;
}

static bool is_there(const char *path)
{
    struct stat facts;
    return lstat(path, &facts) == 0;
}

typedef enum way {
    NEW,
    OVER,
    KEEP
} way; /* where there is nothing; or was; or from where it stays */

static bool move(const char *from, const char *to, way how)
{
    if (how != OVER) {
        if (link(from, to) == 0) return how == KEEP || unlink(from) == 0 || pack_fail_system(to);
        if (errno == EEXIST) return pack_fail_system(to);
    }
    return rename(from, to) == 0 || pack_fail_system(how == KEEP ? from : to);
}

/* Moves file `index`, or the index over all, between two folders, if it is there. */
static bool move_between(const pack_target *target, const char *from, const char *to, size_t index,
                         way how)
{
    char *old = pack_target_name(target, from, index);
    char *new = pack_target_name(target, to, index);
    bool good = old != NULL && new != NULL ? !is_there(old) || move(old, new, how)
                                           : pack_fail(target->stem, "out of memory");
    free(old);
    free(new);
    return good;
}

/* Whether a file that is not the index has the name of a new one; or memory ran out, which comes
 * to light. */
static bool is_taken(const pack_target *target)
{
    bool taken = false;
    for (size_t i = 0; i < target->file_count && !taken; i++) {
        char *path = pack_target_path(target, i);
        taken = path == NULL || is_there(path);
        free(path);
    }
    return taken;
}

/* Whether a model of that name is there, as one file or as an index; or memory ran out. */
static bool is_replaced(const pack_target *target)
{
    pack_target whole = *target;
    whole.file_count = 1;
    char *index = pack_target_path(target, target->file_count);
    char *file = pack_target_path(&whole, 0);
    bool replaced = index == NULL || file == NULL || is_there(index) || is_there(file);
    free(index);
    free(file);
    return replaced;
}

static bool make_aside(pack_target *target)
{
    size_t size = strlen(target->stage);
    char *aside = malloc(size + sizeof "old/");
    if (aside == NULL) return pack_fail(target->stem, "out of memory");
    snprintf(aside, size + sizeof "old/", "%sold/", target->stage);
    if (mkdir(aside, 0777) != 0) {
        free(aside);
        return pack_fail_system(target->stage);
    }
    target->aside = aside;
    return true;
}

/* The index first. */
static bool put_aside(pack_target *target)
{
    if (!target->force || !is_taken(target)) return true;
    bool good = make_aside(target) &&
                move_between(target, target->folder, target->aside, target->file_count, OVER) &&
                sync_folder(target);
    for (size_t i = 0; i < target->file_count && good; i++)
        good = move_between(target, target->folder, target->aside, i, KEEP);
    return good;
}

static bool bring_back(const pack_target *target, size_t index, bool moved)
{
    char *aside = target->aside != NULL ? pack_target_name(target, target->aside, index) : NULL;
    char *path = pack_target_path(target, index);
    bool good = true;
    if (aside != NULL && is_there(aside))
        good = path != NULL && move(aside, path, OVER);
    else if (moved && path != NULL)
        unlink(path);
    free(aside);
    free(path);
    return good;
}

/* The way back for `count` files that are in their places, perhaps the index, and all that is
 * aside; the index last. */
static void undo(pack_target *target, size_t count, bool index_in)
{
    bool good = true;
    for (size_t i = 0; i < target->file_count; i++) good &= bring_back(target, i, i < count);
    good &= bring_back(target, target->file_count, index_in);
    if (good) return;
    pack_fail(target->aside, "has files of the old model that could not be moved back");
    free(target->aside); /* which keeps it and the stage */
    target->aside = NULL;
}

static bool move_in(pack_target *target)
{
    way how = target->force ? OVER : NEW;
    bool index_in = false;
    bool index_first = !is_replaced(target);
    bool good = put_aside(target);
    if (good && index_first) {
        index_in = move_between(target, target->stage, target->folder, target->file_count, how);
        good = index_in && sync_folder(target);
    }
    size_t moved = 0;
    for (; moved < target->file_count && good; moved += good)
        good = move_between(target, target->stage, target->folder, moved, how);
    if (good && !index_first)
        good = sync_folder(target) &&
               move_between(target, target->stage, target->folder, target->file_count, how);
    if (!good) undo(target, moved, index_in);
    return good && sync_folder(target);
}

#if defined(__GNUC__) && __GNUC__ >= 10 && !defined(__clang__) /* loses what realloc did not move */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

/* After the first, which is opened before the others, the disk must not have them without it. */
static bool remove_old(void *context, const pack_target *target, const char *path)
{
    pack_target *noted = context;
    if (!is_there(path)) return true;
    size_t count = noted->removed_count;
    char **grown = realloc(noted->removed, (count + 1) * sizeof *grown);
    if (grown == NULL) return pack_fail(path, "out of memory");
    noted->removed = grown;
    grown[count] = strdup(path);
    if (grown[count] == NULL) return pack_fail(path, "out of memory");
    noted->removed_count++;
    if (unlink(path) != 0) return pack_fail_system(path);
    return count > 0 || sync_folder(target);
}

/* An index file of the old model: it would be passed over, with a message each time. That of a
 * folder is of the old model where that is what the folder has. */
static bool remove_prebuilt(pack_target *target, bool was_listed)
{
    char *beside = pack_target_prebuilt(target, false);
    char *whole = pack_target_prebuilt(target, true);
    bool good = beside != NULL && whole != NULL;
    if (!good) pack_fail(target->stem, "out of memory");
    good = good && remove_old(target, target, beside) &&
           (!was_listed || remove_old(target, target, whole));
    free(beside);
    free(whole);
    return good;
}

bool pack_commit(pack_target *target)
{
    char *index = pack_target_path(target, target->file_count);
    bool was_listed = index != NULL && is_there(index);
    free(index);
    if (target->stage != NULL && !move_in(target)) return false;
    if (!target->force) return true;
    return pack_target_each_old(target, remove_old, target) &&
           remove_prebuilt(target, was_listed) &&
           (target->removed_count == 0 || sync_folder(target));
}

enum { REMOVED_SHOWN = 3 };

void pack_target_tell_removed(const pack_target *target)
{
    size_t count = target->removed_count;
    for (size_t i = 0; i < count && i < REMOVED_SHOWN; i++)
        pack_fail(target->removed[i], "was of the old model, and is removed");
    if (count > REMOVED_SHOWN)
        cli_message("%zu more files of the old model are removed", count - REMOVED_SHOWN);
}
