#include <inttypes.h>
#include <string.h>

#include "load.h"
#include "os.h"
#include "slice.h"

/* From this size on a part may lie where direct reads want it: at most 4 KiB lost on 1 MiB. */
#define CONGRUENT_SIZE_MIN (UINT64_C(1) << 20)

#define DIGIT_BITS 11 /* of a sort: two passes for 4 million tensors */

static tare_status fail_limit(tare_error *error)
{
    return tarei_error_set(
        error, TARE_E_LIMIT, TARE_NO_SHARD, TARE_NO_OFFSET,
        "2^30 tensors or runs of slices or more, or more bytes than this host can address");
}

static uint32_t digit_of(const tarei_load_plan *plan, uint32_t entry, unsigned shift)
{
    return (uint32_t)(tare_index_of(plan->model, plan->tensors[entry]) >> shift) &
           ((1u << DIGIT_BITS) - 1);
}

/*
 * Numbers of the list by the places of their tensors, and as they were listed where that is the
 * same. Records stand in the order of their places (tare_at), so that their indexes are all that a
 * radix sort looks at. `room` is for twice as many numbers; returns the half of it that has them.
 */
static const uint32_t *sort_entries(const tarei_load_plan *plan, uint32_t *room)
{
    uint32_t count = plan->entry_count, *from = room, *to = room + count;
    const uint64_t all = plan->model->tensors.count; /* below 2^30: three digits at most */
    for (uint32_t i = 0; i < count; i++) from[i] = i;
    for (unsigned shift = 0; all >> shift != 0; shift += DIGIT_BITS) {
        uint32_t places[1u << DIGIT_BITS] = {0}, at = 0;
        for (uint32_t i = 0; i < count; i++) places[digit_of(plan, i, shift)]++;
        for (uint32_t d = 0; d < 1u << DIGIT_BITS; d++) {
            uint32_t here = places[d];
            places[d] = at;
            at += here;
        }
        for (uint32_t i = 0; i < count; i++) to[places[digit_of(plan, from[i], shift)]++] = from[i];
        uint32_t *sorted = to;
        to = from;
        from = sorted;
    }
    return from;
}

static tare_status add_part(tarei_load_plan *plan, uint32_t entry, uint64_t where, uint64_t size,
                            tare_error *error)
{
    if (plan->part_count == plan->part_capacity) /* slices were counted before */
        return tarei_error_set(error, TARE_E_CHANGED, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "the index file changed meanwhile");
    plan->parts[plan->part_count++] = (tarei_load_part){
        .where = where,
        .size = size,
        .entry = entry,
        .stream = TAREI_LOAD_WHOLE,
    };
    if (tarei_check_add(plan->size, size, &plan->size) || !tarei_check_fits_size(plan->size))
        return fail_limit(error);
    return TARE_OK;
}

static tare_status box_of(const tarei_load_plan *plan, uint32_t entry, tarei_slice_box *box,
                          tare_error *error)
{
    const tare_slice *slice = &plan->slices[entry];
    return tarei_slice_make(plan->model, tarei_load_tensor(plan, entry), slice->start, slice->stop,
                            box, error);
}

static tare_status add_slice(tarei_load_plan *plan, uint32_t entry, tare_error *error)
{
    tarei_slice_box box;
    const tare_tensor *tensor = tarei_load_tensor(plan, entry);
    tare_status status = box_of(plan, entry, &box, error);
    if (status != TARE_OK) return status;
    if (tarei_bytes_open(plan->model, tensor, box.look.shard, error) == NULL) return error->status;
    uint64_t where = tarei_record_where(box.look.shard, box.look.offset);
    tarei_slice_cursor at = {0, 0, box.first};
    for (uint64_t left = tarei_slice_runs(&box); left > 0 && status == TARE_OK; left--) {
        status = add_part(plan, entry, where + tarei_slice_at(&box, &at), box.run, error);
        tarei_slice_next(&box, &at);
    }
    return status;
}

/* `order` NULL is that of the list. */
static tare_status make_parts(tarei_load_plan *plan, const uint32_t *order, tare_error *error)
{
    tare_status status = TARE_OK;
    for (uint32_t i = 0; i < plan->entry_count && status == TARE_OK; i++) {
        uint32_t entry = order != NULL ? order[i] : i;
        const tare_tensor *tensor = tarei_load_tensor(plan, entry);
        tarei_look look;
        if (plan->slices != NULL) {
            status = add_slice(plan, entry, error);
        } else if (tarei_bytes_source(plan->model, tensor, &look, error) == NULL) {
            status = error->status;
        } else if (look.size != 0) {
            const uint64_t where = tarei_record_where(look.shard, look.offset);
            status = add_part(plan, entry, where, look.size, error);
        }
    }
    return status;
}

