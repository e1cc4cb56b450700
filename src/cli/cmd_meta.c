#include "cli.h"

#include <stdlib.h>

/* Entries that shards repeat are printed once, with the number of shards that have them. */
typedef struct entry {
    tare_string key;
    tare_value value;
    size_t index;  /* in the order of the file */
    size_t shards; /* 0 for a repetition */
} entry;

static int compare_content(const void *first, const void *second)
{
    const entry *a = first;
    const entry *b = second;
    int order = text_compare(a->key, b->key);
    if (order == 0) order = values_compare(a->value, b->value);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

static int compare_index(const void *first, const void *second)
{
    const entry *a = first;
    const entry *b = second;
    return (a->index > b->index) - (a->index < b->index);
}

/* Counts repetitions into the first of equal entries, by sorting there and back. */
static void merge_repetitions(entry *entries, size_t count)
{
    qsort(entries, count, sizeof *entries, compare_content);
    size_t first = 0;
    for (size_t i = 0; i < count; i++) {
        if (text_compare(entries[i].key, entries[first].key) != 0 ||
            values_compare(entries[i].value, entries[first].value) != 0) {
            first = i;
        }
        entries[i].shards = 0;
        entries[first].shards++;
    }
    qsort(entries, count, sizeof *entries, compare_index);
}

/* Strings are all that safetensors has; only where there is more the kinds are told. */
static bool has_kinds(const tare_model *model)
{
    return tare_shard_count(model) > 0 && tare_shard_at(model, 0).format == TARE_FORMAT_GGUF;
}

static void widen(size_t *wide, size_t width, size_t limit)
{
    if (width > *wide) *wide = width < limit ? width : limit;
}

static void print_entry(const tare_model *model, const entry *one, size_t wide, size_t kind_wide,
                        bool all)
{
    size_t shards = tare_shard_count(model);
    size_t width = text_width(one->key);
    out_style_on(STYLE_KEY);
    out_escaped(one->key);
    out_style_off();
    out_spaces(2 + (width < wide ? wide - width : 0));
    if (kind_wide > 0) {
        out_style_on(STYLE_DTYPE);
        width = values_kind(one->value, true);
        out_style_off();
        out_spaces(2 + (width < kind_wide ? kind_wide - width : 0));
    }
    values_print(one->value, all);
    if (one->shards < shards) {
        out_style_on(STYLE_HEAD);
        out_format("  (in %zu of %zu shards)", one->shards, shards);
        out_style_off();
    }
    out_string("\n");
}

static void print_entries(const tare_model *model, const entry *entries, size_t count, bool all)
{
    enum { KEY_WIDTH_MAX = 40, KIND_WIDTH_MAX = 16 };
    size_t wide = 0;
    size_t kind_wide = 0;
    bool kinds = has_kinds(model);
    for (size_t i = 0; i < count; i++) {
        widen(&wide, text_width(entries[i].key), KEY_WIDTH_MAX);
        if (kinds) widen(&kind_wide, values_kind(entries[i].value, false), KIND_WIDTH_MAX);
    }
    for (size_t i = 0; i < count && !out_stopped(); i++) {
        if (entries[i].shards > 0) print_entry(model, &entries[i], wide, kind_wide, all);
    }
}

static int print_text(const tare_model *model, bool all)
{
    size_t count = tare_metadata_count(model);
    if (count == 0) {
        out_string("no metadata\n");
        return CLI_OK;
    }
    entry *entries = count <= SIZE_MAX / sizeof *entries ? malloc(count * sizeof *entries) : NULL;
    if (entries == NULL) {
        cli_message("no memory for %zu entries of metadata", count);
        return CLI_FAILED;
    }
    for (size_t i = 0; i < count; i++) {
        tare_metadata_at(model, i, &entries[i].key, NULL, NULL);
        entries[i].value = tare_metadata_value_at(model, i);
        entries[i].index = i;
    }
    merge_repetitions(entries, count);
    print_entries(model, entries, count, all);
    free(entries);
    return CLI_OK;
}

static void print_json(const tare_model *model)
{
    tare_string key;
    uint32_t shard;
    json_open('{');
    json_key("metadata");
    json_open('[');
    json_line();
    for (size_t i = 0; tare_metadata_at(model, i, &key, NULL, &shard) && !out_stopped(); i++) {
        json_open('{');
        json_key("key");
        json_string(key);
        values_json(tare_metadata_value_at(model, i));
        json_field("shard", shard);
        json_key("file");
        json_string(tare_shard_at(model, shard).name);
        json_close('}');
        json_line();
    }
    json_close(']');
    json_field("count", tare_metadata_count(model));
    json_close('}');
    json_end();
}

int cmd_meta(const cli_options *options)
{
    tare_model *model = cli_open(options, options->operands[0], NULL);
    if (model == NULL) return CLI_FAILED;
    int status = CLI_OK;
    if (options_json(options))
        print_json(model);
    else
        status = print_text(model, (options->given & OPTION_ALL) != 0);
    tare_close(model);
    return status;
}
