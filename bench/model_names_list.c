/* Lists of names: growing them, reading them from files, random orders, and look-alike misses. */
#include "model_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct names_tensor unknown_facts = {
    .dtype = "BF16", .shape = {1024, 1024}, .rank = 2, .element_size = 2};

static int grow(void **items, size_t *capacity, size_t needed, size_t item_size)
{
    if (needed <= *capacity) return 0;
    size_t wanted = *capacity < 1024 ? 1024 : *capacity * 2;
    if (wanted < needed) wanted = needed;
    void *grown = realloc(*items, wanted * item_size);
    if (grown == NULL) return ENOMEM;
    *items = grown;
    *capacity = wanted;
    return 0;
}

int names_add(struct names_list *list, const char *name, size_t name_size,
              const struct names_tensor *facts)
{
    void *tensors = list->tensors, *text = list->text;
    int failed = grow(&tensors, &list->capacity, list->count + 1, sizeof *list->tensors);
    list->tensors = tensors;
    if (failed == 0) failed = grow(&text, &list->text_capacity, list->text_size + name_size + 1, 1);
    list->text = text;
    if (failed != 0) return failed;

    struct names_tensor *tensor = &list->tensors[list->count++];
    *tensor = *facts;
    tensor->name_size = name_size;
    memcpy(list->text + list->text_size, name, name_size);
    list->text[list->text_size + name_size] = '\0';
    list->text_size += name_size + 1;
    return 0;
}

void names_seal(struct names_list *list)
{
    const char *text = list->text;
    for (size_t i = 0; i < list->count; i++) {
        list->tensors[i].name = text;
        text += list->tensors[i].name_size + 1;
    }
}

void names_free(struct names_list *list)
{
    free(list->tensors);
    free(list->text);
    *list = (struct names_list){0};
}

static int finish(struct names_list *list, int failed)
{
    if (failed == 0)
        names_seal(list);
    else
        names_free(list);
    return failed;
}

uint64_t names_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

uint32_t *names_order(size_t count, uint64_t seed)
{
    uint32_t *order = malloc((count + 1) * sizeof *order);
    if (order == NULL) return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t other = (size_t)(names_random(&seed) % (i + 1));
        order[i] = order[other];
        order[other] = (uint32_t)i;
    }
    return order;
}

/* Reading */

static int read_whole(const char *path, char **out_text, size_t *out_size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) return errno;
    char *text = NULL;
    size_t size = 0, capacity = 0;
    int failed = 0;
    while (failed == 0) {
        void *grown = text;
        failed = grow(&grown, &capacity, size + 65536, 1);
        text = grown;
        if (failed != 0) break;
        size_t got = fread(text + size, 1, capacity - size - 1, file);
        size += got;
        if (got == 0) break;
    }
    if (failed == 0 && ferror(file)) failed = EIO;
    fclose(file);
    if (failed != 0) {
        free(text);
        return failed;
    }
    text[size] = '\0'; /* the readers below stop at it */
    *out_text = text;
    *out_size = size;
    return 0;
}

static int read_lines(const char *text, struct names_list *out)
{
    int failed = 0;
    while (*text != '\0' && failed == 0) {
        size_t size = strcspn(text, "\r\n"), tab = size;
        while (tab > 0 && text[tab - 1] != '\t') tab--;
        if (size != tab) failed = names_add(out, text + tab, size - tab, &unknown_facts);
        text += size;
        text += strspn(text, "\r\n");
    }
    return failed;
}

static const char *skip_space(const char *text)
{
    return text + strspn(text, " \t\r\n");
}

/* The end of the string that starts at `text`, past its closing quote; NULL if there is none, or if
 * it has an escape, which no published index has. */
static const char *string_end(const char *text)
{
    if (*text != '"') return NULL;
    size_t size = strcspn(text + 1, "\"\\\n");
    return text[1 + size] == '"' ? text + size + 2 : NULL;
}

static int read_weight_map(const char *text, struct names_list *out)
{
    const char *at = strstr(text, "\"weight_map\"");
    if (at == NULL) return EINVAL;
    at = skip_space(at + strlen("\"weight_map\""));
    if (*at != ':') return EINVAL;
    at = skip_space(at + 1);
    if (*at != '{') return EINVAL;
    do {
        const char *name = skip_space(at + 1);
        const char *end = string_end(name);
        if (end == NULL) return EINVAL;
        int failed = names_add(out, name + 1, (size_t)(end - name) - 2, &unknown_facts);
        if (failed != 0) return failed;
        at = skip_space(end);
        if (*at != ':') return EINVAL;
        at = string_end(skip_space(at + 1));
        if (at == NULL) return EINVAL;
        at = skip_space(at);
    } while (*at == ',');
    return *at == '}' ? 0 : EINVAL;
}

int names_read(const char *path, struct names_list *out)
{
    *out = (struct names_list){0};
    char *text = NULL;
    size_t size = 0;
    int failed = read_whole(path, &text, &size);
    if (failed != 0) return failed;
    if (strlen(text) != size)
        failed = EINVAL;
    else if (*skip_space(text) == '{')
        failed = read_weight_map(text, out);
    else
        failed = read_lines(text, out);
    free(text);
    if (failed == 0 && out->count == 0) failed = EINVAL;
    return finish(out, failed);
}

