/* Devices that loads go to: their names, and lanes that are kept from one load to the next. */
#include "device.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "internal.h"
#include "os.h"

#define STAGING_SIZE_DEFAULT (UINT64_C(256) << 20)
#define STAGING_SIZE_MIN (UINT64_C(64) << 10)
#define NUMBER_DIGITS_MAX 4u /* of a device */

/* What measuring copies: so much pinned memory again and again. */
#define MEASURE_PIECE_SIZE (UINT64_C(64) << 20)
#define MEASURE_SIZE_DEFAULT (UINT64_C(2) << 30)

static const tarei_driver *const drivers[] = {&tarei_device_cuda};

/* How often each device is open. All that the library keeps beyond its objects: loads to several
 * devices share the processor's cache, and the caller need not say so. */
#define COUNTED_MAX 64u
static atomic_uint opened[COUNTED_MAX];

uint32_t tarei_device_count(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < COUNTED_MAX; i++) count += atomic_load(&opened[i]) != 0;
    return count;
}

static tare_status fail_argument(tare_error *error, const char *what)
{
    return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET, "%s", what);
}

void tarei_device_label(char *label, const char *driver, uint32_t number)
{
    snprintf(label, TAREI_DEVICE_LABEL_SIZE, "%.10s:%lu", driver, (unsigned long)number);
}

/* Takes "cuda" or "cuda:3" apart; NULL for what is neither. */
static const tarei_driver *find_driver(const char *name, uint32_t *number)
{
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        size_t size = strlen(drivers[i]->name);
        if (strncmp(name, drivers[i]->name, size) != 0) continue;
        *number = TAREI_DEVICE_CURRENT;
        if (name[size] == '\0') return drivers[i];
        const char *digits = name + size + 1;
        size_t count = strspn(digits, "0123456789");
        if (name[size] != ':' || count == 0 || count > NUMBER_DIGITS_MAX || digits[count] != '\0')
            continue;
        *number = 0;
        while (*digits != '\0') *number = *number * 10 + (uint32_t)(*digits++ - '0');
        return drivers[i];
    }
    return NULL;
}

static tare_status options_copy(tare_device_options *to, const tare_device_options *from,
                                tare_error *error)
{
    tare_status status = tarei_open_copy_options(to, sizeof *to, from, error);
    if (status != TARE_OK) return status;
    if (to->staging_size_max == 0) to->staging_size_max = STAGING_SIZE_DEFAULT;
    if (to->staging_size_max < STAGING_SIZE_MIN)
        return fail_argument(error, "options.staging_size_max is below 64 KiB");
    return tarei_open_check_hooks(to->allocator, error);
}

void tarei_device_keep(tare_device *device)
{
    atomic_fetch_add(&device->references, 1);
}

void tarei_device_release(tare_device *device)
{
    if (atomic_fetch_sub(&device->references, 1) != 1) return;
    tarei_memory memory = device->memory;
    device->driver->close(&memory, device->state);
    tarei_memory_give(&memory, device, sizeof *device, TAREI_BUFFER_ALIGNMENT);
}

tare_device_info tare_device_describe(const tare_device *device)
{
    return (tare_device_info){
        .kind = device->driver->kind,
        .number = device->number,
        .label = {device->label, strlen(device->label)},
        .name = {device->name, strlen(device->name)},
        .staging_size = atomic_load(&device->staging_size),
    };
}

/* ------------------------------------------------------------------------------------------------
 * Lanes
 */

/* Held for a few instructions, and only when a load begins or ends. */
static void lock(tare_device *device)
{
    while (atomic_flag_test_and_set(&device->lock)) tarei_os_nap();
}

static void unlock(tare_device *device)
{
    atomic_flag_clear(&device->lock);
}

static void lane_free(tare_device *device, tarei_lane *lane)
{
    const tarei_driver *driver = device->driver;
    tarei_memory memory = device->memory;
    for (uint32_t i = 0; i < TAREI_DEVICE_SLOTS; i++)
        if (lane->events[i] != NULL) driver->event_free(device->state, lane->events[i]);
    if (lane->stream != NULL) driver->stream_free(device->state, lane->stream);
    uint64_t size = TAREI_DEVICE_SLOTS * lane->slot_size;
    if (lane->memory != NULL) driver->unpin(device->state, lane->memory, size);
    atomic_fetch_sub(&device->staging_size, size);
    tarei_memory_give(&memory, lane, sizeof *lane, TAREI_BUFFER_ALIGNMENT);
}

