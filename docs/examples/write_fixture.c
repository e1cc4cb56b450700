/*
 * Writes two small models for the other examples: FOLDER/model.safetensors, and in SHARDED a model
 * of two shards and their index. The folders must exist.
 *
 * A safetensors file is 8 bytes that say how long the header is (little-endian), the header (JSON),
 * and the bytes of all tensors one behind the other, without a hole.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct tensor {
    const char *name, *dtype, *shape;
    unsigned size;
};

static const struct tensor single[] = {
    {"embed.weight", "F32", "[16,8]", 512},
    {"layers.0.attn.weight", "BF16", "[8,8]", 128},
    {"layers.0.mlp.weight", "BF16", "[32,8]", 512},
    {"layers.1.attn.weight", "BF16", "[8,8]", 128},
    {"layers.1.mlp.weight", "BF16", "[32,8]", 512},
    {"layers.10.attn.weight", "BF16", "[8,8]", 128},
    {"norm.weight", "F32", "[8]", 32},
    {"step", "I64", "[]", 8},
    {"unused", "U8", "[0,8]", 0},
};
static const struct tensor first[] = {
    {"embed.weight", "F32", "[16,8]", 512},
    {"layers.0.mlp.weight", "BF16", "[32,8]", 512},
};
static const struct tensor second[] = {
    {"layers.1.mlp.weight", "BF16", "[32,8]", 512},
    {"norm.weight", "F32", "[8]", 32},
};

#define FIRST "model-00001-of-00002.safetensors"
#define SECOND "model-00002-of-00002.safetensors"

static FILE *create(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL) perror(path);
    return file;
}

static int finish(FILE *file)
{
    int failed = ferror(file);
    return fclose(file) == 0 && !failed;
}

/* Fills the header up with spaces to a multiple of 8, as writers do. Byte i of the data is i. */
static int write_model(const char *folder, const char *name, const struct tensor *tensors,
                       size_t count)
{
    char header[2048];
    unsigned end = 0;
    int size = snprintf(header, sizeof header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < count; i++) {
        const struct tensor *t = &tensors[i];
        size += snprintf(header + size, sizeof header - (size_t)size,
                         ",\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%u,%u]}",
                         t->name, t->dtype, t->shape, end, end + t->size);
        end += t->size;
    }
    size += snprintf(header + size, sizeof header - (size_t)size, "}");
    while (size % 8 != 0) header[size++] = ' ';

    FILE *file = create(folder, name);
    if (file == NULL) return 0;
    for (int i = 0; i < 8; i++) fputc((int)((uint64_t)size >> (8 * i) & 0xFF), file);
    fwrite(header, 1, (size_t)size, file);
    for (unsigned i = 0; i < end; i++) fputc((int)(i & 0xFF), file);
    return finish(file);
}

static int write_index(const char *folder)
{
    FILE *file = create(folder, "model.safetensors.index.json");
    if (file == NULL) return 0;
    fputs("{\"metadata\":{\"total_size\":1568},\"weight_map\":{", file);
    for (size_t i = 0; i < 2; i++) fprintf(file, "\"%s\":\"" FIRST "\",", first[i].name);
    fprintf(file, "\"%s\":\"" SECOND "\",\"%s\":\"" SECOND "\"}}", second[0].name, second[1].name);
    return finish(file);
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: %s FOLDER SHARDED\n", arguments[0]);
        return 2;
    }
    int fine = write_model(arguments[1], "model.safetensors", single, 9) &&
               write_model(arguments[2], FIRST, first, 2) &&
               write_model(arguments[2], SECOND, second, 2) && write_index(arguments[2]);
    return fine ? 0 : 1;
}
