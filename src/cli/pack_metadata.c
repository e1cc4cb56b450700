#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pack.h"

static const char raw_prefix[] = "tare.raw.";
enum { RAW_PREFIX_SIZE = sizeof raw_prefix - 1 };

/* {"dtype":"Q4_K","shape":[32,256]}, as a string of its own behind the key. */
bool pack_metadata_describe(const tare_info *info, tare_save_metadata *raw)
{
    const char *dtype = cli_dtype_name(info->dtype);
    size_t key_size = RAW_PREFIX_SIZE + info->name_size;
    size_t room = key_size + strlen(dtype) + 32 + (size_t)info->rank * TEXT_U64_SIZE;
    char *text = malloc(room);
    if (text == NULL) return false;
    memcpy(text, raw_prefix, RAW_PREFIX_SIZE);
    memcpy(text + RAW_PREFIX_SIZE, info->name, info->name_size);
    char *at = text + key_size;
    at += sprintf(at, "{\"dtype\":\"%s\",\"shape\":[", dtype);
    for (uint32_t i = 0; i < info->rank; i++) {
        if (i > 0) *at++ = ',';
        at += text_u64(info->shape[i], at);
    }
    at += sprintf(at, "]}");
    *raw =
        (tare_save_metadata){{text, key_size}, {text + key_size, (size_t)(at - text) - key_size}};
    return true;
}

/* Whether it can be a string of safetensors: values of GGUF may be no string, or not UTF-8. */
static bool is_text(tare_string text)
{
    bool good = text.data != NULL;
    while (text.size > 0 && good) {
        uint32_t code;
        size_t size = text_decode(text, &code);
        good = code != UINT32_MAX;
        text.data += size;
        text.size -= size;
    }
    return good;
}

/* Where a tensor is in the list, which has the order of the model; its count if it is not there. */
static size_t place_of(const tare_model *model, const pack_list *list, const tare_tensor *tensor)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tare_index_of(model, list->tensors[middle].tensor) < tare_index_of(model, tensor))
            low = middle + 1;
        else
            high = middle;
    }
    return low < list->count && list->tensors[low].tensor == tensor ? low : list->count;
}

/* What was stored raw before stays described, in the file of its tensor; other descriptions go, as
 * their tensors do. False where the model has no such tensor. */
static bool keep_raw(const tare_model *model, pack_list *list, const tare_save_metadata *entry)
{
    const tare_tensor *tensor =
        tare_find(model, entry->key.data + RAW_PREFIX_SIZE, entry->key.size - RAW_PREFIX_SIZE);
    size_t at = tensor != NULL ? place_of(model, list, tensor) : list->count;
    if (at < list->count && list->raw[at].key.data == NULL) list->raw[at] = *entry;
    return tensor != NULL;
}

enum { LEFT_OUT_SHOWN = 4 };

typedef struct left_out {
    size_t count;
    tare_string keys[LEFT_OUT_SHOWN];
} left_out;

/* What says something about the GGUF file alone is not missed. */
static void leave_out(tare_string key, left_out *left)
{
    static const char *const of_files[] = {"split.no", "split.count", "split.tensors.count",
                                           "general.alignment"};
    for (size_t i = 0; i < sizeof of_files / sizeof *of_files; i++) {
        if (text_compare(key, text_of(of_files[i])) == 0) return;
    }
    if (left->count < LEFT_OUT_SHOWN) left->keys[left->count] = key;
    left->count++;
}

/* What is said of one value, and of several. */
static void tell_left_out(const left_out *left, const char *one, const char *several)
{
    if (left->count == 0) return;
    char keys[LEFT_OUT_SHOWN * 72] = "";
    char more[40] = "";
    size_t used = 0;
    for (size_t i = 0; i < left->count && i < LEFT_OUT_SHOWN; i++) {
        char shown[64];
        text_escape(left->keys[i], shown, sizeof shown);
        used +=
            (size_t)snprintf(keys + used, sizeof keys - used, "%s'%s'", i > 0 ? ", " : "", shown);
    }
    if (left->count > LEFT_OUT_SHOWN)
        snprintf(more, sizeof more, " and %zu more", left->count - LEFT_OUT_SHOWN);
    cli_message("metadata: left out %zu value%s that %s: %s%s", left->count,
                left->count == 1 ? "" : "s", left->count == 1 ? one : several, keys, more);
}

/* Says that a later shard has something else, unless the first was left out. */
static void tell_other(const tare_model *model, tare_string key)
{
    char shown[256];
    if (!is_text(key) || !is_text(tare_metadata_find(model, key.data, key.size))) return;
    cli_message("metadata '%s' differs between shards; the first is kept",
                text_escape(key, shown, sizeof shown));
}

/* What shards repeat is written once. Where they differ the first one counts, as it does for who
 * looks a key up. */
void pack_metadata_collect(const tare_model *model, pack_list *list)
{
    tare_save_metadata entry;
    left_out left = {0};
    left_out orphans = {0};
    for (size_t i = 0; tare_metadata_at(model, i, &entry.key, &entry.value, NULL); i++) {
        tare_value value = tare_metadata_value_at(model, i);
        tare_value first = tare_metadata_value(model, entry.key.data, entry.key.size);
        if (first.data != value.data) {
            if (values_compare(first, value) != 0) tell_other(model, entry.key);
        } else if (!is_text(entry.key) || !is_text(entry.value)) {
            leave_out(entry.key, &left);
        } else if (text_starts_with(entry.key, raw_prefix)) {
            if (!keep_raw(model, list, &entry)) leave_out(entry.key, &orphans);
        } else {
            list->metadata[list->metadata_count++] = entry;
        }
    }
    tell_left_out(&left, "is no UTF-8 string", "are no UTF-8 string");
    tell_left_out(&orphans, "describes a tensor that is not there",
                  "describe tensors that are not there");
}

static int compare_keys(const void *first, const void *second)
{
    return text_compare(((const tare_save_metadata *)first)->key,
                        ((const tare_save_metadata *)second)->key);
}

/* Descriptions are in the order of their names, whatever order the tensors had where they came
 * from: what is packed again is the same. */
size_t pack_metadata_count(pack_list *list, size_t file)
{
    size_t count = list->metadata_count;
    for (size_t i = pack_list_begin(list, file); i < list->ends[file]; i++) {
        if (list->raw[i].key.data != NULL) list->metadata[count++] = list->raw[i];
    }
    qsort(list->metadata + list->metadata_count, count - list->metadata_count,
          sizeof *list->metadata, compare_keys);
    return count;
}
