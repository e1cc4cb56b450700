/*
 * NVIDIA's driver API, found at run time. The declarations are ours, of what the ABI of the driver
 * says: handles are pointers, devices and results are int, addresses of devices 64 bits wide. The
 * names with _v2 are those under which programs are linked today.
 */
#include <string.h>

#include "device.h"
#include "os.h"

#define LIBRARY "libcuda.so.1"

/* Results that are told apart; see cuGetErrorName for the others. */
#define RESULT_MEMORY 2
#define RESULT_NOT_SUPPORTED 801

#define STREAM_NON_BLOCKING 1u /* does not wait for what the program does on the default stream */
#define EVENT_DISABLE_TIMING 2u
#define HOST_PORTABLE 1u /* pinned for every context; of both calls */
#define ATTRIBUTE_CAN_REGISTER 99

/* X(name without "cu", arguments) */
#define CALL_LIST(X)                                                                  \
    X(Init, (unsigned flags))                                                         \
    X(GetErrorName, (int result, const char **name))                                  \
    X(DeviceGetCount, (int *count))                                                   \
    X(DeviceGet, (int *device, int number))                                           \
    X(DeviceGetName, (char *name, int size, int device))                              \
    X(DeviceGetAttribute, (int *value, int attribute, int device))                    \
    X(DevicePrimaryCtxRetain, (void **context, int device))                           \
    X(DevicePrimaryCtxRelease_v2, (int device))                                       \
    X(CtxGetCurrent, (void **context))                                                \
    X(CtxGetDevice, (int *device))                                                    \
    X(CtxPushCurrent_v2, (void *context))                                             \
    X(CtxPopCurrent_v2, (void **context))                                             \
    X(MemAlloc_v2, (uint64_t * address, size_t size))                                 \
    X(MemFree_v2, (uint64_t address))                                                 \
    X(MemHostAlloc, (void **memory, size_t size, unsigned flags))                     \
    X(MemFreeHost, (void *memory))                                                    \
    X(MemHostRegister_v2, (void *memory, size_t size, unsigned flags))                \
    X(MemHostUnregister, (void *memory))                                              \
    X(MemcpyHtoDAsync_v2, (uint64_t to, const void *from, size_t size, void *stream)) \
    X(StreamCreate, (void **stream, unsigned flags))                                  \
    X(StreamSynchronize, (void *stream))                                              \
    X(StreamDestroy_v2, (void *stream))                                               \
    X(EventCreate, (void **event, unsigned flags))                                    \
    X(EventRecord, (void *event, void *stream))                                       \
    X(EventSynchronize, (void *event))                                                \
    X(EventElapsedTime, (float *milliseconds, void *from, void *to))                  \
    X(EventDestroy_v2, (void *event))

/* Of CUDA 13, and done without where it is missing: many copies at a third of the cost. */
#define BATCH_CALL "MemcpyBatchAsync_v2"
#define BATCH_COUNT_MAX 256u
#define BATCH_IN_STREAM_ORDER 1

/* How copies of a batch are to be made. */
typedef struct batch_how {
    int source_order;
    int source_place[2];
    int target_place[2];
    unsigned flags;
} batch_how;

typedef int batch_call(uint64_t *targets, uint64_t *sources, size_t *sizes, size_t count,
                       batch_how *hows, size_t *how_begins, size_t how_count, void *stream);

typedef struct calls {
#define CALL_MEMBER(name, arguments) int(*name) arguments;
    CALL_LIST(CALL_MEMBER)
#undef CALL_MEMBER
} calls;

typedef struct cuda {
    calls call;
    batch_call *batch; /* or NULL */
    void *library;
    void *context;
    int device;
    bool primary;   /* the context was retained and must be released */
    bool registers; /* the driver pins memory that is there */
    uint32_t number;
} cuda;

/* `number` may be TAREI_DEVICE_CURRENT, where it is not known yet. */
static tare_status fail_call(const cuda *self, tare_status status, const char *what, int result,
                             tare_error *error)
{
    const char *name = NULL;
    char label[TAREI_DEVICE_LABEL_SIZE] = "cuda";
    if (self->call.GetErrorName(result, &name) != 0 || name == NULL) name = "an unknown error";
    if (self->number != TAREI_DEVICE_CURRENT) tarei_device_label(label, "cuda", self->number);
    return tarei_error_set(error, status, TARE_NO_SHARD, TARE_NO_OFFSET, "%s: cu%s: %s (%d)", label,
                           what, name, result);
}

static tare_status check(const cuda *self, const char *what, int result, tare_error *error)
{
    if (result == 0) return TARE_OK;
    tare_status status = result == RESULT_MEMORY          ? TARE_E_MEMORY
                         : result == RESULT_NOT_SUPPORTED ? TARE_E_UNSUPPORTED
                                                          : TARE_E_DEVICE;
    return fail_call(self, status, what, result, error);
}

/* Calls and checks; the error names the call. */
#define CHECK(self, name, arguments, error) check(self, #name, (self)->call.name arguments, error)

