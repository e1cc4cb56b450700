#include "pool.h"

#include "os.h"

/* Threads start each other, two each, so that starting many is no queue on one of them. A member
 * lives on the stack of the thread that started it and joins it. */
typedef struct member {
    void (*work)(void *context, uint32_t number);
    void *context;
    uint32_t number;
    uint32_t thread_count;
} member;

static void run(void *context)
{
    const member *self = context;
    member others[2];
    tarei_os_thread threads[2];
    bool started[2];
    for (uint32_t i = 0; i < 2; i++) {
        others[i] = *self;
        others[i].number = self->number * 2 + 1 + i;
        started[i] = others[i].number < self->thread_count &&
                     tarei_os_thread_start(&threads[i], run, &others[i]) == 0;
    }
    self->work(self->context, self->number);
    for (uint32_t i = 0; i < 2; i++)
        if (started[i]) tarei_os_thread_join(&threads[i]);
}

void tarei_pool_run(uint32_t thread_count, void (*work)(void *context, uint32_t number),
                    void *context)
{
    member first = {work, context, 0, thread_count};
    run(&first);
}
