/*
 * The file is written under a name of its own beside the target and renamed when it is complete.
 *
 *   small pieces, and bytes that have to be read --> buffer --> file
 *   whole buffers of bytes that are in memory -----------------> file
 *
 * Mapped bytes are never touched here: the system reads them, so that a file that is cut short
 * meanwhile is an error and not a signal. What does not fill a buffer is read from the file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "save.h"

#define BUFFER_SIZE ((size_t)1 << 20)
#define DIRECT_SIZE_MAX (8 * BUFFER_SIZE) /* from one call of `progress` to the next */
#define ATTEMPTS_MAX 16

static tare_status fail_system(const tarei_save_file *file, int failure, const char *what)
{
    return tarei_error_system(file->error, TARE_E_WRITE, failure, TARE_NO_SHARD, what, file->path);
}

/* Opens the folder of the target, and points to the name in it. */
static tare_status open_folder(tarei_save_file *file)
{
    file->name = tarei_folder_leaf(file->path);
    size_t size = (size_t)(file->name - file->path);
    char *folder = tarei_memory_take(file->memory, size + 1, 1);
    if (folder == NULL) return tarei_error_memory(file->error);
    memcpy(folder, file->path, size);
    folder[size] = 0;
    int failure = tarei_os_open_folder(folder, &file->folder);
    tarei_memory_give(file->memory, folder, size + 1, 1);
    return failure == 0 ? TARE_OK : fail_system(file, failure, "cannot open its folder");
}

static tare_status fail_exists(const tarei_save_file *file)
{
    tarei_quoted path = tarei_quote(file->path, strlen(file->path));
    return tarei_error_set(file->error, TARE_E_EXISTS, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "%s: is there already", path.text);
}

/* Early, so that no time is lost on a file that cannot get its name. */
static tare_status check_target(const tarei_save_file *file)
{
    tarei_os_entry entry = TAREI_OS_FOLDER; /* without a name the path is one */
    int failure = file->name[0] != 0 ? tarei_os_look(file->folder, file->name, &entry) : 0;
    if (failure != 0) return fail_system(file, failure, "cannot look at it");
    if (entry == TAREI_OS_FOLDER) return fail_system(file, EISDIR, "cannot write");
    if (entry == TAREI_OS_SPECIAL) return fail_system(file, EINVAL, "is not a regular file");
    bool replace = (file->options->flags & TARE_SAVE_REPLACE) != 0;
    return entry == TAREI_OS_ABSENT || replace ? TARE_OK : fail_exists(file);
}

static tare_status create(tarei_save_file *file, uint32_t mode)
{
    char name[sizeof file->beside];
    int failure = EEXIST;
    for (int i = 0; i < ATTEMPTS_MAX && failure == EEXIST; i++) {
        snprintf(name, sizeof name, ".tare-%016" PRIx64 ".tmp", tarei_os_random());
        failure = tarei_os_create(file->folder, name, mode, &file->descriptor);
    }
    if (failure != 0) return fail_system(file, failure, "cannot create a file beside it");
    memcpy(file->beside, name, sizeof name);
    return TARE_OK;
}

static void begin(tarei_save_file *file, const char *path, uint64_t total,
                  const tare_save_options *options, tarei_memory *memory, tare_error *error)
{
    memset(file, 0, sizeof *file);
    file->memory = memory;
    file->options = options;
    file->path = path;
    file->total = total;
    file->folder = file->descriptor = -1;
    file->error = error;
}

tare_status tarei_save_file_begin(tarei_save_file *file, const char *path, uint32_t mode,
                                  uint64_t total, const tare_save_options *options,
                                  tarei_memory *memory, tare_error *error)
{
    begin(file, path, total, options, memory, error);
    tare_status status = open_folder(file);
    if (status == TARE_OK) status = check_target(file);
    if (status != TARE_OK) return status;
    file->buffer = tarei_memory_take(memory, BUFFER_SIZE, TAREI_BUFFER_ALIGNMENT);
    if (file->buffer == NULL) return tarei_error_memory(error);
    return create(file, mode);
}

tare_status tarei_save_file_begin_memory(tarei_save_file *file, void *target, uint64_t total,
                                         const tare_save_options *options, tarei_memory *memory,
                                         tare_error *error)
{
    begin(file, "bytes", total, options, memory, error);
    file->target = target;
    file->buffer = tarei_memory_take(memory, BUFFER_SIZE, TAREI_BUFFER_ALIGNMENT);
    return file->buffer == NULL ? tarei_error_memory(error) : TARE_OK;
}

static tare_status fail_total(const tarei_save_file *file)
{
    return tarei_error_set(file->error, TARE_E_CHANGED, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "%s: has other than the %" PRIu64 " bytes that it was to have",
                           tarei_quote(file->path, strlen(file->path)).text, file->total);
}

