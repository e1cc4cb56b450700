/*
 * Indices as numpy has them: integers, slices with any step, `...` and None. What they span is a
 * box, which the library reads; py_step.c where it has steps.
 */
#include "tarepy.h"

#include <string.h>

#define NO_INDEX \
    "%R is no index: integers, slices, ... and None are. For others take Tensor.numpy()"

static int fail(const box *b, const char *format, PyObject *object, uint64_t number)
{
    PyObject *text = PyUnicode_FromFormat(format, object, (unsigned long long)number);
    if (text != NULL && b->name.data != NULL) {
        PyObject *name = text_decode(b->name.data, b->name.size);
        PyObject *named = name != NULL ? PyUnicode_FromFormat("tensor '%U': %U", name, text) : NULL;
        Py_XDECREF(name);
        Py_DECREF(text);
        text = named;
    }
    if (text == NULL) return -1;
    error_raise_named("SliceError", b->safe, text);
    Py_DECREF(text);
    return -1;
}

static void add_axis(box *b, uint64_t size)
{
    b->made[b->made_rank++] = size;
}

/* An array or tensor of one number in a dimension of its own would pass for that number. */
static bool is_integer(PyObject *item)
{
    if (PyLong_Check(item)) return true;
    if (!PyIndex_Check(item)) return false;
    PyObject *rank = PyObject_GetAttrString(item, "ndim");
    bool scalar = rank == NULL || (PyLong_Check(rank) && PyLong_AsLong(rank) == 0);
    PyErr_Clear();
    Py_XDECREF(rank);
    return scalar;
}

static int take_integer(box *b, uint32_t axis, PyObject *index)
{
    Py_ssize_t at = PyNumber_AsSsize_t(index, NULL); /* beyond the largest: that one, and so out */
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
    b->count[axis] = 1;
    b->step[axis] = 1;
    return 0;
}

static int take_slice(box *b, uint32_t axis, PyObject *index)
{
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(index, &start, &stop, &step) != 0) {
        if (!b->safe || !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
        PyErr_Clear();
        return fail(b, "%R: a step of 0 leads nowhere", index, 0);
    }
    if (b->shape[axis] > PY_SSIZE_T_MAX)
        return fail(b, "%R is taken of a dimension of %llu, which is too many", index,
                    b->shape[axis]);
    Py_ssize_t count = PySlice_AdjustIndices((Py_ssize_t)b->shape[axis], &start, &stop, step);
    if (count == 0) {
        b->start[axis] = b->stop[axis] = 0;
    } else {
        Py_ssize_t last = start + (count - 1) * step;
        b->start[axis] = (uint64_t)(step > 0 ? start : last);
        b->stop[axis] = (uint64_t)(step > 0 ? last : start) + 1;
    }
    b->count[axis] = (uint64_t)count;
    b->step[axis] = count > 1 ? step : 1;
    add_axis(b, (uint64_t)count);
    return 0;
}

/* (start, stop): nothing is cut off, so that a share that was computed wrong shows. */
static int take_pair(box *b, uint32_t axis, PyObject *pair)
{
    uint64_t ends[2];
    if (PyTuple_Size(pair) != 2) return fail(b, NO_INDEX, pair, 0);
    for (Py_ssize_t i = 0; i < 2; i++) {
        PyObject *number = PyNumber_Index(PyTuple_GetItem(pair, i));
        ends[i] = number != NULL ? PyLong_AsUnsignedLongLong(number) : 0;
        Py_XDECREF(number);
        if (!PyErr_Occurred()) continue;
        PyErr_Clear();
        return fail(b, "%R is no start and stop of a dimension of %llu", pair, b->shape[axis]);
    }
    if (ends[0] > ends[1] || ends[1] > b->shape[axis])
        return fail(b, "%R is not within a dimension of %llu", pair, b->shape[axis]);
    b->start[axis] = ends[0];
    b->stop[axis] = ends[1];
    b->count[axis] = ends[1] - ends[0];
    b->step[axis] = 1;
    add_axis(b, b->count[axis]);
    return 0;
}

static void take_all(box *b, uint32_t axis)
{
    b->start[axis] = 0;
    b->stop[axis] = b->count[axis] = b->shape[axis];
    b->step[axis] = 1;
    add_axis(b, b->shape[axis]);
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
            add_axis(b, 1);
        } else if (PySlice_Check(item)) {
            failed = take_slice(b, axis++, item);
        } else if (b->name.data != NULL && PyTuple_Check(item)) {
            failed = take_pair(b, axis++, item);
        } else if (is_integer(item) && (b->safe || !PyBool_Check(item))) { /* theirs: 0 and 1 */
            failed = take_integer(b, axis++, item);
        } else {
            failed = fail(b, NO_INDEX, item, 0);
        }
        if (failed != 0) return -1;
    }
    while (axis < b->rank) take_all(b, axis++);
    return 0;
}

static memory *read_plain(const owner *self, const tare_tensor *at, const box *b, uint64_t size)
{
    tare_error error;
    tare_status status;
    memory *target = memory_new(size);
    if (target == NULL) return NULL;
    if (size < TAREPY_SHORT_SIZE) {
        status =
            tare_read_slice(self->model, at, b->start, b->stop, target->data, (size_t)size, &error);
    } else {
        Py_BEGIN_ALLOW_THREADS status =
            tare_read_slice(self->model, at, b->start, b->stop, target->data, (size_t)size, &error);
        Py_END_ALLOW_THREADS
    }
    if (status == TARE_OK) return target;
    Py_DECREF(target);
    error_raise(&error, b->safe);
    return NULL;
}

