#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include "os_faults.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

os_faults os_fault;
os_held os_hold;
int os_without_disk;

void os_faults_reset(void)
{
    memset(&os_fault, 0, sizeof os_fault);
}

const char *os_call_name(enum os_call call)
{
    static const char *const names[OS_CALL_COUNT] = {
        "open",      "stat",    "fstat",     "pread",          "mmap",
        "opendir",   "readdir", "getrandom", "madvise",        "posix_fadvise",
        "mlock",     "munlock", "preadv",    "pthread_create", "sched_getaffinity",
        "fstatat",   "write",   "fsync",     "close",          "rename",
        "link",      "unlink",  "preadv2",   "dlopen",         "dlsym",
        "getrlimit", "malloc"};
    return names[call];
}

long __real_sysconf(int name);

static int refuse(int failure)
{
    __atomic_add_fetch(&os_fault.refused, 1, __ATOMIC_SEQ_CST);
    errno = failure;
    return 1;
}

/* Counts the call; true when it is to fail, with errno set. */
static int fails(enum os_call call)
{
    size_t number = __atomic_add_fetch(&os_fault.calls[call], 1, __ATOMIC_SEQ_CST);
    size_t first = os_fault.fail_at[call];
    if (first != 0 && number >= first &&
        (os_fault.fail_count == 0 || number < first + os_fault.fail_count)) {
        __atomic_add_fetch(&os_fault.failed, 1, __ATOMIC_SEQ_CST);
        errno = os_fault.error;
        return 1;
    }
    return os_fault.always[call] != 0 && refuse(os_fault.always[call]);
}

/* What a read or write that fails so returns; `size` becomes 1 for one that is short. */
static ssize_t broken(size_t *size)
{
    if (errno != OS_SHORT) return errno == 0 ? 0 : -1;
    if (*size > 1) *size = 1;
    return 1;
}

static long in_pages(size_t size)
{
    size_t page = (size_t)__real_sysconf(_SC_PAGESIZE);
    return (long)((size + page - 1) / page * page);
}

static size_t in_piece(size_t size)
{
    size_t piece = os_fault.piece != 0 && size > os_fault.piece ? os_fault.piece : size;
    if (os_fault.halve) piece -= piece / 2;
    if (piece != size) __atomic_add_fetch(&os_fault.refused, 1, __ATOMIC_SEQ_CST);
    return piece;
}

static void watch(const void *target, size_t size)
{
    uintptr_t from = (uintptr_t)os_fault.watched, to = (uintptr_t)target;
    if (to >= from && to - from < os_fault.watched_room)
        __atomic_add_fetch(&os_fault.watched_size, size, __ATOMIC_SEQ_CST);
}

/* With 64-bit offsets the C library calls them so; the linker renames the two sides of each. */
int __wrap_openat64(int folder, const char *path, int flags, ...);
int __real_openat64(int folder, const char *path, int flags, ...);
int __wrap_stat64(const char *path, struct stat *facts);
int __real_stat64(const char *path, struct stat *facts);
int __wrap_fstat64(int descriptor, struct stat *facts);
int __real_fstat64(int descriptor, struct stat *facts);
ssize_t __wrap_pread64(int descriptor, void *target, size_t size, off_t offset);
ssize_t __real_pread64(int descriptor, void *target, size_t size, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset);
void *__real_mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset);
DIR *__wrap_opendir(const char *path);
DIR *__real_opendir(const char *path);
struct dirent *__wrap_readdir64(DIR *folder);
struct dirent *__real_readdir64(DIR *folder);
ssize_t __wrap_getrandom(void *target, size_t size, unsigned flags);
ssize_t __real_getrandom(void *target, size_t size, unsigned flags);
int __wrap_madvise(void *memory, size_t size, int advice);
int __real_madvise(void *memory, size_t size, int advice);
int __wrap_posix_fadvise64(int descriptor, off_t offset, off_t size, int advice);
int __real_posix_fadvise64(int descriptor, off_t offset, off_t size, int advice);
int __wrap_mlock(const void *memory, size_t size);
int __wrap_munlock(const void *memory, size_t size);
ssize_t __wrap_preadv64(int descriptor, const struct iovec *vectors, int count, off_t offset);
ssize_t __real_preadv64(int descriptor, const struct iovec *vectors, int count, off_t offset);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context);
int __wrap_sched_getaffinity(pid_t process, size_t size, cpu_set_t *set);
ssize_t __wrap_preadv64v2(int descriptor, const struct iovec *vectors, int count, off_t offset,
                          int flags);
