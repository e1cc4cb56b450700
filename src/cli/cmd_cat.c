#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <stdlib.h>
#include <unistd.h>

/* Written a piece at a time, so that a reader that goes away is noticed soon. A multiple of 3: of a
 * piece in base64 only the last one is padded. */
enum { PIECE_SIZE = 3 << 18 };

typedef bool (*piece_writer)(const unsigned char *data, size_t size);

static bool write_raw(const unsigned char *data, size_t size)
{
    return out_direct(data, size);
}

static bool write_base64(const unsigned char *data, size_t size)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)data[i] << 16;
        if (left > 1) bits |= (uint32_t)data[i + 1] << 8;
        if (left > 2) bits |= data[i + 2];
        char text[4] = {letters[bits >> 18], letters[bits >> 12 & 63],
                        left > 1 ? letters[bits >> 6 & 63] : '=',
                        left > 2 ? letters[bits & 63] : '='};
        out_bytes(text, sizeof text);
    }
    return !out_stopped();
}

static void write_pieces(const unsigned char *data, uint64_t size, piece_writer writer)
{
    while (size > 0) {
        size_t piece = size < PIECE_SIZE ? (size_t)size : PIECE_SIZE;
        if (!writer(data, piece)) return;
        data += piece;
        size -= piece;
    }
}

static void write_json(const tare_model *model, const tare_info *info, const unsigned char *data)
{
    json_open('{');
    json_tensor(model, info);
    json_key("base64");
    json_raw("\"");
    write_pieces(data, info->size, write_base64);
    out_string("\"");
    json_close('}');
    json_end();
}

static int write_tensor(const cli_options *options, const tare_model *model,
                        const tare_tensor *tensor)
{
    tare_info info = tare_describe(model, tensor);
    unsigned char *copy;
    const unsigned char *data = cli_bytes(model, tensor, &copy);
    if (data == NULL) return CLI_FAILED;
    if (options_json(options))
        write_json(model, &info, data);
    else
        write_pieces(data, info.size, write_raw);
    free(copy);
    return CLI_OK;
}

int cmd_cat(const cli_options *options)
{
    const char *path = options->operands[0];
    if (isatty(STDOUT_FILENO) && (options->given & (OPTION_FORCE | OPTION_JSON)) == 0) {
        cli_message("raw bytes are not for a terminal: redirect them, or use --force");
        return CLI_USAGE;
    }
    tare_model *model = cli_open(options, path, NULL);
    if (model == NULL) return CLI_FAILED;
    const tare_tensor *tensor = cli_find(model, path, options->operands[1]);
    int status = tensor != NULL ? write_tensor(options, model, tensor) : CLI_FAILED;
    tare_close(model);
    return status;
}
