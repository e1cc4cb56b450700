#include <string.h>

#include "source.h"

static tare_status bytes_read_at(const tarei_source *source, uint64_t offset, void *target,
                                 size_t size, int *system_error)
{
    *system_error = 0;
    memcpy(target, source->bytes + offset, size);
    return TARE_OK;
}

void tarei_source_bytes(tarei_source *source, const void *bytes, uint64_t size)
{
    tarei_source_init(source);
    source->bytes = bytes;
    source->size = size;
    source->head = bytes;
    source->head_size = size;
    source->read_at = bytes_read_at;
}
