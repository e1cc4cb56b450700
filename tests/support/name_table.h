/* The library's own storage of names (names.h) and their index (index.h), filled from a list, for
 * unit tests. */
#ifndef NAME_TABLE_H
#define NAME_TABLE_H

#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "name_sets.h"
#include "names.h"

typedef struct name_table {
    tarei_memory memory;
    tarei_arena arena;
    tarei_names names;
    tarei_record *records;
    tarei_index index;
    tare_status status; /* of building it */
    uint32_t same[2];
} name_table;

/* `table` must stay where it is. Free it, whatever its status. */
static inline void name_table_make(name_table *table, const tare_string *list, size_t count,
                                   uint64_t seed, tarei_duplicates duplicates,
                                   const tare_allocator *hooks)
{
    tarei_names_builder names;
    tarei_index_builder index;
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++) size += list[i].size;
    memset(table, 0, sizeof *table);
    tarei_memory_init(&table->memory, hooks);
    tarei_arena_init(&table->arena, &table->memory);
    table->records = calloc(count + 1, sizeof *table->records);
    table->status = TARE_E_MEMORY;
    if (table->records == NULL || !tarei_names_begin(&names, &table->names, &table->arena,
                                                     table->records, (uint32_t)count, size))
        return;
    table->status =
        tarei_index_begin(&index, &table->index, &table->names, seed, duplicates, &table->arena);
    for (size_t i = 0; i < count && table->status == TARE_OK; i++) {
        uint32_t name_size = (uint32_t)list[i].size;
        tarei_pair pair = tarei_names_add(&names, (uint32_t)i, list[i].data, name_size, false);
        table->status = tarei_index_add(
            &index, (uint32_t)i, table->names.text + table->records[i].name, name_size, pair);
    }
    if (!tarei_names_end(&names, &table->arena) && table->status == TARE_OK)
        table->status = TARE_E_MEMORY;
    table->status = tarei_index_end(&index, table->status);
    memcpy(table->same, index.same, sizeof table->same);
}

/* The sorted index in place of the table. */
static inline void name_table_sort(name_table *table, tarei_duplicates duplicates)
{
    table->status = tarei_index_build_sorted(&table->index, &table->names, duplicates,
                                             &table->arena, table->same);
}

static inline void name_table_free(name_table *table)
{
    tarei_arena_free(&table->arena);
    free(table->records);
}

#endif
