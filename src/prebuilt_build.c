/*
 * What an index file holds, made anew from what an open model tells of itself, whether its headers
 * were read or it comes from an index file. So the same model gives the same bytes: parts are
 * shared and the table is filled in the order of the tensors, and the seed follows from the
 * headers. That seed is no secret; what bounds a find (index.h) does not depend on it.
 */
#include <inttypes.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "digest.h"
#include "line.h"
#include "prebuilt.h"

typedef struct build {
    tarei_prebuilt_image *image;
    const tare_model *model;
    tarei_memory *memory;
    tare_error *error;
    tarei_prebuilt_shard *shards;
    char *shard_names;
    uint64_t shard_names_size;
} build;

static void set_section(build *b, uint32_t section, const void *bytes, uint64_t size)
{
    b->image->sections[section] = bytes;
    b->image->head.sections[section].size = size;
}

/* ------------------------------------------------------------------------------------------------
 * Shards
 */

static tare_status fail_changed(build *b, uint32_t number)
{
    return tarei_error_set(b->error, TARE_E_CHANGED, number, TARE_NO_OFFSET,
                           "changed since it was opened");
}

/* The file must still be what was opened, also after it was digested. */
static tare_status digest_file(build *b, const tarei_source *source, uint32_t number, uint64_t size,
                               const tarei_os_identity *opened, tare_digest *out)
{
    tarei_os_identity now;
    tare_status status = tarei_prebuilt_hash(source, number, size, out, b->error);
    if (status != TARE_OK || source->descriptor < 0) return status;
    int failure = tarei_os_identify(source->descriptor, &now);
    if (failure != 0) {
        char reason[96];
        tarei_os_error_text(failure, reason, sizeof reason);
        tarei_error_set(b->error, TARE_E_READ, number, TARE_NO_OFFSET, "cannot be examined: %s",
                        reason);
        b->error->system_error = failure;
        return TARE_E_READ;
    }
    if (number == 0) b->image->mode = now.mode;
    return tarei_source_same(&now, opened) ? TARE_OK : fail_changed(b, number);
}

/* Names of one file are not kept: whoever opens it knows its path. */
static void add_shard(build *b, uint32_t number, tare_string name,
                      const tarei_os_identity *identity)
{
    tarei_prebuilt_shard *to = &b->shards[number];
    to->size = identity->size;
    to->modified_s = identity->modified_s;
    to->modified_ns = identity->modified_ns;
    to->name = (uint32_t)b->shard_names_size;
    to->name_size = (uint32_t)name.size;
    if (name.size != 0) memcpy(b->shard_names + b->shard_names_size, name.data, name.size);
    b->shard_names_size += name.size;
    b->shard_names[b->shard_names_size++] = 0;
}

static tare_status digest_listing(build *b, uint32_t number)
{
    const char *path = b->model->listing_path;
    tarei_source source;
    tare_status status =
        tarei_source_file_open(&source, TAREI_OS_CWD, path, TARE_NO_SHARD, b->error);
    if (status != TARE_OK) return status;
    const tarei_os_identity *opened = &b->model->listing_identity;
    if (!tarei_source_same(&source.identity, opened)) status = fail_changed(b, TARE_NO_SHARD);
    if (status == TARE_OK)
        status =
            digest_file(b, &source, TARE_NO_SHARD, opened->size, opened, &b->shards[number].digest);
    tarei_source_close(&source);
    return status == TARE_OK ? TARE_OK
                             : tarei_error_prefix(b->error, (tare_string){path, strlen(path)});
}

static tare_string listing_name(const tare_model *model)
{
    const char *name = model->listing_path != NULL ? tarei_folder_leaf(model->listing_path) : "";
    return (tare_string){name, strlen(name)};
}

