/*
 * All that the library asks of an operating system. os_posix.c and os_wasm.c implement it; no other
 * file knows which one runs. Failures are errno values; 0 is success.
 */
#ifndef TAREI_OS_H
#define TAREI_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who a file is and how long: what must stay equal while it is used. */
typedef struct tarei_os_identity {
    uint64_t size;
    uint64_t device;
    uint64_t number;
    int64_t modified_s;
    int64_t modified_ns;
} tarei_os_identity;

#define TAREI_OS_CWD (-1)

/* True when `path` is a folder. What cannot be told is taken for a file: opening it says why. */
bool tarei_os_is_folder(const char *path);

/* A descriptor of a folder, for tarei_os_open_file. "" is the current one. */
int tarei_os_open_folder(const char *path, int *descriptor);

/* Opens a regular file for reading, relative to `folder` (or TAREI_OS_CWD). Never waits, as opening
 * a FIFO would. EISDIR for folders, EINVAL for devices, sockets and FIFOs. */
int tarei_os_open_file(int folder, const char *path, int *descriptor, tarei_os_identity *identity);
int tarei_os_identify(int descriptor, tarei_os_identity *identity);
void tarei_os_close(int descriptor);

/* What an entry of a folder is, links not followed. */
typedef enum tarei_os_entry {
    TAREI_OS_ABSENT,
    TAREI_OS_REPLACEABLE, /* a regular file or a symbolic link */
    TAREI_OS_FOLDER,
    TAREI_OS_SPECIAL, /* a device, a socket, a FIFO */
} tarei_os_entry;

int tarei_os_look(int folder, const char *name, tarei_os_entry *entry);

/* Makes a new file and opens it for writing; EEXIST where there is anything of that name. */
int tarei_os_create(int folder, const char *name, int *descriptor);

/* Writes all of it at the end of what was written. Survives EINTR and short writes. */
int tarei_os_write(int descriptor, const void *bytes, size_t size);

/* Brings a file, or the entries of a folder, to the disk. */
int tarei_os_sync(int descriptor);

/* Closes a file that was written; a failure may mean that bytes are lost. */
int tarei_os_close_written(int descriptor);

/* Gives an entry another name in its folder: in place of what has it, or EEXIST. */
int tarei_os_rename(int folder, const char *from, const char *to, bool replace);
void tarei_os_remove(int folder, const char *name);

/* Calls visit for each entry of a folder that is not known to be a folder itself. */
int tarei_os_list(const char *path, void (*visit)(void *context, const char *name), void *context);

/* Reads exactly `size` bytes unless the file ends; *done tells how many. Survives EINTR and short
 * reads, and asks for at most 1 GiB at a time (Linux reads no more than 2 GiB - 4 KiB at once). */
int tarei_os_read_at(int descriptor, uint64_t offset, void *target, size_t size, size_t *done);

/* A private read-only mapping of the first `size` bytes, size > 0. */
int tarei_os_map(int descriptor, size_t size, const void **mapping);
void tarei_os_unmap(const void *mapping, size_t size);

/* Hints that memory not touched yet may come in huge pages. */
void tarei_os_advise_huge(void *memory, size_t size);

/* What an errno value means, in `text`. */
void tarei_os_error_text(int failure, char *text, size_t size);

/* Eight bytes that an attacker cannot guess, or as close to it as the host allows. */
uint64_t tarei_os_random(void);

#endif
