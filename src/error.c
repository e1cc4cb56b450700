#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "os.h"

const char *tare_status_name(tare_status status)
{
    switch (status) {
#define NAME(name, value, text) \
    case TARE_##name: return "TARE_" #name;
        TARE_STATUS_LIST(NAME)
#undef NAME
    default: return "TARE_E_UNKNOWN";
    }
}

const char *tare_status_text(tare_status status)
{
    switch (status) {
#define TEXT(name, value, text) \
    case TARE_##name: return text;
        TARE_STATUS_LIST(TEXT)
#undef TEXT
    default: return "unknown status";
    }
}

void tarei_error_clear(tare_error *error)
{
    memset(error, 0, sizeof *error);
    error->shard = TARE_NO_SHARD;
    error->offset = TARE_NO_OFFSET;
}

tare_status tarei_error_set(tare_error *error, tare_status status, uint32_t shard, uint64_t offset,
                            const char *format, ...)
{
    tarei_error_clear(error);
    error->status = status;
    error->shard = shard;
    error->offset = offset;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

tare_status tarei_error_system(tare_error *error, tare_status status, int system_error,
                               uint32_t shard, const char *what, const char *path)
{
    char reason[96];
    tarei_os_error_text(system_error, reason, sizeof reason);
    tarei_error_set(error, status, shard, TARE_NO_OFFSET, "%s: %s: %s",
                    tarei_quote(path, strlen(path)).text, what, reason);
    error->system_error = system_error;
    return status;
}

tare_status tarei_error_prefix(tare_error *error, tare_string file)
{
    char message[sizeof error->message];
    if (file.size == 0 || error->status == TARE_E_MEMORY) return error->status;
    memcpy(message, error->message, sizeof message);
    snprintf(error->message, sizeof error->message, "%s: %.300s",
             tarei_quote(file.data, file.size).text, message);
    return error->status;
}

tare_status tarei_error_memory(tare_error *error)
{
    return tarei_error_set(error, TARE_E_MEMORY, TARE_NO_SHARD, TARE_NO_OFFSET, "out of memory");
}

tarei_quoted tarei_quote(const void *name, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = name;
    tarei_quoted quoted;
    size_t at = 0;
    quoted.text[at++] = '\'';
    /* The longest step is \xNN; behind it there must be room for ...' and the terminator. */
    size_t end = sizeof quoted.text - 5 - 4;
    for (size_t i = 0; i < size; i++) {
        if (at > end) {
            memcpy(quoted.text + at, "...", 3);
            at += 3;
            break;
        }
        unsigned char c = from[i];
        if (c < 0x20 || c > 0x7e) {
            quoted.text[at++] = '\\';
            quoted.text[at++] = 'x';
            quoted.text[at++] = digits[c >> 4];
            quoted.text[at++] = digits[c & 15];
        } else {
            if (c == '\\') quoted.text[at++] = '\\';
            quoted.text[at++] = (char)c;
        }
    }
    quoted.text[at++] = '\'';
    quoted.text[at] = 0;
    return quoted;
}
