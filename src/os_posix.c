#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* getrandom, O_CLOEXEC, st_mtim, renameat2 */
#endif
/* Here and not in a build's flags, since others build these sources too: where addresses have 32
 * bits, nothing is told of a file of 2 GiB and more, or of a time from 2038 on, without them. */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#ifndef _TIME_BITS
#define _TIME_BITS 64
#endif
#include "os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PIECE_SIZE_MAX ((size_t)1 << 30) /* of one read or write */
#define AHEAD_SIZE ((size_t)128 << 10)   /* Linux reads no more ahead for one call on some disks */
#define PIECES_MAX 256u                  /* IOV_MAX is 1024, and fewer are as fast */

/* result = call, made again for as long as a signal interrupts it, which then returns `failed`:
 * file systems behind a network or a program (NFS, FUSE) allow that for every call about a file.
 * Every one is made so but for close, which Linux has done all the same, and what never waits. */
#define UNINTERRUPTED(result, failed, call) \
    do {                                    \
        (result) = (call);                  \
    } while ((result) == (failed) && errno == EINTR)

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    int opened;
    UNINTERRUPTED(opened, -1, openat(folder, path, flags | O_CLOEXEC | O_NOCTTY, mode));
    return opened;
}

static int look_at(int folder, const char *path, int flags, struct stat *facts)
{
    int got;
    UNINTERRUPTED(got, -1, fstatat(folder, path, facts, flags));
    return got == 0 ? 0 : errno;
}

static int look(int descriptor, struct stat *facts)
{
    int got;
    UNINTERRUPTED(got, -1, fstat(descriptor, facts));
    return got == 0 ? 0 : errno;
}

bool tarei_os_is_folder(const char *path)
{
    struct stat facts;
    int got;
    UNINTERRUPTED(got, -1, stat(path, &facts));
    return got == 0 && S_ISDIR(facts.st_mode);
}

int tarei_os_open_folder(const char *path, int *descriptor)
{
    *descriptor = open_at(AT_FDCWD, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0);
    return *descriptor >= 0 ? 0 : errno;
}

static void identity_fill(tarei_os_identity *identity, const struct stat *facts)
{
    identity->size = (uint64_t)facts->st_size;
    identity->device = (uint64_t)facts->st_dev;
    identity->number = (uint64_t)facts->st_ino;
    identity->modified_s = (int64_t)facts->st_mtim.tv_sec;
    identity->modified_ns = (int64_t)facts->st_mtim.tv_nsec;
    identity->mode = (uint32_t)facts->st_mode;
}

static int identify_regular(tarei_os_identity *identity, const struct stat *facts)
{
    if (!S_ISREG(facts->st_mode)) return S_ISDIR(facts->st_mode) ? EISDIR : EINVAL;
    identity_fill(identity, facts);
    return 0;
}

/* To open a device or a FIFO may do something: a tape is wound back, a writer that waits goes on.
 * So what is there is looked at first; and once more when it is open, since a file may have taken
 * its place, or something else that of the file, which O_NONBLOCK is for. */
int tarei_os_open_file(int folder, const char *path, int *descriptor, tarei_os_identity *identity)
{
    int failure = tarei_os_identify_at(folder, path, identity);
    if (failure != 0) return failure;
    int at = folder == TAREI_OS_CWD ? AT_FDCWD : folder;
    int opened = open_at(at, path, O_RDONLY | O_NONBLOCK, 0);
    if (opened < 0) return errno;
    struct stat facts;
    failure = look(opened, &facts);
    if (failure == 0) failure = identify_regular(identity, &facts);
    if (failure == 0)
        *descriptor = opened;
    else
        close(opened);
    return failure;
}

int tarei_os_identify(int descriptor, tarei_os_identity *identity)
{
    struct stat facts;
    int failure = look(descriptor, &facts);
    if (failure == 0) identity_fill(identity, &facts);
    return failure;
}

int tarei_os_identify_at(int folder, const char *path, tarei_os_identity *identity)
{
    struct stat facts;
    int failure = look_at(folder == TAREI_OS_CWD ? AT_FDCWD : folder, path, 0, &facts);
    return failure == 0 ? identify_regular(identity, &facts) : failure;
}

