/* A path, whatever it leads to: a file, part of a split one, a shard index, or a folder that holds
 * one model. And the same among files that a caller hands in. */
#include <string.h>

#include "internal.h"
#include "os.h"
#include "prebuilt.h"

#define ENTRY_SIZE_MAX 512u

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), end_size = strlen(end);
    return size >= end_size && memcmp(name + size - end_size, end, end_size) == 0;
}

/* ------------------------------------------------------------------------------------------------
 * What a folder holds
 */

/* Of entries with one ending: how many, and the first two in the order of their names. */
typedef struct entries {
    size_t count;
    char names[2][ENTRY_SIZE_MAX];
} entries;

typedef struct listing {
    entries indexes, files, parts; /* parts: of split files, but for the first of each */
    bool usual_index;
} listing;

#define USUAL_INDEX "model.safetensors.index.json"

static void entries_add(entries *found, const char *name)
{
    size_t place = 2;
    found->count++;
    while (place > 0 && (found->count <= place || strcmp(name, found->names[place - 1]) < 0))
        place--;
    if (place == 2) return;
    if (place == 0) memcpy(found->names[1], found->names[0], ENTRY_SIZE_MAX);
    memcpy(found->names[place], name, strlen(name) + 1);
}

static void list_entry(void *context, const char *name)
{
    listing *found = context;
    tarei_split split;
    if (name[0] == '.' || strlen(name) >= ENTRY_SIZE_MAX) return; /* hidden, as "._model" is */
    if (strcmp(name, USUAL_INDEX) == 0) found->usual_index = true;
    if (ends_with(name, ".safetensors.index.json"))
        entries_add(&found->indexes, name);
    else if (tarei_split_is(name, &split) && split.number != 1)
        entries_add(&found->parts, name);
    else if (ends_with(name, ".safetensors") || ends_with(name, ".gguf"))
        entries_add(&found->files, name);
}

static tare_status fail_folder(tarei_opening *opening, tare_status status, const char *path,
                               const char *what, const entries *found)
{
    tarei_quoted folder = {"the files"};
    if (path != NULL) folder = tarei_quote(path, strlen(path));
    if (found == NULL)
        return tarei_error_set(opening->error, status, TARE_NO_SHARD, TARE_NO_OFFSET, "%s: %s",
                               folder.text, what);
    tarei_quoted a = tarei_quote(found->names[0], strlen(found->names[0]));
    tarei_quoted b = tarei_quote(found->names[1], strlen(found->names[1]));
    return tarei_error_set(opening->error, status, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "%.100s: %zu %s, such as %.100s and %.100s: name one", folder.text,
                           found->count, what, a.text, b.text);
}

