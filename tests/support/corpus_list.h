/* The corpus of good and hostile files: tests/data/corpus/manifest.tsv and expect.tsv. */
#ifndef CORPUS_LIST_H
#define CORPUS_LIST_H

#include <stddef.h>
#include <stdint.h>

typedef struct corpus_case {
    char *path; /* relative to TARE_TEST_DATA "/corpus" */
    char *rule; /* of docs/format_safetensors.md, or of docs/format_gguf.md */
    int is_index;
    int is_gguf;
    int accept;
} corpus_case;

/* The bytes of a value as they are in the file, without the length of a string. */
typedef struct corpus_item {
    char *data;
    size_t size;
} corpus_item;

/* A tensor or an entry of metadata of a good case, in the order in which a model lists them. */
typedef struct corpus_fact {
    char *path;
    char *name;
    size_t name_size;
    corpus_item *items; /* of metadata, else NULL: the one value, or those of an array */
    size_t item_count;
    int is_array;
    char *dtype; /* of metadata the name of the kind of its items */
    uint64_t *shape;
    uint32_t rank;
    uint32_t shard;
    uint64_t offset; /* from the start of the shard */
    uint64_t size;
} corpus_fact;

typedef struct corpus_list {
    corpus_case *cases;
    size_t case_count;
    corpus_fact *facts;
    size_t fact_count;
    char *text[2]; /* what the strings above point into */
} corpus_list;

corpus_list corpus_read(void);
void corpus_free(corpus_list *list);

#endif
