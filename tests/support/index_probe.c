#define _XOPEN_SOURCE 700 /* posix_memalign */
#include "index_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "temp_files.h"

enum { SECTIONS_AT = 64, SECTION_SIZE = 24, DIGEST_AT = 424, HEAD_SIZE = 448, STRING_MAX = 64 };

static void need(int condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "index_probe: %s\n", what);
    abort();
}

static uint64_t load(const index_image *image, size_t at)
{
    uint64_t value;
    memcpy(&value, image->bytes + at, sizeof value);
    return value;
}

index_image index_copy(const void *bytes, size_t size)
{
    void *copy;
    need(posix_memalign(&copy, 64, size != 0 ? size : 1) == 0, "no memory");
    if (size != 0) memcpy(copy, bytes, size);
    return (index_image){copy, size};
}

index_image index_make(const tare_model *model, const char *path)
{
    size_t size;
    tare_error error;
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    options.flags = TARE_SAVE_REPLACE;
    tare_status status = tare_index_save(model, path, &options, &error);
    need(status == TARE_OK, error.message);
    void *bytes = temp_read(path, &size);
    index_image image = index_copy(bytes, size);
    free(bytes);
    return image;
}

void index_free(index_image *image)
{
    free(image->bytes);
    *image = (index_image){NULL, 0};
}

uint64_t index_section_offset(const index_image *image, unsigned section)
{
    return load(image, SECTIONS_AT + section * SECTION_SIZE);
}

uint64_t index_section_size(const index_image *image, unsigned section)
{
    return load(image, SECTIONS_AT + section * SECTION_SIZE + 8);
}

void index_seal(index_image *image)
{
    if (image->size < HEAD_SIZE) return;
    for (unsigned i = 0; i < INDEX_SECTION_COUNT; i++) {
        uint64_t offset = index_section_offset(image, i), size = index_section_size(image, i);
        if (offset > image->size || size > image->size - offset) continue;
        uint64_t digest = XXH3_64bits(image->bytes + offset, (size_t)size);
        memcpy(image->bytes + SECTIONS_AT + i * SECTION_SIZE + 16, &digest, sizeof digest);
    }
    uint64_t digest = XXH3_64bits(image->bytes, DIGEST_AT);
    memcpy(image->bytes + DIGEST_AT, &digest, sizeof digest);
}

/* ------------------------------------------------------------------------------------------------
 * Using a model
 */

static volatile uint64_t seen; /* so that no look at a byte is left out */

static void look(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) sum += at[i];
    seen += sum;
}

static void use_name(const tare_model *model, tare_string name)
{
    need(name.data != NULL && name.data[name.size] == 0, "a name without an end");
    look(name.data, name.size);
    const tare_tensor *found = tare_find(model, name.data, name.size);
    tare_key key = tare_key_make(model, name.data, name.size);
    need(tare_find_key(model, &key) == found, "a key finds another tensor");
    need(found == NULL || tare_index_of(model, found) < tare_count(model), "no tensor is found");
    const tare_tensor *many;
    need(tare_find_many(model, &name, 1, &many) == (many != NULL) && many == found,
         "many find another tensor");
}

static void use_prefix(const tare_model *model, tare_string prefix)
{
    tare_range range = tare_prefix(model, prefix.data, prefix.size);
    size_t count = 0;
    for (const tare_tensor *t; (t = tare_next(model, &range)) != NULL; count++)
        need(tare_index_of(model, t) < tare_count(model), "no tensor has that prefix");
    need(count <= tare_count(model), "more tensors have a prefix than there are");
}

/* Whether its bytes could be had. */
static int use_tensor(const tare_model *model, const tare_tensor *tensor)
{
    tare_error error;
    tare_digest digest;
    tare_info info = tare_describe(model, tensor);
    need(info.shape != NULL && info.name != NULL, "facts without a shape or name");
    need(info.rank <= 64, "a rank beyond 64");
    look(info.shape, info.rank * sizeof *info.shape);
    need(tare_size(model, tensor) == info.size, "another size");
    use_name(model, tare_name(model, tensor));
    const uint8_t *data = tare_data(model, tensor);
    tare_status status = tare_ready(model, tensor, &error);
    need(status == error.status, "an error of another status");
    need(data == NULL || status == TARE_OK, "bytes of a tensor that is not there");
    if (data != NULL) look(data, (size_t)info.size);
    if (status != TARE_OK) return 0;
    tare_shard_info shard = tare_shard_at(model, info.shard);
    need(info.size == 0 || (info.offset <= shard.size && info.size <= shard.size - info.offset),
         "bytes beyond the shard");
    uint8_t *target = malloc((size_t)info.size + 1);
    need(target != NULL, "no memory");
    need(tare_read(model, tensor, target, (size_t)info.size, &error) == TARE_OK, error.message);
    need(data == NULL || memcmp(data, target, (size_t)info.size) == 0, "other bytes are read");
    if (info.rank != 0 && info.shape[0] > 1) { /* the last of the slowest dimension */
        uint64_t start[64] = {info.shape[0] - 1}, size;
        if (tare_slice_size(model, tensor, start, NULL, &size, &error) == TARE_OK) {
            need(size <= info.size, "a slice larger than its tensor");
            need(tare_read_slice(model, tensor, start, NULL, target, (size_t)size, &error) ==
                     TARE_OK,
                 error.message);
        }
    }
    free(target);
    need(tare_hash(model, tensor, &digest, &error) == TARE_OK, error.message);
    return 1;
}

static void use_value(tare_value value)
{
    tare_value item;
    if (value.kind == 0) return;
    look(value.data, value.size);
    if (value.kind == TARE_KIND_STRING)
        need(((const char *)value.data)[value.size] == 0, "a string without an end");
    while (tare_value_next(&value, &item)) look(item.data, item.size);
    uint64_t number;
    double real;
    int truth;
    tare_value_u64(value, &number);
    tare_value_f64(value, &real);
    tare_value_bool(value, &truth);
}

