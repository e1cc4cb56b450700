#define _GNU_SOURCE
#include "fault_kinds.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "support/fake_cuda.h"
#include "support/os_faults.h"

#define END FAULT_NO_FAILURE
#define SYSTEM(name, call, has_errno) name, FAULT_OF_SYSTEM, call, 0, has_errno
#define INTERRUPTED(name, call)                                         \
    name " interrupted", FAULT_OF_SYSTEM, call, 50, true, {EINTR, END}, \
    {                                                                   \
        TARE_OK                                                         \
    }

const fault_kind fault_kinds[] = {
    {"allocate", FAULT_OF_HOOKS, 0, 0, false, {0, END}, {TARE_E_MEMORY}},
    /* What is tried again with less, and then not there, though what comes later is. */
    {"allocate, two in a row,", FAULT_OF_HOOKS, 0, 2, false, {0, END}, {TARE_E_MEMORY}},
    {SYSTEM("malloc", OS_MALLOC, false), {ENOMEM, END}, {TARE_E_MEMORY}},
    {SYSTEM("open", OS_OPEN, true),
     {EACCES, EMFILE, EIO, ENOMEM, ENODEV, END},
     {TARE_E_OPEN, TARE_E_WRITE}},
    {SYSTEM("stat", OS_STAT, false), {EIO, ENOMEM, END}, {TARE_E_OPEN}},
    {SYSTEM("fstat", OS_FSTAT, true), {EIO, ENOMEM, ENODEV, END}, {TARE_E_OPEN, TARE_E_READ}},
    {SYSTEM("fstatat", OS_FSTATAT, true), {EIO, ENOMEM, END}, {TARE_E_OPEN, TARE_E_WRITE}},
    {SYSTEM("opendir", OS_OPENDIR, true), {EACCES, EIO, ENOMEM, END}, {TARE_E_OPEN}},
    {SYSTEM("readdir", OS_READDIR, true), {EIO, ENOMEM, END}, {TARE_E_OPEN, TARE_E_READ}},
    {SYSTEM("pread", OS_PREAD, true),
     {EIO, EINVAL, 0, OS_SHORT, ENOMEM, ENODEV, END},
     {TARE_E_READ, TARE_E_CHANGED}},
    {SYSTEM("preadv", OS_PREADV, true),
     {EIO, EINVAL, 0, OS_SHORT, ENOMEM, END},
     {TARE_E_READ, TARE_E_CHANGED}},
    {SYSTEM("preadv2", OS_NOWAIT, false), {EAGAIN, EOPNOTSUPP, EIO, END}, {0}},
    {SYSTEM("mmap", OS_MMAP, true), {ENODEV, ENOMEM, EIO, END}, {TARE_E_MAP, TARE_E_MEMORY}},
    {SYSTEM("madvise", OS_MADVISE, true),
     {EIO, ENOMEM, ENODEV, EINVAL, EBADF, END},
     {TARE_E_READ, TARE_E_UNSUPPORTED}},
    {SYSTEM("posix_fadvise", OS_FADVISE, true),
     {EIO, EINVAL, ESPIPE, END},
     {TARE_E_READ, TARE_E_UNSUPPORTED}},
    {SYSTEM("mlock", OS_MLOCK, true), {ENOMEM, EPERM, EIO, END}, {TARE_E_LIMIT, TARE_E_READ}},
    {SYSTEM("munlock", OS_MUNLOCK, true), {ENOMEM, END}, {TARE_E_UNSUPPORTED}},
    {SYSTEM("getrlimit", OS_RLIMIT, false), {EPERM, END}, {0}},
    {SYSTEM("pthread_create", OS_THREAD, false), {EAGAIN, ENOMEM, EIO, EINTR, ENODEV, END}, {0}},
    {SYSTEM("sched_getaffinity", OS_AFFINITY, false), {EPERM, END}, {0}},
    {SYSTEM("getrandom", OS_GETRANDOM, false), {ENOSYS, EAGAIN, EINTR, OS_SHORT, END}, {0}},
    {SYSTEM("write", OS_WRITE, true),
     {EIO, ENOSPC, EFAULT, 0, OS_SHORT, END},
     {TARE_E_WRITE, TARE_E_READ}},
    {SYSTEM("fsync", OS_FSYNC, true), {EIO, ENOSPC, ENOMEM, ENODEV, END}, {TARE_E_WRITE}},
    {SYSTEM("close", OS_CLOSE, true), {EIO, EINTR, ENOMEM, ENODEV, END}, {TARE_E_WRITE}},
    {SYSTEM("rename", OS_RENAME, true), {EIO, EACCES, EINVAL, ENOMEM, ENODEV, END}, {TARE_E_WRITE}},
    {SYSTEM("link", OS_LINK, true), {EPERM, EIO, END}, {TARE_E_WRITE}},
    {SYSTEM("unlink", OS_UNLINK, false), {EIO, END}, {0}},
    {SYSTEM("dlopen", OS_LIBRARY, false), {ENOENT, END}, {TARE_E_UNSUPPORTED}},
    {SYSTEM("dlsym", OS_SYMBOL, false), {ENOENT, END}, {TARE_E_UNSUPPORTED}},
    /* What is interrupted is done again, however often, as if nothing had been. */
    {INTERRUPTED("open", OS_OPEN)},
    {INTERRUPTED("stat", OS_STAT)},
    {INTERRUPTED("fstat", OS_FSTAT)},
    {INTERRUPTED("fstatat", OS_FSTATAT)},
    {INTERRUPTED("opendir", OS_OPENDIR)},
    {INTERRUPTED("readdir", OS_READDIR)},
    {INTERRUPTED("pread", OS_PREAD)},
    {INTERRUPTED("preadv", OS_PREADV)},
    {INTERRUPTED("preadv2", OS_NOWAIT)},
    {INTERRUPTED("mmap", OS_MMAP)},
    {INTERRUPTED("madvise", OS_MADVISE)},
    {INTERRUPTED("posix_fadvise", OS_FADVISE)},
    {INTERRUPTED("mlock", OS_MLOCK)},
    {INTERRUPTED("munlock", OS_MUNLOCK)},
    {INTERRUPTED("write", OS_WRITE)},
    {INTERRUPTED("fsync", OS_FSYNC)},
    {INTERRUPTED("rename", OS_RENAME)},
    {INTERRUPTED("link", OS_LINK)},
    {INTERRUPTED("unlink", OS_UNLINK)},
    {"driver",
     FAULT_OF_DRIVER,
     0,
     0,
     false,
     {FAKE_E_MEMORY, FAKE_E_ODD, END},
     {TARE_E_MEMORY, TARE_E_DEVICE, TARE_E_UNSUPPORTED}},
    {"reader",
     FAULT_OF_READER,
     0,
     0,
     true,
     {-EIO, 0, INT32_MAX, END},
     {TARE_E_READ, TARE_E_CHANGED}},
    {0},
};

