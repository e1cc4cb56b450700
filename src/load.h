/*
 * Many tensors into memory: first a plan, then threads that work it off.
 *
 *   asked for     lm_head      norm.bias     norm.weight              in any order
 *   parts         norm.weight  norm.bias     lm_head                  by shard and offset
 *   file       ..[===========][=========]..[==========================================]..
 *   chunks        |------------------------------||----------------||-----------------|
 *   targets       wherever each part goes
 *
 *   load_plan.c     parts and chunks; sees records, no bytes
 *   load_way.c      through the page cache or past it, in how many threads
 *   load_chunk.c    one chunk: from where its bytes are to where its parts go
 *   load_device.c   the way of a chunk to a device: through a slot of pinned memory
 *   load_verify.c   digests, while the bytes are in the cache
 *   load_run.c      the public calls: options, memory, threads, progress
 */
#ifndef TAREI_LOAD_H
#define TAREI_LOAD_H

#include <stdatomic.h>

#include "device.h"
#include "digest.h"
#include "internal.h"

/* ------------------------------------------------------------------------------------------------
 * load_plan.c
 */

#define TAREI_LOAD_WHOLE UINT32_MAX

/* A tensor that was asked for, or a run of a slice of one: those of an entry follow each other,
 * also in memory. What has 0 bytes has no part. */
typedef struct tarei_load_part {
    uint64_t where; /* as in its record */
    uint64_t size;
    uint64_t target; /* its place in the block, then its address */
    uint32_t entry;  /* number in the list that was asked for */
    uint32_t stream; /* its number among those in more than one chunk, else TAREI_LOAD_WHOLE */
} tarei_load_part;

/* Bytes of one shard that are read at once. A chunk begins and ends with bytes of parts; between
 * them may be bytes that nobody wants. */
typedef struct tarei_load_chunk {
    uint64_t begin;
    uint64_t end;
    uint32_t shard;
    uint32_t part; /* the first that has bytes in it */
    uint32_t part_count;
    uint32_t size; /* bytes of parts */
} tarei_load_chunk;

typedef struct tarei_load_plan {
    const tare_model *model;
    const tare_tensor *const *tensors; /* NULL: all, in order */
    tarei_memory *memory;
    const tare_slice *slices; /* by entry; NULL: none */
    uint32_t entry_count;
    uint32_t part_capacity;
    uint32_t part_count;
    uint32_t chunk_count;
    uint32_t batch_count;
    uint32_t stream_count;
    uint64_t size; /* bytes of all parts */
    tarei_load_part *parts;
    tarei_load_chunk *chunks;
    uint32_t *batches; /* number of the first chunk of each, and of one more */
    tarei_buffer chunk_buffer;
    tarei_buffer batch_buffer;

    /* Bytes between the end of one part and the next target that are the load's too, so that one
     * read or copy may bring both. */
    uint64_t pad_max;

    /* Of threads that shall end together: the last chunks are small. 0: none are. */
    uint32_t taper_count;

    /* Of loads to a device, else 0: the bytes of a slot that a chunk may take, and whether all
     * chunks of a part are in one batch, so that one thread hashes them as they come. */
    uint64_t landing_size;
    bool in_order;
} tarei_load_plan;

/* Checks and sorts what was asked for. Free the plan whatever comes of it. */
tare_status tarei_load_plan_begin(tarei_load_plan *plan, tarei_memory *memory,
                                  const tare_model *model, const tare_tensor *const *tensors,
                                  size_t count, const tare_slice *slices, tare_error *error);

/* Whether a part is the first of its entry. */
static inline bool tarei_load_begins(const tarei_load_plan *plan, uint32_t part)
{
    return part == 0 || plan->parts[part - 1].entry != plan->parts[part].entry;
}

/*
 * Gives each part a place in one block of *size bytes. What is read past the page cache (`direct`)
 * needs no copy where memory and file lie alike within a page: large parts then do, if the
 * alignment allows it.
 */
tare_status tarei_load_plan_place(tarei_load_plan *plan, size_t alignment, bool direct,
                                  uint64_t *size, tare_error *error);

/*
 * Cuts chunks of at most chunk_size, a multiple of TAREI_OS_DIRECT_UNIT, whole pages of the file
 * counted. What lies between two parts is read along if it is at most gap_size. Small chunks that
 * follow each other form a batch of up to chunk_size, which one thread takes: two that write side
 * by side would both fetch and clear the same new page of memory, for one of them in vain.
 */
tare_status tarei_load_plan_cut(tarei_load_plan *plan, uint64_t chunk_size, uint64_t gap_size,
                                tare_error *error);

void tarei_load_plan_free(tarei_load_plan *plan);

