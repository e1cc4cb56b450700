/* The public calls: options, memory, threads, progress. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "load.h"
#include "os.h"
#include "pool.h"

#define IO_MAX TARE_IO_DIRECT
#define FLAGS (TARE_LOAD_DROP_BEHIND | TARE_LOAD_SMALL_PAGES)
#define HUGE_SIZE ((uint64_t)2 << 20)

#define CHUNK_SIZE_MIN TAREI_OS_DIRECT_UNIT
#define CHUNK_SIZE_MAX (UINT64_C(1) << 30)
#define PAD_MAX 4096u /* read or copied between two tensors rather than reading or copying twice */

struct tare_block {
    tarei_memory memory;
    tare_device *device; /* whose memory it is; NULL: the host's */
    uint64_t taken;      /* from the device */
    uint8_t *bytes;
    uint64_t size;
    size_t alignment;
    size_t count;
    struct {
        uint8_t *data;
        size_t size;
    } entries[];
};

typedef struct loading {
    const tare_model *model;
    tare_load_options options; /* with every default filled in */
    tarei_memory memory;
    tarei_load_plan plan;
    tarei_load_verify verify;
    tarei_load_ways ways;
    tarei_load_device device;
    uint8_t *bounce;      /* of all threads, or NULL */
    uint64_t bounce_size; /* for each thread: the largest chunk that goes through it */
    tare_error *error;
    atomic_uint next; /* batch to load */
    tarei_load_course course;
} loading;

static tare_status fail_argument(tare_error *error, const char *what)
{
    return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET, "%s", what);
}

tare_status tarei_load_options(tare_load_options *options, const tare_load_options *from,
                               tare_error *error)
{
    tare_status status = tarei_open_copy_options(options, sizeof *options, from, error);
    if (status != TARE_OK) return status;
    if (options->io > IO_MAX) return fail_argument(error, "options.io");
    if ((options->flags & ~FLAGS) != 0) return fail_argument(error, "options.flags");
    if (options->reserved != 0) return fail_argument(error, "options.reserved is not 0");
    if (options->threads > TAREI_POOL_THREADS_MAX)
        return fail_argument(error, "options.threads is beyond 1024");
    if (options->chunk_size != 0 &&
        (options->chunk_size < CHUNK_SIZE_MIN || options->chunk_size > CHUNK_SIZE_MAX))
        return fail_argument(error, "options.chunk_size is not from 4 KiB to 1 GiB");
    if (options->flight_size_max != 0 && options->flight_size_max < CHUNK_SIZE_MIN)
        return fail_argument(error, "options.flight_size_max is below 4 KiB");
    if (options->slices != NULL && options->digests != NULL)
        return fail_argument(error, "options.digests are of whole tensors, not of slices");
    if (options->device != NULL && options->alignment == 0)
        options->alignment = TAREI_DEVICE_ALIGNMENT;
    status = tarei_open_check_alignment(&options->alignment, error);
    return status == TARE_OK ? tarei_open_check_hooks(options->allocator, error) : status;
}

bool tarei_load_has_reader(const tare_model *model)
{
    for (uint32_t i = 0; i < model->shard_count; i++)
        if (model->shards[i].source.reader.read_at != NULL) return true;
    return false;
}

static tare_status loading_begin(loading *load, const tare_model *model,
                                 const tare_tensor *const *tensors, size_t count,
                                 const tare_load_options *options, tare_error *error)
{
    memset(load, 0, sizeof *load);
    load->model = model;
    load->error = error;
    tarei_memory_init(&load->memory, NULL);
    load->plan.memory = &load->memory;
    load->verify.plan = &load->plan;
    load->ways.plan = &load->plan;
    tare_status status = tarei_load_options(&load->options, options, error);
    if (status != TARE_OK) return status;
    tarei_memory_init(&load->memory, load->options.allocator);
    return tarei_load_plan_begin(&load->plan, &load->memory, model, tensors, count,
                                 load->options.slices, error);
}