static void use_metadata(const tare_model *model)
{
    tare_string key, text;
    tare_error error;
    uint32_t shard;
    uint64_t number;
    for (size_t i = 0; i < tare_metadata_count(model); i++) {
        need(tare_metadata_at(model, i, &key, &text, &shard) == 1, "no entry");
        need(shard == TARE_NO_SHARD || shard < tare_shard_count(model), "no such shard");
        need(key.data != NULL && key.data[key.size] == 0, "a key without an end");
        look(key.data, key.size);
        use_value(tare_metadata_value_at(model, i));
        use_value(tare_metadata_value(model, key.data, key.size));
        need(tare_metadata_u64(model, key.data, key.size, &number, &error) == error.status,
             "an error of another status");
    }
}

/* What is saved can be opened, and has all that could be read. */
static void use_save(const tare_model *model, size_t count, size_t readable)
{
    tare_error error;
    uint64_t size;
    tare_save_tensor *tensors = calloc(count + 1, sizeof *tensors);
    need(tensors != NULL, "no memory");
    for (size_t i = 0; i < count; i++)
        tensors[i] = (tare_save_tensor){.model = model, .tensor = tare_at(model, i)};
    tare_status status = tare_save_bytes(tensors, count, NULL, NULL, 0, &size, &error);
    need(status == error.status && (status == TARE_OK) == (size != 0), "no size, no word");
    if (status == TARE_OK) {
        tare_model *saved;
        uint8_t *target = malloc((size_t)size);
        need(target != NULL && readable == count, "bytes that cannot be read are saved");
        need(tare_save_bytes(tensors, count, NULL, target, (size_t)size, NULL, &error) == TARE_OK,
             error.message);
        need(tare_open_bytes(target, (size_t)size, NULL, &saved, &error) == TARE_OK, error.message);
        need(tare_count(saved) == count, "fewer tensors are saved");
        tare_close(saved);
        free(target);
    }
    free(tensors);
}

size_t index_use_model(const tare_model *model)
{
    size_t readable = 0, count = tare_count(model);
    tare_error error;
    tare_block *block;
    for (size_t i = 0; i < count; i++) readable += (size_t)use_tensor(model, tare_at(model, i));
    need(tare_at(model, count) == NULL, "a tensor behind the last");
    for (size_t i = 0; i < count && i < 8; i++) {
        tare_string name = tare_name(model, tare_at(model, i));
        if (name.size > 2) name.size = 2;
        use_prefix(model, name);
    }
    use_prefix(model, (tare_string){"", 0});
    use_name(model, (tare_string){"no such name, but long enough", 29});
    use_name(model, (tare_string){"", 0});
    use_metadata(model);
    for (size_t i = 0; i < tare_shard_count(model); i++) {
        tare_shard_info shard = tare_shard_at(model, i);
        look(shard.name.data, shard.name.size);
    }
    tare_status status = tare_load(model, NULL, 0, NULL, &block, &error);
    need(status == error.status && (status == TARE_OK) == (block != NULL), "a load without a word");
    tare_block_close(block);
    need((status == TARE_OK) == (readable == count), "a load of what cannot be read, or none");
    tare_advise(model, NULL, 0, TARE_ADVISE_WILL_NEED, &error);
    use_save(model, count, readable);
    return readable;
}

static tare_status open_model(const tare_file *files, size_t count, const tare_options *options,
                              tare_model **model, tare_error *error)
{
    if (count != 1) return tare_open_files(files, count, options, model, error);
    return tare_open_bytes(files->bytes, files->size, options, model, error);
}

tare_status index_use_files(const index_image *image, const tare_file *files, size_t count)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image->bytes;
    options.index_size = image->size;
    tare_model *opened;
    tare_error error;
    tare_status status = open_model(files, count, &options, &opened, &error);
    need(status == error.status && (status == TARE_OK) == (opened != NULL), "no model, no word");
    if (opened != NULL) index_use_model(opened);
    tare_close(opened);
    options.index = TARE_INDEX_AUTO; /* never fails for the index's sake */
    need(open_model(files, count, &options, &opened, &error) == TARE_OK, error.message);
    need((tare_index_status(opened, &error) == TARE_OK) == (status == TARE_OK), "another verdict");
    tare_close(opened);
    return status;
}

/* Each section's first record becomes its last one. */
static void move_records(const index_image *image)
{
    enum { RECORD_SIZE = 16 };
    for (unsigned i = 0; i < INDEX_SECTION_COUNT; i++) {
        uint8_t first[RECORD_SIZE], *bytes = image->bytes + index_section_offset(image, i);
        size_t size = (size_t)index_section_size(image, i);
        if (size <= RECORD_SIZE) continue;
        memcpy(first, bytes, RECORD_SIZE);
        memmove(bytes, bytes + RECORD_SIZE, size - RECORD_SIZE);
        memcpy(bytes + size - RECORD_SIZE, first, RECORD_SIZE);
    }
}

void index_use_moved(const index_image *image, const tare_file *files, size_t count)
{
    tare_model *model;
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image->bytes;
    options.index_size = image->size;
    if (open_model(files, count, &options, &model, NULL) != TARE_OK) return;
    index_image kept = index_copy(image->bytes, image->size);
    move_records(image);
    index_use_model(model);
    memcpy(image->bytes, kept.bytes, kept.size);
    index_free(&kept);
    tare_close(model);
}

tare_status index_use(const index_image *image, const void *model, size_t model_size)
{
    const tare_file file = {.bytes = model, .size = model_size};
    return index_use_files(image, &file, 1);
}
