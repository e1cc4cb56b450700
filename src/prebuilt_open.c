/*
 * An index file to a model. What is checked here takes no longer for more tensors: the head, the
 * list of shards, who those files are, and that sections are as large as the counts need. What
 * stands in the other sections is checked when somebody asks for it (prebuilt_find.c,
 * prebuilt_look.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "digest.h"
#include "line.h"
#include "prebuilt.h"

/* While an index is tried. Nothing of it is in the model until it is known to fit. */
typedef struct attempt {
    tarei_opening *opening;
    const tarei_place *place;
    tarei_prebuilt *prebuilt;
    tarei_prebuilt_head head;
    tarei_shard *shards;
    tarei_prebuilt_shard *built; /* copies of what the file says of each */
    tare_string listing;         /* the shard index; no data: none */
    tarei_os_identity listing_identity;
    tarei_source file; /* the index file itself, or its bytes */
    const char *path;  /* of it, for messages */
} attempt;

/* With TAREI_NO_DIGEST, as in WebAssembly, digest.c is not needed, which takes 6 KB there. */
static bool by_header(const tare_options *options)
{
#ifdef TAREI_NO_DIGEST
    (void)options;
    return false;
#else
    return options->index_check == TARE_INDEX_BY_HEADER;
#endif
}

static const uint8_t *section_at(const attempt *a, uint32_t section)
{
    return a->prebuilt->bytes + a->head.sections[section].offset;
}

/* ------------------------------------------------------------------------------------------------
 * Its bytes
 */

static void give_bytes(tarei_prebuilt *prebuilt, tarei_memory *memory)
{
    if (prebuilt->bytes == NULL) return;
    if (prebuilt->held == TAREI_BYTES_MAPPED)
        tarei_os_unmap(prebuilt->bytes, (size_t)prebuilt->size);
    else if (prebuilt->held == TAREI_BYTES_TAKEN)
        tarei_memory_give(memory, (void *)(uintptr_t)prebuilt->bytes, prebuilt->size,
                          TAREI_PREBUILT_UNIT);
    prebuilt->bytes = NULL;
}

/* Reads all of it. */
static tare_status take_bytes(attempt *a)
{
    tarei_prebuilt *prebuilt = a->prebuilt;
    tare_error *error = a->opening->error;
    uint64_t size = a->file.size;
    void *taken = tarei_memory_take(&a->opening->model->memory, size, TAREI_PREBUILT_UNIT);
    if (taken == NULL && !tarei_check_fits_size(size))
        return tarei_error_set(error, TARE_E_LIMIT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "the index file is larger than what this host can address");
    if (taken == NULL) return tarei_error_memory(error);
    prebuilt->bytes = taken;
    prebuilt->size = size;
    prebuilt->held = TAREI_BYTES_TAKEN;
    return tarei_source_read(&a->file, TARE_NO_SHARD, 0, taken, (size_t)size, error);
}

/* Where it lies, or mapped, or read. Opening looks at nothing that is mapped: what limits are to
 * hold for is read, and stays so. */
static tare_status hold_bytes(attempt *a)
{
    tarei_prebuilt *prebuilt = a->prebuilt;
    const tare_options *options = &a->opening->options;
    const void *bytes = a->file.bytes;
    bool is_file = bytes == NULL;
    bool read = options->backing == TARE_BACKING_READ || tarei_prebuilt_is_limited(options);
    if (is_file && (read || !tarei_check_fits_size(a->file.size) ||
                    tarei_os_map(a->file.descriptor, (size_t)a->file.size, false, &bytes) != 0))
        bytes = NULL;
    if (bytes != NULL && (uintptr_t)bytes % TAREI_PREBUILT_UNIT == 0) {
        prebuilt->held = is_file ? TAREI_BYTES_MAPPED : TAREI_BYTES_BORROWED;
        prebuilt->bytes = bytes;
        prebuilt->size = a->file.size;
        return TARE_OK;
    }
    tare_status status = take_bytes(a);
    if (status == TARE_OK) return TARE_OK;
    return tarei_error_prefix(a->opening->error, (tare_string){a->path, strlen(a->path)});
}

/* No index file is looked for beside it. */
static bool is_in_memory(const tarei_place *place)
{
    return place->name[0] == 0 || place->folder->files != NULL;
}

/* Files of a caller are gone when shards would be opened late, and open at once. */
static bool is_handed_in(const tarei_place *place)
{
    return place->source == NULL && place->folder->files != NULL;
}