ssize_t __real_preadv64v2(int descriptor, const struct iovec *vectors, int count, off_t offset,
                          int flags);
int __real_sched_getaffinity(pid_t process, size_t size, cpu_set_t *set);

int __wrap_munmap(void *memory, size_t size);
int __real_munmap(void *memory, size_t size);
int __wrap_pthread_join(pthread_t thread, void **result);
int __real_pthread_join(pthread_t thread, void **result);
long __wrap_sysconf(int name);
int __wrap_fstatat64(int folder, const char *path, struct stat *facts, int flags);
int __real_fstatat64(int folder, const char *path, struct stat *facts, int flags);
ssize_t __wrap_write(int descriptor, const void *bytes, size_t size);
ssize_t __real_write(int descriptor, const void *bytes, size_t size);
int __wrap_fsync(int descriptor);
int __real_fsync(int descriptor);
int __wrap_close(int descriptor);
int __real_close(int descriptor);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to,
                     unsigned flags);
int __real_renameat2(int from_folder, const char *from, int to_folder, const char *to,
                     unsigned flags);
int __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags);
int __real_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags);
int __wrap_unlinkat(int folder, const char *path, int flags);
int __real_unlinkat(int folder, const char *path, int flags);
void *__wrap_dlopen(const char *name, int flags);
void *__real_dlopen(const char *name, int flags);
void *__wrap_dlsym(void *library, const char *name);
void *__real_dlsym(void *library, const char *name);
int __wrap_getrlimit64(int resource, struct rlimit *limit);
int __real_getrlimit64(int resource, struct rlimit *limit);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __real_nanosleep(const struct timespec *time, struct timespec *left);
char *__wrap_strerror_r(int failure, char *text, size_t size);
char *__real_strerror_r(int failure, char *text, size_t size);
/* Visible, since the linker finds them wanted by shared libraries, which then call the real
 * ones. */
__attribute__((visibility("default"))) void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
__attribute__((visibility("default"))) void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

int __wrap_openat64(int folder, const char *path, int flags, ...)
{
    void (*before)(void) = os_fault.before_open;
    os_fault.before_open = NULL;
    if (before != NULL) before();
    __atomic_or_fetch(&os_fault.open_flags_missing, ~flags, __ATOMIC_SEQ_CST);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (flags & O_CREAT) {
        snprintf(os_fault.created, sizeof os_fault.created, "%s", path);
        os_fault.created_flags = flags;
        os_fault.created_mode = mode;
    }
    if (fails(OS_OPEN)) return -1;
    if ((flags & O_DIRECT) != 0 && os_fault.direct_refused == 1 && refuse(EINVAL)) return -1;
    return __real_openat64(folder, path, flags, mode);
}

int __wrap_stat64(const char *path, struct stat *facts)
{
    return fails(OS_STAT) ? -1 : __real_stat64(path, facts);
}

int __wrap_fstat64(int descriptor, struct stat *facts)
{
    return fails(OS_FSTAT) ? -1 : __real_fstat64(descriptor, facts);
}

/* A file that could be opened to be read past the page cache, and cannot be read so. */
static int is_refused(int descriptor)
{
    return os_fault.direct_refused == 2 && (fcntl(descriptor, F_GETFL) & O_DIRECT) != 0 &&
           refuse(EINVAL);
}

ssize_t __wrap_pread64(int descriptor, void *target, size_t size, off_t offset)
{
    watch(target, size);
    if (size > os_fault.asked_max) os_fault.asked_max = size;
    if (fails(OS_PREAD) && broken(&size) <= 0) return errno == 0 ? 0 : -1;
    if (os_fault.pretend) return (ssize_t)size;
    if (is_refused(descriptor)) return -1;
    return __real_pread64(descriptor, target, in_piece(size), offset);
}

