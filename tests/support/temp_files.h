/* Folders and files of one test. Failures of the host end the program: no test can go on then. */
#ifndef TEMP_FILES_H
#define TEMP_FILES_H

#include <stddef.h>

#include "builder.h"

enum { TEMP_PATH_MAX = 4096 };

typedef struct temp_path {
    char text[TEMP_PATH_MAX];
} temp_path;

/* A new, empty folder, and its end with all that is in it. */
temp_path temp_folder_make(void);
void temp_folder_remove(const temp_path *folder);

/* folder/name. Use as temp_join(...).text. */
temp_path temp_join(const temp_path *folder, const char *name);

/* How many entries a folder has. */
size_t temp_entry_count(const temp_path *folder);

/* Writes a file; its folder must be there. */
temp_path temp_write(const temp_path *folder, const char *name, const void *bytes, size_t size);
temp_path temp_write_text(const temp_path *folder, const char *name, const build_text *text);

/* The same and frees the text, for files made in the call. */
temp_path temp_write_built(const temp_path *folder, const char *name, build_text text);

temp_path temp_make_folder(const temp_path *folder, const char *name);

/* A whole file. `size` bytes on the heap and not one more, so that AddressSanitizer sees reads
 * beyond its end; free them. */
void *temp_read(const char *path, size_t *size);

/* A copy of just that size on the heap, for the same reason. */
void *temp_copy(const void *bytes, size_t size);

#endif
