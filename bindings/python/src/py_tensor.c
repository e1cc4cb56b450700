#include "tarepy.h"

static PyTypeObject *tensor_type;

PyObject *tensor_new(owner *of, const tare_tensor *at)
{
    tensor *self = object_new(tensor_type);
    if (self == NULL) return NULL;
    self->owner = owner_keep(of);
    self->at = at;
    return (PyObject *)self;
}

bool tensor_is(PyObject *object)
{
    return Py_TYPE(object) == tensor_type;
}

static void tensor_free(PyObject *object)
{
    Py_DECREF(((tensor *)object)->owner);
    object_free(object);
}

static tare_info describe(PyObject *object)
{
    const tensor *self = (const tensor *)object;
    return tare_describe(self->owner->model, self->at);
}

/* ------------------------------------------------------------------------------------------------
 * Facts
 */

static PyObject *get_name(PyObject *self, void *unused)
{
    (void)unused;
    const tare_info info = describe(self);
    return text_decode(info.name, info.name_size);
}

static PyObject *get_dtype(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(dtype_text(describe(self).dtype));
}

static PyObject *get_shape(PyObject *self, void *unused)
{
    (void)unused;
    const tare_info info = describe(self);
    return array_shape(info.shape, info.rank);
}

static PyObject *get_ndim(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(describe(self).rank);
}

static PyObject *get_nbytes(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(describe(self).size);
}

static PyObject *get_offset(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(describe(self).offset);
}

static PyObject *get_shard(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(describe(self).shard);
}

static PyObject *get_raw(PyObject *object, void *unused)
{
    (void)unused;
    const tensor *self = (const tensor *)object;
    PyObject *bytes = tensor_new(self->owner, self->at);
    if (bytes == NULL) return NULL;
    ((tensor *)bytes)->raw = true;
    PyObject *view = PyMemoryView_FromObject(bytes);
    Py_DECREF(bytes);
    return view;
}

static PyObject *represent(PyObject *self)
{
    PyObject *name = get_name(self, NULL), *shape = get_shape(self, NULL), *text = NULL;
    if (name != NULL && shape != NULL)
        text = PyUnicode_FromFormat("<tare.Tensor %R: %s %R>", name,
                                    dtype_text(describe(self).dtype), shape);
    Py_XDECREF(name);
    Py_XDECREF(shape);
    return text;
}

/* ------------------------------------------------------------------------------------------------
 * Bytes
 */

/* Letters of struct (numpy's for complex numbers); NULL where there is none. */
static const char *format_of(tare_dtype dtype)
{
    switch (dtype) {
    case TARE_DTYPE_BOOL: return "?";
    case TARE_DTYPE_U8: return "B";
    case TARE_DTYPE_I8: return "b";
    case TARE_DTYPE_I16: return "h";
    case TARE_DTYPE_U16: return "H";
    case TARE_DTYPE_F16: return "e";
    case TARE_DTYPE_I32: return "i";
    case TARE_DTYPE_U32: return "I";
    case TARE_DTYPE_F32: return "f";
    case TARE_DTYPE_C64: return "Zf";
    case TARE_DTYPE_F64: return "d";
    case TARE_DTYPE_I64: return "q";
    case TARE_DTYPE_U64: return "Q";
    default: return NULL;
    }
}

static int refuse_buffer(Py_buffer *view, const char *why, const tare_info *info)
{
    view->obj = NULL;
    PyErr_Format(PyExc_BufferError, why, dtype_text(info->dtype));
    return -1;
}

/* Shape and strides of the view, in memory of its own. */
static int fill_shape(Py_buffer *view, const tare_info *info, bool bytes)
{
    Py_ssize_t *sizes = PyMem_Malloc((2 * (size_t)view->ndim + 1) * sizeof *sizes);
    if (sizes == NULL) return -1;
    view->internal = view->shape = sizes;
    view->strides = sizes + view->ndim;
    Py_ssize_t stride = view->itemsize;
    for (int i = view->ndim; i-- > 0;) {
        sizes[i] = bytes ? view->len : (Py_ssize_t)info->shape[i];
        view->strides[i] = stride;
        stride = view->len != 0 ? stride * sizes[i] : view->itemsize;
    }
    return 0;
}

