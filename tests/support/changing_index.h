/* A model of two tensors from an index file in memory, which becomes another one, just as large, at
 * the n-th load of a byte of it, for every n. For Criterion. */
#ifndef CHANGING_INDEX_H
#define CHANGING_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "builder.h"
#include "index_probe.h"
#include "temp_files.h"

typedef struct changing_index {
    temp_path folder, path; /* of the model */
    build_text file;        /* the same */
    tare_digest digests[2];
    index_image mapped; /* no bytes: loads cannot be noticed here */
    tare_model *model;
    bool changed;   /* since the model was opened */
    bool from_path; /* how models are opened: else from memory */
} changing_index;

extern changing_index changing;

/* Of a file, with the index of another one: both free the texts in the end. */
void changing_make(build_text file, build_text other);
void changing_drop(void);

/* The model, as the options say, with an index. */
tare_status changing_open(const index_image *image, uint32_t index_check, uint64_t rank_max,
                          tare_model **model, tare_error *error);

/* Calls `use` with `how` on the model, or before it is opened, as often as it takes for each change
 * to be made at each load. Returns how many loads that were. */
size_t changing_run(void (*use)(uint32_t how), uint32_t how, bool opened);

/* Whether a call succeeded, as all must as long as nothing has changed. */
bool changing_fine(tare_status status, const tare_error *error);

/* These bytes, which were handed out, are of the index. */
void changing_inside(const void *bytes, uint64_t size);

/* Memory of just that size, which is small. Free it. */
void *changing_take(uint64_t size);

#endif
