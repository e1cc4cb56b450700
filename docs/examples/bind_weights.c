/*
 * What a runtime does when it loads a model: it knows the names of the weights that it needs, asks
 * for all of them at once, says which are missing, and checks dtype and shape before it uses them.
 */
#include <inttypes.h>
#include <stdio.h>

#include "tare.h"

enum { LAYERS = 2, PARTS = 2, WIDTH = 8 };

static const struct part {
    const char *name;
    uint64_t rows;
} parts[PARTS] = {{"attn.weight", 8}, {"mlp.weight", 32}};

static int check(const tare_model *model, const tare_tensor *tensor, const struct part *part)
{
    tare_info info = tare_describe(model, tensor);
    if (info.dtype == TARE_DTYPE_BF16 && info.rank == 2 && info.shape[0] == part->rows &&
        info.shape[1] == WIDTH)
        return 1;
    fprintf(stderr, "%s: not BF16 [%" PRIu64 ",%d]\n", info.name, part->rows, WIDTH);
    return 0;
}

static int bind(const tare_model *model, const void *weights[LAYERS][PARTS])
{
    char texts[LAYERS * PARTS][64];
    tare_string names[LAYERS * PARTS];
    const tare_tensor *tensors[LAYERS * PARTS];
    for (size_t i = 0; i < LAYERS * PARTS; i++) {
        int size =
            snprintf(texts[i], sizeof texts[i], "layers.%zu.%s", i / PARTS, parts[i % PARTS].name);
        names[i] = (tare_string){texts[i], (size_t)size};
    }
    size_t found = tare_find_many(model, names, LAYERS * PARTS, tensors);
    printf("found %zu of %d\n", found, LAYERS * PARTS);
    int fine = 1;
    for (size_t i = 0; i < LAYERS * PARTS; i++) {
        const struct part *part = &parts[i % PARTS];
        if (tensors[i] == NULL) {
            printf("missing: %s\n", texts[i]);
            fine = 0;
        } else if (check(model, tensors[i], part)) {
            weights[i / PARTS][i % PARTS] = tare_data(model, tensors[i]);
        } else {
            fine = 0;
        }
    }
    return fine;
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s MODEL\n", arguments[0]);
        return 2;
    }
    tare_options options = TARE_OPTIONS_INIT;
    options.backing = TARE_BACKING_MAP; /* so that tare_data is never NULL */
    tare_model *model;
    tare_error error;
    if (tare_open(arguments[1], &options, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const void *weights[LAYERS][PARTS] = {0};
    int fine = bind(model, weights);
    if (fine) {
        /* The bytes are the file's: BF16, little-endian. Any alignment is possible, hence bytes. */
        const unsigned char *first = weights[0][0];
        printf("layers.0.attn.weight starts with %02x %02x\n", first[0], first[1]);
    }
    tare_close(model);
    return fine ? 0 : 1;
}
