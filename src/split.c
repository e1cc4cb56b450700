/* GGUF in several files: model-00001-of-00003.gguf and its like, as llama.cpp writes and names
 * them. The name of one part gives the names of all. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define DIGITS_MIN 5u

/* The number whose digits end at `*end`, which becomes where they start; 0 unless it is written as
 * %05u would. */
static uint32_t number_before(const char *name, size_t *end)
{
    size_t start = *end;
    uint64_t number = 0, place = 1;
    for (; start > 0 && name[start - 1] >= '0' && name[start - 1] <= '9'; start--) {
        if (*end - start == DIGITS_MIN + 1) return 0; /* beyond TAREI_SHARD_COUNT_MAX */
        number += (uint64_t)(name[start - 1] - '0') * place;
        place *= 10;
    }
    size_t digits = *end - start;
    bool usual = digits == DIGITS_MIN || (digits > DIGITS_MIN && name[start] != '0');
    *end = start;
    return usual && number <= TAREI_SHARD_COUNT_MAX ? (uint32_t)number : 0;
}

static bool step_before(const char *name, size_t *end, const char *text)
{
    size_t size = strlen(text);
    if (*end < size || memcmp(name + *end - size, text, size) != 0) return false;
    *end -= size;
    return true;
}

bool tarei_split_is(const char *name, tarei_split *split)
{
    size_t end = strlen(name);
    if (!step_before(name, &end, ".gguf")) return false;
    split->count = number_before(name, &end);
    if (split->count < 2 || !step_before(name, &end, "-of-")) return false;
    split->number = number_before(name, &end);
    if (split->number < 1 || split->number > split->count) return false;
    if (!step_before(name, &end, "-")) return false;
    split->prefix_size = end;
    return true;
}

static tare_status name_part(tarei_opening *opening, const char *name, const tarei_split *split,
                             uint32_t number, tare_string *part)
{
    size_t room = strlen(name) + 2; /* the number may have a digit more than in `name` */
    char *text = tarei_arena_take(&opening->model->arena, room, 1);
    if (text == NULL) return tarei_error_memory(opening->error);
    memcpy(text, name, split->prefix_size);
    snprintf(text + split->prefix_size, room - split->prefix_size,
             "-%05" PRIu32 "-of-%05" PRIu32 ".gguf", number + 1, split->count);
    *part = (tare_string){text, strlen(text)};
    return TARE_OK;
}

static tare_status fail_part(tarei_opening *opening, uint32_t number, const char *key,
                             uint64_t found, uint64_t wanted)
{
    if (found == UINT64_MAX)
        tarei_error_set(opening->error, TARE_E_SPLIT, number, TARE_NO_OFFSET,
                        "part %" PRIu32 " of a split file has no integer %s", number + 1, key);
    else
        tarei_error_set(opening->error, TARE_E_SPLIT, number, TARE_NO_OFFSET,
                        "part %" PRIu32 " of a split file has %s %" PRIu64 ", not %" PRIu64,
                        number + 1, key, found, wanted);
    return tarei_error_prefix(opening->error, opening->model->shards[number].name);
}

/* What the newest part says of itself must be what its name says, and what the others say. */
static tare_status check_part(tarei_opening *opening, const tarei_split *split, uint32_t number,
                              uint64_t *tensor_count)
{
    const tarei_gguf *part = &opening->gguf;
    if (part->split_number != number)
        return fail_part(opening, number, "split.no", part->split_number, number);
    if (part->split_count != split->count)
        return fail_part(opening, number, "split.count", part->split_count, split->count);
    if (part->split_tensor_count == UINT64_MAX) return TARE_OK;
    if (*tensor_count == UINT64_MAX) *tensor_count = part->split_tensor_count;
    if (part->split_tensor_count == *tensor_count) return TARE_OK;
    return fail_part(opening, number, "split.tensors.count", part->split_tensor_count,
                     *tensor_count);
}

