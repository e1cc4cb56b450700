#include "cli.h"

#include <errno.h>
#include <stdio.h>

/* What the bytes of all tensors come to. */
static uint64_t data_size(const tare_model *model)
{
    uint64_t size = 0;
    for (size_t i = 0; i < tare_count(model); i++) size += tare_size(model, tare_at(model, i));
    return size;
}

static void print_accepted(const char *path, const tare_model *model, bool indexed)
{
    size_t count = tare_count(model);
    size_t shards = tare_shard_count(model);
    out_escaped(text_of(path));
    out_string(": ");
    out_style_on(STYLE_GOOD);
    out_string("ok");
    out_style_off();
    out_format(" (%zu tensor%s, ", count, count == 1 ? "" : "s");
    out_human(data_size(model));
    if (shards > 1) out_format(", %zu shards", shards);
    if (indexed) out_string(", and its index file");
    out_string(")");
    uint64_t number;
    uint64_t parts;
    if (cli_is_part(model, &number, &parts))
        out_format(": part %llu of %llu of a split file, by whose name no other is found",
                   (unsigned long long)number, (unsigned long long)parts);
    out_string("\n");
}

static void json_accepted(const tare_model *model, bool indexed)
{
    json_field("tensors", tare_count(model));
    json_field("size", data_size(model));
    json_field("shards", tare_shard_count(model));
    if (indexed) {
        json_key("index_file");
        json_bool(true);
    }
    uint64_t number;
    uint64_t parts;
    if (!cli_is_part(model, &number, &parts)) return;
    json_field("part", number);
    json_field("parts", parts);
}

static void json_rejected(const tare_error *error, bool opened)
{
    if (opened) {
        json_key("index_file");
        json_bool(false);
    }
    json_key("status");
    json_text(tare_status_name(error->status));
    json_field("value", (uint32_t)error->status);
    json_key("message");
    json_text(error->message);
    json_key("offset");
    if (error->offset == TARE_NO_OFFSET)
        json_raw("null");
    else
        json_u64(error->offset);
    json_key("shard");
    if (error->shard == TARE_NO_SHARD)
        json_raw("null");
    else
        json_u64(error->shard);
    json_field("system_error", (uint32_t)error->system_error);
}

/* Compares the index file, where there is one; *indexed tells. */
static bool check_index(const cli_options *options, const tare_model *model, bool *indexed,
                        tare_error *error)
{
    *indexed = false;
    if ((options->given & OPTION_NO_INDEX) != 0) return true;
    tare_status status = tare_index_check(model, NULL, NULL, error);
    if (status == TARE_E_OPEN && error->system_error == ENOENT) return true;
    *indexed = status == TARE_OK;
    return *indexed;
}

/* Says why not; of a model that opens, that it is the index file. */
static void report(const char *path, const tare_error *error, bool opened)
{
    tare_error said = *error;
    const char *how = error->status == TARE_E_STALE ? "is stale" : "cannot be used";
    if (opened)
        snprintf(said.message, sizeof said.message, "the model is valid, its index file %s: %.320s",
                 how, error->message);
    cli_report(path, &said, true);
}

static bool check(const cli_options *options, const char *path)
{
    tare_options open_options = cli_open_options(options);
    open_options.index = TARE_INDEX_NEVER;
    tare_model *model;
    tare_error error;
    bool indexed = false;
    bool opened = tare_open(path, &open_options, &model, &error) == TARE_OK;
    bool accepted = opened && check_index(options, model, &indexed, &error);
    if (options_json(options)) {
        json_open('{');
        json_key("path");
        json_text(path);
        json_key("ok");
        json_bool(accepted);
        json_key("model_ok");
        json_bool(opened);
        if (accepted)
            json_accepted(model, indexed);
        else
            json_rejected(&error, opened);
        json_close('}');
        json_line();
    } else if (accepted) {
        print_accepted(path, model, indexed);
    }
    if (!accepted) report(path, &error, opened);
    tare_close(model);
    return accepted;
}

int cmd_check(const cli_options *options)
{
    uint64_t rejected = 0;
    if (options_json(options)) {
        json_open('{');
        json_key("results");
        json_open('[');
        json_line();
    }
    for (int i = 0; i < options->operand_count; i++) {
        rejected += !check(options, options->operands[i]);
    }
    if (options_json(options)) {
        json_close(']');
        json_field("accepted", (uint64_t)options->operand_count - rejected);
        json_field("rejected", rejected);
        json_close('}');
        json_end();
    }
    return rejected > 0 ? CLI_FAILED : CLI_OK;
}
