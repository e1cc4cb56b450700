/*
 * A reader of GGUF as plain as they come, in the style of ggml's: field after field out of a FILE,
 * an allocation for each string, names found by going through them, for duplicates as well. Enough
 * for files that are known to be good.
 */
#ifndef TARE_BENCH_GGUF_LOOP_H
#define TARE_BENCH_GGUF_LOOP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gguf_loop_tensor {
    char name[64];
    uint64_t shape[4];
    uint32_t rank;
    uint32_t type;
    uint64_t offset; /* in the data section */
};

struct gguf_loop {
    char **keys;
    size_t key_count;
    struct gguf_loop_tensor *tensors;
    size_t tensor_count;
};

/* Reads all that comes before the data. Returns 1, or 0 where the file is not good. */
int gguf_loop_open(const char *path, struct gguf_loop *out);

/* The place of a tensor, or -1. */
long gguf_loop_find(const struct gguf_loop *loop, const char *name);

void gguf_loop_close(struct gguf_loop *loop);

#ifdef __cplusplus
}
#endif

#endif
