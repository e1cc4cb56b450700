/* The table of names against a linear scan. An input is: a byte of options, then lines, each a
 * name. Names are asked for as they are, cut short, and changed. fuzz_index_large compiles the
 * table so that few names get the layout of many. */
#include <string.h>

#include "fuzz.h"
#include "support/name_table.h"

enum { NAME_MAX_COUNT = 48 };

typedef struct list {
    tare_string names[NAME_MAX_COUNT];
    size_t count;
} list;

static const tarei_record *scan(const name_table *table, const char *name, size_t size)
{
    for (size_t i = 0; i < table->names.count; i++) {
        tare_string stored = tarei_names_at(&table->names, &table->records[i]);
        if (stored.size == size && (size == 0 || memcmp(stored.data, name, size) == 0))
            return &table->records[i];
    }
    return NULL;
}

static void ask(const name_table *table, const char *name, size_t size)
{
    const tarei_record *wanted = scan(table, name, size);
    uint64_t hash = tarei_find_hash(&table->index, name, size);
    FUZZ_CHECK(tarei_find_name(&table->index, name, size) == wanted);
    FUZZ_CHECK(tarei_find_hashed(&table->index, name, size, hash) == wanted);
    const tarei_record *found = table->records;
    const tare_string one = {name, size};
    FUZZ_CHECK(tarei_find_many(&table->index, &one, 1, &found) == (wanted != NULL));
    FUZZ_CHECK(found == wanted);
}

static void ask_around(const name_table *table, const tare_string *name)
{
    char *copy = fuzz_copy((const void *)name->data, name->size);
    ask(table, copy, name->size);
    for (size_t i = 0; i < name->size; i += name->size / 3 + 1) {
        copy[i] ^= 4;
        ask(table, copy, name->size);
        copy[i] ^= 4;
    }
    free(copy);
    if (name->size == 0) return;
    copy = fuzz_copy((const void *)name->data, name->size - 1);
    ask(table, copy, name->size - 1);
    free(copy);
}

static int has_twice(const list *names)
{
    for (size_t i = 0; i < names->count; i++)
        for (size_t k = 0; k < i; k++)
            if (names->names[i].size == names->names[k].size &&
                memcmp(names->names[i].data, names->names[k].data, names->names[i].size) == 0)
                return 1;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    list names = {.count = 0};
    name_table table;
    if (size < 2) return 0;
    uint8_t *copy = fuzz_copy(data, size);
    const char *at = (const char *)copy + 1, *end = (const char *)copy + size;
    while (at < end && names.count < NAME_MAX_COUNT) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t name_size = (size_t)((line != NULL ? line : end) - at);
        names.names[names.count++] = (tare_string){at, name_size};
        at += name_size + 1;
    }
    tarei_duplicates duplicates =
        data[0] & 1 ? TAREI_DUPLICATES_KEEP_FIRST : TAREI_DUPLICATES_REFUSE;
    name_table_make(&table, names.names, names.count, data[0] >> 2, duplicates, NULL);
    if (table.status == TARE_E_DUPLICATE) {
        FUZZ_CHECK(duplicates == TAREI_DUPLICATES_REFUSE && has_twice(&names));
    } else {
        FUZZ_CHECK(table.status == TARE_OK);
        FUZZ_CHECK(duplicates == TAREI_DUPLICATES_KEEP_FIRST || !has_twice(&names));
        if (data[0] & 2) name_table_sort(&table, duplicates);
        FUZZ_CHECK(table.status == TARE_OK);
        for (size_t i = 0; i < names.count; i++) ask_around(&table, &names.names[i]);
    }
    name_table_free(&table);
    free(copy);
    return 0;
}