/* Opens the file; nothing of it is read. */
static tare_status open_file(attempt *a)
{
    const tare_options *options = &a->opening->options;
    tare_error *error = a->opening->error;
    int folder = TAREI_OS_CWD;
    a->path = "";
    if (options->index_bytes != NULL) {
        tarei_source_bytes(&a->file, options->index_bytes, options->index_size);
        return TARE_OK;
    }
    if (options->index_path != NULL) {
        a->path = options->index_path;
    } else if (is_in_memory(a->place)) {
        return tarei_error_set(error, TARE_E_OPEN, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "no index file was named for a model in memory");
    } else {
        bool one = a->place->origin == TAREI_ORIGIN_FILE;
        folder = a->place->folder->descriptor;
        a->path = one ? tarei_open_join(a->opening, "", a->place->name, TAREI_INDEX_ENDING)
                      : TAREI_INDEX_NAME;
        if (a->path == NULL) return tarei_error_memory(error);
    }
    return tarei_source_file_open(&a->file, folder, a->path, TARE_NO_SHARD, error);
}

/* ------------------------------------------------------------------------------------------------
 * The shards
 */

static tare_status fail_foreign(attempt *a)
{
    return tarei_error_set(a->opening->error, TARE_E_STALE, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "the index file is that of another model");
}

/* Only names that a model may have, in its folder: an index leads nowhere else. */
static tare_status check_name(attempt *a, uint32_t number, tare_string name)
{
    const tarei_place *place = a->place;
    tarei_split split, wanted;
    if (place->origin == TAREI_ORIGIN_FILE)
        return name.size == 0 ? TARE_OK
                              : tarei_prebuilt_damaged(a->opening->error, TARE_NO_OFFSET, "a name");
    if (place->origin == TAREI_ORIGIN_SPLIT) {
        tarei_split_is(place->name, &wanted);
        bool same = tarei_split_is(name.data, &split) && split.number == number + 1 &&
                    split.count == wanted.count && split.prefix_size == wanted.prefix_size &&
                    memcmp(name.data, place->name, wanted.prefix_size) == 0;
        return same ? TARE_OK : fail_foreign(a);
    }
    if (number == a->head.shard_count)
        return strcmp(name.data, place->name) == 0 ? TARE_OK : fail_foreign(a);
    const char *fault = tarei_shard_name_fault(name.data, name.size);
    if (fault == NULL) return TARE_OK;
    return tarei_error_set(a->opening->error, TARE_E_PREBUILT, number, TARE_NO_OFFSET,
                           "the index file is damaged: a shard's name %s", fault);
}

/* What would not be read without an index file is not opened with one, nor read to be compared. */
static tare_status check_header_size(attempt *a, uint32_t number)
{
    const tarei_prebuilt_shard *built = &a->built[number];
    uint64_t most = a->opening->options.header_size_max, head = 0;
    if (number == a->head.shard_count) {
        if (built->size <= TAREI_LISTING_SIZE_MAX) return TARE_OK;
        return tarei_error_set(a->opening->error, TARE_E_LIMIT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "of a shard index of more than 1 GiB");
    }
    if (built->format == TARE_FORMAT_SAFETENSORS) head = TAREI_HEAD_SIZE;
    if (tarei_prebuilt_header_end(built) <= most + head) return TARE_OK;
    return tarei_error_set(a->opening->error, TARE_E_HEADER_SIZE, number, TARE_NO_OFFSET,
                           "a header of %" PRIu64 " bytes, of at most %" PRIu64,
                           tarei_prebuilt_header_end(built) - head, most);
}

/* Reads what the file says of the shards, which is never looked at in a mapping: a file that is
 * being cut short is an error so. */
