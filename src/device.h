/*
 * Memory that is not the host's, and the way there.
 *
 *   tare_device  --- one device: its context, and lanes that loads take and give back
 *   lane         --- what one thread needs: slots of pinned memory, an event for each, a stream
 *   driver       --- what is asked of a vendor's driver: device_cuda.c; another is one more file
 *
 *   device.c       the public calls, lanes, names such as "cuda:0"
 *   device_cuda.c  the one driver there is
 */
#ifndef TAREI_DEVICE_H
#define TAREI_DEVICE_H

#include <stdatomic.h>

#include "arena.h"
#include "error.h"
#include "tare.h"

#define TAREI_DEVICE_CURRENT UINT32_MAX
#define TAREI_DEVICE_ALIGNMENT ((size_t)256) /* what every driver's memory has */
#define TAREI_DEVICE_LABEL_SIZE 24u          /* "cuda:0" */
#define TAREI_DEVICE_NAME_SIZE 128u

/* One of many copies to a device. */
typedef struct tarei_copy {
    uint64_t target;
    uint64_t place; /* of its bytes, from a base on */
    uint64_t size;
} tarei_copy;

/*
 * The contract. `state` is what open made. All but open and close are called between enter and
 * leave, which go in pairs on one thread and leave it as it was. Those that free cannot fail. The
 * errors say which call of the driver failed, with its name for the reason.
 */
typedef struct tarei_driver {
    const char *name; /* "cuda" */
    uint32_t kind;    /* TARE_DEVICE_* */

    /* *number is the device to open, or TAREI_DEVICE_CURRENT, and becomes which it is. `name`, of
     * TAREI_DEVICE_NAME_SIZE, is what the driver calls it. */
    tare_status (*open)(tarei_memory *memory, uint32_t *number, char *name, void **state,
                        tare_error *error);
    void (*close)(tarei_memory *memory, void *state);
    tare_status (*enter)(void *state, tare_error *error);
    void (*leave)(void *state);

    /* Memory of the device, aligned to TAREI_DEVICE_ALIGNMENT, and of the host, pinned: whole pages
     * of it. */
    tare_status (*take)(void *state, uint64_t size, uint64_t *address, tare_error *error);
    void (*give)(void *state, uint64_t address);
    tare_status (*pin)(void *state, uint64_t size, void **memory, tare_error *error);
    void (*unpin)(void *state, void *memory, uint64_t size);

    /* What is queued on a stream happens in order, beside what other streams do. */
    tare_status (*stream_make)(void *state, void **stream, tare_error *error);
    void (*stream_free)(void *state, void *stream);
    tare_status (*event_make)(void *state, bool timed, void **event, tare_error *error);
    void (*event_free)(void *state, void *event);

    /* Queued: copies from pinned memory, from `base` on; an event that happens after all that was
     * queued before. */
    tare_status (*copy)(void *state, void *stream, const void *base, const tarei_copy *copies,
                        size_t count, tare_error *error);
    tare_status (*record)(void *state, void *event, void *stream, tare_error *error);

    /* Waiting: for an event that was recorded, for all of a stream; between two timed events. */
    tare_status (*wait)(void *state, void *event, tare_error *error);
    tare_status (*drain)(void *state, void *stream, tare_error *error);
    tare_status (*elapsed)(void *state, void *from, void *to, double *seconds, tare_error *error);
} tarei_driver;

extern const tarei_driver tarei_device_cuda;

/* ------------------------------------------------------------------------------------------------
 * device.c
 */

/* "cuda:0", in room of TAREI_DEVICE_LABEL_SIZE. */
void tarei_device_label(char *label, const char *driver, uint32_t number);

#define TAREI_DEVICE_SLOTS 2u

typedef struct tarei_lane {
    struct tarei_lane *next;
    uint8_t *memory; /* pinned: the slots */
    uint64_t slot_size;
    void *stream;
    void *events[TAREI_DEVICE_SLOTS];
    bool busy[TAREI_DEVICE_SLOTS]; /* its event was recorded and not waited for */
} tarei_lane;

struct tare_device {
    const tarei_driver *driver;
    void *state;
    tarei_memory memory;
    uint64_t staging_size_max;
    atomic_ullong staging_size; /* bytes of pinned memory of all lanes */
    atomic_uint references;     /* the caller's, and one for each block */
    atomic_flag lock;           /* of the list of lanes that nobody uses, and of taking more */
    tarei_lane *lanes;
    uint32_t number;
    char label[TAREI_DEVICE_LABEL_SIZE];
    char name[TAREI_DEVICE_NAME_SIZE];
};

static inline tare_status tarei_device_enter(const tare_device *device, tare_error *error)
{
    return device->driver->enter(device->state, error);
}

static inline void tarei_device_leave(const tare_device *device)
{
    device->driver->leave(device->state);
}

/*
 * Takes a lane with slots of at least that size, a kept one or a new one. *lane is NULL, without an
 * error, where the device's bound is met; `anyway` gives one all the same. Within enter and leave,
 * as is giving it back, with every slot at rest.
 */
tare_status tarei_device_lane_take(tare_device *device, uint64_t slot_size, bool anyway,
                                   tarei_lane **lane, tare_error *error);
void tarei_device_lane_give(tare_device *device, tarei_lane *lane);

/* How many different devices this process has open. */
uint32_t tarei_device_count(void);

/* A device lives until nobody refers to it any more. */
void tarei_device_keep(tare_device *device);
void tarei_device_release(tare_device *device);

#endif
