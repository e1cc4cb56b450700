/*
 * GGUF files written down in words, and tables of damaged ones:
 *
 *     'GGUF'     these bytes
 *     "name"     text behind its size, 8 bytes of it
 *     63"x"      the same, repeated so often
 *     4:3        a number in so many bytes; negative ones too
 *     p32        zero bytes up to a multiple of so many
 *     d16        so many bytes that build_byte makes of their offsets
 *     ^          stands before the byte that an error must name
 *
 * Spaces between them mean nothing.
 */
#ifndef GGUF_TEXT_H
#define GGUF_TEXT_H

#include <stddef.h>

#include "builder.h"
#include "tare.h"

/* Version 3, with these counts. */
#define GGUF_HEAD(tensors, entries) "'GGUF' 4:3 8:" tensors " 8:" entries " "

/* Entries of metadata, by ggml's numbers of kinds. */
#define GGUF_U32(key, value) "\"" key "\" 4:4 4:" value " "
#define GGUF_U16(key, value) "\"" key "\" 4:2 2:" value " "
#define GGUF_TEXT(key, value) "\"" key "\" 4:8 \"" value "\" "

/* A tensor of one dimension, by ggml's number of its type. */
#define GGUF_TENSOR(name, size, type, offset) "\"" name "\" 4:1 8:" size " 4:" type " 8:" offset " "

/* *mark becomes the place of ^, or SIZE_MAX; it may be NULL. */
build_text gguf_text(const char *words, size_t *mark);

typedef struct gguf_damage {
    const char *what;
    const char *words;
    tare_status status; /* TARE_OK: this one is good */
} gguf_damage;

/* Opens each from memory and through a reader, which must say the same. */
void gguf_damage_check(const gguf_damage *rows, size_t count);

#define GGUF_DAMAGE_CHECK(rows) gguf_damage_check(rows, sizeof rows / sizeof rows[0])

/* Opens from memory and ends the test where that fails. */
tare_model *gguf_open(const char *words, build_text *file);

#endif
