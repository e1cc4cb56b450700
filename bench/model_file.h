/*
 * Writes safetensors shards of a list of names as the reference writer does: `__metadata__` first,
 * tensors by falling alignment of their dtype and then by name, header padded with spaces to a
 * multiple of 8, data end to end in header order.
 */
#ifndef TARE_BENCH_MODEL_FILE_H
#define TARE_BENCH_MODEL_FILE_H

#include "model_names.h"

#ifdef __cplusplus
extern "C" {
#endif

/* SMALL: every dimension is divided by 512 and rounded up, and data is made up. TRUE: the shapes of
 * the list, as published; data is a hole in the file, which takes no space on disk. FILLED: those
 * shapes, and random bytes on disk. */
enum { MODEL_DATA_SMALL, MODEL_DATA_TRUE, MODEL_DATA_FILLED };

struct model_shard {
    char *header; /* the 8 bytes of its size, and the JSON */
    size_t header_size;
    uint64_t data_size;
    uint32_t *order; /* `count` numbers of tensors in the list, as the header has them */
    size_t count;
    int data;
};

/*
 * The shard that holds tensors `first` to `first + count - 1` of the list. `recipe` (printable
 * ASCII without quotes, or NULL) goes into `__metadata__`. Returns 0 or an errno.
 */
int model_shard_make(const struct names_list *list, size_t first, size_t count, int data,
                     const char *recipe, struct model_shard *out);
void model_shard_free(struct model_shard *shard);

/* Writes data_size bytes of made-up values to `target`; SMALL only. */
void model_shard_fill(const struct names_list *list, const struct model_shard *shard, void *target);

/* Writes the shard to a new file at `path`. Returns 0 or an errno. */
int model_shard_write(const struct names_list *list, const struct model_shard *shard,
                      const char *path);

/* The size of one dimension with such data, and the bytes that all of them take. */
uint64_t model_dimension(const struct names_tensor *tensor, uint32_t axis, int data);
uint64_t model_tensor_size(const struct names_tensor *tensor, int data);

#ifdef __cplusplus
}
#endif

#endif