void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int file, off_t offset)
{
    if (file >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE)
        __atomic_add_fetch(&os_fault.mapped_shared, 1, __ATOMIC_SEQ_CST);
    if (fails(OS_MMAP)) return MAP_FAILED;
    void *mapped = __real_mmap64(at, size, protection, flags, file, offset);
    if (mapped != MAP_FAILED)
        __atomic_add_fetch(&os_hold.mapped_size, in_pages(size), __ATOMIC_SEQ_CST);
    if (file >= 0 && mapped != MAP_FAILED && os_fault.after_map != NULL) os_fault.after_map();
    return mapped;
}

int __wrap_munmap(void *memory, size_t size)
{
    __atomic_sub_fetch(&os_hold.mapped_size, in_pages(size), __ATOMIC_SEQ_CST);
    return __real_munmap(memory, size);
}

DIR *__wrap_opendir(const char *path)
{
    return fails(OS_OPENDIR) ? NULL : __real_opendir(path);
}

struct dirent *__wrap_readdir64(DIR *folder)
{
    return fails(OS_READDIR) ? NULL : __real_readdir64(folder);
}

ssize_t __wrap_getrandom(void *target, size_t size, unsigned flags)
{
    if (fails(OS_GETRANDOM) && broken(&size) <= 0) return -1;
    if (os_fault.random == 0 || size > sizeof os_fault.random)
        return __real_getrandom(target, size, flags);
    memcpy(target, &os_fault.random, size);
    os_fault.random += os_fault.random_step;
    return (ssize_t)size;
}

int __wrap_madvise(void *memory, size_t size, int advice)
{
    os_fault.advised_size += size;
    if (fails(OS_MADVISE)) return -1;
    if (advice != 0 && advice == os_fault.advice_refused && refuse(EINVAL)) return -1;
    if (os_fault.pretend) return 0;
    return __real_madvise(memory, size, advice);
}

/* This one returns its errno. */
int __wrap_posix_fadvise64(int descriptor, off_t offset, off_t size, int advice)
{
    os_fault.advised_size += (uint64_t)size;
    os_fault.advised_wrong += size <= 0;
    if (os_fault.calls[OS_FADVISE] == 0) os_fault.advised_at[0] = (uint64_t)offset;
    os_fault.advised_at[1] = (uint64_t)offset;
    if (fails(OS_FADVISE)) return errno;
    return __real_posix_fadvise64(descriptor, offset, size, advice);
}

/* Sanitizers make these two do nothing, hence the bare system calls. */
int __wrap_mlock(const void *memory, size_t size)
{
    os_fault.advised_size += size;
    return fails(OS_MLOCK) ? -1 : (int)syscall(SYS_mlock, memory, size);
}

int __wrap_munlock(const void *memory, size_t size)
{
    os_fault.advised_size += size;
    return fails(OS_MUNLOCK) ? -1 : (int)syscall(SYS_munlock, memory, size);
}

ssize_t __wrap_preadv64(int descriptor, const struct iovec *vectors, int count, off_t offset)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) size += vectors[i].iov_len;
    for (int i = 0; i < count; i++) watch(vectors[i].iov_base, vectors[i].iov_len);
    if (size > os_fault.asked_max) os_fault.asked_max = size;
    size_t piece = size;
    if (fails(OS_PREADV) && broken(&piece) <= 0) return errno == 0 ? 0 : -1;
    if (os_fault.pretend) return (ssize_t)size;
    if (is_refused(descriptor)) return -1;
    piece = in_piece(piece);
    if (size <= piece) return __real_preadv64(descriptor, vectors, count, offset);
    /* Short: some whole vectors, or a part of the first. */
    int whole = 0;
    for (size = 0; size + vectors[whole].iov_len <= piece; whole++) size += vectors[whole].iov_len;
    if (whole != 0) return __real_preadv64(descriptor, vectors, whole, offset);
    struct iovec part = {vectors[0].iov_base, piece};
    return __real_preadv64(descriptor, &part, 1, offset);
}

/* This one returns its errno too. */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *context)
{
    if (fails(OS_THREAD)) return errno;
    int failure = __real_pthread_create(thread, attributes, run, context);
    if (failure == 0) __atomic_add_fetch(&os_hold.threads, 1, __ATOMIC_SEQ_CST);
    return failure;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    __atomic_sub_fetch(&os_hold.threads, 1, __ATOMIC_SEQ_CST);
    return __real_pthread_join(thread, result);
}