static tare_status build_shards(build *b)
{
    const tare_model *model = b->model;
    tarei_arena *arena = &b->image->arena;
    bool one = model->origin == TAREI_ORIGIN_FILE, listed = model->origin == TAREI_ORIGIN_LISTED;
    uint32_t count = model->shard_count, files = count + listed;
    uint64_t size = (uint64_t)files * sizeof *b->shards, names_size = listing_name(model).size + 2;
    for (uint32_t i = 0; i < count; i++) names_size += one ? 1 : model->shards[i].name.size + 1;
    b->shards = tarei_arena_take(arena, size, TAREI_PREBUILT_UNIT);
    b->shard_names = tarei_arena_take(arena, names_size, 1);
    if (b->shards == NULL || b->shard_names == NULL) return tarei_error_memory(b->error);
    memset(b->shards, 0, (size_t)size);
    for (uint32_t i = 0; i < count; i++) {
        const tarei_shard *shard = &model->shards[i];
        const tarei_source *source = tarei_model_source(model, i, b->error);
        if (source == NULL) return b->error->status;
        tarei_os_identity identity = source->identity;
        identity.size = source->size;
        add_shard(b, i, one ? (tare_string){"", 0} : shard->name, &identity);
        b->shards[i].data_offset = shard->data_offset;
        b->shards[i].padding = shard->padding;
        b->shards[i].format = shard->format;
        tare_status status = digest_file(b, source, i, tarei_prebuilt_header_end(&b->shards[i]),
                                         &identity, &b->shards[i].digest);
        if (status != TARE_OK) return tarei_error_prefix(b->error, shard->name);
    }
    set_section(b, TAREI_SECTION_SHARDS, b->shards, size);
    if (listed) add_shard(b, count, listing_name(model), &model->listing_identity);
    set_section(b, TAREI_SECTION_SHARD_NAMES, b->shard_names, b->shard_names_size);
    return listed ? digest_listing(b, count) : TARE_OK;
}

/* From the digests alone: what is copied, or touched, hashes alike. */
static uint64_t choose_seed(const build *b)
{
    uint64_t seed = 0;
    for (uint32_t i = 0; i < b->model->shard_count; i++)
        seed = XXH3_64bits_withSeed(&b->shards[i].digest, sizeof b->shards[i].digest, seed);
    return seed;
}

/* ------------------------------------------------------------------------------------------------
 * Tensors
 */

static tare_status build_layouts(build *b, tarei_record *records)
{
    tarei_parsed *parsed = &b->image->parsed;
    const tare_model *model = b->model;
    for (uint32_t i = 0; i < model->tensors.count; i++) {
        uint64_t shape[TAREI_PREBUILT_RANK_MAX];
        const tarei_record *record = &model->tensors.records[i];
        tarei_look look;
        tare_status status = tarei_bytes_look(model, record, shape, &look, b->error);
        if (status != TARE_OK) return status;
        if (look.rank > TAREI_PREBUILT_RANK_MAX)
            return tarei_bytes_refuse(model, record, TARE_E_LIMIT,
                                      "it has more than 64 dimensions, which no index file holds",
                                      b->error);
        bool room = tarei_parsed_layout_begin(parsed);
        for (uint32_t d = 0; d < look.rank && room; d++)
            room = tarei_parsed_layout_push(parsed, look.shape[d]);
        if (!room) return tarei_error_memory(b->error);
        records[i].where = tarei_record_where(look.shard, look.offset);
        records[i].layout = tarei_parsed_layout_intern(parsed, look.dtype, look.size);
    }
    set_section(b, TAREI_SECTION_LAYOUTS, parsed->layouts.data, parsed->layout_at);
    return TARE_OK;
}

/* Names and values lie one behind the other; an index file that lies may have many in one place. */
static tare_status check_text(build *b, uint64_t size, uint64_t most)
{
    if (size <= most) return TARE_OK;
    return tarei_error_set(b->error, TARE_E_PREBUILT, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "its index file is damaged: names or values are longer than the text "
                           "that they stand in");
}

/* Names of a model from an index file may have grown since they were measured. */
static bool take_size(uint64_t *left, tare_string name)
{
    if (name.size > *left) return false;
    *left -= name.size;
    return true;
}

static tare_status fail_changing(build *b)
{
    return tarei_error_set(b->error, TARE_E_CHANGED, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "its index file changed meanwhile");
}

static tarei_record *take_records(build *b, tarei_buffer *buffer, const tarei_names *from,
                                  uint64_t *name_size)
{
    uint64_t size = ((uint64_t)from->count + 1) * sizeof(tarei_record);
    if (!tarei_buffer_reserve(buffer, b->memory, size)) return NULL;
    memset(buffer->data, 0, (size_t)size);
    *name_size = 0;
    for (uint32_t i = 0; i < from->count; i++)
        *name_size += tarei_names_get(from, &from->records[i]).size;
    return buffer->data;
}

static void set_table(build *b, const tarei_index *index)
{
    tarei_prebuilt_head *head = &b->image->head;
    const void *bytes = index->sorted != NULL ? (const void *)index->sorted : index->lines;
    head->reach = index->reach;
    head->reseeds = index->reseeds;
    head->seed = index->seed.seed;
    head->table = index->sorted != NULL         ? TAREI_TABLE_SORTED
                  : tarei_index_is_small(index) ? TAREI_TABLE_SMALL
                                                : TAREI_TABLE_LARGE;
    if (head->table != TAREI_TABLE_SORTED)
        head->line_count = tarei_index_is_small(index)
                               ? index->range / (uint32_t)sizeof(tarei_line) + 1
                               : index->range;
    set_section(b, TAREI_SECTION_TABLE, bytes, index->size);
}

