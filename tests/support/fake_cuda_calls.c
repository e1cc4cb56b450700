/* The functions of the fake driver. */
#include "fake_cuda_core.h"

#include <stdio.h>
#include <stdlib.h>

int cuInit(unsigned flags);
int cuGetErrorName(int result, const char **name);
int cuDeviceGetCount(int *count);
int cuDeviceGet(int *device, int number);
int cuDeviceGetName(char *name, int size, int device);
int cuDeviceGetAttribute(int *value, int attribute, int device);
int cuDevicePrimaryCtxRetain(void **out, int device);
int cuDevicePrimaryCtxRelease_v2(int device);
int cuCtxGetCurrent(void **out);
int cuCtxGetDevice(int *device);
int cuCtxPushCurrent_v2(void *pushed);
int cuCtxPopCurrent_v2(void **popped);
int cuMemAlloc_v2(uint64_t *address, size_t size);
int cuMemFree_v2(uint64_t address);
int cuMemHostAlloc(void **memory, size_t size, unsigned flags);
int cuMemFreeHost(void *memory);
int cuMemHostRegister_v2(void *memory, size_t size, unsigned flags);
int cuMemHostUnregister(void *memory);
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *on);
int cuMemcpyBatchAsync_v2(uint64_t *targets, uint64_t *sources, size_t *sizes, size_t count,
                          const int *how, const size_t *how_begin, size_t how_count, void *on);
int cuStreamCreate(void **out, unsigned flags);
int cuStreamSynchronize(void *on);
int cuStreamDestroy_v2(void *on);
int cuEventCreate(void **out, unsigned flags);
int cuEventRecord(void *what, void *on);
int cuEventSynchronize(void *what);
int cuEventElapsedTime(float *milliseconds, void *from, void *to);
int cuEventDestroy_v2(void *what);

int cuInit(unsigned flags)
{
    int result = fake_begin(FAKE_Init);
    if (flags != 0) fake_mistake("cuInit(%u)", flags);
    if (result == 0) fake.initialised = 1;
    return fake_end(result);
}

