#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void cli_message(const char *format, ...)
{
    out_flush();
    progress_hide();
    va_list arguments;
    va_start(arguments, format);
    fputs("tare: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* The message without the path that the line begins with already. Long paths end in "..." there. */
static const char *skip_path(const char *message, const char *shown)
{
    if (*message != '\'') return message;
    const char *at = message + 1;
    for (; *shown != '\0' && *at == *shown; shown++) at++;
    if (strncmp(at, "...", 3) == 0)
        at += 3;
    else if (*shown != '\0')
        return message;
    return strncmp(at, "': ", 3) == 0 ? at + 3 : message;
}

void cli_report(const char *path, const tare_error *error, bool with_status)
{
    char shown[1024];
    char tail[96] = "";
    text_escape(text_of(path), shown, sizeof shown);
    const char *message = skip_path(error->message, shown);
    if (with_status && error->offset == TARE_NO_OFFSET) {
        snprintf(tail, sizeof tail, " (%s)", tare_status_name(error->status));
    } else if (with_status) {
        snprintf(tail, sizeof tail, " (%s at byte %llu)", tare_status_name(error->status),
                 (unsigned long long)error->offset);
    }
    cli_message("%s: %s%s", *shown != '\0' ? shown : "''", message, tail);
}

void cli_report_as(const char *shown, const char *path, const tare_error *error)
{
    static const char placed[] = "is in place, but ";
    char name[1024];
    text_escape(text_of(path), name, sizeof name);
    const char *message = skip_path(error->message, name);
    if (strcmp(shown, path) != 0 && strncmp(message, placed, sizeof placed - 1) == 0)
        message += sizeof placed - 1; /* that of the stage; the one that is shown is not */
    cli_message("%s: %s", text_escape(text_of(shown), name, sizeof name), message);
}

tare_options cli_open_options(const cli_options *options)
{
    tare_options open_options = options->limits;
    open_options.backing = TARE_BACKING_READ;
    open_options.index_path = options->index;
    open_options.index_check = options->index_check;
    if (options->index != NULL) open_options.index = TARE_INDEX_REQUIRE;
    if ((options->given & OPTION_NO_INDEX) != 0) open_options.index = TARE_INDEX_NEVER;
    return open_options;
}

const char *cli_dtype_name(tare_dtype dtype)
{
    const char *name = tare_dtype_name(dtype);
    return name != NULL ? name : "?";
}

bool cli_is_part(const tare_model *model, uint64_t *number, uint64_t *count)
{
    static const char no[] = "split.no", parts[] = "split.count";
    tare_metadata_u64(model, no, sizeof no - 1, number, NULL);
    tare_metadata_u64(model, parts, sizeof parts - 1, count, NULL);
    ++*number;
    return *count > 1 && tare_shard_count(model) == 1;
}

bool cli_index_unused(const tare_model *model, tare_error *why)
{
    tare_status status = tare_index_status(model, why);
    return status != TARE_OK && (status != TARE_E_OPEN || why->system_error != 0);
}

static tare_model *open_with(const tare_options *options, const char *path, double *seconds)
{
    tare_model *model;
    tare_error error;
    struct timespec start;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    tare_status status = tare_open(path, options, &model, &error);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (seconds != NULL) {
        *seconds =
            (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    }
    if (status != TARE_OK) {
        cli_report(path, &error, false);
        return NULL;
    }
    char shown[1024];
    text_escape(text_of(path), shown, sizeof shown);
    if (cli_index_unused(model, &error))
        cli_message("%s: its index file is not used: %s", shown, error.message);
    uint64_t number;
    uint64_t count;
    if (cli_is_part(model, &number, &count))
        cli_message(
            "%s: part %llu of %llu of a split file; its name leads to no other, so they are "
            "not opened",
            shown, (unsigned long long)number, (unsigned long long)count);
    return model;
}

tare_model *cli_open(const cli_options *options, const char *path, double *seconds)
{
    tare_options open_options = cli_open_options(options);
    return open_with(&open_options, path, seconds);
}

tare_model *cli_open_headers(const cli_options *options, const char *path)
{
    tare_options open_options = cli_open_options(options);
    open_options.index = TARE_INDEX_NEVER;
    return open_with(&open_options, path, NULL);
}

/* A name that holds control characters can be asked for as it is printed. */
static const tare_tensor *find_unescaped(const tare_model *model, tare_string name)
{
    char *plain = malloc(name.size + 1);
    size_t size;
    const tare_tensor *tensor = NULL;
    if (plain != NULL && text_unescape(name, plain, &size)) tensor = tare_find(model, plain, size);
    free(plain);
    return tensor;
}

static void print_near(const tare_model *model, tare_string name, uint32_t flags)
{
    tare_string near[TARE_SUGGEST_COUNT];
    size_t count = tare_suggest(model, name.data, name.size, flags, near);
    /* An escaped byte takes up to four. */
    char texts[TARE_SUGGEST_COUNT][4 * TARE_SUGGEST_SIZE_MAX + 8];
    for (size_t i = 0; i < count; i++) text_escape(near[i], texts[i], sizeof texts[i]);
    if (count == 1)
        cli_message("did you mean '%s'?", texts[0]);
    else if (count == 2)
        cli_message("did you mean '%s' or '%s'?", texts[0], texts[1]);
    else if (count == 3) {
        cli_message("did you mean '%s', '%s' or '%s'?", texts[0], texts[1], texts[2]);
    }
}

const tare_tensor *cli_find(const tare_model *model, const char *path, const char *name)
{
    tare_string text = text_of(name);
    const tare_tensor *tensor = tare_find(model, text.data, text.size);
    if (tensor == NULL) tensor = find_unescaped(model, text);
    if (tensor != NULL) return tensor;
    char shown_path[512];
    char shown_name[1024];
    cli_message("%s: no tensor is named '%s'",
                text_escape(text_of(path), shown_path, sizeof shown_path),
                text_escape(text, shown_name, sizeof shown_name));
    print_near(model, text, 0);
    return NULL;
}

void cli_explain_prefix(const tare_model *model, const char *path, const char *prefix)
{
    char shown_path[512];
    char shown_prefix[1024];
    cli_message("%s: no tensor's name starts with '%s'",
                text_escape(text_of(path), shown_path, sizeof shown_path),
                text_escape(text_of(prefix), shown_prefix, sizeof shown_prefix));
    print_near(model, text_of(prefix), TARE_SUGGEST_PREFIX);
}

tare_string cli_shard_label(const tare_model *model, uint32_t shard)
{
    tare_string name = tare_shard_at(model, shard).name;
    if (tare_shard_count(model) > 1) return name;
    for (size_t i = name.size; i-- > 0;) {
        if (name.data[i] == '/') return (tare_string){name.data + i + 1, name.size - i - 1};
    }
    return name;
}

uint64_t cli_element_count(const tare_info *info)
{
    /* A zero first: the others' product may then be beyond 64 bits. */
    for (uint32_t i = 0; i < info->rank; i++) {
        if (info->shape[i] == 0) return 0;
    }
    uint64_t count = 1;
    for (uint32_t i = 0; i < info->rank; i++) count *= info->shape[i];
    return count;
}

uint32_t cli_offset_alignment(uint64_t offset)
{
    uint32_t alignment = 1;
    while (alignment < CLI_PAGE_SIZE && offset % (2 * (uint64_t)alignment) == 0) alignment *= 2;
    return alignment;
}
