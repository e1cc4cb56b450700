#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pack.h"

/* How far all files are, for the bar. */
typedef struct advance {
    uint64_t before; /* bytes of files that are complete */
    uint64_t total;  /* bytes of tensors in all; headers are left out of account */
} advance;

static int show_advance(void *context, uint64_t done, uint64_t total)
{
    const advance *all = context;
    (void)total;
    done += all->before;
    return transfer_progress(NULL, done < all->total ? done : all->total, all->total);
}

/* Of the file that was to be: the one on the stage is gone when this is read. */
static void report(const char *stage_path, const pack_target *target, size_t index,
                   const tare_error *error)
{
    char *path = pack_target_path(target, index);
    cli_report_as(path != NULL ? path : stage_path, stage_path, error);
    free(path);
}

static bool write_file(const cli_options *options, pack_list *list, size_t index,
                       const pack_target *target, advance *all)
{
    size_t begin = pack_list_begin(list, index);
    char *path = pack_target_stage_path(target, index);
    tare_save_options save = TARE_SAVE_OPTIONS_INIT;
    tare_error error;
    save.flags = target->force ? TARE_SAVE_REPLACE : 0;
    save.alignment = options->load.alignment;
    save.metadata = list->metadata;
    save.metadata_count = pack_metadata_count(list, index);
    save.progress = show_advance;
    save.progress_context = all;
    tare_status status = TARE_E_MEMORY;
    if (path != NULL) {
        status = tare_save(path, list->tensors + begin, list->ends[index] - begin, &save, &error);
        if (status != TARE_OK && status != TARE_E_CANCELLED) report(path, target, index, &error);
    } else {
        cli_message("out of memory");
    }
    all->before += pack_list_size(list, index);
    free(path);
    return status == TARE_OK;
}

/* The last segment of the path of a file. */
static tare_string file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return text_of(slash != NULL ? slash + 1 : path);
}

static bool print_index(const pack_list *list, const pack_target *target)
{
    json_open('{');
    json_key("metadata");
    json_open('{');
    json_field("total_size", list->size);
    json_close('}');
    json_key("weight_map");
    json_open('{');
    json_line();
    size_t at = 0;
    for (size_t i = 0; i < list->file_count; i++) {
        char *path = pack_target_path(target, i);
        if (path == NULL) return false;
        for (; at < list->ends[i]; at++) {
            json_name(tare_name(list->tensors[at].model, list->tensors[at].tensor));
            json_string(file_name(path));
            json_line();
        }
        free(path);
    }
    json_close('}');
    json_close('}');
    json_end();
    return true;
}

/* On the stage, so that nobody sees a part of it. */
static bool write_index(const pack_list *list, const pack_target *target)
{
    char *path = pack_target_stage_path(target, list->file_count);
    int descriptor;
    int failure = path != NULL ? place_create(path, &descriptor) : ENOMEM;
    if (failure == 0) {
        out_divert(descriptor);
        bool whole = print_index(list, target);
        failure = out_restore();
        if (!whole) failure = ENOMEM;
        if (failure == 0) failure = place_sync(descriptor);
        if (close(descriptor) != 0 && errno != EINTR && failure == 0) failure = errno;
    }
    free(path);
    if (failure != 0) {
        path = pack_target_path(target, list->file_count);
        pack_fail(path != NULL ? path : target->stem, strerror(failure));
        free(path);
    }
    return failure == 0;
}

static void print_result(const pack_list *list, const pack_target *target)
{
    for (size_t i = 0; i < list->file_count; i++) {
        size_t count = list->ends[i] - pack_list_begin(list, i);
        char *path = pack_target_path(target, i);
        out_escaped(text_of(path != NULL ? path : ""));
        free(path);
        out_format(" (%zu tensor%s, ", count, count == 1 ? "" : "s");
        out_human(pack_list_size(list, i));
        out_string(")\n");
    }
    if (list->file_count == 1) return;
    char *path = pack_target_path(target, list->file_count);
    out_escaped(text_of(path != NULL ? path : ""));
    free(path);
    out_string("\n");
}

static void json_result(const pack_list *list, const pack_target *target)
{
    json_open('{');
    json_key("files");
    json_open('[');
    json_line();
    for (size_t i = 0; i < list->file_count; i++) {
        char *path = pack_target_path(target, i);
        json_open('{');
        json_key("file");
        json_text(path != NULL ? path : "");
        json_field("tensors", list->ends[i] - pack_list_begin(list, i));
        json_field("size", pack_list_size(list, i));
        json_close('}');
        json_line();
        free(path);
    }
    json_close(']');
    char *path = list->file_count > 1 ? pack_target_path(target, list->file_count) : NULL;
    json_key("index");
    if (path != NULL)
        json_text(path);
    else
        json_raw("null");
    free(path);
    json_field("tensors", list->count);
    json_field("size", list->size);
    json_key("removed");
    json_open('[');
    for (size_t i = 0; i < target->removed_count; i++) json_text(target->removed[i]);
    json_close(']');
    json_close('}');
    json_end();
}

static bool write_all(const cli_options *options, pack_list *list, pack_target *target)
{
    advance all = {0, list->size};
    bool good = true;
    for (size_t i = 0; i < list->file_count && good; i++) {
        good = write_file(options, list, i, target, &all);
    }
    if (good && list->file_count > 1) good = write_index(list, target);
    return good && stop_signal() == 0 && pack_commit(target);
}

/* Prints what was written. */
static bool pack(const cli_options *options, const tare_model *model, pack_list *list)
{
    pack_target target;
    transfer_start();
    bool good = pack_target_begin(options, list->file_count, &target) &&
                pack_guard(options, model, list, &target) && pack_target_check_neighbours(&target);
    if (good) pack_metadata_collect(model, list);
    good = good && pack_target_make_stage(&target);
    if (good) good = write_all(options, list, &target);
    transfer_end();
    if (good) pack_target_tell_removed(&target);
    if (good && options_json(options))
        json_result(list, &target);
    else if (good)
        print_result(list, &target);
    pack_target_end(&target, good);
    return good;
}

static bool check_options(const cli_options *options)
{
    uint64_t align = options->load.alignment;
    if ((options->given & OPTION_OUTPUT) == 0) {
        cli_message("where to? 'tare pack' needs -o OUT");
        return false;
    }
    if ((options->given & OPTION_SHARD_SIZE) != 0 && options->shard_size == 0) {
        cli_message("--shard-size is more than 0");
        return false;
    }
    return (options->given & OPTION_ALIGN) == 0 || align >= 8 || options_bad_align(align) == CLI_OK;
}

int cmd_pack(const cli_options *options)
{
    if (!check_options(options)) return CLI_USAGE;
    tare_model *model = cli_open_headers(options, options->operands[0]);
    if (model == NULL) return CLI_FAILED;
    uint64_t number;
    uint64_t count;
    if (cli_is_part(model, &number, &count)) {
        cli_message("nothing is packed: a model would be made of a part of one");
        tare_close(model);
        return CLI_FAILED;
    }
    pack_list list;
    bool good = pack_list_make(options, model, &list) && pack(options, model, &list);
    pack_list_free(&list);
    tare_close(model);
    if (good) return CLI_OK;
    return stop_signal() == 0 ? CLI_FAILED : transfer_stopped();
}