/* A kept lane with slots of at least that size, else whichever there is, else NULL. */
static tarei_lane *lane_pop(tare_device *device, uint64_t slot_size)
{
    tarei_lane **place = &device->lanes;
    while (*place != NULL && (*place)->slot_size < slot_size) place = &(*place)->next;
    if (*place == NULL) place = &device->lanes;
    tarei_lane *lane = *place;
    if (lane != NULL) *place = lane->next;
    return lane;
}

/* Accounts for that much more pinned memory; false where it is beyond the bound. What others give
 * back meanwhile only makes room. */
static bool reserve(tare_device *device, uint64_t size, bool anyway)
{
    uint64_t sum;
    lock(device);
    bool beyond = tarei_check_add(atomic_load(&device->staging_size), size, &sum) ||
                  sum > device->staging_size_max;
    if (anyway || !beyond) atomic_fetch_add(&device->staging_size, size);
    unlock(device);
    return anyway || !beyond;
}

static tare_status lane_make(tare_device *device, uint64_t slot_size, bool anyway,
                             tarei_lane **made, tare_error *error)
{
    const tarei_driver *driver = device->driver;
    tarei_memory memory = device->memory;
    uint64_t size = TAREI_DEVICE_SLOTS * slot_size;
    void *pinned = NULL;
    *made = NULL;
    if (!reserve(device, size, anyway)) return TARE_OK;
    tarei_lane *lane = tarei_memory_take(&memory, sizeof *lane, TAREI_BUFFER_ALIGNMENT);
    if (lane == NULL) {
        atomic_fetch_sub(&device->staging_size, size);
        return tarei_error_memory(error);
    }
    memset(lane, 0, sizeof *lane);
    lane->slot_size = slot_size;
    tare_status status = driver->pin(device->state, size, &pinned, error);
    lane->memory = pinned;
    if (status == TARE_OK) status = driver->stream_make(device->state, &lane->stream, error);
    for (uint32_t i = 0; i < TAREI_DEVICE_SLOTS && status == TARE_OK; i++)
        status = driver->event_make(device->state, false, &lane->events[i], error);
    if (status == TARE_OK)
        *made = lane;
    else
        lane_free(device, lane);
    return status;
}

tare_status tarei_device_lane_take(tare_device *device, uint64_t slot_size, bool anyway,
                                   tarei_lane **lane, tare_error *error)
{
    for (;;) {
        lock(device);
        tarei_lane *kept = lane_pop(device, slot_size);
        unlock(device);
        *lane = kept;
        if (kept != NULL && kept->slot_size >= slot_size) return TARE_OK;
        if (kept != NULL) lane_free(device, kept); /* too small: it makes room */
        tare_status status = lane_make(device, slot_size, anyway && kept == NULL, lane, error);
        if (status != TARE_OK || *lane != NULL || kept == NULL) return status;
    }
}

void tarei_device_lane_give(tare_device *device, tarei_lane *lane)
{
    if (atomic_load(&device->staging_size) > device->staging_size_max) {
        lane_free(device, lane); /* it was had all the same */
        return;
    }
    lock(device);
    lane->next = device->lanes;
    device->lanes = lane;
    unlock(device);
}

void tare_device_close(tare_device *device)
{
    tare_error unused;
    if (device == NULL) return;
    if (device->number < COUNTED_MAX) atomic_fetch_sub(&opened[device->number], 1);
    bool entered = tarei_device_enter(device, &unused) == TARE_OK;
    for (tarei_lane *lane; (lane = lane_pop(device, 0)) != NULL;) lane_free(device, lane);
    if (entered) tarei_device_leave(device);
    tarei_device_release(device);
}

/* ------------------------------------------------------------------------------------------------
 * Opening
 */

