/* The conductor: from a path, bytes, pairs or a reader to a model. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "os.h"
#include "prebuilt.h"

#define HEADER_SIZE_MAX_DEFAULT TAREI_HEADER_SIZE_MAX
#define HEADER_SIZE_MAX_LIMIT UINT64_C(0x7FFFFFFF) /* places in a header are 32 bits wide */
#define ALIGNMENT_DEFAULT 64u

static tare_status fail_argument(tare_error *error, const char *what)
{
    return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET, "%s", what);
}

tare_status tarei_open_copy_options(void *to, size_t to_size, const void *from, tare_error *error)
{
    memset(to, 0, to_size);
    if (from == NULL) return TARE_OK;
    size_t size; /* every struct of options begins with it */
    memcpy(&size, from, sizeof size);
    if (size < sizeof size) return fail_argument(error, "options.struct_size is not set");
    const unsigned char *bytes = from;
    for (size_t i = to_size; i < size; i++)
        if (bytes[i] != 0)
            return fail_argument(error, "options hold something that this version lacks");
    memcpy(to, from, size < to_size ? size : to_size);
    return TARE_OK;
}

tare_status tarei_open_check_hooks(const tare_allocator *hooks, tare_error *error)
{
    if (hooks != NULL &&
        (hooks->struct_size < sizeof *hooks || hooks->allocate == NULL || hooks->release == NULL))
        return fail_argument(error, "options.allocator lacks struct_size or a function");
    return TARE_OK;
}

tare_status tarei_open_check_alignment(size_t *alignment, tare_error *error)
{
    if (*alignment == 0) *alignment = ALIGNMENT_DEFAULT;
    if (!tarei_check_is_power(*alignment) || *alignment > TAREI_ALIGNMENT_MAX)
        return fail_argument(error, "options.alignment is no power of two up to 2 MiB");
    return TARE_OK;
}

static tare_status options_copy(tare_options *to, const tare_options *from, tare_error *error)
{
    tare_status status = tarei_open_copy_options(to, sizeof *to, from, error);
    if (status != TARE_OK) return status;
    if (to->backing > TARE_BACKING_READ) return fail_argument(error, "options.backing");
    if ((to->flags & ~(TARE_PAIRS_KEEP_FIRST | TARE_SEED_FIXED | TARE_COPY_ON_WRITE)) != 0)
        return fail_argument(error, "options.flags");
    if (to->header_size_max == 0) to->header_size_max = HEADER_SIZE_MAX_DEFAULT;
    if (to->header_size_max > HEADER_SIZE_MAX_LIMIT)
        return fail_argument(error, "options.header_size_max is beyond 2^31-1");
    status = tarei_prebuilt_check_options(to, error);
    if (status == TARE_OK) status = tarei_open_check_alignment(&to->alignment, error);
    return status == TARE_OK ? tarei_open_check_hooks(to->allocator, error) : status;
}

/* A number that is not given, or beyond what the library can have, is that. Space for a name's
 * terminator, too, counts in 32 bits. */
static void take_limits(tarei_parsed *parsed, const tare_options *options)
{
    const uint64_t limits[TAREI_LIMITS][2] = {
        {options->tensor_count_max, TAREI_RECORD_COUNT_MAX - 1},
        {options->rank_max, UINT32_MAX},
        {options->name_size_max, UINT32_MAX - 1},
        {options->metadata_size_max, UINT64_MAX},
    };
    for (int i = 0; i < TAREI_LIMITS; i++) /* 0 wraps round */
        parsed->limits[i] = limits[i][limits[i][0] - 1 >= limits[i][1]];
}

static tare_status opening_begin(tarei_opening *opening, const tare_options *options,
                                 tare_model **out, tare_error *error)
{
    memset(opening, 0, sizeof *opening);
    opening->error = error;
    if (out == NULL) return fail_argument(error, "out is NULL");
    *out = NULL;
    tare_status status = options_copy(&opening->options, options, error);
    if (status != TARE_OK) return status;
    tarei_memory memory;
    tarei_memory_init(&memory, opening->options.allocator);
    tare_model *model = tarei_memory_take(&memory, sizeof *model, TAREI_BUFFER_ALIGNMENT);
    if (model == NULL) return tarei_error_memory(error);
    memset(model, 0, sizeof *model);
    model->memory = memory;
    tarei_arena_init(&model->arena, &model->memory);
    model->parsed.memory = &model->memory;
    take_limits(&model->parsed, &opening->options);
    opening->model = model;
    return TARE_OK;
}

