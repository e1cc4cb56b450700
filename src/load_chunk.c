#include <errno.h>
#include <string.h>

#include "load.h"
#include "os.h"

#define PIECES_MAX 256u
#define STRAIGHT_SIZE_MIN 65536u /* below, one copy is cheaper than two more reads */

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
 * Past the page cache: whole pages of the file to whole pages of memory.
 */

/* Reads at least up to `end`; `begin` and `to` are at the start of a page. */
static tare_status read_pages(int descriptor, uint64_t begin, uint64_t end, uint8_t *to,
                              uint64_t *at, int *system_error)
{
    size_t done;
    *system_error = tarei_os_read_at(descriptor, begin, to, (size_t)(page_up(end) - begin), &done);
    *at = begin + done;
    if (*at >= end) return TARE_OK; /* what comes after the last whole page may be an error */
    return *system_error != 0 ? TARE_E_READ : TARE_E_CHANGED;
}

/* Where file and memory lie alike only the ends of a part have to be copied. */
static tare_status read_straight(int descriptor, tarei_load_span span, uint8_t *bounce,
                                 uint64_t *at, int *system_error)
{
    uint64_t end = span.begin + span.size;
    uint64_t first = page_up(span.begin), last = page_down(end);
    tare_status status = TARE_OK;
    if (span.begin != first) {
        uint64_t page = page_down(span.begin);
        status = read_pages(descriptor, page, first, bounce, at, system_error);
        if (status != TARE_OK) return status;
        memcpy(span.target, bounce + (span.begin - page), (size_t)(first - span.begin));
    }
    status =
        read_pages(descriptor, first, last, span.target + (first - span.begin), at, system_error);
    if (status != TARE_OK || last == end) return status;
    status = read_pages(descriptor, last, end, bounce, at, system_error);
    if (status == TARE_OK) memcpy(span.target + (last - span.begin), bounce, (size_t)(end - last));
    return status;
}

static tare_status read_direct(int descriptor, const tarei_load_plan *plan,
                               const tarei_load_chunk *chunk, uint8_t *bounce, uint64_t *at,
                               int *system_error)
{
    tarei_load_span span = tarei_load_span_of(chunk, &plan->parts[chunk->part]);
    if (chunk->part_count == 1 && span.size >= STRAIGHT_SIZE_MIN &&
        page_down(span.begin ^ (uintptr_t)span.target) == (span.begin ^ (uintptr_t)span.target))
        return read_straight(descriptor, span, bounce, at, system_error);
    uint64_t page = page_down(chunk->begin);
    tare_status status = read_pages(descriptor, page, chunk->end, bounce, at, system_error);
    if (status == TARE_OK) deliver(plan, chunk, bounce + (chunk->begin - page));
    return status;
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

/* The page cache gives up whole folios only, which are as large as a huge page and may reach into
 * the chunk before; that one is most likely complete. */
static void drop_pages(int descriptor, const tarei_load_chunk *chunk)
{
    uint64_t first = chunk->begin & ~(uint64_t)(TAREI_LOAD_FOLIO_SIZE - 1);
    tarei_os_advise_file(descriptor, first, page_up(chunk->end) - first, TAREI_OS_DO_NOT_NEED);
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
    if (input->drop) drop_pages(source->descriptor, chunk);
    return status;
}
