#include "cli.h"

#include <stdlib.h>
#include <string.h>

bool selection_matches(tare_string name, char **prefixes, int prefix_count)
{
    for (int i = 0; i < prefix_count; i++) {
        if (text_starts_with(name, prefixes[i])) return true;
    }
    return prefix_count == 0;
}

static void add(const tare_model *model, size_t index, selection *made)
{
    const tare_tensor *tensor = tare_at(model, index);
    made->tensors[made->count++] = tensor;
    made->size += tare_size(model, tensor);
}

/* Prefixes may overlap, hence marks. False after saying which prefix matches nothing. */
static bool mark(const tare_model *model, const char *path, char **prefixes, int prefix_count,
                 unsigned char *marks)
{
    for (int i = 0; i < prefix_count; i++) {
        tare_range range = tare_prefix(model, prefixes[i], strlen(prefixes[i]));
        const tare_tensor *tensor = tare_next(model, &range);
        if (tensor == NULL) {
            cli_explain_prefix(model, path, prefixes[i]);
            return false;
        }
        for (; tensor != NULL; tensor = tare_next(model, &range)) {
            marks[tare_index_of(model, tensor)] = 1;
        }
    }
    return true;
}

bool selection_make(const tare_model *model, const char *path, char **prefixes, int prefix_count,
                    selection *made)
{
    size_t all = tare_count(model);
    *made = (selection){0};
    made->tensors = malloc(all * sizeof(tare_tensor *) + 1);
    unsigned char *marks = calloc(all + 1, 1);
    bool marked = made->tensors != NULL && marks != NULL;
    if (!marked)
        cli_message("no memory to choose among %zu tensors", all);
    else
        marked = mark(model, path, prefixes, prefix_count, marks);
    for (size_t i = 0; i < all && marked; i++) {
        if (prefix_count == 0 || marks[i]) add(model, i, made);
    }
    free(marks);
    if (!marked) selection_free(made);
    return marked;
}

void selection_free(selection *made)
{
    free(made->tensors);
    *made = (selection){0};
}