/* Hands bytes to the system, and tells how far it is. */
static tare_status write_out(tarei_save_file *file, const void *bytes, size_t size)
{
    int failure = 0;
    if (size > file->total - file->done) return fail_total(file);
    if (file->target != NULL)
        memcpy(file->target + file->done, bytes, size);
    else
        failure = tarei_os_write(file->descriptor, bytes, size);
    if (failure == EFAULT)
        return tarei_error_system(
            file->error, TARE_E_READ, failure, TARE_NO_SHARD,
            "cannot read what is to be written (was a mapped file cut short?)", file->path);
    if (failure != 0) return fail_system(file, failure, "cannot write");
    file->done += size;
    const tare_save_options *options = file->options;
    if (options->progress == NULL ||
        options->progress(options->progress_context, file->done, file->total) == 0)
        return TARE_OK;
    return tarei_error_set(file->error, TARE_E_CANCELLED, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "%s: stopped after %" PRIu64 " of %" PRIu64 " bytes",
                           tarei_quote(file->path, strlen(file->path)).text, file->done,
                           file->total);
}

static tare_status flush(tarei_save_file *file)
{
    size_t size = file->used;
    file->used = 0;
    return size != 0 ? write_out(file, file->buffer, size) : TARE_OK;
}

/* Where bytes come from: memory of the caller's, or a tensor of a model. */
typedef struct supply {
    const uint8_t *bytes;       /* that are handed to the system; NULL: none are */
    const tarei_source *source; /* of a tensor, else NULL */
    tarei_look look;
    const tare_save_tensor *tensor;
} supply;

/* What goes into the buffer, and who has it. */
static tare_status take_in(tarei_save_file *file, const supply *from, uint64_t at, size_t size)
{
    uint8_t *target = file->buffer + file->used;
    file->used += size;
    if (from->source != NULL)
        return tarei_bytes_read(from->tensor->model, from->tensor->tensor, from->source,
                                &from->look, at, target, size, file->error);
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): what has a size has data */
    memcpy(target, from->bytes + at, size);
    return TARE_OK;
}

static tare_status put(tarei_save_file *file, const supply *from, uint64_t size)
{
    tare_status status = TARE_OK;
    for (uint64_t at = 0, step; at < size && status == TARE_OK; at += step) {
        if (file->used == 0 && from->bytes != NULL && size - at >= BUFFER_SIZE) {
            step = size - at < DIRECT_SIZE_MAX ? size - at : DIRECT_SIZE_MAX;
            step -= step % BUFFER_SIZE;
            status = write_out(file, from->bytes + at, (size_t)step);
            continue;
        }
        size_t room = BUFFER_SIZE - file->used;
        step = size - at < room ? size - at : room;
        status = take_in(file, from, at, (size_t)step);
        if (status == TARE_OK && file->used == BUFFER_SIZE) status = flush(file);
    }
    return status;
}

tare_status tarei_save_file_text(tarei_save_file *file, const void *bytes, size_t size)
{
    const supply text = {.bytes = bytes};
    return put(file, &text, size);
}

tare_status tarei_save_file_tensor(tarei_save_file *file, const tare_save_tensor *tensor,
                                   const tarei_save_entry *entry)
{
    const uint32_t shard = (uint32_t)(entry->where >> TAREI_OFFSET_BITS);
    supply from = {.bytes = tensor->data, .tensor = tensor};
    if (tensor->model != NULL && entry->size != 0) {
        from.look = (tarei_look){.offset = entry->where & TAREI_OFFSET_MAX, .shard = shard};
        from.source = tarei_bytes_open(tensor->model, tensor->tensor, shard, file->error);
        if (from.source == NULL) return file->error->status;
        /* Memory takes no mapped bytes: those of a file cut short would fault. */
        if (file->target == NULL && from.source->bytes != NULL)
            from.bytes = from.source->bytes + from.look.offset;
    }
    return put(file, &from, entry->size);
}

/* From a complete file to one that lasts, still beside the target. */
static tare_status finish(tarei_save_file *file)
{
    int failure = tarei_os_sync(file->descriptor);
    if (failure != 0) return fail_system(file, failure, "cannot bring it to the disk");
    failure = tarei_os_close_written(file->descriptor);
    file->descriptor = -1;
    return failure == 0 ? TARE_OK : fail_system(file, failure, "cannot close it");
}

static tare_status move_to_target(tarei_save_file *file)
{
    bool replace = (file->options->flags & TARE_SAVE_REPLACE) != 0;
    int failure = tarei_os_rename(file->folder, file->beside, file->name, replace);
    if (failure == EEXIST && !replace) return fail_exists(file);
    if (failure != 0) return fail_system(file, failure, "cannot give it its name");
    file->beside[0] = 0;
    failure = tarei_os_sync(file->folder);
    if (failure == 0 || failure == EINVAL) return TARE_OK; /* some folders cannot be synced */
    return fail_system(file, failure, "is in place, but its folder cannot be brought to the disk");
}

tare_status tarei_save_file_end(tarei_save_file *file, tare_status status)
{
    if (status == TARE_OK) status = flush(file);
    if (status == TARE_OK && file->done != file->total) status = fail_total(file);
    if (status == TARE_OK && file->target == NULL) {
        status = finish(file);
        if (status == TARE_OK) status = move_to_target(file);
    }
    if (file->descriptor >= 0) tarei_os_close(file->descriptor);
    if (file->beside[0] != 0) tarei_os_remove(file->folder, file->beside);
    if (file->folder >= 0) tarei_os_close(file->folder);
    tarei_memory_give(file->memory, file->buffer, BUFFER_SIZE, TAREI_BUFFER_ALIGNMENT);
    return status;
}
