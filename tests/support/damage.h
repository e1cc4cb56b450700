/*
 * Tables of damaged headers. A row is text as build_marked reads it (' is ", ` is ', @ is a zero
 * byte); ^ stands before the byte that the error must name, which at the end of the text is the
 * first byte of data, and ^^ the second.
 */
#ifndef DAMAGE_H
#define DAMAGE_H

#include <stddef.h>

#include "builder.h"
#include "tare.h"

/* Members of a tensor, to write short rows with. */
#define INFO(dtype, shape, offsets) \
    "{'dtype':" dtype ",'shape':" shape ",'data_offsets':" offsets "}"
#define U8(offsets) INFO("'U8'", "[1]", offsets)
#define ONE U8("[0,1]")

typedef struct damage {
    const char *what;
    const char *header;
    size_t data_size;
    tare_status status; /* TARE_OK: this one is good */
} damage;

void damage_check(const damage *rows, size_t count);

#define DAMAGE_CHECK(rows) damage_check(rows, sizeof rows / sizeof rows[0])

/* Opens a copy on the heap of exactly that size, so that AddressSanitizer sees a read beyond it.
 * The copy lives until the next call. */
tare_status damage_open(const build_text *file, tare_model **model, tare_error *error);

#endif
