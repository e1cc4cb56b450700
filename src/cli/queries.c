#include "latency.h"

#include <stdlib.h>
#include <string.h>

enum {
    QUERIES_MIN = 4096, /* of few tensors the order must not be learnt by branch predictors */
    QUERIES_MAX = 1 << 18,
    TEXT_SIZE_MAX = 32 << 20, /* a single name may be longer */
    MISS_ROOM = 32,           /* bytes by which a miss may be longer than its hit */
    DIGITS_MAX = 18,          /* of a number that is raised */
    STEP_BITS_MAX = 31,       /* a model has fewer tensors than that many bits count */
    BYTE_TRIES = 8
};

/* Knuth's MMIX generator; the upper half of its state is what is random. */
static uint32_t random_below(uint64_t *random, size_t bound)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(((*random >> 32) * (uint64_t)bound) >> 32);
}

static bool allocate_names(query_list *list, size_t count)
{
    *list = (query_list){.count = count};
    list->names = calloc(count, sizeof *list->names);
    return list->names != NULL;
}

static bool allocate_text(query_list *list, size_t size)
{
    list->text = malloc(size > 0 ? size : 1);
    if (list->text != NULL) return true;
    queries_free(list);
    return false;
}

static void repeat_own(query_list *list)
{
    for (size_t i = list->own; i < list->count; i++) list->names[i] = list->names[i - list->own];
}

/* Chooses `count` of the tensors 0 to `tensors` - 1, each once before any comes again. */
static bool choose(size_t tensors, uint64_t *random, size_t count, uint32_t *chosen)
{
    uint32_t *order = malloc(tensors * sizeof *order);
    if (order == NULL) return false;
    for (size_t i = 0; i < tensors; i++) order[i] = (uint32_t)i;
    for (size_t i = 0; i < count; i++) {
        size_t at = i % tensors;
        size_t other = at + random_below(random, tensors - at);
        chosen[i] = order[other];
        order[other] = order[at];
        order[at] = chosen[i];
    }
    free(order);
    return true;
}

static size_t choose_count(size_t tensors)
{
    if (tensors < QUERIES_MIN) return QUERIES_MIN;
    if (tensors > QUERIES_MAX) return QUERIES_MAX;
    return (tensors + QUERY_STEP - 1) / QUERY_STEP * QUERY_STEP;
}

/* An index file that is mapped may tell another name at the next look. */
static bool copy_names(const tare_model *model, const uint32_t *chosen, size_t count,
                       query_list *hits)
{
    size_t text_size = 0;
    if (!allocate_names(hits, count)) return false;
    for (; hits->own < count; hits->own++) {
        tare_string name = tare_name(model, tare_at(model, chosen[hits->own]));
        bool fits = text_size <= TEXT_SIZE_MAX && name.size <= TEXT_SIZE_MAX - text_size;
        if (hits->own > 0 && !fits) break;
        hits->names[hits->own] = name;
        text_size += name.size;
    }
    if (!allocate_text(hits, text_size)) return false;
    char *text = hits->text;
    for (size_t i = 0; i < hits->own; i++) {
        tare_string *name = &hits->names[i];
        if (name->size != 0) memcpy(text, name->data, name->size);
        name->data = text;
        text += name->size;
    }
    repeat_own(hits);
    return true;
}

bool queries_hits(const tare_model *model, uint64_t *random, query_list *hits)
{
    size_t tensors = tare_count(model);
    size_t count = choose_count(tensors);
    uint32_t *chosen = malloc(count * sizeof *chosen);
    bool done = chosen != NULL && choose(tensors, random, count, chosen) &&
                copy_names(model, chosen, count, hits);
    free(chosen);
    return done;
}

static bool is_digit(char letter)
{
    return letter >= '0' && letter <= '9';
}

/* Finds one of the numbers in a name, any with the same chance. False if there is none. */
static bool choose_number(tare_string name, uint64_t *random, size_t *begin, size_t *end)
{
    uint32_t seen = 0;
    for (size_t i = 0; i < name.size;) {
        size_t start = i;
        while (i < name.size && is_digit(name.data[i])) i++;
        if (i == start) {
            i++;
        } else if (random_below(random, ++seen) == 0) {
            *begin = start;
            *end = i;
        }
    }
    return seen > 0;
}

/* Writes `name` with the digits from `begin` to `end` replaced by a number at least as wide. */
static size_t replace_number(tare_string name, size_t begin, size_t end, uint64_t value,
                             char *target)
{
    char digits[TEXT_U64_SIZE];
    size_t used = begin;
    size_t digit_count = text_u64(value, digits);
    memcpy(target, name.data, begin);
    for (size_t i = digit_count; i < end - begin; i++) target[used++] = '0';
    memcpy(target + used, digits, digit_count);
    used += digit_count;
    memcpy(target + used, name.data + end, name.size - end);
    return used + name.size - end;
}

/* Raises a number of the name beyond those that are there: a layer or an expert that the model does
 * not have. Returns the size of what was made, or 0. */
static size_t raise_number(const tare_model *model, uint64_t *random, tare_string name,
                           char *target)
{
    size_t begin = 0;
    size_t end = 0;
    if (!choose_number(name, random, &begin, &end)) return 0;
    if (end - begin > DIGITS_MAX) begin = end - DIGITS_MAX;
    uint64_t value = 0;
    for (size_t i = begin; i < end; i++) value = 10 * value + (uint64_t)(name.data[i] - '0');
    for (unsigned bit = 0; bit <= STEP_BITS_MAX; bit++) {
        size_t size = replace_number(name, begin, end, value + (UINT64_C(1) << bit), target);
        if (tare_find(model, target, size) == NULL) return size;
    }
    return 0;
}

static size_t change_byte(const tare_model *model, uint64_t *random, tare_string name, char *target)
{
    if (name.size == 0) return 0;
    memcpy(target, name.data, name.size);
    for (unsigned i = 0; i < BYTE_TRIES; i++) {
        size_t at = random_below(random, name.size);
        target[at] = (char)('a' + random_below(random, 26));
        if (tare_find(model, target, name.size) == NULL) return name.size;
        target[at] = name.data[at];
    }
    return 0;
}

/* For names that leave nothing else, such as all those of one byte. */
static size_t append_random(const tare_model *model, uint64_t *random, tare_string name,
                            char *target)
{
    enum { LETTERS = 16 };
    memcpy(target, name.data, name.size);
    do {
        for (size_t i = 0; i < LETTERS; i++) {
            target[name.size + i] = (char)('a' + random_below(random, 26));
        }
    } while (tare_find(model, target, name.size + LETTERS) != NULL);
    return name.size + LETTERS;
}

bool queries_misses(const tare_model *model, uint64_t *random, const query_list *hits,
                    query_list *misses)
{
    size_t text_size = 0;
    for (size_t i = 0; i < hits->own; i++) text_size += hits->names[i].size + MISS_ROOM;
    if (!allocate_names(misses, hits->count) || !allocate_text(misses, text_size)) return false;
    char *text = misses->text;
    for (; misses->own < hits->own; misses->own++) {
        tare_string name = hits->names[misses->own];
        bool number_first = random_below(random, 2) == 0;
        size_t size = number_first ? raise_number(model, random, name, text) : 0;
        if (size == 0) size = change_byte(model, random, name, text);
        if (size == 0) size = append_random(model, random, name, text);
        misses->names[misses->own] = (tare_string){text, size};
        text += size;
    }
    repeat_own(misses);
    return true;
}

void queries_free(query_list *list)
{
    free(list->names);
    free(list->text);
    *list = (query_list){NULL, 0, 0, NULL};
}
