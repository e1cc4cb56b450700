/*
 * An index file, beside a model that stays what it is: a safetensors file of four tensors. Inputs
 * are tried as they are, and once more with their digests made right, since no change to plain
 * bytes gets past those.
 */
#include <string.h>

#include "fuzz.h"
#include "support/index_probe.h"

static const char header[] =
    "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"of a fuzz target\"},"
    "\"layers.0.mlp.up_proj.weight\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
    "\"layers.1.mlp.up_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[4,2],\"data_offsets\":[16,32]},"
    "\"bias\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[32,35]},"
    "\"empty\":{\"dtype\":\"F64\",\"shape\":[0,9],\"data_offsets\":[35,35]}}";

static size_t make_model(uint8_t *target)
{
    uint64_t size = sizeof header - 1;
    for (unsigned b = 0; b < 8; b++) target[b] = (uint8_t)(size >> (8 * b));
    memcpy(target + 8, header, sizeof header - 1);
    for (size_t i = 0; i < 35; i++) target[8 + size + i] = (uint8_t)i;
    return 8 + (size_t)size + 35;
}

/* Leaves the size alone most of the time, and the head or what stands before its counts: nearly
 * every change to those makes it damaged, which is soon found. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    enum { COUNTS_AT = 32, HEAD_SIZE = 448, KEPT_SIZE = 4096 };
    static uint8_t kept[KEPT_SIZE];
    size_t from = seed % 8 == 1 ? COUNTS_AT : HEAD_SIZE;
    if (seed % 8 == 0 || size <= from || size > KEPT_SIZE)
        return LLVMFuzzerMutate(data, size, size_max);
    memcpy(kept, data, size);
    size_t changed = LLVMFuzzerMutate(data + from, size - from, size - from);
    memcpy(data + from + changed, kept + from + changed, size - from - changed);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[sizeof header + 64];
    size_t model_size = make_model(room);
    uint8_t *model = fuzz_copy(room, model_size);
    index_image image = index_copy(data, size);
    index_use(&image, model, model_size);
    index_seal(&image);
    index_use(&image, model, model_size);
    index_free(&image);
    free(model);
    return 0;
}
