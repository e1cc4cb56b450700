/* One safetensors file in each way that its bytes can be reached, for tests of slices. */
#ifndef SLICE_MODELS_H
#define SLICE_MODELS_H

#include "builder.h"
#include "reader_probe.h"
#include "temp_files.h"

enum { SLICE_WAYS = 4 }; /* memory, mapped, read, reader */

extern const char *const slice_way_names[SLICE_WAYS];

typedef struct slice_models {
    build_text file;
    temp_path path;
    reader_probe probe;
    tare_model *way[SLICE_WAYS];
} slice_models;

/* Writes it into the folder; `all` must stay where it is. The reader gives `piece` bytes at a time,
 * or all that are asked for where that is 0. */
void slice_models_open(slice_models *all, const temp_path *folder, const build_tensor *tensors,
                       size_t count, size_t piece);
void slice_models_close(slice_models *all);

#endif