/* Misses */

struct name_set { /* open addressing over a list's names; numbers + 1, 0 is free */
    const struct names_list *list;
    uint32_t *slots;
    size_t mask;
};

static uint64_t hash_name(const char *name, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)name[i]) * 0x100000001b3u;
    return hash ^ (hash >> 29);
}

static int set_has(const struct name_set *set, const char *name, size_t size, size_t *out_slot)
{
    size_t slot = (size_t)hash_name(name, size) & set->mask;
    for (; set->slots[slot] != 0; slot = (slot + 1) & set->mask) {
        const struct names_tensor *tensor = &set->list->tensors[set->slots[slot] - 1];
        if (tensor->name_size == size && memcmp(tensor->name, name, size) == 0) return 1;
    }
    *out_slot = slot;
    return 0;
}

static int set_make(const struct names_list *list, struct name_set *set)
{
    size_t size = 16;
    while (size < list->count * 2) size *= 2;
    *set = (struct name_set){list, calloc(size, sizeof *set->slots), size - 1};
    if (set->slots == NULL) return ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        size_t slot;
        const struct names_tensor *tensor = &list->tensors[i];
        if (!set_has(set, tensor->name, tensor->name_size, &slot))
            set->slots[slot] = (uint32_t)i + 1;
    }
    return 0;
}

/* The digits that follow `word` in `name`, or NULL. */
static char *digits_after(char *name, const char *word, size_t *out_size)
{
    char *digits = strstr(name, word);
    if (digits == NULL) return NULL;
    digits += strlen(word);
    *out_size = strspn(digits, "0123456789");
    return *out_size == 0 || *out_size > 9 ? NULL : digits;
}

static uint64_t number_limit(const struct names_list *list, const char *word)
{
    uint64_t limit = 0;
    for (size_t i = 0; i < list->count; i++) {
        size_t size;
        char *digits = digits_after((char *)list->tensors[i].name, word, &size);
        if (digits == NULL) continue;
        uint64_t number = strtoull(digits, NULL, 10);
        if (number >= limit) limit = number + 1;
    }
    return limit;
}

/* Replaces the number after `word` by one from `limit` to 2 * limit - 1. `room` bytes are free
 * behind the name. Returns the new size, or 0. */
static size_t change_number(char *name, size_t size, const char *word, uint64_t limit,
                            uint64_t random)
{
    size_t old_size;
    char *digits = digits_after(name, word, &old_size);
    if (digits == NULL || limit == 0) return 0;
    char number[24];
    size_t new_size = (size_t)snprintf(number, sizeof number, "%llu",
                                       (unsigned long long)(limit + random % limit));
    size_t tail = size - (size_t)(digits - name) - old_size + 1;
    memmove(digits + new_size, digits + old_size, tail);
    memcpy(digits, number, new_size);
    return size - old_size + new_size;
}

static void change_byte(char *name, size_t size, uint64_t random)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char *byte = &name[(size_t)(random >> 32) % size];
    char letter = letters[(size_t)(random & 0xffff) % (sizeof letters - 1)];
    *byte = letter == *byte ? '_' : letter;
}

/* Writes a name that is not in the set to `name`, which has room for 32 more bytes. */
static size_t make_miss(const struct name_set *set, const struct names_tensor *tensor, size_t kind,
                        const uint64_t limits[2], uint64_t *state, char *name)
{
    size_t size = 0, slot;
    memcpy(name, tensor->name, tensor->name_size + 1);
    if (kind == 0)
        size = change_number(name, tensor->name_size, ".experts.", limits[0], names_random(state));
    if (size == 0 && kind != 2)
        size = change_number(name, tensor->name_size, ".layers.", limits[1], names_random(state));
    while (size == 0 || set_has(set, name, size, &slot)) {
        size = tensor->name_size;
        if (size == 0) { /* nothing to change in an empty name */
            memcpy(name, "missing", 8);
            size = 7;
        }
        change_byte(name, size, names_random(state));
    }
    return size;
}

int names_misses(const struct names_list *list, uint64_t seed, struct names_list *out)
{
    *out = (struct names_list){0};
    uint64_t limits[2] = {number_limit(list, ".experts."), number_limit(list, ".layers.")};
    size_t longest = 0;
    for (size_t i = 0; i < list->count; i++)
        if (list->tensors[i].name_size > longest) longest = list->tensors[i].name_size;

    struct name_set set;
    char *name = malloc(longest + 33);
    int failed = set_make(list, &set);
    if (name == NULL) failed = ENOMEM;
    for (size_t i = 0; i < list->count && failed == 0; i++) {
        size_t kind = (size_t)(names_random(&seed) % 3);
        size_t size = make_miss(&set, &list->tensors[i], kind, limits, &seed, name);
        failed = names_add(out, name, size, &list->tensors[i]);
    }
    free(name);
    free(set.slots);
    return finish(out, failed);
}
