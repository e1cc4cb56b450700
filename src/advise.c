/* Advice about tensors, as few calls about whole pages. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "internal.h"
#include "os.h"

#define SCRATCH_SIZE ((size_t)16 << 10)

/* Bytes of one shard that an advice is about. */
typedef struct extent {
    const tare_tensor *first; /* of the tensors in it; NULL: none yet */
    const tare_tensor *last;
    uint32_t shard;
    uint64_t begin;
    uint64_t end;
} extent;

/* Tensors in the order of tare_at: all, a list that is in order, or those that have a bit. */
typedef struct walk {
    const tare_model *model;
    const tare_tensor *const *list;
    size_t count; /* of the list, else of the model */
    size_t at;
    uint64_t *bits;
    uint64_t bits_size;
    tarei_memory memory;
} walk;

static bool list_is_ordered(const tare_tensor *const *list, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (list[i] < list[i - 1]) return false;
    return true;
}

static tare_status walk_begin(walk *w, const tare_model *model, const tare_tensor *const *list,
                              size_t count, tare_error *error)
{
    *w = (walk){.model = model, .count = tare_count(model)};
    if (list == NULL) return TARE_OK;
    if (list_is_ordered(list, count)) {
        w->list = list;
        w->count = count;
        return TARE_OK;
    }
    tarei_memory_init(&w->memory, &model->memory.hooks);
    w->bits_size = (w->count + 63) / 64 * sizeof *w->bits;
    w->bits = tarei_memory_take(&w->memory, w->bits_size, sizeof *w->bits);
    if (w->bits == NULL) return tarei_error_memory(error);
    memset(w->bits, 0, (size_t)w->bits_size);
    for (size_t i = 0; i < count; i++) {
        size_t index = tare_index_of(model, list[i]);
        w->bits[index / 64] |= UINT64_C(1) << index % 64;
    }
    return TARE_OK;
}

static const tare_tensor *walk_next(walk *w)
{
    while (w->at < w->count) {
        size_t at = w->at;
        if (w->bits != NULL && w->bits[at / 64] >> at % 64 == 0) {
            w->at = (at / 64 + 1) * 64; /* no more in this word */
            continue;
        }
        w->at++;
        if (w->bits != NULL && (w->bits[at / 64] >> at % 64 & 1) == 0) continue;
        return w->list != NULL ? w->list[at] : tare_at(w->model, at);
    }
    return NULL;
}

static void walk_end(walk *w)
{
    if (w->bits != NULL) tarei_memory_give(&w->memory, w->bits, w->bits_size, sizeof *w->bits);
}

/*
 * Adds a tensor if it lies behind the extent without a page between them. Pages in between may hold
 * bytes of others, which are to be spared, but for two tensors of which one follows the other.
 */
static bool extent_add(extent *e, const tare_tensor *tensor, const tarei_look *look, size_t page,
                       bool spare)
{
    uint64_t begin = look->offset, size = look->size,
             slack = spare && tensor != e->last + 1 ? 0 : page;
    if (e->shard != look->shard || begin < e->begin) return false;
    if (begin > e->end && begin - e->end > slack) return false;
    if (begin + size > e->end) e->end = begin + size;
    e->last = tensor;
    return true;
}

/* ------------------------------------------------------------------------------------------------
 * One extent
 */

/* The error names the tensor that holds the byte at `at`, or comes first behind it. One that a
 * damaged index file leads astray is of no bytes, and passed over. */
static tare_status fail_extent(const tare_model *model, const extent *e, uint64_t at,
                               tare_status status, int system_error, const char *what,
                               tare_error *error)
{
    char reason[96];
    const tare_tensor *tensor = e->first;
    while (tensor < e->last && tare_offset(model, tensor) + tare_size(model, tensor) <= at)
        tensor++;
    tare_string name = tarei_names_get(&model->tensors, tensor);
    tarei_os_error_text(system_error, reason, sizeof reason);
    tarei_error_set(error, status, e->shard, at, "tensor %s: %.120s%s%.96s",
                    tarei_quote(name.data, name.size).text, what, system_error ? ": " : "",
                    system_error ? reason : "");
    error->system_error = system_error;
    return tarei_error_prefix(error, model->shards[e->shard].name);
}

