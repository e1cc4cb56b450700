/*
 * Writing a safetensors file:
 *
 *   save.c          checks what is to be written, puts it in order, conducts
 *   save_header.c   the text of the header, measured before it is written
 *   save_file.c     a file beside its target, and its way there
 */
#ifndef TAREI_SAVE_H
#define TAREI_SAVE_H

#include "arena.h"
#include "internal.h"
#include "os.h"
#include "tare.h"

/* Facts about a tensor, whichever way they were given. Names and shapes are copies. */
typedef struct tarei_save_entry {
    const char *name;
    size_t name_size;
    const uint64_t *shape;
    uint32_t rank;
    tare_dtype dtype;
    uint64_t size;
    uint64_t where; /* of a tensor of a model: as in its record */
} tarei_save_entry;

/*
 * What is written: `order` has the numbers of the tensors, in the order of the file. All of it but
 * the bytes of tensors was copied before it was checked, so that nothing is written but what was:
 * names, shapes, sizes and strings may stand in an index file, which others may write to.
 */
typedef struct tarei_save_plan {
    const tare_save_tensor *tensors;
    const tarei_save_entry *entries; /* one for each of them */
    const uint32_t *order;
    size_t count;
    const tare_save_metadata *metadata;
    size_t metadata_count;
} tarei_save_plan;

/* ------------------------------------------------------------------------------------------------
 * save_file.c
 */

typedef struct tarei_save_file {
    tarei_memory *memory;
    const tare_save_options *options;
    const char *path;
    const char *name; /* in its folder: the end of the path */
    uint8_t *target;  /* in memory, where there is no file */
    int folder;
    int descriptor;
    char beside[32]; /* the name until it is done; empty when nothing lies there */
    uint8_t *buffer;
    size_t used;
    uint64_t done;
    uint64_t total;
    tare_error *error;
} tarei_save_file;

/* Makes the file beside `path`. Ended in any case, also on failure. */
tare_status tarei_save_file_begin(tarei_save_file *file, const char *path, uint32_t mode,
                                  uint64_t total, const tare_save_options *options,
                                  tarei_memory *memory, tare_error *error);

/* The same with `total` bytes of memory as the target. */
tare_status tarei_save_file_begin_memory(tarei_save_file *file, void *target, uint64_t total,
                                         const tare_save_options *options, tarei_memory *memory,
                                         tare_error *error);

tare_status tarei_save_file_text(tarei_save_file *file, const void *bytes, size_t size);

/* The bytes of a tensor, as many as its entry says, from where it says. */
tare_status tarei_save_file_tensor(tarei_save_file *file, const tare_save_tensor *tensor,
                                   const tarei_save_entry *entry);

/* Brings the file to the disk and to its name, or removes it if `status` is a failure or another
 * one happens. One that did not become `total` bytes is a failure, and no byte is written beyond
 * that. */
tare_status tarei_save_file_end(tarei_save_file *file, tare_status status);

/* ------------------------------------------------------------------------------------------------
 * save_header.c
 */

/* Bytes of the JSON text. */
uint64_t tarei_save_header_measure(const tarei_save_plan *plan);

/* The 8 bytes before the header, its text, and spaces up to `size`. */
tare_status tarei_save_header_write(const tarei_save_plan *plan, uint64_t size,
                                    tarei_save_file *file);

#endif
