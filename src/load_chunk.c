#include <errno.h>
#include <string.h>

#include "load.h"
#include "os.h"

#define PIECES_MAX 256u
#define STRAIGHT_SIZE_MIN 65536u /* below, all goes through the buffer, which is in the cache */

static uint64_t page_down(uint64_t offset)
{
    return offset & ~(uint64_t)(TAREI_OS_DIRECT_UNIT - 1);
}

static uint64_t page_up(uint64_t offset)
{
    return page_down(offset + TAREI_OS_DIRECT_UNIT - 1);
}

/* Copies what each part has in the chunk; `bytes` are those from chunk->begin on. */
static void deliver(const tarei_load_plan *plan, const tarei_load_chunk *chunk,
                    const uint8_t *bytes)
{
    for (uint32_t i = 0; i < chunk->part_count; i++) {
        tarei_load_span span = tarei_load_span_of(chunk, &plan->parts[chunk->part + i]);
        memcpy(span.target, bytes + (span.begin - chunk->begin), (size_t)span.size);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Through the page cache: the kernel copies straight to where each part goes.
 */

typedef struct pieces {
    tarei_os_piece list[PIECES_MAX];
    size_t count;
    uint64_t begin; /* of the shard */
    uint64_t end;
} pieces;

static void pieces_add(pieces *to, void *data, uint64_t size)
{
    tarei_os_piece *last = to->count != 0 ? &to->list[to->count - 1] : NULL;
    to->end += size;
    if (last != NULL && (char *)last->data + last->size == (char *)data)
        last->size += (size_t)size;
    else
        to->list[to->count++] = (tarei_os_piece){data, (size_t)size};
}

static tare_status pieces_read(pieces *from, int descriptor, uint64_t *at, int *system_error)
{
    uint64_t done;
    *system_error = tarei_os_read_pieces(descriptor, from->begin, from->list, from->count, &done);
    *at = from->begin + done;
    if (*system_error != 0) return TARE_E_READ;
    if (*at != from->end) return TARE_E_CHANGED;
    from->begin = from->end;
    from->count = 0;
    return TARE_OK;
}

static tare_status scatter(int descriptor, const tarei_load_plan *plan,
                           const tarei_load_chunk *chunk, uint64_t *at, int *system_error)
{
    uint8_t unwanted[TAREI_LOAD_GAP_FAR];
    pieces made = {.begin = chunk->begin, .end = chunk->begin};
    for (uint32_t i = 0; i < chunk->part_count; i++) {
        tarei_load_span span = tarei_load_span_of(chunk, &plan->parts[chunk->part + i]);
        if (made.count + 2 > PIECES_MAX) {
            tare_status status = pieces_read(&made, descriptor, at, system_error);
            if (status != TARE_OK) return status; /* no room was made */
        }
        if (span.begin != made.end) pieces_add(&made, unwanted, span.begin - made.end);
        pieces_add(&made, span.target, span.size);
    }
    return pieces_read(&made, descriptor, at, system_error);
}

/* ------------------------------------------------------------------------------------------------
 * Past the page cache: whole pages of the file to whole pages of memory. Where parts follow each
 * other closely in both, pages come to memory that the parts are to have anyway, at their places or
 * a little behind them. Only what does not fit there goes through the buffer.
 *
 *   file    |..[=====][===|==][========|=======][=|===].......|    pages; the first is the head
 *   memory     [=====]..[=====]..[========]..[=======]..[====]
 *                     |--------- `size` bytes ----------|      to a page, the rest to the buffer
 *
 * Then each part is moved down, the first one first. Moving a few bytes within the processor's
 * cache leaves the memory to the disk, which on a virtual machine is a copy too.
 */
typedef struct landing {
    uint64_t begin; /* of the shard */
    uint64_t end;
    uint64_t head; /* bytes that go to the buffer before those that go to memory */
    uint64_t size;
    uint8_t *to;
} landing;

/* What of the chunk may come straight to the memory of its parts: perhaps nothing. */
static landing find_landing(const tarei_load_plan *plan, const tarei_load_chunk *chunk)
{
    uint64_t begin = page_down(chunk->begin), end = page_up(chunk->end), pad;
    const landing none = {.begin = begin, .end = end, .head = end - begin};
    tarei_load_span last = tarei_load_span_of(chunk, &plan->parts[chunk->part]);
    uint64_t first = (uintptr_t)last.target, stop = first + last.size;
    for (uint32_t i = 1; i < chunk->part_count; i++) {
        tarei_load_span next = tarei_load_span_of(chunk, &plan->parts[chunk->part + i]);
        if (next.begin != last.begin + last.size ||
            !tarei_load_pad(plan, stop, (uintptr_t)next.target, &pad))
            return none;
        last = next;
        stop = (uintptr_t)last.target + last.size;
    }
    /* The last part is moved least, since padding only adds up: its place decides. */
    uint64_t to = page_up((uintptr_t)last.target - (last.begin - begin));
    uint64_t head = to < first ? TAREI_OS_DIRECT_UNIT : 0;
    stop = page_down(stop);
    if (stop < to + head + STRAIGHT_SIZE_MIN) return none;
    uint64_t size = stop - to < end - begin ? stop - to : end - begin;
    return (landing){begin, end, head, size - head, (uint8_t *)(uintptr_t)(to + head)};
}

/* Where the byte at `offset` has come to, and how many that follow it in the file do so there. */
static const uint8_t *find_landed(const landing *from, const uint8_t *bounce, uint64_t offset,
                                  uint64_t *count)
{
    uint64_t at = offset - from->begin;
    *count = from->end - offset;
    if (at >= from->head + from->size) return bounce + (at - from->size);
    *count -= from->end - from->begin - from->head - from->size;
    if (at >= from->head) return from->to + (at - from->head);
    *count -= from->size;
    return bounce + at;
}

static void move_down(const tarei_load_span *span, const landing *from, const uint8_t *bounce)
{
    for (uint64_t done = 0, some; done < span->size; done += some) {
        const uint8_t *bytes = find_landed(from, bounce, span->begin + done, &some);
        if (some > span->size - done) some = span->size - done;
        if (bytes != span->target + done) memmove(span->target + done, bytes, (size_t)some);
    }
}

static tare_status read_direct(int descriptor, const tarei_load_plan *plan,
                               const tarei_load_chunk *chunk, uint8_t *bounce, uint64_t *at,
                               int *system_error)
{
    landing from = find_landing(plan, chunk);
    tarei_os_piece list[3];
    size_t count = 0;
    uint64_t done, rest = from.end - from.begin - from.head - from.size;
    if (from.head != 0) list[count++] = (tarei_os_piece){bounce, (size_t)from.head};
    if (from.size != 0) list[count++] = (tarei_os_piece){from.to, (size_t)from.size};
    if (rest != 0) list[count++] = (tarei_os_piece){bounce + from.head, (size_t)rest};
    *system_error = tarei_os_read_pieces(descriptor, from.begin, list, count, &done);
    *at = from.begin + done;
    if (*at < chunk->end) return *system_error != 0 ? TARE_E_READ : TARE_E_CHANGED;
    /* What comes after the last whole page may be an error. */
    for (uint32_t i = 0; i < chunk->part_count; i++) {
        tarei_load_span span = tarei_load_span_of(chunk, &plan->parts[chunk->part + i]);
        move_down(&span, &from, bounce);
    }
    return TARE_OK;
}

/* ------------------------------------------------------------------------------------------------
 * Everything else: a caller's reader is asked once for a chunk.
 */

static tare_status fetch(const tarei_source *source, const tarei_load_plan *plan,
                         const tarei_load_chunk *chunk, uint8_t *bounce, uint64_t *at,
                         int *system_error)
{
    uint8_t *to = bounce;
    if (chunk->part_count == 1) to = tarei_load_span_of(chunk, &plan->parts[chunk->part]).target;
    *at = chunk->begin;
    tare_status status = source->read_at(source, chunk->begin, to,
                                         (size_t)(chunk->end - chunk->begin), system_error);
    if (status == TARE_OK && to == bounce) deliver(plan, chunk, bounce);
    return status;
}

/* The first folio may reach into what lies before; that is most likely read by now. */
void tarei_load_drop(const tarei_source *source, uint64_t begin, uint64_t end)
{
    uint64_t first = begin & ~(uint64_t)(TAREI_LOAD_FOLIO_SIZE - 1);
    tarei_os_advise_file(source->descriptor, first, page_up(end) - first, TAREI_OS_DO_NOT_NEED);
}

void tarei_load_drop_rest(tarei_load_rest *rest, const tarei_source *source, uint64_t begin,
                          uint64_t end)
{
    if (source != rest->source || begin < rest->begin ||
        begin > rest->end + TAREI_LOAD_FOLIO_SIZE) {
        if (rest->source != NULL) tarei_load_drop(rest->source, rest->begin, rest->end);
        *rest = (tarei_load_rest){source, begin, end};
    }
    if (rest->end < end) rest->end = end;
}

tare_status tarei_load_chunk_run(const tarei_load_input *input, const tarei_load_plan *plan,
                                 const tarei_load_chunk *chunk, uint8_t *bounce, uint64_t *at,
                                 int *system_error)
{
    const tarei_source *source = input->source;
    *system_error = 0;
    if (source->descriptor < 0 && source->bytes != NULL) {
        deliver(plan, chunk, source->bytes + chunk->begin);
        return TARE_OK;
    }
    if (source->descriptor < 0) return fetch(source, plan, chunk, bounce, at, system_error);
    if (input->direct >= 0) {
        tare_status status = read_direct(input->direct, plan, chunk, bounce, at, system_error);
        if (*system_error != EINVAL || status == TARE_OK) return status;
    }
    tare_status status = scatter(source->descriptor, plan, chunk, at, system_error);
    if (input->drop) tarei_load_drop(source, chunk->begin, chunk->end);
    return status;
}