const char *tarei_open_join(tarei_opening *opening, const char *folder, const char *name,
                            const char *ending)
{
    size_t folder_size = strlen(folder), size = folder_size + strlen(name) + strlen(ending) + 2;
    char *path = tarei_arena_take(&opening->model->arena, size, 1);
    bool slash = folder_size != 0 && folder[folder_size - 1] != '/';
    if (path != NULL) snprintf(path, size, "%s%s%s%s", folder, slash ? "/" : "", name, ending);
    return path;
}

tare_status tarei_open_paths(tarei_opening *opening, const char *folder, const char *name)
{
    tare_model *model = opening->model;
    bool is_file = model->origin == TAREI_ORIGIN_FILE;
    model->index_path = tarei_open_join(opening, folder, is_file ? name : "",
                                        is_file ? TAREI_INDEX_ENDING : TAREI_INDEX_NAME);
    if (model->index_path == NULL) return tarei_error_memory(opening->error);
    if (model->origin != TAREI_ORIGIN_LISTED) return TARE_OK;
    model->listing_path = tarei_open_join(opening, folder, name, "");
    return model->listing_path != NULL ? TARE_OK : tarei_error_memory(opening->error);
}

static void give_headers(const tarei_opening *opening)
{
    tarei_memory_give(&opening->model->memory, opening->headers,
                      opening->header_count * sizeof *opening->headers, TAREI_BUFFER_ALIGNMENT);
}

tare_status tarei_open_expect(tarei_opening *opening, uint32_t shard_count)
{
    tare_model *model = opening->model;
    uint64_t shards_size = shard_count * sizeof(tarei_shard);
    uint64_t headers_size = shard_count * sizeof(tarei_header);
    tarei_shard *shards = tarei_arena_take(&model->arena, shards_size, _Alignof(tarei_shard));
    tarei_header *headers = tarei_memory_take(&model->memory, headers_size, TAREI_BUFFER_ALIGNMENT);
    if (shards == NULL || headers == NULL) {
        tarei_memory_give(&model->memory, headers, headers_size, TAREI_BUFFER_ALIGNMENT);
        return tarei_error_memory(opening->error);
    }
    memset(headers, 0, (size_t)headers_size);
    if (opening->headers != NULL) {
        memcpy(shards, model->shards, model->shard_count * sizeof *shards);
        memcpy(headers, opening->headers, model->shard_count * sizeof *headers);
    }
    give_headers(opening);
    model->shards = shards;
    opening->headers = headers;
    opening->header_count = shard_count;
    return TARE_OK;
}

tare_status tarei_open_map(tarei_opening *opening, uint32_t number)
{
    tarei_shard *shard = &opening->model->shards[number];
    tare_status status = TARE_OK;
    uint32_t backing = opening->options.backing;
    shard->source.copy_on_write = (opening->options.flags & TARE_COPY_ON_WRITE) != 0;
    if (shard->source.descriptor >= 0 && backing != TARE_BACKING_READ) {
        status = tarei_source_map(&shard->source, shard->name.data, number, opening->error);
        if (status == TARE_E_MAP && backing == TARE_BACKING_AUTO) status = TARE_OK;
    }
    shard->bytes = shard->source.bytes;
    shard->source.head = NULL; /* lent until the model is open */
    shard->source.head_size = 0;
    return status;
}

tare_status tarei_open_shard(tarei_opening *opening, tarei_source *source, tare_string name)
{
    tare_model *model = opening->model;
    uint32_t number = model->shard_count++;
    tarei_shard *shard = &model->shards[number];
    memset(shard, 0, sizeof *shard);
    shard->source = *source;
    shard->name = name;
    tare_status status = tarei_header_read(opening, number);
    if (status != TARE_OK) return tarei_error_prefix(opening->error, name);
    return tarei_open_map(opening, number);
}

/* ------------------------------------------------------------------------------------------------
 * From raw records to names and an index
 */