void tarei_os_close(int descriptor)
{
    close(descriptor);
}

int tarei_os_look(int folder, const char *name, tarei_os_entry *entry)
{
    struct stat facts;
    *entry = TAREI_OS_ABSENT;
    int failure = look_at(folder, name, AT_SYMLINK_NOFOLLOW, &facts);
    if (failure != 0) return failure == ENOENT ? 0 : failure;
    *entry = S_ISREG(facts.st_mode) || S_ISLNK(facts.st_mode) ? TAREI_OS_REPLACEABLE
             : S_ISDIR(facts.st_mode)                         ? TAREI_OS_FOLDER
                                                              : TAREI_OS_SPECIAL;
    return 0;
}

int tarei_os_create(int folder, const char *name, uint32_t mode, int *descriptor)
{
    *descriptor = open_at(folder, name, O_WRONLY | O_CREAT | O_EXCL, (mode_t)mode);
    return *descriptor >= 0 ? 0 : errno;
}

int tarei_os_write(int descriptor, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        size_t ask = size < PIECE_SIZE_MAX ? size : PIECE_SIZE_MAX;
        ssize_t done;
        UNINTERRUPTED(done, -1, write(descriptor, at, ask));
        if (done <= 0) return done == 0 ? EIO : errno;
        at += done, size -= (size_t)done;
    }
    return 0;
}

int tarei_os_sync(int descriptor)
{
    int done;
    UNINTERRUPTED(done, -1, fsync(descriptor));
    return done == 0 ? 0 : errno;
}

int tarei_os_close_written(int descriptor)
{
    /* Linux has closed it all the same, and what was synced is safe. */
    return close(descriptor) == 0 || errno == EINTR ? 0 : errno;
}