static inline const tare_tensor *tarei_load_tensor(const tarei_load_plan *plan, uint32_t entry)
{
    return plan->tensors != NULL ? plan->tensors[entry] : &plan->model->tensors.records[entry];
}

/* What of a part is in a chunk. */
typedef struct tarei_load_span {
    uint64_t begin; /* in the shard */
    uint64_t size;
    uint8_t *target;
} tarei_load_span;

static inline tarei_load_span tarei_load_span_of(const tarei_load_chunk *chunk,
                                                 const tarei_load_part *part)
{
    uint64_t offset = part->where & TAREI_OFFSET_MAX, end = offset + part->size;
    uint64_t begin = offset > chunk->begin ? offset : chunk->begin;
    if (end > chunk->end) end = chunk->end;
    return (tarei_load_span){begin, end - begin,
                             (uint8_t *)(uintptr_t)part->target + (begin - offset)};
}

/* ------------------------------------------------------------------------------------------------
 * load_chunk.c
 */

/* The ways in which a chunk may come. */
typedef struct tarei_load_input {
    const tarei_source *source;
    int direct; /* the same file, opened to be read past the page cache; or -1 */
    bool drop;  /* pages that were read */
} tarei_load_input;

/* Most bytes between two parts that are read along: of files, and where a call costs much. */
#define TAREI_LOAD_GAP_NEAR 4096u
#define TAREI_LOAD_GAP_FAR 32768u

#define TAREI_LOAD_TAPER_SIZE (UINT64_C(512) << 10) /* of the smallest chunks at the end */

/* What the page cache keeps or gives up as one: at most a huge page. */
#define TAREI_LOAD_FOLIO_SIZE ((uint64_t)2 << 20)

/* Drops the pages of these bytes of a file, but for a folio that others behind them share. */
void tarei_load_drop(const tarei_source *source, uint64_t begin, uint64_t end);

/* When all is read: what could not be dropped then, as others shared a folio with it. What lies
 * near to what was added before is dropped with it; a source of NULL is the end. Zero at first. */
typedef struct tarei_load_rest {
    const tarei_source *source;
    uint64_t begin;
    uint64_t end;
} tarei_load_rest;

void tarei_load_drop_rest(tarei_load_rest *rest, const tarei_source *source, uint64_t begin,
                          uint64_t end);

/* Loads one chunk. `bounce` has room for a chunk, aligned to TAREI_OS_DIRECT_UNIT; it may be NULL
 * for files that are not read directly and for memory. On failure *at is the first byte of the
 * shard that did not come. */
tare_status tarei_load_chunk_run(const tarei_load_input *input, const tarei_load_plan *plan,
                                 const tarei_load_chunk *chunk, uint8_t *bounce, uint64_t *at,
                                 int *system_error);

/* ------------------------------------------------------------------------------------------------
 * load_way.c
 */

/* How the bytes of one shard come. */
typedef struct tarei_load_way {
    int direct;  /* the file opened once more, to be read past the page cache; or -1 */
    bool absent; /* they come through the page cache, which has little of them */
} tarei_load_way;

typedef struct tarei_load_ways {
    const tarei_load_plan *plan;
    tarei_load_way *shards; /* NULL where the model is not made of files */
    uint32_t direct_count;
    uint32_t absent_count;
} tarei_load_ways;

/* Decides for each shard that is read. False: no memory. Close them whatever comes of it. */
bool tarei_load_ways_open(tarei_load_ways *ways, const tare_load_options *options);
void tarei_load_ways_close(tarei_load_ways *ways);

/* Threads and the size of a chunk, where the caller leaves them open or bounds their product. */
void tarei_load_ways_choose(const tarei_load_ways *ways, tare_load_options *options);

/* ------------------------------------------------------------------------------------------------
 * load_device.c
 *
 *   file     ..[===========][=========][==============]..
 *   slot       [===========]..[=========]....[==============]      as they will lie in the block
 *   device     [===========]..[=========]....[==============]      one copy, on the lane's stream
 *
 * While one slot of a lane is copied from, the other is read into. Bytes that go to places of the
 * caller's lie one behind another in the slot, and are copied each to its own.
 */

#define TAREI_LOAD_LANDING_PARTS 1024u /* of a chunk; also the copies from one slot */

/* Copies begin at the same byte of a line of memory on both sides. Others were as fast on an H200;
 * it costs nothing. */
#define TAREI_LOAD_LINE 256u

/* What one thread is at. `plan` and `chunk` describe the chunk at hand by its places in the
 * slot. */
typedef struct tarei_load_worker {
    tarei_lane *lane;
    uint32_t slot;
    uint32_t run_count;
    uint64_t used; /* of the slot */
    tarei_copy *runs;
    tarei_load_plan plan;
    tarei_load_chunk chunk;
} tarei_load_worker;

