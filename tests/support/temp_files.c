#define _XOPEN_SOURCE 700
#include "temp_files.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void give_up(const char *what, const char *path)
{
    fprintf(stderr, "the test cannot go on: %s: ", what);
    perror(path);
    abort();
}

temp_path temp_folder_make(void)
{
    temp_path folder;
    const char *base = getenv("TMPDIR");
    snprintf(folder.text, sizeof folder.text, "%s/tare_test_XXXXXX", base ? base : "/tmp");
    if (mkdtemp(folder.text) == NULL) give_up("mkdtemp", folder.text);
    return folder;
}

static int remove_entry(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
    (void)facts, (void)kind, (void)place;
    return remove(path);
}

void temp_folder_remove(const temp_path *folder)
{
    nftw(folder->text, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

temp_path temp_join(const temp_path *folder, const char *name)
{
    temp_path path;
    size_t folder_size = strlen(folder->text), name_size = strlen(name);
    if (folder_size + name_size + 2 > sizeof path.text) give_up("join", name);
    memcpy(path.text, folder->text, folder_size);
    path.text[folder_size] = '/';
    memcpy(path.text + folder_size + 1, name, name_size + 1);
    return path;
}

size_t temp_entry_count(const temp_path *folder)
{
    DIR *opened = opendir(folder->text);
    if (opened == NULL) give_up("opendir", folder->text);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(opened)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(opened);
    return count;
}

temp_path temp_write(const temp_path *folder, const char *name, const void *bytes, size_t size)
{
    temp_path path = temp_join(folder, name);
    FILE *file = fopen(path.text, "wb");
    if (file == NULL) give_up("fopen", path.text);
    if (size != 0 && fwrite(bytes, 1, size, file) != size) give_up("fwrite", path.text);
    if (fclose(file) != 0) give_up("fclose", path.text);
    return path;
}

temp_path temp_write_text(const temp_path *folder, const char *name, const build_text *text)
{
    return temp_write(folder, name, text->data, text->size);
}

temp_path temp_write_built(const temp_path *folder, const char *name, build_text text)
{
    temp_path path = temp_write(folder, name, text.data, text.size);
    build_free(&text);
    return path;
}

temp_path temp_make_folder(const temp_path *folder, const char *name)
{
    temp_path path = temp_join(folder, name);
    if (mkdir(path.text, 0700) != 0) give_up("mkdir", path.text);
    return path;
}

void *temp_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) give_up("fopen", path);
    if (fseek(file, 0, SEEK_END) != 0) give_up("fseek", path);
    long end = ftell(file);
    if (end < 0) give_up("ftell", path);
    rewind(file);
    *size = (size_t)end;
    char *bytes = malloc(*size ? *size : 1);
    if (bytes == NULL) give_up("malloc", path);
    if (fread(bytes, 1, *size, file) != *size) give_up("fread", path);
    fclose(file);
    return bytes;
}

void *temp_copy(const void *bytes, size_t size)
{
    void *copy = malloc(size ? size : 1);
    if (copy == NULL) give_up("malloc", "a copy");
    if (size != 0) memcpy(copy, bytes, size);
    return copy;
}
