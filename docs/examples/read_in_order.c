/*
 * Reads every tensor into memory that is aligned as a device wants it, without a mapping. tare_at
 * goes through the shards in order and through each from its start to its end, so a walk reads
 * forwards.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tare.h"

enum { ALIGNMENT = 256 };

static unsigned char *read_aligned(const tare_model *model, const tare_tensor *tensor,
                                   tare_error *error)
{
    uint64_t size = tare_size(model, tensor);
    if (size > SIZE_MAX - ALIGNMENT) return NULL; /* possible where size_t has 32 bits */
    size_t room = ((size_t)size / ALIGNMENT + 1) * ALIGNMENT;
    unsigned char *bytes = aligned_alloc(ALIGNMENT, room);
    if (bytes == NULL) return NULL;
    if (tare_read(model, tensor, bytes, (size_t)size, error) == TARE_OK) return bytes;
    fprintf(stderr, "%s\n", error->message);
    free(bytes);
    return NULL;
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s MODEL\n", arguments[0]);
        return 2;
    }
    tare_options options = TARE_OPTIONS_INIT;
    options.backing = TARE_BACKING_READ;
    tare_model *model;
    tare_error error;
    if (tare_open(arguments[1], &options, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    size_t done = 0;
    for (; done < tare_count(model); done++) {
        const tare_tensor *tensor = tare_at(model, done);
        unsigned char *bytes = read_aligned(model, tensor, &error);
        if (bytes == NULL) break;
        uint64_t sum = 0;
        for (uint64_t i = 0; i < tare_size(model, tensor); i++) sum += bytes[i];
        printf("%s: bytes add up to %" PRIu64 "\n", tare_name(model, tensor).data, sum);
        free(bytes);
    }
    int failed = done < tare_count(model);
    tare_close(model);
    return failed;
}
