/*
 * A driver for machines without a GPU: a shared library libcuda.so.1 whose devices are memory of
 * the host. It does as late as it may what is queued on streams, so that a slot that is used again
 * too early shows; its addresses of devices are none of the host, so that touching one is a crash;
 * it fails on demand, and counts what is alive and what no program should do.
 */
#ifndef FAKE_CUDA_H
#define FAKE_CUDA_H

#include <stddef.h>
#include <stdint.h>

/* X(name without "cu"). clang-format does not come to an end with it. */
/* clang-format off */
#define FAKE_CUDA_LIST(X) \
    X(Init) X(GetErrorName) X(DeviceGetCount) X(DeviceGet) X(DeviceGetName) \
    X(DeviceGetAttribute) X(DevicePrimaryCtxRetain) X(DevicePrimaryCtxRelease) X(CtxGetCurrent) \
    X(CtxGetDevice) X(CtxPushCurrent) X(CtxPopCurrent) X(MemAlloc) X(MemFree) X(MemHostAlloc) \
    X(MemFreeHost) X(MemHostRegister) X(MemHostUnregister) X(MemcpyHtoDAsync) \
    X(MemcpyBatchAsync) X(StreamCreate) X(StreamSynchronize) X(StreamDestroy) X(EventCreate) \
    X(EventRecord) X(EventSynchronize) X(EventElapsedTime) X(EventDestroy)
/* clang-format on */

enum fake_cuda_call {
#define FAKE_CUDA_MEMBER(name) FAKE_##name,
    FAKE_CUDA_LIST(FAKE_CUDA_MEMBER)
#undef FAKE_CUDA_MEMBER
        FAKE_CALL_COUNT
};

enum { FAKE_DEVICE_MAX = 80 };
#define FAKE_RATE 50.0 /* GB/s, by the events */

/* Results as the driver numbers them. */
enum {
    FAKE_E_MEMORY = 2,
    FAKE_E_NOT_INITIALIZED = 3,
    FAKE_E_NO_DEVICE = 100,
    FAKE_E_CONTEXT = 201,
    FAKE_E_ADDRESS = 700,
    FAKE_E_NOT_SUPPORTED = 801,
    FAKE_E_ODD = 12345,
    FAKE_E_NAMELESS = 12346 /* known, and has no name */
};

typedef struct fake_cuda_state {
    int device_count;  /* 2 at first */
    int clock_stopped; /* events are all of one time */
    int no_register;   /* pins no memory that is there, as some systems */
    int fail_call; /* which call is to fail, FAKE_CALL_COUNT: any but CtxPushCurrent; see fail_at */
    size_t fail_at;    /* the number of the call to fail, from 1; 0 is none */
    size_t fail_count; /* how many in a row; 0 is all from then on */
    int fail_result;
    size_t failed; /* how many did */

    size_t calls[FAKE_CALL_COUNT];
    size_t call_count; /* of all that fail_call may mean by any */
    size_t mistakes;
    char mistake[160]; /* the first */

    size_t retained; /* primary contexts, less those released */
    long pushed;     /* contexts on the stacks of all threads */
    size_t streams;
    size_t events;
    size_t timed_events; /* of all that were made */
    size_t blocks;       /* of memory of devices */
    uint64_t block_size;
    size_t pins; /* pieces of pinned memory */
    uint64_t pin_size;
    uint64_t pin_size_max;
    size_t copies;
} fake_cuda_state;

fake_cuda_state *fake_cuda(void);

/* Forgets counts and failures to come; what is alive stays. */
void fake_cuda_reset(void);

/* Nothing is alive, and there were no mistakes. */
int fake_cuda_clean(void);

/* A context of the program's own, and its end; it is not made current. */
void *fake_cuda_context(int device);
void fake_cuda_context_free(void *context);

/* Makes a context current on this thread in place of the current one; NULL for none. */
void fake_cuda_set_current(void *context);
void *fake_cuda_current(void);

/* Memory of a device, behind the program's back. */
uint64_t fake_cuda_take(int device, size_t size);
void fake_cuda_give(uint64_t address);

/* What a device holds there, as the host reads it; NULL where that is not all allocated. */
const void *fake_cuda_look(uint64_t address, size_t size);

/* The number of the device that the address is of, or -1. */
int fake_cuda_device_of(uint64_t address);

#endif
