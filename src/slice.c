/*
 * Boxes of tensors. A box is a sequence of runs, stretches that are contiguous in the tensor: the
 * innermost dimension that is not taken in full ends them. Runs come in rows, a fixed stride apart.
 *
 *   shape [4,4,2], box [1:3, 1:3, 0:2]:  two rows of one run each, of 4 elements
 *
 *     . . . . . . . .   . . # # # # . .   . . # # # # . .   . . . . . . . .
 *
 * Several runs are read as one span, gaps included, where the gaps are small. The span goes to what
 * is left of the target, which is at least as large as its runs, or to a little scratch at the very
 * end, and its runs are then moved together. So nothing is allocated, and the copy stays in the
 * cache.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "slice.h"

#define SPAN_SIZE_MAX ((size_t)1 << 20)
#define SCRATCH_SIZE ((size_t)16 << 10)
#define FILE_GAP_MAX (UINT64_C(8) << 10)
#define READER_GAP_MAX (UINT64_C(256) << 10)

typedef tarei_slice_box box;
typedef tarei_slice_cursor cursor;

static uint64_t start_of(const box *b, uint32_t dimension)
{
    return b->start != NULL ? b->start[dimension] : 0;
}

static uint64_t stop_of(const box *b, uint32_t dimension)
{
    return b->stop != NULL ? b->stop[dimension] : b->look.shape[dimension];
}

static uint64_t bytes_of(const box *b, uint64_t elements)
{
    return elements / b->block_count * b->block_size;
}

static tare_status fail_split(const tare_model *model, const tare_tensor *tensor, tare_dtype dtype,
                              uint32_t dimension, tare_error *error)
{
    char why[96];
    snprintf(why, sizeof why, "dimension %" PRIu32 ": the slice begins or ends within a %s",
             dimension, tare_dtype_bits(dtype) != 0 ? "byte" : "block");
    return tarei_bytes_refuse(model, tensor, TARE_E_SUBBYTE, why, error);
}

/* Checks bounds; *empty says that some dimension takes nothing. */
static tare_status box_bounds(const tare_model *model, const tare_tensor *tensor, const box *b,
                              bool *empty, tare_error *error)
{
    *empty = false;
    for (uint32_t d = 0; d < b->look.rank; d++) {
        uint64_t size = b->look.shape[d], start = start_of(b, d), stop = stop_of(b, d);
        if (start > stop || stop > size) {
            char why[128];
            snprintf(why, sizeof why,
                     "dimension %" PRIu32 ": %" PRIu64 " to %" PRIu64 " of %" PRIu64, d, start,
                     stop, size);
            return tarei_bytes_refuse(model, tensor, TARE_E_ARGUMENT, why, error);
        }
        if (start == stop) *empty = true;
    }
    return TARE_OK;
}

/*
 * Finds runs and rows of a box that is not empty, from the innermost dimension outwards, in
 * elements. A run may begin anywhere that the indexes above it lead to, so the stride of every
 * dimension that takes more than one index must be whole blocks.
 */
static tare_status box_runs(const tare_model *model, const tare_tensor *tensor, box *b,
                            tare_error *error)
{
    const uint32_t none = b->look.rank;
    uint64_t stride = 1, run = 0, first = 0, count = 1;
    uint32_t run_rank = none, uneven = none;
    for (uint32_t d = none; d-- > 0;) {
        uint64_t size = b->look.shape[d], extent = stop_of(b, d) - start_of(b, d);
        if (run == 0 && extent < size) {
            run = extent * stride;
            run_rank = d;
        } else if (run != 0 && extent > 1) {
            if (stride % b->block_count != 0)
                return fail_split(model, tensor, b->look.dtype, d, error);
            if (b->row_count == 1) {
                b->row_count = extent;
                b->row_stride = bytes_of(b, stride);
            } else {
                b->outer[b->outer_count++] = (tarei_slice_outer){extent, bytes_of(b, stride)};
            }
            count *= extent;
        }
        first += start_of(b, d) * stride;
        if (uneven == none && first % b->block_count != 0) uneven = d;
        stride *= size;
    }
    if (run == 0) run = stride; /* all of the tensor */
    if (first % b->block_count != 0) return fail_split(model, tensor, b->look.dtype, uneven, error);
    if (run % b->block_count != 0) return fail_split(model, tensor, b->look.dtype, run_rank, error);
    b->run = bytes_of(b, run);
    b->first = bytes_of(b, first);
    b->size = b->run * count;
    return TARE_OK;
}

tare_status tarei_slice_make(const tare_model *model, const tare_tensor *tensor,
                             const uint64_t *start, const uint64_t *stop, tarei_slice_box *b,
                             tare_error *error)
{
    bool empty;
    tare_status status = tarei_bytes_look(model, tensor, b->room, &b->look, error);
    if (status != TARE_OK) return status;
    b->start = start;
    b->stop = stop;
    b->block_count = tare_dtype_block_count(b->look.dtype);
    b->block_size = tare_dtype_block_size(b->look.dtype);
    b->outer_count = 0;
    b->row_count = 1;
    b->row_stride = b->run = b->first = b->size = 0;
    status = box_bounds(model, tensor, b, &empty, error);
    return status == TARE_OK && !empty ? box_runs(model, tensor, b, error) : status;
}

