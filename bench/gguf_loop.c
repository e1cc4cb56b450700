#include "gguf_loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_STRING = 8, VALUE_ARRAY = 9, VALUE_COUNT = 13 };

/* Hosts of the benchmarks are little-endian. */
static int get_u32(FILE *file, uint32_t *out)
{
    return fread(out, sizeof *out, 1, file) == 1;
}

static int get_u64(FILE *file, uint64_t *out)
{
    return fread(out, sizeof *out, 1, file) == 1;
}

static char *get_string(FILE *file)
{
    uint64_t size;
    if (!get_u64(file, &size) || size > 1u << 30) return NULL;
    char *text = malloc((size_t)size + 1);
    if (text != NULL && fread(text, 1, (size_t)size, file) != size) {
        free(text);
        return NULL;
    }
    if (text != NULL) text[size] = 0;
    return text;
}

static int find_key(const struct gguf_loop *loop, const char *key)
{
    for (size_t i = 0; i < loop->key_count; i++)
        if (strcmp(loop->keys[i], key) == 0) return 1;
    return 0;
}

long gguf_loop_find(const struct gguf_loop *loop, const char *name)
{
    for (size_t i = 0; i < loop->tensor_count; i++)
        if (strcmp(loop->tensors[i].name, name) == 0) return (long)i;
    return -1;
}

/* Values are read into memory, as by a reader that hands them out, and let go. */
static int get_items(FILE *file, uint32_t type, uint64_t count)
{
    static const unsigned char sizes[VALUE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type >= VALUE_COUNT || type == VALUE_ARRAY || count > 1u << 30) return 0;
    if (type != VALUE_STRING) {
        size_t size = (size_t)count * sizes[type];
        void *values = malloc(size + 1);
        int good = values != NULL && fread(values, 1, size, file) == size;
        free(values);
        return good;
    }
    char **strings = calloc((size_t)count + 1, sizeof *strings);
    int good = strings != NULL;
    for (uint64_t i = 0; good && i < count; i++) good = (strings[i] = get_string(file)) != NULL;
    for (uint64_t i = 0; strings != NULL && strings[i] != NULL; i++) free(strings[i]);
    free(strings);
    return good;
}

static int get_entry(FILE *file, struct gguf_loop *loop)
{
    uint32_t type;
    uint64_t count = 1;
    char *key = get_string(file);
    if (key == NULL || find_key(loop, key)) {
        free(key);
        return 0;
    }
    loop->keys[loop->key_count++] = key;
    if (!get_u32(file, &type)) return 0;
    if (type == VALUE_ARRAY && (!get_u32(file, &type) || !get_u64(file, &count))) return 0;
    return get_items(file, type, count);
}

static int get_tensor(FILE *file, struct gguf_loop *loop)
{
    struct gguf_loop_tensor *tensor = &loop->tensors[loop->tensor_count];
    char *name = get_string(file);
    int good = name != NULL && strlen(name) < sizeof tensor->name &&
               gguf_loop_find(loop, name) < 0 && get_u32(file, &tensor->rank) && tensor->rank <= 4;
    if (good) strcpy(tensor->name, name);
    for (uint32_t i = 0; good && i < tensor->rank; i++) good = get_u64(file, &tensor->shape[i]);
    good = good && get_u32(file, &tensor->type) && get_u64(file, &tensor->offset);
    loop->tensor_count += (size_t)good;
    free(name);
    return good;
}

static int get_all(FILE *file, struct gguf_loop *out)
{
    uint32_t magic, version;
    uint64_t tensors, entries;
    if (!get_u32(file, &magic) || magic != 0x46554747 || !get_u32(file, &version) || version > 3)
        return 0;
    if (!get_u64(file, &tensors) || !get_u64(file, &entries)) return 0;
    out->keys = calloc((size_t)entries + 1, sizeof *out->keys);
    out->tensors = calloc((size_t)tensors + 1, sizeof *out->tensors);
    int good = out->keys != NULL && out->tensors != NULL;
    for (uint64_t i = 0; good && i < entries; i++) good = get_entry(file, out);
    for (uint64_t i = 0; good && i < tensors; i++) good = get_tensor(file, out);
    return good;
}

int gguf_loop_open(const char *path, struct gguf_loop *out)
{
    *out = (struct gguf_loop){0};
    FILE *file = fopen(path, "rb");
    if (file == NULL) return 0;
    int good = get_all(file, out);
    fclose(file);
    if (!good) gguf_loop_close(out);
    return good;
}

void gguf_loop_close(struct gguf_loop *loop)
{
    for (size_t i = 0; i < loop->key_count; i++) free(loop->keys[i]);
    free(loop->keys);
    free(loop->tensors);
    *loop = (struct gguf_loop){0};
}
