#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "source.h"

void tarei_source_init(tarei_source *source)
{
    memset(source, 0, sizeof *source);
    source->descriptor = -1;
}

static tare_status file_read_at(const tarei_source *source, uint64_t offset, void *target,
                                size_t size, int *system_error)
{
    size_t done;
    *system_error = tarei_os_read_at(source->descriptor, offset, target, size, &done);
    if (*system_error != 0) return TARE_E_READ;
    return done == size ? TARE_OK : TARE_E_CHANGED; /* it was longer when it was opened */
}

void tarei_source_file_init(tarei_source *source)
{
    tarei_source_init(source);
    source->read_at = file_read_at;
}

tare_status tarei_source_file_open(tarei_source *source, int folder, const char *path,
                                   uint32_t shard, tare_error *error)
{
    tarei_source_file_init(source);
    int descriptor, failure = tarei_os_open_file(folder, path, &descriptor, &source->identity);
    if (failure != 0) {
        const char *what = failure == EINVAL   ? "is not a regular file"
                           : failure == EMFILE ? "cannot open (each shard takes a descriptor: "
                                                 "raise the limit, ulimit -n)"
                                               : "cannot open";
        return tarei_error_system(error, TARE_E_OPEN, failure, shard, what, path);
    }
    source->descriptor = descriptor;
    source->size = source->identity.size;
    return TARE_OK;
}

tare_status tarei_source_fail(tare_error *error, tare_status status, int system_error,
                              uint32_t shard, uint64_t offset, uint64_t size)
{
    const char *why = status == TARE_E_CHANGED
                          ? "the data ends early: it shrank since it was opened"
                          : "reading failed";
    char reason[96];
    tarei_os_error_text(system_error, reason, sizeof reason);
    tarei_error_set(error, status, shard, offset, "%s (%" PRIu64 " bytes at %" PRIu64 ")%s%.96s",
                    why, size, offset, system_error ? ": " : "", system_error ? reason : "");
    error->system_error = system_error;
    return status;
}

tare_status tarei_source_read(const tarei_source *source, uint32_t shard, uint64_t offset,
                              void *target, size_t size, tare_error *error)
{
    if (size == 0) return TARE_OK;
    if (offset < source->head_size && size <= source->head_size - offset) {
        memcpy(target, source->head + offset, size);
        return TARE_OK;
    }
    int system_error = 0;
    tare_status status = source->read_at(source, offset, target, size, &system_error);
    if (status == TARE_OK) return TARE_OK;
    return tarei_source_fail(error, status, system_error, shard, offset, size);
}

void tarei_source_close(tarei_source *source)
{
    if (source->descriptor >= 0) {
        if (source->bytes != NULL) tarei_os_unmap(source->bytes, (size_t)source->size);
        tarei_os_close(source->descriptor);
    }
    tarei_source_init(source);
}
