#include "cli.h"

#include <stdlib.h>

static int compare_lines(const void *first, const void *second)
{
    return text_compare(((const manifest_line *)first)->name,
                        ((const manifest_line *)second)->name);
}

static void print_lines(const manifest_line *lines, size_t count)
{
    for (size_t i = 0; i < count && !out_stopped(); i++) manifest_write_line(&lines[i]);
}

static void json_lines(const char *path, const manifest_line *lines, const selection *what)
{
    json_open('{');
    json_key("model");
    json_text(path);
    json_key("tensors");
    json_open('[');
    json_line();
    for (size_t i = 0; i < what->count && !out_stopped(); i++) {
        char digits[MANIFEST_DIGEST_SIZE];
        manifest_digest(lines[i].digest, digits);
        json_open('{');
        json_key("name");
        json_string(lines[i].name);
        json_key("digest");
        json_text(digits);
        json_close('}');
        json_line();
    }
    json_close(']');
    json_field("count", what->count);
    json_field("size", what->size);
    json_close('}');
    json_end();
}

static int write_manifest(const cli_options *options, const tare_model *model,
                          const selection *what)
{
    tare_digest *digests = malloc(what->count * sizeof *digests + 1);
    manifest_line *lines = malloc(what->count * sizeof *lines + 1);
    int status = CLI_FAILED;
    if (digests == NULL || lines == NULL)
        cli_message("no memory for %zu digests", what->count);
    else
        status = transfer_hash(options, model, what, digests);
    for (size_t i = 0; i < what->count && status == CLI_OK; i++) {
        lines[i] = (manifest_line){tare_name(model, what->tensors[i]), digests[i]};
    }
    if (status == CLI_OK) qsort(lines, what->count, sizeof *lines, compare_lines);
    if (status == CLI_OK && options_json(options))
        json_lines(options->operands[0], lines, what);
    else if (status == CLI_OK)
        print_lines(lines, what->count);
    free(digests);
    free(lines);
    return status;
}

int cmd_hash(const cli_options *options)
{
    const char *path = options->operands[0];
    selection what;
    int status = CLI_FAILED;
    tare_model *model = cli_open_headers(options, path);
    if (model == NULL) return CLI_FAILED;
    if (selection_make(model, path, options->operands + 1, options->operand_count - 1, &what)) {
        status = write_manifest(options, model, &what);
        selection_free(&what);
    }
    tare_close(model);
    return status;
}
