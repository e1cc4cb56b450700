#include "folder.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "os.h"
#include "record.h"
#include "sort.h"

tarei_folder tarei_folder_current(void)
{
    return (tarei_folder){.descriptor = TAREI_OS_CWD};
}

tare_status tarei_folder_open(tarei_folder *folder, const char *path, tare_error *error)
{
    *folder = tarei_folder_current();
    int failure = tarei_os_open_folder(path, &folder->descriptor);
    if (failure == 0) return TARE_OK;
    return tarei_error_system(error, TARE_E_OPEN, failure, TARE_NO_SHARD, "cannot open the folder",
                              path);
}

/* ------------------------------------------------------------------------------------------------
 * Files handed in
 */

static const char *name_of(const tare_file *file)
{
    return file->name != NULL ? file->name : "";
}

static tare_status fail_file(tare_error *error, const tare_file *file, const char *what)
{
    const char *name = name_of(file);
    return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET, "file %s: %s",
                           tarei_quote(name, strlen(name)).text, what);
}

static tare_status check_file(const tare_file *file, tare_error *error)
{
    const tare_reader *reader = file->reader;
    if (file->later[0] != 0 || file->later[1] != 0)
        return fail_file(error, file, "a field is set that this version lacks");
    if (file->bytes == NULL && file->size != 0) return fail_file(error, file, "bytes is NULL");
    if (reader == NULL) return TARE_OK;
    if (reader->struct_size < sizeof *reader || reader->read_at == NULL)
        return fail_file(error, file, "its reader lacks struct_size or read_at");
    if (file->size > reader->total_size)
        return fail_file(error, file, "more bytes are in memory than its reader has");
    return TARE_OK;
}

static int compare_files(const void *context, uint32_t a, uint32_t b)
{
    const tare_file *files = context;
    return strcmp(name_of(&files[a]), name_of(&files[b]));
}

static tare_status sort_files(tarei_folder *folder, tare_error *error)
{
    const tare_file *files = folder->files;
    uint32_t count = folder->file_count;
    uint64_t size = (uint64_t)count * sizeof(uint32_t);
    uint32_t *scratch = tarei_memory_take(folder->memory, size, TAREI_BUFFER_ALIGNMENT);
    folder->order = tarei_memory_take(folder->memory, size, TAREI_BUFFER_ALIGNMENT);
    bool fine = scratch != NULL && folder->order != NULL;
    if (fine) {
        for (uint32_t i = 0; i < count; i++) folder->order[i] = i;
        tarei_sort(folder->order, scratch, count, compare_files, files);
    }
    tarei_memory_give(folder->memory, scratch, size, TAREI_BUFFER_ALIGNMENT);
    if (!fine) return tarei_error_memory(error);
    for (uint32_t i = 1; i < count; i++)
        if (compare_files(files, folder->order[i - 1], folder->order[i]) == 0)
            return fail_file(error, &files[folder->order[i]], "two files have that name");
    return TARE_OK;
}

tare_status tarei_folder_hold(tarei_folder *folder, const tare_file *files, size_t count,
                              tarei_memory *memory, tare_error *error)
{
    *folder = tarei_folder_current();
    if (count > TAREI_RECORD_COUNT_MAX)
        return tarei_error_set(error, TARE_E_LIMIT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "more than 2^30 files");
    folder->files = files;
    folder->file_count = (uint32_t)count;
    folder->memory = memory;
    for (size_t i = 0; i < count; i++) {
        tare_status status = check_file(&files[i], error);
        if (status != TARE_OK) return status;
    }
    return sort_files(folder, error);
}

static const tare_file *find_file(const tarei_folder *folder, const char *name)
{
    uint32_t low = 0, high = folder->file_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const tare_file *file = &folder->files[folder->order[middle]];
        int order = strcmp(name_of(file), name);
        if (order == 0) return file;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Either
 */

void tarei_folder_close(tarei_folder *folder)
{
    if (folder->order != NULL)
        tarei_memory_give(folder->memory, folder->order, folder->file_count * sizeof(uint32_t),
                          TAREI_BUFFER_ALIGNMENT);
    if (folder->descriptor != TAREI_OS_CWD) tarei_os_close(folder->descriptor);
    *folder = tarei_folder_current();
}

tare_status tarei_folder_find(const tarei_folder *folder, const char *name, uint32_t shard,
                              tarei_source *source, tare_error *error)
{
    if (folder->files == NULL)
        return tarei_source_file_open(source, folder->descriptor, name, shard, error);
    const tare_file *file = find_file(folder, name);
    tarei_source_init(source);
    if (file == NULL)
        return tarei_error_system(error, TARE_E_OPEN, ENOENT, shard, "is not among the files",
                                  name);
    if (file->reader == NULL) {
        tarei_source_bytes(source, file->bytes, file->size);
    } else {
        tarei_source_reader(source, file->reader);
        source->head = file->bytes;
        source->head_size = file->size;
    }
    return TARE_OK;
}
