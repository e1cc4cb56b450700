/*
 * save(path or None, [(name, dtype, shape, source)], {key: value}, alignment): what tare/saving.py
 * makes of the arrays of a framework. A source is an address and a size, or a Tensor.
 */
#include "tarepy.h"

typedef struct saving {
    tare_save_tensor *tensors;
    tare_save_metadata *metadata;
    uint64_t *shapes; /* of all tensors, one behind the other */
    size_t count, shape_count;
    PyObject *kept; /* a list of what the above borrows */
} saving;

static int keep(saving *s, PyObject *object)
{
    return object == NULL ? 0 : PyList_Append(s->kept, object);
}

/* The bytes of a str, which live as long as the saving. */
static int take_text(saving *s, PyObject *object, const char **data, size_t *size)
{
    tare_string text;
    PyObject *made;
    if (text_encode(object, &text, &made) != 0) return -1;
    int failed = keep(s, object) != 0 || keep(s, made) != 0;
    Py_XDECREF(made);
    *data = text.data;
    *size = text.size;
    return failed ? -1 : 0;
}

static int take_shape(saving *s, PyObject *shape, tare_save_tensor *to)
{
    Py_ssize_t rank = PyTuple_Size(shape);
    if (rank < 0) return -1;
    to->shape = s->shapes + s->shape_count;
    to->rank = (uint32_t)rank;
    for (Py_ssize_t i = 0; i < rank; i++) {
        s->shapes[s->shape_count] = PyLong_AsUnsignedLongLong(PyTuple_GetItem(shape, i));
        if (PyErr_Occurred()) return -1;
        s->shape_count++;
    }
    return 0;
}

static int take_tensor(saving *s, PyObject *spec, tare_save_tensor *to)
{
    PyObject *name, *dtype, *shape, *source;
    tare_string text;
    PyObject *made;
    if (!PyArg_ParseTuple(spec, "OOO!O", &name, &dtype, &PyTuple_Type, &shape, &source) ||
        take_text(s, name, &to->name, &to->name_size) != 0 || keep(s, source) != 0)
        return -1;
    if (tensor_is(source)) {
        to->model = ((tensor *)source)->owner->model;
        to->tensor = ((tensor *)source)->at;
        return 0;
    }
    if (text_encode(dtype, &text, &made) != 0) return -1;
    to->dtype = tare_dtype_find(text.data, text.size);
    Py_XDECREF(made);
    if (to->dtype == 0) {
        PyErr_Format(PyExc_ValueError, "tensor %R: no dtype %R", name, dtype);
        return -1;
    }
    unsigned long long address, size;
    if (take_shape(s, shape, to) != 0 || !PyArg_ParseTuple(source, "KK", &address, &size))
        return -1;
    to->data = (const void *)(uintptr_t)address;
    to->size = (size_t)size;
    if (to->size != size || (uintptr_t)address != address) { /* where either has 32 bits */
        PyErr_Format(PyExc_ValueError, "tensor %R: %llu bytes are not in memory", name, size);
        return -1;
    }
    if (to->data != NULL || size == 0) return 0;
    PyErr_Format(PyExc_ValueError, "tensor %R: %llu bytes at no address", name, size);
    return -1;
}

static int take_tensors(saving *s, PyObject *specs)
{
    Py_ssize_t count = PyList_Size(specs), ranks = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *spec = PyList_GetItem(specs, i);
        PyObject *shape = PyTuple_Check(spec) ? PyTuple_GetItem(spec, 2) : NULL;
        if (shape == NULL || !PyTuple_Check(shape)) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a spec has a shape");
            return -1;
        }
        ranks += PyTuple_Size(shape);
    }
    s->tensors = PyMem_Calloc((size_t)count + 1, sizeof *s->tensors);
    s->shapes = PyMem_Calloc((size_t)ranks + 1, sizeof *s->shapes);
    if (s->tensors == NULL || s->shapes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (; s->count < (size_t)count; s->count++)
        if (take_tensor(s, PyList_GetItem(specs, (Py_ssize_t)s->count), &s->tensors[s->count]) != 0)
            return -1;
    return 0;
}

static int take_metadata(saving *s, PyObject *metadata, tare_save_options *options)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    s->metadata = PyMem_Calloc((size_t)PyDict_Size(metadata) + 1, sizeof *s->metadata);
    if (s->metadata == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (PyDict_Next(metadata, &at, &key, &value)) {
        tare_save_metadata *to = &s->metadata[options->metadata_count++];
        if (take_text(s, key, &to->key.data, &to->key.size) != 0 ||
            take_text(s, value, &to->value.data, &to->value.size) != 0)
            return -1;
    }
    options->metadata = s->metadata;
    return 0;
}

static PyObject *save_bytes(const saving *s, const tare_save_options *options)
{
    tare_error error;
    uint64_t size;
    tare_status status = tare_save_bytes(s->tensors, s->count, options, NULL, 0, &size, &error);
    if (status != TARE_OK) return error_raise(&error, false);
    PyObject *made = size <= PY_SSIZE_T_MAX ? PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size)
                                            : PyErr_NoMemory();
    if (made == NULL) return NULL;
    char *target = PyBytes_AsString(made);
    Py_BEGIN_ALLOW_THREADS status =
        tare_save_bytes(s->tensors, s->count, options, target, (size_t)size, NULL, &error);
    Py_END_ALLOW_THREADS if (status == TARE_OK) return made;
    Py_DECREF(made);
    return error_raise(&error, false);
}

static PyObject *save_file(const saving *s, PyObject *path, const tare_save_options *options)
{
    tare_error error;
    tare_status status;
    PyObject *encoded;
    if (!PyUnicode_FSConverter(path, &encoded)) return NULL;
    const char *text = PyBytes_AsString(encoded);
    Py_BEGIN_ALLOW_THREADS status = tare_save(text, s->tensors, s->count, options, &error);
    Py_END_ALLOW_THREADS Py_DECREF(encoded);
    if (status != TARE_OK) return error_raise(&error, false);
    Py_RETURN_NONE;
}

/* Which sizes are right the library says. */
static int take_alignment(PyObject *object, size_t *alignment)
{
    *alignment = PyLong_AsSize_t(object);
    if (!PyErr_Occurred()) return 0;
    if (PyErr_ExceptionMatches(PyExc_OverflowError))
        PyErr_Format(PyExc_ValueError, "align is a power of two from 8 to 2 MiB, not %R", object);
    return -1;
}

PyObject *save_call(PyObject *module, PyObject *args)
{
    PyObject *path, *specs, *metadata, *alignment, *made = NULL;
    tare_save_options options = TARE_SAVE_OPTIONS_INIT;
    saving s = {0};
    (void)module;
    if (!PyArg_ParseTuple(args, "OO!O!O:save", &path, &PyList_Type, &specs, &PyDict_Type, &metadata,
                          &alignment) ||
        take_alignment(alignment, &options.alignment) != 0)
        return NULL;
    options.flags = TARE_SAVE_REPLACE;
    s.kept = PyList_New(0);
    if (s.kept != NULL && take_tensors(&s, specs) == 0 &&
        take_metadata(&s, metadata, &options) == 0)
        made = path == Py_None ? save_bytes(&s, &options) : save_file(&s, path, &options);
    PyMem_Free(s.tensors);
    PyMem_Free(s.shapes);
    PyMem_Free(s.metadata);
    Py_XDECREF(s.kept);
    return made;
}