/* A part for each entry, or for each run of the slices. */
static tare_status take_parts(tarei_load_plan *plan, tare_error *error)
{
    uint64_t count = plan->slices == NULL ? plan->entry_count : 0;
    for (uint32_t i = 0; i < plan->entry_count && plan->slices != NULL; i++) {
        tarei_slice_box box;
        tare_status status = box_of(plan, i, &box, error);
        if (status != TARE_OK) return status;
        count += tarei_slice_runs(&box);
        if (count >= TAREI_RECORD_COUNT_MAX) return fail_limit(error);
    }
    plan->parts = tarei_memory_take(plan->memory, count * (uint64_t)sizeof *plan->parts,
                                    _Alignof(tarei_load_part));
    if (plan->parts == NULL) return tarei_error_memory(error);
    plan->part_capacity = (uint32_t)count;
    return TARE_OK;
}

tare_status tarei_load_plan_begin(tarei_load_plan *plan, tarei_memory *memory,
                                  const tare_model *model, const tare_tensor *const *tensors,
                                  size_t count, const tare_slice *slices, tare_error *error)
{
    *plan =
        (tarei_load_plan){.model = model, .tensors = tensors, .memory = memory, .slices = slices};
    if (count >= TAREI_RECORD_COUNT_MAX) return fail_limit(error);
    tare_status status = tarei_lookup_list(model, tensors, &count, error);
    if (status != TARE_OK) return status;
    plan->entry_count = (uint32_t)count;
    status = take_parts(plan, error);
    if (status != TARE_OK) return status;
    if (tensors == NULL) return make_parts(plan, NULL, error);
    uint64_t room_size = 2 * sizeof(uint32_t) * (uint64_t)count;
    uint32_t *room = tarei_memory_take(memory, room_size, _Alignof(uint32_t));
    if (room == NULL) return tarei_error_memory(error);
    status = make_parts(plan, sort_entries(plan, room), error);
    tarei_memory_give(memory, room, room_size, _Alignof(uint32_t));
    return status;
}

tare_status tarei_load_plan_place(tarei_load_plan *plan, size_t alignment, bool direct,
                                  uint64_t *size, tare_error *error)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < plan->part_count; i++) {
        tarei_load_part *part = &plan->parts[i];
        bool begins = tarei_load_begins(plan, i);
        if (begins && tarei_check_round_up(at, alignment, &at)) return fail_limit(error);
        /* Both are multiples of the alignment, so their difference is one. */
        if (begins && direct && part->size >= CONGRUENT_SIZE_MIN &&
            (part->where & (alignment - 1)) == 0 &&
            tarei_check_add(at, (part->where - at) & (TAREI_OS_DIRECT_UNIT - 1), &at))
            return fail_limit(error);
        part->target = at;
        if (tarei_check_add(at, part->size, &at) || !tarei_check_fits_size(at))
            return fail_limit(error);
    }
    *size = at;
    return TARE_OK;
}

static tarei_load_chunk *add_chunk(tarei_load_plan *plan, uint32_t part, uint64_t begin,
                                   uint64_t end)
{
    tarei_buffer *buffer = &plan->chunk_buffer;
    if (!tarei_buffer_reserve(buffer, plan->memory, sizeof(tarei_load_chunk))) return NULL;
    plan->chunks = buffer->data;
    tarei_load_chunk *chunk = &plan->chunks[plan->chunk_count++];
    buffer->size += sizeof *chunk;
    *chunk = (tarei_load_chunk){
        .begin = begin,
        .end = end,
        .shard = (uint32_t)(plan->parts[part].where >> TAREI_OFFSET_BITS),
        .part = part,
        .part_count = 1,
        .size = (uint32_t)(end - begin),
    };
    return chunk;
}

/* Where the chunk that starts at `begin` must end at the latest. */
static uint64_t chunk_limit(uint64_t begin, uint64_t chunk_size)
{
    return (begin & ~(uint64_t)(TAREI_OS_DIRECT_UNIT - 1)) + chunk_size;
}