/* The pages that hold some byte of the extent. */
static const void *pages_around(const tarei_source *source, const extent *e, size_t page,
                                size_t *size)
{
    uintptr_t mask = page - 1, start = (uintptr_t)source->bytes;
    uintptr_t begin = (start + (uintptr_t)e->begin) & ~mask;
    uintptr_t end = (start + (uintptr_t)e->end + mask) & ~mask;
    *size = end - begin;
    return (const void *)begin;
}

static const char cut_short[] = "the data ends early: it shrank since it was opened";

/* Whether the file has become shorter than the extent; *at becomes where it ends, if within it. */
static bool was_cut(const tarei_source *source, const extent *e, uint64_t *at)
{
    tarei_os_identity now;
    if (source->descriptor < 0 || tarei_os_identify(source->descriptor, &now) != 0 ||
        now.size >= e->end)
        return false;
    if (now.size > e->begin) *at = now.size;
    return true;
}

/* Pages of a file that was cut short fail in the same ways as those of a disk that does. */
static tare_status fail_pages(const tare_model *model, const extent *e, uint64_t at,
                              tare_status status, int failure, const char *what, tare_error *error)
{
    if (was_cut(&model->shards[e->shard].source, e, &at))
        return fail_extent(model, e, at, TARE_E_CHANGED, 0, cut_short, error);
    return fail_extent(model, e, at, status, failure, what, error);
}

static tare_status read_through(const tare_model *model, const extent *e, tare_error *error)
{
    uint8_t scratch[SCRATCH_SIZE];
    const tarei_source *source = &model->shards[e->shard].source;
    for (uint64_t at = e->begin; at < e->end;) {
        size_t some = e->end - at < sizeof scratch ? (size_t)(e->end - at) : sizeof scratch;
        int failure = 0;
        tare_status status = source->read_at(source, at, scratch, some, &failure);
        if (status != TARE_OK)
            return fail_pages(model, e, at, status, failure,
                              status == TARE_E_CHANGED ? cut_short : "reading failed", error);
        at += some;
    }
    return TARE_OK;
}

static void touch(const uint8_t *bytes, uint64_t size, size_t page)
{
    const volatile uint8_t *at = bytes;
    for (uint64_t i = 0; i < size; i += page) (void)at[i];
    (void)at[size - 1];
}

static tare_status populate(const tare_model *model, const extent *e, size_t page,
                            tare_error *error)
{
    const tarei_source *source = &model->shards[e->shard].source;
    uint64_t at = e->begin;
    int failure = ENOTSUP;
    if (source->bytes != NULL) {
        size_t size;
        const void *pages = pages_around(source, e, page, &size);
        failure = tarei_os_populate(pages, size);
    }
    if (failure == 0) { /* pages that a file ends in are there, with zeros behind its end */
        if (!was_cut(source, e, &at)) return TARE_OK;
        return fail_extent(model, e, at, TARE_E_CHANGED, 0, cut_short, error);
    }
    if (failure != ENOTSUP)
        return fail_pages(model, e, e->begin, TARE_E_READ, failure, "cannot be brought in", error);
    if (source->descriptor >= 0) return read_through(model, e, error);
    if (source->bytes != NULL) touch(source->bytes + e->begin, e->end - e->begin, page);
    return TARE_OK;
}