/* What is read directly comes in whole pages; a reader is asked for several parts at once. */
static bool take_bounce(loading *load, bool reader)
{
    for (uint32_t i = 0; i < load->plan.chunk_count; i++) {
        const tarei_load_chunk *chunk = &load->plan.chunks[i];
        if (reader && chunk->part_count == 1) continue;
        uint64_t begin = chunk->begin & ~(uint64_t)(CHUNK_SIZE_MIN - 1), size = chunk->end - begin;
        if (size > load->bounce_size) load->bounce_size = size;
    }
    if (load->bounce_size == 0) return true;
    load->bounce_size += CHUNK_SIZE_MIN - 1;
    load->bounce_size &= ~(uint64_t)(CHUNK_SIZE_MIN - 1);
    load->bounce = tarei_memory_take(&load->memory, load->options.threads * load->bounce_size,
                                     TAREI_OS_DIRECT_UNIT);
    return load->bounce != NULL;
}

/* Between tensors of a block nothing is anybody's; between targets of the caller's all is his. */
static void shape_choose(loading *load, bool block)
{
    tarei_load_plan *plan = &load->plan;
    const tare_load_options *options = &load->options;
    plan->pad_max = !block ? 0 : options->alignment < PAD_MAX ? options->alignment : PAD_MAX;
    if (options->device == NULL) {
        if (load->ways.direct_count != 0) plan->taper_count = options->threads;
        return;
    }
    plan->landing_size = options->chunk_size;
    plan->in_order = options->digests != NULL;
}

/* Everything that is needed but the targets; the threads then take no memory. */
static tare_status loading_prepare(loading *load, bool block)
{
    if (!tarei_load_ways_open(&load->ways, &load->options)) return tarei_error_memory(load->error);
    tarei_load_ways_choose(&load->ways, &load->options);
    shape_choose(load, block);
    bool direct = load->ways.direct_count != 0, reader = tarei_load_has_reader(load->model);
    uint64_t gap_size = reader ? TAREI_LOAD_GAP_FAR : TAREI_LOAD_GAP_NEAR;
    tare_status status =
        tarei_load_plan_cut(&load->plan, load->options.chunk_size, gap_size, load->error);
    if (status != TARE_OK) return status;
    if (load->options.threads > load->plan.batch_count)
        load->options.threads = load->plan.batch_count != 0 ? load->plan.batch_count : 1;
    if (load->options.device != NULL) {
        status =
            tarei_load_device_begin(&load->device, load->options.device, &load->memory,
                                    load->options.chunk_size, &load->options.threads, load->error);
        if (status != TARE_OK) return status;
    }
    if ((direct || reader) && !take_bounce(load, reader)) return tarei_error_memory(load->error);
    return tarei_load_verify_begin(&load->verify, &load->plan, load->options.digests, load->error);
}

static void drop_rest(const loading *load)
{
    tarei_load_rest rest = {0};
    for (uint32_t i = 0; i < load->plan.chunk_count; i++) {
        const tarei_load_chunk *chunk = &load->plan.chunks[i];
        tarei_load_drop_rest(&rest, &load->model->shards[chunk->shard].source, chunk->begin,
                             chunk->end);
    }
    tarei_load_drop_rest(&rest, NULL, 0, 0);
}

static void loading_end(loading *load)
{
    const tarei_load_chunk *chunks = load->plan.chunks;
    bool file =
        load->plan.chunk_count != 0 && load->model->shards[chunks[0].shard].source.descriptor >= 0;
    if (file && (load->options.flags & TARE_LOAD_DROP_BEHIND) != 0) drop_rest(load);
    tarei_memory_give(&load->memory, load->bounce, load->options.threads * load->bounce_size,
                      TAREI_OS_DIRECT_UNIT);
    tarei_load_ways_close(&load->ways);
    tarei_load_device_free(&load->device);
    tarei_load_verify_free(&load->verify);
    tarei_load_plan_free(&load->plan);
}

/* ------------------------------------------------------------------------------------------------
 * The work of one thread
 */

void tarei_load_stop(tarei_load_course *course, const tare_error *error)
{
    if (!atomic_exchange(&course->stopped, true)) *course->error = *error;
}

bool tarei_load_report(tarei_load_course *course, uint64_t done)
{
    const tare_load_options *options = course->options;
    if (options->progress == NULL ||
        options->progress(options->progress_context, done, course->size) == 0)
        return true;
    tare_error error;
    tarei_error_set(&error, TARE_E_CANCELLED, TARE_NO_SHARD, TARE_NO_OFFSET,
                    "stopped by the progress function");
    tarei_load_stop(course, &error);
    return false;
}

