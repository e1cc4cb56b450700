/* What a program in C does: the loops that those of Rust are compared with. And models to run
 * on. */
#include <malloc.h>
#include <tare.h>

#include "model_file.h"

size_t bench_find(const tare_model *model, const tare_string *names, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const tare_tensor *tensor = tare_find(model, names[i].data, names[i].size);
        if (tensor != NULL) sum += (size_t)tensor;
    }
    return sum;
}

size_t bench_find_data(const tare_model *model, const tare_string *names, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const tare_tensor *tensor = tare_find(model, names[i].data, names[i].size);
        if (tensor == NULL) continue;
        const void *data = tare_data(model, tensor);
        if (data != NULL) sum += (size_t)data + (size_t)tare_size(model, tensor);
    }
    return sum;
}

size_t bench_iterate(const tare_model *model)
{
    size_t sum = 0, count = tare_count(model);
    for (size_t i = 0; i < count; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        sum += tare_name(model, tensor).size + (size_t)tare_size(model, tensor);
    }
    return sum;
}

/* Writes the names of a set as one safetensors file with holes for data; 0, or an errno. */
int bench_write_model(const char *set, const char *path)
{
    struct names_list list;
    struct model_shard shard;
    int failed = names_make(set, &list);
    if (failed) return failed;
    failed = model_shard_make(&list, 0, list.count, MODEL_DATA_TRUE, NULL, &shard);
    if (!failed) {
        failed = model_shard_write(&list, &shard, path);
        model_shard_free(&shard);
    }
    names_free(&list);
    return failed;
}

/* The allocator keeps nothing back: every opening gets memory that the kernel has to make anew, as
 * the one opening in a program's life does. */
void bench_keep_no_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* setting it also keeps it from growing */
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
}