static void no_mapping(void)
{
    os_fault.always[OS_MMAP] = ENODEV;
}
static void no_threads(void)
{
    os_fault.always[OS_THREAD] = EAGAIN;
}
static void no_direct_open(void)
{
    os_fault.direct_refused = 1;
}
static void no_direct_read(void)
{
    os_fault.direct_refused = 2;
}
static void nothing_cached(void)
{
    os_fault.uncached = 1;
}
static void small_memory(void)
{
    os_fault.memory_size = 4096;
}
static void small_pieces(void)
{
    os_fault.halve = 1;
}

static void old_kernel(void)
{
    os_fault.advice_refused = MADV_POPULATE_READ;
    os_fault.rename_refused = 1;
    os_fault.always[OS_NOWAIT] = EOPNOTSUPP;
    os_fault.always[OS_GETRANDOM] = ENOSYS;
}

const fault_condition fault_conditions[] = {
    {"", NULL, {0}},
    {"no mapping", no_mapping, {TARE_E_MAP, TARE_E_MEMORY}},
    {"no threads", no_threads, {0}},
    {"no opening past the page cache", no_direct_open, {0}},
    {"no reading past the page cache", no_direct_read, {0}},
    {"nothing in the page cache", nothing_cached, {0}},
    {"little memory", small_memory, {0}},
    {"an old kernel", old_kernel, {0}},
    {"short reads and writes", small_pieces, {0}},
    {0},
};
