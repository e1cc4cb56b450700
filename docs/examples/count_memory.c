/* Memory hooks: counts what a model holds, and shows that all of it comes back. */
#include <stdio.h>
#include <stdlib.h>

#include "tare.h"

struct counter {
    size_t held;
    size_t calls;
};

static void *allocate(void *context, size_t size, size_t alignment)
{
    struct counter *counter = context;
    /* aligned_alloc wants a size that is a multiple of the alignment. */
    size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    void *memory = rounded >= size ? aligned_alloc(alignment, rounded) : NULL;
    if (memory != NULL) counter->held += size;
    counter->calls += memory != NULL;
    return memory;
}

static void release(void *context, void *memory, size_t size, size_t alignment)
{
    struct counter *counter = context;
    (void)alignment;
    counter->held -= size;
    free(memory);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s MODEL\n", arguments[0]);
        return 2;
    }
    struct counter counter = {0, 0};
    tare_allocator hooks = {sizeof hooks, &counter, allocate, release};
    tare_options options = TARE_OPTIONS_INIT;
    options.allocator = &hooks;
    tare_model *model;
    tare_error error;
    if (tare_open(arguments[1], &options, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    printf("the model knows what it holds: %s\n", stat.memory_size == counter.held ? "yes" : "no");
    size_t calls = counter.calls;
    for (size_t i = 0; i < tare_count(model); i++) tare_describe(model, tare_at(model, i));
    printf("allocations by looking things up: %zu\n", counter.calls - calls);
    tare_close(model);
    printf("bytes held after close: %zu\n", counter.held);
    return 0;
}
