/* The header as the reference writer has it: serde_json's compact form, members in one order. */
#include <string.h>

#include "check.h"
#include "save.h"

/* Counts what it is given, and writes it where there is a file. After a failure it only counts. */
typedef struct writer {
    tarei_save_file *file;
    uint64_t size;
    tare_status status;
} writer;

static void put(writer *w, const void *bytes, size_t size)
{
    w->size += size;
    if (w->file != NULL && w->status == TARE_OK)
        w->status = tarei_save_file_text(w->file, bytes, size);
}

#define PUT(w, text) put(w, text, sizeof(text) - 1)

static void put_u64(writer *w, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put(w, digits + at, sizeof digits - at);
}

/* Source: serde_json, ser.rs, ESCAPE: quote, backslash and what is below 0x20; nothing else. */
static void put_escape(writer *w, uint8_t byte)
{
    static const char letters[] = "\"\\bfnrt", meanings[] = "\"\\\b\f\n\r\t";
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
    const char *meaning = byte != 0 ? strchr(meanings, byte) : NULL;
    if (meaning != NULL) text[1] = letters[meaning - meanings];
    put(w, text, meaning != NULL ? 2 : sizeof text);
}

static void put_string(writer *w, const char *text, size_t size)
{
    size_t start = 0; /* of what needs no escape */
    PUT(w, "\"");
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        if (i != start) put(w, text + start, i - start);
        put_escape(w, byte);
        start = i + 1;
    }
    if (size != start) put(w, text + start, size - start);
    PUT(w, "\"");
}

static void put_metadata(writer *w, const tarei_save_plan *plan)
{
    PUT(w, "\"__metadata__\":{");
    for (size_t i = 0; i < plan->metadata_count; i++) {
        const tare_save_metadata *entry = &plan->metadata[i];
        if (i != 0) PUT(w, ",");
        put_string(w, entry->key.data, entry->key.size);
        PUT(w, ":");
        put_string(w, entry->value.data, entry->value.size);
    }
    PUT(w, "}");
}

static void put_tensor(writer *w, const tarei_save_entry *entry, uint64_t begin)
{
    const char *dtype = tare_dtype_name(entry->dtype);
    put_string(w, entry->name, entry->name_size);
    PUT(w, ":{\"dtype\":\"");
    put(w, dtype, strlen(dtype));
    PUT(w, "\",\"shape\":[");
    for (uint32_t i = 0; i < entry->rank; i++) {
        if (i != 0) PUT(w, ",");
        put_u64(w, entry->shape[i]);
    }
    PUT(w, "],\"data_offsets\":[");
    put_u64(w, begin);
    PUT(w, ",");
    put_u64(w, begin + entry->size);
    PUT(w, "]}");
}

static void put_header(writer *w, const tarei_save_plan *plan)
{
    uint64_t begin = 0;
    PUT(w, "{");
    if (plan->metadata_count != 0) put_metadata(w, plan);
    for (size_t i = 0; i < plan->count && w->status == TARE_OK; i++) {
        const tarei_save_entry *entry = &plan->entries[plan->order[i]];
        if (i != 0 || plan->metadata_count != 0) PUT(w, ",");
        put_tensor(w, entry, begin);
        begin += entry->size;
    }
    PUT(w, "}");
}

uint64_t tarei_save_header_measure(const tarei_save_plan *plan)
{
    writer w = {NULL, 0, TARE_OK};
    put_header(&w, plan);
    return w.size;
}

tare_status tarei_save_header_write(const tarei_save_plan *plan, uint64_t size,
                                    tarei_save_file *file)
{
    writer w = {file, 0, TARE_OK};
    uint8_t head[8];
    for (unsigned i = 0; i < sizeof head; i++) head[i] = (uint8_t)(size >> (8 * i));
    put(&w, head, sizeof head);
    put_header(&w, plan);
    while (w.size < size + sizeof head && w.status == TARE_OK) PUT(&w, " ");
    return w.status;
}
