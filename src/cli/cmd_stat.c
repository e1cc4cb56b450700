#include "cli.h"

#include <stdlib.h>
#include <string.h>

enum {
    DTYPES_MAX = 256,
    ROWS_MAX = 12, /* groups that are listed without --all */
    LABEL_WIDTH_MAX = 60,
    CENSUS_COUNT = 7 /* alignments 1, 2, 4 ... 64 and above */
};

typedef struct sum {
    uint64_t tensors;
    uint64_t size;
} sum;

typedef struct statistics {
    sum all;
    sum dtypes[DTYPES_MAX];
    sum census[CENSUS_COUNT];
    uint64_t header_size;
    double open_seconds;
    tare_stat cost;
    group_list groups;
} statistics;

static void add(sum *to, uint64_t size)
{
    to->tensors++;
    to->size += size;
}

/* False when memory ran out. */
static bool gather(const tare_model *model, statistics *stats)
{
    size_t count = tare_count(model);
    for (size_t i = 0; i < count; i++) {
        tare_info info = tare_describe(model, tare_at(model, i));
        uint32_t alignment = cli_offset_alignment(info.offset);
        size_t step = 0;
        while (step + 1 < CENSUS_COUNT && alignment >= 2u << step) step++;
        add(&stats->all, info.size);
        add(&stats->census[step], info.size);
        if (info.dtype < DTYPES_MAX) add(&stats->dtypes[info.dtype], info.size);
    }
    for (size_t i = 0; i < tare_shard_count(model); i++) {
        stats->header_size += tare_shard_at(model, i).data_offset;
    }
    stats->cost.struct_size = sizeof stats->cost;
    tare_model_stat(model, &stats->cost);
    return groups_make(model, &stats->groups);
}

static void print_size(const char *key, uint64_t size)
{
    out_key(key);
    out_human(size);
    if (size >= 1024) out_format(" (%llu bytes)", (unsigned long long)size);
    out_string("\n");
}

static void print_model(const tare_model *model, const char *path, const statistics *stats)
{
    size_t shards = tare_shard_count(model);
    out_key("model");
    out_style_on(STYLE_KEY);
    out_escaped(text_of(path));
    out_style_off();
    out_string("\n");
    out_key("tensors");
    out_format("%llu\n", (unsigned long long)stats->all.tensors);
    print_size("data", stats->all.size);
    print_size("headers", stats->header_size);
    out_key("shards");
    out_format("%zu\n", shards);
    out_key("open time");
    out_format("%.2f ms\n", stats->open_seconds * 1e3);
    cost_print(model, &stats->cost);
}

static void print_head(const char *title, size_t width)
{
    out_string("\n");
    out_style_on(STYLE_HEAD);
    out_string(title);
    out_spaces(width > strlen(title) ? width - strlen(title) : 0);
    out_string("   TENSORS        SIZE   SHARE");
    out_style_off();
    out_string("\n");
}

/* What follows a label that took `used` of `width` columns. */
static void print_sum(size_t width, size_t used, sum row, uint64_t total)
{
    char human[TEXT_HUMAN_SIZE];
    text_human(row.size, human);
    out_spaces(width > used ? width - used : 0);
    out_format("  %8llu  %10s  %5.1f%%\n", (unsigned long long)row.tensors, human,
               total > 0 ? 100.0 * (double)row.size / (double)total : 0.0);
}

/* The dtypes that are there, the one with most bytes first. */
static size_t sort_dtypes(const statistics *stats, tare_dtype order[DTYPES_MAX])
{
    size_t count = 0;
    for (tare_dtype dtype = 0; dtype < DTYPES_MAX; dtype++) {
        if (stats->dtypes[dtype].tensors == 0) continue;
        size_t at = count++;
        while (at > 0 && stats->dtypes[order[at - 1]].size < stats->dtypes[dtype].size) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = dtype;
    }
    return count;
}

static void print_dtypes(const statistics *stats)
{
    tare_dtype order[DTYPES_MAX];
    size_t count = sort_dtypes(stats, order);
    size_t wide = strlen("ALIGNMENT");
    for (size_t i = 0; i < count; i++) {
        size_t width = strlen(cli_dtype_name(order[i]));
        if (width > wide) wide = width;
    }
    print_head("DTYPE", wide);
    for (size_t i = 0; i < count; i++) {
        const char *name = cli_dtype_name(order[i]);
        out_style_on(STYLE_DTYPE);
        out_string(name);
        out_style_off();
        print_sum(wide, strlen(name), stats->dtypes[order[i]], stats->all.size);
    }
}

static void print_census(const statistics *stats)
{
    size_t wide = strlen("ALIGNMENT");
    print_head("ALIGNMENT", wide);
    for (size_t step = 0; step < CENSUS_COUNT; step++) {
        char label[TEXT_U64_SIZE + 1];
        if (stats->census[step].tensors == 0) continue;
        size_t used = text_u64(UINT64_C(1) << step, label);
        if (step + 1 == CENSUS_COUNT) label[used++] = '+';
        out_bytes(label, used);
        print_sum(wide, used, stats->census[step], stats->all.size);
    }
}

