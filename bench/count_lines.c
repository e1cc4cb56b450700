/*
 * What finds look at: lines of the table and stored names, counted over all names of a set and over
 * as many look-alikes. The library's find.c is compiled into this program again, with counters. A
 * line of JSON for each set, named as names_make and names_read have it; the seed is fixed.
 */
#include "model_names.h"
#include "support/find_counts.h"
#include "tare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

find_count find_counts;

struct tally {
    size_t finds, found, away, lines, comparisons; /* away: those that read more than one line */
};

static tare_model *open_names(const struct names_list *list)
{
    tare_pair *pairs = calloc(list->count, sizeof *pairs);
    if (pairs == NULL) return NULL;
    for (size_t i = 0; i < list->count; i++)
        pairs[i] = (tare_pair){list->tensors[i].name, list->tensors[i].name_size, NULL, 0};
    tare_options options = TARE_OPTIONS_INIT;
    options.flags = TARE_SEED_FIXED;
    options.seed = 1;
    tare_model *model;
    tare_error error;
    if (tare_open_pairs(pairs, list->count, &options, &model, &error) != TARE_OK)
        fprintf(stderr, "count_lines: %s\n", error.message);
    free(pairs);
    return model;
}

static struct tally count(const tare_model *model, const struct names_list *list)
{
    struct tally tally = {0, 0, 0, 0, 0};
    for (size_t i = 0; i < list->count; i++) {
        find_counts = (find_count){0, 0, NULL};
        tally.found += tare_find(model, list->tensors[i].name, list->tensors[i].name_size) != NULL;
        tally.finds++;
        tally.away += find_counts.lines > 1;
        tally.lines += find_counts.lines;
        tally.comparisons += find_counts.comparisons;
    }
    return tally;
}

static void print(const char *what, const struct tally *tally)
{
    double finds = (double)tally->finds;
    printf(", \"%s\": {\"away\": %.6f, \"lines\": %.6f, \"comparisons\": %.6f}", what,
           (double)tally->away / finds, (double)tally->lines / finds,
           (double)tally->comparisons / finds);
}

static int count_set(const char *set)
{
    struct names_list list, misses;
    if (names_make(set, &list) != 0 && names_read(set, &list) != 0) return 0;
    if (names_misses(&list, 1, &misses) != 0) return 0;
    tare_model *model = open_names(&list);
    if (model == NULL) return 0;
    struct tally hit = count(model, &list), miss = count(model, &misses);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    printf("{\"probe_max\": %u", (unsigned)stat.probe_max);
    print("hit", &hit);
    print("miss", &miss);
    printf("}\n");
    tare_close(model);
    names_free(&list);
    names_free(&misses);
    return hit.found == hit.finds && miss.found == 0;
}

int main(int argument_count, char **arguments)
{
    for (int i = 1; i < argument_count; i++)
        if (!count_set(arguments[i])) {
            fprintf(stderr, "count_lines: set %s: not made, or not found as it should be\n",
                    arguments[i]);
            return 1;
        }
    return argument_count > 1 ? 0 : 2;
}
