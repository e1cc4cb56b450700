#define _POSIX_C_SOURCE 200809L

#include "model_gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VALUE_U32 = 4, VALUE_I32 = 5, VALUE_F32 = 6, VALUE_STRING = 8, VALUE_ARRAY = 9 };
enum { ALIGNMENT = 32 };

/* A type of tensors: its number in files, elements and bytes of a block. */
struct type {
    uint32_t number;
    uint32_t elements;
    uint32_t size;
};

static const struct type f32 = {0, 1, 4}, f16 = {1, 1, 2}, q4_k = {12, 256, 144};

static uint64_t round_up(uint64_t size)
{
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Rows of GGUF come first, as in the list the fastest dimension comes last. */
static uint64_t row_size(const struct names_tensor *tensor, int data)
{
    return model_dimension(tensor, tensor->rank - 1, data);
}

static const struct type *type_of(const struct names_tensor *tensor, int data)
{
    if (tensor->rank == 1) return &f32;
    return row_size(tensor, data) % q4_k.elements == 0 ? &q4_k : &f16;
}

static uint64_t tensor_size(const struct names_tensor *tensor, int data)
{
    const struct type *type = type_of(tensor, data);
    uint64_t count = 1;
    for (uint32_t axis = 0; axis < tensor->rank; axis++)
        count *= model_dimension(tensor, axis, data);
    return count / type->elements * type->size;
}

/* Little-endian numbers; what fails shows in ferror in the end. */
static void put(FILE *file, uint64_t number, int size)
{
    for (int byte = 0; byte < size; byte++) putc((int)(number >> (8 * byte) & 0xff), file);
}

static void put_text(FILE *file, const char *text, size_t size)
{
    put(file, size, 8);
    fwrite(text, 1, size, file);
}

static void put_key(FILE *file, const char *key, uint32_t type)
{
    put_text(file, key, strlen(key));
    put(file, type, 4);
}

static void put_string(FILE *file, const char *key, const char *value)
{
    put_key(file, key, VALUE_STRING);
    put_text(file, value, strlen(value));
}

static void put_array(FILE *file, const char *key, uint32_t type, uint64_t count)
{
    put_key(file, key, VALUE_ARRAY);
    put(file, type, 4);
    put(file, count, 8);
}

static void put_vocabulary(FILE *file, size_t tokens)
{
    put_array(file, "tokenizer.ggml.tokens", VALUE_STRING, tokens);
    for (size_t i = 0; i < tokens; i++) {
        char token[24];
        uint64_t state = i;
        int size = snprintf(token, sizeof token, "%llx", (unsigned long long)names_random(&state));
        put_text(file, token, i % 8 < 7 ? 2 + i % 8 : (size_t)size);
    }
    put_array(file, "tokenizer.ggml.scores", VALUE_F32, tokens);
    for (size_t i = 0; i < tokens; i++) {
        float score = -(float)i;
        uint32_t bits;
        memcpy(&bits, &score, sizeof bits);
        put(file, bits, 4);
    }
    put_array(file, "tokenizer.ggml.token_type", VALUE_I32, tokens);
    for (size_t i = 0; i < tokens; i++) put(file, 1, 4);
}

static void put_metadata(FILE *file, const struct model_gguf *request)
{
    put_string(file, "general.architecture", "llama");
    put_key(file, "llama.block_count", VALUE_U32);
    put(file, 32, 4);
    /* In quotes, as it stands in the JSON of safetensors: make_model looks for that. */
    char recipe[300];
    snprintf(recipe, sizeof recipe, "\"%s\"", request->recipe == NULL ? "" : request->recipe);
    put_string(file, "general.description", recipe);
    if (request->tokens > 0) put_vocabulary(file, request->tokens);
}

/* Returns the size of the data. */
static uint64_t put_tensors(FILE *file, const struct names_list *list,
                            const struct model_gguf *request)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct names_tensor *tensor = &list->tensors[i];
        put_text(file, tensor->name, tensor->name_size);
        put(file, tensor->rank, 4);
        for (uint32_t axis = tensor->rank; axis-- > 0;)
            put(file, model_dimension(tensor, axis, request->data), 8);
        put(file, type_of(tensor, request->data)->number, 4);
        put(file, offset, 8);
        offset += round_up(tensor_size(tensor, request->data));
    }
    return offset;
}

/* Small data is made up; bits that would make an F16 or F32 a NaN or infinity are left out. */
static void put_data(FILE *file, uint64_t size)
{
    uint64_t state = size;
    for (uint64_t i = 0; i < size; i += 8) put(file, names_random(&state) & 0x3f3f3f3f3f3f3f3f, 8);
}

int model_gguf_write(const struct names_list *list, const struct model_gguf *request,
                     const char *path)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->tensors[i].name_size > MODEL_GGUF_NAME_MAX) return ENAMETOOLONG;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    if (file == NULL) return errno;
    fwrite("GGUF", 1, 4, file);
    put(file, 3, 4);
    put(file, list->count, 8);
    put(file, request->tokens > 0 ? 6 : 3, 8);
    put_metadata(file, request);
    uint64_t data_size = put_tensors(file, list, request);
    uint64_t data_offset = round_up((uint64_t)ftell(file));
    while ((uint64_t)ftell(file) < data_offset) putc(0, file);
    if (request->data == MODEL_DATA_SMALL) put_data(file, data_size);
    int failed = ferror(file) || fflush(file) != 0 ? EIO : 0;
    if (failed == 0 && ftruncate(descriptor, (off_t)(data_offset + data_size)) != 0) failed = errno;
    if (fclose(file) != 0 && failed == 0) failed = errno;
    return failed;
}
