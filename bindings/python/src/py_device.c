/* Devices to load to, and tensors in their memory. */
#include "tarepy.h"

#include <stdlib.h>
#include <string.h>

static PyTypeObject *device_type, *tensor_type;

/* Closed, it lives on until the last load to it has ended. */
typedef struct device {
    PyObject_HEAD tare_device *device; /* NULL once that is so */
    size_t loads;                      /* under way */
    bool closed;
} device;

/* ------------------------------------------------------------------------------------------------
 * What a call was given
 */

static tare_device *open_name(const char *name, const tare_device_options *options)
{
    tare_device *made;
    tare_error error;
    tare_status status;
    Py_BEGIN_ALLOW_THREADS status = tare_device_open(name, options, &made, &error);
    Py_END_ALLOW_THREADS if (status != TARE_OK) error_raise(&error, false);
    return made;
}

static void close_unused(device *self)
{
    if (!self->closed || self->loads != 0) return;
    tare_device_close(self->device);
    self->device = NULL;
}

/* Text that names a device: of a str, a number of a GPU, a torch.device. A new reference. */
static PyObject *name_of(PyObject *object)
{
    if (PyLong_Check(object)) return PyUnicode_FromFormat("cuda:%S", object);
    return PyObject_Str(object);
}

static device *open_device(PyTypeObject *type, const char *name, const tare_device_options *options)
{
    tare_device *opened = open_name(name, options);
    device *self = opened != NULL ? object_new(type) : NULL;
    if (self != NULL)
        self->device = opened;
    else
        tare_device_close(opened);
    return self;
}

static device_use use_of(device *self)
{
    Py_INCREF((PyObject *)self);
    self->loads++;
    return (device_use){self->device, (PyObject *)self};
}

int device_begin(device_use *use, PyObject *object)
{
    *use = (device_use){NULL, NULL};
    if (object == NULL || object == Py_None) return 0;
    if (Py_TYPE(object) == device_type) {
        device *self = (device *)object;
        if (self->closed)
            PyErr_SetString(PyExc_ValueError, "the device was closed");
        else
            *use = use_of(self);
        return self->closed ? -1 : 0;
    }
    PyObject *text = name_of(object);
    const char *name = text != NULL ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
    bool host = name != NULL && strcmp(name, "cpu") == 0;
    device *made = name != NULL && !host ? open_device(device_type, name, NULL) : NULL;
    if (made != NULL) {
        *use = use_of(made);
        Py_DECREF((PyObject *)made);
    }
    Py_XDECREF(text);
    return host || made != NULL ? 0 : -1;
}

device_use device_again(const device_use *use)
{
    return use->kept != NULL ? use_of((device *)use->kept) : *use;
}

void device_end(device_use *use)
{
    device *self = (device *)use->kept;
    *use = (device_use){NULL, NULL};
    if (self == NULL) return;
    self->loads--;
    close_unused(self);
    Py_DECREF((PyObject *)self);
}

/* ------------------------------------------------------------------------------------------------
 * Device
 */

static PyObject *device_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"name", "staging", NULL};
    PyObject *name, *staging = Py_None;
    tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:Device", words, &name, &staging))
        return NULL;
    if (staging != Py_None) {
        options.staging_size_max = PyLong_AsUnsignedLongLong(staging);
        if (PyErr_Occurred()) return NULL;
    }
    PyObject *text = name_of(name);
    const char *bytes = text != NULL ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
    device *self = bytes != NULL ? open_device(type, bytes, &options) : NULL;
    Py_XDECREF(text);
    return (PyObject *)self;
}

static void device_free(PyObject *object)
{
    tare_device_close(((device *)object)->device);
    object_free(object);
}

static PyObject *device_close(PyObject *object, PyObject *unused)
{
    (void)unused;
    device *self = (device *)object;
    self->closed = true;
    close_unused(self);
    Py_RETURN_NONE;
}