static tare_status take_shards(attempt *a)
{
    const tarei_section *sections = a->head.sections;
    const uint64_t begin = sections[TAREI_SECTION_SHARDS].offset;
    const uint64_t names_at = sections[TAREI_SECTION_SHARD_NAMES].offset - begin;
    const uint64_t names_size = sections[TAREI_SECTION_SHARD_NAMES].size;
    tare_error *error = a->opening->error;
    tarei_arena *arena = &a->opening->model->arena;
    uint32_t count = a->head.shard_count;
    uint32_t files = count + (a->head.origin == TAREI_ORIGIN_LISTED);
    uint8_t *lists = tarei_arena_take(arena, names_at + names_size, TAREI_PREBUILT_UNIT);
    a->shards = tarei_arena_take(arena, count * sizeof *a->shards, _Alignof(tarei_shard));
    if (lists == NULL || a->shards == NULL) return tarei_error_memory(error);
    tare_status read = tarei_source_read(&a->file, TARE_NO_SHARD, begin, lists,
                                         (size_t)(names_at + names_size), error);
    if (read != TARE_OK) return read;
    a->built = (void *)lists;
    const char *names = (const char *)lists + names_at;
    if (tarei_prebuilt_digest(a->built, sections[TAREI_SECTION_SHARDS].size) !=
            sections[TAREI_SECTION_SHARDS].digest ||
        tarei_prebuilt_digest(names, names_size) != sections[TAREI_SECTION_SHARD_NAMES].digest)
        return tarei_prebuilt_damaged(error, sizeof a->head, "its shards do not have their digest");
    for (uint32_t i = 0; i < files; i++) {
        const tarei_prebuilt_shard *built = &a->built[i];
        tare_string name = {names + built->name, built->name_size};
        if (built->name >= names_size || built->name_size >= names_size - built->name ||
            name.data[name.size] != 0 || memchr(name.data, 0, name.size) != NULL ||
            built->size > TAREI_OFFSET_MAX || built->data_offset > built->size ||
            built->padding > built->data_offset ||
            (i < count && built->format != TARE_FORMAT_SAFETENSORS &&
             built->format != TARE_FORMAT_GGUF))
            return tarei_prebuilt_damaged(error, sizeof a->head,
                                          "what it says of a shard cannot be");
        tare_status status = check_name(a, i, name);
        if (status == TARE_OK) status = check_header_size(a, i);
        if (status != TARE_OK) return status;
        if (i == count) {
            a->listing = name;
            continue;
        }
        tarei_shard *shard = memset(&a->shards[i], 0, sizeof *shard);
        tarei_source_file_init(&shard->source);
        shard->name = name;
        shard->data_offset = built->data_offset;
        shard->format = built->format;
        shard->padding = built->padding;
        shard->source.size = built->size;
    }
    return TARE_OK;
}

static tare_status check_header(attempt *a, const tarei_source *source, uint32_t number,
                                uint32_t shard)
{
    const tarei_prebuilt_shard *built = &a->built[number];
    uint64_t size = built->size;
    tare_digest digest;
    if (number < a->head.shard_count) size = tarei_prebuilt_header_end(built);
    tare_status status = tarei_prebuilt_hash(source, shard, size, &digest, a->opening->error);
    if (status != TARE_OK || tarei_digest_equal(digest, built->digest)) return status;
    return tarei_error_set(a->opening->error, TARE_E_STALE, shard, TARE_NO_OFFSET,
                           "its header is not the one that the index was built from");
}

/* A file of the model that is not there has gone since the index was built. */
static tare_status fail_open(tare_error *error)
{
    if (error->system_error == ENOENT) error->status = TARE_E_STALE;
    return error->status;
}

/* Whether a file of the model is the one that the index was built from. */
static tare_status check_file(attempt *a, uint32_t number, tare_string name,
                              tarei_os_identity *identity)
{
    tare_error *error = a->opening->error;
    const tarei_place *place = a->place;
    uint32_t shard = number < a->head.shard_count ? number : TARE_NO_SHARD;
    bool hash = by_header(&a->opening->options);
    tarei_source opened, *source = place->source;
    if (source == NULL && (hash || is_handed_in(place))) {
        tare_status status = tarei_folder_find(place->folder, name.data, shard, &opened, error);
        if (status != TARE_OK) return fail_open(error);
        source = &opened;
    }
    int failure = 0;
    if (source != NULL)
        *identity = source->identity;
    else
        failure = tarei_os_identify_at(place->folder->descriptor, name.data, identity);
    if (failure != 0) {
        tarei_error_system(error, TARE_E_OPEN, failure, shard, "cannot open", name.data);
        return fail_open(error);
    }
    tarei_prebuilt_shard wanted = a->built[number];
    bool has_time = source == NULL || source->descriptor >= 0;
    if (!has_time) identity->size = source->size;
    if (hash || !has_time) {
        wanted.modified_s = identity->modified_s;
        wanted.modified_ns = identity->modified_ns;
    }
    tare_status status = tarei_prebuilt_compare(&wanted, identity, shard, error);
    if (status == TARE_OK && hash) status = check_header(a, source, number, shard);
    if (status == TARE_OK && is_handed_in(place) && shard != TARE_NO_SHARD) {
        source->head = NULL; /* lent until the model is open */
        source->head_size = 0;
        a->shards[shard].source = *source;
    } else if (source == &opened)
        tarei_source_close(source);
    return status == TARE_OK ? TARE_OK : tarei_error_prefix(error, name);
}

