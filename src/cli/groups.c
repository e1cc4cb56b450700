#include "cli.h"

#include <stdlib.h>
#include <string.h>

static bool is_separator(char letter)
{
    return letter == '.' || letter == '/';
}

/*
 * The group of a name: all up to and including its first component that is a number, which
 * `stem_size` leaves out; without one, all but the last component; without that, the whole name.
 */
static group group_of(tare_string name, uint64_t size)
{
    group made = {.key = name, .folded = 1, .tensors = 1, .size = size};
    size_t start = 0;
    bool number = true;
    for (size_t i = 0; i < name.size; i++) {
        if (!is_separator(name.data[i])) {
            number = number && name.data[i] >= '0' && name.data[i] <= '9';
            continue;
        }
        if (number && i > start) {
            made.key.size = i + 1;
            made.stem_size = start;
            made.numbered = true;
            return made;
        }
        start = i + 1;
        number = true;
    }
    if (start > 0) made.key.size = start;
    return made;
}

static bool same(tare_string a, tare_string b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static bool append(group_list *list, const group *added)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
        if (capacity > SIZE_MAX / sizeof *list->groups) return false;
        group *groups = realloc(list->groups, capacity * sizeof *groups);
        if (groups == NULL) return false;
        list->groups = groups;
        list->capacity = capacity;
    }
    list->groups[list->count++] = *added;
    return true;
}

static void add_up(group *into, const group *from)
{
    into->tensors += from->tensors;
    into->size += from->size;
}

static int compare_groups(const void *first, const void *second)
{
    return text_compare_natural(((const group *)first)->key, ((const group *)second)->key);
}

bool groups_make(const tare_model *model, group_list *list)
{
    *list = (group_list){NULL, 0, 0};
    size_t count = tare_count(model);
    for (size_t i = 0; i < count; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        group made = group_of(tare_name(model, tensor), tare_size(model, tensor));
        /* Tensors of a layer mostly lie together, so that few are left to sort. */
        group *last = list->count > 0 ? &list->groups[list->count - 1] : NULL;
        if (last != NULL && same(last->key, made.key)) {
            add_up(last, &made);
        } else if (!append(list, &made)) {
            groups_free(list);
            return false;
        }
    }
    if (list->count == 0) return true;
    qsort(list->groups, list->count, sizeof *list->groups, compare_groups);
    size_t kept = 0;
    for (size_t i = 1; i < list->count; i++) {
        if (same(list->groups[kept].key, list->groups[i].key)) {
            add_up(&list->groups[kept], &list->groups[i]);
        } else {
            list->groups[++kept] = list->groups[i];
        }
    }
    list->count = kept + 1;
    return true;
}

/* Those that differ only in their number side by side. */
static int compare_stems(const void *first, const void *second)
{
    const group *a = first;
    const group *b = second;
    if (a->numbered != b->numbered) return a->numbered - b->numbered;
    tare_string stem_a = {a->key.data, a->numbered ? a->stem_size : a->key.size};
    tare_string stem_b = {b->key.data, b->numbered ? b->stem_size : b->key.size};
    return text_compare_natural(stem_a, stem_b);
}

void groups_fold(group_list *list)
{
    if (list->count == 0) return;
    qsort(list->groups, list->count, sizeof *list->groups, compare_stems);
    size_t kept = 0;
    for (size_t i = 1; i < list->count; i++) {
        group *into = &list->groups[kept];
        const group *from = &list->groups[i];
        if (into->numbered && compare_stems(into, from) == 0) {
            add_up(into, from);
            into->folded++;
        } else {
            list->groups[++kept] = list->groups[i];
        }
    }
    list->count = kept + 1;
    qsort(list->groups, list->count, sizeof *list->groups, compare_groups);
}

void groups_free(group_list *list)
{
    free(list->groups);
    *list = (group_list){NULL, 0, 0};
}
