/*
 * From a linear scan to tare. The scan is what a small loader has: an array of names and buffers,
 * and strcmp until one fits. With pairs the first of equal names is found, as the scan does.
 */
#include <stdio.h>
#include <string.h>

#include "tare.h"

/* Before. */
typedef struct tensor {
    const char *name;
    const void *data;
    size_t size;
} tensor;

static const void *scan(const tensor *tensors, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(tensors[i].name, name) == 0) return tensors[i].data;
    return NULL;
}

/* After: made once; the caller's buffers may then be freed, since bytes and names are copied. */
static tare_model *adopt(const tensor *tensors, size_t count, tare_error *error)
{
    tare_pair pairs[16];
    if (count > 16) return NULL;
    for (size_t i = 0; i < count; i++) {
        const tensor *from = &tensors[i];
        pairs[i] = (tare_pair){from->name, strlen(from->name), from->data, from->size};
    }
    tare_options options = TARE_OPTIONS_INIT;
    options.flags = TARE_PAIRS_KEEP_FIRST;
    tare_model *model;
    tare_open_pairs(pairs, count, &options, &model, error);
    return model; /* NULL on failure */
}

int main(void)
{
    static const tensor tensors[] = {
        {"embed", "eeee", 4}, {"head", "hh", 2}, {"embed", "other", 5}, {"empty", "", 0}};
    static const char *const names[] = {"embed", "head", "empty", "absent", "embe", ""};
    tare_error error;
    tare_model *model = adopt(tensors, 4, &error);
    if (model == NULL) return 1;
    size_t same = 0;
    for (size_t i = 0; i < 6; i++) {
        const void *before = scan(tensors, 4, names[i]);
        const tare_tensor *after = tare_find(model, names[i], strlen(names[i]));
        if (before == NULL || after == NULL)
            same += before == NULL && after == NULL;
        else
            same += memcmp(before, tare_data(model, after), (size_t)tare_size(model, after)) == 0;
    }
    printf("%zu of 6 answers are the same\n", same);
    tare_close(model);
    return same == 6 ? 0 : 1;
}
