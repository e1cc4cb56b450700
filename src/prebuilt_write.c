/* The public calls that write an index file, and that compare one with its model. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "prebuilt.h"
#include "save.h"

#define PATH_SIZE 4096 /* PATH_MAX of Linux, which not every system has */

static tare_status fail_argument(tare_error *error, const char *what)
{
    return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET, "%s", what);
}

static bool is_same_file(const tarei_os_identity *a, const tarei_os_identity *b)
{
    return a->device == b->device && a->number == b->number;
}

/* What lies now where a file of that name is beside the model's index file. Paths beyond PATH_SIZE
 * lead nowhere. */
static int look_beside(const tare_model *model, const char *name, tarei_os_identity *now)
{
    char path[PATH_SIZE];
    int folder_size = (int)(tarei_folder_leaf(model->index_path) - model->index_path);
    int size = snprintf(path, sizeof path, "%.*s%s", folder_size, model->index_path, name);
    return size < PATH_SIZE ? tarei_os_identify_at(TAREI_OS_CWD, path, now) : ENOENT;
}

/* Of one file the name may be a path. */
static const char *name_of(const tare_model *model, uint32_t shard)
{
    const char *name = model->shards[shard].name.data;
    return model->origin == TAREI_ORIGIN_FILE ? tarei_folder_leaf(name) : name;
}

/* Whether the usual place is still beside a file of the model: a path may lead elsewhere once the
 * working folder is another, or files were moved. */
static tare_status check_place(const tare_model *model, tare_error *error)
{
    const char *listing = model->listing_path;
    tarei_os_identity now = {0};
    int failure = ENOENT;
    if (listing != NULL) failure = look_beside(model, tarei_folder_leaf(listing), &now);
    bool same = failure == 0 && is_same_file(&now, &model->listing_identity);
    for (uint32_t i = 0; i < model->shard_count && !same; i++) {
        failure = look_beside(model, name_of(model, i), &now);
        same = failure == 0 && is_same_file(&now, &model->shards[i].source.identity);
    }
    if (same) return TARE_OK;
    if (failure != 0 && failure != ENOENT)
        return tarei_error_system(error, TARE_E_OPEN, failure, TARE_NO_SHARD,
                                  "cannot look beside it", model->index_path);
    return tarei_error_set(error, TARE_E_CHANGED, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "%s: is not beside the model that was opened (is the working folder "
                           "another?): name a path",
                           tarei_quote(model->index_path, strlen(model->index_path)).text);
}

/* Fills in options and path. */
static tare_status begin(const tare_model *model, const tare_index_options *from,
                         tare_index_options *options, const char **path, tare_error *error)
{
    tarei_error_clear(error);
    tare_status status = tarei_open_copy_options(options, sizeof *options, from, error);
    if (status != TARE_OK) return status;
    if ((options->flags & ~TARE_SAVE_REPLACE) != 0) return fail_argument(error, "options.flags");
    if (options->reserved != 0) return fail_argument(error, "options.reserved is not 0");
    status = tarei_open_check_hooks(options->allocator, error);
    if (status != TARE_OK || *path != NULL) return status;
    *path = model->index_path;
    if (*path == NULL)
        return fail_argument(error, "path is NULL, and the model has no place for an index file");
    return check_place(model, error);
}

tare_string tare_index_path(const tare_model *model)
{
    const char *path = model->index_path;
    return (tare_string){path, path != NULL ? strlen(path) : 0};
}

/* Only an index file is replaced unasked: whoever mistakes a model for the target keeps it. */
static bool is_index_file(const char *path)
{
    char magic[8];
    tarei_os_identity identity;
    int descriptor;
    size_t done = 0;
    if (tarei_os_open_file(TAREI_OS_CWD, path, &descriptor, &identity) != 0) return false;
    int failure = tarei_os_read_at(descriptor, 0, magic, sizeof magic, &done);
    tarei_os_close(descriptor);
    return failure == 0 && done == sizeof magic &&
           memcmp(magic, TAREI_PREBUILT_MAGIC, sizeof magic) == 0;
}

static tare_status write_image(const tarei_prebuilt_image *image, tarei_save_file *file)
{
    static const char zeros[TAREI_PREBUILT_UNIT];
    const tarei_prebuilt_head *head = &image->head;
    tare_status status = tarei_save_file_text(file, head, sizeof *head);
    for (uint32_t i = 0; i < TAREI_SECTION_COUNT && status == TARE_OK; i++) {
        const tarei_section *section = &head->sections[i];
        bool last = i == TAREI_SECTION_COUNT - 1;
        uint64_t end = last ? head->file_size : section[1].offset;
        size_t gap = (size_t)(end - section->offset - section->size);
        status = tarei_save_file_text(file, image->sections[i], (size_t)section->size);
        if (status == TARE_OK) status = tarei_save_file_text(file, zeros, gap);
    }
    return status;
}