static tare_status fail_duplicate(tarei_opening *opening, const tarei_names *names,
                                  const char *what, const uint32_t *places, const uint32_t same[2])
{
    const tare_model *model = opening->model;
    /* Whoever says that there are two says which. NOLINTNEXTLINE(clang-analyzer-core.*) */
    const tarei_record *first = &names->records[same[0]], *second = &names->records[same[1]];
    uint32_t shards[2] = {tarei_record_shard(first), tarei_record_shard(second)};
    tare_string name = tarei_names_at(names, second);
    uint64_t offset = TARE_NO_OFFSET;
    if (opening->pairs == NULL) offset = places[same[1]] + opening->headers[shards[1]].names_before;
    tarei_quoted quoted = tarei_quote(name.data, name.size);
    tare_string other = model->shards[shards[0]].name;
    if (shards[0] == shards[1])
        tarei_error_set(opening->error, TARE_E_DUPLICATE, shards[1], offset, "%s %s is there twice",
                        what, quoted.text);
    else
        tarei_error_set(opening->error, TARE_E_DUPLICATE, shards[1], offset, "%s %s is in %s too",
                        what, quoted.text, tarei_quote(other.data, other.size).text);
    return tarei_error_prefix(opening->error, model->shards[shards[1]].name);
}

/*
 * Stores the name of each raw record and, where there is a builder, has it indexed while it is in
 * the cache. sizes[i] is the size of name i, and becomes where in its header it stood.
 */
static tare_status store_names(tarei_opening *opening, tarei_names *names,
                               tarei_names_builder *builder, uint32_t *sizes,
                               tarei_index_builder *index)
{
    tare_status status = TARE_OK;
    tarei_record *record = names->records;
    for (uint32_t i = 0; i < names->count && status == TARE_OK; i++, record++) {
        const void *name;
        uint32_t size;
        bool escaped = false;
        if (opening->pairs != NULL) {
            name = opening->pairs[i].name;
            size = (uint32_t)opening->pairs[i].name_size;
        } else {
            name = opening->headers[tarei_record_shard(record)].text + record->name;
            size = sizes[i] & ~TAREI_NAME_ESCAPED;
            escaped = size != sizes[i];
            sizes[i] = record->name;
        }
        tarei_pair pair = tarei_names_add(builder, i, name, size, escaped);
        if (index != NULL)
            status = tarei_index_add(index, i, names->text + record->name, size, pair);
    }
    return status;
}

static tare_status names_begin(tarei_opening *opening, tarei_names_builder *builder,
                               tarei_names *names, const tarei_buffer *records, uint64_t name_size)
{
    tarei_arena *arena = &opening->model->arena;
    uint32_t count = names->count;
    if (name_size + count > TAREI_NAMES_SIZE_MAX) /* both far below 2^63 */
        return tarei_error_set(opening->error, TARE_E_LIMIT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "all names together take more than 4 GiB");
    if (!tarei_names_begin(builder, names, arena, records->data, count, name_size))
        return tarei_error_memory(opening->error);
    return TARE_OK;
}

/*
 * Names and index of one set of raw records. Metadata of several shards goes without a table: keys
 * that each of them has are many times there, and none of them twice in one shard. Few as they are,
 * they are searched in order.
 */
static tare_status finish_names(tarei_opening *opening, tarei_names *names, tarei_index *index,
                                const tarei_buffer *records, uint32_t *sizes, uint64_t name_size,
                                const char *what, bool in_order)
{
    tarei_arena *arena = &opening->model->arena;
    uint32_t flags = opening->options.flags;
    uint64_t seed = flags & TARE_SEED_FIXED ? opening->options.seed : tarei_os_random();
    tarei_duplicates duplicates = opening->pairs != NULL && (flags & TARE_PAIRS_KEEP_FIRST)
                                      ? TAREI_DUPLICATES_KEEP_FIRST
                                      : TAREI_DUPLICATES_REFUSE;
    tarei_names_builder names_builder;
    tarei_index_builder builder;
    tare_status status = TARE_OK;
    bool begun = false;
    names->records = records->data;
    names->count = (uint32_t)(records->size / sizeof(tarei_record));
    /* The table before the names: what making names takes and gives back then lies behind all that
     * is kept, where memory can be cut off. */
    if (!in_order) status = tarei_index_begin(&builder, index, names, seed, duplicates, arena);
    if (status == TARE_OK) {
        status = names_begin(opening, &names_builder, names, records, name_size);
        begun = status == TARE_OK;
    }
    if (status == TARE_OK)
        status = store_names(opening, names, &names_builder, sizes, in_order ? NULL : &builder);
    if (begun && !tarei_names_end(&names_builder, arena) && status == TARE_OK)
        status = TARE_E_MEMORY;
    if (!in_order)
        status = tarei_index_end(&builder, status);
    else if (status == TARE_OK)
        status = tarei_index_build_sorted(index, names, TAREI_DUPLICATES_REFUSE_IN_SHARD, arena,
                                          builder.same);
    if (status == TARE_E_MEMORY) tarei_error_memory(opening->error);
    if (status == TARE_E_DUPLICATE) fail_duplicate(opening, names, what, sizes, builder.same);
    return status;
}

