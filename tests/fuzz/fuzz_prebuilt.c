/*
 * An index file, beside a model that stays what it is: by what the index says that it is of, a
 * safetensors file of four tensors, two shards with a list of them, or a GGUF file in two parts.
 * Inputs are tried as they are, and once more with their digests made right, since no change to
 * plain bytes gets past those.
 */
#include <string.h>

#include "fuzz.h"
#include "support/index_probe.h"

enum { FILE_MAX = 3, ROOM = 512, ORIGIN_AT = 44, LISTED = 2, PARTS = 3 };

#define TENSOR(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const char one_header[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"of a fuzz target\"}," TENSOR(
        "layers.0.mlp.up_proj.weight", "F32", "[2,2]",
        "[0,16]") "," TENSOR("layers.1.mlp.up_proj.weight", "BF16", "[4,2]",
                             "[16,32]") "," TENSOR("bias", "U8", "[3]",
                                                   "[32,35]") "," TENSOR("empty", "F64", "[0,9]",
                                                                         "[35,35]") "}";

static const char list[] = "{\"weight_map\":{\"layers.0.up\":\"1.safetensors\","
                           "\"layers.1.up\":\"sub/2.safetensors\"}}";
static const char *const shard_headers[] = {
    "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("layers.0.up", "F32", "[2,2]", "[0,16]") "}",
    "{" TENSOR("layers.1.up", "U8", "[5]", "[0,5]") "}"};

typedef struct model {
    uint8_t room[FILE_MAX][ROOM];
    tare_file files[FILE_MAX];
    size_t count;
} model;

/* A file of so many bytes, each in a block of just that size. */
static void add_file(model *made, const char *name, size_t size)
{
    const uint8_t *bytes = made->room[made->count];
    FUZZ_CHECK(size <= ROOM);
    made->files[made->count++] =
        (tare_file){.name = name, .bytes = fuzz_copy(bytes, size), .size = size};
}

static void drop_files(model *made)
{
    for (size_t i = 0; i < made->count; i++) free((void *)(uintptr_t)made->files[i].bytes);
    made->count = 0;
}

static size_t put_number(uint8_t *target, uint64_t value, size_t size)
{
    for (size_t b = 0; b < size; b++) target[b] = (uint8_t)(value >> (8 * b));
    return size;
}

static size_t put_text(uint8_t *target, const char *text)
{
    size_t size = strlen(text);
    memcpy(target + put_number(target, size, 8), text, size);
    return 8 + size;
}

static void add_safetensors(model *made, const char *name, const char *header, size_t data_size)
{
    uint8_t *target = made->room[made->count];
    size_t at = put_text(target, header);
    for (size_t i = 0; i < data_size; i++) target[at++] = (uint8_t)i;
    add_file(made, name, at);
}

static void add_part(model *made, const char *name, uint16_t number)
{
    enum { U16 = 2, STRING = 8, ARRAY = 9, F32 = 0, ALIGNMENT = 32 };
    uint8_t *target = memset(made->room[made->count], 0, ROOM);
    static const char *const keys[] = {"split.no", "split.count"};
    const uint16_t values[] = {number, 2};
    size_t at = 4;
    memcpy(target, "GGUF", 4);
    at += put_number(target + at, 3, 4);
    at += put_number(target + at, 1, 8); /* tensors */
    at += put_number(target + at, 3, 8); /* entries */
    for (size_t i = 0; i < 2; i++) {
        at += put_text(target + at, keys[i]);
        at += put_number(target + at, U16, 4);
        at += put_number(target + at, values[i], 2);
    }
    at += put_text(target + at, "words");
    at += put_number(target + at, ARRAY, 4);
    at += put_number(target + at, STRING, 4);
    at += put_number(target + at, 2, 8);
    at += put_text(target + at, "one");
    at += put_text(target + at, "another");
    at += put_text(target + at, number == 0 ? "first" : "second");
    at += put_number(target + at, 1, 4); /* dimensions */
    at += put_number(target + at, 8, 8);
    at += put_number(target + at, F32, 4);
    at += put_number(target + at, 0, 8); /* offset */
    add_file(made, name, (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + 8 * sizeof(float));
}

static void make_model(model *made, uint32_t origin)
{
    made->count = 0;
    if (origin == PARTS) {
        add_part(made, "q-00001-of-00002.gguf", 0);
        add_part(made, "q-00002-of-00002.gguf", 1);
    } else if (origin == LISTED) {
        memcpy(made->room[0], list, sizeof list - 1);
        add_file(made, "model.safetensors.index.json", sizeof list - 1);
        add_safetensors(made, "1.safetensors", shard_headers[0], 16);
        add_safetensors(made, "sub/2.safetensors", shard_headers[1], 5);
    } else {
        add_safetensors(made, "", one_header, 35);
    }
}

/* Leaves the size alone most of the time, and the head or what stands before its counts: nearly
 * every change to those makes it damaged, which is soon found. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    enum { COUNTS_AT = 32, HEAD_SIZE = 448, KEPT_SIZE = 4096 };
    static uint8_t kept[KEPT_SIZE];
    size_t from = seed % 8 == 1 ? COUNTS_AT : HEAD_SIZE;
    if (seed % 8 == 0 || size <= from || size > KEPT_SIZE)
        return LLVMFuzzerMutate(data, size, size_max);
    memcpy(kept, data, size);
    size_t changed = LLVMFuzzerMutate(data + from, size - from, size - from);
    memcpy(data + from + changed, kept + from + changed, size - from - changed);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static model made;
    uint32_t origin = 0;
    if (size >= ORIGIN_AT + sizeof origin) memcpy(&origin, data + ORIGIN_AT, sizeof origin);
    make_model(&made, origin);
    index_image image = index_copy(data, size);
    index_use_files(&image, made.files, made.count);
    index_seal(&image);
    index_use_files(&image, made.files, made.count);
    index_free(&image);
    drop_files(&made);
    return 0;
}
