/*
 * A fixed workload to count instructions of, under callgrind (report_count.py): the same names,
 * file, order and seed in every run. Each function below whose name starts with `count_` makes
 * calls of one function of tare and of no other. With `indexed` the model that is asked comes from
 * an index file, with `gguf` from a GGUF file.
 */
#define _POSIX_C_SOURCE 200809L /* mkstemp */
#include "model_file.h"
#include "model_gguf.h"
#include "model_names.h"
#include "tare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOT_INLINED __attribute__((noinline))

enum { BATCH = 256 };

struct workload {
    char *file;
    size_t file_size;
    size_t count;
    tare_string *hits;   /* all names in random order, in memory of their own */
    tare_string *misses; /* look-alike names */
    tare_key *keys;      /* of the hits */
};

static void *check(void *memory)
{
    if (memory != NULL) return memory;
    fputs("count_lookups: no memory\n", stderr);
    exit(1);
}

/* The bytes of tensors are never looked at. */
static void make_file(const struct names_list *list, struct workload *workload)
{
    struct model_shard shard;
    int failed = model_shard_make(list, 0, list->count, MODEL_DATA_SMALL, NULL, &shard);
    check(failed == 0 ? list->tensors : NULL);
    workload->file_size = shard.header_size + (size_t)shard.data_size;
    workload->file = check(calloc(workload->file_size, 1));
    memcpy(workload->file, shard.header, shard.header_size);
    model_shard_free(&shard);
}

/* In place of the other. */
static void make_gguf(const struct names_list *list, struct workload *workload)
{
    struct model_gguf request = {MODEL_DATA_SMALL, NULL, 0};
    char folder[] = "/tmp/count_lookups.XXXXXX", path[sizeof folder + sizeof "/gguf"];
    check(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/gguf", folder);
    int failed = model_gguf_write(list, &request, path);
    FILE *file = failed == 0 ? fopen(path, "rb") : NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        free(workload->file);
        workload->file_size = (size_t)ftell(file);
        workload->file = check(malloc(workload->file_size));
        rewind(file);
        if (fread(workload->file, 1, workload->file_size, file) != workload->file_size) failed = 1;
    }
    if (file != NULL) fclose(file);
    unlink(path);
    rmdir(folder);
    check(failed == 0 && file != NULL ? workload->file : NULL);
}

static tare_string *make_queries(const struct names_list *list, uint64_t seed)
{
    uint32_t *order = check(names_order(list->count, seed));
    tare_string *queries = check(malloc(list->count * sizeof *queries));
    char *text = check(malloc(list->text_size));
    for (size_t i = 0; i < list->count; i++) {
        const struct names_tensor *tensor = &list->tensors[order[i]];
        queries[i] = (tare_string){text, tensor->name_size};
        memcpy(text, tensor->name, tensor->name_size);
        text += tensor->name_size;
    }
    free(order);
    return queries; /* with its text, for as long as the program runs */
}

static int make_workload(const char *set, int gguf, struct workload *workload)
{
    struct names_list list, misses;
    if (names_make(set, &list) != 0 || names_misses(&list, 1, &misses) != 0) return 0;
    workload->count = list.count;
    make_file(&list, workload);
    if (gguf) make_gguf(&list, workload);
    workload->hits = make_queries(&list, 1);
    workload->misses = make_queries(&misses, 1000);
    workload->keys = check(malloc(list.count * sizeof *workload->keys));
    names_free(&list);
    names_free(&misses);
    return 1;
}

static NOT_INLINED tare_model *count_open(const struct workload *workload)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.flags = TARE_SEED_FIXED;
    options.seed = 1;
    tare_model *model;
    tare_error error;
    if (tare_open_bytes(workload->file, workload->file_size, &options, &model, &error) != TARE_OK)
        fprintf(stderr, "count_lookups: %s\n", error.message);
    return model;
}

/* The same from an index file, which is made for it. */
static tare_model *open_indexed(const struct workload *workload)
{
    char path[] = "/tmp/count_lookups.XXXXXX";
    tare_options options = TARE_OPTIONS_INIT;
    tare_index_options replace = TARE_INDEX_OPTIONS_INIT;
    tare_error error;
    int file = mkstemp(path);
    tare_model *parsed = count_open(workload), *model = NULL;
    options.index = TARE_INDEX_REQUIRE;
    options.index_path = path;
    replace.flags = TARE_SAVE_REPLACE;
    if (file < 0 || parsed == NULL || tare_index_save(parsed, path, &replace, &error) != TARE_OK ||
        tare_open_bytes(workload->file, workload->file_size, &options, &model, &error) != TARE_OK)
        fputs("count_lookups: no index file\n", stderr);
    tare_close(parsed);
    if (file >= 0) {
        close(file);
        unlink(path);
    }
    return model;
}

static NOT_INLINED size_t count_hits(const tare_model *model, const struct workload *workload)
{
    size_t found = 0;
    for (size_t i = 0; i < workload->count; i++)
        found += tare_find(model, workload->hits[i].data, workload->hits[i].size) != NULL;
    return found;
}

static NOT_INLINED size_t count_misses(const tare_model *model, const struct workload *workload)
{
    size_t found = 0;
    for (size_t i = 0; i < workload->count; i++)
        found += tare_find(model, workload->misses[i].data, workload->misses[i].size) != NULL;
    return found;
}

static NOT_INLINED size_t count_keys(const tare_model *model, const struct workload *workload)
{
    size_t found = 0;
    for (size_t i = 0; i < workload->count; i++)
        found += tare_find_key(model, &workload->keys[i]) != NULL;
    return found;
}

static NOT_INLINED size_t count_batches(const tare_model *model, const struct workload *workload)
{
    const tare_tensor *tensors[BATCH];
    size_t found = 0, size;
    for (size_t i = 0; i < workload->count; i += size) {
        size = workload->count - i < BATCH ? workload->count - i : BATCH;
        found += tare_find_many(model, workload->hits + i, size, tensors);
    }
    return found;
}

int main(int argument_count, char **arguments)
{
    struct workload workload;
    int indexed = argument_count == 3 && strcmp(arguments[2], "indexed") == 0;
    int gguf = argument_count == 3 && strcmp(arguments[2], "gguf") == 0;
    if (argument_count != 2 + (indexed || gguf) || !make_workload(arguments[1], gguf, &workload)) {
        fputs("usage: count_lookups SET [indexed|gguf]\n", stderr);
        return 2;
    }
    tare_model *model = indexed ? open_indexed(&workload) : count_open(&workload);
    if (model == NULL) return 1;
    for (size_t i = 0; i < workload.count; i++)
        workload.keys[i] = tare_key_make(model, workload.hits[i].data, workload.hits[i].size);
    int right = count_hits(model, &workload) == workload.count &&
                count_keys(model, &workload) == workload.count &&
                count_batches(model, &workload) == workload.count &&
                count_misses(model, &workload) == 0;
    printf("%zu\n", workload.count);
    tare_close(model);
    return right ? 0 : 1;
}
