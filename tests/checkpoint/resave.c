/*
 * Saves what it opens, for a script to compare with what another writer writes: for each line of
 * standard input, "FROM<tab>TO<tab>ALIGNMENT<tab>map|read", the tensors and metadata of a model in
 * an order that is not that of its file. Prints a line each: a status, and behind a tab the
 * message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tare.h"

static tare_status save(const tare_model *model, const char *path, size_t alignment,
                        tare_error *error)
{
    size_t count = tare_count(model), metadata_count = tare_metadata_count(model);
    tare_save_tensor *tensors = calloc(count + 1, sizeof *tensors);
    tare_save_metadata *metadata = calloc(metadata_count + 1, sizeof *metadata);
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    if (tensors == NULL || metadata == NULL) abort();
    for (size_t i = 0; i < count; i++) {
        tensors[i].model = model;
        /* 2 and an odd count share no divisor: each place comes once. */
        tensors[i].tensor = tare_at(model, count % 2 != 0 ? 2 * i % count : count - 1 - i);
    }
    for (size_t i = 0; i < metadata_count; i++)
        tare_metadata_at(model, i, &metadata[i].key, &metadata[i].value, NULL);
    options.flags = TARE_SAVE_REPLACE;
    options.alignment = alignment;
    options.metadata = metadata;
    options.metadata_count = metadata_count;
    tare_status status = tare_save(path, tensors, count, &options, error);
    free(tensors);
    free(metadata);
    return status;
}

int main(void)
{
    char line[8192];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *from = strtok(line, "\t"), *to = strtok(NULL, "\t"), *alignment = strtok(NULL, "\t");
        const char *backing = strtok(NULL, "\n");
        if (backing == NULL) return 2;
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        tare_error error;
        options.backing = strcmp(backing, "read") == 0 ? TARE_BACKING_READ : TARE_BACKING_MAP;
        tare_status status = tare_open(from, &options, &model, &error);
        if (status == TARE_OK) status = save(model, to, (size_t)atol(alignment), &error);
        tare_close(model);
        printf("%s\t%s\n", tare_status_name(status), error.message);
        fflush(stdout);
    }
    return 0;
}
