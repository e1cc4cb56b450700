#include <errno.h>

#include "source.h"

static tare_status reader_read_at(const tarei_source *source, uint64_t offset, void *target,
                                  size_t size, int *system_error)
{
    const tare_reader *reader = &source->reader;
    *system_error = 0;
    for (size_t done = 0; done < size;) {
        int64_t got =
            reader->read_at(reader->context, offset + done, (char *)target + done, size - done);
        if (got == 0) return TARE_E_CHANGED;
        if (got < 0 || (uint64_t)got > size - done) {
            *system_error = got < 0 && got >= -INT32_MAX ? (int)-got : EIO;
            return TARE_E_READ;
        }
        done += (size_t)got;
    }
    return TARE_OK;
}

void tarei_source_reader(tarei_source *source, const tare_reader *reader)
{
    tarei_source_init(source);
    source->reader = *reader;
    source->size = reader->total_size;
    source->read_at = reader_read_at;
}
