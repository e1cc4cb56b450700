#define _XOPEN_SOURCE 700
#include "file_list.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "temp_files.h"

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "file_list: %s: %s\n", path, what);
    exit(1);
}

static void add(file_list *list, const char *name, const char *path)
{
    if (list->count == FILE_LIST_MAX) fail("too many files", path);
    tare_file *file = &list->files[list->count];
    reader_probe *probe = &list->probes[list->count++];
    size_t size;
    void *bytes = temp_read(path, &size);
    reader_probe_init(probe, bytes, size, 0);
    *file = (tare_file){.name = strdup(name), .bytes = bytes, .size = size};
}

static void read_folder(file_list *list, const char *path, const char *prefix)
{
    DIR *folder = opendir(path);
    if (folder == NULL) fail("cannot be listed", path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[1024], full[TEMP_PATH_MAX];
        struct stat facts;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(name, sizeof name, "%s%s", prefix, entry->d_name);
        snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
        if (stat(full, &facts) != 0) continue;
        if (S_ISDIR(facts.st_mode)) {
            strncat(name, "/", sizeof name - strlen(name) - 1);
            read_folder(list, full, name);
        } else {
            add(list, name, full);
        }
    }
    closedir(folder);
}

void file_list_read(file_list *list, const char *path)
{
    memset(list, 0, sizeof *list);
    read_folder(list, path, "");
}

void file_list_lend(file_list *list, size_t head_size)
{
    for (size_t i = 0; i < list->count; i++) {
        tare_file *file = &list->files[i];
        reader_probe *probe = &list->probes[i];
        size_t size = head_size < probe->size ? head_size : (size_t)probe->size;
        if (file->bytes != probe->bytes) free((void *)file->bytes);
        reader_probe_reset(probe);
        file->bytes = temp_copy(probe->bytes, size);
        file->size = size;
        file->reader = &probe->reader;
    }
}

void file_list_spoil(file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->files[i].size != 0)
            memset((void *)list->files[i].bytes, 0xA5, list->files[i].size);
}

tare_file *file_list_find(file_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->files[i].name, name) == 0) return &list->files[i];
    return NULL;
}

void file_list_free(file_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->files[i].bytes != list->probes[i].bytes) free((void *)list->files[i].bytes);
        free((void *)list->probes[i].bytes);
        free((void *)list->files[i].name);
    }
    list->count = 0;
}
