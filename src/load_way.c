/*
 * Through the page cache or past it. Bytes that were read through it are there for whoever loads
 * the same file next, or now beside us: a server that starts again, the other ranks of a node.
 * Reading past it saves a copy and memory, which is worth more only where the bytes would not stay.
 */
#include "load.h"
#include "os.h"

#define PROBES 8u /* of a file, to tell whether it is in the page cache */

/* So many threads reach what memory gives, and large reads enough to keep a disk busy. Of small
 * ones it takes more at a time; those of the page cache are announced, so that fewer threads do. */
#define THREADS_MAX 16u
#define THREADS_TO_DEVICE 12u /* of files in the page cache: more only get into each other's way */
#define THREADS_TO_DEVICE_DIRECT 32u
#define THREADS_SCATTERED 8u
#define THREADS_SCATTERED_DIRECT 64u

#define FLIGHT_SIZE (UINT64_C(64) << 20)
#define CHUNK_SIZE_MIN TAREI_OS_DIRECT_UNIT
#define CHUNK_SIZE_MAX (UINT64_C(4) << 20)
#define CHUNK_SIZE_SHARED (UINT64_C(2) << 20)  /* to several devices: the cache holds all slots */
#define CHUNK_SIZE_DIRECT (UINT64_C(1) << 20)  /* to a device: 32 are faster than 16 of 4 MiB */
#define CHUNK_SIZE_SMALL (UINT64_C(256) << 10) /* what is cut down to where there are few bytes */

/* By a few bytes of parts begin to end, which are of one shard. Where they are is left to chance,
 * since looking may make their pages come in, and the next load would find just those. */
static bool is_cached(int descriptor, const tarei_load_part *begin, const tarei_load_part *end)
{
    uint64_t seed = tarei_os_random(), count = (uint64_t)(end - begin);
    unsigned there = 0;
    for (uint64_t i = 0; i < PROBES; i++) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const tarei_load_part *part = &begin[(i * count + (seed >> 32) % count) / PROBES];
        uint64_t offset = part->where & TAREI_OFFSET_MAX;
        there += tarei_os_is_cached(descriptor, offset + (seed >> 8) % part->size);
    }
    return there > PROBES / 2;
}

/* Whether what is not in the page cache would not stay there: because it is dropped, or because it
 * and what is loaded are more than the memory that there is. */
static bool wants_direct(const tarei_load_plan *plan, const tare_load_options *options)
{
    if (options->io != TARE_IO_AUTO) return options->io == TARE_IO_DIRECT;
    return (options->flags & TARE_LOAD_DROP_BEHIND) != 0 || plan->size > tarei_os_memory_size() / 2;
}

/* A file that cannot be opened to be read past the page cache is read through it. */
bool tarei_load_ways_open(tarei_load_ways *ways, const tare_load_options *options)
{
    const tarei_load_plan *plan = ways->plan;
    const tarei_shard *shards = plan->model->shards;
    uint32_t shard_count = plan->model->shard_count;
    if (plan->part_count == 0 ||
        shards[plan->parts[0].where >> TAREI_OFFSET_BITS].source.descriptor < 0)
        return true;
    ways->shards = tarei_memory_take(plan->memory, shard_count * (uint64_t)sizeof *ways->shards,
                                     _Alignof(tarei_load_way));
    if (ways->shards == NULL) return false;
    for (uint32_t i = 0; i < shard_count; i++) ways->shards[i] = (tarei_load_way){.direct = -1};
    bool direct = wants_direct(plan, options);
    const tarei_load_part *end = plan->parts + plan->part_count;
    for (const tarei_load_part *part = plan->parts, *next; part < end; part = next) {
        uint32_t shard = (uint32_t)(part->where >> TAREI_OFFSET_BITS);
        for (next = part + 1; next < end && next->where >> TAREI_OFFSET_BITS == shard; next++)
            continue;
        tarei_load_way *way = &ways->shards[shard];
        int descriptor = shards[shard].source.descriptor;
        bool absent = options->io != TARE_IO_DIRECT && !is_cached(descriptor, part, next);
        /* By a damaged index file a shard may come again. */
        if (direct && (absent || options->io == TARE_IO_DIRECT) && way->direct < 0)
            ways->direct_count += tarei_os_open_direct(descriptor, &way->direct) == 0;
        way->absent = absent && way->direct < 0;
        ways->absent_count += way->absent;
    }
    return true;
}