/* The entry that is the model of a folder, or of files handed in where `path` is NULL. */
static tare_status choose(tarei_opening *opening, const char *path, const listing *found,
                          const char **chosen)
{
    if (!found->usual_index && found->indexes.count > 1)
        return fail_folder(opening, TARE_E_AMBIGUOUS, path, "shard indexes", &found->indexes);
    if (found->indexes.count != 0) {
        *chosen = found->usual_index ? USUAL_INDEX : found->indexes.names[0];
        return TARE_OK;
    }
    if (found->files.count > 1)
        return fail_folder(opening, TARE_E_AMBIGUOUS, path,
                           "model files and no .safetensors.index.json", &found->files);
    if (found->files.count == 0 && found->parts.count == 0)
        return fail_folder(opening, TARE_E_NO_MODEL, path,
                           "no .safetensors or .gguf file and no .safetensors.index.json", NULL);
    /* Parts without the first: opening them says which one is missing. */
    *chosen = found->files.count != 0 ? found->files.names[0] : found->parts.names[0];
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * A shard index
 */

tare_status tarei_shards_check_size(const char *name, uint64_t size, tare_error *error)
{
    if (size <= TAREI_LISTING_SIZE_MAX) return TARE_OK;
    return tarei_error_set(error, TARE_E_LIMIT, TARE_NO_SHARD, 0,
                           "%s: a shard index of more than 1 GiB",
                           tarei_quote(name, strlen(name)).text);
}

/* The weight map of the index of that name, and the buffer that its text is in. */
static tare_status read_index(tarei_opening *opening, const tarei_folder *folder, const char *name,
                              tarei_weight_map *map, tarei_buffer *text)
{
    tarei_memory *memory = &opening->model->memory;
    tarei_source source;
    tare_status status = tarei_folder_find(folder, name, TARE_NO_SHARD, &source, opening->error);
    if (status != TARE_OK) return status;
    const void *bytes = source.head_size == source.size ? source.head : NULL;
    status = tarei_shards_check_size(name, source.size, opening->error);
    if (status == TARE_OK && bytes == NULL) {
        if (tarei_buffer_reserve(text, memory, source.size))
            status = tarei_source_read(&source, TARE_NO_SHARD, 0, text->data, (size_t)source.size,
                                       opening->error);
        else
            status = tarei_error_memory(opening->error);
        bytes = text->data;
    }
    if (status == TARE_OK) {
        status = tarei_parse_weight_map(map, bytes, source.size, opening->error);
        if (status != TARE_OK)
            tarei_error_prefix(opening->error, (tare_string){name, strlen(name)});
    }
    opening->model->listing_identity = source.identity;
    tarei_source_close(&source);
    return status;
}

static tare_status open_each(tarei_opening *opening, const tarei_folder *folder,
                             const tarei_weight_map *map)
{
    const tare_string *names = map->shards.data;
    uint64_t count = map->shards.size / sizeof *names;
    if (count > TAREI_SHARD_COUNT_MAX)
        return tarei_error_set(opening->error, TARE_E_LIMIT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "more than 2^18 shards");
    tare_status status = tarei_open_expect(opening, (uint32_t)count);
    if (status != TARE_OK) return status;
    for (uint32_t i = 0; i < count; i++) {
        tarei_source source;
        status = tarei_folder_find(folder, names[i].data, i, &source, opening->error);
        if (status == TARE_OK) status = tarei_open_shard(opening, &source, names[i]);
        if (status != TARE_OK) return status;
    }
    return tarei_open_finish(opening);
}

static tare_status fail_listed(tarei_opening *opening, const tarei_listed *listed, const char *name,
                               const tare_tensor *tensor)
{
    const tare_model *model = opening->model;
    tare_string want = model->shards[listed->shard].name;
    tarei_quoted quoted = tarei_quote(name, listed->name_size);
    tarei_quoted wanted = tarei_quote(want.data, want.size);
    if (tensor == NULL)
        return tarei_error_set(opening->error, TARE_E_SHARD_TENSOR, TARE_NO_SHARD, listed->name - 1,
                               "tensor %s: listed in %s, which lacks it", quoted.text, wanted.text);
    tare_string have = model->shards[tarei_record_shard(tensor)].name;
    return tarei_error_set(opening->error, TARE_E_SHARD_TENSOR, TARE_NO_SHARD, listed->name - 1,
                           "tensor %s: listed in %.100s, it is in %.100s", quoted.text, wanted.text,
                           tarei_quote(have.data, have.size).text);
}

/* X-LISTED: every listed name is in its shard; X-DUP: and is listed once. `seen` has a bit for each
 * tensor, `name` room for the longest name. */
static tare_status check_listed(tarei_opening *opening, const tarei_weight_map *map, uint64_t *seen,
                                char *name)
{
    const tare_model *model = opening->model;
    const tarei_listed *listed = map->listed.data;
    uint64_t count = map->listed.size / sizeof *listed;
    for (uint64_t i = 0; i < count; i++, listed++) {
        const char *wanted = (const char *)map->text + listed->name;
        if (listed->name_size != listed->name_raw_size) {
            tarei_json_unescape(map->text + listed->name, listed->name_size, name);
            wanted = name;
        }
        const tare_tensor *tensor = tare_find(model, wanted, listed->name_size);
        if (tensor == NULL || tarei_record_shard(tensor) != listed->shard)
            return fail_listed(opening, listed, wanted, tensor);
        size_t number = tare_index_of(model, tensor);
        if (seen[number / 64] >> (number % 64) & 1)
            return tarei_error_set(opening->error, TARE_E_DUPLICATE, TARE_NO_SHARD,
                                   listed->name - 1, "tensor %s: listed twice",
                                   tarei_quote(wanted, listed->name_size).text);
        seen[number / 64] |= UINT64_C(1) << (number % 64);
    }
    return TARE_OK;
}

static tare_status check_weight_map(tarei_opening *opening, const tarei_weight_map *map)
{
    tarei_memory *memory = &opening->model->memory;
    const tarei_listed *listed = map->listed.data;
    uint64_t seen_size = (tare_count(opening->model) / 64 + 1) * sizeof(uint64_t), name_size = 0;
    for (uint64_t i = 0; i < map->listed.size / sizeof *listed; i++)
        if (listed[i].name_size != listed[i].name_raw_size && listed[i].name_size > name_size)
            name_size = listed[i].name_size;
    uint64_t *seen = tarei_memory_take(memory, seen_size, TAREI_BUFFER_ALIGNMENT);
    char *name = tarei_memory_take(memory, name_size, 1);
    tare_status status;
    if (seen == NULL || name == NULL) {
        status = tarei_error_memory(opening->error);
    } else {
        memset(seen, 0, (size_t)seen_size);
        status = check_listed(opening, map, seen, name);
    }
    tarei_memory_give(memory, name, name_size, 1);
    tarei_memory_give(memory, seen, seen_size, TAREI_BUFFER_ALIGNMENT);
    return status;
}

/* What is to be done with the weight map of an index. */
typedef struct map_user {
    tare_status (*use)(tarei_opening *opening, const struct map_user *user,
                       const tarei_weight_map *map, const char *name);
    const tarei_folder *folder;
    tare_file_visit visit;
    void *context;
} map_user;

static tare_status with_index(tarei_opening *opening, const char *name, const map_user *user)
{
    tarei_memory *memory = &opening->model->memory;
    tarei_weight_map map = {
        .memory = memory, .arena = &opening->model->arena, .limits = opening->model->parsed.limits};
    tarei_buffer text = {0};
    tare_status status = read_index(opening, user->folder, name, &map, &text);
    if (status == TARE_OK) status = user->use(opening, user, &map, name);
    tarei_buffer_free(&map.listed, memory);
    tarei_buffer_free(&map.shards, memory);
    tarei_buffer_free(&text, memory);
    return status;
}

static tare_status open_index(tarei_opening *opening, const map_user *user,
                              const tarei_weight_map *map, const char *name)
{
    tare_status status = open_each(opening, user->folder, map);
    if (status != TARE_OK) return status;
    status = check_weight_map(opening, map);
    if (status != TARE_OK) tarei_error_prefix(opening->error, (tare_string){name, strlen(name)});
    return status;
}

static tare_status visit_index(tarei_opening *opening, const map_user *user,
                               const tarei_weight_map *map, const char *name)
{
    (void)opening, (void)name;
    const tare_string *names = map->shards.data;
    for (uint64_t i = 0; i < map->shards.size / sizeof *names; i++)
        if (user->visit(user->context, names[i].data, names[i].size) != 0) return TARE_E_CANCELLED;
    return TARE_OK;
}

static tare_status open_listed(tarei_opening *opening, const tarei_folder *folder, const char *name)
{
    const tarei_place place = {TAREI_ORIGIN_LISTED, folder, name, NULL};
    const map_user user = {.use = open_index, .folder = folder};
    bool used;
    tare_status status = tarei_prebuilt_open(opening, &place, &used);
    return used || status != TARE_OK ? status : with_index(opening, name, &user);
}

/* ------------------------------------------------------------------------------------------------
 * A path
 */

/* Opens `name`, an index, a part of a split file or a file. */
static tare_status open_named(tarei_opening *opening, const tarei_folder *folder, const char *name)
{
    tarei_split split;
    if (ends_with(name, ".json")) return open_listed(opening, folder, name);
    if (tarei_split_is(name, &split)) return tarei_split_open(opening, folder, name);
    return tarei_open_file(opening, folder, name);
}

static tare_status open_in_folder(tarei_opening *opening, const char *path, const char *name)
{
    tarei_folder folder;
    tare_status status = tarei_folder_open(&folder, path, opening->error);
    if (status != TARE_OK) return status;
    status = open_named(opening, &folder, name);
    const tarei_prebuilt *prebuilt = opening->model->prebuilt;
    if (prebuilt == NULL || prebuilt->folder != folder.descriptor) tarei_folder_close(&folder);
    return status == TARE_OK ? tarei_open_paths(opening, path, name) : status;
}

static tare_status open_folder(tarei_opening *opening, const char *path)
{
    listing found = {0};
    const char *chosen = NULL;
    int failure = tarei_os_list(path, list_entry, &found);
    if (failure != 0)
        return tarei_error_system(opening->error, TARE_E_OPEN, failure, TARE_NO_SHARD,
                                  "cannot list the folder", path);
    tare_status status = choose(opening, path, &found, &chosen);
    return status == TARE_OK ? open_in_folder(opening, path, chosen) : status;
}

tare_status tarei_shards_open(tarei_opening *opening, const char *path)
{
    if (tarei_os_is_folder(path)) return open_folder(opening, path);
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    const tarei_folder current = tarei_folder_current();
    tarei_split split;
    if (!ends_with(path, ".json") && !tarei_split_is(name, &split)) {
        tare_status status = tarei_open_file(opening, &current, path);
        return status == TARE_OK ? tarei_open_paths(opening, "", path) : status;
    }
    size_t folder_size = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = tarei_memory_take(&opening->model->memory, folder_size + 1, 1);
    if (folder == NULL) return tarei_error_memory(opening->error);
    memcpy(folder, path, folder_size);
    folder[folder_size] = 0;
    tare_status status = open_in_folder(opening, folder, name);
    tarei_memory_give(&opening->model->memory, folder, folder_size + 1, 1);
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Files of a caller
 */

/* One file is the model whatever it is called; of several, what is in the top folder counts. */
static tare_status choose_file(tarei_opening *opening, const tare_file *files, size_t count,
                               listing *found, const char **chosen)
{
    *chosen = count == 1 && files[0].name != NULL ? files[0].name : "";
    if (count == 1) return TARE_OK;
    for (size_t i = 0; i < count; i++)
        if (files[i].name != NULL && strchr(files[i].name, '/') == NULL)
            list_entry(found, files[i].name);
    return choose(opening, NULL, found, chosen);
}

tare_status tarei_shards_open_files(tarei_opening *opening, const tare_file *files, size_t count)
{
    tarei_folder folder;
    listing found = {0};
    const char *chosen;
    tare_status status =
        tarei_folder_hold(&folder, files, count, &opening->model->memory, opening->error);
    if (status == TARE_OK) status = choose_file(opening, files, count, &found, &chosen);
    if (status == TARE_OK) status = open_named(opening, &folder, chosen);
    tarei_folder_close(&folder);
    return status;
}

bool tarei_shards_is_foreign(const char *path)
{
    return ends_with(path, ".json") || ends_with(path, ".gguf");
}

tare_status tarei_shards_list(tarei_opening *opening, const tare_file *file, tare_file_visit visit,
                              void *context)
{
    tarei_folder folder;
    tarei_split split;
    const char *name = file->name != NULL ? file->name : "";
    const map_user user = {visit_index, &folder, visit, context};
    tare_status status =
        tarei_folder_hold(&folder, file, 1, &opening->model->memory, opening->error);
    if (status == TARE_OK) {
        if (ends_with(name, ".json"))
            status = with_index(opening, name, &user);
        else if (tarei_split_is(name, &split))
            status = tarei_split_visit(opening, name, visit, context);
        else if (visit(context, name, strlen(name)) != 0)
            status = TARE_E_CANCELLED;
    }
    tarei_folder_close(&folder);
    if (status == TARE_E_CANCELLED)
        return tarei_error_set(opening->error, status, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "the caller stopped it");
    return status;
}