/* The error names the tensor that holds the byte at `at`, or comes first behind it. */
static tare_status fail_chunk(const loading *load, const tarei_load_chunk *chunk,
                              tare_status status, uint64_t at, int system_error, tare_error *error)
{
    tare_error failure;
    const tarei_load_part *part = &load->plan.parts[chunk->part];
    tarei_load_span span = tarei_load_span_of(chunk, part);
    for (uint32_t left = chunk->part_count; left > 1 && span.begin + span.size <= at; left--)
        span = tarei_load_span_of(chunk, ++part);
    if (at < span.begin) at = span.begin;
    tarei_source_fail(&failure, status, system_error, chunk->shard, at, chunk->end - at);
    return tarei_bytes_fail(load->model, tarei_load_tensor(&load->plan, part->entry), &failure,
                            error);
}

/* Stops the load if it fails. */
static void load_chunk(loading *load, uint32_t number, uint32_t thread)
{
    const tarei_load_chunk *chunk = &load->plan.chunks[number];
    const tarei_load_input input = {
        .source = &load->model->shards[chunk->shard].source,
        .direct = load->ways.shards != NULL ? load->ways.shards[chunk->shard].direct : -1,
        .drop = (load->options.flags & TARE_LOAD_DROP_BEHIND) != 0,
    };
    uint8_t *bounce = load->bounce != NULL ? load->bounce + thread * load->bounce_size : NULL;
    const tarei_load_plan *plan = &load->plan;
    const tarei_load_chunk *landed = chunk;
    tare_error error;
    if (load->device.device != NULL) {
        if (tarei_load_device_land(&load->device, thread, plan, chunk, input.direct >= 0, &error) !=
            TARE_OK) {
            tarei_load_stop(&load->course, &error);
            return;
        }
        plan = &load->device.workers[thread].plan;
        landed = &load->device.workers[thread].chunk;
    }
    uint64_t at = chunk->begin;
    int system_error;
    tare_status status = tarei_load_chunk_run(&input, plan, landed, bounce, &at, &system_error);
    if (status != TARE_OK)
        fail_chunk(load, chunk, status, at, system_error, &error);
    else
        status = tarei_load_verify_chunk(&load->verify, number, &plan->parts[landed->part], &error);
    if (status != TARE_OK) {
        tarei_load_stop(&load->course, &error);
        return;
    }
    uint64_t done = atomic_fetch_add(&load->course.done, chunk->size) + chunk->size;
    if (thread == 0 && done != load->plan.size) tarei_load_report(&load->course, done);
}

/* Of several small chunks the disk should know at once. A single one is as large as can be, and the
 * system reads ahead by itself where such follow each other; to a device, which many threads read
 * for, an eighth less than when it knows. */
static void announce(const loading *load, uint64_t batch)
{
    const tarei_load_plan *plan = &load->plan;
    if (load->ways.absent_count == 0 || batch >= plan->batch_count) return;
    uint32_t first = plan->batches[batch], end = plan->batches[batch + 1];
    for (uint32_t i = first; i < end && (end - first > 1 || load->device.device != NULL); i++) {
        const tarei_load_chunk *chunk = &plan->chunks[i];
        if (load->ways.shards[chunk->shard].absent)
            tarei_os_advise_file(load->model->shards[chunk->shard].source.descriptor, chunk->begin,
                                 chunk->end - chunk->begin, TAREI_OS_WILL_NEED);
    }
}

/* While a batch is copied the disk reads what comes after those of the other threads. */
static void load_batches(loading *load, uint32_t thread)
{
    const tarei_load_plan *plan = &load->plan;
    tare_error error;
    for (;;) {
        uint32_t batch = atomic_fetch_add(&load->next, 1);
        if (batch >= plan->batch_count || atomic_load(&load->course.stopped)) return;
        if (batch < load->options.threads) announce(load, batch);
        announce(load, (uint64_t)batch + load->options.threads);
        for (uint32_t i = plan->batches[batch]; i < plan->batches[batch + 1]; i++) {
            load_chunk(load, i, thread);
            if (atomic_load(&load->course.stopped)) return;
        }
        if (load->device.device != NULL &&
            tarei_load_device_flush(&load->device, thread, &error) != TARE_OK)
            tarei_load_stop(&load->course, &error);
    }
}

