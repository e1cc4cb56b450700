#include "name_sets.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "temp_files.h"

static void *grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size);
    if (grown == NULL) abort();
    return grown;
}

static void set_add(name_set *set, const char *name, size_t size, uint32_t shard)
{
    if (set->count == set->capacity) {
        set->capacity = 2 * set->capacity + 64;
        set->names = grow(set->names, set->capacity * sizeof *set->names);
        set->shards = grow(set->shards, set->capacity * sizeof *set->shards);
    }
    set->names[set->count] = (tare_string){temp_copy(name, size), size};
    set->shards[set->count++] = shard;
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
set_addf(name_set *set, const char *format, ...)
{
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof name) abort();
    set_add(set, name, (size_t)size, 0);
}

int name_compare(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t common = a_size < b_size ? a_size : b_size;
    int order = common ? memcmp(a, b, common) : 0;
    if (order != 0) return order;
    return (a_size > b_size) - (a_size < b_size);
}

static const name_set *sorting; /* qsort passes no context */

static int compare_places(const void *a, const void *b)
{
    const tare_string *x = &sorting->names[*(const uint32_t *)a];
    const tare_string *y = &sorting->names[*(const uint32_t *)b];
    return name_compare(x->data, x->size, y->data, y->size);
}

static void set_sort(name_set *set)
{
    set->sorted = grow(NULL, (set->count + 1) * sizeof *set->sorted);
    for (size_t i = 0; i < set->count; i++) set->sorted[i] = (uint32_t)i;
    sorting = set;
    qsort(set->sorted, set->count, sizeof *set->sorted, compare_places);
    for (size_t i = 1; i < set->count; i++)
        if (compare_places(&set->sorted[i - 1], &set->sorted[i]) == 0) abort(); /* a name twice */
}

void name_set_free(name_set *set)
{
    for (size_t i = 0; i < set->count; i++) free((void *)(uintptr_t)set->names[i].data);
    free(set->names);
    free(set->shards);
    free(set->sorted);
    memset(set, 0, sizeof *set);
}

size_t name_set_find(const name_set *set, const char *name, size_t size)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const tare_string *other = &set->names[set->sorted[middle]];
        int order = name_compare(name, size, other->data, other->size);
        if (order == 0) return set->sorted[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NAME_ABSENT;
}

size_t name_set_scan(const name_set *set, const char *name, size_t size)
{
    for (size_t i = 0; i < set->count; i++)
        if (name_compare(name, size, set->names[i].data, set->names[i].size) == 0) return i;
    return NAME_ABSENT;
}

size_t name_look_alike(const tare_string *name, unsigned way, char *target)
{
    size_t size = name->size;
    if (size != 0) memcpy(target, name->data, size);
    if (way == 0 || way == 1) target[size] = way ? 0 : 'x';
    if (way == 0 || way == 1) return size + 1;
    if (size == 0) return NAME_ABSENT;
    switch (way) {
    case 2: target[0] = (char)(target[0] ^ 1); return size;
    case 3: target[size / 2] = (char)(target[size / 2] ^ 4); return size;
    case 4: target[size - 1] = (char)(target[size - 1] ^ 2); return size;
    case 5: return size - 1;
    case 6: memmove(target, target + 1, size - 1); return size - 1;
    case 7: target[size / 3] = (char)(target[size / 3] ^ 0x20); return size;
    case 8: /* two neighbours change places, which hashes of sums do not notice */
        if (size < 2) return NAME_ABSENT;
        target[size - 1] = name->data[size - 2];
        target[size - 2] = name->data[size - 1];
        return size;
    default: abort();
    }
}

uint64_t name_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

uint32_t *name_shuffle(size_t count)
{
    uint32_t *places = grow(NULL, (count + 1) * sizeof *places);
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < count; i++) places[i] = (uint32_t)i;
    for (size_t i = count; i > 1; i--) {
        size_t other = (size_t)(name_random(&state) % i);
        uint32_t place = places[i - 1];
        places[i - 1] = places[other];
        places[other] = place;
    }
    return places;
}

/* The number in front of each name tells its shard or keeps random names distinct. */
static name_set set_random(size_t count, size_t size_max, unsigned low, unsigned high)
{
    name_set set = {0};
    uint64_t state = 20261122;
    for (size_t i = 0; i < count; i++) {
        char name[512];
        int size = snprintf(name, sizeof name, "%zx:", i);
        size_t end = (size_t)size + (size_t)(name_random(&state) % size_max);
        for (size_t at = (size_t)size; at < end; at++)
            name[at] = (char)(low + name_random(&state) % (high - low + 1));
        set_add(&set, name, end, 0);
    }
    set_sort(&set);
    return set;
}

