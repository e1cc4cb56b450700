#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* The elements of quantized types share blocks and are not decoded. */
static bool is_quantized(const tare_info *info)
{
    return tare_dtype_bits(info->dtype) == 0;
}

static uint64_t block_count(const tare_info *info)
{
    return info->size / tare_dtype_block_size(info->dtype);
}

/* Values of a matrix that `tare show` prints are few, so each goes through decode_value alone. */
static void print_values(const tare_info *info, const unsigned char *data, uint64_t count)
{
    uint64_t total = cli_element_count(info);
    size_t column = 0;
    out_key("values");
    for (uint64_t i = 0; i < count && !out_stopped(); i++) {
        char text[DECODE_TEXT_SIZE];
        decode_value(info->dtype, data, i, false, text);
        if (column + strlen(text) + 1 > 68 && column > 0) {
            out_string("\n           ");
            column = 0;
        }
        out_string(column > 0 ? " " : "");
        out_string(text);
        column += strlen(text) + (column > 0);
    }
    if (count < total)
        out_string(count > 0 ? " ..." : "...");
    else if (total == 0)
        out_string("none");
    out_string("\n");
}

static void print_facts(const tare_model *model, const tare_info *info)
{
    tare_shard_info shard = tare_shard_at(model, info->shard);
    uint32_t alignment = cli_offset_alignment(info->offset);
    out_key("name");
    out_style_on(STYLE_KEY);
    out_escaped((tare_string){info->name, info->name_size});
    out_style_off();
    out_string("\n");
    out_key("dtype");
    out_style_on(STYLE_DTYPE);
    out_string(cli_dtype_name(info->dtype));
    out_style_off();
    if (is_quantized(info)) {
        out_format(", blocks of %u elements in %u bytes\n",
                   (unsigned)tare_dtype_block_count(info->dtype),
                   (unsigned)tare_dtype_block_size(info->dtype));
        out_key("blocks");
        out_u64(block_count(info));
        out_string("\n");
    } else {
        out_format(", %u bits\n", (unsigned)tare_dtype_bits(info->dtype));
    }
    out_key("shape");
    out_shape(info->shape, info->rank);
    out_string(info->rank == 0 ? " (a scalar)\n" : "\n");
    if (shard.format == TARE_FORMAT_GGUF && info->rank > 1) {
        out_key("in GGUF");
        for (uint32_t i = info->rank; i > 0; i--) {
            out_string(i == info->rank ? "[" : ", ");
            out_u64(info->shape[i - 1]);
        }
        out_string("], the fastest first\n");
    }
    out_key("elements");
    out_u64(cli_element_count(info));
    out_string("\n");
    out_key("size");
    out_human(info->size);
    if (info->size >= 1024) out_format(" (%llu bytes)", (unsigned long long)info->size);
    out_string("\n");
    out_key("shard");
    out_format("%lu: ", (unsigned long)info->shard);
    out_escaped(shard.name);
    out_string("\n");
    out_key("offset");
    out_format("%llu in the file, %llu in its data section\n", (unsigned long long)info->offset,
               (unsigned long long)(info->offset - shard.data_offset));
    out_key("alignment");
    out_format("%u byte%s%s\n", (unsigned)alignment, alignment == 1 ? "" : "s",
               alignment == CLI_PAGE_SIZE ? " or more" : "");
}

static void print_json(const tare_model *model, const tare_info *info, const unsigned char *data,
                       uint64_t count)
{
    json_open('{');
    json_tensor(model, info);
    if (tare_shard_at(model, info->shard).format == TARE_FORMAT_GGUF) {
        json_key("gguf_shape");
        json_open('[');
        for (uint32_t i = info->rank; i > 0; i--) json_u64(info->shape[i - 1]);
        json_close(']');
    }
    json_field("bits", tare_dtype_bits(info->dtype));
    if (is_quantized(info)) {
        json_field("block_elements", tare_dtype_block_count(info->dtype));
        json_field("block_size", tare_dtype_block_size(info->dtype));
        json_field("blocks", block_count(info));
    }
    json_field("elements", cli_element_count(info));
    json_field("data_offset", info->offset - tare_shard_at(model, info->shard).data_offset);
    json_field("alignment", cli_offset_alignment(info->offset));
    json_key("values");
    json_open('[');
    for (uint64_t i = 0; i < count && !out_stopped(); i++) {
        char text[DECODE_TEXT_SIZE];
        decode_value(info->dtype, data, i, true, text);
        json_raw(text);
    }
    json_close(']');
    json_close('}');
    json_end();
}

/* The bytes of the first `count` values, in memory to be freed; NULL after a message. */
static unsigned char *read_values(const tare_model *model, const tare_tensor *tensor,
                                  const tare_info *info, uint64_t count)
{
    uint64_t size = count / 8 * tare_dtype_bits(info->dtype);
    size += (count % 8 * tare_dtype_bits(info->dtype) + 7) / 8;
    unsigned char *data = size < SIZE_MAX ? malloc((size_t)size + 1) : NULL;
    tare_error error = {.message = "out of memory"};
    if (data != NULL && tare_read_at(model, tensor, 0, data, (size_t)size, &error) == TARE_OK)
        return data;
    cli_message("%s", error.message);
    free(data);
    return NULL;
}

static int show(const cli_options *options, const tare_model *model, const tare_tensor *tensor)
{
    tare_info info = tare_describe(model, tensor);
    uint64_t total = cli_element_count(&info);
    uint64_t count = options->value_count < total ? options->value_count : total;
    if (is_quantized(&info)) count = 0;
    unsigned char *data = read_values(model, tensor, &info, count);
    if (data == NULL) return CLI_FAILED;
    if (options_json(options)) {
        print_json(model, &info, data, count);
    } else {
        print_facts(model, &info);
        if (!is_quantized(&info)) print_values(&info, data, count);
    }
    free(data);
    return CLI_OK;
}

int cmd_show(const cli_options *options)
{
    const char *path = options->operands[0];
    tare_model *model = cli_open(options, path, NULL);
    if (model == NULL) return CLI_FAILED;
    const tare_tensor *tensor = cli_find(model, path, options->operands[1]);
    int status = tensor != NULL ? show(options, model, tensor) : CLI_FAILED;
    tare_close(model);
    return status;
}
