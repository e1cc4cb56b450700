/*
 * Finding in the table of an index file. Everything that finds in other tables leads here by way of
 * one line of a table that has none: the paths through find.c that are taken for tables that are
 * trusted carry no check for the sake of those that are not.
 *
 * A line is copied before it is looked at. A find looks at no more lines than opening found room
 * for, or halves the order of names: it ends whatever the table holds.
 */
#include "line.h"
#include "prebuilt.h"
#include "sort.h"

#define BATCH 16u

#define MARK TAREI_SMALL_MARK
static const tarei_line all_elsewhere = {
    .small.numbers = {MARK, MARK, MARK, MARK, MARK, MARK, MARK, MARK}};
static const tarei_part part_of_none = {0, UINT32_MAX};
static const uint32_t some_order;

void tarei_prebuilt_lead(tarei_index *index, const tarei_prebuilt *prebuilt)
{
    *index = prebuilt->table;
    index->small_sizes = TAREI_NAME_USUAL_COUNT;
    index->lines = &all_elsewhere;
    index->range = 0;
    index->prefixes = index->suffixes = &part_of_none;
    index->sorted = &some_order;
    index->checked = prebuilt;
}

static bool same_text(const tarei_names *names, uint32_t place, const char *name, size_t size)
{
    return place <= names->text_size && size <= names->text_size - place &&
           tarei_names_same(name, names->text + place, size);
}

/* Whether a pair of parts is that name: what a large table knows without a look at records. */
static bool same_parts(const tarei_prebuilt *prebuilt, tarei_pair pair, const char *name,
                       size_t size)
{
    const tarei_index *table = &prebuilt->table;
    uint32_t first = pair & 0xFFFF, second = pair >> 16;
    if (first >= prebuilt->prefix_count || second >= prebuilt->suffix_count) return false;
    uint32_t prefix_size = tarei_once_32(&table->prefixes[first].size) & ~TAREI_PART_LONG;
    uint32_t suffix_size = tarei_once_32(&table->suffixes[second].size) & ~TAREI_PART_LONG;
    return (uint64_t)prefix_size + suffix_size == size &&
           same_text(table->names, tarei_once_32(&table->prefixes[first].place), name,
                     prefix_size) &&
           same_text(table->names, tarei_once_32(&table->suffixes[second].place),
                     name + prefix_size, suffix_size);
}

static bool same_name(const tarei_names *names, uint32_t number, const char *name, size_t size)
{
    tare_string stored = tarei_names_get(names, &names->records[number]);
    return stored.size == size && tarei_names_same(name, stored.data, size);
}

static const tarei_record *find_in_line(const tarei_prebuilt *prebuilt, const tarei_line *line,
                                        const char *name, size_t size, uint64_t hash)
{
    const tarei_index *table = &prebuilt->table;
    tarei_places places = tarei_line_match(table, line, hash);
    for (; places != 0; places &= places - 1) {
        uint32_t at = tarei_places_first(places), number = tarei_line_number(table, line, at);
        if (number == 0 || number > table->names->count) continue;
        tarei_pair pair = tarei_index_is_small(table) ? TAREI_PAIR_NONE : line->large.pairs[at];
        if (pair != TAREI_PAIR_NONE ? same_parts(prebuilt, pair, name, size)
                                    : same_name(table->names, number - 1, name, size))
            return table->names->records + number - 1;
    }
    return NULL;
}

static const tarei_record *find_sorted(const tarei_names *names, const uint32_t *order,
                                       const char *name, size_t size)
{
    uint32_t low = 0, high = names->count, last = names->count; /* last: the number at `high` */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2, number = tarei_once_32(&order[middle]);
        if (number >= names->count) return NULL;
        tare_string stored = tarei_names_get(names, &names->records[number]);
        if (tarei_sort_compare(stored.data, stored.size, name, size) < 0) {
            low = middle + 1;
        } else {
            high = middle;
            last = number;
        }
    }
    return last < names->count && same_name(names, last, name, size) ? &names->records[last] : NULL;
}

const tarei_record *tarei_prebuilt_find(const tarei_prebuilt *prebuilt, const char *name,
                                        size_t size, uint64_t hash)
{
    const tarei_index *table = &prebuilt->table;
    if (table->sorted != NULL) return find_sorted(table->names, table->sorted, name, size);
    const tarei_line *at = tarei_line_home(table, hash);
    for (uint32_t reach = 0; reach < table->reach; reach++, at++) {
        tarei_line line;
        memcpy(&line, at, sizeof line);
        __asm__("" : "+m"(line)); /* from here on the copy is all that is known */
        const tarei_record *found = find_in_line(prebuilt, &line, name, size, hash);
        if (found != NULL) return found;
        if (!tarei_line_overflowed(table, &line, hash)) break;
    }
    return NULL;
}

size_t tarei_prebuilt_find_many(const tarei_prebuilt *prebuilt, const tare_string *wanted,
                                size_t count, const tarei_record **out)
{
    const tarei_index *table = &prebuilt->table;
    uint64_t hashes[BATCH];
    size_t found = 0;
    for (size_t at = 0; at < count; at += BATCH) {
        size_t batch = count - at < BATCH ? count - at : BATCH;
        for (size_t i = 0; i < batch; i++) {
            hashes[i] = tarei_line_hash(table, wanted[at + i].data, wanted[at + i].size);
            if (table->sorted == NULL) __builtin_prefetch(tarei_line_home(table, hashes[i]));
        }
        for (size_t i = 0; i < batch; i++) {
            const tare_string name = wanted[at + i];
            out[at + i] = tarei_prebuilt_find(prebuilt, name.data, name.size, hashes[i]);
            found += out[at + i] != NULL;
        }
    }
    return found;
}

const tarei_record *tarei_prebuilt_find_key(const tare_model *model, const char *key, size_t size)
{
    return find_sorted(&model->metadata, model->prebuilt->key_order, key, size);
}