static tare_status find_calls(cuda *self, tare_error *error)
{
    static const struct {
        const char *name;
        size_t place;
    } list[] = {
#define CALL_PLACE(name, arguments) {"cu" #name, offsetof(calls, name)},
        CALL_LIST(CALL_PLACE)
#undef CALL_PLACE
    };
    char why[200];
    self->library = tarei_os_library_open(LIBRARY, why, sizeof why);
    if (self->library == NULL)
        return tarei_error_set(error, TARE_E_UNSUPPORTED, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "cuda: no driver: %s", why);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        tarei_os_function found = tarei_os_library_find(self->library, list[i].name);
        if (found == NULL)
            return tarei_error_set(error, TARE_E_UNSUPPORTED, TARE_NO_SHARD, TARE_NO_OFFSET,
                                   "cuda: " LIBRARY " has no %s: the driver is too old",
                                   list[i].name);
        memcpy((char *)&self->call + list[i].place, &found, sizeof found);
    }
    tarei_os_function batch = tarei_os_library_find(self->library, "cu" BATCH_CALL);
    memcpy(&self->batch, &batch, sizeof batch);
    return TARE_OK;
}

/* The context that is current on this thread, and its device; NULL if there is none. */
static tare_status look(const cuda *self, void **context, int *device, tare_error *error)
{
    *context = NULL;
    tare_status status = CHECK(self, CtxGetCurrent, (context), error);
    if (status == TARE_OK && *context != NULL) status = CHECK(self, CtxGetDevice, (device), error);
    return status;
}

static tare_status find_device(cuda *self, void *current, int current_device, tare_error *error)
{
    int count = 0;
    tare_status status = CHECK(self, DeviceGetCount, (&count), error);
    if (status != TARE_OK) return status;
    bool any = self->number == TAREI_DEVICE_CURRENT;
    uint32_t number = any ? 0 : self->number;
    for (; number < (uint32_t)count; number++) {
        status = CHECK(self, DeviceGet, (&self->device, (int)number), error);
        if (status != TARE_OK) return status;
        if (!any || current == NULL || self->device == current_device) break;
    }
    if (number >= (uint32_t)count)
        return tarei_error_set(error, TARE_E_UNSUPPORTED, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "cuda: there is no device %lu: the driver has %d",
                               (unsigned long)number, count);
    self->number = number;
    return TARE_OK;
}

static tare_status find_context(cuda *self, tare_error *error)
{
    void *current;
    int current_device = -1;
    int result = self->call.Init(0);
    if (result != 0) return fail_call(self, TARE_E_UNSUPPORTED, "Init", result, error);
    tare_status status = look(self, &current, &current_device, error);
    if (status == TARE_OK) status = find_device(self, current, current_device, error);
    if (status != TARE_OK) return status;
    if (current != NULL && current_device == self->device) {
        self->context = current;
        return TARE_OK;
    }
    status = CHECK(self, DevicePrimaryCtxRetain, (&self->context, self->device), error);
    self->primary = status == TARE_OK;
    return status;
}

static void cuda_close(tarei_memory *memory, void *state)
{
    cuda *self = state;
    if (self->primary) self->call.DevicePrimaryCtxRelease_v2(self->device);
    if (self->library != NULL) tarei_os_library_close(self->library);
    tarei_memory_give(memory, self, sizeof *self, _Alignof(cuda));
}

static tare_status cuda_open(tarei_memory *memory, uint32_t *number, char *name, void **state,
                             tare_error *error)
{
    cuda *self = tarei_memory_take(memory, sizeof *self, _Alignof(cuda));
    if (self == NULL) return tarei_error_memory(error);
    memset(self, 0, sizeof *self);
    self->number = *number;
    tare_status status = find_calls(self, error);
    if (status == TARE_OK) status = find_context(self, error);
    if (status == TARE_OK)
        status = CHECK(self, DeviceGetName, (name, TAREI_DEVICE_NAME_SIZE, self->device), error);
    int can = 0;
    if (status == TARE_OK)
        status =
            CHECK(self, DeviceGetAttribute, (&can, ATTRIBUTE_CAN_REGISTER, self->device), error);
    self->registers = can != 0;
    if (status != TARE_OK) {
        cuda_close(memory, self);
        return status;
    }
    *number = self->number;
    *state = self;
    return TARE_OK;
}

static tare_status cuda_enter(void *state, tare_error *error)
{
    cuda *self = state;
    return CHECK(self, CtxPushCurrent_v2, (self->context), error);
}

static void cuda_leave(void *state)
{
    void *popped;
    ((cuda *)state)->call.CtxPopCurrent_v2(&popped);
}

static tare_status cuda_take(void *state, uint64_t size, uint64_t *address, tare_error *error)
{
    cuda *self = state;
    return CHECK(self, MemAlloc_v2, (address, (size_t)size), error);
}

static void cuda_give(void *state, uint64_t address)
{
    ((cuda *)state)->call.MemFree_v2(address);
}

/* The driver takes and clears memory under its lock, for which every copy waits: seven times as
 * long as it takes to pin pages that this thread has made present. */
