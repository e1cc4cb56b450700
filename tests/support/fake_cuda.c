#include "fake_cuda_core.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILL_MAX = 1 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
fake_core fake = {.state = {.device_count = 2, .fail_call = FAKE_CALL_COUNT}};
_Thread_local context *fake_stack[STACK_MAX];
_Thread_local int fake_depth;

void fake_mistake(const char *format, ...)
{
    va_list arguments;
    if (fake.state.mistakes++ != 0) return;
    va_start(arguments, format);
    vsnprintf(fake.state.mistake, sizeof fake.state.mistake, format, arguments);
    va_end(arguments);
}

context *fake_current(void)
{
    return fake_depth > 0 ? fake_stack[fake_depth - 1] : NULL;
}

/* Begins a call, which holds the lock until `end`: its result, or 0 to go on. */
int fake_begin(enum fake_cuda_call call)
{
    pthread_mutex_lock(&lock);
    size_t number = ++fake.state.calls[call];
    int any = call != FAKE_GetErrorName && call != FAKE_CtxPushCurrent;
    fake.state.call_count += (size_t)any;
    if (fake.state.fail_call == FAKE_CALL_COUNT) number = fake.state.call_count;
    int counts =
        fake.state.fail_call == (int)call || (fake.state.fail_call == FAKE_CALL_COUNT && any);
    if (counts && fake.state.fail_at != 0 && number >= fake.state.fail_at &&
        (fake.state.fail_count == 0 || number < fake.state.fail_at + fake.state.fail_count)) {
        fake.state.failed++;
        return fake.state.fail_result;
    }
    return call != FAKE_Init && call != FAKE_GetErrorName && !fake.initialised
               ? FAKE_E_NOT_INITIALIZED
               : 0;
}

/* The same for calls that need a context, and an object of it if `owner` is not NULL. */
int fake_begin_in(enum fake_cuda_call call, const context *owner)
{
    int result = fake_begin(call);
    if (result != 0) return result;
    if (fake_current() == NULL) {
        fake_mistake("call %d without a current context", (int)call);
        return FAKE_E_CONTEXT;
    }
    if (owner != NULL && owner != fake_current()) {
        fake_mistake("call %d in another context than its object's", (int)call);
        return FAKE_E_CONTEXT;
    }
    return 0;
}

int fake_end(int result)
{
    pthread_mutex_unlock(&lock);
    return result;
}

/* ------------------------------------------------------------------------------------------------
 * Blocks and fake.streams
 */

block *fake_find(block *list, const uint8_t *memory, size_t size)
{
    for (; list != NULL; list = list->next)
        if (memory >= list->memory && memory + size <= list->memory + list->size) return list;
    return NULL;
}

block *fake_add(block **list, context *owner, size_t size, size_t alignment)
{
    block *made = malloc(sizeof *made);
    size_t rounded = (size + alignment - 1) / alignment * alignment;
    uint8_t *memory = made != NULL ? aligned_alloc(alignment, rounded) : NULL;
    if (memory == NULL) {
        free(made);
        return NULL;
    }
    memset(memory, 0xA5, rounded < FILL_MAX ? rounded : FILL_MAX); /* what nothing writes shows */
    *made = (block){*list, owner, memory, size, 0};
    *list = made;
    if (owner != NULL) owner->objects++;
    return made;
}

block *fake_add_borrowed(block **list, context *owner, void *memory, size_t size)
{
    block *made = malloc(sizeof *made);
    if (made == NULL) return NULL;
    *made = (block){*list, owner, memory, size, 1};
    *list = made;
    owner->objects++;
    return made;
}

/* Takes out the block that begins there, and returns its size; 0 if there is none. */
size_t fake_take_out(block **list, const uint8_t *memory)
{
    for (block **place = list; *place != NULL; place = &(*place)->next) {
        block *found = *place;
        if (found->memory != memory) continue;
        size_t size = found->size;
        *place = found->next;
        if (found->owner != NULL) found->owner->objects--;
        if (!found->borrowed) free(found->memory);
        free(found);
        return size;
    }
    return 0;
}