/* Whether a part has room in the slot beside those of the chunk, which take *landed bytes of it. */
static bool lands(const tarei_load_plan *plan, const tarei_load_chunk *chunk, uint32_t number,
                  uint64_t *landed)
{
    if (plan->landing_size == 0) return true;
    const tarei_load_part *part = &plan->parts[number];
    uint64_t pad;
    if (!tarei_load_pad(plan, part[-1].target + part[-1].size, part->target, &pad))
        pad = TAREI_LOAD_LINE;
    if (chunk->part_count == TAREI_LOAD_LANDING_PARTS ||
        pad + part->size > plan->landing_size - *landed)
        return false;
    *landed += pad + part->size;
    return true;
}

/* What the last reads bring is copied when the disk has nothing left to do: they are small. */
static uint64_t size_for(const tarei_load_plan *plan, uint64_t chunk_size, uint64_t before)
{
    if (plan->taper_count == 0) return chunk_size;
    uint64_t size =
        (plan->size - before) / plan->taper_count & ~(uint64_t)(TAREI_OS_DIRECT_UNIT - 1);
    if (size < TAREI_LOAD_TAPER_SIZE) size = TAREI_LOAD_TAPER_SIZE;
    return size < chunk_size ? size : chunk_size;
}

/* Unless chunks taper, a part that fits into one is never cut: it is hashed in one go then. */
static bool cut_chunks(tarei_load_plan *plan, uint64_t chunk_size, uint64_t gap_size)
{
    tarei_load_chunk *chunk = NULL;
    uint64_t landed = 0, before = 0, most = 0; /* bytes of parts before the chunk; of the chunk */
    for (uint32_t i = 0; i < plan->part_count; i++) {
        tarei_load_part *part = &plan->parts[i];
        uint64_t at = part->where & TAREI_OFFSET_MAX, end = at + part->size;
        if (chunk != NULL && chunk->shard == part->where >> TAREI_OFFSET_BITS && at >= chunk->end &&
            at - chunk->end <= gap_size && end <= chunk_limit(chunk->begin, most) &&
            lands(plan, chunk, i, &landed)) {
            chunk->end = end;
            chunk->part_count++;
            chunk->size += (uint32_t)part->size;
            continue;
        }
        uint32_t cut_from = plan->chunk_count;
        while (at < end) {
            if (chunk != NULL) before += chunk->size;
            most = size_for(plan, chunk_size, before);
            uint64_t limit = chunk_limit(at, most);
            if (limit > end) limit = end;
            /* Each takes at least a page of the file or a part: numbers stay below 2^31 for
             * anything that fits into memory. */
            chunk = plan->chunk_count < INT32_MAX ? add_chunk(plan, i, at, limit) : NULL;
            if (chunk == NULL) return false;
            landed = chunk->size;
            at = limit;
        }
        if (plan->chunk_count - cut_from > 1) part->stream = plan->stream_count++;
    }
    return true;
}

static bool add_batch(tarei_load_plan *plan, uint32_t chunk)
{
    tarei_buffer *buffer = &plan->batch_buffer;
    if (!tarei_buffer_reserve(buffer, plan->memory, sizeof chunk)) return false;
    plan->batches = buffer->data;
    plan->batches[buffer->size / sizeof chunk] = chunk;
    buffer->size += sizeof chunk;
    return true;
}

/* Whether a chunk begins with more of the part that the one before it ends with. */
static bool goes_on(const tarei_load_chunk *chunk)
{
    return chunk->part < chunk[-1].part + chunk[-1].part_count;
}

static bool cut_batches(tarei_load_plan *plan, uint64_t batch_size)
{
    uint64_t size = batch_size, before = 0; /* the first chunk begins another */
    for (uint32_t i = 0; i < plan->chunk_count; i++) {
        size += plan->chunks[i].size;
        before += plan->chunks[i].size;
        if (size <= size_for(plan, batch_size, before) ||
            (plan->in_order && i > 0 && goes_on(&plan->chunks[i])))
            continue;
        if (!add_batch(plan, i)) return false;
        plan->batch_count++;
        size = plan->chunks[i].size;
    }
    return add_batch(plan, plan->chunk_count);
}

tare_status tarei_load_plan_cut(tarei_load_plan *plan, uint64_t chunk_size, uint64_t gap_size,
                                tare_error *error)
{
    if (cut_chunks(plan, chunk_size, gap_size) && cut_batches(plan, chunk_size)) return TARE_OK;
    return tarei_error_memory(error);
}

void tarei_load_plan_free(tarei_load_plan *plan)
{
    tarei_memory_give(plan->memory, plan->parts,
                      plan->part_capacity * (uint64_t)sizeof *plan->parts,
                      _Alignof(tarei_load_part));
    tarei_buffer_free(&plan->chunk_buffer, plan->memory);
    tarei_buffer_free(&plan->batch_buffer, plan->memory);
}