/* The name by which a model's files are found, as far as an index file holds it: that of the shard
 * index, or the common part of a split file's. "" of one file. */
static tare_string name_part(uint32_t origin, const char *name)
{
    if (origin == TAREI_ORIGIN_FILE) name = "";
    tarei_split split = {.prefix_size = strlen(name)};
    if (origin == TAREI_ORIGIN_SPLIT) tarei_split_is(name, &split);
    return (tare_string){name, split.prefix_size};
}

/* The name that an index file has for that, or "" where it has none. */
static tare_status read_name(const tarei_prebuilt_head *head, const tarei_source *file, char *name,
                             tare_error *error)
{
    bool listed = head->origin == TAREI_ORIGIN_LISTED;
    const tarei_section *shards = &head->sections[TAREI_SECTION_SHARDS];
    const tarei_section *names = &head->sections[TAREI_SECTION_SHARD_NAMES];
    uint64_t at = listed ? head->shard_count * sizeof(tarei_prebuilt_shard) : 0;
    tarei_prebuilt_shard shard;
    name[0] = 0;
    if (at == shards->size) return TARE_OK;
    tare_status status =
        tarei_source_read(file, TARE_NO_SHARD, shards->offset + at, &shard, sizeof shard, error);
    if (status != TARE_OK) return status;
    uint64_t left = shard.name < names->size ? names->size - shard.name : 0;
    size_t size = left < PATH_SIZE ? (size_t)left : PATH_SIZE;
    status = tarei_source_read(file, TARE_NO_SHARD, names->offset + shard.name, name, size, error);
    if (status == TARE_OK && memchr(name, 0, size) == NULL) name[0] = 0;
    return status;
}

/* The index file of another model is not replaced unasked: a folder has one, and may hold two lists
 * of shards. Whose a damaged one is, or that of one file, cannot be told: those are replaced. */
static tare_status check_replaced(const tare_model *model, const char *path, tare_error *error)
{
    char name[PATH_SIZE];
    tarei_source file;
    tarei_prebuilt_head head;
    tare_status status = tarei_source_file_open(&file, TAREI_OS_CWD, path, TARE_NO_SHARD, error);
    if (status != TARE_OK) return status;
    status = tarei_prebuilt_head_read(&head, &file, error);
    bool whole = status == TARE_OK;
    if (whole) status = read_name(&head, &file, name, error);
    tarei_source_close(&file);
    if (!whole && status != TARE_E_READ) return TARE_OK;
    if (status != TARE_OK) return status;
    bool listed = model->origin == TAREI_ORIGIN_LISTED;
    const char *own = listed ? tarei_folder_leaf(model->listing_path) : model->shards[0].name.data;
    tare_string was = name_part(head.origin, name), is = name_part(model->origin, own);
    bool named = was.size != 0, same = was.size == is.size;
    if (named && same) same = memcmp(was.data, is.data, is.size) == 0;
    if (head.origin == model->origin && (!named || same)) return TARE_OK;
    return tarei_error_set(error, TARE_E_EXISTS, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "%s: is there already, the index file of another model%s%s",
                           tarei_quote(path, strlen(path)).text, named ? ", " : "",
                           named ? tarei_quote(was.data, was.size).text : "");
}

/* Whether that is what lies now where the model's file of that name was opened: another file may
 * have taken its place. */
static bool is_in_place(const tare_model *model, const char *name, const tarei_os_identity *target)
{
    tarei_os_identity now;
    return look_beside(model, name, &now) == 0 && is_same_file(&now, target);
}

static bool is_own(const tare_model *model, const tarei_os_identity *target)
{
    const char *listing = model->listing_path;
    if (listing != NULL && (is_same_file(target, &model->listing_identity) ||
                            is_in_place(model, tarei_folder_leaf(listing), target)))
        return true;
    for (uint32_t i = 0; i < model->shard_count; i++) {
        const tarei_shard *shard = &model->shards[i];
        if (is_same_file(target, &shard->source.identity)) return true;
        if (model->index_path != NULL && is_in_place(model, name_of(model, i), target)) return true;
    }
    return false;
}

/* The model's own files stay, whatever name leads to them and whoever says to replace. Links are
 * followed: those of a model cache are all that gives its files their names. */