name_set name_set_text(void)
{
    return set_random(1000, 100, ' ', '~');
}

static name_set name_set_binary(void)
{
    return set_random(1000, 300, 0, 255);
}

name_set name_set_groups(size_t count, size_t group)
{
    name_set set = {0};
    for (size_t i = 0; i < count; i++) set_addf(&set, "%08zx.%zu", i / group, i % group);
    set_sort(&set);
    return set;
}

/* More than there are numbers of parts, and nothing to share. */
static name_set name_set_64(void)
{
    name_set set = {0};
    uint64_t state = 64;
    for (size_t i = 0; i < 70000; i++) {
        uint64_t name[8];
        for (size_t w = 0; w < 8; w++) name[w] = name_random(&state);
        set_add(&set, (const char *)name, sizeof name, 0);
    }
    set_sort(&set);
    return set;
}

static name_set name_set_4000(void)
{
    name_set set = {0};
    char name[4000];
    uint64_t state = 4000;
    memset(name, 'n', sizeof name);
    for (unsigned i = 0; i < 300; i++) { /* alike but for their number, wherever it stands */
        size_t at = (size_t)(name_random(&state) % 3995);
        snprintf(name + at, 5, ".%03u", i);
        name[at + 4] = 'n';
        set_add(&set, name, 4000, 0);
        memset(name + at, 'n', 4);
    }
    set_sort(&set);
    return set;
}

/* Nothing to cut names at. */
static name_set name_set_words(void)
{
    static const char *const words[] = {"attn", "mlp",  "norm", "proj", "gate", "up",
                                        "down", "bias", "head", "key",  "query"};
    enum { COUNT = sizeof words / sizeof words[0] };
    name_set set = {0};
    for (unsigned i = 0; i < COUNT * COUNT * COUNT; i++)
        set_addf(&set, "%s_%s.%s.weight", words[i % COUNT], words[i / COUNT % COUNT],
                 words[i / COUNT / COUNT]);
    set_sort(&set);
    return set;
}

static name_set name_set_none(void)
{
    name_set set = {0};
    set_sort(&set);
    return set;
}

static name_set name_set_only_empty(void)
{
    name_set set = {0};
    set_addf(&set, "%s", "");
    set_sort(&set);
    return set;
}

static name_set name_set_one_byte(void)
{
    name_set set = {0};
    for (int c = 0; c < 256; c++) {
        char name = (char)c;
        set_add(&set, &name, 1, 0);
    }
    set_sort(&set);
    return set;
}

static name_set name_set_nested(void)
{
    static char name[600];
    name_set set = {0};
    memset(name, 'a', sizeof name);
    for (size_t size = 0; size <= sizeof name; size++) set_add(&set, name, size, 0);
    for (unsigned i = 0; i < 1200; i++) {
        set_addf(&set, "layers.%u", i);
        set_addf(&set, "layers.%u.", i);
        set_addf(&set, "layers.%u.weight", i);
        set_addf(&set, "layers.%u.weight_scale", i);
    }
    set_sort(&set);
    return set;
}

/* Sizes around those that fit in 8 and 16 bits; of each, names that differ in one byte only. */
static name_set name_set_long(void)
{
    static const size_t sizes[] = {255, 256, 257, 4000, 4096, 65533, 65534, 65535, 65536, 70000};
    name_set set = {0};
    char *name = grow(NULL, 70000);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i], places[] = {0, 1, size / 2, size - 2, size - 1};
        memset(name, 'n', size);
        set_add(&set, name, size, 0);
        for (size_t p = 0; p < 5; p++) {
            name[places[p]] = 'm';
            set_add(&set, name, size, 0);
            name[places[p]] = 'n';
        }
        for (size_t dots = 3; dots < size; dots += 7) name[dots] = '.';
        set_add(&set, name, size, 0);
    }
    free(name);
    set_sort(&set);
    return set;
}

static name_set name_set_odd(void)
{
    static const tare_string names[] = {
        {"", 0},
        {"\0", 1},
        {"\0\0", 2},
        {"a", 1},
        {"a\0", 2},
        {"a\0b", 3},
        {"a\0c", 3},
        {"\0a", 2},
        {".", 1},
        {"..", 2},
        {"../../etc/passwd", 16},
        {".weight", 7},
        {"weight.", 7},
        {"a.b", 3},
        {"a..b", 4},
        {"a. b", 4},
        {" ", 1},
        {"\n", 1},
        {"\"", 1},
        {"\\", 1},
        {"\\u0041", 6},
        {"A", 1},
        {"__metadata", 10},
        {"__metadata__.", 13},
        {"\xc3\xa9", 2},
        {"e\xcc\x81", 3},
        {"\xf0\x9f\xa6\x99", 4},
        {"\xe2\x80\xae", 3},
        {"\x7f", 1},
        {"\xef\xbf\xbf", 3},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xc2\x80", 2},
        {"0", 1},
        {"00", 2},
        {"0.0", 3},
        {"9.weight", 8},
        {"10.weight", 9},
        {"1.0weight", 9},
    };
    name_set set = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        set_add(&set, names[i].data, names[i].size, 0);
    set_sort(&set);
    return set;
}

