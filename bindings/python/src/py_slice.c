/*
 * Indices as numpy has them: integers, slices with any step, `...` and None. What they span is a
 * box, which the library reads; a step is then taken of the box.
 */
#include "tarepy.h"

enum { RANK_MAX = 64 };

#define NO_INDEX \
    "%R is no index: integers, slices, ... and None are. For others take Tensor.numpy()"

typedef struct box {
    uint64_t shape[RANK_MAX]; /* of the tensor */
    uint64_t start[RANK_MAX], stop[RANK_MAX];
    uint64_t made[2 * RANK_MAX];   /* of the result: without integers, with None */
    PyObject *steps[2 * RANK_MAX]; /* slices to take of it; NULL is all */
    uint32_t rank, made_rank;
    bool stepped, safe;
} box;

static int fail(const box *b, const char *format, PyObject *object, uint64_t number)
{
    PyObject *text = PyUnicode_FromFormat(format, object, (unsigned long long)number);
    if (text == NULL) return -1;
    error_raise_named("SliceError", b->safe, text);
    Py_DECREF(text);
    return -1;
}

static void add_axis(box *b, uint64_t size, PyObject *step)
{
    b->steps[b->made_rank] = step;
    b->made[b->made_rank++] = size;
    if (step != NULL) b->stepped = true;
}

static int take_integer(box *b, uint32_t axis, PyObject *index)
{
    Py_ssize_t at = PyNumber_AsSsize_t(index, PyExc_IndexError);
    if (at == -1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1; /* an array with several numbers */
        PyErr_Clear();
        return fail(b, NO_INDEX, index, 0);
    }
    uint64_t size = b->shape[axis], place = (uint64_t)at;
    if (at < 0) place += size;
    if (at < 0 ? place >= size : (uint64_t)at >= size)
        return fail(b, "index %R is out of bounds for a dimension of %llu", index, size);
    b->start[axis] = place;
    b->stop[axis] = place + 1;
    return 0;
}

static int take_slice(box *b, uint32_t axis, PyObject *index)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(index, &start, &stop, &step) != 0) return -1;
    if (b->shape[axis] > PY_SSIZE_T_MAX)
        return fail(b, "%R is taken of a dimension of %llu, which is too many", index,
                    b->shape[axis]);
    Py_ssize_t count = PySlice_AdjustIndices((Py_ssize_t)b->shape[axis], &start, &stop, step);
    PyObject *steps = NULL;
    if (count == 0) {
        b->start[axis] = b->stop[axis] = 0;
    } else {
        Py_ssize_t last = start + (count - 1) * step;
        b->start[axis] = (uint64_t)(step > 0 ? start : last);
        b->stop[axis] = (uint64_t)(step > 0 ? last : start) + 1;
    }
    if (count > 1 && step != 1) {
        PyObject *number = PyLong_FromSsize_t(step);
        if (number != NULL) steps = PySlice_New(NULL, NULL, number);
        Py_XDECREF(number);
        if (steps == NULL) return -1;
    }
    add_axis(b, b->stop[axis] - b->start[axis], steps);
    return 0;
}

static void take_all(box *b, uint32_t axis)
{
    b->start[axis] = 0;
    b->stop[axis] = b->shape[axis];
    add_axis(b, b->shape[axis], NULL);
}

/* How many dimensions the items of the key stand for, but for `...`. */
static int count_axes(box *b, PyObject *key, Py_ssize_t count, uint32_t *axes, bool *ellipsis)
{
    *axes = 0;
    *ellipsis = false;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GetItem(key, i);
        if (item == Py_Ellipsis && *ellipsis) return fail(b, "%R has ... more than once", key, 0);
        if (item == Py_Ellipsis) *ellipsis = true;
        *axes += item != Py_Ellipsis && item != Py_None;
    }
    if (count > RANK_MAX || *axes > b->rank)
        return fail(b, "%R has more indices than the tensor dimensions, of which there are %llu",
                    key, b->rank);
    return 0;
}

