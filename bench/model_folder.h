/* Makes a model of real-scheme tensor names at a path: a file or a folder of shards. */
#ifndef TARE_BENCH_MODEL_FOLDER_H
#define TARE_BENCH_MODEL_FOLDER_H

#include "model_file.h"

#ifdef __cplusplus
extern "C" {
#endif

struct model_request {
    const char *out;
    const char *set;        /* for names_make */
    const char *names_path; /* for names_read, or NULL */
    size_t shards;          /* 0 is a single file */
    int data;               /* MODEL_DATA_* */
    int file_only;          /* `out` is the single file, not a folder that holds it */
    int gguf;               /* a single GGUF file, not safetensors */
    size_t tokens;          /* of a vocabulary in its metadata */
    char recipe[256];       /* what it was made of, by model_recipe; stands in the files */
};

/* "small", "true", "filled" for MODEL_DATA_*; NULL for another number. */
const char *model_data_name(int data);

/* Returns 0 when the names of files or sets are too odd for a recipe. */
int model_recipe(struct model_request *request);

/* The number of shards the model of that set is published in, or a likely one. */
size_t model_published_shards(const char *set);

/*
 * Makes what is asked for beside `out` and renames it: `out` is never there in part. What was made
 * before with the same recipe is left as it is, with another recipe it is replaced; anything else
 * at `out` is an error. Returns 0, or 1 after a message on stderr.
 */
int model_make(const struct model_request *request);

#ifdef __cplusplus
}
#endif

#endif
