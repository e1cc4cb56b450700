/* Takes a part of a model, adds a tensor of its own, and writes both to a file. */
#include <stdio.h>
#include <string.h>

#include "tare.h"

enum { TENSORS_MAX = 64 };

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    tare_model *model;
    tare_error error;
    if (tare_open(argv[1], NULL, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }

    tare_save_tensor tensors[TENSORS_MAX] = {0};
    size_t count = 0;
    tare_range range = tare_prefix(model, argv[2], strlen(argv[2]));
    for (const tare_tensor *t; count < TENSORS_MAX - 1 && (t = tare_next(model, &range)) != NULL;) {
        tensors[count].model = model; /* its name, dtype, shape and bytes are taken from there */
        tensors[count++].tensor = t;
    }
    static const uint64_t shape[] = {2, 2};
    static const unsigned char table[] = {1, 2, 3, 4};
    tensors[count++] = (tare_save_tensor){.name = "table",
                                          .name_size = 5,
                                          .dtype = TARE_DTYPE_U8,
                                          .shape = shape,
                                          .rank = 2,
                                          .data = table,
                                          .size = sizeof table};

    static const tare_save_metadata metadata[] = {{{"made by", 7}, {"save_model", 10}}};
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    options.flags = TARE_SAVE_REPLACE;
    options.alignment = 4096;
    options.metadata = metadata;
    options.metadata_count = 1;
    tare_status status = tare_save(argv[3], tensors, count, &options, &error);
    if (status != TARE_OK) fprintf(stderr, "%s\n", error.message);
    tare_close(model);
    if (status != TARE_OK || tare_open(argv[3], NULL, &model, &error) != TARE_OK) return 1;

    printf("data from byte %llu on\n", (unsigned long long)tare_shard_at(model, 0).data_offset);
    for (size_t i = 0; i < tare_count(model); i++) {
        tare_info info = tare_describe(model, tare_at(model, i));
        printf("%s: %s, %llu bytes\n", info.name, tare_dtype_name(info.dtype),
               (unsigned long long)info.size);
    }
    tare_close(model);
    return 0;
}
