/*
 * A GGUF file. Changes to plain bytes rarely get past the sizes and counts of a header. So three
 * inputs of four are changed at numbers that a walk through the file finds: counts, sizes of
 * strings, kinds, dimensions, types, offsets, the alignment. Or strings, arrays, entries, tensors
 * get longer, shorter, more and fewer, and the numbers with them.
 */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"

enum { FIELD_MAX = 16384, HEAD_SIZE = 24, RANK_MAX = 4, U32 = 4, STRING = 8, ARRAY = 9 };
enum { GROWTH = 70000 }; /* beyond the first piece of a header that is asked for, of 65,536 bytes */

typedef enum role { COUNT, KEY, NAME, SIZE, ITEMS, CODE, NUMBER, ANY_ROLE } role;

typedef struct field {
    size_t at;
    unsigned width;
    role role;
} field;

typedef struct walk {
    uint8_t *data;
    size_t size, at, size_max;
    bool whole, mend; /* whether the header ends, and whether offsets are to be put right */
    uint64_t alignment, end;
    unsigned random;
    size_t count;
    field fields[FIELD_MAX];
} walk;

/* Of values of each kind, of an item of an array of strings at least. */
static const uint8_t kind_sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};

enum { KIND_COUNT = sizeof kind_sizes };

static unsigned draw(walk *w, unsigned below)
{
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % below;
}

static uint64_t load(const walk *w, size_t at, unsigned width)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++) value |= (uint64_t)w->data[at + i] << 8 * i;
    return value;
}

static void store(walk *w, size_t at, unsigned width, uint64_t value)
{
    for (unsigned i = 0; i < width; i++) w->data[at + i] = (uint8_t)(value >> 8 * i);
}

/* ------------------------------------------------------------------------------------------------
 * The walk
 */

static void step(walk *w, uint64_t size)
{
    w->whole = w->whole && size <= w->size - w->at;
    if (w->whole) w->at += (size_t)size;
}

static uint64_t take(walk *w, unsigned width, role as)
{
    size_t at = w->at;
    step(w, width);
    if (!w->whole) return 0;
    if (w->count < FIELD_MAX) w->fields[w->count++] = (field){at, width, as};
    return load(w, at, width);
}

