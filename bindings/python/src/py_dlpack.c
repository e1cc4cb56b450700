/*
 * DLPack: how frameworks hand tensors to each other. The structures are those of its version 1 and,
 * for callers that do not ask for that, of the time before. Memory of other devices is a matter of
 * `dl_tensor.device` and of a base that keeps it.
 */
#include "tarepy.h"

#include <stdlib.h>

typedef struct dl_tensor {
    void *data;
    struct {
        int32_t type, id;
    } device;
    int32_t rank;
    struct {
        uint8_t code, bits;
        uint16_t lanes;
    } dtype;
    int64_t *shape;
    int64_t *strides;
    uint64_t byte_offset;
} dl_tensor;

typedef struct dl_managed {
    dl_tensor tensor;
    void *context;
    void (*deleter)(struct dl_managed *self);
} dl_managed;

typedef struct dl_versioned {
    uint32_t major, minor;
    void *context;
    void (*deleter)(struct dl_versioned *self);
    uint64_t flags;
    dl_tensor tensor;
} dl_versioned;

enum { DEVICE_CPU = 1 };
enum { FLAG_READ_ONLY = 1, FLAG_COPIED = 2 };
enum {
    CODE_INT = 0,
    CODE_UINT = 1,
    CODE_FLOAT = 2,
    CODE_BFLOAT = 4,
    CODE_COMPLEX = 5,
    CODE_BOOL = 6
};

/* Codes of DLPack 1.1, by dtype; bits are those of the dtype. */
static const uint8_t codes[] = {
    [TARE_DTYPE_BOOL] = CODE_BOOL,   [TARE_DTYPE_U8] = CODE_UINT,   [TARE_DTYPE_I8] = CODE_INT,
    [TARE_DTYPE_F8_E5M2] = 12,       [TARE_DTYPE_F8_E4M3] = 10,     [TARE_DTYPE_F8_E8M0] = 14,
    [TARE_DTYPE_F8_E4M3FNUZ] = 11,   [TARE_DTYPE_F8_E5M2FNUZ] = 13, [TARE_DTYPE_I16] = CODE_INT,
    [TARE_DTYPE_U16] = CODE_UINT,    [TARE_DTYPE_F16] = CODE_FLOAT, [TARE_DTYPE_BF16] = CODE_BFLOAT,
    [TARE_DTYPE_I32] = CODE_INT,     [TARE_DTYPE_U32] = CODE_UINT,  [TARE_DTYPE_F32] = CODE_FLOAT,
    [TARE_DTYPE_C64] = CODE_COMPLEX, [TARE_DTYPE_F64] = CODE_FLOAT, [TARE_DTYPE_I64] = CODE_INT,
    [TARE_DTYPE_U64] = CODE_UINT,
};

/* One allocation: what is handed out, what it keeps alive, and its shape and strides behind. */
typedef struct export
{
    union {
        dl_managed managed;
        dl_versioned versioned;
    } as;
    PyObject *base;
    int64_t sizes[];
}
export;

/* Called by whoever has the tensor, on any thread, maybe without the GIL or after Python's end. */
static void release(export *self)
{
    if (Py_IsInitialized()) {
        PyGILState_STATE state = PyGILState_Ensure();
        Py_DECREF(self->base);
        PyGILState_Release(state);
    }
    free(self);
}

static void delete_managed(dl_managed *self)
{
    release(self->context);
}

static void delete_versioned(dl_versioned *self)
{
    release(self->context);
}

/* A capsule that nobody took keeps its name. */
static void drop_capsule(PyObject *capsule)
{
    static const char *const capsule_names[] = {"dltensor", "dltensor_versioned"};
    for (size_t i = 0; i < 2; i++) {
        if (!PyCapsule_IsValid(capsule, capsule_names[i])) continue;
        if (i == 0) {
            dl_managed *managed = PyCapsule_GetPointer(capsule, capsule_names[i]);
            managed->deleter(managed);
        } else {
            dl_versioned *versioned = PyCapsule_GetPointer(capsule, capsule_names[i]);
            versioned->deleter(versioned);
        }
    }
}

static void fill(dl_tensor *to, const piece *from, const uint64_t *shape, uint32_t rank, bool bytes,
                 int64_t *sizes)
{
    to->data = from->data;
    to->device.type = from->device_kind != 0 ? from->device_kind : DEVICE_CPU;
    to->device.id = from->device_number;
    to->rank = (int32_t)rank;
    to->dtype.code = bytes ? CODE_UINT : codes[from->dtype];
    to->dtype.bits = bytes ? 8 : (uint8_t)tare_dtype_bits(from->dtype);
    to->dtype.lanes = 1;
    to->shape = sizes;
    to->strides = sizes + rank;
    to->byte_offset = 0;
    int64_t stride = 1;
    for (uint32_t i = rank; i-- > 0;) {
        to->shape[i] = (int64_t)shape[i];
        to->strides[i] = stride;
        stride = from->size != 0 ? stride * to->shape[i] : 1;
    }
}