typedef struct tarei_load_device {
    tare_device *device; /* NULL: the load goes to memory of the host, and there is no worker */
    tarei_memory *memory;
    tarei_load_worker *workers;
    uint64_t slot_size;
    uint32_t worker_count;
} tarei_load_device;

/* Bytes between the end of one part and the next target, if one copy may bring both. */
static inline bool tarei_load_pad(const tarei_load_plan *plan, uint64_t end, uint64_t target,
                                  uint64_t *pad)
{
    *pad = target - end;
    return target >= end && *pad <= plan->pad_max;
}

/* Bytes of all reads at one time that the device's bound on pinned memory allows. */
uint64_t tarei_load_device_flight(const tare_device *device);

/* Makes ready for up to *threads threads, and tells for how many; the first has its lane. Free it
 * whatever comes of it. */
tare_status tarei_load_device_begin(tarei_load_device *load, tare_device *device,
                                    tarei_memory *memory, uint64_t chunk_size, uint32_t *threads,
                                    tare_error *error);
void tarei_load_device_free(tarei_load_device *load);

/* Around all that a thread does: gives it a lane, which others need not wait for, since new ones
 * take milliseconds. Not *ready: there is none for this thread. Leaving waits for what it has
 * copied. */
tare_status tarei_load_device_enter(tarei_load_device *load, uint32_t thread, bool *ready,
                                    tare_error *error);
tare_status tarei_load_device_leave(tarei_load_device *load, uint32_t thread, tare_error *error);

/* Finds places in a slot for a chunk, which the worker then describes. May copy what is there.
 * `direct`: the chunk is read past the page cache, which wants it to lie as in the file. */
tare_status tarei_load_device_land(tarei_load_device *load, uint32_t thread,
                                   const tarei_load_plan *plan, const tarei_load_chunk *chunk,
                                   bool direct, tare_error *error);

/* Copies what has landed. */
tare_status tarei_load_device_flush(tarei_load_device *load, uint32_t thread, tare_error *error);

/* Memory of the device for a block; *taken is what to give back. */
tare_status tarei_load_device_take(const tare_device *device, uint64_t size, size_t alignment,
                                   uint64_t *taken, uint8_t **bytes, tare_error *error);
void tarei_load_device_give(const tare_device *device, uint64_t taken);

/* ------------------------------------------------------------------------------------------------
 * load_verify.c
 */

typedef struct tarei_load_stream {
    tarei_digest_state state;
    uint32_t part;
    uint32_t chunk; /* the next to hash; of whoever made it busy */
    uint32_t chunk_end;
    atomic_bool busy;
} tarei_load_stream;

typedef struct tarei_load_verify {
    const tarei_load_plan *plan;
    const tare_digest *digests; /* by entry; NULL: nothing is verified */
    tarei_load_stream *streams;
    atomic_uchar *complete; /* by chunk */
} tarei_load_verify;

/* Digests of empty tensors are checked here and now. Free it whatever comes of it. */
tare_status tarei_load_verify_begin(tarei_load_verify *verify, const tarei_load_plan *plan,
                                    const tare_digest *digests, tare_error *error);

/* Chunk number `number` is complete: hashes what that makes possible. On any thread. `parts` are
 * those of the chunk, or what of them is in it, where their bytes are to be found; if that is no
 * place to stay, one thread brings all chunks of a part in order. */
tare_status tarei_load_verify_chunk(tarei_load_verify *verify, uint32_t number,
                                    const tarei_load_part *parts, tare_error *error);

void tarei_load_verify_free(tarei_load_verify *verify);

/* ------------------------------------------------------------------------------------------------
 * load_run.c
 */

/* Copies and checks a caller's options, which may be NULL. Threads and sizes stay as given. */
tare_status tarei_load_options(tare_load_options *options, const tare_load_options *from,
                               tare_error *error);

/* What the threads of one call share: how far they are, whether they go on, and why not. */
typedef struct tarei_load_course {
    const tare_load_options *options; /* whose progress is told */
    tare_error *error;                /* written by whoever stops first, read when all have ended */
    uint64_t size;                    /* bytes of all */
    atomic_ullong done;
    atomic_bool stopped;
} tarei_load_course;

void tarei_load_stop(tarei_load_course *course, const tare_error *error);

/* Tells the caller, on his own thread; false, and all stop, when he wants no more. */
bool tarei_load_report(tarei_load_course *course, uint64_t done);

/* A reader runs on the thread that called unless the caller asks for more. */
bool tarei_load_has_reader(const tare_model *model);

#endif