/* The size of the list of shards. */
static tare_status find_list_size(attempt *a, uint64_t *size)
{
    tarei_source list;
    tarei_os_identity identity = {0};
    const tarei_folder *folder = a->place->folder;
    tare_error *error = a->opening->error;
    if (is_handed_in(a->place)) {
        tare_status status = tarei_folder_find(folder, a->place->name, TARE_NO_SHARD, &list, error);
        *size = list.size;
        tarei_source_close(&list);
        return status;
    }
    int failure = tarei_os_identify_at(folder->descriptor, a->place->name, &identity);
    *size = identity.size;
    if (failure == 0) return TARE_OK;
    tarei_error_system(error, TARE_E_OPEN, failure, TARE_NO_SHARD, "cannot open", a->place->name);
    return fail_open(error);
}

/* Whether it is of as many files as the model has, with names no longer than theirs: those of a
 * list stand in it, each in quotes, and in more than eight bytes; those of a split file may have a
 * digit more than the one that was opened. */
static tare_status check_counts(attempt *a)
{
    tarei_split wanted = {.count = 1};
    uint64_t count = a->head.shard_count, own = strlen(a->place->name) + 1, list_size = 0;
    uint64_t names_size = a->head.sections[TAREI_SECTION_SHARD_NAMES].size;
    if (a->place->origin != a->head.origin) return fail_foreign(a);
    if (a->head.origin != TAREI_ORIGIN_LISTED) {
        if (a->head.origin == TAREI_ORIGIN_SPLIT) tarei_split_is(a->place->name, &wanted);
        return count == wanted.count && names_size <= count * (own + 1) ? TARE_OK : fail_foreign(a);
    }
    tare_status status = find_list_size(a, &list_size);
    if (status == TARE_OK)
        status = tarei_shards_check_size(a->place->name, list_size, a->opening->error);
    if (status != TARE_OK) return status;
    return count <= list_size / 8 && names_size <= list_size + own ? TARE_OK : fail_foreign(a);
}

/* A file that claims more than headers of that size can make is refused, mapped or not: its counts
 * are what calls take memory and time for, and a hole holds any. */
static tare_status check_size(attempt *a)
{
    uint64_t header_size = 0, size = a->file.size;
    for (uint32_t i = 0; i < a->head.shard_count; i++)
        header_size += tarei_prebuilt_header_end(&a->built[i]);
    if (size <= tarei_prebuilt_size_max((uint64_t)a->head.shard_count + 1, header_size))
        return TARE_OK;
    return tarei_error_set(a->opening->error, TARE_E_LIMIT, TARE_NO_SHARD,
                           offsetof(tarei_prebuilt_head, file_size),
                           "%" PRIu64 " bytes are more than the headers can make", size);
}

/* What the file itself says: its name stands before what is wrong with that. */
static tare_status check_own(attempt *a)
{
    tare_error *error = a->opening->error;
    tare_status status = tarei_prebuilt_head_read(&a->head, &a->file, error);
    if (status == TARE_OK && a->head.tensor_count > tarei_parsed_room(&a->opening->model->parsed))
        status = tarei_error_set(error, TARE_E_LIMIT, TARE_NO_SHARD,
                                 offsetof(tarei_prebuilt_head, tensor_count),
                                 "the index file has more tensors than tensor_count_max");
    if (status == TARE_OK) status = check_counts(a);
    if (status == TARE_OK) status = take_shards(a);
    if (status == TARE_OK) status = check_size(a);
    if (status == TARE_OK) return TARE_OK;
    return tarei_error_prefix(error, (tare_string){a->path, strlen(a->path)});
}

