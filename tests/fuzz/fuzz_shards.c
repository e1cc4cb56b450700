/* A model.safetensors.index.json: what it lists is in it, sorted, once, and may be opened. */
#include <string.h>

#include "fuzz.h"
#include "parse.h"

static int compare(const tare_string *a, const tare_string *b)
{
    size_t size = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->data, b->data, size);
    return order != 0 ? order : a->size < b->size ? -1 : a->size > b->size;
}

/* Joined to a folder, the name leads to something below it, as the kernel takes paths apart. */
static void check_stays_below(const char *name)
{
    FUZZ_CHECK(name[0] != '/');
    for (const char *at = name; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        size_t size = strcspn(at, "/");
        FUZZ_CHECK(size != 0 && (size != 2 || memcmp(at, "..", 2) != 0));
    }
}

static void check_shards(const tarei_weight_map *map, size_t shard_count)
{
    const tare_string *shards = map->shards.data;
    for (size_t i = 0; i < shard_count; i++) {
        FUZZ_CHECK(shards[i].size != 0 && shards[i].data[shards[i].size] == '\0');
        FUZZ_CHECK(strlen(shards[i].data) == shards[i].size);
        check_stays_below(shards[i].data);
        if (i != 0) FUZZ_CHECK(compare(&shards[i - 1], &shards[i]) < 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    static const uint64_t limits[TAREI_LIMITS] = {UINT32_MAX, 0, UINT32_MAX, 0};
    tare_error error;
    tarei_memory memory;
    tarei_arena arena;
    tarei_weight_map map;
    memset(&error, 0, sizeof error);
    memset(&map, 0, sizeof map);
    tarei_memory_init(&memory, NULL);
    tarei_arena_init(&arena, &memory);
    map.memory = &memory;
    map.arena = &arena;
    map.limits = limits;
    tare_status status = tarei_parse_weight_map(&map, copy, size, &error);
    if (status == TARE_OK) {
        const tarei_listed *listed = map.listed.data;
        size_t shard_count = map.shards.size / sizeof(tare_string);
        check_shards(&map, shard_count);
        for (size_t i = 0; i < map.listed.size / sizeof *listed; i++) {
            FUZZ_CHECK(listed[i].shard < shard_count);
            FUZZ_CHECK((uint64_t)listed[i].name + listed[i].name_raw_size <= size);
            FUZZ_CHECK(listed[i].name_size <= listed[i].name_raw_size);
        }
    } else {
        FUZZ_CHECK(error.status == status && error.message[0] != '\0');
        FUZZ_CHECK(error.offset == TARE_NO_OFFSET || error.offset <= size);
    }
    tarei_buffer_free(&map.listed, &memory);
    tarei_buffer_free(&map.shards, &memory);
    tarei_arena_free(&arena);
    free(copy);
    return 0;
}