static bool starts_with(tare_string text, const char *start, size_t size)
{
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

/* Whether a key says something about the whole model. Alignments are each part's own. */
static bool is_shared(tare_string key, tare_string architecture)
{
    static const char general[] = "general.", own[] = "general.alignment";
    if (starts_with(key, general, sizeof general - 1))
        return key.size != sizeof own - 1 || memcmp(key.data, own, key.size) != 0;
    return architecture.size != 0 && starts_with(key, architecture.data, architecture.size) &&
           key.size > architecture.size && key.data[architecture.size] == '.';
}

/* Writers put what is said about the model into the first part. A part that repeats it is of the
 * same model only if it says the same. */
static tare_status check_shared(tarei_opening *opening)
{
    static const char key_of_architecture[] = "general.architecture";
    const tare_model *model = opening->model;
    tare_string key, architecture = tare_metadata_find(model, key_of_architecture,
                                                       sizeof key_of_architecture - 1);
    uint32_t number;
    for (size_t i = 0; tare_metadata_at(model, i, &key, NULL, &number); i++) {
        if (number == 0 || !is_shared(key, architecture)) continue;
        tare_value value = tare_metadata_value_at(model, i);
        tare_value first = tare_metadata_value(model, key.data, key.size);
        if (value.kind == first.kind && value.item_kind == first.item_kind &&
            value.size == first.size && memcmp(value.data, first.data, value.size) == 0)
            continue;
        tarei_error_set(opening->error, TARE_E_SPLIT, number, TARE_NO_OFFSET,
                        "part %" PRIu32 " of a split file has another %s than a part before it",
                        number + 1, tarei_quote(key.data, key.size).text);
        return tarei_error_prefix(opening->error, model->shards[number].name);
    }
    return TARE_OK;
}

tare_status tarei_split_visit(tarei_opening *opening, const char *name, tare_file_visit visit,
                              void *context)
{
    tarei_split split = {0};
    tarei_split_is(name, &split);
    for (uint32_t i = 0; i < split.count; i++) {
        tare_string part = {NULL, 0};
        tare_status status = name_part(opening, name, &split, i, &part);
        if (status != TARE_OK) return status;
        if (visit(context, part.data, part.size) != 0) return TARE_E_CANCELLED;
    }
    return TARE_OK;
}

/* For as many parts as were there so far once more: a name costs nothing, whatever it claims. */
static uint32_t more_room(uint32_t room, uint32_t count)
{
    uint32_t more = room != 0 ? 2 * room : 16;
    return more < count ? more : count;
}

tare_status tarei_split_open(tarei_opening *opening, const tarei_folder *folder, const char *name)
{
    tarei_split split = {0};
    uint64_t wanted = UINT64_MAX;
    const tarei_place place = {TAREI_ORIGIN_SPLIT, folder, name, NULL};
    bool used;
    tare_status status = tarei_prebuilt_open(opening, &place, &used);
    if (used || status != TARE_OK) return status;
    tarei_split_is(name, &split);
    for (uint32_t i = 0, room = 0; i < split.count && status == TARE_OK; i++) {
        tare_string part;
        tarei_source source;
        if (i == room) {
            room = more_room(room, split.count);
            status = tarei_open_expect(opening, room);
        }
        if (status == TARE_OK) status = name_part(opening, name, &split, i, &part);
        if (status == TARE_OK)
            status = tarei_folder_find(folder, part.data, i, &source, opening->error);
        if (status == TARE_OK) status = tarei_open_shard(opening, &source, part);
        if (status == TARE_OK) status = check_part(opening, &split, i, &wanted);
    }
    if (status != TARE_OK) return status;
    uint64_t count = tarei_parsed_count(&opening->model->parsed);
    if (wanted != UINT64_MAX && wanted != count)
        return fail_part(opening, 0, "split.tensors.count", wanted, count);
    status = tarei_open_finish(opening);
    return status == TARE_OK ? check_shared(opening) : status;
}