static tare_status finish_metadata(tarei_opening *opening)
{
    tare_model *model = opening->model;
    tarei_parsed *parsed = &model->parsed;
    if (parsed->metadata.size == 0) return TARE_OK;
    tarei_buffer_trim(&parsed->metadata, &model->memory, sizeof(tarei_record));
    tarei_buffer_trim(&parsed->values, &model->memory, 0);
    if (!tarei_metadata_store(opening)) return tarei_error_memory(opening->error);
    return finish_names(opening, &model->metadata, &model->metadata_index, &parsed->metadata,
                        parsed->metadata_sizes.data, parsed->metadata_name_size, "metadata",
                        model->shard_count > 1);
}

tare_status tarei_open_finish(tarei_opening *opening)
{
    tare_model *model = opening->model;
    tarei_parsed *parsed = &model->parsed;
    /* Names need one record more than there are; without any header nobody made room for it. */
    if (!tarei_buffer_reserve(&parsed->records, parsed->memory, sizeof(tarei_record)))
        return tarei_error_memory(opening->error);
    tarei_buffer_trim(&parsed->records, parsed->memory, sizeof(tarei_record));
    tarei_buffer_trim(&parsed->layouts, parsed->memory, 0);
    tare_status status = finish_names(opening, &model->tensors, &model->index, &parsed->records,
                                      parsed->sizes.data, parsed->name_size, "tensor", false);
    if (status == TARE_OK) status = finish_metadata(opening);
    model->layouts = parsed->layouts.data;
    return status;
}

/* What tare_data takes the short way for. */
static void point_resident(tare_model *model)
{
    if (model->prebuilt != NULL) return;
    model->resident = model->shards;
    for (uint32_t i = 0; i < model->shard_count; i++)
        if (model->shards[i].bytes == NULL) model->resident = NULL;
}

/* Gives back what only opening needed, and the model too if it failed. */
static tare_status opening_end(tarei_opening *opening, tare_status status, tare_model **out)
{
    tare_model *model = opening->model;
    if (model == NULL) return status;
    tarei_buffer_free(&model->parsed.sizes, &model->memory);
    tarei_buffer_free(&model->parsed.metadata_sizes, &model->memory);
    for (uint32_t i = 0; i < opening->header_count; i++)
        tarei_buffer_free(&opening->headers[i].buffer, &model->memory);
    give_headers(opening);
    if (status == TARE_OK) {
        point_resident(model);
        *out = model;
        tarei_error_clear(opening->error);
    } else {
        tare_close(model);
    }
    return status;
}

static tare_status open_single(tarei_opening *opening, const tarei_folder *folder,
                               tarei_source *source, tare_string name)
{
    const tarei_place place = {TAREI_ORIGIN_FILE, folder, name.data, source};
    bool used;
    tare_status status = tarei_prebuilt_open(opening, &place, &used);
    if (used) return status;
    if (status == TARE_OK) status = tarei_open_expect(opening, 1);
    if (status != TARE_OK) {
        tarei_source_close(source);
        return status;
    }
    status = tarei_open_shard(opening, source, name);
    return status == TARE_OK ? tarei_open_finish(opening) : status;
}

tare_status tarei_open_file(tarei_opening *opening, const tarei_folder *folder, const char *path)
{
    tarei_source source;
    size_t size = strlen(path);
    char *name = tarei_arena_take(&opening->model->arena, size + 1, 1);
    if (name == NULL) return tarei_error_memory(opening->error);
    memcpy(name, path, size + 1);
    tare_status status = tarei_folder_find(folder, path, TARE_NO_SHARD, &source, opening->error);
    if (status != TARE_OK) return status;
    return open_single(opening, folder, &source, (tare_string){name, size});
}

/* ------------------------------------------------------------------------------------------------
 * The public ways in
 */