static tare_status check_files(attempt *a)
{
    tarei_place const *place = a->place;
    tare_status status = TARE_OK;
    for (uint32_t i = 0; i < a->head.shard_count && status == TARE_OK; i++) {
        tare_string name = a->shards[i].name;
        if (place->origin == TAREI_ORIGIN_FILE)
            name = (tare_string){place->name, strlen(place->name)};
        status = check_file(a, i, name, &a->shards[i].source.identity);
    }
    if (status == TARE_OK && a->listing.data != NULL)
        status = check_file(a, a->head.shard_count, a->listing, &a->listing_identity);
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * The model
 */

static void point_table(attempt *a)
{
    const tarei_prebuilt_head *head = &a->head;
    tarei_index *table = &a->prebuilt->table;
    uint32_t count = head->tensor_count;
    table->names = &a->opening->model->tensors;
    table->reach = head->reach;
    table->reseeds = head->reseeds;
    table->size = head->sections[TAREI_SECTION_TABLE].size;
    tarei_name_seed_init(&table->seed, head->seed);
    table->prefixes = (const void *)section_at(a, TAREI_SECTION_PREFIXES);
    table->suffixes = (const void *)section_at(a, TAREI_SECTION_SUFFIXES);
    a->prebuilt->prefix_count =
        (uint32_t)(head->sections[TAREI_SECTION_PREFIXES].size / sizeof(tarei_part));
    a->prebuilt->suffix_count =
        (uint32_t)(head->sections[TAREI_SECTION_SUFFIXES].size / sizeof(tarei_part));
    if (head->table == TAREI_TABLE_SORTED) {
        table->sorted = (const void *)section_at(a, TAREI_SECTION_TABLE);
        return;
    }
    table->lines = (const void *)section_at(a, TAREI_SECTION_TABLE);
    table->small_sizes = head->table == TAREI_TABLE_SMALL ? TAREI_NAME_USUAL_COUNT : 0;
    table->range = tarei_index_is_small(table)
                       ? (head->line_count - 1) * (uint32_t)sizeof(tarei_line)
                       : head->line_count;
    tarei_index_masks(table, count);
}

static void point_names(tarei_names *names, const attempt *a, uint32_t count, uint32_t records,
                        uint32_t text)
{
    names->records = (void *)(uintptr_t)section_at(a, records); /* nobody writes to them */
    names->text = (const void *)section_at(a, text);
    names->count = count;
    names->text_size = a->head.sections[text].size;
}

/* The model takes over what the attempt has, and the source. */
static tare_status commit(attempt *a)
{
    tare_model *model = a->opening->model;
    tarei_prebuilt *prebuilt = a->prebuilt;
    const tarei_section *sections = a->head.sections;
    point_names(&model->tensors, a, a->head.tensor_count, TAREI_SECTION_RECORDS,
                TAREI_SECTION_TEXT);
    model->tensors.commons = (void *)(uintptr_t)section_at(a, TAREI_SECTION_COMMONS);
    model->tensors.wide_commons = (void *)(uintptr_t)section_at(a, TAREI_SECTION_WIDE_COMMONS);
    point_names(&model->metadata, a, a->head.key_count, TAREI_SECTION_KEYS, TAREI_SECTION_KEY_TEXT);
    point_table(a);
    tarei_prebuilt_lead(&model->index, prebuilt);
    prebuilt->layouts = (const void *)section_at(a, TAREI_SECTION_LAYOUTS);
    prebuilt->layout_words = sections[TAREI_SECTION_LAYOUTS].size / sizeof(uint64_t);
    prebuilt->key_order = (const void *)section_at(a, TAREI_SECTION_KEY_ORDER);
    prebuilt->values = (const void *)section_at(a, TAREI_SECTION_VALUES);
    prebuilt->value_bytes = (const void *)section_at(a, TAREI_SECTION_VALUE_BYTES);
    prebuilt->value_bytes_size = sections[TAREI_SECTION_VALUE_BYTES].size;
    prebuilt->rank_max = TAREI_PREBUILT_RANK_MAX;
    prebuilt->folder = -1;
    prebuilt->backing = a->opening->options.backing;
    prebuilt->copy_on_write = (a->opening->options.flags & TARE_COPY_ON_WRITE) != 0;
    model->prebuilt = prebuilt;
    model->shards = a->shards;
    model->shard_count = a->head.shard_count;
    model->listing_identity = a->listing_identity;
    if (a->place->source == NULL && !is_handed_in(a->place)) {
        prebuilt->folder = a->place->folder->descriptor;
        return TARE_OK;
    }
    for (uint32_t i = 0; i < model->shard_count; i++)
        atomic_store_explicit(&model->shards[i].open, true, memory_order_relaxed);
    if (a->place->source == NULL) return TARE_OK;
    tarei_shard *shard = &model->shards[0];
    shard->source = *a->place->source;
    shard->name = (tare_string){a->place->name, strlen(a->place->name)};
    return tarei_open_map(a->opening, 0);
}

/* Tries what is there; the error says why it does not fit. */
static tare_status try_index(attempt *a)
{
    tarei_memory *memory = &a->opening->model->memory;
    a->prebuilt = tarei_memory_take(memory, sizeof *a->prebuilt, TAREI_BUFFER_ALIGNMENT);
    if (a->prebuilt == NULL) return tarei_error_memory(a->opening->error);
    memset(a->prebuilt, 0, sizeof *a->prebuilt);
    tarei_source_init(&a->file);
    tare_status status = open_file(a);
    if (status == TARE_OK) status = check_own(a);
    if (status == TARE_OK) status = check_files(a);
    if (status == TARE_OK) status = hold_bytes(a);
    tarei_source_close(&a->file); /* what is mapped of it stays */
    if (status == TARE_OK) return TARE_OK;
    give_bytes(a->prebuilt, memory);
    tarei_memory_give(memory, a->prebuilt, sizeof *a->prebuilt, TAREI_BUFFER_ALIGNMENT);
    return status;
}

tare_status tarei_prebuilt_check_options(const tare_options *options, tare_error *error)
{
    const char *fault = NULL;
    if (options->index > TARE_INDEX_REQUIRE) fault = "options.index";
    if (options->index_check > TARE_INDEX_BY_HEADER) fault = "options.index_check";
    if (options->index_path != NULL && options->index_bytes != NULL)
        fault = "options.index_path and index_bytes exclude each other";
    if (options->index_bytes == NULL && options->index_size != 0)
        fault = "options.index_size without index_bytes";
    if (fault == NULL && options->index_check == TARE_INDEX_BY_HEADER && !by_header(options))
        return tarei_error_set(error, TARE_E_UNSUPPORTED, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "options.index_check");
    if (fault == NULL) return TARE_OK;
    return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET, "%s", fault);
}

