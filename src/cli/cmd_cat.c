#define _POSIX_C_SOURCE 200809L
#include "cli.h"

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
                        (char)(left > 1 ? letters[bits >> 6 & 63] : '='),
                        (char)(left > 2 ? letters[bits & 63] : '=')};
        out_bytes(text, sizeof text);
    }
    return !out_stopped();
}

/* Reads and writes piece by piece: a tensor may be larger than memory. */
static bool write_pieces(const tare_model *model, const tare_tensor *tensor, piece_writer writer)
{
    static unsigned char piece[PIECE_SIZE];
    tare_error error;
    uint64_t size = tare_size(model, tensor);
    for (uint64_t at = 0; at < size; at += sizeof piece) {
        size_t some = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;
        if (tare_read_at(model, tensor, at, piece, some, &error) != TARE_OK) {
            cli_message("%s", error.message);
            return false;
        }
        if (!writer(piece, some)) break;
    }
    return true;
}

static int write_tensor(const cli_options *options, const tare_model *model,
                        const tare_tensor *tensor)
{
    if (!options_json(options)) return write_pieces(model, tensor, write_raw) ? CLI_OK : CLI_FAILED;
    tare_info info = tare_describe(model, tensor);
    json_open('{');
    json_tensor(model, &info);
    json_key("base64");
    json_raw("\"");
    if (!write_pieces(model, tensor, write_base64)) return CLI_FAILED;
    out_string("\"");
    json_close('}');
    json_end();
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