static void work(void *context, uint32_t thread)
{
    loading *load = context;
    tare_error error;
    if (load->device.device == NULL) {
        load_batches(load, thread);
        return;
    }
    bool ready;
    tare_status status = tarei_load_device_enter(&load->device, thread, &ready, &error);
    if (ready) {
        load_batches(load, thread);
        status = tarei_load_device_leave(&load->device, thread, &error);
    }
    if (status != TARE_OK) tarei_load_stop(&load->course, &error);
}

static tare_status loading_run(loading *load)
{
    tarei_load_course *course = &load->course;
    course->options = &load->options;
    course->error = load->error;
    course->size = load->plan.size;
    if (course->size == 0 || tarei_load_report(course, 0))
        tarei_pool_run(load->options.threads, work, load);
    if (!atomic_load(&course->stopped)) tarei_load_report(course, course->size);
    if (atomic_load(&course->stopped)) return load->error->status;
    tarei_error_clear(load->error);
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Into memory of the caller's
 */

/* Of what was planned, which an index file may tell otherwise by now. */
static tare_status check_sizes(const loading *load, const size_t *sizes)
{
    const tarei_load_plan *plan = &load->plan;
    uint64_t size = 0, all = 0;
    for (uint32_t i = 0; i < plan->entry_count; i++)
        if (tarei_check_add(all, sizes[i], &all)) all = UINT64_MAX;
    for (uint32_t i = 0; i < plan->part_count; i++) {
        const uint32_t entry = plan->parts[i].entry;
        size = tarei_load_begins(plan, i) ? plan->parts[i].size : size + plan->parts[i].size;
        if (i + 1 < plan->part_count && !tarei_load_begins(plan, i + 1)) continue;
        if (size == sizes[entry]) continue;
        char why[120];
        snprintf(why, sizeof why, "%" PRIu64 " bytes are loaded of it, its target has %zu", size,
                 sizes[entry]);
        return tarei_bytes_refuse(plan->model, tarei_load_tensor(plan, entry), TARE_E_TARGET_SIZE,
                                  why, load->error);
    }
    if (all == plan->size) return TARE_OK;
    return tarei_error_set(load->error, TARE_E_TARGET_SIZE, TARE_NO_SHARD, TARE_NO_OFFSET,
                           "targets of which nothing is loaded have a size");
}

static tare_status targets_set(loading *load, void *const *targets)
{
    tarei_load_plan *plan = &load->plan;
    if (targets == NULL && plan->part_count != 0)
        return fail_argument(load->error, "targets is NULL");
    if (load->options.target_sizes != NULL) {
        tare_status status = check_sizes(load, load->options.target_sizes);
        if (status != TARE_OK) return status;
    }
    for (uint32_t i = 0; i < plan->part_count; i++) {
        tarei_load_part *part = &plan->parts[i];
        if (tarei_load_begins(plan, i))
            part->target = (uintptr_t)targets[part->entry];
        else
            part->target = part[-1].target + part[-1].size;
        if (part->target != 0) continue;
        return tarei_bytes_refuse(plan->model, tarei_load_tensor(plan, part->entry),
                                  TARE_E_ARGUMENT, "target is NULL", load->error);
    }
    return TARE_OK;
}

tare_status tare_load_into(const tare_model *model, const tare_tensor *const *tensors,
                           void *const *targets, size_t count, const tare_load_options *options,
                           tare_error *error)
{
    tare_error unused;
    loading load;
    tare_status status =
        loading_begin(&load, model, tensors, count, options, error != NULL ? error : &unused);
    if (status == TARE_OK) status = targets_set(&load, targets);
    if (status == TARE_OK) status = loading_prepare(&load, false);
    if (status == TARE_OK) status = loading_run(&load);
    loading_end(&load);
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Into a block
 */

static uint64_t block_header_size(size_t count)
{
    const tare_block *block = NULL;
    return sizeof *block + count * (uint64_t)sizeof block->entries[0];
}

static tare_status block_take(tare_block *block, const loading *load, tarei_memory *memory)
{
    if (load->options.device != NULL) {
        tare_status status =
            tarei_load_device_take(load->options.device, block->size, load->options.alignment,
                                   &block->taken, &block->bytes, load->error);
        if (status != TARE_OK) return status;
        block->device = load->options.device;
        tarei_device_keep(block->device);
        return TARE_OK;
    }
    block->bytes = tarei_memory_take(memory, block->size, block->alignment);
    if (block->bytes == NULL) return tarei_error_memory(load->error);
    bool small = (load->options.flags & TARE_LOAD_SMALL_PAGES) != 0;
    if (small && load->options.allocator == NULL && block->size >= HUGE_SIZE)
        tarei_os_advise_memory(block->bytes, (size_t)block->size, TAREI_OS_SMALL_PAGES);
    return TARE_OK;
}

static tare_status block_make(loading *load, uint64_t size, tare_block **out)
{
    tarei_memory *memory = &load->memory;
    uint64_t header_size = block_header_size(load->plan.entry_count);
    tare_block *block = tarei_memory_take(memory, header_size, TAREI_BUFFER_ALIGNMENT);
    if (block == NULL) return tarei_error_memory(load->error);
    memset(block, 0, (size_t)header_size);
    block->size = size;
    block->count = load->plan.entry_count;
    block->alignment = load->options.alignment;
    if (block->alignment < TAREI_OS_DIRECT_UNIT && size >= TAREI_OS_DIRECT_UNIT)
        block->alignment = TAREI_OS_DIRECT_UNIT;
    tare_status status = block_take(block, load, memory);
    if (status == TARE_OK)
        *out = block;
    else
        tarei_memory_give(memory, block, header_size, TAREI_BUFFER_ALIGNMENT);
    return status;
}

/* Addresses for what only had places, and the bytes of empty tensors: none, but somewhere. */
static void block_fill(tare_block *block, tarei_load_plan *plan)
{
    for (uint32_t i = 0; i < plan->entry_count; i++) block->entries[i].data = block->bytes;
    for (uint32_t i = 0; i < plan->part_count; i++) {
        tarei_load_part *part = &plan->parts[i];
        uint8_t *data = block->bytes + part->target;
        part->target = (uintptr_t)data;
        if (tarei_load_begins(plan, i)) block->entries[part->entry].data = data;
        block->entries[part->entry].size += (size_t)part->size;
    }
}

tare_status tare_load(const tare_model *model, const tare_tensor *const *tensors, size_t count,
                      const tare_load_options *options, tare_block **out, tare_error *error)
{
    tare_error unused;
    loading load;
    tare_block *block = NULL;
    uint64_t size = 0;
    if (error == NULL) error = &unused;
    if (out == NULL) return fail_argument(error, "out is NULL");
    *out = NULL;
    tare_status status = loading_begin(&load, model, tensors, count, options, error);
    if (status == TARE_OK) {
        bool straight = load.options.io != TARE_IO_BUFFERED && load.options.device == NULL;
        status = tarei_load_plan_place(&load.plan, load.options.alignment, straight, &size, error);
    }
    if (status == TARE_OK) status = block_make(&load, size, &block);
    if (status == TARE_OK) {
        block_fill(block, &load.plan);
        status = loading_prepare(&load, true);
    }
    if (status == TARE_OK) status = loading_run(&load);
    loading_end(&load);
    if (block != NULL) block->memory = load.memory;
    if (status == TARE_OK)
        *out = block;
    else
        tare_block_close(block);
    return status;
}

size_t tare_block_count(const tare_block *block)
{
    return block->count;
}

void *tare_block_data(const tare_block *block, size_t index)
{
    return index < block->count ? block->entries[index].data : NULL;
}

size_t tare_block_size(const tare_block *block, size_t index)
{
    return index < block->count ? block->entries[index].size : 0;
}

void *tare_block_memory(const tare_block *block, size_t *size)
{
    *size = (size_t)block->size;
    return block->bytes;
}

const tare_device *tare_block_device(const tare_block *block)
{
    return block->device;
}

void tare_block_close(tare_block *block)
{
    if (block == NULL) return;
    tarei_memory memory = block->memory;
    if (block->device != NULL) {
        tarei_load_device_give(block->device, block->taken);
        tarei_device_release(block->device);
    } else {
        tarei_memory_give(&memory, block->bytes, block->size, block->alignment);
    }
    tarei_memory_give(&memory, block, block_header_size(block->count), TAREI_BUFFER_ALIGNMENT);
}
