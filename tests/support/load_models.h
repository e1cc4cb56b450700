/* Models to load from: one set of tensors of many sizes, reached in every way that there is. */
#ifndef LOAD_MODELS_H
#define LOAD_MODELS_H

#include "reader_probe.h"
#include "tare.h"
#include "temp_files.h"

enum { LOAD_TENSOR_COUNT = 48, LOAD_SIZE_MAX = 200000 };

/* LOAD_SHARDS holds the same tensors in three files, the others in one. */
enum load_way { LOAD_MEMORY, LOAD_MAPPED, LOAD_READ, LOAD_SHARDS, LOAD_READER, LOAD_WAY_COUNT };

typedef struct load_models {
    temp_path folder;
    temp_path path; /* of the one file */
    build_text file;
    reader_probe probe;
    tare_model *way[LOAD_WAY_COUNT];
} load_models;

/* `models` must stay where it is. */
void load_models_open(load_models *models);
void load_models_close(load_models *models);

/* The same for a child, whose parent still has the files. */
void load_models_leave(load_models *models);

const char *load_way_name(int way);

/* Whether these are the bytes of the tensor, by how the file was built. */
int load_right(const tare_model *model, const tare_tensor *tensor, const void *bytes);

/* A file of so many tensors, n0, n1 and so on, of `least` to 6 bytes each. */
build_text load_small_tensors(size_t count, size_t least);

#endif
