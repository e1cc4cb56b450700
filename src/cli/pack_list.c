#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

static bool no_memory(void)
{
    cli_message("out of memory");
    return false;
}

static void refuse_dtype(const cli_options *options, const tare_info *info)
{
    char path[512];
    char name[1024];
    cli_message(
        "%s: tensor '%s' is %s, which safetensors does not have; --raw-quantized stores its "
        "blocks as U8",
        text_escape(text_of(options->operands[0]), path, sizeof path),
        text_escape((tare_string){info->name, info->name_size}, name, sizeof name),
        cli_dtype_name(info->dtype));
}

static bool add_tensor(const cli_options *options, const tare_model *model, const tare_tensor *from,
                       pack_list *list)
{
    tare_info info = tare_describe(model, from);
    size_t at = list->count++;
    tare_save_tensor *tensor = &list->tensors[at];
    *tensor = (tare_save_tensor){.model = model, .tensor = from};
    list->sizes[at] = info.size;
    if (tare_dtype_can_save(info.dtype)) return true;
    if ((options->given & OPTION_RAW) == 0) {
        refuse_dtype(options, &info);
        return false;
    }
    tensor->dtype = TARE_DTYPE_U8;
    tensor->rank = 1;
    tensor->shape = &list->sizes[at];
    if (pack_metadata_describe(&info, &list->raw[at])) return true;
    return no_memory();
}

/* Cuts the list where a file would become larger than it may; a tensor that is larger by itself
 * gets a file of its own. */
static void cut(uint64_t size_max, pack_list *list)
{
    uint64_t size = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool full = i > 0 && (size > size_max || list->sizes[i] > size_max - size);
        if (size_max != 0 && full) {
            list->ends[list->file_count++] = i;
            size = 0;
        }
        size += list->sizes[i];
    }
    list->ends[list->file_count++] = list->count;
}

static bool fill(const cli_options *options, const tare_model *model, const selection *wanted,
                 pack_list *list)
{
    size_t count = wanted->count + 1; /* so that nothing is of size 0 */
    size_t metadata_count = tare_metadata_count(model) + count;
    list->size = wanted->size;
    list->tensors = malloc(count * sizeof *list->tensors);
    list->sizes = calloc(count, sizeof *list->sizes);
    list->ends = malloc(count * sizeof *list->ends);
    list->raw = calloc(count, sizeof *list->raw);
    list->metadata = malloc(metadata_count * sizeof *list->metadata);
    if (!list->tensors || !list->sizes || !list->ends || !list->raw || !list->metadata) {
        return no_memory();
    }
    for (size_t i = 0; i < wanted->count; i++) {
        if (!add_tensor(options, model, wanted->tensors[i], list)) return false;
    }
    cut(options->shard_size, list);
    return true;
}

bool pack_list_make(const cli_options *options, const tare_model *model, pack_list *list)
{
    selection wanted;
    *list = (pack_list){0};
    bool good =
        selection_make(model, options->operands[0], options->only, options->only_count, &wanted) &&
        fill(options, model, &wanted, list);
    selection_free(&wanted);
    return good;
}

void pack_list_free(pack_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        bool own = list->tensors[i].dtype != 0;
        if (own) free((char *)(uintptr_t)list->raw[i].key.data);
    }
    free(list->tensors);
    free(list->sizes);
    free(list->ends);
    free(list->raw);
    free(list->metadata);
}

size_t pack_list_begin(const pack_list *list, size_t file)
{
    return file > 0 ? list->ends[file - 1] : 0;
}

uint64_t pack_list_size(const pack_list *list, size_t file)
{
    uint64_t size = 0;
    for (size_t i = pack_list_begin(list, file); i < list->ends[file]; i++) size += list->sizes[i];
    return size;
}