int __wrap_sched_getaffinity(pid_t process, size_t size, cpu_set_t *set)
{
    if (fails(OS_AFFINITY)) return -1;
    if (os_fault.processors == 0) return __real_sched_getaffinity(process, size, set);
    CPU_ZERO_S(size, set);
    for (unsigned i = 0; i < os_fault.processors; i++) CPU_SET_S(i, size, set);
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    if (os_fault.nap == NULL) return __real_nanosleep(time, left);
    os_fault.nap();
    return 0;
}

char *__wrap_strerror_r(int failure, char *text, size_t size)
{
    return os_fault.no_texts ? NULL : __real_strerror_r(failure, text, size);
}

long __wrap_sysconf(int name)
{
    if (os_fault.no_facts && name != _SC_PAGESIZE) return -1;
    if (name == _SC_PHYS_PAGES && os_fault.memory_size != 0 && refuse(0))
        return (long)(os_fault.memory_size / (uint64_t)__real_sysconf(_SC_PAGESIZE));
    return __real_sysconf(name);
}

int __wrap_fstatat64(int folder, const char *path, struct stat *facts, int flags)
{
    return fails(OS_FSTATAT) ? -1 : __real_fstatat64(folder, path, facts, flags);
}

ssize_t __wrap_write(int descriptor, const void *bytes, size_t size)
{
    if (size > os_fault.asked_max) os_fault.asked_max = size;
    if (fails(OS_WRITE) && broken(&size) <= 0) return errno == 0 ? 0 : -1;
    if (os_fault.pretend) return (ssize_t)size;
    return __real_write(descriptor, bytes, in_piece(size));
}

int __wrap_fsync(int descriptor)
{
    if (fails(OS_FSYNC)) return -1;
    return os_without_disk ? 0 : __real_fsync(descriptor);
}

/* As on Linux, the descriptor is gone in any case. */
int __wrap_close(int descriptor)
{
    int result = __real_close(descriptor);
    return fails(OS_CLOSE) ? -1 : result;
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return fails(OS_RENAME) ? -1 : __real_renameat(from_folder, from, to_folder, to);
}

int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to,
                     unsigned flags)
{
    if (fails(OS_RENAME) || (os_fault.rename_refused && refuse(EINVAL))) return -1;
    return __real_renameat2(from_folder, from, to_folder, to, flags);
}

int __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    return fails(OS_LINK) ? -1 : __real_linkat(from_folder, from, to_folder, to, flags);
}

int __wrap_unlinkat(int folder, const char *path, int flags)
{
    return fails(OS_UNLINK) ? -1 : __real_unlinkat(folder, path, flags);
}

ssize_t __wrap_preadv64v2(int descriptor, const struct iovec *vectors, int count, off_t offset,
                          int flags)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) size += vectors[i].iov_len;
    if (size > os_fault.asked_max) os_fault.asked_max = size;
    if (fails(OS_NOWAIT)) return -1;
    size_t look = os_fault.calls[OS_NOWAIT] - 1;
    if (look < OS_LOOK_MAX) os_fault.looked_at[look] = (uint64_t)offset;
    if (os_fault.uncached && look < os_fault.cached_looks) return (ssize_t)size;
    if (os_fault.uncached && refuse(EAGAIN)) return -1;
    return __real_preadv64v2(descriptor, vectors, count, offset, flags);
}

void *__wrap_dlopen(const char *name, int flags)
{
    return fails(OS_LIBRARY) ? NULL : __real_dlopen(name, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
    return fails(OS_SYMBOL) ? NULL : __real_dlsym(library, name);
}

int __wrap_getrlimit64(int resource, struct rlimit *limit)
{
    return fails(OS_RLIMIT) ? -1 : __real_getrlimit64(resource, limit);
}

void *__wrap_malloc(size_t size)
{
    return fails(OS_MALLOC) ? NULL : __real_malloc(size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(OS_MALLOC) ? NULL : __real_aligned_alloc(alignment, size);
}
