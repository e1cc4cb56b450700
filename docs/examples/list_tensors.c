/* Lists a model: every tensor with its facts, the metadata, the shards. */
#include <inttypes.h>
#include <stdio.h>

#include "tare.h"

static void print_tensor(const tare_model *model, const tare_tensor *tensor)
{
    tare_info info = tare_describe(model, tensor);
    printf("%s %s [", info.name, tare_dtype_name(info.dtype));
    for (uint32_t i = 0; i < info.rank; i++)
        printf(i == 0 ? "%" PRIu64 : ",%" PRIu64, info.shape[i]);
    printf("] %" PRIu64 " bytes at %" PRIu64 " of shard %" PRIu32 "\n", info.size, info.offset,
           info.shard);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s MODEL\n", arguments[0]);
        return 2;
    }
    tare_model *model;
    tare_error error;
    if (tare_open(arguments[1], NULL, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s: %s\n", tare_status_name(error.status), error.message);
        return 1;
    }
    for (size_t i = 0; i < tare_count(model); i++) print_tensor(model, tare_at(model, i));

    tare_string key, value;
    uint32_t shard;
    for (size_t i = 0; tare_metadata_at(model, i, &key, &value, &shard); i++)
        printf("metadata of shard %" PRIu32 ": %s = %s\n", shard, key.data,
               value.data != NULL ? value.data
                                  : tare_kind_name(tare_metadata_value_at(model, i).kind));

    for (size_t i = 0; i < tare_shard_count(model); i++) {
        tare_shard_info info = tare_shard_at(model, i);
        printf("shard %zu: %" PRIu64 " bytes, header %" PRIu64 "\n", i, info.size,
               info.data_offset);
    }
    tare_close(model);
    return 0;
}