static int take_key(box *b, PyObject *key)
{
    uint32_t axes, axis = 0;
    bool ellipsis;
    Py_ssize_t count = PyTuple_Size(key);
    if (count_axes(b, key, count, &axes, &ellipsis) != 0) return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GetItem(key, i);
        int failed = 0;
        if (item == Py_Ellipsis) {
            for (uint32_t n = b->rank - axes; n > 0; n--) take_all(b, axis++);
        } else if (item == Py_None) {
            add_axis(b, 1, NULL);
        } else if (PySlice_Check(item)) {
            failed = take_slice(b, axis++, item);
        } else if (PyIndex_Check(item) && (b->safe || !PyBool_Check(item))) { /* theirs: 0 and 1 */
            failed = take_integer(b, axis++, item);
        } else {
            failed = fail(b, NO_INDEX, item, 0);
        }
        if (failed != 0) return -1;
    }
    while (axis < b->rank) take_all(b, axis++);
    return 0;
}

/* made[steps], packed. Takes `made` over. */
static PyObject *take_steps(framework kind, const box *b, PyObject *made)
{
    PyObject *key = PyTuple_New(b->made_rank), *found = NULL;
    for (uint32_t i = 0; key != NULL && i < b->made_rank; i++) {
        PyObject *step = b->steps[i];
        if (step == NULL)
            step = PySlice_New(NULL, NULL, NULL);
        else
            Py_INCREF(step);
        if (step == NULL || PyTuple_SetItem(key, i, step) != 0) Py_CLEAR(key);
    }
    if (key != NULL) found = PyObject_GetItem(made, key);
    Py_XDECREF(key);
    Py_DECREF(made);
    if (found == NULL) return NULL;
    PyObject *packed =
        PyObject_CallMethod(found, kind == FRAMEWORK_NUMPY ? "copy" : "contiguous", NULL);
    Py_DECREF(found);
    return packed;
}

static PyObject *read_box(framework kind, owner *self, const tare_tensor *at, const box *b)
{
    tare_error error;
    uint64_t size;
    const tare_info info = tare_describe(self->model, at);
    if (array_check(kind, info.dtype) != 0) return NULL;
    if (tare_slice_size(self->model, at, b->start, b->stop, &size, &error) != TARE_OK)
        return error_raise(&error, b->safe);
    memory *target = memory_new(size);
    if (target == NULL) return NULL;
    tare_status status;
    if (size < TAREPY_SHORT_SIZE) {
        status =
            tare_read_slice(self->model, at, b->start, b->stop, target->data, (size_t)size, &error);
    } else {
        Py_BEGIN_ALLOW_THREADS status =
            tare_read_slice(self->model, at, b->start, b->stop, target->data, (size_t)size, &error);
        Py_END_ALLOW_THREADS
    }
    PyObject *made = NULL;
    if (status == TARE_OK) {
        const piece from = {.base = (PyObject *)target,
                            .data = target->data,
                            .shape = b->made,
                            .size = size,
                            .rank = b->made_rank,
                            .dtype = info.dtype,
                            .writable = true};
        made = array_make(kind, &from);
    } else {
        error_raise(&error, b->safe);
    }
    Py_DECREF(target);
    return made != NULL && b->stepped ? take_steps(kind, b, made) : made;
}

PyObject *slice_read(framework kind, owner *self, const tare_tensor *at, PyObject *key)
{
    const tare_info info = tare_describe(self->model, at);
    box b = {.rank = info.rank, .safe = self->safe};
    if (info.rank > RANK_MAX)
        return PyErr_Format(PyExc_ValueError, "a tensor of more than 64 dimensions");
    for (uint32_t i = 0; i < info.rank; i++) b.shape[i] = info.shape[i];
    PyObject *items = key, *made = NULL;
    if (PyTuple_Check(key))
        Py_INCREF(items);
    else
        items = PyTuple_Pack(1, key);
    if (items != NULL && take_key(&b, items) == 0) {
        if (b.stepped && !array_is_plain(info.dtype))
            fail(&b, "%R: a step cannot be taken where elements are less than a byte", key, 0);
        else
            made = read_box(kind, self, at, &b);
    }
    for (uint32_t i = 0; i < b.made_rank; i++) Py_XDECREF(b.steps[i]);
    Py_XDECREF(items);
    return made;
}
