/* Digests of tensors: of one here, of many on several threads that take one after the other. */
#include <stdatomic.h>
#include <string.h>

#include "digest.h"
#include "load.h"
#include "os.h"
#include "pool.h"

#define PIECE_SIZE ((size_t)64 << 10)   /* on the stack; so large that system calls do not count */
#define STEP_SIZE ((size_t)1 << 20)     /* of memory, which is not copied */
#define REPORT_SIZE (UINT64_C(4) << 20) /* from one report to the next, at least */
#define THREADS_DEFAULT 16u

typedef struct hashing {
    const tare_model *model;
    const tare_tensor *const *tensors; /* NULL: all, in order */
    size_t count;
    tare_load_options options;
    tare_digest *out;
    uint64_t reported; /* of the first thread */
    atomic_size_t next;
    atomic_size_t finished;
    tarei_load_course course;
} hashing;

static const tare_tensor *tensor_at(const hashing *h, size_t index)
{
    return h->tensors != NULL ? h->tensors[index] : tare_at(h->model, index);
}

/* After each piece: whether to go on. */
static bool advance(hashing *h, uint32_t thread, uint64_t size)
{
    tarei_load_course *course = &h->course;
    uint64_t done = atomic_fetch_add(&course->done, size) + size;
    if (thread == 0 && done - h->reported >= REPORT_SIZE && done < course->size) {
        h->reported = done;
        tarei_load_report(course, done);
    }
    return !atomic_load(&course->stopped);
}

/*
 * Files are read also where they are mapped, since touching a mapping may raise a signal. `h` is
 * NULL for a tensor by itself; if it is told to stop, what comes out does not matter.
 */
static tare_status hash_tensor(const tare_model *model, const tare_tensor *tensor, hashing *h,
                               uint32_t thread, tare_digest *out, tare_error *error)
{
    unsigned char piece[PIECE_SIZE];
    tarei_digest_state state;
    tarei_look look;
    const tarei_source *source = tarei_bytes_source(model, tensor, &look, error);
    if (source == NULL) return error->status;
    bool in_memory = source->descriptor < 0 && source->bytes != NULL;
    bool drop = h != NULL && (h->options.flags & TARE_LOAD_DROP_BEHIND) && source->descriptor >= 0;
    uint64_t offset = look.offset, size = look.size, kept = 0;
    size_t step = in_memory ? STEP_SIZE : sizeof piece;
    tarei_digest_begin(&state);
    for (uint64_t at = 0; at < size; at += step) {
        size_t some = size - at < step ? (size_t)(size - at) : step;
        const unsigned char *bytes = in_memory ? source->bytes + offset + at : piece;
        tare_status status = TARE_OK;
        if (!in_memory)
            status = tarei_bytes_read(model, tensor, source, &look, at, piece, some, error);
        if (status != TARE_OK) return status;
        tarei_digest_add(&state, bytes, some);
        if (drop && (at + some == size || at + some - kept >= TAREI_LOAD_FOLIO_SIZE)) {
            tarei_load_drop(source, offset + kept, offset + at + some);
            kept = at + some;
        }
        if (h != NULL && !advance(h, thread, some)) break;
    }
    *out = tarei_digest_end(&state);
    return TARE_OK;
}

tare_status tare_hash(const tare_model *model, const tare_tensor *tensor, tare_digest *out,
                      tare_error *error)
{
    tare_error unused;
    if (error == NULL) error = &unused;
    tarei_error_clear(error);
    if (out == NULL)
        return tarei_error_set(error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "out is NULL");
    *out = (tare_digest){0, 0};
    return hash_tensor(model, tensor, NULL, 0, out, error);
}

static void work(void *context, uint32_t thread)
{
    hashing *h = context;
    tarei_load_course *course = &h->course;
    tare_error error;
    while (!atomic_load(&course->stopped)) {
        size_t index = atomic_fetch_add(&h->next, 1);
        if (index >= h->count) break;
        const tare_tensor *tensor = tensor_at(h, index);
        if (hash_tensor(h->model, tensor, h, thread, &h->out[index], &error) != TARE_OK)
            tarei_load_stop(course, &error);
        atomic_fetch_add(&h->finished, 1);
    }
    /* The last tensors may take others long; the caller wants to hear of it, and may stop it. */
    if (thread != 0 || h->options.progress == NULL) return;
    while (!atomic_load(&course->stopped) && atomic_load(&h->finished) < h->count) {
        tarei_os_nap();
        uint64_t done = atomic_load(&course->done);
        if (done < course->size) tarei_load_report(course, done);
    }
}

static void drop_rest(const hashing *h)
{
    tarei_load_rest rest = {0};
    for (size_t i = 0; i < h->count; i++) {
        tare_error unused;
        tarei_look look;
        const tarei_source *source = tarei_bytes_source(h->model, tensor_at(h, i), &look, &unused);
        if (source == NULL || source->descriptor < 0 || look.size == 0) continue;
        tarei_load_drop_rest(&rest, source, look.offset, look.offset + look.size);
    }
    tarei_load_drop_rest(&rest, NULL, 0, 0);
}

static uint32_t thread_count(const hashing *h)
{
    uint64_t threads = h->options.threads;
    if (threads == 0) {
        threads = tarei_os_processor_count();
        if (threads > THREADS_DEFAULT) threads = THREADS_DEFAULT;
        if (threads > h->course.size / STEP_SIZE + 1) threads = h->course.size / STEP_SIZE + 1;
        if (tarei_load_has_reader(h->model)) threads = 1;
    }
    return (uint32_t)(threads < h->count ? threads : h->count);
}

static tare_status hashing_begin(hashing *h, const tare_load_options *options)
{
    tare_status status = tarei_lookup_list(h->model, h->tensors, &h->count, h->course.error);
    if (status == TARE_OK) status = tarei_load_options(&h->options, options, h->course.error);
    if (status != TARE_OK) return status;
    if (h->out == NULL && h->count != 0)
        return tarei_error_set(h->course.error, TARE_E_ARGUMENT, TARE_NO_SHARD, TARE_NO_OFFSET,
                               "out is NULL");
    for (size_t i = 0; i < h->count; i++) {
        const tare_tensor *tensor = tensor_at(h, i);
        uint64_t size = tare_size(h->model, tensor);
        if (tarei_check_add(h->course.size, size, &h->course.size))
            h->course.size = UINT64_MAX; /* of a progress bar */
    }
    return TARE_OK;
}

tare_status tare_hash_many(const tare_model *model, const tare_tensor *const *tensors, size_t count,
                           const tare_load_options *options, tare_digest *out, tare_error *error)
{
    tare_error unused;
    hashing h = {.model = model, .tensors = tensors, .count = count, .out = out};
    tarei_load_course *course = &h.course;
    course->options = &h.options;
    course->error = error != NULL ? error : &unused;
    tare_status status = hashing_begin(&h, options);
    if (status == TARE_OK) {
        tarei_load_report(course, 0);
        tarei_pool_run(thread_count(&h), work, &h);
        bool drop = (h.options.flags & TARE_LOAD_DROP_BEHIND) != 0;
        if (drop && !atomic_load(&course->stopped)) drop_rest(&h);
        if (!atomic_load(&course->stopped)) tarei_load_report(course, course->size);
        if (!atomic_load(&course->stopped)) tarei_error_clear(course->error);
        status = course->error->status;
    }
    if (status != TARE_OK && out != NULL) memset(out, 0, h.count * sizeof *out);
    return status;
}
