/* WebAssembly: one thread and no files. Models come from bytes and readers; all that would need a
 * file says that there is none. The host is asked for random bytes, by WASI, and for nothing
 * else. */
#include "os.h"

#ifdef __wasm__ /* whoever compiles all of src/ elsewhere gets nothing from this file */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <wasi/api.h>

#define PAGE_SIZE 65536u /* of any WebAssembly memory */

/* ------------------------------------------------------------------------------------------------
 * Files
 */

bool tarei_os_is_folder(const char *path)
{
    (void)path;
    return false;
}

int tarei_os_open_folder(const char *path, int *descriptor)
{
    (void)path;
    *descriptor = -1;
    return ENOTSUP;
}

int tarei_os_open_file(int folder, const char *path, int *descriptor, tarei_os_identity *identity)
{
    (void)folder, (void)path;
    *descriptor = -1;
    memset(identity, 0, sizeof *identity);
    return ENOTSUP;
}

int tarei_os_identify(int descriptor, tarei_os_identity *identity)
{
    (void)descriptor;
    memset(identity, 0, sizeof *identity);
    return ENOTSUP;
}

int tarei_os_identify_at(int folder, const char *path, tarei_os_identity *identity)
{
    (void)folder, (void)path;
    memset(identity, 0, sizeof *identity);
    return ENOTSUP;
}

void tarei_os_close(int descriptor)
{
    (void)descriptor;
}

int tarei_os_look(int folder, const char *name, tarei_os_entry *entry)
{
    (void)folder, (void)name;
    *entry = TAREI_OS_ABSENT;
    return ENOTSUP;
}

int tarei_os_create(int folder, const char *name, uint32_t mode, int *descriptor)
{
    (void)folder, (void)name, (void)mode;
    *descriptor = -1;
    return ENOTSUP;
}

int tarei_os_write(int descriptor, const void *bytes, size_t size)
{
    (void)descriptor, (void)bytes, (void)size;
    return ENOTSUP;
}

int tarei_os_sync(int descriptor)
{
    (void)descriptor;
    return ENOTSUP;
}

int tarei_os_close_written(int descriptor)
{
    (void)descriptor;
    return ENOTSUP;
}

int tarei_os_rename(int folder, const char *from, const char *to, bool replace)
{
    (void)folder, (void)from, (void)to, (void)replace;
    return ENOTSUP;
}

void tarei_os_remove(int folder, const char *name)
{
    (void)folder, (void)name;
}

int tarei_os_list(const char *path, void (*visit)(void *context, const char *name), void *context)
{
    (void)path, (void)visit, (void)context;
    return ENOTSUP;
}

int tarei_os_read_at(int descriptor, uint64_t offset, void *target, size_t size, size_t *done)
{
    (void)descriptor, (void)offset, (void)target, (void)size;
    *done = 0;
    return ENOTSUP;
}

int tarei_os_read_pieces(int descriptor, uint64_t offset, const tarei_os_piece *pieces,
                         size_t count, uint64_t *done)
{
    (void)descriptor, (void)offset, (void)pieces, (void)count;
    *done = 0;
    return ENOTSUP;
}

int tarei_os_open_direct(int descriptor, int *direct)
{
    (void)descriptor;
    *direct = -1;
    return ENOTSUP;
}

bool tarei_os_is_cached(int descriptor, uint64_t offset)
{
    (void)descriptor, (void)offset;
    return true;
}

uint64_t tarei_os_memory_size(void)
{
    return (uint64_t)SIZE_MAX + 1; /* the engine does not tell; there are so many addresses */
}

int tarei_os_map(int descriptor, size_t size, bool writable, const void **mapping)
{
    (void)descriptor, (void)size, (void)writable;
    *mapping = NULL;
    return ENOTSUP;
}

void tarei_os_unmap(const void *mapping, size_t size)
{
    (void)mapping, (void)size;
}

/* ------------------------------------------------------------------------------------------------
 * Threads and memory
 */

uint32_t tarei_os_processor_count(void)
{
    return 1;
}

int tarei_os_thread_start(tarei_os_thread *thread, void (*run)(void *context), void *context)
{
    (void)thread, (void)run, (void)context;
    return ENOTSUP;
}

void tarei_os_thread_join(tarei_os_thread *thread)
{
    (void)thread;
}

/* Only who waits for another thread does that. */
void tarei_os_nap(void) {}

size_t tarei_os_page_size(void)
{
    return PAGE_SIZE;
}

int tarei_os_advise_memory(const void *memory, size_t size, tarei_os_advice advice)
{
    (void)memory, (void)size, (void)advice;
    return 0;
}

int tarei_os_advise_file(int descriptor, uint64_t offset, uint64_t size, tarei_os_advice advice)
{
    (void)descriptor, (void)offset, (void)size, (void)advice;
    return 0;
}

int tarei_os_populate(const void *memory, size_t size)
{
    (void)memory, (void)size;
    return ENOTSUP;
}

void *tarei_os_take_pages(size_t size)
{
    (void)size;
    return NULL;
}

void tarei_os_give_pages(void *memory, size_t size)
{
    (void)memory, (void)size;
}

int tarei_os_lock(const void *memory, size_t size, uint64_t *size_max)
{
    (void)memory, (void)size;
    *size_max = 0;
    return ENOTSUP;
}

int tarei_os_unlock(const void *memory, size_t size)
{
    (void)memory, (void)size;
    return ENOTSUP;
}

/* ------------------------------------------------------------------------------------------------
 * The rest
 */

void *tarei_os_library_open(const char *name, char *why, size_t why_size)
{
    (void)name;
    if (why_size > 0) why[0] = '\0';
    return NULL;
}

tarei_os_function tarei_os_library_find(void *library, const char *name)
{
    (void)library, (void)name;
    return NULL;
}

void tarei_os_library_close(void *library)
{
    (void)library;
}

/* The few that this file and open_files give; libc's table of all is 3 KB. */
void tarei_os_error_text(int failure, char *text, size_t size)
{
    if (failure == ENOTSUP || failure == ENOENT)
        snprintf(text, size, "%s", failure == ENOTSUP ? "not supported" : "no such file");
    else
        snprintf(text, size, "system error %d", failure);
}

uint64_t tarei_os_random(void)
{
    uint64_t value = 0;
    if (__wasi_random_get((uint8_t *)&value, sizeof value) != 0) value = (uintptr_t)&value;
    return value;
}

#endif
