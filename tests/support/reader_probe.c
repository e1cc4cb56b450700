#include "reader_probe.h"

#include <string.h>

static int64_t probe_read_at(void *context, uint64_t offset, void *target, size_t size)
{
    reader_probe *probe = context;
    probe->calls++;
    if (size == 0 || offset >= probe->size || size > probe->size - offset) {
        probe->mistakes++;
        return -1;
    }
    if (offset < probe->lowest) probe->lowest = offset;
    if (offset + size > probe->end) probe->end = offset + size;
    if (probe->calls == probe->answer_at) return probe->answer;
    if (probe->piece != 0 && size > probe->piece) size = probe->piece;
    memcpy(target, probe->bytes + offset, size);
    probe->given += size;
    return (int64_t)size;
}

void reader_probe_init(reader_probe *probe, const void *bytes, uint64_t size, size_t piece)
{
    memset(probe, 0, sizeof *probe);
    probe->reader.struct_size = sizeof probe->reader;
    probe->reader.context = probe;
    probe->reader.read_at = probe_read_at;
    probe->reader.total_size = size;
    probe->bytes = bytes;
    probe->size = size;
    probe->piece = piece;
    probe->lowest = UINT64_MAX;
}

void reader_probe_reset(reader_probe *probe)
{
    probe->calls = 0;
    probe->lowest = UINT64_MAX;
    probe->end = 0;
    probe->given = 0;
    probe->mistakes = 0;
}
