/*
 * An index file, beside a model that stays what it is: by what the index says that it is of, a
 * safetensors file of four tensors, two shards with a list of them, or a GGUF file in two parts.
 * Inputs are tried as they are, and once more with their digests made right, since no change to
 * plain bytes gets past those; and then once more with what they say moved by a record while the
 * model is open.
 */
#include <string.h>

#include "fuzz.h"
#include "prebuilt.h"
#include "support/index_probe.h"

enum { FILE_MAX = 3, ROOM = 512, ORIGIN_AT = 44, LISTED = 2, PARTS = 3, KEPT_SIZE = 4096 };

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

/* ------------------------------------------------------------------------------------------------
 * Changes. Each leaves a file whose head would be believed, but for those by libFuzzer itself.
 */

static uint8_t kept[KEPT_SIZE];

static unsigned draw(unsigned *random, unsigned below)
{
    *random = *random * 1664525u + 1013904223u;
    return (*random >> 8) % below;
}

static bool has_sections(tarei_prebuilt_head *head, const uint8_t *data, size_t size)
{
    if (size < sizeof *head || size > KEPT_SIZE) return false;
    memcpy(head, data, sizeof *head);
    for (size_t i = 0; i < TAREI_SECTION_COUNT; i++)
        if (head->sections[i].offset > size ||
            head->sections[i].size > size - head->sections[i].offset)
            return false;
    return true;
}

/* Changes by libFuzzer of one part alone: what stands behind it stays where it is. */
static void change_bytes(uint8_t *data, size_t from, size_t size)
{
    if (size == 0) return;
    memcpy(kept, data + from, size);
    size_t changed = LLVMFuzzerMutate(data + from, size, size);
    memcpy(data + from + changed, kept + changed, size - changed);
}

static void change_number(uint8_t *data, size_t from, size_t size, const tarei_prebuilt_head *head,
                          unsigned *random)
{
    size_t width = (size_t)1 << draw(random, 4);
    if (size < width) return;
    uint8_t *to = data + from + draw(random, (unsigned)(size / width)) * width;
    uint64_t before = 0, other = 0;
    memcpy(&before, to, width);
    memcpy(&other, data + from + draw(random, (unsigned)(size / width)) * width, width);
    const tarei_section *near = &head->sections[draw(random, TAREI_SECTION_COUNT)];
    const uint64_t values[] = {0,
                               1,
                               2,
                               64,
                               65,
                               UINT16_MAX,
                               INT32_MAX,
                               1u << 31,
                               UINT32_MAX,
                               UINT64_C(1) << 46,
                               INT64_MAX,
                               UINT64_C(1) << 63,
                               UINT64_MAX,
                               before + 1,
                               before - 1,
                               before ^ (UINT64_C(1) << draw(random, 64)),
                               before << 8,
                               before >> 8,
                               other,
                               other,
                               other + 1,
                               head->tensor_count,
                               head->key_count,
                               head->shard_count,
                               head->line_count,
                               near->size,
                               near->size - 1,
                               near->size / 4,
                               near->size / 8,
                               near->size / 16,
                               near->offset};
    uint64_t value = values[draw(random, sizeof values / sizeof *values)];
    memcpy(to, &value, width); /* fuzzers run on little-endian hosts */
}

/* The file again with sections of these sizes: cut, or with zeros behind them. */
static size_t lay_out(uint8_t *data, size_t size, size_t size_max, tarei_prebuilt_head *head,
                      const uint64_t *sizes)
{
    uint64_t at = sizeof *head, most = size_max < KEPT_SIZE ? size_max : KEPT_SIZE;
    memset(kept, 0, sizeof kept);
    for (size_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        tarei_section *section = &head->sections[i];
        if (sizes[i] > most - at) return size;
        memcpy(kept + at, data + section->offset,
               (size_t)(section->size < sizes[i] ? section->size : sizes[i]));
        *section = (tarei_section){at, sizes[i], 0};
        at = (at + sizes[i] + TAREI_PREBUILT_UNIT - 1) / TAREI_PREBUILT_UNIT * TAREI_PREBUILT_UNIT;
        if (at > most) return size;
    }
    head->file_size = at;
    memcpy(kept, head, sizeof *head);
    memcpy(data, kept, (size_t)at);
    return (size_t)at;
}