static void add_expert(name_set *set, unsigned layer, const char *who)
{
    static const char *const parts[] = {"gate_proj", "up_proj", "down_proj"};
    for (size_t p = 0; p < 3; p++) {
        set_addf(set, "model.layers.%u.mlp.%s%s.weight", layer, who, parts[p]);
        set_addf(set, "model.layers.%u.mlp.%s%s.weight_scale_inv", layer, who, parts[p]);
    }
}

name_set name_set_deepseek(void)
{
    static const char *const attention[] = {"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa",
                                            "kv_b_proj", "o_proj"};
    static const char *const norms[] = {"input_layernorm", "post_attention_layernorm",
                                        "self_attn.q_a_layernorm", "self_attn.kv_a_layernorm"};
    name_set set = {0};
    set_addf(&set, "model.embed_tokens.weight");
    for (unsigned layer = 0; layer < 62; layer++) {
        for (size_t i = 0; i < 4; i++) set_addf(&set, "model.layers.%u.%s.weight", layer, norms[i]);
        for (size_t i = 0; i < 5; i++) {
            set_addf(&set, "model.layers.%u.self_attn.%s.weight", layer, attention[i]);
            set_addf(&set, "model.layers.%u.self_attn.%s.weight_scale_inv", layer, attention[i]);
        }
        for (unsigned expert = 0; layer >= 3 && expert < 256; expert++) {
            char who[32];
            snprintf(who, sizeof who, "experts.%u.", expert);
            add_expert(&set, layer, who);
        }
        add_expert(&set, layer, layer < 3 ? "" : "shared_experts.");
        if (layer < 3) continue;
        set_addf(&set, "model.layers.%u.mlp.gate.weight", layer);
        set_addf(&set, "model.layers.%u.mlp.gate.e_score_correction_bias", layer);
    }
    set_addf(&set, "model.norm.weight");
    set_addf(&set, "lm_head.weight");
    set_sort(&set);
    return set;
}

/* Lines of names, or of a shard's number, a tab and a name. */
static name_set set_read(const char *path, int shards)
{
    name_set set = {0};
    size_t size;
    char *text = temp_read(path, &size), *end = text + size;
    for (char *line = text, *next; line < end; line = next + 1) {
        next = memchr(line, '\n', (size_t)(end - line));
        if (next == NULL) abort();
        uint32_t shard = 0;
        if (shards) {
            shard = (uint32_t)strtoul(line, &line, 10);
            if (*line++ != '\t') abort();
        }
        set_add(&set, line, (size_t)(next - line), shard);
    }
    free(text);
    set_sort(&set);
    return set;
}

name_set name_set_collisions(void)
{
    return set_read(TARE_TEST_DATA "/names/xxh64-collisions.txt", 0);
}

name_set name_set_qwen(void)
{
    return set_read(TARE_TEST_DATA "/names/qwen3.5-25b-moe.tsv", 1);
}

name_set name_set_mixtral(void)
{
    return set_read(TARE_TEST_DATA "/names/mixtral-8x22b.tsv", 1);
}

const name_set_kind name_set_kinds[] = {
    {"no names", name_set_none, 1},
    {"the empty name alone", name_set_only_empty, 1},
    {"one byte each", name_set_one_byte, 0},
    {"odd names", name_set_odd, 1},
    {"starts of each other", name_set_nested, 1},
    {"long names", name_set_long, 1},
    {"random text", name_set_text, 1},
    {"random bytes", name_set_binary, 0},
    {"64 random bytes", name_set_64, 0},
    {"4,000 bytes each", name_set_4000, 1},
    {"no numbers", name_set_words, 1},
    {"one XXH64 value", name_set_collisions, 1},
    {"Mixtral 8x22B", name_set_mixtral, 1},
    {"Qwen3.5 25B MoE", name_set_qwen, 1},
    {"in the manner of DeepSeek-V3", name_set_deepseek, 1},
};

const size_t name_set_kind_count = sizeof name_set_kinds / sizeof name_set_kinds[0];