static void set_names(build *b, const tarei_names *names, const tarei_names_builder *builder)
{
    uint64_t groups = ((uint64_t)names->count + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
    uint64_t wide = (groups + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
    set_section(b, TAREI_SECTION_RECORDS, names->records,
                ((uint64_t)names->count + 1) * sizeof(tarei_record));
    set_section(b, TAREI_SECTION_TEXT, names->text, names->text_size);
    set_section(b, TAREI_SECTION_PREFIXES, names->prefixes,
                builder->prefixes.count * sizeof(tarei_part));
    set_section(b, TAREI_SECTION_SUFFIXES, names->suffixes,
                builder->suffixes.count * sizeof(tarei_part));
    set_section(b, TAREI_SECTION_COMMONS, names->commons, groups * sizeof(uint32_t));
    set_section(b, TAREI_SECTION_WIDE_COMMONS, names->wide_commons, wide * sizeof(uint32_t));
}

static tare_status build_tensors(build *b)
{
    const tarei_names *from = &b->model->tensors;
    tarei_arena *arena = &b->image->arena;
    tarei_names *names = tarei_arena_take(arena, sizeof *names, _Alignof(tarei_names));
    uint64_t name_size;
    tarei_record *records = take_records(b, &b->image->records, from, &name_size);
    if (names == NULL || records == NULL) return tarei_error_memory(b->error);
    memset(names, 0, sizeof *names);
    tare_status status = check_text(b, name_size, from->text_size);
    if (status == TARE_OK) status = build_layouts(b, records);
    if (status != TARE_OK) return status;
    tarei_names_builder builder;
    tarei_index_builder table;
    tarei_index index;
    if (!tarei_names_begin(&builder, names, arena, records, from->count, name_size))
        return tarei_error_memory(b->error);
    status =
        tarei_index_begin(&table, &index, names, choose_seed(b), TAREI_DUPLICATES_REFUSE, arena);
    for (uint32_t i = 0; i < from->count && status == TARE_OK; i++) {
        tare_string name = tarei_names_get(from, &from->records[i]);
        if (!take_size(&name_size, name)) {
            status = fail_changing(b);
            break;
        }
        tarei_pair pair = tarei_names_add(&builder, i, name.data, (uint32_t)name.size, false);
        status =
            tarei_index_add(&table, i, names->text + records[i].name, (uint32_t)name.size, pair);
    }
    bool whole = tarei_names_end(&builder, arena);
    if (status == TARE_OK && !whole) status = TARE_E_MEMORY;
    status = tarei_index_end(&table, status);
    if (status == TARE_E_MEMORY) return tarei_error_memory(b->error);
    if (status ==
        TARE_E_DUPLICATE) /* of an index file that lies: a model that was read has none twice */
        return tarei_error_set(b->error, TARE_E_PREBUILT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "its index file is damaged: a name is there twice");
    if (status != TARE_OK) return status;
    set_table(b, &index);
    set_names(b, names, &builder);
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Metadata
 */

/* Each value with a terminator, whatever it is. */
static tare_status build_values(build *b)
{
    tarei_prebuilt_image *image = b->image;
    const tarei_prebuilt *prebuilt = b->model->prebuilt;
    uint64_t most = prebuilt != NULL ? prebuilt->value_bytes_size : UINT64_MAX;
    uint32_t count = b->model->metadata.count;
    for (uint32_t i = 0; i < count; i++) {
        tare_value value = tare_metadata_value_at(b->model, i);
        tare_status status = check_text(b, image->value_bytes.size + value.size, most);
        if (status != TARE_OK) return status;
        if (!tarei_buffer_reserve(&image->values, b->memory, sizeof(tarei_prebuilt_value)) ||
            !tarei_buffer_reserve(&image->value_bytes, b->memory, (uint64_t)value.size + 1))
            return tarei_error_memory(b->error);
        tarei_prebuilt_value *to = (void *)((char *)image->values.data + image->values.size);
        char *bytes = (char *)image->value_bytes.data + image->value_bytes.size;
        *to = (tarei_prebuilt_value){value.kind, value.item_kind, value.count,
                                     image->value_bytes.size, value.size};
        if (value.size != 0) memcpy(bytes, value.data, value.size);
        bytes[value.size] = 0;
        image->values.size += sizeof *to;
        image->value_bytes.size += (uint64_t)value.size + 1;
    }
    set_section(b, TAREI_SECTION_VALUES, image->values.data, image->values.size);
    set_section(b, TAREI_SECTION_VALUE_BYTES, image->value_bytes.data, image->value_bytes.size);
    return TARE_OK;
}

static tare_status build_keys(build *b)
{
    const tarei_names *from = &b->model->metadata;
    tarei_arena *arena = &b->image->arena;
    tarei_names *names = tarei_arena_take(arena, sizeof *names, _Alignof(tarei_names));
    uint64_t name_size;
    tarei_record *records = take_records(b, &b->image->keys, from, &name_size);
    if (names == NULL || records == NULL) return tarei_error_memory(b->error);
    memset(names, 0, sizeof *names);
    tare_status status = check_text(b, name_size, from->text_size);
    if (status != TARE_OK) return status;
    tarei_names_builder builder;
    if (!tarei_names_begin(&builder, names, arena, records, from->count, name_size))
        return tarei_error_memory(b->error);
    for (uint32_t i = 0; i < from->count; i++) {
        uint32_t shard;
        tare_string key;
        tare_metadata_at(b->model, i, &key, NULL, &shard);
        if (!take_size(&name_size, key)) {
            status = fail_changing(b);
            break;
        }
        records[i].where = tarei_record_where(shard != TARE_NO_SHARD ? shard : 0, 0);
        tarei_names_add(&builder, i, key.data, (uint32_t)key.size, false);
    }
    tarei_index index;
    uint32_t same[2];
    bool whole = tarei_names_end(&builder, arena);
    if (status == TARE_OK && !whole) status = tarei_error_memory(b->error);
    if (status == TARE_OK && tarei_index_build_sorted(&index, names, TAREI_DUPLICATES_KEEP_FIRST,
                                                      arena, same) != TARE_OK)
        status = tarei_error_memory(b->error);
    if (status != TARE_OK) return status;
    set_section(b, TAREI_SECTION_KEYS, records, ((uint64_t)from->count + 1) * sizeof(tarei_record));
    set_section(b, TAREI_SECTION_KEY_TEXT, names->text, names->text_size);
    set_section(b, TAREI_SECTION_KEY_ORDER, index.sorted, from->count * sizeof(uint32_t));
    return build_values(b);
}

/* ------------------------------------------------------------------------------------------------
 * All of it
 */

static void build_head(build *b)
{
    tarei_prebuilt_head *head = &b->image->head;
    memcpy(head->magic, TAREI_PREBUILT_MAGIC, sizeof head->magic);
    head->order = TAREI_PREBUILT_ORDER;
    head->version = TAREI_PREBUILT_VERSION;
    head->tensor_count = b->model->tensors.count;
    head->key_count = b->model->metadata.count;
    head->shard_count = b->model->shard_count;
    head->origin = b->model->origin;
    uint64_t at = sizeof *head;
    for (uint32_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        tarei_section *section = &head->sections[i];
        section->offset = at;
        section->digest = tarei_prebuilt_digest(b->image->sections[i], section->size);
        at = (at + section->size + TAREI_PREBUILT_UNIT - 1) & ~(uint64_t)(TAREI_PREBUILT_UNIT - 1);
    }
    head->file_size = at;
    head->digest = tarei_prebuilt_digest(head, offsetof(tarei_prebuilt_head, digest));
}

tare_status tarei_prebuilt_build(tarei_prebuilt_image *image, const tare_model *model,
                                 tarei_memory *memory, tare_error *error)
{
    build b = {.image = image, .model = model, .memory = memory, .error = error};
    memset(image, 0, sizeof *image);
    image->memory = memory;
    image->parsed.memory = memory;
    tarei_arena_init(&image->arena, memory);
    if (tarei_load_le32(&(uint32_t){1}) != 1)
        return tarei_error_set(error, TARE_E_UNSUPPORTED, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "index files are little-endian, this host is not");
    if (model->origin == TAREI_ORIGIN_NONE)
        return tarei_error_set(error, TARE_E_UNSUPPORTED, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "pairs and several files of a caller have no index file");
    tare_status status = build_shards(&b);
    if (status == TARE_OK) status = build_tensors(&b);
    if (status == TARE_OK) status = build_keys(&b);
    if (status == TARE_OK) build_head(&b);
    return status;
}

void tarei_prebuilt_free(tarei_prebuilt_image *image)
{
    if (image->memory == NULL) return;
    tarei_buffer_free(&image->records, image->memory);
    tarei_buffer_free(&image->keys, image->memory);
    tarei_buffer_free(&image->values, image->memory);
    tarei_buffer_free(&image->value_bytes, image->memory);
    tarei_buffer_free(&image->parsed.layouts, image->memory);
    tarei_arena_free(&image->arena);
}