int tarei_os_rename(int folder, const char *from, const char *to, bool replace)
{
    int done;
    if (replace) {
        UNINTERRUPTED(done, -1, renameat(folder, from, folder, to));
        return done == 0 ? 0 : errno;
    }
#ifdef RENAME_NOREPLACE
    UNINTERRUPTED(done, -1, renameat2(folder, from, folder, to, RENAME_NOREPLACE));
    if (done == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
#endif
    /* A file system that cannot, such as NFS: a second name, which never replaces either. */
    UNINTERRUPTED(done, -1, linkat(folder, from, folder, to, 0));
    if (done != 0) return errno;
    tarei_os_remove(folder, from);
    return 0;
}

void tarei_os_remove(int folder, const char *name)
{
    int done;
    UNINTERRUPTED(done, -1, unlinkat(folder, name, 0));
}

int tarei_os_list(const char *path, void (*visit)(void *context, const char *name), void *context)
{
    DIR *folder;
    UNINTERRUPTED(folder, NULL, opendir(path));
    if (folder == NULL) return errno;
    int failure = 0;
    for (;;) {
        const struct dirent *entry;
        UNINTERRUPTED(entry, NULL, (errno = 0, readdir(folder)));
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
        char *at = (char *)target + *done;
        ssize_t got;
        UNINTERRUPTED(got, -1, pread(descriptor, at, ask, (off_t)(offset + *done)));
        if (got <= 0) return got == 0 ? 0 : errno;
        *done += (size_t)got;
    }
    return 0;
}

/* As many of the pieces as one call may read, the first `skip` bytes of them left out. */
static int gather(struct iovec *to, const tarei_os_piece *pieces, size_t count, size_t skip)
{
    size_t room = PIECE_SIZE_MAX;
    int made = 0;
    for (size_t i = 0; i < count && i < PIECES_MAX && room != 0; i++, skip = 0) {
        size_t size = pieces[i].size - skip;
        if (size > room) size = room;
        to[made++] = (struct iovec){(char *)pieces[i].data + skip, size};
        room -= size;
    }
    return made;
}

int tarei_os_read_pieces(int descriptor, uint64_t offset, const tarei_os_piece *pieces,
                         size_t count, uint64_t *done)
{
    struct iovec vectors[PIECES_MAX];
    size_t first = 0, skip = 0; /* of the first piece that is not complete, bytes that are */
    *done = 0;
    while (first < count) {
        int made = gather(vectors, pieces + first, count - first, skip);
        ssize_t got;
        UNINTERRUPTED(got, -1, preadv(descriptor, vectors, made, (off_t)(offset + *done)));
        if (got <= 0) return got == 0 ? 0 : errno;
        *done += (uint64_t)got;
        for (skip += (size_t)got; first < count && skip >= pieces[first].size; first++)
            skip -= pieces[first].size;
    }
    return 0;
}

int tarei_os_open_direct(int descriptor, int *direct)
{
#if defined(O_DIRECT) && defined(__linux__)
    char path[32]; /* leads to the same file, whatever has become of its name */
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    *direct = open_at(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_DIRECT, 0);
    return *direct >= 0 ? 0 : errno;
#else
    (void)descriptor;
    *direct = -1;
    return ENOTSUP;
#endif
}

bool tarei_os_is_cached(int descriptor, uint64_t offset)
{
#if defined(RWF_NOWAIT) && defined(__linux__)
    char byte;
    struct iovec vector = {&byte, 1};
    ssize_t got;
    UNINTERRUPTED(got, -1, preadv2(descriptor, &vector, 1, (off_t)offset, RWF_NOWAIT));
    return got >= 0 || errno != EAGAIN;
#else
    (void)descriptor, (void)offset;
    return true;
#endif
}

static void *map(size_t size, int protection, int flags, int descriptor)
{
    void *mapped;
    UNINTERRUPTED(mapped, MAP_FAILED, mmap(NULL, size, protection, flags, descriptor, 0));
    return mapped;
}

int tarei_os_map(int descriptor, size_t size, bool writable, const void **mapping)
{
    int protection = PROT_READ | (writable ? PROT_WRITE : 0);
    int flags = MAP_PRIVATE | (writable ? MAP_NORESERVE : 0);
    void *mapped = map(size, protection, flags, descriptor);
    if (mapped == MAP_FAILED) return errno;
    *mapping = mapped;
    return 0;
}

void tarei_os_unmap(const void *mapping, size_t size)
{
    munmap((void *)(uintptr_t)mapping, size);
}

uint32_t tarei_os_processor_count(void)
{
#ifdef __linux__
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return (uint32_t)CPU_COUNT(&allowed);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
}

_Static_assert(sizeof(pthread_t) <= sizeof((tarei_os_thread *)0)->handle, "a handle holds it");

static void *thread_main(void *started)
{
    const tarei_os_thread *thread = started;
    thread->run(thread->context);
    return NULL;
}

int tarei_os_thread_start(tarei_os_thread *thread, void (*run)(void *context), void *context)
{
    pthread_t handle;
    sigset_t all, before;
    thread->run = run;
    thread->context = context;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&handle, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0) memcpy(thread->handle, &handle, sizeof handle);
    return failure;
}

void tarei_os_thread_join(tarei_os_thread *thread)
{
    pthread_t handle;
    memcpy(&handle, thread->handle, sizeof handle);
    pthread_join(handle, NULL);
}

void tarei_os_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

size_t tarei_os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

uint64_t tarei_os_memory_size(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    return pages > 0 ? (uint64_t)pages * tarei_os_page_size() : UINT64_MAX;
}

/* The system's calls take pointers that could be written through; these advices write nothing. */
static int advise(const void *memory, size_t size, int advice)
{
    int done;
    UNINTERRUPTED(done, -1, madvise((void *)(uintptr_t)memory, size, advice));
    return done == 0 ? 0 : errno;
}