tare_status tarei_prebuilt_open(tarei_opening *opening, const tarei_place *place, bool *used)
{
    const tare_options *options = &opening->options;
    bool named = options->index_path != NULL || options->index_bytes != NULL;
    attempt a = {.opening = opening, .place = place};
    *used = false;
    opening->model->origin = is_handed_in(place) ? TAREI_ORIGIN_NONE : place->origin;
    if (options->index == TARE_INDEX_NEVER) return TARE_OK;
    if (options->index == TARE_INDEX_AUTO && !named && is_in_memory(place)) return TARE_OK;
    tare_status status = try_index(&a);
    if (status == TARE_OK) {
        *used = true;
        status = commit(&a);
        return status == TARE_OK ? tarei_prebuilt_check_limits(opening) : status;
    }
    if (options->index == TARE_INDEX_REQUIRE) return status;
    int failure = opening->error->system_error;
    if (status == TARE_E_OPEN && !named && (failure == ENOENT || failure == ENAMETOOLONG))
        return TARE_OK; /* none is there, or can be, which is no failure */
    tare_error *kept = tarei_arena_take(&opening->model->arena, sizeof *kept, _Alignof(tare_error));
    if (kept == NULL) return tarei_error_memory(opening->error);
    *kept = *opening->error;
    opening->model->index_failure = kept;
    return TARE_OK;
}

void tarei_prebuilt_close(tare_model *model)
{
    tarei_prebuilt *prebuilt = model->prebuilt;
    if (prebuilt == NULL) return;
    give_bytes(prebuilt, &model->memory);
    if (prebuilt->folder >= 0) tarei_os_close(prebuilt->folder);
    tarei_memory_give(&model->memory, prebuilt, sizeof *prebuilt, TAREI_BUFFER_ALIGNMENT);
}

tare_status tare_index_status(const tare_model *model, tare_error *error)
{
    tare_error unused;
    if (error == NULL) error = &unused;
    tarei_error_clear(error);
    if (model->prebuilt != NULL) return TARE_OK;
    if (model->index_failure == NULL)
        return tarei_error_set(error, TARE_E_OPEN, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "there is no index file, or none was asked for");
    *error = *model->index_failure;
    return error->status;
}
