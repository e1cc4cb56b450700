/* Names found in the table, and others not. Compiled for either layout of lines: see
 * CMakeLists.txt. */
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "line.h"
#include "support/expect.h"
#include "support/name_sets.h"
#include "support/name_table.h"

/* Names that the short path compares in windows: every size of both parts around the edges of the
 * windows, and every byte of them changed. */
Test(find, tells_names_apart_by_any_byte_of_either_part)
{
    for (size_t prefix = 0; prefix <= 40; prefix += prefix < 34 && prefix > 2 ? 5 : 1)
        for (size_t suffix = 0; suffix <= 66;
             suffix += suffix % 16 > 2 && suffix % 16 < 13 ? 5 : 1) {
            size_t size = prefix + suffix;
            if (size == 0 || prefix == 1) continue;
            char *name = malloc(size);
            memset(name, 'p', size);
            if (prefix > 2) name[prefix - 3] = '.';
            if (prefix > 1) name[prefix - 2] = '4';
            if (prefix > 1) name[prefix - 1] = '.';
            tare_string list[] = {{name, size}, {"another name of 26 bytes..", 26}};
            name_table table;
            name_table_make(&table, list, 2, 9, TAREI_DUPLICATES_REFUSE, NULL);
            uint64_t hash = tarei_find_hash(&table.index, name, size);
            cr_assert_eq(tarei_find_name(&table.index, name, size), &table.records[0]);
            for (size_t at = 0; at < size; at++) {
                char *changed = malloc(size); /* by itself, so that reads beyond are seen */
                memcpy(changed, name, size);
                changed[at] = (char)(changed[at] ^ 1);
                cr_assert_null(tarei_find_hashed(&table.index, changed, size, hash),
                               "byte %zu of %zu and %zu", at, prefix, suffix);
                free(changed);
            }
            char *longer = malloc(size + 1);
            memcpy(longer, name, size);
            longer[size] = 0;
            cr_assert_null(tarei_find_hashed(&table.index, longer, size + 1, hash));
            cr_assert_null(tarei_find_hashed(&table.index, longer, size - 1, hash));
            free(longer);
            name_table_free(&table);
            free(name);
        }
}

Test(find, hashed_and_many_agree_with_name)
{
    name_set set = name_set_text();
    name_table table;
    name_table_make(&table, set.names, set.count, 3, TAREI_DUPLICATES_REFUSE, NULL);
    for (size_t count = 0; count <= 70; count++) {
        const tarei_record *out[71];
        tare_string wanted[71];
        size_t present = 0;
        for (size_t i = 0; i < 71; i++) out[i] = &table.records[0];
        for (size_t i = 0; i < count; i++) {
            wanted[i] = set.names[(i * 37 + count) % set.count];
            if (i % 3 == 1) wanted[i].size--;
            const tarei_record *record =
                tarei_find_name(&table.index, wanted[i].data, wanted[i].size);
            uint64_t hash = tarei_find_hash(&table.index, wanted[i].data, wanted[i].size);
            cr_expect_eq(tarei_find_hashed(&table.index, wanted[i].data, wanted[i].size, hash),
                         record);
            present += record != NULL;
        }
        cr_expect_eq(tarei_find_many(&table.index, wanted, count, out), present);
        for (size_t i = 0; i < count; i++)
            cr_expect_eq(out[i], tarei_find_name(&table.index, wanted[i].data, wanted[i].size),
                         "%zu of %zu", i, count);
        cr_expect_eq(out[count], &table.records[0], "wrote beyond %zu", count);
    }
    name_table_free(&table);
    name_set_free(&set);
}

/* Small lines hold places of names in the first 64 MiB of text only. */
Test(find, names_behind_64_mib_of_names)
{
    enum { HUGE_SIZE = 40 << 20 };
    char *huge[2];
    tare_string list[3] = {[2] = {"model.layers.3.mlp.up_proj.weight", 33}};
    for (size_t i = 0; i < 2; i++) {
        huge[i] = malloc(HUGE_SIZE);
        memset(huge[i], 'a' + (int)i, HUGE_SIZE);
        list[i] = (tare_string){huge[i], HUGE_SIZE};
    }
    name_table table;
    name_table_make(&table, list, 3, 4, TAREI_DUPLICATES_REFUSE, NULL);
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(tarei_find_name(&table.index, list[i].data, list[i].size), &table.records[i],
                     "name %zu", i);
    cr_expect_null(tarei_find_name(&table.index, "model.layers.4.mlp.up_proj.weight", 33));
    name_table_free(&table);
    free(huge[0]);
    free(huge[1]);
}
