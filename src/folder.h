/*
 * Where the files of a model are found by their names: in a folder of the system, or among files
 * that a caller handed in. Whoever opens several files of one model does so through this.
 */
#ifndef TAREI_FOLDER_H
#define TAREI_FOLDER_H

#include <string.h>

#include "arena.h"
#include "source.h"
#include "tare.h"

typedef struct tarei_folder {
    int descriptor;         /* of the system's folder, or TAREI_OS_CWD */
    const tare_file *files; /* those handed in; NULL where the system has them */
    uint32_t file_count;
    uint32_t *order; /* their places, sorted by name */
    tarei_memory *memory;
} tarei_folder;

/* The current folder, which paths of single files are relative to. Needs no closing. */
tarei_folder tarei_folder_current(void);

/* The last part of a path: the name that the file has in its folder. */
static inline const char *tarei_folder_leaf(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

tare_status tarei_folder_open(tarei_folder *folder, const char *path, tare_error *error);

/* Files of a caller, of which no two have one name. They must live as long as the folder. */
tare_status tarei_folder_hold(tarei_folder *folder, const tare_file *files, size_t count,
                              tarei_memory *memory, tare_error *error);

void tarei_folder_close(tarei_folder *folder);

/* Opens the file of that name as a source; `shard` is for the error. */
tare_status tarei_folder_find(const tarei_folder *folder, const char *name, uint32_t shard,
                              tarei_source *source, tare_error *error);

#endif
