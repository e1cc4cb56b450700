/* The files of a folder in memory, as tare_open_files takes them. */
#ifndef FILE_LIST_H
#define FILE_LIST_H

#include "reader_probe.h"
#include "tare.h"

enum { FILE_LIST_MAX = 32 };

typedef struct file_list {
    tare_file files[FILE_LIST_MAX];
    reader_probe probes[FILE_LIST_MAX];
    size_t count;
} file_list;

/* All files of the folder, and of folders in it. `list` must stay where it is. */
void file_list_read(file_list *list, const char *path);

/* Puts each file behind a reader, with its first bytes in memory. They are copies, which
 * file_list_spoil overwrites: whoever still looks at them sees something else. */
void file_list_lend(file_list *list, size_t head_size);
void file_list_spoil(file_list *list);

/* The file of that name; NULL where there is none. */
tare_file *file_list_find(file_list *list, const char *name);

void file_list_free(file_list *list);

#endif