int cuGetErrorName(int result, const char **name)
{
    static const struct {
        int result;
        const char *name;
    } known[] = {
        {FAKE_E_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {FAKE_E_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
        {FAKE_E_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
        {FAKE_E_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {FAKE_E_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
        {FAKE_E_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
    };
    int failed = fake_begin(FAKE_GetErrorName);
    *name = NULL;
    if (result == FAKE_E_NAMELESS) return fake_end(failed);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].result == result) *name = known[i].name;
    return fake_end(failed != 0 ? failed : *name == NULL);
}

int cuDeviceGetCount(int *count)
{
    int result = fake_begin(FAKE_DeviceGetCount);
    if (result == 0) *count = fake.state.device_count;
    return fake_end(result);
}

int cuDeviceGet(int *device, int number)
{
    int result = fake_begin(FAKE_DeviceGet);
    if (result == 0 && (number < 0 || number >= fake.state.device_count)) {
        fake_mistake("device %d", number);
        result = 101;
    }
    if (result == 0) *device = number;
    return fake_end(result);
}

int cuDeviceGetName(char *name, int size, int device)
{
    int result = fake_begin(FAKE_DeviceGetName);
    if (result == 0) snprintf(name, (size_t)size, "Fake %d", device);
    return fake_end(result);
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    int result = fake_begin(FAKE_DeviceGetAttribute);
    if (attribute != 99) fake_mistake("attribute %d of device %d", attribute, device);
    if (result == 0) *value = !fake.state.no_register;
    return fake_end(result);
}

int cuDevicePrimaryCtxRetain(void **out, int device)
{
    int result = fake_begin(FAKE_DevicePrimaryCtxRetain);
    if (result == 0) {
        fake.state.retained++;
        fake.primary_references[device]++;
        fake.primaries[device].device = device;
        fake.primaries[device].primary = 1;
        *out = &fake.primaries[device];
    }
    return fake_end(result);
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    int result = fake_begin(FAKE_DevicePrimaryCtxRelease);
    if (fake.primary_references[device] == 0) {
        fake_mistake("a primary context is released too often");
        return fake_end(FAKE_E_CONTEXT);
    }
    fake.state.retained--;
    if (--fake.primary_references[device] == 0 && fake.primaries[device].objects != 0)
        fake_mistake("a primary context ends with %zu objects in it",
                     fake.primaries[device].objects);
    return fake_end(result);
}

int cuCtxGetCurrent(void **out)
{
    int result = fake_begin(FAKE_CtxGetCurrent);
    if (result == 0) *out = fake_current();
    return fake_end(result);
}

int cuCtxGetDevice(int *device)
{
    int result = fake_begin_in(FAKE_CtxGetDevice, NULL);
    if (result == 0) *device = fake_current()->device;
    return fake_end(result);
}

int cuCtxPushCurrent_v2(void *pushed)
{
    int result = fake_begin(FAKE_CtxPushCurrent);
    if (result == 0 && (pushed == NULL || fake_depth == STACK_MAX)) {
        fake_mistake("no context, or too many, pushed");
        result = FAKE_E_CONTEXT;
    }
    if (result == 0) {
        fake_stack[fake_depth++] = pushed;
        fake.state.pushed++;
    }
    return fake_end(result);
}

int cuCtxPopCurrent_v2(void **popped)
{
    int result = fake_begin(FAKE_CtxPopCurrent);
    if (fake_depth == 0) {
        fake_mistake("no context to pop");
        return fake_end(FAKE_E_CONTEXT);
    }
    *popped =
        fake_stack[--fake_depth]; /* it comes off whatever the call says, or threads would differ */
    fake.state.pushed--;
    return fake_end(result);
}

int cuMemAlloc_v2(uint64_t *address, size_t size)
{
    int result = fake_begin_in(FAKE_MemAlloc, NULL);
    if (result == 0 && size == 0) result = 1;
    block *made =
        result == 0 ? fake_add(&fake.blocks, fake_current(), size, OBJECT_ALIGNMENT) : NULL;
    if (result == 0 && made == NULL) result = FAKE_E_MEMORY;
    if (result == 0) {
        *address = (uint64_t)(uintptr_t)made->memory + TAG;
        fake.state.blocks++;
        fake.state.block_size += size;
    }
    return fake_end(result);
}

int cuMemFree_v2(uint64_t address)
{
    int result = fake_begin_in(FAKE_MemFree, NULL);
    uint8_t *memory = (uint8_t *)(uintptr_t)(address - TAG);
    const block *found = fake_find(fake.blocks, memory, 1);
    if (found == NULL || found->memory != memory || found->owner != fake_current()) {
        fake_mistake("memory is freed that is none of the context");
        return fake_end(1);
    }
    fake_check_unused(memory, found->size);
    fake.state.block_size -= fake_take_out(&fake.blocks, memory);
    fake.state.blocks--;
    return fake_end(result);
}

/* With the lock: `made` is pinned, or NULL. Returns the result of the call. */
static int pinned(const block *made, size_t size)
{
    if (made == NULL) return FAKE_E_MEMORY;
    fake.state.pins++;
    fake.state.pin_size += size;
    if (fake.state.pin_size > fake.state.pin_size_max)
        fake.state.pin_size_max = fake.state.pin_size;
    return 0;
}

static void unpinned(void *memory, int borrowed)
{
    const block *found = fake_find(fake.pins, memory, 1);
    if (found == NULL || found->memory != memory || found->borrowed != borrowed) {
        fake_mistake("pinned memory is given back that is none, or by the wrong call");
        return;
    }
    fake_check_unused(memory, found->size);
    fake.state.pin_size -= fake_take_out(&fake.pins, memory);
    fake.state.pins--;
}

int cuMemHostAlloc(void **memory, size_t size, unsigned flags)
{
    int result = fake_begin_in(FAKE_MemHostAlloc, NULL);
    if (flags != 1) fake_mistake("cuMemHostAlloc with flags %u", flags);
    if (result != 0) return fake_end(result);
    block *made = fake_add(&fake.pins, fake_current(), size, PIN_ALIGNMENT);
    result = pinned(made, size);
    if (result == 0) *memory = made->memory;
    return fake_end(result);
}

int cuMemFreeHost(void *memory)
{
    int result = fake_begin_in(FAKE_MemFreeHost, NULL);
    unpinned(memory, 0);
    return fake_end(result);
}

int cuMemHostRegister_v2(void *memory, size_t size, unsigned flags)
{
    int result = fake_begin_in(FAKE_MemHostRegister, NULL);
    if (flags != 1 || ((uintptr_t)memory | size) % PIN_ALIGNMENT != 0)
        fake_mistake("cuMemHostRegister with flags %u, or of parts of pages", flags);
    if (fake.state.no_register) fake_mistake("cuMemHostRegister where there is none");
    if (result != 0) return fake_end(result);
    return fake_end(pinned(fake_add_borrowed(&fake.pins, fake_current(), memory, size), size));
}

int cuMemHostUnregister(void *memory)
{
    int result = fake_begin_in(FAKE_MemHostUnregister, NULL);
    unpinned(memory, 1);
    return fake_end(result);
}

/* With the lock. */
static int copy(stream *at, uint64_t to, const void *from, size_t size)
{
    uint8_t *target = (uint8_t *)(uintptr_t)(to - TAG);
    if (size == 0 || fake_find(fake.blocks, target, size) == NULL) {
        fake_mistake("a copy of %zu bytes to memory that is none of a device", size);
        return 1;
    }
    if (fake_find(fake.pins, from, size) == NULL) {
        fake_mistake("a copy of %zu bytes from memory that is not pinned", size);
        return 1;
    }
    fake_queue(at, (work){.to = target, .from = from, .size = size});
    fake.state.copies++;
    return 0;
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *on)
{
    stream *at = on;
    int result = fake_begin_in(FAKE_MemcpyHtoDAsync, at->owner);
    return fake_end(result != 0 ? result : copy(at, to, from, size));
}

/* A batch that fails may have begun. */
int cuMemcpyBatchAsync_v2(uint64_t *targets, uint64_t *sources, size_t *sizes, size_t count,
                          const int *how, const size_t *how_begin, size_t how_count, void *on)
{
    stream *at = on;
    int result = fake_begin_in(FAKE_MemcpyBatchAsync, at->owner);
    if (how[0] != 1 || how[5] != 0 || how_begin[0] != 0 || how_count != 1 || count < 2)
        fake_mistake("a batch of %zu copies that is not as it must be", count);
    for (size_t i = 0; i < count && result != FAKE_E_NOT_SUPPORTED; i++) {
        if (result != 0 && i == count / 2) break;
        int failed = copy(at, targets[i], (const void *)(uintptr_t)sources[i], sizes[i]);
        if (failed != 0) result = failed;
    }
    return fake_end(result);
}

int cuStreamCreate(void **out, unsigned flags)
{
    int result = fake_begin_in(FAKE_StreamCreate, NULL);
    if (flags != 1) fake_mistake("a stream with flags %u", flags);
    stream *made = result == 0 ? calloc(1, sizeof *made) : NULL;
    if (made != NULL) {
        made->owner = fake_current();
        made->owner->objects++;
        made->next = fake.streams;
        fake.streams = made;
        fake.state.streams++;
        *out = made;
    }
    return fake_end(result);
}

/* What is queued is done also where the call says that it failed: the copies are under way. */
int cuStreamSynchronize(void *on)
{
    stream *at = on;
    int result = fake_begin_in(FAKE_StreamSynchronize, at->owner);
    fake_proceed(at, NULL);
    return fake_end(result);
}

int cuStreamDestroy_v2(void *on)
{
    stream *at = on;
    stream **place = &fake.streams;
    int result = fake_begin_in(FAKE_StreamDestroy, at->owner);
    while (*place != at) place = &(*place)->next;
    *place = at->next;
    if (at->first != NULL) fake_mistake("a stream ends with work on it");
    fake_proceed(at, NULL);
    at->owner->objects--;
    free(at);
    fake.state.streams--;
    return fake_end(result);
}

int cuEventCreate(void **out, unsigned flags)
{
    int result = fake_begin_in(FAKE_EventCreate, NULL);
    if (flags != 0 && flags != 2) fake_mistake("an event with flags %u", flags);
    event *made = result == 0 ? calloc(1, sizeof *made) : NULL;
    if (made != NULL) {
        made->owner = fake_current();
        made->owner->objects++;
        made->timed = flags == 0;
        fake.state.events++;
        fake.state.timed_events += flags == 0;
        *out = made;
    }
    return fake_end(result);
}

int cuEventRecord(void *what, void *on)
{
    event *happens = what;
    stream *at = on;
    int result = fake_begin_in(FAKE_EventRecord, happens->owner);
    if (happens->owner != at->owner) fake_mistake("an event and a stream of two contexts");
    if (result == 0) {
        happens->stream = at;
        fake_queue(at, (work){.happens = happens});
    }
    return fake_end(result);
}

int cuEventSynchronize(void *what)
{
    event *happens = what;
    int result = fake_begin_in(FAKE_EventSynchronize, happens->owner);
    if (happens->stream == NULL)
        fake_mistake("an event is waited for that was not recorded");
    else
        fake_proceed(happens->stream, happens);
    return fake_end(result);
}

int cuEventElapsedTime(float *milliseconds, void *from, void *to)
{
    const event *first = from, *last = to;
    int result = fake_begin_in(FAKE_EventElapsedTime, first->owner);
    if (!first->timed || !last->timed) fake_mistake("a time of events that take none");
    if (result == 0)
        *milliseconds = (float)((double)(last->copied - first->copied) / FAKE_RATE / 1e6);
    if (result == 0 && fake.state.clock_stopped) *milliseconds = 0;
    return fake_end(result);
}

int cuEventDestroy_v2(void *what)
{
    event *happens = what;
    int result = fake_begin_in(FAKE_EventDestroy, happens->owner);
    happens->owner->objects--;
    free(happens);
    fake.state.events--;
    return fake_end(result);
}