/* A count and the sections that must be as large as it says, or the size of one section alone. */
static size_t change_sizes(uint8_t *data, size_t size, size_t size_max, tarei_prebuilt_head *head,
                           unsigned *random)
{
    static const uint8_t units[] = {1, 4, 8, 16, 32, 64};
    uint64_t sizes[TAREI_SECTION_COUNT];
    for (size_t i = 0; i < TAREI_SECTION_COUNT; i++) sizes[i] = head->sections[i].size;
    if (draw(random, 2) == 0) {
        uint32_t *count = draw(random, 2) == 0 ? &head->tensor_count : &head->key_count;
        *count = draw(random, 2) == 0 ? draw(random, 40) : *count + draw(random, 3) - 1;
        uint64_t tensors = head->tensor_count, keys = head->key_count;
        uint64_t groups = (tensors + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT;
        sizes[TAREI_SECTION_COMMONS] = groups * sizeof(uint32_t);
        sizes[TAREI_SECTION_WIDE_COMMONS] =
            (groups + TAREI_GROUP_COUNT - 1) / TAREI_GROUP_COUNT * sizeof(uint32_t);
        if (head->table == TAREI_TABLE_SORTED)
            sizes[TAREI_SECTION_TABLE] = tensors * sizeof(uint32_t);
        sizes[TAREI_SECTION_RECORDS] = (tensors + 1) * sizeof(tarei_record);
        sizes[TAREI_SECTION_KEYS] = (keys + 1) * sizeof(tarei_record);
        sizes[TAREI_SECTION_KEY_ORDER] = keys * sizeof(uint32_t);
        sizes[TAREI_SECTION_VALUES] = keys * sizeof(tarei_prebuilt_value);
    } else {
        uint64_t *one = &sizes[draw(random, TAREI_SECTION_COUNT)];
        uint64_t change = (1 + draw(random, 4)) * (uint64_t)units[draw(random, sizeof units)];
        *one = draw(random, 2) == 0 ? *one + change : *one > change ? *one - change : 0;
    }
    return lay_out(data, size, size_max, head, sizes);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    tarei_prebuilt_head head;
    unsigned random = seed, way = draw(&random, 16);
    if (way == 0 || !has_sections(&head, data, size)) return LLVMFuzzerMutate(data, size, size_max);
    size_t numbers_at = offsetof(tarei_prebuilt_head, seed);
    if (way == 1) change_bytes(data, numbers_at, size - numbers_at);
    if (way == 2) change_bytes(data, sizeof head, size - sizeof head);
    if (way == 3 || way == 4) size = change_sizes(data, size, size_max, &head, &random);
    for (unsigned i = way < 3 ? 0 : 1 + draw(&random, 3); i > 0 && has_sections(&head, data, size);
         i--) {
        unsigned part =
            draw(&random, TAREI_SECTION_COUNT + 1); /* the last one: counts of the head */
        bool counts = part == TAREI_SECTION_COUNT;
        const tarei_section *section = &head.sections[counts ? 0 : part];
        size_t from = counts ? numbers_at : (size_t)section->offset;
        size_t part_size =
            counts ? offsetof(tarei_prebuilt_head, sections) - from : (size_t)section->size;
        if (draw(&random, 3) == 0)
            change_bytes(data, from, part_size);
        else
            change_number(data, from, part_size, &head, &random);
    }
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
    index_use_moved(&image, made.files, made.count);
    index_free(&image);
    drop_files(&made);
    return 0;
}