tare_status tare_device_open(const char *name, const tare_device_options *options,
                             tare_device **out, tare_error *error)
{
    tare_error unused;
    tare_device_options how;
    uint32_t number;
    if (error == NULL) error = &unused;
    if (out == NULL) return fail_argument(error, "out is NULL");
    *out = NULL;
    if (name == NULL) return fail_argument(error, "name is NULL");
    tare_status status = options_copy(&how, options, error);
    if (status != TARE_OK) return status;
    const tarei_driver *driver = find_driver(name, &number);
    if (driver == NULL)
        return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "no device is called %s; one is cuda:0",
                               tarei_quote(name, strlen(name)).text);
    tarei_memory memory;
    tarei_memory_init(&memory, how.allocator);
    tare_device *device = tarei_memory_take(&memory, sizeof *device, TAREI_BUFFER_ALIGNMENT);
    if (device == NULL) return tarei_error_memory(error);
    memset(device, 0, sizeof *device);
    device->driver = driver;
    device->staging_size_max = how.staging_size_max;
    atomic_init(&device->staging_size, 0);
    atomic_init(&device->references, 1);
    atomic_flag_clear(&device->lock);
    status = driver->open(&memory, &number, device->name, &device->state, error);
    device->memory = memory;
    if (status != TARE_OK) {
        tarei_memory_give(&memory, device, sizeof *device, TAREI_BUFFER_ALIGNMENT);
        return status;
    }
    device->number = number;
    if (number < COUNTED_MAX) atomic_fetch_add(&opened[number], 1);
    tarei_device_label(device->label, driver->name, number);
    tarei_error_clear(error);
    *out = device;
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * The link's limit
 */

typedef struct measuring {
    void *pinned;
    uint64_t address;
    void *stream;
    void *events[2];
} measuring;

static tare_status measuring_begin(measuring *at, const tare_device *device, tare_error *error)
{
    const tarei_driver *driver = device->driver;
    void *state = device->state;
    tare_status status = driver->pin(state, MEASURE_PIECE_SIZE, &at->pinned, error);
    if (status == TARE_OK) status = driver->take(state, MEASURE_PIECE_SIZE, &at->address, error);
    if (status == TARE_OK) status = driver->stream_make(state, &at->stream, error);
    for (uint32_t i = 0; i < 2 && status == TARE_OK; i++)
        status = driver->event_make(state, true, &at->events[i], error);
    return status;
}

static tare_status measuring_run(const measuring *at, const tare_device *device, uint64_t size,
                                 double *rate, tare_error *error)
{
    const tarei_driver *driver = device->driver;
    void *state = device->state;
    tare_error unused;
    double seconds = 0;
    uint64_t pieces = size / MEASURE_PIECE_SIZE;
    if (pieces == 0) pieces = 1;
    memset(at->pinned, 1, MEASURE_PIECE_SIZE);
    const tarei_copy copy = {at->address, 0, MEASURE_PIECE_SIZE};
    tare_status status = driver->copy(state, at->stream, at->pinned, &copy, 1, error);
    if (status == TARE_OK) status = driver->record(state, at->events[0], at->stream, error);
    for (uint64_t i = 0; i < pieces && status == TARE_OK; i++)
        status = driver->copy(state, at->stream, at->pinned, &copy, 1, error);
    if (status == TARE_OK) status = driver->record(state, at->events[1], at->stream, error);
    tare_status drained = driver->drain(state, at->stream, status == TARE_OK ? error : &unused);
    if (status == TARE_OK) status = drained;
    if (status == TARE_OK)
        status = driver->elapsed(state, at->events[0], at->events[1], &seconds, error);
    if (status == TARE_OK && seconds > 0) *rate = (double)(pieces * MEASURE_PIECE_SIZE) / seconds;
    return status;
}

static void measuring_end(const measuring *at, const tare_device *device)
{
    const tarei_driver *driver = device->driver;
    void *state = device->state;
    for (uint32_t i = 0; i < 2; i++)
        if (at->events[i] != NULL) driver->event_free(state, at->events[i]);
    if (at->stream != NULL) driver->stream_free(state, at->stream);
    if (at->address != 0) driver->give(state, at->address);
    if (at->pinned != NULL) driver->unpin(state, at->pinned, MEASURE_PIECE_SIZE);
}

tare_status tare_device_measure(tare_device *device, uint64_t size, double *rate, tare_error *error)
{
    tare_error unused;
    measuring at = {0};
    if (error == NULL) error = &unused;
    if (rate == NULL) return fail_argument(error, "rate is NULL");
    *rate = 0;
    tare_status status = tarei_device_enter(device, error);
    if (status != TARE_OK) return status;
    status = measuring_begin(&at, device, error);
    if (status == TARE_OK)
        status = measuring_run(&at, device, size != 0 ? size : MEASURE_SIZE_DEFAULT, rate, error);
    measuring_end(&at, device);
    tarei_device_leave(device);
    if (status == TARE_OK) tarei_error_clear(error);
    return status;
}
