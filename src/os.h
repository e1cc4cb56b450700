/*
 * All that the library asks of an operating system. os_posix.c and os_wasm.c implement it; no other
 * file knows which one runs. Failures are errno values; 0 is success.
 */
#ifndef TAREI_OS_H
#define TAREI_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who a file is and how long, which must stay equal while it is used, and whose. */
typedef struct tarei_os_identity {
    uint64_t size;
    uint64_t device;
    uint64_t number;
    int64_t modified_s;
    int64_t modified_ns;
    uint32_t mode; /* its kind and who may read and write it; 0: there is no file */
} tarei_os_identity;

#define TAREI_OS_CWD (-1)

/* True when `path` is a folder. What cannot be told is taken for a file: opening it says why. */
bool tarei_os_is_folder(const char *path);

/* A descriptor of a folder, for tarei_os_open_file. "" is the current one. */
int tarei_os_open_folder(const char *path, int *descriptor);

/* Opens a regular file for reading, relative to `folder` (or TAREI_OS_CWD), and opens nothing else.
 * Never waits, as opening a FIFO would. EISDIR for folders, EINVAL for devices, sockets, FIFOs. */
int tarei_os_open_file(int folder, const char *path, int *descriptor, tarei_os_identity *identity);
int tarei_os_identify(int descriptor, tarei_os_identity *identity);

/* The same of a regular file without opening it. EISDIR and EINVAL as above. */
int tarei_os_identify_at(int folder, const char *path, tarei_os_identity *identity);
void tarei_os_close(int descriptor);

/* What an entry of a folder is, links not followed. */
typedef enum tarei_os_entry {
    TAREI_OS_ABSENT,
    TAREI_OS_REPLACEABLE, /* a regular file or a symbolic link */
    TAREI_OS_FOLDER,
    TAREI_OS_SPECIAL, /* a device, a socket, a FIFO */
} tarei_os_entry;

int tarei_os_look(int folder, const char *name, tarei_os_entry *entry);

#define TAREI_OS_MODE_ANY 0666u /* for everyone to read and write */

/* Makes a new file and opens it for writing; EEXIST where there is anything of that name. Of `mode`
 * the umask leaves what it does. */
int tarei_os_create(int folder, const char *name, uint32_t mode, int *descriptor);

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

/* One stretch of memory to read into. */
typedef struct tarei_os_piece {
    void *data;
    size_t size;
} tarei_os_piece;

/* The same for consecutive bytes of the file into piece after piece. Many pieces cost one system
 * call: up to 256, if they come to less than 1 GiB. */
int tarei_os_read_pieces(int descriptor, uint64_t offset, const tarei_os_piece *pieces,
                         size_t count, uint64_t *done);

/* Opens the file of a descriptor once more, to be read past the page cache. Offsets, sizes and
 * addresses must then be multiples of 4 KiB. Not every file system can: some say so here, some with
 * EINVAL when they are read from. */
#define TAREI_OS_DIRECT_UNIT 4096u
int tarei_os_open_direct(int descriptor, int *direct);

/* Whether the page cache has the byte at `offset`, without waiting for the disk. Where that cannot
 * be told it is said to be there. May make the page come in. */
bool tarei_os_is_cached(int descriptor, uint64_t offset);

/* Bytes of memory that this machine has. */
uint64_t tarei_os_memory_size(void);

/* A private mapping of the first `size` bytes, size > 0. Pages that are written become this
 * process's own; none are set aside for that beforehand. */
int tarei_os_map(int descriptor, size_t size, bool writable, const void **mapping);
void tarei_os_unmap(const void *mapping, size_t size);

/* Processors that this process may use, at least 1. */
uint32_t tarei_os_processor_count(void);

/* A thread, with every signal blocked: handlers are the program's and run on its own threads. It
 * stays where it is until it has been joined. */
typedef struct tarei_os_thread {
    void (*run)(void *context);
    void *context;
    unsigned char handle[16];
} tarei_os_thread;

int tarei_os_thread_start(tarei_os_thread *thread, void (*run)(void *context), void *context);
void tarei_os_thread_join(tarei_os_thread *thread);

/* Sleeps for a few milliseconds. */
void tarei_os_nap(void);

/* Bytes of a page of memory. */
size_t tarei_os_page_size(void);

/* Hints about whole pages, and about bytes of a file in the page cache. Hints that the host lacks
 * succeed. Of memory only what is mapped from a file may be dropped; whether pages shall be huge or
 * small is said of memory that was not touched yet, and of files not at all. */
typedef enum tarei_os_advice {
    TAREI_OS_WILL_NEED,
    TAREI_OS_DO_NOT_NEED,
    TAREI_OS_HUGE_PAGES,
    TAREI_OS_SMALL_PAGES,
} tarei_os_advice;
int tarei_os_advise_memory(const void *memory, size_t size, tarei_os_advice advice);
int tarei_os_advise_file(int descriptor, uint64_t offset, uint64_t size, tarei_os_advice advice);

/* Makes whole pages present, without a signal: EFAULT where touching one would raise it, ENOTSUP
 * where the host cannot do so. */
int tarei_os_populate(const void *memory, size_t size);

/* Fresh memory of whole pages, for a device to copy from: present, in huge pages where the host has
 * them, and no child shares it, since a page that is written to after a fork would be another one.
 * NULL: there is none. */
void *tarei_os_take_pages(size_t size);
void tarei_os_give_pages(void *memory, size_t size);

/* Keeps whole pages in memory; *size_max is how many bytes a process may lock. */
int tarei_os_lock(const void *memory, size_t size, uint64_t *size_max);
int tarei_os_unlock(const void *memory, size_t size);

/* A library of the host's, looked for by its name at run time; NULL where there is none, and `why`
 * then says so. It stays where it is when closed: drivers leave threads and handlers behind. */
typedef void (*tarei_os_function)(void);
void *tarei_os_library_open(const char *name, char *why, size_t why_size);
tarei_os_function tarei_os_library_find(void *library, const char *name); /* or NULL */
void tarei_os_library_close(void *library);

/* What an errno value means, in `text`. */
void tarei_os_error_text(int failure, char *text, size_t size);

/* Eight bytes that an attacker cannot guess, or as close to it as the host allows. */
uint64_t tarei_os_random(void);

#endif
