#include <string.h>

#include "fuzz.h"
#include "support/reader_probe.h"

enum { ASKED_MAX = 4096 }; /* tensors of a model that are asked about, so that inputs stay fast */

void *fuzz_copy(const uint8_t *data, size_t size)
{
    void *copy = malloc(size != 0 ? size : 1);
    FUZZ_CHECK(copy != NULL);
    if (size != 0) memcpy(copy, data, size);
    return copy;
}

static void ask_tensor(const tare_model *model, const tare_tensor *tensor, uint64_t file_size)
{
    tare_info info = tare_describe(model, tensor);
    tare_string name = tare_name(model, tensor);
    FUZZ_CHECK(name.size == info.name_size && name.data == info.name);
    FUZZ_CHECK(name.data[name.size] == '\0');
    FUZZ_CHECK(tare_find(model, name.data, name.size) == tensor);
    tare_key key = tare_key_make(model, name.data, name.size);
    FUZZ_CHECK(tare_find_key(model, &key) == tensor);
    FUZZ_CHECK(info.size == tare_size(model, tensor));
    FUZZ_CHECK(info.offset <= file_size && info.size <= file_size - info.offset);
    uint64_t elements = 1, blocks = tare_dtype_block_count(info.dtype);
    for (uint32_t i = 0; i < info.rank; i++) elements *= info.shape[i];
    FUZZ_CHECK(tare_dtype_name(info.dtype) != NULL && blocks != 0);
    FUZZ_CHECK(elements % blocks == 0 &&
               elements / blocks * tare_dtype_block_size(info.dtype) == info.size);
    const uint8_t *bytes = tare_data(model, tensor);
    FUZZ_CHECK(bytes != NULL);
    void *read = fuzz_copy(bytes, (size_t)info.size);
    memset(read, 0xA5, (size_t)info.size);
    tare_error error;
    FUZZ_CHECK(tare_read(model, tensor, read, (size_t)info.size, &error) == TARE_OK);
    FUZZ_CHECK(memcmp(read, bytes, (size_t)info.size) == 0);
    free(read);
}

/* Names that are nearly those of the model are found by looking at every one, or not at all. */
static void ask_look_alike(const tare_model *model, const tare_tensor *tensor)
{
    tare_string name = tare_name(model, tensor);
    char *other = fuzz_copy((const void *)name.data, name.size);
    if (name.size != 0) other[name.size / 2] ^= 1;
    const tare_tensor *found = tare_find(model, other, name.size), *wanted = NULL;
    for (size_t i = 0; i < tare_count(model); i++) {
        tare_string stored = tare_name(model, tare_at(model, i));
        if (stored.size == name.size && memcmp(stored.data, other, name.size) == 0)
            wanted = tare_at(model, i);
    }
    FUZZ_CHECK(found == wanted);
    free(other);
}

static void ask_prefix(const tare_model *model, const tare_tensor *tensor)
{
    tare_string name = tare_name(model, tensor);
    tare_range range = tare_prefix(model, name.data, name.size / 2);
    const tare_tensor *found = tare_next(model, &range);
    for (size_t i = 0; i < tare_count(model); i++) {
        const tare_tensor *at = tare_at(model, i);
        tare_string stored = tare_name(model, at);
        if (stored.size < name.size / 2 || memcmp(stored.data, name.data, name.size / 2) != 0)
            continue;
        FUZZ_CHECK(found == at);
        found = tare_next(model, &range);
    }
    FUZZ_CHECK(found == NULL);
}

/* Reads every byte, for AddressSanitizer to see. */
static void touch(const void *data, size_t size)
{
    const volatile uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) (void)bytes[i];
}

static void ask_metadata(const tare_model *model)
{
    for (size_t i = 0; i < tare_metadata_count(model); i++) {
        tare_string key, text;
        uint32_t shard;
        FUZZ_CHECK(tare_metadata_at(model, i, &key, &text, &shard) == 1 && shard == 0);
        FUZZ_CHECK(key.data[key.size] == '\0');
        tare_value value = tare_metadata_value_at(model, i), item;
        tare_value same = tare_metadata_value(model, key.data, key.size);
        FUZZ_CHECK(value.kind != 0 && tare_kind_name(value.kind) != NULL);
        FUZZ_CHECK(same.kind == value.kind && same.data == value.data && same.size == value.size);
        FUZZ_CHECK((text.data != NULL) == (value.kind == TARE_KIND_STRING));
        touch(value.data, value.size);
        uint64_t items = 0;
        while (tare_value_next(&value, &item)) {
            FUZZ_CHECK(item.kind == value.item_kind);
            touch(item.data, item.size);
            items++;
        }
        FUZZ_CHECK(same.kind != TARE_KIND_ARRAY || items == same.count);
    }
    FUZZ_CHECK(tare_metadata_value_at(model, tare_metadata_count(model)).kind == 0);
}

