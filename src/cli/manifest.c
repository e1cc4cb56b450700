/*
 * A line is the digest, two blanks and the name. Where the name has to be escaped as everywhere in
 * this program, a backslash stands before the digest: as in what sha256sum and the like write.
 */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = MANIFEST_DIGEST_SIZE - 1, NAME_AT = DIGITS + 2 };

void manifest_digest(tare_digest digest, char target[MANIFEST_DIGEST_SIZE])
{
    snprintf(target, MANIFEST_DIGEST_SIZE, "%016llx%016llx", (unsigned long long)digest.high,
             (unsigned long long)digest.low);
}

static bool needs_escape(tare_string name)
{
    while (name.size > 0) {
        text_piece piece;
        size_t taken = text_next(name, &piece);
        if (piece.size != taken || memcmp(piece.data, name.data, taken) != 0) return true;
        name.data += taken;
        name.size -= taken;
    }
    return false;
}

void manifest_write_line(const manifest_line *line)
{
    char digits[MANIFEST_DIGEST_SIZE];
    manifest_digest(line->digest, digits);
    if (needs_escape(line->name)) out_bytes("\\", 1);
    out_bytes(digits, DIGITS);
    out_bytes("  ", 2);
    out_escaped(line->name);
    out_bytes("\n", 1);
}

static bool read_half(const char *digits, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < DIGITS / 2; i++) {
        const char *found = memchr("0123456789abcdef", digits[i], 16);
        if (found == NULL) return false;
        *value = *value << 4 | (uint64_t)(found - "0123456789abcdef");
    }
    return true;
}

/* Takes the line apart; its name is unescaped in place. */
static bool read_line(char *text, size_t size, manifest_line *line)
{
    bool escaped = size > 0 && *text == '\\';
    if (escaped) text++, size--;
    if (size < NAME_AT || memcmp(text + DIGITS, "  ", 2) != 0) return false;
    if (!read_half(text, &line->digest.high)) return false;
    if (!read_half(text + DIGITS / 2, &line->digest.low)) return false;
    line->name = (tare_string){text + NAME_AT, size - NAME_AT};
    return !escaped || text_unescape(line->name, text + NAME_AT, &line->name.size);
}

/* All of a stream; NULL and errno when that fails. */
static char *read_all(FILE *stream, size_t *size)
{
    size_t room = 1u << 16;
    char *text = malloc(room);
    *size = 0;
    while (text != NULL) {
        *size += fread(text + *size, 1, room - *size, stream);
        if (*size < room) break;
        char *larger = realloc(text, 2 * room);
        if (larger == NULL) free(text);
        text = larger;
        room *= 2;
    }
    if (text == NULL || !ferror(stream)) return text;
    int failure = errno;
    free(text);
    errno = failure;
    return NULL;
}

static size_t count_lines(const char *text, size_t size)
{
    size_t count = 0;
    for (const char *at = text; (at = memchr(at, '\n', size - (size_t)(at - text))) != NULL; at++) {
        count++;
    }
    return count;
}

static bool read_lines(const char *shown, size_t size, manifest *made)
{
    char *at = made->text;
    size_t count = count_lines(made->text, size);
    made->lines = malloc((count + 1) * sizeof *made->lines);
    if (made->lines == NULL) {
        cli_message("%s: no memory for %zu lines", shown, count);
        return false;
    }
    while (made->count < count) {
        char *end = memchr(at, '\n', size - (size_t)(at - made->text));
        if (!read_line(at, (size_t)(end - at), &made->lines[made->count])) break;
        made->count++;
        at = end + 1;
    }
    if (at == made->text + size) return true;
    cli_message("%s: line %zu is not one of a manifest", shown, made->count + 1);
    return false;
}

bool manifest_read(const char *path, manifest *made)
{
    char shown[512];
    *made = (manifest){0};
    text_escape(text_of(path), shown, sizeof shown);
    bool standard = strcmp(path, "-") == 0;
    FILE *stream = standard ? stdin : fopen(path, "rb");
    size_t size = 0;
    if (stream != NULL) made->text = read_all(stream, &size);
    int failure = errno;
    if (stream != NULL && !standard) fclose(stream);
    if (made->text != NULL) return read_lines(shown, size, made);
    cli_message("%s: cannot be read: %s", shown, strerror(failure));
    return false;
}

void manifest_free(manifest *made)
{
    free(made->lines);
    free(made->text);
}