/* "model.layers.* (61)" for folded groups; returns its width. */
static size_t group_label(const group *row, bool print)
{
    tare_string text = row->key;
    char tail[32] = "";
    if (row->folded > 1) {
        text.size = row->stem_size;
        tail[0] = '*';
        tail[1] = ' ';
        tail[2] = '(';
        size_t used = 3 + text_u64(row->folded, tail + 3);
        memcpy(tail + used, ")", 2);
    }
    if (print) {
        out_escaped(text);
        out_string(tail);
    }
    return text_width(text) + strlen(tail);
}

static int compare_sizes(const void *first, const void *second)
{
    uint64_t a = *(const uint64_t *)first;
    uint64_t b = *(const uint64_t *)second;
    return (a < b) - (a > b);
}

/* Chooses what is listed: the `limit` groups with most bytes. Those left out get folded 0. */
static void choose_rows(group_list *list, size_t limit)
{
    uint64_t *sizes = list->count > limit ? malloc(list->count * sizeof *sizes) : NULL;
    if (sizes == NULL) return;
    for (size_t i = 0; i < list->count; i++) sizes[i] = list->groups[i].size;
    qsort(sizes, list->count, sizeof *sizes, compare_sizes);
    uint64_t least = sizes[limit - 1];
    size_t ties = 0;
    for (size_t i = 0; i < limit; i++) ties += sizes[i] == least;
    for (size_t i = 0; i < list->count; i++) {
        group *row = &list->groups[i];
        if (row->size > least || (row->size == least && ties > 0))
            ties -= row->size == least;
        else
            row->folded = 0;
    }
    free(sizes);
}

static void print_groups(statistics *stats, bool all)
{
    group_list *list = &stats->groups;
    size_t wide = strlen("ALIGNMENT");
    size_t hidden = 0;
    sum rest = {0, 0};
    if (!all && list->count > ROWS_MAX) groups_fold(list);
    if (!all) choose_rows(list, ROWS_MAX);
    for (size_t i = 0; i < list->count; i++) {
        const group *row = &list->groups[i];
        if (row->folded == 0) {
            hidden++;
            rest.tensors += row->tensors;
            rest.size += row->size;
            continue;
        }
        size_t width = group_label(row, false);
        if (width > wide) wide = width < LABEL_WIDTH_MAX ? width : LABEL_WIDTH_MAX;
    }
    print_head("PREFIX", wide);
    for (size_t i = 0; i < list->count && !out_stopped(); i++) {
        const group *row = &list->groups[i];
        if (row->folded == 0) continue;
        sum line = {row->tensors, row->size};
        print_sum(wide, group_label(row, true), line, stats->all.size);
    }
    if (hidden > 0) {
        char label[TEXT_U64_SIZE];
        size_t used = text_u64(hidden, label);
        out_style_on(STYLE_HEAD);
        out_bytes(label, used);
        out_string(" more");
        out_style_off();
        print_sum(wide, used + strlen(" more"), rest, stats->all.size);
    }
}

static void json_sum(sum value)
{
    json_field("tensors", value.tensors);
    json_field("size", value.size);
    json_close('}');
    json_line();
}

static void json_tables(const statistics *stats)
{
    tare_dtype order[DTYPES_MAX];
    size_t count = sort_dtypes(stats, order);
    json_line();
    json_key("dtypes");
    json_open('[');
    json_line();
    for (size_t i = 0; i < count; i++) {
        json_open('{');
        json_key("dtype");
        json_text(cli_dtype_name(order[i]));
        json_sum(stats->dtypes[order[i]]);
    }
    json_close(']');
    json_line();
    json_key("groups");
    json_open('[');
    json_line();
    for (size_t i = 0; i < stats->groups.count && !out_stopped(); i++) {
        const group *row = &stats->groups.groups[i];
        json_open('{');
        json_key("prefix");
        json_string(row->key);
        json_sum((sum){row->tensors, row->size});
    }
    json_close(']');
    json_line();
    json_key("alignments");
    json_open('[');
    json_line();
    for (size_t step = 0; step < CENSUS_COUNT; step++) {
        json_open('{');
        json_field("alignment", UINT64_C(1) << step);
        json_sum(stats->census[step]);
    }
    json_close(']');
}

static void print_json(const tare_model *model, const char *path, const statistics *stats)
{
    json_open('{');
    json_key("model");
    json_text(path);
    json_line();
    json_field("tensors", stats->all.tensors);
    json_field("size", stats->all.size);
    json_field("header_size", stats->header_size);
    json_field("shards", tare_shard_count(model));
    json_field("open_ns", (uint64_t)(stats->open_seconds * 1e9));
    json_line();
    cost_json(model, &stats->cost);
    json_tables(stats);
    json_close('}');
    json_end();
}

int cmd_stat(const cli_options *options)
{
    const char *path = options->operands[0];
    statistics stats = {0};
    tare_model *model = cli_open(options, path, &stats.open_seconds);
    if (model == NULL) return CLI_FAILED;
    int status = CLI_OK;
    if (!gather(model, &stats)) {
        cli_message("no memory to group %zu tensors", tare_count(model));
        status = CLI_FAILED;
    } else if (options_json(options)) {
        print_json(model, path, &stats);
    } else {
        print_model(model, path, &stats);
        print_dtypes(&stats);
        print_groups(&stats, (options->given & OPTION_ALL) != 0);
        print_census(&stats);
    }
    groups_free(&stats.groups);
    tare_close(model);
    return status;
}
