/* What the two files of the fake driver share: its objects, and its one lock. */
#ifndef FAKE_CUDA_CORE_H
#define FAKE_CUDA_CORE_H

#include "fake_cuda.h"

#define TAG (UINT64_C(1) << 60) /* of an address of a device, which is none of the host */
enum { STACK_MAX = 8, OBJECT_ALIGNMENT = 256, PIN_ALIGNMENT = 4096 };

typedef struct context {
    int device;
    int primary;
    size_t objects; /* alive in it */
} context;

/* Memory of a device, or pinned memory. */
typedef struct block {
    struct block *next;
    context *owner;
    uint8_t *memory;
    size_t size;
    int borrowed; /* it is the program's */
} block;

typedef struct event {
    context *owner;
    struct stream *stream; /* where it was recorded last, until it has happened */
    int timed;
    uint64_t copied; /* bytes of its stream by then */
} event;

/* A copy, or an event that happens (`from` is NULL). */
typedef struct work {
    struct work *next;
    uint8_t *to;
    const uint8_t *from;
    size_t size;
    event *happens;
} work;

typedef struct stream {
    struct stream *next;
    context *owner;
    work *first;
    work *last;
    uint64_t copied;
} stream;

/* All that the lock guards. */
typedef struct fake_core {
    fake_cuda_state state;
    int initialised;
    context primaries[FAKE_DEVICE_MAX];
    size_t primary_references[FAKE_DEVICE_MAX];
    block *blocks;
    block *pins;
    stream *streams;
} fake_core;

extern fake_core fake;
extern _Thread_local context *fake_stack[STACK_MAX];
extern _Thread_local int fake_depth;

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void fake_mistake(const char *format, ...);

context *fake_current(void);

/* Begins a call, which holds the lock until fake_end: its result, or 0 to go on. */
int fake_begin(enum fake_cuda_call call);

/* The same for calls that need a context, and an object of it if `owner` is not NULL. */
int fake_begin_in(enum fake_cuda_call call, const context *owner);
int fake_end(int result);

block *fake_find(block *list, const uint8_t *memory, size_t size);
block *fake_add(block **list, context *owner, size_t size, size_t alignment);
block *fake_add_borrowed(block **list, context *owner, void *memory, size_t size);

/* Takes out the block that begins there, and returns its size; 0 if there is none. */
size_t fake_take_out(block **list, const uint8_t *memory);

void fake_queue(stream *at, work what);

/* Does what is queued, up to the last happening of `until` if that is not NULL. */
void fake_proceed(stream *at, const event *until);
void fake_check_unused(const uint8_t *memory, size_t size);

#endif
