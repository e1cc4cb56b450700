#include "cli.h"

/* What no tensor has: metadata, which keeps the header of a GGUF file, shards, room to spare. */
static uint64_t rest_of(const tare_stat *cost)
{
    return cost->memory_size - cost->record_size - cost->name_size - cost->shape_size -
           cost->index_size;
}

static void print_index_file(const tare_model *model, const tare_stat *cost)
{
    tare_error why;
    if (cli_index_unused(model, &why)) {
        out_key("index file");
        out_format("not used: %s\n", why.message);
    } else if (why.status == TARE_OK) {
        out_key("index file");
        out_human(cost->index_file_size);
        out_string(" in place of headers\n");
    }
}

void cost_print(const tare_model *model, const tare_stat *cost)
{
    size_t tensors = tare_count(model);
    out_key("memory");
    out_human(cost->memory_size);
    if (tensors > 0 && cost->index_file_size == 0) {
        double count = (double)tensors;
        out_format(", %.1f bytes a tensor: %.1f record, %.1f name, %.1f shape, %.1f index; ",
                   (double)(cost->memory_size - rest_of(cost)) / count,
                   (double)cost->record_size / count, (double)cost->name_size / count,
                   (double)cost->shape_size / count, (double)cost->index_size / count);
        out_human(rest_of(cost));
        out_string(" else");
    }
    out_string("\n");
    out_key("index");
    if (cost->index_sorted)
        out_string("sorted: the names defeat hashing");
    else
        out_format("hashed, at most %lu table lines a find", (unsigned long)cost->probe_max);
    if (cost->index_reseeds > 0)
        out_format(", %lu times seeded anew", (unsigned long)cost->index_reseeds);
    out_string("\n");
    print_index_file(model, cost);
}

static void json_index_file(const tare_model *model, const tare_stat *cost)
{
    tare_error why;
    tare_status status = tare_index_status(model, &why);
    json_key("index_file");
    json_open('{');
    json_key("used");
    json_bool(status == TARE_OK);
    json_field("size", cost->index_file_size);
    json_key("status");
    json_text(tare_status_name(status));
    json_key("message");
    json_text(why.message);
    json_close('}');
}

void cost_json(const tare_model *model, const tare_stat *cost)
{
    json_key("memory");
    json_open('{');
    json_field("size", cost->memory_size);
    json_field("record_size", cost->record_size);
    json_field("name_size", cost->name_size);
    json_field("shape_size", cost->shape_size);
    json_field("index_size", cost->index_size);
    json_field("other_size", rest_of(cost));
    json_close('}');
    json_line();
    json_key("index");
    json_open('{');
    json_key("sorted");
    json_bool(cost->index_sorted != 0);
    json_field("reseeds", cost->index_reseeds);
    json_field("probe_max", cost->probe_max);
    json_close('}');
    json_line();
    json_index_file(model, cost);
}
