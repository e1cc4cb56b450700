/*
 * System calls that fail on demand. The program that uses this is linked with --wrap for each of
 * them (tests/CMakeLists.txt), so that the library's calls come here first. Calls are counted on
 * any thread; what is to fail is set while only one runs.
 */
#ifndef OS_FAULTS_H
#define OS_FAULTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* the C library may be older than the kernel */
#endif

enum os_call {
    OS_OPEN,
    OS_STAT,
    OS_FSTAT,
    OS_PREAD,
    OS_MMAP,
    OS_OPENDIR,
    OS_READDIR,
    OS_GETRANDOM,
    OS_MADVISE,
    OS_FADVISE,
    OS_MLOCK,
    OS_MUNLOCK,
    OS_PREADV,
    OS_THREAD, /* pthread_create */
    OS_AFFINITY,
    OS_FSTATAT,
    OS_WRITE,
    OS_FSYNC,
    OS_CLOSE,
    OS_RENAME, /* renameat and renameat2 */
    OS_LINK,
    OS_UNLINK,
    OS_NOWAIT,  /* preadv2 */
    OS_LIBRARY, /* dlopen */
    OS_SYMBOL,  /* dlsym */
    OS_RLIMIT,
    OS_MALLOC, /* malloc and aligned_alloc: no system calls, but they fail alike */
    OS_CALL_COUNT,
};

enum { OS_LOOK_MAX = 64 };

/* As os_faults.error: what is read or written stops after one byte. */
enum { OS_SHORT = -1 };

typedef struct os_faults {
    size_t calls[OS_CALL_COUNT];   /* how often each was called */
    size_t fail_at[OS_CALL_COUNT]; /* the number of the call to fail, from 1; 0 is none */
    size_t fail_count;             /* how many calls in a row fail; 0 is all from then on */
    int error;                     /* errno of the failure; of a read 0 is its end; or OS_SHORT */
    size_t failed;                 /* how many calls did so far */
    int always[OS_CALL_COUNT];     /* errno of every call, beside the one that fail_at means */
    size_t refused;                /* how many calls that, and the fields below, had an effect on */
    size_t piece;                  /* most bytes of one pread, preadv or write; 0 is all */
    int halve;                     /* each of them stops halfway */
    size_t asked_max;              /* most bytes that one of them was asked for */
    const void *watched;           /* how much pread and preadv were to bring there */
    size_t watched_room, watched_size;
    size_t advised_wrong;   /* calls of posix_fadvise about no bytes or fewer */
    uint64_t advised_size;  /* bytes that madvise, posix_fadvise, mlock and munlock were given */
    uint64_t advised_at[2]; /* offsets that posix_fadvise was given, the first and the last */
    int advice_refused;     /* an advice of madvise that is EINVAL, as on old kernels; 0 is none */
    int direct_refused;  /* files read past the page cache: 1 cannot be opened, 2 cannot be read */
    int uncached;        /* the page cache has nothing: what must not wait for it fails */
    size_t cached_looks; /* but for so many reads that do not wait, the first ones */
    uint64_t looked_at[OS_LOOK_MAX]; /* offsets of those */
    int rename_refused;              /* renameat2 is EINVAL, as on NFS */
    uint64_t memory_size;            /* what the machine has; 0 is the truth */
    int no_facts;                    /* sysconf knows nothing of the machine */
    unsigned processors;             /* that this process may use; 0 is the truth */
    int no_texts;                    /* strerror_r has no text for any number */
    int open_flags_missing; /* flags of openat that one of the calls, or more, went without */
    size_t mapped_shared;   /* calls of mmap for a file that were not for a private mapping */
    uint64_t random;        /* what getrandom gives; 0 is the kernel's */
    uint64_t random_step;   /* how much more it gives each time */
    char created[64];       /* the last file that openat was to make, and how */
    int created_flags;
    unsigned created_mode;
    void (*before_open)(void); /* called before the next file is opened, once */
    void (*after_map)(void);   /* called whenever a file has been mapped */
    void (*nap)(void);         /* called in place of nanosleep */
    int pretend;               /* they claim all that they are asked for, and do nothing */
} os_faults;

extern os_faults os_fault;

/* What is held: it stays when faults are reset. */
typedef struct os_held {
    long mapped_size; /* bytes, whole pages: mappings may go in parts */
    long threads;
} os_held;

extern os_held os_hold;

/* What is written need not reach the disk: whoever does it thousands of times waits long for
 * that. */
extern int os_without_disk;

/* No faults, and all counts 0. */
void os_faults_reset(void);

/* The call in words. */
const char *os_call_name(enum os_call call);

#endif