static bool has_step(const box *b)
{
    for (uint32_t axis = 0; axis < b->rank; axis++)
        if (b->step[axis] != 1) return true;
    return false;
}

static PyObject *make_array(framework kind, owner *self, const tare_tensor *at, const box *b,
                            tare_device *device)
{
    tare_error error;
    uint64_t size;
    if (array_check(kind, b->dtype) != 0) return NULL;
    if (tare_slice_size(self->model, at, b->start, b->stop, &size, &error) != TARE_OK)
        return error_raise(&error, b->safe);
    const tare_slice part = {b->start, b->stop};
    memory *target = device != NULL ? load_slice(self, at, &part, device)
                     : has_step(b)  ? step_read(self, at, b, size)
                                    : read_plain(self, at, b, size);
    if (target == NULL) return NULL;
    piece from = {.base = (PyObject *)target,
                  .data = target->data,
                  .shape = b->made,
                  .size = target->size,
                  .rank = b->made_rank,
                  .dtype = b->dtype,
                  .writable = true};
    if (device != NULL) load_place(&from, target->block, 0);
    PyObject *made = array_make(kind, &from);
    Py_DECREF(target);
    return made;
}

static bool is_basic(PyObject *item)
{
    return item == Py_Ellipsis || item == Py_None || PySlice_Check(item) ||
           (is_integer(item) && !PyBool_Check(item));
}

/* safetensors leaves the index to torch: lists, masks and tensors are some, too. */
static bool is_for_torch(PyObject *key)
{
    if (!PyTuple_Check(key)) return !is_basic(key);
    for (Py_ssize_t i = 0; i < PyTuple_Size(key); i++)
        if (!is_basic(PyTuple_GetItem(key, i))) return true;
    return false;
}

static PyObject *index_by_torch(owner *self, const tare_tensor *at, PyObject *key)
{
    PyObject *whole = array_of(FRAMEWORK_TORCH, self, at);
    PyObject *made = whole != NULL ? PyObject_GetItem(whole, key) : NULL;
    Py_XDECREF(whole);
    return made;
}

/* Takes the key; 0, or an exception. */
static int take(box *b, const owner *self, const tare_tensor *at, PyObject *key)
{
    const tare_info info = tare_describe(self->model, at);
    b->rank = info.rank;
    b->dtype = info.dtype;
    b->safe = self->safe;
    if (info.rank > RANK_MAX) {
        PyErr_Format(PyExc_ValueError, "a tensor of more than 64 dimensions");
        return -1;
    }
    for (uint32_t i = 0; i < info.rank; i++) b->shape[i] = info.shape[i];
    PyObject *items = key;
    if (PyTuple_Check(key))
        Py_INCREF(items);
    else if (b->name.data != NULL && PyList_Check(key))
        items = PyList_AsTuple(key);
    else
        items = PyTuple_Pack(1, key);
    int failed = items != NULL ? take_key(b, items) : -1;
    Py_XDECREF(items);
    if (failed == 0 && b->name.data != NULL && has_step(b))
        return fail(b, "%R: a load takes no steps", key, 0);
    if (failed == 0 && info.rank > 0 && b->step[info.rank - 1] != 1 && !array_is_plain(info.dtype))
        return fail(b, "%R: the last dimension has no steps where elements are less than a byte",
                    key, 0);
    return failed;
}

PyObject *slice_read(framework kind, owner *self, const tare_tensor *at, PyObject *key,
                     tare_device *device, bool *host)
{
    box b = {.rank = 0};
    *host = true;
    if (kind == FRAMEWORK_TORCH && self->safe && is_for_torch(key))
        return index_by_torch(self, at, key);
    if (take(&b, self, at, key) != 0) return NULL;
    *host = device == NULL || has_step(&b);
    return make_array(kind, self, at, &b, *host ? NULL : device);
}

int slice_take(slice_part *made, const owner *self, const tare_tensor *at, PyObject *key)
{
    tare_error error;
    uint64_t size;
    box b = {.name = tare_name(self->model, at)};
    if (take(&b, self, at, key) != 0) return -1;
    if (tare_slice_size(self->model, at, b.start, b.stop, &size, &error) != TARE_OK) {
        error_raise(&error, self->safe);
        return -1;
    }
    /* A shape may grow where it comes from an index file. */
    const bool indexed = tare_index_status(self->model, NULL) == TARE_OK;
    const size_t room = indexed ? RANK_MAX : b.rank;
    uint64_t *numbers = PyMem_Malloc((2 * room + b.made_rank + 1) * sizeof *numbers);
    if (numbers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *made = (slice_part){numbers, numbers + room, numbers + 2 * room, b.made_rank};
    memcpy(made->start, b.start, room * sizeof *numbers);
    memcpy(made->stop, b.stop, room * sizeof *numbers);
    memcpy(made->shape, b.made, b.made_rank * sizeof *numbers);
    return 0;
}