static int get_buffer(PyObject *object, Py_buffer *view, int flags)
{
    const tensor *self = (const tensor *)object;
    tare_info info = describe(object);
    const char *format = self->raw ? "B" : format_of(info.dtype);
    const void *data = tare_data_at(self->owner->model, self->at, 0, (size_t)info.size);
    bool bytes = self->raw || format == NULL;
    piece settled = {
        .shape = info.shape, .size = info.size, .rank = info.rank, .dtype = info.dtype};
    uint64_t shape[RANK_MAX];
    if ((flags & PyBUF_WRITABLE) != 0) return refuse_buffer(view, "a tensor is read-only", &info);
    if (data == NULL)
        return refuse_buffer(view, "the bytes are not in memory; tobytes() reads them", &info);
    /* numpy goes on to __array__ when it is refused here. */
    if (format == NULL && (flags & PyBUF_FORMAT) != 0)
        return refuse_buffer(view, "buffers have no format for %s: Tensor.raw has the bytes",
                             &info);
    if (info.size > PY_SSIZE_T_MAX || (!bytes && info.rank > PyBUF_MAX_NDIM))
        return refuse_buffer(view, "the tensor is too large for a buffer", &info);
    if (!bytes && piece_settle(&settled, shape) != 0) {
        view->obj = NULL;
        return -1;
    }
    info.shape = settled.shape;
    for (uint32_t i = 0; !bytes && i < info.rank; i++)
        if (info.shape[i] > PY_SSIZE_T_MAX)
            return refuse_buffer(view, "the shape is too large for a buffer", &info);
    *view =
        (Py_buffer){.buf = (void *)(uintptr_t)data, .len = (Py_ssize_t)info.size, .readonly = 1};
    view->itemsize = bytes ? 1 : (Py_ssize_t)(tare_dtype_bits(info.dtype) / 8);
    view->ndim = bytes ? 1 : (int)info.rank;
    if (fill_shape(view, &info, bytes) != 0) {
        view->obj = NULL;
        PyErr_NoMemory();
        return -1;
    }
    if ((flags & PyBUF_ND) == 0) view->shape = NULL;
    if ((flags & PyBUF_STRIDES) != PyBUF_STRIDES) view->strides = NULL;
    if ((flags & PyBUF_FORMAT) != 0) view->format = (char *)(uintptr_t)format;
    Py_INCREF(object);
    view->obj = object;
    return 0;
}

static void release_buffer(PyObject *self, Py_buffer *view)
{
    (void)self;
    PyMem_Free(view->internal);
}

static PyObject *to_numpy(PyObject *object, PyObject *unused)
{
    (void)unused;
    const tensor *self = (const tensor *)object;
    return array_of(FRAMEWORK_NUMPY, self->owner, self->at);
}

static PyObject *to_torch(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"copy", NULL};
    int copy = 0;
    const tensor *self = (const tensor *)object;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p:torch", words, &copy)) return NULL;
    return copy ? array_copy(FRAMEWORK_TORCH, self->owner, self->at)
                : array_of(FRAMEWORK_TORCH, self->owner, self->at);
}

/* array.astype(dtype, copy=True) */
static PyObject *convert(PyObject *array, PyObject *dtype)
{
    PyObject *method = PyObject_GetAttrString(array, "astype"), *made = NULL;
    if (method != NULL) made = PyObject_CallFunctionObjArgs(method, dtype, NULL);
    Py_XDECREF(method);
    return made;
}

/* What numpy asks for when a buffer is refused. */
static PyObject *to_array(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"dtype", "copy", NULL};
    PyObject *dtype = Py_None, *copy = Py_None;
    const tensor *self = (const tensor *)object;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:__array__", words, &dtype, &copy))
        return NULL;
    int wanted = copy != Py_None ? PyObject_IsTrue(copy) : -1;
    if (PyErr_Occurred()) return NULL;
    bool there = tare_data(self->owner->model, self->at) != NULL;
    if (wanted == 0 && !there) {
        PyErr_SetString(PyExc_ValueError, "bytes that are not in memory take a copy");
        return NULL;
    }
    PyObject *array = to_numpy(object, NULL);
    if (array == NULL) return NULL;
    PyObject *own = PyObject_GetAttrString(array, "dtype");
    int same = own == NULL ? -1 : dtype == Py_None || PyObject_RichCompareBool(own, dtype, Py_EQ);
    PyObject *made = NULL;
    if (PyErr_Occurred())
        made = NULL;
    else if (wanted == 0 && !same)
        PyErr_SetString(PyExc_ValueError, "another dtype takes a copy");
    else if (wanted == 1 || !same)
        made = convert(array, same ? own : dtype);
    else {
        Py_INCREF(array);
        made = array;
    }
    Py_XDECREF(own);
    Py_DECREF(array);
    return made;
}

