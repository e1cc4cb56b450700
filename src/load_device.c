#include <string.h>

#include "check.h"
#include "load.h"
#include "os.h"

static uint64_t round_up(uint64_t size)
{
    return (size + TAREI_OS_DIRECT_UNIT - 1) & ~(uint64_t)(TAREI_OS_DIRECT_UNIT - 1);
}

/* ------------------------------------------------------------------------------------------------
 * One call
 */

uint64_t tarei_load_device_flight(const tare_device *device)
{
    return device->staging_size_max / TAREI_DEVICE_SLOTS - TAREI_OS_DIRECT_UNIT;
}

static uint64_t workers_size(const tarei_load_device *load)
{
    return load->worker_count *
           (sizeof *load->workers +
            TAREI_LOAD_LANDING_PARTS * (sizeof(tarei_load_part) + sizeof(tarei_copy)));
}

tare_status tarei_load_device_begin(tarei_load_device *load, tare_device *device,
                                    tarei_memory *memory, uint64_t chunk_size, uint32_t *threads,
                                    tare_error *error)
{
    /* A chunk may begin in the slot as it begins within a page of the file. */
    load->slot_size = round_up(chunk_size) + TAREI_OS_DIRECT_UNIT;
    uint64_t lanes = device->staging_size_max / (TAREI_DEVICE_SLOTS * load->slot_size);
    if (*threads > lanes) *threads = lanes != 0 ? (uint32_t)lanes : 1;
    load->device = device;
    load->memory = memory;
    load->worker_count = *threads;
    load->workers = tarei_memory_take(memory, workers_size(load), TAREI_BUFFER_ALIGNMENT);
    if (load->workers == NULL) return tarei_error_memory(error);
    tarei_load_part *parts = (tarei_load_part *)(void *)(load->workers + *threads);
    tarei_copy *runs = (tarei_copy *)(void *)(parts + *threads * (size_t)TAREI_LOAD_LANDING_PARTS);
    for (size_t i = 0; i < *threads; i++)
        load->workers[i] = (tarei_load_worker){
            .runs = runs + i * TAREI_LOAD_LANDING_PARTS,
            .plan = {.parts = parts + i * TAREI_LOAD_LANDING_PARTS},
        };
    tare_status status = tarei_device_enter(device, error);
    if (status != TARE_OK) return status;
    status = tarei_device_lane_take(device, load->slot_size, true, &load->workers[0].lane, error);
    tarei_device_leave(device);
    return status;
}

void tarei_load_device_free(tarei_load_device *load)
{
    tare_error unused;
    if (load->workers == NULL) return;
    if (load->workers[0].lane != NULL) { /* no thread was started */
        bool entered = tarei_device_enter(load->device, &unused) == TARE_OK;
        tarei_device_lane_give(load->device, load->workers[0].lane);
        if (entered) tarei_device_leave(load->device);
    }
    tarei_memory_give(load->memory, load->workers, workers_size(load), TAREI_BUFFER_ALIGNMENT);
}

/* ------------------------------------------------------------------------------------------------
 * One thread
 */

tare_status tarei_load_device_enter(tarei_load_device *load, uint32_t thread, bool *ready,
                                    tare_error *error)
{
    tarei_lane **lane = &load->workers[thread].lane;
    *ready = false;
    tare_status status = tarei_device_enter(load->device, error);
    if (status != TARE_OK) return status;
    if (*lane == NULL) tarei_device_lane_take(load->device, load->slot_size, false, lane, error);
    *ready = *lane != NULL;
    if (!*ready) tarei_device_leave(load->device);
    return TARE_OK; /* one that gets none is one fewer */
}

tare_status tarei_load_device_leave(tarei_load_device *load, uint32_t thread, tare_error *error)
{
    tare_device *device = load->device;
    tarei_load_worker *worker = &load->workers[thread];
    tare_status status = device->driver->drain(device->state, worker->lane->stream, error);
    for (uint32_t i = 0; i < TAREI_DEVICE_SLOTS; i++) worker->lane->busy[i] = false;
    tarei_device_lane_give(device, worker->lane);
    worker->lane = NULL;
    tarei_device_leave(device);
    return status;
}

static uint8_t *slot_of(const tarei_load_worker *worker)
{
    return worker->lane->memory + worker->slot * worker->lane->slot_size;
}

tare_status tarei_load_device_flush(tarei_load_device *load, uint32_t thread, tare_error *error)
{
    tarei_load_worker *worker = &load->workers[thread];
    const tarei_driver *driver = load->device->driver;
    void *state = load->device->state;
    tarei_lane *lane = worker->lane;
    if (worker->run_count == 0) return TARE_OK;
    tare_status status =
        driver->copy(state, lane->stream, slot_of(worker), worker->runs, worker->run_count, error);
    if (status == TARE_OK)
        status = driver->record(state, lane->events[worker->slot], lane->stream, error);
    if (status != TARE_OK) return status;
    lane->busy[worker->slot] = true;
    worker->slot = (worker->slot + 1) % TAREI_DEVICE_SLOTS;
    worker->run_count = 0;
    return TARE_OK;
}

