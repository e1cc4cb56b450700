#include <inttypes.h>

#include "error.h"
#include "parse.h"

tare_status tarei_cursor_fetch(tarei_cursor *cursor, uint64_t size, uint64_t at)
{
    if (size > cursor->file_size - cursor->at)
        return tarei_error_set(cursor->error, TARE_E_TRUNCATED, cursor->shard, at,
                               "%" PRIu64 " bytes wanted at %" PRIu64 ", the file has %" PRIu64
                               " (cut short?)",
                               size, cursor->at, cursor->file_size);
    if (cursor->at > cursor->size_max || size > cursor->size_max - cursor->at)
        return tarei_error_set(cursor->error, TARE_E_HEADER_SIZE, cursor->shard, at,
                               "the header goes beyond its limit of %" PRIu64 " bytes",
                               cursor->size_max);
    return cursor->more(cursor, cursor->at + size);
}

tare_status tarei_cursor_string(tarei_cursor *cursor, tarei_span *span)
{
    uint64_t at = cursor->at, size;
    tare_status status = tarei_cursor_u64(cursor, &size);
    if (status != TARE_OK) return status;
    if (size > TAREI_STRING_SIZE_MAX)
        return tarei_error_set(cursor->error, TARE_E_LIMIT, cursor->shard, at,
                               "a string of %" PRIu64 " bytes, the format allows 1 GiB", size);
    status = tarei_cursor_need(cursor, size, at);
    if (status != TARE_OK) return status;
    *span = (tarei_span){(uint32_t)cursor->at, (uint32_t)size};
    cursor->at += size;
    return TARE_OK;
}

tare_status tarei_cursor_skip_strings(tarei_cursor *cursor, uint64_t count)
{
    tare_status status = TARE_OK;
    while (count > 0 && status == TARE_OK) {
        /* A vocabulary has hundreds of thousands: mostly all is there and fine. */
        const uint8_t *bytes = cursor->bytes;
        uint64_t at = cursor->at, end = cursor->have;
        for (; count > 0 && end - at >= 8; count--) {
            uint64_t size = tarei_load_le64(bytes + at);
            if (size > end - at - 8 || size > TAREI_STRING_SIZE_MAX) break;
            at += 8 + size;
        }
        cursor->at = at;
        tarei_span unused;
        if (count > 0) status = tarei_cursor_string(cursor, &unused), count--;
    }
    return status;
}
