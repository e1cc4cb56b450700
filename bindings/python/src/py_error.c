/* The exceptions themselves are classes of Python, in tare/errors.py and tare/safetensors. */
#include "tarepy.h"

#include <errno.h>

PyObject *error_raise_named(const char *name, bool safe, PyObject *message)
{
    PyObject *class = module_attribute(safe ? "tare.safetensors._errors" : "tare.errors", name);
    if (class != NULL) PyErr_SetObject(class, message);
    Py_XDECREF(class);
    return NULL;
}

/* Which class says it best. */
static const char *class_of(const tare_error *error)
{
    switch (error->status) {
    case TARE_E_MEMORY: return "OutOfMemoryError";
    case TARE_E_EXISTS: return "FilePresentError";
    case TARE_E_OPEN:
    case TARE_E_WRITE:
    case TARE_E_STALE:
        if (error->system_error == ENOENT || error->system_error == ENOTDIR)
            return "FileMissingError";
        if (error->system_error == EACCES || error->system_error == EPERM) return "FileAccessError";
        return "FileError";
    case TARE_E_READ:
    case TARE_E_MAP:
    case TARE_E_CHANGED: return "FileError";
    case TARE_E_ARGUMENT:
    case TARE_E_TARGET_SIZE:
    case TARE_E_LIMIT:
    case TARE_E_UNSUPPORTED: return "ArgumentError";
    case TARE_E_CANCELLED: return "CancelledError";
    default: return "FormatError";
    }
}

static int set(PyObject *to, const char *name, PyObject *value)
{
    int failed = value == NULL || PyObject_SetAttrString(to, name, value) != 0;
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

static PyObject *or_none(bool there, uint64_t value)
{
    if (there) return PyLong_FromUnsignedLongLong(value);
    Py_RETURN_NONE;
}

PyObject *error_object(const tare_error *error, bool safe)
{
    const char *name = class_of(error);
    PyObject *class = module_attribute(safe ? "tare.safetensors._errors" : "tare.errors", name);
    PyObject *made = class != NULL ? PyObject_CallFunction(class, "s", error->message) : NULL;
    Py_XDECREF(class);
    if (made != NULL &&
        set(made, "status", PyUnicode_FromString(tare_status_name(error->status))) == 0 &&
        set(made, "offset", or_none(error->offset != TARE_NO_OFFSET, error->offset)) == 0 &&
        set(made, "shard", or_none(error->shard != TARE_NO_SHARD, error->shard)) == 0 &&
        (error->system_error == 0 || set(made, "errno", PyLong_FromLong(error->system_error)) == 0))
        return made;
    Py_XDECREF(made);
    return NULL;
}

PyObject *error_raise(const tare_error *error, bool safe)
{
    PyObject *made = error_object(error, safe);
    if (made != NULL) PyErr_SetObject((PyObject *)Py_TYPE(made), made);
    Py_XDECREF(made);
    return NULL;
}

/* "; did you mean 'a' or 'b'?" */
static PyObject *near_names(const tare_model *in, PyObject *name)
{
    tare_string asked, near[TARE_SUGGEST_COUNT];
    PyObject *kept, *text = PyUnicode_FromString("");
    if (text == NULL || text_encode(name, &asked, &kept) != 0) return text;
    size_t count = tare_suggest(in, asked.data, asked.size, 0, near);
    Py_XDECREF(kept);
    for (size_t i = 0; text != NULL && i < count; i++) {
        PyObject *found = text_decode(near[i].data, near[i].size);
        const char *before = i == 0 ? "; did you mean " : i + 1 < count ? ", " : " or ";
        PyObject *longer =
            found != NULL ? PyUnicode_FromFormat("%U%s%R", text, before, found) : NULL;
        Py_XDECREF(found);
        Py_DECREF(text);
        text = longer;
    }
    if (text == NULL || count == 0) return text;
    PyObject *asks = PyUnicode_FromFormat("%U?", text);
    Py_DECREF(text);
    return asks;
}

PyObject *error_raise_missing(const owner *in, PyObject *name)
{
    PyObject *near = near_names(in->model, name);
    if (near == NULL) return NULL;
    PyObject *text = PyUnicode_FromFormat("no tensor is named %R%U", name, near);
    Py_DECREF(near);
    if (text != NULL) error_raise_named("MissingTensorError", in->safe, text);
    Py_XDECREF(text);
    return NULL;
}

PyObject *error_raise_closed(bool safe)
{
    PyObject *text = PyUnicode_FromString(safe ? "File is closed" : "the model is closed");
    if (text != NULL) error_raise_named("ClosedError", safe, text);
    Py_XDECREF(text);
    return NULL;
}
