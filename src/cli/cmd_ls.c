#include "cli.h"

#include <string.h>

/* Columns are as wide as what they hold, but a few very long names shall not push all else away. */
enum { GAP = 2, NAME_WIDTH_MAX = 80, SHAPE_WIDTH_MAX = 32 };

typedef struct widths {
    size_t name;
    size_t dtype;
    size_t shape;
    size_t size;
} widths;

typedef struct totals {
    uint64_t tensors;
    uint64_t size;
} totals;

static void widen(size_t *width, size_t needed, size_t limit)
{
    if (needed > *width && needed <= limit)
        *width = needed;
    else if (needed > limit)
        *width = limit;
}

static widths measure(const tare_model *model, tare_range range, totals *sum)
{
    widths wide = {strlen("NAME"), strlen("DTYPE"), strlen("SHAPE"), strlen("SIZE")};
    for (const tare_tensor *tensor; (tensor = tare_next(model, &range)) != NULL;) {
        tare_info info = tare_describe(model, tensor);
        char human[TEXT_HUMAN_SIZE];
        widen(&wide.name, text_width((tare_string){info.name, info.name_size}), NAME_WIDTH_MAX);
        widen(&wide.dtype, strlen(cli_dtype_name(info.dtype)), SIZE_MAX);
        widen(&wide.shape, out_shape_width(info.shape, info.rank), SHAPE_WIDTH_MAX);
        widen(&wide.size, text_human(info.size, human), SIZE_MAX);
        sum->tensors++;
        sum->size += info.size;
    }
    return wide;
}

static void pad(size_t width, size_t used)
{
    out_spaces(GAP + (used < width ? width - used : 0));
}

static void print_head(const widths *wide)
{
    out_style_on(STYLE_HEAD);
    out_string("NAME");
    pad(wide->name, strlen("NAME"));
    out_string("DTYPE");
    pad(wide->dtype, strlen("DTYPE"));
    out_string("SHAPE");
    pad(wide->shape, strlen("SHAPE"));
    out_spaces(wide->size - strlen("SIZE"));
    out_string("SIZE  SHARD");
    out_style_off();
    out_string("\n");
}

static void print_row(const tare_model *model, const tare_tensor *tensor, const widths *wide)
{
    tare_info info = tare_describe(model, tensor);
    tare_string name = {info.name, info.name_size};
    const char *dtype = cli_dtype_name(info.dtype);
    char human[TEXT_HUMAN_SIZE];
    size_t human_size = text_human(info.size, human);
    out_escaped(name);
    pad(wide->name, text_width(name));
    out_style_on(STYLE_DTYPE);
    out_string(dtype);
    out_style_off();
    pad(wide->dtype, strlen(dtype));
    out_shape(info.shape, info.rank);
    pad(wide->shape, out_shape_width(info.shape, info.rank));
    out_spaces(wide->size - human_size);
    out_bytes(human, human_size);
    out_spaces(GAP);
    out_escaped(cli_shard_label(model, info.shard));
    out_string("\n");
}

static void print_total(const tare_model *model, const totals *sum)
{
    size_t count = tare_count(model);
    size_t shards = tare_shard_count(model);
    out_style_on(STYLE_HEAD);
    out_u64(sum->tensors);
    if (sum->tensors != count) {
        out_string(" of ");
        out_u64(count);
    }
    out_string(count == 1 ? " tensor, " : " tensors, ");
    out_human(sum->size);
    if (shards > 1 && sum->tensors == count) {
        out_string(", ");
        out_u64(shards);
        out_string(" shards");
    }
    out_style_off();
    out_string("\n");
}

static void print_table(const tare_model *model, tare_range range)
{
    totals sum = {0, 0};
    widths wide = measure(model, range, &sum);
    if (sum.tensors > 0) print_head(&wide);
    for (const tare_tensor *tensor; (tensor = tare_next(model, &range)) != NULL;) {
        print_row(model, tensor, &wide);
        if (out_stopped()) break;
    }
    print_total(model, &sum);
}

static void print_json(const tare_model *model, tare_range range)
{
    totals sum = {0, 0};
    json_open('{');
    json_key("tensors");
    json_open('[');
    json_line();
    for (const tare_tensor *tensor; (tensor = tare_next(model, &range)) != NULL;) {
        tare_info info = tare_describe(model, tensor);
        json_open('{');
        json_tensor(model, &info);
        json_close('}');
        json_line();
        sum.tensors++;
        sum.size += info.size;
        if (out_stopped()) break;
    }
    json_close(']');
    json_field("count", sum.tensors);
    json_field("size", sum.size);
    json_close('}');
    json_end();
}

int cmd_ls(const cli_options *options)
{
    const char *path = options->operands[0];
    const char *prefix = options->operand_count > 1 ? options->operands[1] : "";
    tare_model *model = cli_open(options, path, NULL);
    if (model == NULL) return CLI_FAILED;
    int status = CLI_OK;
    tare_range range = tare_prefix(model, prefix, strlen(prefix));
    tare_range probe = range;
    if (*prefix != '\0' && tare_next(model, &probe) == NULL) {
        cli_explain_prefix(model, path, prefix);
        status = CLI_FAILED;
    } else if (options_json(options)) {
        print_json(model, range);
    } else {
        print_table(model, range);
    }
    tare_close(model);
    return status;
}
