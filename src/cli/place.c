#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* as in os_posix.c of the library */
#endif
#ifndef _TIME_BITS
#define _TIME_BITS 64
#endif
#define _XOPEN_SOURCE 700
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pack.h"

/* Likewise: file systems behind a network or a program may say EINTR. */
#define UNINTERRUPTED(result, failed, call) \
    do {                                    \
        (result) = (call);                  \
    } while ((result) == (failed) && errno == EINTR)

/* These alone say that nothing is there. Whatever else fails says nothing about that. */
static bool says_nothing_there(int failure)
{
    return failure == ENOENT || failure == ENOTDIR || failure == ENAMETOOLONG;
}

bool place_look(const char *path, bool follow, place *found)
{
    struct stat facts;
    int got;
    *found = (place){.kind = PLACE_EMPTY};
    UNINTERRUPTED(got, -1, fstatat(AT_FDCWD, path, &facts, follow ? 0 : AT_SYMLINK_NOFOLLOW));
    if (got != 0) return says_nothing_there(errno) || pack_fail_for(path, errno);
    found->kind = S_ISREG(facts.st_mode)   ? PLACE_FILE
                  : S_ISDIR(facts.st_mode) ? PLACE_FOLDER
                  : S_ISLNK(facts.st_mode) ? PLACE_LINK
                                           : PLACE_OTHER;
    found->device = (uint64_t)facts.st_dev;
    found->number = (uint64_t)facts.st_ino;
    found->modified_s = (int64_t)facts.st_mtim.tv_sec;
    found->modified_ns = (int64_t)facts.st_mtim.tv_nsec;
    return true;
}

bool place_is_same(const place *a, const place *b)
{
    return a->kind != PLACE_EMPTY && a->kind == b->kind && a->device == b->device &&
           a->number == b->number;
}

bool place_is_unchanged(const place *a, const place *b)
{
    return place_is_same(a, b) && a->modified_s == b->modified_s &&
           a->modified_ns == b->modified_ns;
}

bool place_list(const char *folder, bool (*visit)(void *context, const char *name), void *context)
{
    DIR *listed;
    UNINTERRUPTED(listed, NULL, opendir(folder));
    if (listed == NULL) return says_nothing_there(errno) || pack_fail_for(folder, errno);
    bool good = true;
    while (good) {
        const struct dirent *entry;
        UNINTERRUPTED(entry, NULL, (errno = 0, readdir(listed)));
        if (entry == NULL) {
            good = errno == 0 || pack_fail_for(folder, errno);
            break;
        }
        good = visit(context, entry->d_name);
    }
    closedir(listed);
    return good;
}

int place_create(const char *path, int *descriptor)
{
    UNINTERRUPTED(*descriptor, -1, open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    return *descriptor >= 0 ? 0 : errno;
}

int place_sync(int descriptor)
{
    int done;
    UNINTERRUPTED(done, -1, fsync(descriptor));
    return done == 0 ? 0 : errno;
}

int place_sync_folder(const char *folder)
{
    int descriptor;
    UNINTERRUPTED(descriptor, -1, open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (descriptor < 0) return errno;
    int failure = place_sync(descriptor);
    close(descriptor);
    return failure == EINVAL ? 0 : failure; /* a file system where that means nothing */
}

int place_make_folder(const char *path)
{
    int done;
    UNINTERRUPTED(done, -1, mkdir(path, 0777));
    return done == 0 ? 0 : errno;
}

int place_make_temporary(char *path)
{
    static const char letters[] = "XXXXXX";
    size_t size = strlen(path);
    const char *made;
    do { /* an interrupted call leaves others behind */
        memcpy(path + size - (sizeof letters - 1), letters, sizeof letters - 1);
        made = mkdtemp(path);
    } while (made == NULL && errno == EINTR);
    return made != NULL ? 0 : errno;
}

int place_link(const char *from, const char *to)
{
    int done;
    UNINTERRUPTED(done, -1, link(from, to));
    return done == 0 ? 0 : errno;
}

/* What is gone when it is asked for again was moved when it was interrupted. */
int place_rename(const char *from, const char *to)
{
    struct stat facts;
    bool again = false;
    while (rename(from, to) != 0) {
        if (errno == EINTR) {
            again = true;
            continue;
        }
        int failure = errno;
        return failure == ENOENT && again && lstat(to, &facts) == 0 ? 0 : failure;
    }
    return 0;
}

int place_remove(const char *path)
{
    int done;
    UNINTERRUPTED(done, -1, unlink(path));
    return done == 0 || says_nothing_there(errno) ? 0 : errno;
}

int place_remove_folder(const char *path)
{
    int done;
    UNINTERRUPTED(done, -1, rmdir(path));
    return done == 0 || says_nothing_there(errno) ? 0 : errno;
}