static tare_status lock(const tare_model *model, const extent *e, size_t page, uint32_t advice,
                        tare_error *error)
{
    const tarei_source *source = &model->shards[e->shard].source;
    char what[96];
    size_t size;
    uint64_t size_max = 0;
    if (source->bytes == NULL)
        return fail_extent(model, e, e->begin, TARE_E_UNSUPPORTED, 0,
                           "not in memory, cannot be locked", error);
    const void *pages = pages_around(source, e, page, &size);
    if (advice == TARE_ADVISE_UNLOCK) {
        int failure = tarei_os_unlock(pages, size);
        if (failure == 0) return TARE_OK;
        return fail_extent(model, e, e->begin, TARE_E_UNSUPPORTED, failure, "cannot be unlocked",
                           error);
    }
    int failure = tarei_os_lock(pages, size, &size_max);
    if (failure == 0) return TARE_OK;
    snprintf(what, sizeof what, "cannot lock %zu bytes, of %" PRIu64 " allowed (ulimit -l)", size,
             size_max);
    return fail_pages(model, e, e->begin, failure == EIO ? TARE_E_READ : TARE_E_LIMIT, failure,
                      what, error);
}

static tare_status hint(const tare_model *model, const extent *e, size_t page,
                        tarei_os_advice advice, tare_error *error)
{
    const tarei_source *source = &model->shards[e->shard].source;
    bool drop = advice == TAREI_OS_DO_NOT_NEED;
    extent whole = *e;
    int failure = 0;
    if (drop) { /* pages that are the tensors' alone; nothing lies behind the end of a file */
        whole.begin = (e->begin + page - 1) & ~(uint64_t)(page - 1);
        if (e->end != source->size) whole.end &= ~(uint64_t)(page - 1);
        if (source->descriptor < 0 || whole.begin >= whole.end) return TARE_OK;
    }
    if (source->bytes != NULL) {
        size_t size;
        const void *pages = pages_around(source, &whole, page, &size);
        failure = tarei_os_advise_memory(pages, size, advice);
    }
    /* The page cache keeps what is mapped, so that comes first. */
    if (failure == 0 && source->descriptor >= 0 && (drop || source->bytes == NULL))
        failure =
            tarei_os_advise_file(source->descriptor, whole.begin, whole.end - whole.begin, advice);
    if (failure == 0) return TARE_OK;
    return fail_extent(model, e, e->begin, failure == EIO ? TARE_E_READ : TARE_E_UNSUPPORTED,
                       failure, drop ? "its pages cannot be given back" : "cannot be read ahead",
                       error);
}

static tare_status extent_advise(const tare_model *model, const extent *e, size_t page,
                                 uint32_t advice, tare_error *error)
{
    switch (advice) {
    case TARE_ADVISE_WILL_NEED: return hint(model, e, page, TAREI_OS_WILL_NEED, error);
    case TARE_ADVISE_DO_NOT_NEED: return hint(model, e, page, TAREI_OS_DO_NOT_NEED, error);
    case TARE_ADVISE_POPULATE: return populate(model, e, page, error);
    default: return lock(model, e, page, advice, error);
    }
}

tare_status tare_advise(const tare_model *model, const tare_tensor *const *tensors, size_t count,
                        uint32_t advice, tare_error *error)
{
    tare_error unused;
    walk w;
    if (error == NULL) error = &unused;
    tarei_error_clear(error);
    if (advice < TARE_ADVISE_WILL_NEED || advice > TARE_ADVISE_UNLOCK)
        return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "%" PRIu32 " is no advice", advice);
    tare_status status = tarei_lookup_list(model, tensors, &count, error);
    if (status != TARE_OK) return status;
    status = walk_begin(&w, model, tensors, count, error);
    extent e = {0};
    size_t page = tarei_os_page_size();
    for (const tare_tensor *tensor; status == TARE_OK && (tensor = walk_next(&w)) != NULL;) {
        tarei_look look;
        if (tarei_bytes_source(model, tensor, &look, error) == NULL) {
            status = error->status;
            break;
        }
        if (look.size == 0) continue;
        if (e.first != NULL &&
            extent_add(&e, tensor, &look, page, advice == TARE_ADVISE_DO_NOT_NEED))
            continue;
        if (e.first != NULL) status = extent_advise(model, &e, page, advice, error);
        e = (extent){tensor, tensor, look.shard, look.offset, look.offset + look.size};
    }
    if (status == TARE_OK && e.first != NULL)
        status = extent_advise(model, &e, page, advice, error);
    walk_end(&w);
    return status;
}