static tare_status check_not_own(const tare_model *model, const char *path, tare_error *error)
{
    tarei_os_identity target;
    int failure = tarei_os_identify_at(TAREI_OS_CWD, path, &target);
    if (failure == ENOENT || failure == ENOTDIR || failure == ELOOP || failure == EISDIR ||
        failure == EINVAL)
        return TARE_OK; /* it is no file that could be one of the model */
    if (failure != 0)
        return tarei_error_system(error, TARE_E_WRITE, failure, TARE_NO_SHARD, "cannot look at it",
                                  path);
    if (!is_own(model, &target)) return TARE_OK;
    return tarei_error_set(error, TARE_E_EXISTS, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "%s: is a file of the model itself, which no index file replaces",
                           tarei_quote(path, strlen(path)).text);
}

/* The names in it are nobody's to read who may not read the model. */
static tare_status write_file(const tarei_prebuilt_image *image, const tare_model *model,
                              const char *path, const tare_index_options *options,
                              tarei_memory *memory, tare_error *error)
{
    tarei_save_file file;
    tare_status status = TARE_OK;
    tare_save_options save = TARE_SAVE_OPTIONS_INIT;
    save.flags = options->flags;
    if (save.flags == 0 && is_index_file(path)) {
        status = check_replaced(model, path, error);
        save.flags = TARE_SAVE_REPLACE;
    }
    if (status != TARE_OK) return status;
    uint32_t mode = (image->mode != 0 ? image->mode : TAREI_OS_MODE_ANY) & TAREI_OS_MODE_ANY;
    status = tarei_save_file_begin(&file, path, mode, image->head.file_size, &save, memory, error);
    if (status == TARE_OK) status = write_image(image, &file);
    return tarei_save_file_end(&file, status);
}