void tarei_load_ways_close(tarei_load_ways *ways)
{
    if (ways->shards == NULL) return;
    uint32_t shard_count = ways->plan->model->shard_count;
    for (uint32_t i = 0; i < shard_count; i++)
        if (ways->shards[i].direct >= 0) tarei_os_close(ways->shards[i].direct);
    tarei_memory_give(ways->plan->memory, ways->shards,
                      shard_count * (uint64_t)sizeof *ways->shards, _Alignof(tarei_load_way));
}

/* Whether reads will be small because parts lie far from each other. */
static bool is_scattered(const tarei_load_plan *plan)
{
    uint64_t end = 0, read_count = 0;
    for (uint32_t i = 0; i < plan->part_count; i++) {
        uint64_t where = plan->parts[i].where;
        read_count += where < end || where - end > TAREI_LOAD_GAP_NEAR;
        end = where + plan->parts[i].size;
    }
    return plan->size / CHUNK_SIZE_SMALL < read_count;
}

static uint32_t choose_threads(const tarei_load_ways *ways, const tare_load_options *options)
{
    const tarei_load_plan *plan = ways->plan;
    if (tarei_load_has_reader(plan->model)) return 1;
    uint32_t threads = tarei_os_processor_count();
    if (threads > THREADS_MAX || ways->direct_count != 0) threads = THREADS_MAX;
    if (ways->absent_count + ways->direct_count != 0 && is_scattered(plan)) {
        if (threads < THREADS_SCATTERED) threads = THREADS_SCATTERED;
        if (ways->direct_count != 0) threads = THREADS_SCATTERED_DIRECT;
    }
    if (options->device != NULL && ways->direct_count != 0) {
        if (threads < THREADS_TO_DEVICE_DIRECT) threads = THREADS_TO_DEVICE_DIRECT;
    } else if (options->device != NULL && ways->absent_count == 0) {
        if (threads > THREADS_TO_DEVICE) threads = THREADS_TO_DEVICE;
    }
    uint64_t useful = plan->size / CHUNK_SIZE_SMALL + 1;
    return threads > useful ? (uint32_t)useful : threads;
}

/* A quarter of what a thread has to do, so that all end at about the same time. */
static uint64_t choose_chunk_size(const tarei_load_ways *ways, const tare_load_options *options,
                                  uint32_t threads)
{
    uint64_t most = CHUNK_SIZE_MAX;
    if (options->device != NULL && tarei_device_count() > 1) most = CHUNK_SIZE_SHARED;
    if (options->device != NULL && ways->direct_count != 0) most = CHUNK_SIZE_DIRECT;
    uint64_t flight = options->flight_size_max != 0 ? options->flight_size_max : FLIGHT_SIZE;
    uint64_t size = ways->plan->size / threads / 4;
    if (size > flight / threads) size = flight / threads;
    if (size > most) size = most;
    return size > CHUNK_SIZE_SMALL ? size : CHUNK_SIZE_SMALL;
}

void tarei_load_ways_choose(const tarei_load_ways *ways, tare_load_options *options)
{
    if (options->device != NULL) {
        uint64_t staged = tarei_load_device_flight(options->device);
        if (options->flight_size_max == 0 || options->flight_size_max > staged)
            options->flight_size_max = staged;
    }
    uint64_t flight = options->flight_size_max, size = options->chunk_size;
    uint32_t threads = options->threads != 0 ? options->threads : choose_threads(ways, options);
    if (size == 0) size = choose_chunk_size(ways, options, threads);
    if (flight != 0 && size > flight) size = flight;
    size &= ~(uint64_t)(CHUNK_SIZE_MIN - 1); /* options hold no less than one */
    if (flight != 0 && threads > flight / size) threads = (uint32_t)(flight / size);
    options->chunk_size = size;
    options->threads = threads;
}