void fuzz_model(const tare_model *model, uint64_t file_size)
{
    size_t count = tare_count(model);
    for (size_t i = 0; i < count && i < ASKED_MAX; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        FUZZ_CHECK(tensor != NULL && tare_index_of(model, tensor) == i);
        ask_tensor(model, tensor, file_size);
    }
    for (size_t i = 0; i < count; i += count / 4 + 1) {
        ask_look_alike(model, tare_at(model, i));
        ask_prefix(model, tare_at(model, i));
    }
    FUZZ_CHECK(tare_at(model, count) == NULL);
    ask_metadata(model);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    FUZZ_CHECK(stat.probe_max <= 64 || stat.index_sorted);
}

static void check_error(tare_status status, const tare_model *model, const tare_error *error,
                        size_t size)
{
    size_t length = 0;
    FUZZ_CHECK(status == error->status && (status == TARE_OK) == (model != NULL));
    for (; error->message[length] != '\0'; length++)
        FUZZ_CHECK(length < sizeof error->message - 1 && error->message[length] >= ' ' &&
                   error->message[length] <= '~');
    FUZZ_CHECK((length == 0) == (status == TARE_OK));
    FUZZ_CHECK(error->offset == TARE_NO_OFFSET || error->offset <= size);
}

/* Memory hooks that count; AddressSanitizer sees the rest. */
typedef struct account {
    uint64_t out;
    uint64_t peak;
} account;

static void *allocate(void *context, size_t size, size_t alignment)
{
    account *memory = context;
    memory->out += size;
    if (memory->out > memory->peak) memory->peak = memory->out;
    return aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void release(void *context, void *memory, size_t size, size_t alignment)
{
    (void)alignment;
    ((account *)context)->out -= size;
    free(memory);
}

/* What no model is without, most of it the table of names; and two chunks of an arena. */
#ifdef TAREI_CHUNK_SIZE
#define BASE_SIZE 4608u
#else
#define BASE_SIZE 49152u
#endif

/* Most for its size takes metadata of empty strings, 8 bytes each, just when their array has
 * doubled: 11 times. Of the corpus nothing takes more than 4 times. */
uint64_t fuzz_memory_bound(uint64_t size)
{
    return BASE_SIZE + 12 * size;
}

/* Opens the bytes, which `error` then tells about, and asks everything that there is to ask. */
static tare_status open_bytes(const uint8_t *bytes, size_t size, account *memory,
                              tare_model **model, tare_error *error)
{
    const tare_allocator hooks = {sizeof hooks, memory, allocate, release};
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &hooks;
    tare_status status = tare_open_bytes(bytes, size, &options, model, error);
    check_error(status, *model, error, size);
    FUZZ_CHECK(memory->peak <= fuzz_memory_bound(size));
    if (status == TARE_OK) fuzz_model(*model, size);
    return status;
}

int fuzz_bytes(const uint8_t *data, size_t size)
{
    account memory = {0, 0};
    tare_model *model;
    tare_error error;
    tare_status status = open_bytes(data, size, &memory, &model, &error);
    tare_close(model);
    FUZZ_CHECK(memory.out == 0);
    return status == TARE_OK;
}

int fuzz_file(const uint8_t *data, size_t size, size_t piece)
{
    uint8_t *copy = fuzz_copy(data, size);
    account memory = {0, 0};
    reader_probe reader;
    tare_model *model, *read_model;
    tare_error error, read_error;
    tare_status status = open_bytes(copy, size, &memory, &model, &error);
    reader_probe_init(&reader, copy, size, piece);
    tare_status read_status = tare_open_reader(&reader.reader, NULL, &read_model, &read_error);
    FUZZ_CHECK(read_status == status && read_error.offset == error.offset);
    FUZZ_CHECK(strcmp(read_error.message, error.message) == 0 && reader.mistakes == 0);
    if (status == TARE_OK) {
        FUZZ_CHECK(tare_count(read_model) == tare_count(model));
        FUZZ_CHECK(tare_metadata_count(read_model) == tare_metadata_count(model));
        ask_metadata(read_model);
    }
    tare_close(read_model);
    tare_close(model);
    FUZZ_CHECK(memory.out == 0);
    free(copy);
    return status == TARE_OK;
}