tare_status tare_index_save(const tare_model *model, const char *path,
                            const tare_index_options *options, tare_error *error)
{
    tare_error unused;
    tare_index_options own;
    tarei_memory memory;
    tarei_prebuilt_image image;
    if (error == NULL) error = &unused;
    tare_status status = begin(model, options, &own, &path, error);
    if (status == TARE_OK) status = check_not_own(model, path, error);
    if (status != TARE_OK) return status;
    tarei_memory_init(&memory, own.allocator);
    status = tarei_prebuilt_build(&image, model, &memory, error);
    if (status == TARE_OK) status = write_file(&image, model, path, &own, &memory, error);
    tarei_prebuilt_free(&image);
    if (status == TARE_OK) tarei_error_clear(error);
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Comparing
 */

typedef struct check {
    const tarei_prebuilt_image *image; /* what it should be */
    tarei_prebuilt_head head;          /* what it is */
    const uint8_t *bytes;
    const tare_model *model;
    tare_error *error;
} check;

static const char *const section_names[TAREI_SECTION_COUNT] = {
    "shards",  "shard names",  "prefixes", "suffixes", "layouts",
    "commons", "wide commons", "table",    "records",  "text",
    "keys",    "key order",    "key text", "values",   "value bytes"};

static tare_status fail_section(check *c, uint32_t section, uint64_t at, const char *what)
{
    return tarei_error_set(c->error, TARE_E_PREBUILT, TARE_NO_SHARD,
                           c->head.sections[section].offset + at,
                           "the index file is damaged: its %s %s", section_names[section], what);
}

/* Digests first: they tell damage from an index of something else. */
static tare_status check_digests(check *c)
{
    for (uint32_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        const tarei_section *section = &c->head.sections[i];
        const uint8_t *bytes = c->bytes + section->offset;
        uint64_t end = i + 1 < TAREI_SECTION_COUNT ? section[1].offset : c->head.file_size;
        if (tarei_prebuilt_digest(bytes, section->size) != section->digest)
            return fail_section(c, i, 0, "do not have their digest");
        for (uint64_t at = section->size; at < end - section->offset; at++)
            if (bytes[at] != 0) return fail_section(c, i, at, "are not followed by zeros");
    }
    return TARE_OK;
}

static tare_status check_shards(check *c)
{
    const tarei_prebuilt_head *head = &c->head, *wanted = &c->image->head;
    const tarei_prebuilt_shard *now = c->image->sections[TAREI_SECTION_SHARDS];
    if (head->origin != wanted->origin || head->shard_count != wanted->shard_count)
        return tarei_error_set(c->error, TARE_E_STALE, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "the index file is that of a model of %" PRIu32 " shards",
                               head->shard_count);
    uint64_t files = wanted->sections[TAREI_SECTION_SHARDS].size / sizeof *now;
    for (uint64_t i = 0; i < files; i++) {
        tarei_prebuilt_shard built;
        memcpy(&built, c->bytes + head->sections[TAREI_SECTION_SHARDS].offset + i * sizeof built,
               sizeof built);
        bool is_shard = i < c->model->shard_count;
        const tarei_os_identity identity = {.size = now[i].size,
                                            .modified_s = now[i].modified_s,
                                            .modified_ns = now[i].modified_ns};
        uint32_t number = is_shard ? (uint32_t)i : TARE_NO_SHARD;
        tare_status status = tarei_prebuilt_compare(&built, &identity, number, c->error);
        if (status == TARE_OK && memcmp(&built, &now[i], sizeof built) != 0)
            status = tarei_error_set(c->error, TARE_E_STALE, number, TARE_NO_OFFSET,
                                     "its header is not the one that the index was built from");
        if (status == TARE_OK) continue;
        const char *listing = c->model->listing_path;
        return tarei_error_prefix(c->error, is_shard ? c->model->shards[i].name
                                                     : (tare_string){listing, strlen(listing)});
    }
    return TARE_OK;
}

static tare_status check_sections(check *c)
{
    const tarei_prebuilt_head *wanted = &c->image->head;
    for (uint32_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        uint64_t size = c->head.sections[i].size, at = 0;
        const uint8_t *found = c->bytes + c->head.sections[i].offset, *made = c->image->sections[i];
        if (size != wanted->sections[i].size)
            return fail_section(c, i, 0, "are not as long as the model's");
        if (size == 0 || memcmp(found, made, (size_t)size) == 0) continue;
        while (found[at] == made[at]) at++;
        return fail_section(c, i, at, "are not what the model tells");
    }
    if (memcmp(&c->head, wanted, sizeof *wanted) == 0) return TARE_OK;
    return tarei_prebuilt_damaged(c->error, 0, "its head is not what the model tells");
}

/* All of the index file, once its head is known to be right, in memory that the caller gives back.
 * A good head of a file that is larger than that of this model can be is another model's. */
static tare_status read_file(check *c, const char *path, tarei_memory *memory, void **bytes)
{
    tarei_source file;
    const tare_model *model = c->model;
    uint64_t header_size = 0;
    for (uint32_t i = 0; i < model->shard_count; i++) header_size += model->shards[i].data_offset;
    tare_status status = tarei_source_file_open(&file, TAREI_OS_CWD, path, TARE_NO_SHARD, c->error);
    if (status != TARE_OK) return status;
    status = tarei_prebuilt_head_read(&c->head, &file, c->error);
    if (status == TARE_OK &&
        file.size > tarei_prebuilt_size_max((uint64_t)model->shard_count + 1, header_size))
        status = tarei_error_set(c->error, TARE_E_STALE, TARE_NO_SHARD, TARE_NO_OFFSET,
                                 "the index file is that of a larger model");
    if (status == TARE_OK) {
        *bytes = tarei_memory_take(memory, file.size, TAREI_PREBUILT_UNIT);
        status = *bytes == NULL ? tarei_error_memory(c->error)
                                : tarei_source_read(&file, TARE_NO_SHARD, 0, *bytes,
                                                    (size_t)file.size, c->error);
    }
    tarei_source_close(&file);
    return status;
}

tare_status tare_index_check(const tare_model *model, const char *path,
                             const tare_index_options *options, tare_error *error)
{
    tare_error unused;
    tare_index_options own;
    tarei_memory memory;
    tarei_prebuilt_image image;
    void *bytes = NULL;
    if (error == NULL) error = &unused;
    tare_status status = begin(model, options, &own, &path, error);
    if (status != TARE_OK) return status;
    if (model->prebuilt != NULL)
        return fail_argument(error, "the model was opened from an index file (TARE_INDEX_NEVER)");
    tarei_memory_init(&memory, own.allocator);
    check c = {.image = &image, .model = model, .error = error};
    memset(&image, 0, sizeof image);
    status = read_file(&c, path, &memory, &bytes);
    c.bytes = bytes;
    if (status == TARE_OK) status = check_digests(&c);
    if (status == TARE_OK) status = tarei_prebuilt_build(&image, model, &memory, error);
    if (status == TARE_OK) status = check_shards(&c);
    if (status == TARE_OK) status = check_sections(&c);
    tarei_prebuilt_free(&image);
    tarei_memory_give(&memory, bytes, c.head.file_size, TAREI_PREBUILT_UNIT);
    if (status == TARE_OK) tarei_error_clear(error);
    return status;
}