tare_status tare_open(const char *path, const tare_options *options, tare_model **out,
                      tare_error *error)
{
    tare_error unused;
    tarei_opening opening;
    tare_status status = opening_begin(&opening, options, out, error != NULL ? error : &unused);
    if (status == TARE_OK) {
        if (path == NULL)
            status = fail_argument(opening.error, "path is NULL");
        else
            status = tarei_shards_open(&opening, path);
    }
    return opening_end(&opening, status, out);
}

tare_status tare_open_bytes(const void *bytes, size_t size, const tare_options *options,
                            tare_model **out, tare_error *error)
{
    tare_error unused;
    tarei_opening opening;
    tare_status status = opening_begin(&opening, options, out, error != NULL ? error : &unused);
    if (status == TARE_OK && bytes == NULL && size != 0)
        status = fail_argument(opening.error, "bytes is NULL");
    if (status == TARE_OK) {
        tarei_source source;
        const tarei_folder folder = tarei_folder_current();
        tarei_source_bytes(&source, bytes, size);
        status = open_single(&opening, &folder, &source, (tare_string){"", 0});
    }
    return opening_end(&opening, status, out);
}

tare_status tare_open_reader(const tare_reader *reader, const tare_options *options,
                             tare_model **out, tare_error *error)
{
    tare_error unused;
    tarei_opening opening;
    tare_status status = opening_begin(&opening, options, out, error != NULL ? error : &unused);
    if (status == TARE_OK &&
        (reader == NULL || reader->struct_size < sizeof *reader || reader->read_at == NULL))
        status = fail_argument(opening.error, "reader lacks struct_size or read_at");
    if (status == TARE_OK) {
        tarei_source source;
        const tarei_folder folder = tarei_folder_current();
        tarei_source_reader(&source, reader);
        status = open_single(&opening, &folder, &source, (tare_string){"", 0});
    }
    return opening_end(&opening, status, out);
}

tare_status tare_open_files(const tare_file *files, size_t count, const tare_options *options,
                            tare_model **out, tare_error *error)
{
    tare_error unused;
    tarei_opening opening;
    tare_status status = opening_begin(&opening, options, out, error != NULL ? error : &unused);
    if (status == TARE_OK && files == NULL && count != 0)
        status = fail_argument(opening.error, "files is NULL");
    if (status == TARE_OK) status = tarei_shards_open_files(&opening, files, count);
    return opening_end(&opening, status, out);
}

tare_status tare_list_files(const tare_file *file, const tare_options *options,
                            tare_file_visit visit, void *context, tare_error *error)
{
    tare_error unused;
    tare_model *model;
    tarei_opening opening;
    tare_status status = opening_begin(&opening, options, &model, error != NULL ? error : &unused);
    if (status == TARE_OK && (file == NULL || visit == NULL))
        status = fail_argument(opening.error, "file or visit is NULL");
    if (status == TARE_OK) status = tarei_shards_list(&opening, file, visit, context);
    status = opening_end(&opening, status, &model);
    tare_close(model);
    return status;
}

tare_status tare_open_pairs(const tare_pair *pairs, size_t count, const tare_options *options,
                            tare_model **out, tare_error *error)
{
    tare_error unused;
    tarei_opening opening;
    tare_status status = opening_begin(&opening, options, out, error != NULL ? error : &unused);
    if (status == TARE_OK && pairs == NULL && count != 0)
        status = fail_argument(opening.error, "pairs is NULL");
    if (status == TARE_OK) status = tarei_open_expect(&opening, 1);
    if (status == TARE_OK) status = tarei_pairs_copy(&opening, pairs, count);
    if (status == TARE_OK) status = tarei_open_finish(&opening);
    return opening_end(&opening, status, out);
}

void tare_close(tare_model *model)
{
    if (model == NULL) return;
    for (uint32_t i = 0; i < model->shard_count; i++) {
        tarei_source_close(&model->shards[i].source);
        tarei_buffer_free(&model->shards[i].header, &model->memory);
    }
    tarei_prebuilt_close(model);
    tarei_buffer_free(&model->parsed.records, &model->memory);
    tarei_buffer_free(&model->parsed.metadata, &model->memory);
    tarei_buffer_free(&model->parsed.values, &model->memory);
    tarei_buffer_free(&model->parsed.layouts, &model->memory);
    tarei_arena_free(&model->arena);
    tarei_memory memory = model->memory;
    tarei_memory_give(&memory, model, sizeof *model, TAREI_BUFFER_ALIGNMENT);
}
