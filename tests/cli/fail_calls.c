/* Loaded before libc into the program: its calls about files and folders, counted together, fail.
 *
 *     FAIL_AT=N          the N-th call
 *     FAIL_COUNT=N       and those after it, so many in all
 *     FAIL_ERROR=ERRNO   so; EINTR: every call from the first on, until it is made again
 *     FAIL_LATE=1        once it has done what it is for; EINTR is an error like others then
 *     FAIL_RUN=COMMAND   does not fail, but that is run before it
 *     FAIL_TELL=FD       where the name of each call that failed goes, a line each
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long number(const char *name)
{
    const char *value = getenv(name);
    return value != NULL ? strtol(value, NULL, 10) : 0;
}

static bool fails(const char *name)
{
    static const char *interrupted;
    static long calls;
    int error = (int)number("FAIL_ERROR");
    long at = number("FAIL_AT");
    calls++;
    if (error == EINTR && number("FAIL_LATE") == 0) {
        bool again = interrupted != NULL && strcmp(interrupted, name) == 0;
        interrupted = again ? NULL : name;
        if (again) return false;
    } else if (calls < at || calls >= at + number("FAIL_COUNT")) {
        return false;
    }
    int tell = (int)number("FAIL_TELL");
    if (write(tell, name, strlen(name)) < 0 || write(tell, "\n", 1) < 0) abort();
    const char *command = getenv("FAIL_RUN");
    if (command != NULL) {
        char *kept = strdup(command);
        unsetenv("FAIL_RUN");
        setenv("FAIL_COUNT", "0", 1);
        if (kept == NULL || system(kept) != 0) abort();
        free(kept);
        return false;
    }
    errno = error;
    return true;
}

static bool is_late(void)
{
    return number("FAIL_LATE") != 0;
}

/* The call of that name behind this one. A pointer to a function is no void *, but POSIX has them
 * alike. */
#define REAL(name)                             \
    static __typeof__(&(name)) real;           \
    if (real == NULL) {                        \
        void *found = dlsym(RTLD_NEXT, #name); \
        memcpy(&real, &found, sizeof found);   \
    }

#define FAIL(result, failed, name, parameters, arguments)         \
    __attribute__((visibility("default"))) result name parameters \
    {                                                             \
        REAL(name)                                                \
        if (!fails(#name)) return real arguments;                 \
        int error = errno;                                        \
        if (is_late()) (void)real arguments;                      \
        errno = error;                                            \
        return failed;                                            \
    }

FAIL(int, -1, stat, (const char *path, struct stat *facts), (path, facts))
FAIL(int, -1, stat64, (const char *path, struct stat64 *facts), (path, facts))
FAIL(int, -1, lstat, (const char *path, struct stat *facts), (path, facts))
FAIL(int, -1, lstat64, (const char *path, struct stat64 *facts), (path, facts))
FAIL(int, -1, fstatat, (int folder, const char *path, struct stat *facts, int flags),
     (folder, path, facts, flags))
FAIL(int, -1, fstatat64, (int folder, const char *path, struct stat64 *facts, int flags),
     (folder, path, facts, flags))
FAIL(DIR *, NULL, opendir, (const char *path), (path))
FAIL(struct dirent *, NULL, readdir, (DIR * folder), (folder))
FAIL(struct dirent64 *, NULL, readdir64, (DIR * folder), (folder))
FAIL(int, -1, link, (const char *from, const char *to), (from, to))
FAIL(int, -1, linkat, (int from_folder, const char *from, int to_folder, const char *to, int flags),
     (from_folder, from, to_folder, to, flags))
FAIL(int, -1, rename, (const char *from, const char *to), (from, to))
FAIL(int, -1, renameat, (int from_folder, const char *from, int to_folder, const char *to),
     (from_folder, from, to_folder, to))
FAIL(int, -1, renameat2,
     (int from_folder, const char *from, int to_folder, const char *to, unsigned flags),
     (from_folder, from, to_folder, to, flags))
FAIL(int, -1, unlink, (const char *path), (path))
FAIL(int, -1, unlinkat, (int folder, const char *path, int flags), (folder, path, flags))
FAIL(int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
FAIL(char *, NULL, mkdtemp, (char *path), (path))
FAIL(int, -1, rmdir, (const char *path), (path))

/* Not to the disk, which takes its time. */
__attribute__((visibility("default"))) int fsync(int descriptor)
{
    (void)descriptor;
    return fails("fsync") ? -1 : 0;
}

/* Which closes it all the same, as Linux does. */
__attribute__((visibility("default"))) int close(int descriptor)
{
    REAL(close)
    int done = real(descriptor);
    return fails("close") ? -1 : done;
}

/* A mode is always passed on: who gives none is asked for none. */
#define FAIL_OPEN(name, parameters, arguments, last)                    \
    __attribute__((visibility("default"))) int name parameters          \
    {                                                                   \
        REAL(name)                                                      \
        va_list more;                                                   \
        va_start(more, last);                                           \
        mode_t mode = (last & O_CREAT) != 0 ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                   \
        if (fails(#name)) return -1;                                    \
        return real arguments;                                          \
    }

FAIL_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), flags)
FAIL_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), flags)
FAIL_OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode),
          flags)
FAIL_OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode),
          flags)