static PyObject *device_enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *device_measure(PyObject *object, PyObject *unused)
{
    (void)unused;
    device_use use;
    tare_error error;
    tare_status status;
    double rate;
    if (device_begin(&use, object) != 0) return NULL;
    Py_BEGIN_ALLOW_THREADS status = tare_device_measure(use.device, 0, &rate, &error);
    Py_END_ALLOW_THREADS device_end(&use);
    if (status != TARE_OK) return error_raise(&error, false);
    return PyFloat_FromDouble(rate);
}

enum { FACT_LABEL, FACT_NAME, FACT_STAGING };

static PyObject *device_fact(PyObject *object, void *which)
{
    const device *self = (const device *)object;
    if (self->device == NULL) return PyErr_Format(PyExc_ValueError, "the device was closed");
    tare_device_info info = tare_device_describe(self->device);
    if ((intptr_t)which == FACT_STAGING) return PyLong_FromUnsignedLongLong(info.staging_size);
    tare_string text = (intptr_t)which == FACT_LABEL ? info.label : info.name;
    return text_decode(text.data, text.size);
}

static PyObject *device_repr(PyObject *object)
{
    const device *self = (const device *)object;
    if (self->device == NULL) return PyUnicode_FromString("<tare.Device, closed>");
    tare_device_info info = tare_device_describe(self->device);
    return PyUnicode_FromFormat("<tare.Device %s: %s>", info.label.data, info.name.data);
}

/* ------------------------------------------------------------------------------------------------
 * DeviceTensor
 */

/* `piece.base` is the block's memory, `piece.shape` the tensor's own. */
typedef struct device_tensor {
    PyObject_HEAD piece piece;
} device_tensor;

PyObject *device_tensor_make(const piece *from)
{
    uint64_t *shape = malloc((from->rank + 1) * sizeof *shape);
    if (shape == NULL) return PyErr_NoMemory();
    device_tensor *self = object_new(tensor_type);
    if (self == NULL) {
        free(shape);
        return NULL;
    }
    if (from->rank != 0) memcpy(shape, from->shape, from->rank * sizeof *shape);
    self->piece = *from;
    self->piece.shape = shape;
    Py_INCREF(from->base);
    return (PyObject *)self;
}

static void tensor_free(PyObject *object)
{
    device_tensor *self = (device_tensor *)object;
    free((void *)(uintptr_t)self->piece.shape);
    Py_DECREF(self->piece.base);
    object_free(object);
}

enum { TENSOR_DTYPE, TENSOR_SHAPE, TENSOR_NBYTES, TENSOR_POINTER, TENSOR_DEVICE };

static PyObject *tensor_fact(PyObject *object, void *which)
{
    const piece *from = &((const device_tensor *)object)->piece;
    switch ((intptr_t)which) {
    case TENSOR_DTYPE: return PyUnicode_FromString(dtype_text(from->dtype));
    case TENSOR_SHAPE: return array_shape(from->shape, from->rank);
    case TENSOR_NBYTES: return PyLong_FromUnsignedLongLong(from->size);
    case TENSOR_POINTER: return PyLong_FromUnsignedLongLong((uintptr_t)from->data);
    default: return PyUnicode_FromFormat("cuda:%d", from->device_number);
    }
}

static PyObject *tensor_dlpack(PyObject *object, PyObject *args, PyObject *kwargs)
{
    return dlpack_export_device(&((const device_tensor *)object)->piece, args, kwargs);
}

static PyObject *tensor_dlpack_device(PyObject *object, PyObject *unused)
{
    (void)unused;
    const piece *from = &((const device_tensor *)object)->piece;
    return Py_BuildValue("(ii)", from->device_kind, from->device_number);
}

static PyObject *tensor_torch(PyObject *object, PyObject *unused)
{
    (void)unused;
    return array_make(FRAMEWORK_TORCH, &((const device_tensor *)object)->piece);
}

static PyObject *tensor_repr(PyObject *object)
{
    const piece *from = &((const device_tensor *)object)->piece;
    PyObject *shape = array_shape(from->shape, from->rank);
    if (shape == NULL) return NULL;
    PyObject *made = PyUnicode_FromFormat("<tare.DeviceTensor %s %R, cuda:%d>",
                                          dtype_text(from->dtype), shape, from->device_number);
    Py_DECREF(shape);
    return made;
}