PyObject *dlpack_capsule(const piece *from, bool bytes, bool versioned)
{
    uint64_t byte_shape[64];
    const uint64_t *shape = from->shape;
    uint32_t rank = from->rank;
    if (rank > 64) return PyErr_Format(PyExc_ValueError, "a tensor of more than 64 dimensions");
    if (!array_is_plain(from->dtype)) {
        rank = array_byte_shape(from, byte_shape);
        shape = byte_shape;
    }
    for (uint32_t i = 0; i < rank; i++)
        if (shape[i] > INT64_MAX) return PyErr_Format(PyExc_ValueError, "a shape beyond 2^63");
    export *made = malloc(sizeof *made + (size_t)2 * rank * sizeof made->sizes[0]);
    if (made == NULL) return PyErr_NoMemory();
    made->base = from->base;
    Py_INCREF(made->base);
    PyObject *capsule;
    if (versioned) {
        made->as.versioned = (dl_versioned){.major = 1, .context = made};
        made->as.versioned.deleter = delete_versioned;
        made->as.versioned.flags = from->writable ? 0 : FLAG_READ_ONLY;
        fill(&made->as.versioned.tensor, from, shape, rank, bytes, made->sizes);
        capsule = PyCapsule_New(made, "dltensor_versioned", drop_capsule);
    } else {
        made->as.managed = (dl_managed){.context = made, .deleter = delete_managed};
        fill(&made->as.managed.tensor, from, shape, rank, bytes, made->sizes);
        capsule = PyCapsule_New(made, "dltensor", drop_capsule);
    }
    if (capsule == NULL) release(made);
    return capsule;
}

static PyObject *raise_buffer(const char *why)
{
    PyErr_SetString(PyExc_BufferError, why);
    return NULL;
}

/* Two ints of a tuple; None leaves them. */
static int take_pair(PyObject *object, const char *name, int *first, int *second)
{
    if (object == Py_None) return 0;
    if (PyTuple_Check(object) && PyTuple_Size(object) == 2)
        return PyArg_ParseTuple(object, "ii", first, second) ? 0 : -1;
    PyErr_Format(PyExc_TypeError, "%s is a tuple of two ints or None, not %R", name, object);
    return -1;
}

/* What `__dlpack__` was asked for; 0, or an exception. */
static int parse(PyObject *args, PyObject *kwargs, const piece *from, bool *versioned,
                 PyObject **copy)
{
    static char *words[] = {"stream", "max_version", "dl_device", "copy", NULL};
    PyObject *stream = Py_None, *version = Py_None, *device = Py_None;
    const bool host = from->device_kind == 0;
    const int own_type = host ? DEVICE_CPU : from->device_kind, own_id = from->device_number;
    int major = 0, minor = 0, type = own_type, id = own_id;
    *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO:__dlpack__", words, &stream, &version,
                                     &device, copy) ||
        take_pair(version, "max_version", &major, &minor) != 0 ||
        take_pair(device, "dl_device", &type, &id) != 0)
        return -1;
    *versioned = major >= 1;
    if (type != own_type || id != own_id)
        raise_buffer(host ? "the bytes are in the memory of the CPU"
                          : "the bytes are in the memory of another device");
    if (host && stream != Py_None && !PyErr_Occurred()) raise_buffer("the CPU has no streams");
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *dlpack_export(owner *self, const tare_tensor *at, PyObject *args, PyObject *kwargs)
{
    bool versioned;
    PyObject *copy;
    piece from = piece_of(self, at);
    if (parse(args, kwargs, &from, &versioned, &copy) != 0) return NULL;
    if (!array_is_plain(from.dtype))
        return raise_buffer("DLPack has no such dtype; Tensor.raw has the bytes");
    int wanted = copy == Py_None ? -1 : PyObject_IsTrue(copy);
    if (wanted < 0 && PyErr_Occurred()) return NULL;
    /* Who knows no versions does not know what is read-only. */
    from.writable = false; /* also what could be: all views of a tensor are of the same bytes */
    bool must = from.data == NULL || !versioned;
    uint64_t shape[RANK_MAX];
    if (piece_settle(&from, shape) != 0) return NULL;
    if (wanted == 0 && must) return raise_buffer("these bytes cannot be handed out without a copy");
    if (wanted != 1 && !must) return dlpack_capsule(&from, false, versioned);
    if (piece_read(&from, self, at) != 0) return NULL;
    PyObject *capsule = dlpack_capsule(&from, false, versioned);
    Py_DECREF(from.base);
    if (capsule != NULL && versioned) {
        dl_versioned *made = PyCapsule_GetPointer(capsule, "dltensor_versioned");
        made->flags |= FLAG_COPIED;
    }
    return capsule;
}

/* Whatever stream asks: what was loaded is there. */
PyObject *dlpack_export_device(const piece *from, PyObject *args, PyObject *kwargs)
{
    bool versioned;
    PyObject *copy;
    if (parse(args, kwargs, from, &versioned, &copy) != 0) return NULL;
    if (!array_is_plain(from->dtype)) return raise_buffer("DLPack has no such dtype");
    int wanted = copy != Py_None ? PyObject_IsTrue(copy) : 0;
    if (wanted < 0) return NULL;
    if (wanted != 0) return raise_buffer("no copy is made on a device");
    return dlpack_capsule(from, false, versioned);
}
