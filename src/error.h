#ifndef TAREI_ERROR_H
#define TAREI_ERROR_H

#include <stddef.h>
#include <stdint.h>

#include "tare.h"

/* Success, with every field set: callers may look at any of them after any call. */
void tarei_error_clear(tare_error *error);

/* Writes `error`, which is not NULL, and returns `status`. Names in the text go through
 * tarei_quote, so that a message is printable whatever a file holds. */
#if defined(__GNUC__)
__attribute__((format(printf, 5, 6)))
#endif
tare_status
tarei_error_set(tare_error *error, tare_status status, uint32_t shard, uint64_t offset,
                const char *format, ...);

/* The same for a failed system call: adds what `system_error` means. */
tare_status tarei_error_system(tare_error *error, tare_status status, int system_error,
                               uint32_t shard, const char *what, const char *path);

/* Puts the name of the file that the message speaks of before it, if it has one. Returns the
 * status. */
tare_status tarei_error_prefix(tare_error *error, tare_string file);

tare_status tarei_error_memory(tare_error *error);

typedef struct tarei_quoted {
    char text[168];
} tarei_quoted;

/* 'name' in quotes, escaped, cut at about 150 characters. Use as tarei_quote(...).text. */
tarei_quoted tarei_quote(const void *name, size_t size);

#endif