int tarei_os_advise_memory(const void *memory, size_t size, tarei_os_advice advice)
{
    int failure = 0;
    if (advice == TAREI_OS_DO_NOT_NEED) return advise(memory, size, MADV_DONTNEED);
    if (advice == TAREI_OS_WILL_NEED) {
        for (size_t at = 0, some; at < size && failure == 0; at += some) {
            some = size - at < AHEAD_SIZE ? size - at : AHEAD_SIZE;
            failure = advise((const char *)memory + at, some, MADV_WILLNEED);
        }
        return failure == EBADF ? 0 : failure; /* memory of no file, where nothing is swapped */
    }
#ifdef MADV_HUGEPAGE
    bool huge = advice == TAREI_OS_HUGE_PAGES;
    failure = advise(memory, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
    return failure == EINVAL ? 0 : failure; /* a kernel without huge pages */
}

#ifdef POSIX_FADV_WILLNEED
static int advise_bytes(int descriptor, uint64_t offset, uint64_t size, int advice)
{
    int failure; /* which others leave in errno */
    do {
        failure = posix_fadvise(descriptor, (off_t)offset, (off_t)size, advice);
    } while (failure == EINTR);
    return failure;
}
#endif

int tarei_os_advise_file(int descriptor, uint64_t offset, uint64_t size, tarei_os_advice advice)
{
#ifdef POSIX_FADV_WILLNEED
    int failure = 0;
    if (advice != TAREI_OS_WILL_NEED)
        return advise_bytes(descriptor, offset, size, POSIX_FADV_DONTNEED);
    for (uint64_t end = offset + size, some; offset < end && failure == 0; offset += some) {
        some = end - offset < AHEAD_SIZE ? end - offset : AHEAD_SIZE;
        failure = advise_bytes(descriptor, offset, some, POSIX_FADV_WILLNEED);
    }
    return failure;
#else
    (void)descriptor, (void)offset, (void)size, (void)advice;
    return 0;
#endif
}

#if defined(__linux__) && !defined(MADV_POPULATE_READ)
#define MADV_POPULATE_READ 22 /* the C library may be older than the kernel */
#endif

int tarei_os_populate(const void *memory, size_t size)
{
#ifdef MADV_POPULATE_READ
    int failure = advise(memory, size, MADV_POPULATE_READ);
    return failure == EINVAL ? ENOTSUP : failure;
#else
    (void)memory, (void)size;
    return ENOTSUP;
#endif
}

#define HUGE_SIZE ((size_t)2 << 20)

/* Whoever is bound by them in an old kernel gets no memory after a fork rather than ours. */
static void keep_from_children(void *memory, size_t size)
{
#ifdef MADV_WIPEONFORK
    if (advise(memory, size, MADV_WIPEONFORK) == 0) return;
#endif
#ifdef MADV_DONTFORK
    advise(memory, size, MADV_DONTFORK);
#endif
    (void)memory, (void)size;
}

void *tarei_os_take_pages(size_t size)
{
    if (size > SIZE_MAX - HUGE_SIZE) return NULL;
    char *room = map(size + HUGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (room == MAP_FAILED) return NULL;
    size_t before = -(uintptr_t)room & (HUGE_SIZE - 1);
    char *memory = room + before;
    if (before != 0) munmap(room, before);
    munmap(memory + size, HUGE_SIZE - before);
    keep_from_children(memory, size);
    tarei_os_advise_memory(memory, size, TAREI_OS_HUGE_PAGES);
    for (size_t at = 0, page = tarei_os_page_size(); at < size; at += page)
        ((volatile char *)memory)[at] = 0;
    return memory;
}

void tarei_os_give_pages(void *memory, size_t size)
{
    munmap(memory, size);
}

int tarei_os_lock(const void *memory, size_t size, uint64_t *size_max)
{
    struct rlimit limit;
    int done;
    UNINTERRUPTED(done, -1, mlock(memory, size));
    int failure = done == 0 ? 0 : errno;
    *size_max = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 ? (uint64_t)limit.rlim_cur : UINT64_MAX;
    return failure;
}

int tarei_os_unlock(const void *memory, size_t size)
{
    int done;
    UNINTERRUPTED(done, -1, munlock(memory, size));
    return done == 0 ? 0 : errno;
}

#ifndef RTLD_NODELETE
#define RTLD_NODELETE 0
#endif

void *tarei_os_library_open(const char *name, char *why, size_t why_size)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library != NULL) return library;
    const char *text = dlerror();
    snprintf(why, why_size, "%s", text != NULL ? text : "it cannot be opened");
    return NULL;
}

tarei_os_function tarei_os_library_find(void *library, const char *name)
{
    void *found = dlsym(library, name);
    tarei_os_function function;
    memcpy(&function, &found, sizeof function); /* POSIX: both kinds of pointers are alike */
    return function;
}

void tarei_os_library_close(void *library)
{
    dlclose(library);
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
