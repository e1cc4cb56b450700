/* A model made of (name, bytes) pairs, and what happens when two have one name. */
#include <stdio.h>
#include <string.h>

#include "tare.h"

static void show(const tare_model *model, const char *name)
{
    const tare_tensor *tensor = tare_find(model, name, strlen(name));
    if (tensor == NULL) {
        printf("%s: absent\n", name);
        return;
    }
    const char *bytes = tare_data(model, tensor);
    printf("%s: '%.*s', aligned to 4096: %s\n", name, (int)tare_size(model, tensor), bytes,
           tare_alignment(model, tensor) >= 4096 ? "yes" : "no");
}

int main(void)
{
    static const tare_pair pairs[] = {
        {"w", 1, "first", 5},
        {"bias", 4, NULL, 0}, /* empty, which is not absent: it has data that is not NULL */
        {"w", 1, "second", 6},
    };
    tare_model *model;
    tare_error error;
    if (tare_open_pairs(pairs, 3, NULL, &model, &error) != TARE_OK)
        printf("%s: %s\n", tare_status_name(error.status), error.message);

    tare_options options = TARE_OPTIONS_INIT;
    options.flags = TARE_PAIRS_KEEP_FIRST;
    options.alignment = 4096;
    if (tare_open_pairs(pairs, 3, &options, &model, &error) != TARE_OK) return 1;
    printf("%zu tensors\n", tare_count(model));
    show(model, "w");
    show(model, "bias");
    show(model, "x");
    tare_close(model);
    return 0;
}
