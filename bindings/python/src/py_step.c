/*
 * Boxes with steps, as tensor[::1000] spans them. What lies between two indices that are wanted is
 * read along where it is little, a piece at a time, and passed over where it is much: what is read
 * follows what is wanted, and memory is that of the result and of one piece.
 *
 * Dimensions are taken from the outermost inwards, each index by itself, down to the one of which
 * a piece holds several; a piece is a box that the library reads whole.
 */
#include "tarepy.h"

#include <string.h>

#define PIECE_SIZE ((uint64_t)256 << 10)
#define GAP_MAX ((uint64_t)16 << 10) /* takes as long to read as to ask once more */

typedef struct stepping {
    const owner *owner;
    const tare_tensor *at;
    const box *box;
    uint64_t start[RANK_MAX], stop[RANK_MAX]; /* of what is read next */
    uint64_t full[RANK_MAX + 1];   /* bytes of one index of the dimension before, gaps and all, */
    uint64_t packed[RANK_MAX + 1]; /* and of what is wanted of them */
    uint32_t plain;                /* from this dimension on there are no gaps */
    uint8_t *piece;
    tare_error error;
} stepping;

static uint64_t step_of(const box *b, uint32_t axis)
{
    return (uint64_t)(b->step[axis] < 0 ? -b->step[axis] : b->step[axis]);
}

/* `size` is that of the box, gaps and all, and neither 0 nor another than its extents give. */
static void measure(stepping *s, uint64_t size)
{
    const box *b = s->box;
    uint64_t count = 1;
    memcpy(s->start, b->start, sizeof s->start);
    memcpy(s->stop, b->stop, sizeof s->stop);
    s->plain = b->rank;
    while (s->plain > 0 && b->step[s->plain - 1] == 1) s->plain--;
    for (uint32_t axis = 0; axis < s->plain; axis++) count *= b->stop[axis] - b->start[axis];
    /* 0 where that is no whole bytes: the library refuses to read one. */
    s->full[s->plain] = s->packed[s->plain] = size % count == 0 ? size / count : 0;
    for (uint32_t axis = s->plain; axis-- > 0;) {
        s->full[axis] = s->full[axis + 1] * (b->stop[axis] - b->start[axis]);
        s->packed[axis] = s->packed[axis + 1] * b->count[axis];
    }
}

/* How many indices of a dimension one piece holds. */
static uint64_t piece_count(const stepping *s, uint32_t axis)
{
    uint64_t size = s->full[axis + 1], stride = size * step_of(s->box, axis);
    return stride == 0 || stride - size > GAP_MAX || stride > PIECE_SIZE ? 1 : PIECE_SIZE / stride;
}

/* `size` bytes, `count` times, each `stride` after the one before. */
static void copy_rows(uint8_t *to, const uint8_t *from, ptrdiff_t stride, size_t size,
                      uint64_t count)
{
    for (uint64_t i = 0; i < count; i++, to += size, from += stride) {
        switch (size) { /* calls of memcpy would be most of the time */
        case 1: *to = *from; break;
        case 2: memcpy(to, from, 2); break;
        case 4: memcpy(to, from, 4); break;
        case 8: memcpy(to, from, 8); break;
        default: memcpy(to, from, size);
        }
    }
}

/* What is wanted of `count` indices of a dimension, which lie at `from`. */
static void gather(const stepping *s, uint32_t axis, uint64_t count, uint8_t *to,
                   const uint8_t *from)
{
    ptrdiff_t stride = (ptrdiff_t)s->full[axis + 1] * (ptrdiff_t)s->box->step[axis];
    if (stride < 0) from -= (ptrdiff_t)(count - 1) * stride;
    if (axis + 1 == s->plain) {
        copy_rows(to, from, stride, (size_t)s->full[axis + 1], count);
        return;
    }
    for (uint64_t i = 0; i < count; i++, to += s->packed[axis + 1], from += stride)
        gather(s, axis + 1, s->box->count[axis + 1], to, from);
}

static tare_status read_next(stepping *s, void *target, uint64_t size)
{
    return tare_read_slice(s->owner->model, s->at, s->start, s->stop, target, (size_t)size,
                           &s->error);
}

/* `count` indices of a dimension from the one that is number `first` in the result. */
static void narrow(stepping *s, uint32_t axis, uint64_t first, uint64_t count)
{
    const box *b = s->box;
    uint64_t step = step_of(b, axis), skipped = first * step, size = (count - 1) * step + 1;
    s->start[axis] = b->step[axis] > 0 ? b->start[axis] + skipped : b->stop[axis] - skipped - size;
    s->stop[axis] = s->start[axis] + size;
}

static tare_status take(stepping *s, uint32_t axis, uint8_t *target)
{
    if (axis == s->plain) return read_next(s, target, s->packed[axis]);
    uint64_t count = s->box->count[axis], some = piece_count(s, axis);
    tare_status status = TARE_OK;
    for (uint64_t i = 0; i < count && status == TARE_OK; i += some) {
        uint64_t left = count - i < some ? count - i : some;
        narrow(s, axis, i, left);
        if (some == 1) {
            status = take(s, axis + 1, target);
        } else {
            status = read_next(s, s->piece, (s->stop[axis] - s->start[axis]) * s->full[axis + 1]);
            if (status == TARE_OK) gather(s, axis, left, target, s->piece);
        }
        target += left * s->packed[axis + 1];
    }
    return status;
}

/* Whether the index file still has the layout that the box was taken of; else an exception. */
static int settle(const box *b, uint64_t size)
{
    uint64_t extents[RANK_MAX], settled[RANK_MAX];
    piece span = {.shape = extents, .size = size, .rank = b->rank, .dtype = b->dtype};
    for (uint32_t axis = 0; axis < b->rank; axis++) extents[axis] = b->stop[axis] - b->start[axis];
    return piece_settle(&span, settled);
}

memory *step_read(const owner *self, const tare_tensor *at, const box *b, uint64_t size)
{
    stepping s = {.owner = self, .at = at, .box = b};
    if (settle(b, size) != 0) return NULL;
    if (size == 0) return memory_new(0);
    measure(&s, size);
    memory *target = memory_new(s.packed[0]), *span = NULL;
    if (target != NULL) span = memory_new(PIECE_SIZE);
    if (span != NULL) {
        tare_status status;
        s.piece = span->data;
        Py_BEGIN_ALLOW_THREADS status = take(&s, 0, target->data);
        Py_END_ALLOW_THREADS Py_DECREF(span);
        if (status == TARE_OK) return target;
        error_raise(&s.error, b->safe);
    }
    Py_XDECREF((PyObject *)target);
    return NULL;
}