static tare_status cuda_pin(void *state, uint64_t size, void **pinned, tare_error *error)
{
    cuda *self = state;
    if (!self->registers)
        return CHECK(self, MemHostAlloc, (pinned, (size_t)size, HOST_PORTABLE), error);
    void *memory = tarei_os_take_pages((size_t)size);
    if (memory == NULL) return tarei_error_memory(error);
    tare_status status =
        CHECK(self, MemHostRegister_v2, (memory, (size_t)size, HOST_PORTABLE), error);
    if (status == TARE_OK)
        *pinned = memory;
    else
        tarei_os_give_pages(memory, (size_t)size);
    return status;
}

static void cuda_unpin(void *state, void *pinned, uint64_t size)
{
    cuda *self = state;
    if (!self->registers) {
        self->call.MemFreeHost(pinned);
        return;
    }
    self->call.MemHostUnregister(pinned);
    tarei_os_give_pages(pinned, (size_t)size);
}

static tare_status cuda_stream_make(void *state, void **stream, tare_error *error)
{
    cuda *self = state;
    return CHECK(self, StreamCreate, (stream, STREAM_NON_BLOCKING), error);
}

static void cuda_stream_free(void *state, void *stream)
{
    ((cuda *)state)->call.StreamDestroy_v2(stream);
}

static tare_status cuda_event_make(void *state, bool timed, void **event, tare_error *error)
{
    cuda *self = state;
    return CHECK(self, EventCreate, (event, timed ? 0 : EVENT_DISABLE_TIMING), error);
}

static void cuda_event_free(void *state, void *event)
{
    ((cuda *)state)->call.EventDestroy_v2(event);
}

/* As many of the copies as one call takes; *done tells how many, 0 where it is not supported. */
static tare_status copy_batch(const cuda *self, void *stream, const void *base,
                              const tarei_copy *copies, size_t count, size_t *done,
                              tare_error *error)
{
    uint64_t targets[BATCH_COUNT_MAX];
    uint64_t sources[BATCH_COUNT_MAX];
    size_t sizes[BATCH_COUNT_MAX];
    size_t how_begin = 0;
    batch_how how = {.source_order = BATCH_IN_STREAM_ORDER};
    if (count > BATCH_COUNT_MAX) count = BATCH_COUNT_MAX;
    for (size_t i = 0; i < count; i++) {
        targets[i] = copies[i].target;
        sources[i] = (uint64_t)(uintptr_t)base + copies[i].place;
        sizes[i] = (size_t)copies[i].size;
    }
    int result = self->batch(targets, sources, sizes, count, &how, &how_begin, 1, stream);
    *done = result == RESULT_NOT_SUPPORTED ? 0 : count;
    return *done == 0 ? TARE_OK : check(self, BATCH_CALL, result, error);
}

static tare_status cuda_copy(void *state, void *stream, const void *base, const tarei_copy *copies,
                             size_t count, tare_error *error)
{
    cuda *self = state;
    tare_status status = TARE_OK;
    size_t at = 0, done = self->batch != NULL;
    while (done != 0 && count - at > 1 && status == TARE_OK) {
        status = copy_batch(self, stream, base, copies + at, count - at, &done, error);
        at += done;
    }
    for (; at < count && status == TARE_OK; at++) {
        const void *from = (const char *)base + copies[at].place;
        status = CHECK(self, MemcpyHtoDAsync_v2,
                       (copies[at].target, from, (size_t)copies[at].size, stream), error);
    }
    return status;
}

static tare_status cuda_record(void *state, void *event, void *stream, tare_error *error)
{
    cuda *self = state;
    return CHECK(self, EventRecord, (event, stream), error);
}

static tare_status cuda_wait(void *state, void *event, tare_error *error)
{
    cuda *self = state;
    return CHECK(self, EventSynchronize, (event), error);
}

static tare_status cuda_drain(void *state, void *stream, tare_error *error)
{
    cuda *self = state;
    return CHECK(self, StreamSynchronize, (stream), error);
}

static tare_status cuda_elapsed(void *state, void *from, void *to, double *seconds,
                                tare_error *error)
{
    cuda *self = state;
    float milliseconds = 0;
    tare_status status = CHECK(self, EventElapsedTime, (&milliseconds, from, to), error);
    *seconds = (double)milliseconds / 1e3;
    return status;
}

const tarei_driver tarei_device_cuda = {
    .name = "cuda",
    .kind = TARE_DEVICE_CUDA,
    .open = cuda_open,
    .close = cuda_close,
    .enter = cuda_enter,
    .leave = cuda_leave,
    .take = cuda_take,
    .give = cuda_give,
    .pin = cuda_pin,
    .unpin = cuda_unpin,
    .stream_make = cuda_stream_make,
    .stream_free = cuda_stream_free,
    .event_make = cuda_event_make,
    .event_free = cuda_event_free,
    .copy = cuda_copy,
    .record = cuda_record,
    .wait = cuda_wait,
    .drain = cuda_drain,
    .elapsed = cuda_elapsed,
};