void fake_queue(stream *at, work what)
{
    work *made = malloc(sizeof *made);
    if (made == NULL) abort();
    *made = what;
    made->next = NULL;
    if (at->last != NULL)
        at->last->next = made;
    else
        at->first = made;
    at->last = made;
}

/* Does what is queued, up to the last happening of `until` if that is not NULL. */
void fake_proceed(stream *at, const event *until)
{
    while (at->first != NULL) {
        work *next = at->first;
        at->first = next->next;
        if (at->first == NULL) at->last = NULL;
        if (next->from != NULL) {
            memcpy(next->to, next->from, next->size);
            at->copied += next->size;
        } else {
            next->happens->copied = at->copied;
        }
        int last = until != NULL && next->happens == until;
        for (const work *later = at->first; later != NULL && last; later = later->next)
            if (later->happens == until) last = 0;
        free(next);
        if (last) return;
    }
}

void fake_check_unused(const uint8_t *memory, size_t size)
{
    for (const stream *at = fake.streams; at != NULL; at = at->next)
        for (const work *later = at->first; later != NULL; later = later->next)
            if (later->from != NULL &&
                ((later->from < memory + size && later->from + later->size > memory) ||
                 (later->to < memory + size && later->to + later->size > memory)))
                fake_mistake("memory is freed that a copy is to use");
}

/* ------------------------------------------------------------------------------------------------
 * For tests
 */

fake_cuda_state *fake_cuda(void)
{
    return &fake.state;
}

void fake_cuda_reset(void)
{
    pthread_mutex_lock(&lock);
    memset(fake.state.calls, 0, sizeof fake.state.calls);
    fake.state.call_count = fake.state.mistakes = fake.state.fail_at = fake.state.failed =
        fake.state.copies = 0;
    fake.state.fail_count = 1;
    fake.state.fail_call = FAKE_CALL_COUNT;
    fake.state.fail_result = FAKE_E_ODD;
    fake.state.device_count = 2;
    fake.state.no_register = 0;
    fake.state.pin_size_max = fake.state.pin_size;
    pthread_mutex_unlock(&lock);
}

int fake_cuda_clean(void)
{
    return fake.state.mistakes + fake.state.retained + fake.state.streams + fake.state.events +
                   fake.state.blocks + fake.state.pins ==
               0 &&
           fake.state.pushed == 0;
}

void *fake_cuda_context(int device)
{
    context *made = calloc(1, sizeof *made);
    if (made == NULL) abort();
    made->device = device;
    return made;
}

void fake_cuda_context_free(void *freed)
{
    if (((context *)freed)->objects != 0) fake_mistake("a context ends with objects in it");
    free(freed);
}

void fake_cuda_set_current(void *next)
{
    if (fake_depth > 0) fake_depth--;
    if (next != NULL) fake_stack[fake_depth++] = next;
}

void *fake_cuda_current(void)
{
    return fake_current();
}

uint64_t fake_cuda_take(int device, size_t size)
{
    pthread_mutex_lock(&lock);
    block *made = fake_add(&fake.blocks, NULL, size, OBJECT_ALIGNMENT);
    if (made == NULL) abort();
    (void)device;
    pthread_mutex_unlock(&lock);
    return (uint64_t)(uintptr_t)made->memory + TAG;
}

void fake_cuda_give(uint64_t address)
{
    pthread_mutex_lock(&lock);
    if (fake_take_out(&fake.blocks, (uint8_t *)(uintptr_t)(address - TAG)) == 0) abort();
    pthread_mutex_unlock(&lock);
}

const void *fake_cuda_look(uint64_t address, size_t size)
{
    pthread_mutex_lock(&lock);
    const uint8_t *memory = (const uint8_t *)(uintptr_t)(address - TAG);
    const block *found = fake_find(fake.blocks, memory, size);
    pthread_mutex_unlock(&lock);
    return found != NULL ? memory : NULL;
}

int fake_cuda_device_of(uint64_t address)
{
    pthread_mutex_lock(&lock);
    const block *found = fake_find(fake.blocks, (const uint8_t *)(uintptr_t)(address - TAG), 0);
    int device = found != NULL && found->owner != NULL ? found->owner->device : -1;
    pthread_mutex_unlock(&lock);
    return device;
}