/* The next slot, once nothing is copied from it any more. */
static tare_status slot_open(tarei_load_device *load, tarei_load_worker *worker, tare_error *error)
{
    tarei_lane *lane = worker->lane;
    worker->used = 0;
    if (!lane->busy[worker->slot]) return TARE_OK;
    lane->busy[worker->slot] = false;
    return load->device->driver->wait(load->device->state, lane->events[worker->slot], error);
}

/* Puts one piece behind what is in the slot, as part number `number` of the chunk. */
static bool place_span(tarei_load_worker *worker, const tarei_load_plan *plan,
                       const tarei_load_part *part, tarei_load_span span, bool direct,
                       uint32_t number)
{
    uint64_t target = (uintptr_t)span.target, pad = 0;
    tarei_copy *run = worker->run_count != 0 ? &worker->runs[worker->run_count - 1] : NULL;
    bool goes_on = run != NULL && tarei_load_pad(plan, run->target + run->size, target, &pad);
    if (!goes_on && direct && worker->used == 0)
        pad = span.begin & (TAREI_OS_DIRECT_UNIT - 1);
    else if (!goes_on)
        pad = (target - worker->used) & (TAREI_LOAD_LINE - 1);
    if (!goes_on && worker->run_count == TAREI_LOAD_LANDING_PARTS) return false;
    if (pad + span.size > worker->lane->slot_size - worker->used) return false;
    uint8_t *to = slot_of(worker) + worker->used;
    if (goes_on) memset(to, 0, (size_t)pad);
    worker->used += pad;
    if (goes_on)
        run->size += pad + span.size;
    else
        worker->runs[worker->run_count++] = (tarei_copy){target, worker->used, span.size};
    worker->used += span.size;
    worker->plan.parts[number] = (tarei_load_part){
        .where = (part->where & ~TAREI_OFFSET_MAX) | span.begin,
        .size = span.size,
        .target = (uintptr_t)(to + pad),
        .entry = part->entry,
        .stream = part->stream,
    };
    return true;
}

static bool place(tarei_load_worker *worker, const tarei_load_plan *plan,
                  const tarei_load_chunk *chunk, bool direct)
{
    worker->chunk = *chunk;
    worker->chunk.part = 0;
    for (uint32_t i = 0; i < chunk->part_count; i++) {
        const tarei_load_part *part = &plan->parts[chunk->part + i];
        if (!place_span(worker, plan, part, tarei_load_span_of(chunk, part), direct, i))
            return false;
    }
    return true;
}

/* All of a chunk behind what is in the slot, or nothing of it. */
static bool place_behind(tarei_load_worker *worker, const tarei_load_plan *plan,
                         const tarei_load_chunk *chunk, bool direct)
{
    uint64_t used = worker->used;
    uint32_t run_count = worker->run_count;
    if (run_count == 0) return false;
    const tarei_copy last = worker->runs[run_count - 1];
    if (place(worker, plan, chunk, direct)) return true;
    worker->used = used;
    worker->run_count = run_count;
    worker->runs[run_count - 1] = last;
    return false;
}

tare_status tarei_load_device_land(tarei_load_device *load, uint32_t thread,
                                   const tarei_load_plan *plan, const tarei_load_chunk *chunk,
                                   bool direct, tare_error *error)
{
    tarei_load_worker *worker = &load->workers[thread];
    if (place_behind(worker, plan, chunk, direct)) return TARE_OK;
    tare_status status = tarei_load_device_flush(load, thread, error);
    if (status == TARE_OK) status = slot_open(load, worker, error);
    if (status == TARE_OK)
        place(worker, plan, chunk, direct); /* the plan was cut so that it fits */
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * A block
 */

tare_status tarei_load_device_take(const tare_device *device, uint64_t size, size_t alignment,
                                   uint64_t *taken, uint8_t **bytes, tare_error *error)
{
    if (size == 0) size = 1; /* drivers refuse nothing, and a block has memory in any case */
    uint64_t room = size;
    if (alignment > TAREI_DEVICE_ALIGNMENT && tarei_check_add(size, alignment, &room))
        return tarei_error_memory(error);
    tare_status status = tarei_device_enter(device, error);
    if (status != TARE_OK) return status;
    status = device->driver->take(device->state, room, taken, error);
    tarei_device_leave(device);
    if (status == TARE_OK)
        *bytes = (uint8_t *)(uintptr_t)((*taken + alignment - 1) & ~(uint64_t)(alignment - 1));
    return status;
}

void tarei_load_device_give(const tare_device *device, uint64_t taken)
{
    tare_error unused;
    if (tarei_device_enter(device, &unused) != TARE_OK) return;
    device->driver->give(device->state, taken);
    tarei_device_leave(device);
}