/* As many steps as the row's number has bits at most, whatever the rank. */
static void cursor_row(const box *b, cursor *at)
{
    uint64_t row = at->row;
    at->row_at = b->first;
    for (uint32_t i = 0; row > 0 && i < b->outer_count; i++) {
        at->row_at += row % b->outer[i].extent * b->outer[i].stride;
        row /= b->outer[i].extent;
    }
}

void tarei_slice_next(const tarei_slice_box *b, tarei_slice_cursor *at)
{
    if (++at->column < b->row_count) return;
    at->column = 0;
    at->row++;
    cursor_row(b, at);
}

/* How many of the next `left` runs one read of at most `room` bytes brings; *span is its size. */
static uint64_t plan_span(const box *b, cursor at, uint64_t left, uint64_t room, uint64_t gap_max,
                          uint64_t *span)
{
    uint64_t begin = tarei_slice_at(b, &at), count = 1;
    *span = b->run;
    for (; count < left; count++) {
        tarei_slice_next(b, &at);
        uint64_t end = tarei_slice_at(b, &at) - begin;
        if (end - *span > gap_max || end + b->run > room) break;
        *span = end + b->run;
    }
    return count;
}

/* Moves `count` runs of a span together. The span may begin at the target. */
static void gather(const box *b, cursor *at, uint64_t count, const uint8_t *span, uint8_t *target)
{
    uint64_t begin = tarei_slice_at(b, at);
    for (; count > 0; count--, target += b->run, tarei_slice_next(b, at)) {
        const uint8_t *run = span + (tarei_slice_at(b, at) - begin);
        if (run != target) memmove(target, run, (size_t)b->run);
    }
}

static tare_status read_runs(const tare_model *model, const tare_tensor *tensor, const box *b,
                             const tarei_source *source, uint8_t *target, tare_error *error)
{
    uint8_t scratch[SCRATCH_SIZE];
    uint64_t gap_max = source->descriptor >= 0 ? FILE_GAP_MAX : READER_GAP_MAX;
    cursor at = {0, 0, b->first};
    for (uint64_t left = b->size / b->run; left > 0;) {
        uint64_t rest = left * b->run, span;
        uint64_t room = rest > SCRATCH_SIZE ? rest : SCRATCH_SIZE;
        uint64_t count =
            plan_span(b, at, left, room < SPAN_SIZE_MAX ? room : SPAN_SIZE_MAX, gap_max, &span);
        uint8_t *landing = span <= rest ? target : scratch;
        tare_status status = tarei_bytes_read(model, tensor, source, &b->look,
                                              tarei_slice_at(b, &at), landing, (size_t)span, error);
        if (status != TARE_OK) return status;
        gather(b, &at, count, landing, target);
        target += count * b->run;
        left -= count;
    }
    return TARE_OK;
}

tare_status tare_slice_size(const tare_model *model, const tare_tensor *tensor,
                            const uint64_t *start, const uint64_t *stop, uint64_t *size,
                            tare_error *error)
{
    tare_error unused;
    box b;
    if (error == NULL) error = &unused;
    tarei_error_clear(error);
    *size = 0;
    tare_status status = tarei_slice_make(model, tensor, start, stop, &b, error);
    if (status == TARE_OK) *size = b.size;
    return status;
}

tare_status tare_read_slice(const tare_model *model, const tare_tensor *tensor,
                            const uint64_t *start, const uint64_t *stop, void *target,
                            size_t target_size, tare_error *error)
{
    tare_error unused;
    box b;
    if (error == NULL) error = &unused;
    tarei_error_clear(error);
    tare_status status = tarei_slice_make(model, tensor, start, stop, &b, error);
    if (status != TARE_OK) return status;
    if (target_size != b.size) {
        char why[96];
        snprintf(why, sizeof why, "the slice has %" PRIu64 " bytes, the target %zu", b.size,
                 target_size);
        return tarei_bytes_refuse(model, tensor, TARE_E_TARGET_SIZE, why, error);
    }
    if (b.size == 0) return TARE_OK;
    if (target == NULL)
        return tarei_bytes_refuse(model, tensor, TARE_E_ARGUMENT, "target is NULL", error);
    const tarei_source *source = tarei_bytes_open(model, tensor, b.look.shard, error);
    if (source == NULL) return error->status;
    if (source->bytes != NULL && source->descriptor < 0) {
        cursor at = {0, 0, b.first};
        const uint8_t *bytes = source->bytes + b.look.offset;
        gather(&b, &at, b.size / b.run, bytes + b.first, target);
        return TARE_OK;
    }
    return read_runs(model, tensor, &b, source, target, error);
}
