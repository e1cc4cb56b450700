/*
 * Writes GGUF files of a list of names, version 3: metadata, tensors in the order of the list, data
 * aligned to 32 bytes. Matrices whose rows allow it are Q4_K, other matrices F16, vectors F32.
 */
#ifndef TARE_BENCH_MODEL_GGUF_H
#define TARE_BENCH_MODEL_GGUF_H

#include "model_file.h"

#ifdef __cplusplus
extern "C" {
#endif

struct model_gguf {
    int data;           /* MODEL_DATA_* */
    const char *recipe; /* printable text for the metadata, or NULL */
    size_t tokens;      /* of a made-up vocabulary in the metadata: with each a score and a type */
};

/* Names in GGUF have fewer than 64 bytes. */
#define MODEL_GGUF_NAME_MAX 63

/* Writes a new file at `path`. Returns 0 or an errno: ENAMETOOLONG for a name that is too long. */
int model_gguf_write(const struct names_list *list, const struct model_gguf *request,
                     const char *path);

#ifdef __cplusplus
}
#endif

#endif