/* ------------------------------------------------------------------------------------------------
 * Types
 */

static PyMethodDef device_methods[] = {
    {"measure", device_measure, METH_NOARGS,
     TAREPY_DOC("measure($self, /)",
                "Bytes a second that the link to it carries at most, measured now.")},
    {"close", device_close, METH_NOARGS,
     TAREPY_DOC("close($self, /)", "Gives it back when the last load to it has ended.")},
    {"__enter__", device_enter, METH_NOARGS, TAREPY_DOC("__enter__($self, /)", "The device.")},
    {"__exit__", device_close, METH_VARARGS,
     TAREPY_DOC("__exit__($self, kind, error, trace, /)", "Closes it.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef device_facts[] = {
    {"label", device_fact, NULL, "What it is called in arguments: 'cuda:0'.", (void *)FACT_LABEL},
    {"name", device_fact, NULL, "What the driver calls it.", (void *)FACT_NAME},
    {"staging", device_fact, NULL, "Bytes of pinned memory that it holds now.",
     (void *)FACT_STAGING},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot device_slots[] = {
    {Py_tp_doc,
     (void *)TAREPY_DOC("Device(name, *, staging=None)",
                        "A GPU to load to; keeps its pinned memory for the next load.\n\n"
                        "name: 'cuda:0', a number, a torch.device.\n"
                        "staging: the most bytes of pinned memory.")},
    {Py_tp_new, (void *)device_new},
    {Py_tp_dealloc, (void *)device_free},
    {Py_tp_methods, device_methods},
    {Py_tp_getset, device_facts},
    {Py_tp_repr, (void *)device_repr},
    {0, NULL},
};

static PyType_Spec device_spec = {
    "tare._tare.Device", sizeof(device), 0, Py_TPFLAGS_DEFAULT, device_slots,
};

static PyMethodDef tensor_methods[] = {
    {"torch", tensor_torch, METH_NOARGS,
     TAREPY_DOC("torch($self, /)", "A tensor of torch over the same memory.")},
    {"__dlpack__", TAREPY_WORDS(tensor_dlpack),
     TAREPY_DOC("__dlpack__($self, /, *, stream=None, max_version=None, dl_device=None, copy=None)",
                "What from_dlpack() calls.")},
    {"__dlpack_device__", tensor_dlpack_device, METH_NOARGS,
     TAREPY_DOC("__dlpack_device__($self, /)", "Its device, as DLPack numbers devices.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef tensor_facts[] = {
    {"dtype", tensor_fact, NULL, "Its dtype, as in Tensor.dtype.", (void *)TENSOR_DTYPE},
    {"shape", tensor_fact, NULL, "Sizes, the slowest dimension first.", (void *)TENSOR_SHAPE},
    {"nbytes", tensor_fact, NULL, "Its size in bytes.", (void *)TENSOR_NBYTES},
    {"ptr", tensor_fact, NULL, "Its address in the device's memory.", (void *)TENSOR_POINTER},
    {"device", tensor_fact, NULL, "The device: 'cuda:0'.", (void *)TENSOR_DEVICE},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot tensor_slots[] = {
    {Py_tp_doc, (void *)"A tensor in the memory of a GPU, which Model.load() made."},
    {Py_tp_new, (void *)object_refuse_new},
    {Py_tp_dealloc, (void *)tensor_free},
    {Py_tp_methods, tensor_methods},
    {Py_tp_getset, tensor_facts},
    {Py_tp_repr, (void *)tensor_repr},
    {0, NULL},
};

static PyType_Spec tensor_spec = {
    "tare._tare.DeviceTensor", sizeof(device_tensor), 0, Py_TPFLAGS_DEFAULT, tensor_slots,
};

int device_add_types(void)
{
    return module_add_type(&device_spec, &device_type) == 0
               ? module_add_type(&tensor_spec, &tensor_type)
               : -1;
}
