#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The program writes to stdout through here only: stdio would lose the errno of a failed write,
 * which tells a closed pipe from a full disk. */
static struct {
    char buffer[1u << 16];
    size_t used;
    int descriptor;
    int error; /* errno of the write that failed; all after it is dropped */
    bool colour;
    struct { /* while it is diverted: what holds for stdout */
        int error;
        bool colour;
    } kept;
} output = {.descriptor = STDOUT_FILENO};

void out_start(void)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    output.colour = isatty(STDOUT_FILENO) && (no_colour == NULL || *no_colour == '\0') &&
                    (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

static void write_all(const char *data, size_t size)
{
    while (size > 0 && output.error == 0) {
        ssize_t written = write(output.descriptor, data, size);
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        } else if (written == 0 || errno != EINTR) {
            output.error = written == 0 ? EIO : errno;
        }
    }
}

void out_flush(void)
{
    write_all(output.buffer, output.used);
    output.used = 0;
}

void out_divert(int descriptor)
{
    out_flush();
    output.kept.error = output.error;
    output.kept.colour = output.colour;
    output.descriptor = descriptor;
    output.error = 0;
    output.colour = false;
}

int out_restore(void)
{
    out_flush();
    int failure = output.error;
    output.descriptor = STDOUT_FILENO;
    output.error = output.kept.error;
    output.colour = output.kept.colour;
    return failure;
}

bool out_stopped(void)
{
    return output.error != 0;
}

bool out_direct(const void *data, size_t size)
{
    out_flush();
    write_all(data, size);
    return !out_stopped();
}

int out_finish(void)
{
    out_flush();
    /* Some file systems say only now that there was no space. Whoever has none wrote nothing. */
    if (output.error == 0 && close(output.descriptor) != 0 && errno != EINTR && errno != EBADF)
        output.error = errno;
    if (output.error == 0 || output.error == EPIPE) return CLI_OK;
    /* Bytes of a mapping whose file was cut cannot be copied to the kernel: EFAULT. */
    if (output.error == EFAULT)
        cli_message("a file was cut short while it was read");
    else
        cli_message("standard output: %s", strerror(output.error));
    return CLI_FAILED;
}

void out_bytes(const void *data, size_t size)
{
    if (size > sizeof output.buffer - output.used) {
        out_flush();
        if (size > sizeof output.buffer) {
            write_all(data, size);
            return;
        }
    }
    if (size > 0) memcpy(output.buffer + output.used, data, size);
    output.used += size;
}

void out_string(const char *text)
{
    out_bytes(text, strlen(text));
}

void out_escaped(tare_string text)
{
    text_piece piece;
    while (text.size > 0) {
        size_t taken = text_next(text, &piece);
        out_bytes(piece.data, piece.size);
        text.data += taken;
        text.size -= taken;
    }
}

void out_format(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size > 0) out_bytes(text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
}

void out_spaces(size_t count)
{
    static const char spaces[] = "                                ";
    for (; count >= sizeof spaces; count -= sizeof spaces - 1) out_bytes(spaces, sizeof spaces - 1);
    out_bytes(spaces, count);
}

void out_u64(uint64_t value)
{
    char text[TEXT_U64_SIZE];
    out_bytes(text, text_u64(value, text));
}

void out_human(uint64_t size)
{
    char text[TEXT_HUMAN_SIZE];
    out_bytes(text, text_human(size, text));
}

void out_shape(const uint64_t *shape, uint32_t rank)
{
    out_bytes("[", 1);
    for (uint32_t i = 0; i < rank; i++) {
        if (i > 0) out_bytes(", ", 2);
        out_u64(shape[i]);
    }
    out_bytes("]", 1);
}

size_t out_shape_width(const uint64_t *shape, uint32_t rank)
{
    size_t width = 2 + (rank > 1 ? 2 * (size_t)(rank - 1) : 0);
    for (uint32_t i = 0; i < rank; i++) {
        char text[TEXT_U64_SIZE];
        width += text_u64(shape[i], text);
    }
    return width;
}

void out_style_on(out_style style)
{
    static const char *const codes[] = {
        [STYLE_HEAD] = "\x1b[2m",   /* dim */
        [STYLE_DTYPE] = "\x1b[36m", /* cyan */
        [STYLE_GOOD] = "\x1b[32m",  /* green */
        [STYLE_KEY] = "\x1b[1m",    /* bold */
    };
    if (output.colour) out_string(codes[style]);
}

void out_style_off(void)
{
    if (output.colour) out_string("\x1b[0m");
}

void out_key(const char *key)
{
    const size_t width = 11;
    size_t size = strlen(key);
    out_style_on(STYLE_HEAD);
    out_string(key);
    out_style_off();
    out_spaces(size < width ? width - size : 1);
}