static PyObject *to_bytes(PyObject *object, PyObject *unused)
{
    (void)unused;
    const tensor *self = (const tensor *)object;
    uint64_t size = describe(object).size;
    tare_error error;
    tare_status status;
    if (size > PY_SSIZE_T_MAX) return PyErr_NoMemory();
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (made == NULL) return NULL;
    char *target = PyBytes_AsString(made);
    Py_BEGIN_ALLOW_THREADS status =
        tare_read(self->owner->model, self->at, target, (size_t)size, &error);
    Py_END_ALLOW_THREADS if (status == TARE_OK) return made;
    Py_DECREF(made);
    return error_raise(&error, self->owner->safe);
}

static PyObject *get_item(PyObject *object, PyObject *key)
{
    const tensor *self = (const tensor *)object;
    bool host;
    return slice_read(FRAMEWORK_NUMPY, self->owner, self->at, key, NULL, &host);
}

static PyObject *dlpack(PyObject *object, PyObject *args, PyObject *kwargs)
{
    const tensor *self = (const tensor *)object;
    return dlpack_export(self->owner, self->at, args, kwargs);
}

static PyObject *dlpack_device(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return Py_BuildValue("(ii)", 1, 0);
}

/* ------------------------------------------------------------------------------------------------
 * The type
 */

static PyGetSetDef tensor_members[] = {
    {"name", get_name, NULL, "Its name.", NULL},
    {"dtype", get_dtype, NULL, "Its dtype as files of safetensors and GGUF have it: 'BF16'.", NULL},
    {"shape", get_shape, NULL, "Sizes, the slowest dimension first.", NULL},
    {"ndim", get_ndim, NULL, "The number of dimensions.", NULL},
    {"nbytes", get_nbytes, NULL, "Its size in bytes.", NULL},
    {"offset", get_offset, NULL, "Bytes from the start of its file.", NULL},
    {"shard", get_shard, NULL, "The number of its file in Model.shards.", NULL},
    {"raw", get_raw, NULL, "Its bytes as a memoryview, whatever the dtype; nothing is copied.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef tensor_methods[] = {
    {"numpy", to_numpy, METH_NOARGS,
     TAREPY_DOC("numpy($self, /)", "A read-only array of numpy where the bytes lie. Nothing is "
                                   "copied, unless the file is not mapped.")},
    {"torch", TAREPY_WORDS(to_torch),
     TAREPY_DOC("torch($self, /, *, copy=False)",
                "A tensor of torch where the bytes lie, if it can be made there. What is written "
                "to it is\nseen by every array and tensor of that name from this model, and never "
                "in the file; with\ncopy=True it is one of its own.")},
    {"tobytes", to_bytes, METH_NOARGS,
     TAREPY_DOC("tobytes($self, /)", "Its bytes, read from the file.")},
    {"__array__", TAREPY_WORDS(to_array),
     TAREPY_DOC("__array__($self, /, dtype=None, copy=None)", "What numpy.asarray() calls.")},
    {"__dlpack__", TAREPY_WORDS(dlpack),
     TAREPY_DOC("__dlpack__($self, /, *, stream=None, max_version=None, dl_device=None, copy=None)",
                "What from_dlpack() calls. Who asks for version 1 gets a capsule that is marked "
                "read-only,\nothers one of a copy.")},
    {"__dlpack_device__", dlpack_device, METH_NOARGS,
     TAREPY_DOC("__dlpack_device__($self, /)", "The CPU, as DLPack numbers devices.")},
    {"__reduce__", object_refuse_pickle, METH_NOARGS,
     TAREPY_DOC("__reduce__($self, /)", "Raises: a part of an open file cannot be pickled.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot tensor_slots[] = {
    {Py_tp_doc, (void *)"One tensor of a model: its facts, and ways to its bytes. Indices as numpy "
                        "has them\nread what they span: tensor[2:4, :8]."},
    {Py_tp_new, (void *)object_refuse_new},
    {Py_tp_dealloc, (void *)tensor_free},
    {Py_tp_repr, (void *)represent},
    {Py_tp_getset, tensor_members},
    {Py_tp_methods, tensor_methods},
    {Py_mp_subscript, (void *)get_item},
    {Py_bf_getbuffer, (void *)get_buffer},
    {Py_bf_releasebuffer, (void *)release_buffer},
    {0, NULL},
};

static PyType_Spec tensor_spec = {
    "tare._tare.Tensor", sizeof(tensor), 0, Py_TPFLAGS_DEFAULT, tensor_slots,
};

int tensor_add_types(void)
{
    return module_add_type(&tensor_spec, &tensor_type);
}
