#include "cli.h"

#include <string.h>

/* Opens the model once more, with what was written: what is told of it is what others will see. */
static bool report(const cli_options *options, const char *path, tare_string written)
{
    tare_options open_options = cli_open_options(options);
    open_options.index = TARE_INDEX_REQUIRE;
    open_options.index_path = written.data;
    tare_model *model;
    tare_error error;
    if (tare_open(path, &open_options, &model, &error) != TARE_OK) {
        cli_report(written.data, &error, false);
        return false;
    }
    tare_stat cost = {.struct_size = sizeof cost};
    tare_model_stat(model, &cost);
    if (options_json(options)) {
        json_open('{');
        json_key("file");
        json_string(written);
        json_field("size", cost.index_file_size);
        json_field("tensors", tare_count(model));
        json_field("shards", tare_shard_count(model));
        json_close('}');
        json_end();
    } else {
        out_escaped(written);
        out_format(" (%zu tensor%s, ", tare_count(model), tare_count(model) == 1 ? "" : "s");
        out_human(cost.index_file_size);
        out_string(")\n");
    }
    tare_close(model);
    return true;
}

int cmd_index(const cli_options *options)
{
    const char *path = options->operands[0];
    tare_options open_options = cli_open_options(options);
    open_options.index = TARE_INDEX_NEVER;
    tare_index_options index_options = TARE_INDEX_OPTIONS_INIT;
    if ((options->given & OPTION_FORCE) != 0) index_options.flags = TARE_SAVE_REPLACE;
    tare_model *model;
    tare_error error;
    if (options->output != NULL && strcmp(options->output, "-") == 0) {
        cli_message("-: an index file is not written to standard output, but to a file");
        return CLI_USAGE;
    }
    if (tare_open(path, &open_options, &model, &error) != TARE_OK) {
        cli_report(path, &error, false);
        return CLI_FAILED;
    }
    tare_string target =
        options->output != NULL ? text_of(options->output) : tare_index_path(model);
    bool good = tare_index_save(model, target.data, &index_options, &error) == TARE_OK;
    if (!good) cli_report(target.data, &error, false);
    good = good && report(options, path, target);
    tare_close(model);
    return good ? CLI_OK : CLI_FAILED;
}