static void walk_entry(walk *w)
{
    static const char alignment[] = "general.alignment";
    size_t key_at = w->at + 8, key_size = sizeof alignment - 1;
    step(w, take(w, 8, KEY));
    uint64_t kind = take(w, 4, CODE), items = 1;
    bool states = w->whole && kind == U32 && w->at == key_at + key_size + 4 &&
                  memcmp(w->data + key_at, alignment, key_size) == 0;
    if (kind == ARRAY) {
        kind = take(w, 4, CODE);
        items = take(w, 8, ITEMS);
        w->whole = w->whole && kind != ARRAY && kind < KIND_COUNT && items <= w->size;
        if (w->whole && kind != STRING) step(w, items * kind_sizes[kind]);
    } else if (kind < KIND_COUNT && kind != STRING) {
        items = take(w, kind_sizes[kind], NUMBER);
    }
    w->whole = w->whole && kind < KIND_COUNT;
    if (states && w->whole && items != 0) w->alignment = items;
    for (uint64_t i = 0; kind == STRING && i < items && w->whole; i++) step(w, take(w, 8, SIZE));
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static void walk_tensor(walk *w)
{
    static const uint8_t dtypes[] = {
        [0] = TARE_DTYPE_F32,  [1] = TARE_DTYPE_F16,   [2] = TARE_DTYPE_Q4_0,
        [8] = TARE_DTYPE_Q8_0, [12] = TARE_DTYPE_Q4_K, [24] = TARE_DTYPE_I8,
        [28] = TARE_DTYPE_F64, [30] = TARE_DTYPE_BF16};
    step(w, take(w, 8, NAME));
    uint64_t rank = take(w, 4, CODE), elements = 1;
    w->whole = w->whole && rank <= RANK_MAX;
    for (uint64_t i = 0; i < rank && w->whole; i++) elements *= take(w, 8, NUMBER);
    uint64_t type = take(w, 4, CODE);
    if (w->mend && w->whole && w->size - w->at >= 8) store(w, w->at, 8, w->end);
    take(w, 8, NUMBER);
    if (type >= sizeof dtypes || dtypes[type] == 0) return; /* the next offset will be wrong */
    tare_dtype dtype = dtypes[type];
    elements /= tare_dtype_block_count(dtype);
    w->end = round_up(w->end + elements * tare_dtype_block_size(dtype), w->alignment);
}

static void walk_all(walk *w, bool mend)
{
    w->at = 4, w->count = 0, w->whole = true, w->mend = mend, w->alignment = 32, w->end = 0;
    take(w, 4, CODE);
    uint64_t tensors = take(w, 8, COUNT), entries = take(w, 8, COUNT);
    for (uint64_t i = 0; i < entries && w->whole; i++) walk_entry(w);
    for (uint64_t i = 0; i < tensors && w->whole; i++) walk_tensor(w);
}

/* Offsets follow each other, and the data ends where the last tensor does. */
static void mend(walk *w)
{
    walk_all(w, true);
    uint64_t wanted = round_up(w->at, w->alignment);
    if (!w->whole || wanted > w->size_max || w->end > w->size_max - wanted) return;
    wanted += w->end;
    if (wanted > w->size) memset(w->data + w->size, 0x11, (size_t)wanted - w->size);
    w->size = (size_t)wanted;
}

/* ------------------------------------------------------------------------------------------------
 * Changes
 */

/* A field of that role, the first one at or behind a place by chance; NULL: there is none. */
static field *choose(walk *w, role wanted)
{
    size_t from = w->count != 0 ? draw(w, (unsigned)w->count) : 0;
    for (size_t i = 0; i < w->count; i++) {
        field *at = &w->fields[(from + i) % w->count];
        if (wanted == ANY_ROLE || at->role == wanted) return at;
    }
    return NULL;
}

static void edit(walk *w)
{
    const field *to = choose(w, ANY_ROLE);
    if (to == NULL) return;
    uint64_t before = load(w, to->at, to->width), left = w->size - to->at - to->width;
    const uint64_t values[] = {0,
                               1,
                               2,
                               4,
                               5,
                               8,
                               before - 1,
                               before + 1,
                               before * 2,
                               before / 2,
                               -before,
                               left - 1,
                               left,
                               left + 1,
                               left / 8,
                               left / 24,
                               w->size,
                               w->size + 1,
                               INT64_MAX,
                               UINT64_MAX,
                               31,
                               32,
                               63,
                               64,
                               255,
                               65535,
                               65536,
                               1u << 30,
                               (1 << 30) + 1u,
                               INT32_MAX,
                               1u << 31,
                               UINT32_MAX,
                               UINT64_C(1) << 32,
                               UINT64_C(1) << 46,
                               UINT64_C(1) << 61,
                               UINT64_C(1) << 62,
                               UINT64_C(1) << 63};
    uint64_t value = values[draw(w, sizeof values / sizeof *values)];
    if (to->role == CODE && draw(w, 4) != 0) value = draw(w, 46);
    store(w, to->at, to->width, value);
}

/* Makes room at `at`, or with a negative size takes bytes away. */
static bool shift(walk *w, size_t at, int64_t size)
{
    size_t from = size < 0 ? at + (size_t)-size : at;
    if (from > w->size || (size > 0 && (size_t)size > w->size_max - w->size)) return false;
    memmove(w->data + at + (size > 0 ? size : 0), w->data + from, w->size - from);
    if (size > 0) memset(w->data + at, 0, (size_t)size);
    w->size = (size_t)((int64_t)w->size + size);
    return true;
}

/* A string or an array gets longer or shorter by some items; those of strings are empty ones. */
static void resize(walk *w)
{
    static const role roles[] = {KEY, NAME, SIZE, ITEMS, ITEMS};
    const field *to = choose(w, roles[draw(w, 5)]);
    if (to == NULL) return;
    uint64_t kind = to->role == ITEMS ? load(w, to->at - 4, 4) : 0;
    uint64_t before = load(w, to->at, 8);
    if (kind >= KIND_COUNT) return;
    int64_t more = 1 + draw(w, draw(w, 32) == 0 ? GROWTH : 16);
    if (draw(w, 2) == 0 && kind != STRING) more = -more;
    if (more < 0 && (uint64_t)-more > before) more = -(int64_t)before;
    if (shift(w, to->at + 8, more * kind_sizes[kind])) store(w, to->at, 8, before + (uint64_t)more);
}

/* An entry or a tensor is there once more, under another name mostly, or no longer. */
static void repeat(walk *w)
{
    role kind = draw(w, 2) == 0 ? KEY : NAME;
    const field *from = choose(w, kind), *next = from;
    if (from == NULL) return;
    do next++;
    while (next < w->fields + w->count && next->role != KEY && next->role != NAME);
    size_t at = from->at, end = next < w->fields + w->count ? next->at : w->at;
    size_t count_at = kind == NAME ? 8 : 16, size = end - at;
    bool fewer = draw(w, 4) == 0;
    if (end < at + 8 || !shift(w, at, fewer ? -(int64_t)size : (int64_t)size)) return;
    store(w, count_at, 8, load(w, count_at, 8) + (fewer ? UINT64_MAX : 1));
    if (fewer) return;
    memcpy(w->data + at, w->data + at + size, size);
    if (load(w, at, 8) != 0 && draw(w, 8) != 0) w->data[at + 8] = (uint8_t)draw(w, 256);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static walk w;
    w.random = seed;
    bool plain = draw(&w, 4) == 0;
    w.data = data, w.size_max = size_max;
    w.size = plain || size < HEAD_SIZE ? LLVMFuzzerMutate(data, size, size_max) : size;
    if (w.size < HEAD_SIZE) return w.size;
    for (unsigned i = plain ? 0 : 1 + draw(&w, 3); i > 0 && w.size >= HEAD_SIZE; i--) {
        walk_all(&w, false);
        unsigned way = draw(&w, 4);
        if (way < 2) edit(&w);
        if (way == 2) resize(&w);
        if (way == 3) repeat(&w);
    }
    if (draw(&w, 3) != 0) mend(&w);
    return w.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_file(data, size, size % 61 + 1 + size / 256);
    return 0;
}
