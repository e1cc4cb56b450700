/*
 * Where the bytes of one shard come from. Four kinds, one contract:
 *
 *   source_file.c    a file, read at offsets
 *   source_map.c     the same file, mapped as well
 *   source_bytes.c   memory that somebody else owns
 *   source_reader.c  a caller's read_at
 */
#ifndef TAREI_SOURCE_H
#define TAREI_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os.h"
#include "tare.h"

typedef struct tarei_source tarei_source;

/* Atomic is what prebuilt_shard.c may try to put while others read it. */
struct tarei_source {
    /* Reads exactly size bytes at offset, both inside the source. Writes *system_error. */
    tare_status (*read_at)(const tarei_source *source, uint64_t offset, void *target, size_t size,
                           int *system_error);
    _Atomic(const uint8_t *) bytes; /* all of the source in memory, or NULL */
    uint64_t size;
    /* What is in memory of its start while the model is opened, if anything. */
    const uint8_t *head;
    uint64_t head_size;
    tare_reader reader;         /* source_reader.c */
    bool copy_on_write;         /* source_map.c: the mapping may be written to */
    atomic_int descriptor;      /* source_file.c, source_map.c; -1 elsewhere */
    tarei_os_identity identity; /* the file as it was opened */
};

/* A source that holds nothing; closing it is fine. */
void tarei_source_init(tarei_source *source);

/* A file that is not open yet. */
void tarei_source_file_init(tarei_source *source);

/* Opens a regular file, relative to `folder` or TAREI_OS_CWD; `shard` and `path` are for the error.
 */
tare_status tarei_source_file_open(tarei_source *source, int folder, const char *path,
                                   uint32_t shard, tare_error *error);

/* Maps an opened file. On failure it stays a file that can be read. */
tare_status tarei_source_map(tarei_source *source, const char *path, uint32_t shard,
                             tare_error *error);

/* Whether both are the same file, and it has not changed. */
bool tarei_source_same(const tarei_os_identity *a, const tarei_os_identity *b);

void tarei_source_bytes(tarei_source *source, const void *bytes, uint64_t size);
void tarei_source_reader(tarei_source *source, const tare_reader *reader);

/* read_at, or a copy from the head, with an error that says which bytes of which shard. */
tare_status tarei_source_read(const tarei_source *source, uint32_t shard, uint64_t offset,
                              void *target, size_t size, tare_error *error);

/* That error, for whoever reads in ways of his own. Returns `status`. */
tare_status tarei_source_fail(tare_error *error, tare_status status, int system_error,
                              uint32_t shard, uint64_t offset, uint64_t size);

void tarei_source_close(tarei_source *source);

#endif
