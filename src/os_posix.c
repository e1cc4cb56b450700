#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* getrandom, O_CLOEXEC, st_mtim, renameat2 */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE_SIZE_MAX ((size_t)1 << 30) /* of one read or write */

bool tarei_os_is_folder(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

int tarei_os_open_folder(const char *path, int *descriptor)
{
    *descriptor = open(path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *descriptor >= 0 ? 0 : errno;
}

static void identity_fill(tarei_os_identity *identity, const struct stat *facts)
{
    identity->size = (uint64_t)facts->st_size;
    identity->device = (uint64_t)facts->st_dev;
    identity->number = (uint64_t)facts->st_ino;
    identity->modified_s = (int64_t)facts->st_mtim.tv_sec;
    identity->modified_ns = (int64_t)facts->st_mtim.tv_nsec;
}

int tarei_os_open_file(int folder, const char *path, int *descriptor, tarei_os_identity *identity)
{
    int at = folder == TAREI_OS_CWD ? AT_FDCWD : folder;
    int opened = openat(at, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (opened < 0) return errno;
    struct stat facts;
    int failure = fstat(opened, &facts) == 0 ? 0 : errno;
    if (failure == 0 && !S_ISREG(facts.st_mode)) failure = S_ISDIR(facts.st_mode) ? EISDIR : EINVAL;
    if (failure != 0) {
        close(opened);
        return failure;
    }
    identity_fill(identity, &facts);
    *descriptor = opened;
    return 0;
}

int tarei_os_identify(int descriptor, tarei_os_identity *identity)
{
    struct stat facts;
    if (fstat(descriptor, &facts) != 0) return errno;
    identity_fill(identity, &facts);
    return 0;
}

void tarei_os_close(int descriptor)
{
    close(descriptor);
}

int tarei_os_look(int folder, const char *name, tarei_os_entry *entry)
{
    struct stat facts;
    *entry = TAREI_OS_ABSENT;
    if (fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? 0 : errno;
    *entry = S_ISREG(facts.st_mode) || S_ISLNK(facts.st_mode) ? TAREI_OS_REPLACEABLE
             : S_ISDIR(facts.st_mode)                         ? TAREI_OS_FOLDER
                                                              : TAREI_OS_SPECIAL;
    return 0;
}

int tarei_os_create(int folder, const char *name, int *descriptor)
{
    *descriptor = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
    return *descriptor >= 0 ? 0 : errno;
}

int tarei_os_write(int descriptor, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t done = write(descriptor, at, size < PIECE_SIZE_MAX ? size : PIECE_SIZE_MAX);
        if (done == 0) return EIO;
        if (done > 0)
            at += done, size -= (size_t)done;
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

int tarei_os_sync(int descriptor)
{
    while (fsync(descriptor) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

int tarei_os_close_written(int descriptor)
{
    /* Linux has closed it all the same, and what was synced is safe. */
    return close(descriptor) == 0 || errno == EINTR ? 0 : errno;
}

int tarei_os_rename(int folder, const char *from, const char *to, bool replace)
{
    if (replace) return renameat(folder, from, folder, to) == 0 ? 0 : errno;
#ifdef RENAME_NOREPLACE
    if (renameat2(folder, from, folder, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
#endif
    /* A file system that cannot, such as NFS: a second name, which never replaces either. */
    if (linkat(folder, from, folder, to, 0) != 0) return errno;
    unlinkat(folder, from, 0);
    return 0;
}

void tarei_os_remove(int folder, const char *name)
{
    unlinkat(folder, name, 0);
}

int tarei_os_list(const char *path, void (*visit)(void *context, const char *name), void *context)
{
    DIR *folder = opendir(path);
    if (folder == NULL) return errno;
    int failure = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            failure = errno;
            break;
        }
        if (entry->d_type != DT_DIR) visit(context, entry->d_name);
    }
    closedir(folder);
    return failure;
}

int tarei_os_read_at(int descriptor, uint64_t offset, void *target, size_t size, size_t *done)
{
    *done = 0;
    while (*done < size) {
        size_t ask = size - *done < PIECE_SIZE_MAX ? size - *done : PIECE_SIZE_MAX;
        ssize_t got = pread(descriptor, (char *)target + *done, ask, (off_t)(offset + *done));
        if (got == 0) return 0;
        if (got > 0)
            *done += (size_t)got;
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

int tarei_os_map(int descriptor, size_t size, const void **mapping)
{
    void *mapped = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (mapped == MAP_FAILED) return errno;
    *mapping = mapped;
    return 0;
}

void tarei_os_unmap(const void *mapping, size_t size)
{
    munmap((void *)(uintptr_t)mapping, size);
}

void tarei_os_advise_huge(void *memory, size_t size)
{
#ifdef MADV_HUGEPAGE
    madvise(memory, size, MADV_HUGEPAGE);
#else
    (void)memory, (void)size;
#endif
}

/* strerror_r returns a status by POSIX, the text by GNU; which one a build gets is not ours alone
 * to say, where sources are compiled into another project. */
static const char *text_from_status(int failed, const char *text)
{
    return failed == 0 ? text : NULL;
}

static const char *text_from_pointer(const char *returned, const char *text)
{
    (void)text;
    return returned;
}

#define ERROR_TEXT(failure, text, size) \
    _Generic(strerror_r(failure, text, size), int: text_from_status, char *: text_from_pointer)( \
        strerror_r(failure, text, size), text)

void tarei_os_error_text(int failure, char *text, size_t size)
{
    char room[128];
    const char *known = ERROR_TEXT(failure, room, sizeof room);
    if (known != NULL)
        snprintf(text, size, "%s", known);
    else
        snprintf(text, size, "system error %d", failure);
}

uint64_t tarei_os_random(void)
{
    uint64_t value = 0;
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) == (ssize_t)sizeof value) return value;
    /* Early in boot or in a sandbox: time and the address of the stack, which is randomised. */
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    value = (uint64_t)(uintptr_t)&value ^ ((uint64_t)now.tv_nsec << 32) ^ (uint64_t)now.tv_sec;
    return value * UINT64_C(0x9E3779B97F4A7C15);
}
