/* MemorySanitizer of clang 14 does not know that the calls which newer C libraries have under these
 * names fill in what they are given, and nothing of what nftw hands to the function that it calls.
 * Linked with --wrap (sanitizers.sh). */
#define _GNU_SOURCE
#include <ftw.h>
#include <sanitizer/msan_interface.h>
#include <sys/stat.h>

int __real_stat64(const char *path, struct stat64 *facts);
int __real_fstat64(int descriptor, struct stat64 *facts);
int __real_fstatat64(int folder, const char *path, struct stat64 *facts, int flags);
int __real_nftw(const char *path, __nftw_func_t visit, int descriptors, int flags);
int __wrap_stat64(const char *path, struct stat64 *facts);
int __wrap_fstat64(int descriptor, struct stat64 *facts);
int __wrap_fstatat64(int folder, const char *path, struct stat64 *facts, int flags);
int __wrap_nftw(const char *path, __nftw_func_t visit, int descriptors, int flags);

static int known(int result, const struct stat64 *facts)
{
    if (result == 0) __msan_unpoison(facts, sizeof *facts);
    return result;
}

int __wrap_stat64(const char *path, struct stat64 *facts)
{
    return known(__real_stat64(path, facts), facts);
}

int __wrap_fstat64(int descriptor, struct stat64 *facts)
{
    return known(__real_fstat64(descriptor, facts), facts);
}

int __wrap_fstatat64(int folder, const char *path, struct stat64 *facts, int flags)
{
    return known(__real_fstatat64(folder, path, facts, flags), facts);
}

static struct {
    __nftw_func_t visit;
    const char *path;
    const struct stat *facts;
    int type;
    struct FTW *place;
} visited;

static __attribute__((noinline)) int visit_known(void)
{
    return visited.visit(visited.path, visited.facts, visited.type, visited.place);
}

/* Arguments that libc gives are not followed; what a function that is not followed either writes
 * down counts as known. */
__attribute__((no_sanitize("memory"))) static int visit_any(const char *path,
                                                            const struct stat *facts, int type,
                                                            struct FTW *place)
{
    __msan_unpoison_string(path);
    __msan_unpoison(facts, sizeof *facts);
    visited.path = path;
    visited.facts = facts;
    visited.type = type;
    visited.place = place;
    return visit_known();
}

int __wrap_nftw(const char *path, __nftw_func_t visit, int descriptors, int flags)
{
    visited.visit = visit;
    return __real_nftw(path, visit_any, descriptors, flags);
}
