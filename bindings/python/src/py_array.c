/*
 * Arrays over bytes that are there.
 *
 * numpy's are made through its C interface, by the table that numpy publishes for that and keeps
 * the order of: a fifth of the time of any way through Python. Its headers are not needed.
 * torch's are made through DLPack.
 */
#include "tarepy.h"

#include <string.h>

/* Places in numpy's table, and flags of an array. Source: numpy, generate_numpy_api.py. */
enum { API_ARRAY_TYPE = 2, API_NEW_FROM_DESCR = 94, API_SET_BASE_OBJECT = 282 };
enum { FLAG_C_CONTIGUOUS = 1, FLAG_ALIGNED = 0x100, FLAG_WRITEABLE = 0x400 };

typedef PyObject *new_from_descr(PyTypeObject *type, PyObject *descr, int rank,
                                 const Py_ssize_t *shape, const Py_ssize_t *strides, void *data,
                                 int flags, PyObject *object);
typedef int set_base_object(PyObject *array, PyObject *base);

static void **numpy_api;
static PyObject *torch_from_dlpack;

enum { DTYPE_COUNT = TARE_DTYPE_Q2_0 + 1 };

/* What the dtype is called there. */
typedef struct dtype_names {
    const char *numpy;     /* or NULL, and then */
    const char *ml_dtypes; /* or NULL: an array of uint8 */
    const char *torch;     /* likewise */
    bool torch_view;       /* torch has it, but not through DLPack */
} dtype_names;

static const dtype_names names[DTYPE_COUNT] = {
    [TARE_DTYPE_BOOL] = {"|b1", NULL, "bool", true},
    [TARE_DTYPE_F4] = {NULL, NULL, "float4_e2m1fn_x2", true},
    [TARE_DTYPE_U8] = {"|u1", NULL, "uint8", false},
    [TARE_DTYPE_I8] = {"|i1", NULL, "int8", false},
    [TARE_DTYPE_F8_E5M2] = {NULL, "float8_e5m2", "float8_e5m2", true},
    [TARE_DTYPE_F8_E4M3] = {NULL, "float8_e4m3fn", "float8_e4m3fn", true},
    [TARE_DTYPE_F8_E8M0] = {NULL, "float8_e8m0fnu", "float8_e8m0fnu", true},
    [TARE_DTYPE_F8_E4M3FNUZ] = {NULL, "float8_e4m3fnuz", "float8_e4m3fnuz", true},
    [TARE_DTYPE_F8_E5M2FNUZ] = {NULL, "float8_e5m2fnuz", "float8_e5m2fnuz", true},
    [TARE_DTYPE_I16] = {"<i2", NULL, "int16", false},
    [TARE_DTYPE_U16] = {"<u2", NULL, "uint16", false},
    [TARE_DTYPE_F16] = {"<f2", NULL, "float16", false},
    [TARE_DTYPE_BF16] = {NULL, "bfloat16", "bfloat16", false},
    [TARE_DTYPE_I32] = {"<i4", NULL, "int32", false},
    [TARE_DTYPE_U32] = {"<u4", NULL, "uint32", false},
    [TARE_DTYPE_F32] = {"<f4", NULL, "float32", false},
    [TARE_DTYPE_C64] = {"<c8", NULL, "complex64", false},
    [TARE_DTYPE_F64] = {"<f8", NULL, "float64", false},
    [TARE_DTYPE_I64] = {"<i8", NULL, "int64", false},
    [TARE_DTYPE_U64] = {"<u8", NULL, "uint64", false},
};

/* What was found under those names; it stays for good. */
static PyObject *numpy_dtypes[DTYPE_COUNT], *torch_dtypes[DTYPE_COUNT];

bool array_is_plain(tare_dtype dtype)
{
    return tare_dtype_bits(dtype) != 0 && tare_dtype_bits(dtype) % 8 == 0;
}

PyObject *array_shape(const uint64_t *shape, uint32_t rank)
{
    PyObject *made = PyTuple_New(rank);
    for (uint32_t i = 0; made != NULL && i < rank; i++) {
        PyObject *size = PyLong_FromUnsignedLongLong(shape[i]);
        if (size == NULL || PyTuple_SetItem(made, i, size) != 0) Py_CLEAR(made);
    }
    return made;
}

uint32_t array_byte_shape(const piece *from, uint64_t *shape)
{
    uint32_t count = tare_dtype_block_count(from->dtype), rank = from->rank;
    if (rank == 0 || rank > RANK_MAX || from->shape[rank - 1] % count != 0) {
        shape[0] = from->size;
        return 1;
    }
    memcpy(shape, from->shape, rank * sizeof *shape);
    shape[rank - 1] = shape[rank - 1] / count * tare_dtype_block_size(from->dtype);
    return rank;
}

/* ------------------------------------------------------------------------------------------------
 * numpy
 */

static int import_numpy(void)
{
    if (numpy_api != NULL) return 0;
    PyObject *capsule = module_attribute("numpy._core.multiarray", "_ARRAY_API");
    if (capsule == NULL && PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) { /* numpy 1 */
        PyErr_Clear();
        capsule = module_attribute("numpy.core.multiarray", "_ARRAY_API");
    }
    if (capsule == NULL) return -1;
    numpy_api = PyCapsule_GetPointer(capsule, NULL); /* static, and numpy stays */
    Py_DECREF(capsule);
    return numpy_api != NULL ? 0 : -1;
}

static PyObject *make_numpy_dtype(tare_dtype dtype)
{
    const dtype_names *name = &names[dtype];
    PyObject *constructor = module_attribute("numpy", "dtype");
    PyObject *made = NULL;
    if (constructor == NULL) return NULL;
    if (name->ml_dtypes == NULL) {
        made = PyObject_CallFunction(constructor, "s", name->numpy != NULL ? name->numpy : "|u1");
    } else {
        PyObject *scalar = module_attribute("ml_dtypes", name->ml_dtypes);
        if (scalar != NULL)
            made = PyObject_CallFunctionObjArgs(constructor, scalar, NULL);
        else
            PyErr_Format(PyExc_ImportError,
                         "numpy has no dtype for %s; with the package ml_dtypes it does: pip "
                         "install ml_dtypes. Without it: Tensor.raw, Tensor.tobytes(), "
                         "Tensor.torch()",
                         dtype_text(dtype));
        Py_XDECREF(scalar);
    }
    Py_DECREF(constructor);
    return made;
}

/* Borrowed. */
static PyObject *numpy_dtype(tare_dtype dtype)
{
    if (numpy_dtypes[dtype] == NULL) numpy_dtypes[dtype] = make_numpy_dtype(dtype);
    return numpy_dtypes[dtype];
}

static PyObject *make_numpy(const piece *from)
{
    if (numpy_api == NULL && import_numpy() != 0) return NULL;
    PyObject *descr = numpy_dtype(from->dtype);
    if (descr == NULL) return NULL;
    uint64_t bytes_shape[RANK_MAX];
    const uint64_t *shape = from->shape;
    uint32_t rank = from->rank, width = tare_dtype_bits(from->dtype) / 8;
    if (!array_is_plain(from->dtype)) {
        rank = array_byte_shape(from, bytes_shape);
        shape = bytes_shape;
        width = 1;
    }
    Py_ssize_t sizes[RANK_MAX];
    bool fits = rank <= RANK_MAX;
    for (uint32_t i = 0; fits && i < rank; i++) {
        fits = shape[i] <= PY_SSIZE_T_MAX;
        sizes[i] = (Py_ssize_t)shape[i];
    }
    if (!fits) return PyErr_Format(PyExc_ValueError, "numpy has no arrays of such a shape");
    uintptr_t align = from->dtype == TARE_DTYPE_C64 ? 4 : width;
    int flags = FLAG_C_CONTIGUOUS | (from->writable ? FLAG_WRITEABLE : 0) |
                ((uintptr_t)from->data % align == 0 ? FLAG_ALIGNED : 0);
    new_from_descr *make;
    set_base_object *set_base;
    memcpy(&make, &numpy_api[API_NEW_FROM_DESCR], sizeof make);
    memcpy(&set_base, &numpy_api[API_SET_BASE_OBJECT], sizeof set_base);
    Py_INCREF(descr); /* which the array takes */
    PyObject *made =
        make(numpy_api[API_ARRAY_TYPE], descr, (int)rank, sizes, NULL, from->data, flags, NULL);
    if (made == NULL) return NULL;
    Py_INCREF(from->base);
    if (set_base(made, from->base) == 0) return made;
    Py_DECREF(made);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * torch
 */

static int import_torch(void)
{
    if (torch_from_dlpack != NULL) return 0;
    PyObject *torch = PyImport_ImportModule("torch");
    if (torch == NULL) return -1;
    Py_DECREF(torch);
    torch_from_dlpack = module_attribute("torch._C", "_from_dlpack"); /* without a detour */
    if (torch_from_dlpack == NULL) {
        PyErr_Clear();
        torch_from_dlpack = module_attribute("torch.utils.dlpack", "from_dlpack");
    }
    return torch_from_dlpack != NULL ? 0 : -1;
}

/* Borrowed; NULL with an exception where this torch has none. */
static PyObject *torch_dtype(tare_dtype dtype)
{
    if (torch_dtypes[dtype] != NULL) return torch_dtypes[dtype];
    const char *name = names[dtype].torch != NULL ? names[dtype].torch : "uint8";
    torch_dtypes[dtype] = module_attribute("torch", name);
    if (torch_dtypes[dtype] == NULL && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Format(PyExc_ImportError, "this torch is too old for %s: it has no torch.%s",
                     dtype_text(dtype), name);
    return torch_dtypes[dtype];
}

static PyObject *make_torch(const piece *from)
{
    if (torch_from_dlpack == NULL && import_torch() != 0) return NULL;
    PyObject *dtype = torch_dtype(from->dtype);
    if (dtype == NULL) return NULL;
    bool bytes = names[from->dtype].torch == NULL || names[from->dtype].torch_view;
    PyObject *capsule = dlpack_capsule(from, bytes, false);
    if (capsule == NULL) return NULL;
    PyObject *made = PyObject_CallFunctionObjArgs(torch_from_dlpack, capsule, NULL);
    Py_DECREF(capsule);
    if (made == NULL || !bytes || names[from->dtype].torch == NULL) return made;
    PyObject *viewed = PyObject_CallMethod(made, "view", "O", dtype);
    Py_DECREF(made);
    return viewed;
}

/* ------------------------------------------------------------------------------------------------
 * Of tensors
 */

int piece_settle(piece *made, uint64_t *shape)
{
    const uint64_t block_count = tare_dtype_block_count(made->dtype);
    uint64_t elements = 1, bytes = 0;
    bool fits = block_count != 0, empty = false;
    if (made->rank > RANK_MAX) return 0;
    if (made->rank != 0) memcpy(shape, made->shape, made->rank * sizeof *shape);
    made->shape = shape;
    for (uint32_t i = 0; i < made->rank; i++) {
        empty = empty || shape[i] == 0;
        fits = !__builtin_mul_overflow(elements, shape[i], &elements) && fits;
    }
    if (fits && !empty)
        fits = elements % block_count == 0 &&
               !__builtin_mul_overflow(elements / block_count, tare_dtype_block_size(made->dtype),
                                       &bytes);
    if (bytes == made->size && (fits || (empty && block_count != 0))) return 0;
    const tare_error error = {.status = TARE_E_CHANGED,
                              .shard = TARE_NO_SHARD,
                              .offset = TARE_NO_OFFSET,
                              .message = "the index file of the model changed meanwhile"};
    error_raise(&error, false);
    return -1;
}

PyObject *array_make(framework kind, const piece *from)
{
    uint64_t shape[RANK_MAX];
    piece own = *from;
    if (piece_settle(&own, shape) != 0) return NULL;
    if (kind == FRAMEWORK_DEVICE) return device_tensor_make(&own);
    return kind == FRAMEWORK_NUMPY ? make_numpy(&own) : make_torch(&own);
}

int array_check(framework kind, tare_dtype dtype)
{
    if (kind == FRAMEWORK_DEVICE) return 0;
    if ((kind == FRAMEWORK_NUMPY ? import_numpy() : import_torch()) != 0) return -1;
    return (kind == FRAMEWORK_NUMPY ? numpy_dtype(dtype) : torch_dtype(dtype)) != NULL ? 0 : -1;
}

piece piece_of(owner *self, const tare_tensor *at)
{
    const tare_info info = tare_describe(self->model, at);
    return (piece){.base = (PyObject *)self,
                   .data = (void *)(uintptr_t)tare_data_at(self->model, at, 0, (size_t)info.size),
                   .shape = info.shape,
                   .size = info.size,
                   .rank = info.rank,
                   .dtype = info.dtype,
                   .writable = self->writable};
}

int piece_read(piece *made, const owner *self, const tare_tensor *at)
{
    tare_error error;
    tare_status status;
    memory *target = memory_new(made->size);
    if (target == NULL) return -1;
    if (self->safe && made->size < TAREPY_SHORT_SIZE && made->data != NULL) {
        /* As safetensors does; a call of the system would be most of the time. */
        memcpy(target->data, made->data, (size_t)made->size);
        status = TARE_OK;
    } else if (made->size < TAREPY_SHORT_SIZE) {
        status = tare_read(self->model, at, target->data, (size_t)made->size, &error);
    } else {
        Py_BEGIN_ALLOW_THREADS status =
            tare_read(self->model, at, target->data, (size_t)made->size, &error);
        Py_END_ALLOW_THREADS
    }
    if (status != TARE_OK) {
        Py_DECREF(target);
        error_raise(&error, self->safe);
        return -1;
    }
    made->base = (PyObject *)target;
    made->data = target->data;
    made->writable = true;
    return 0;
}

/* torch cannot be kept from writing, and wants elements where they can be read at once. */
static bool fits_torch(const piece *from)
{
    uint32_t width = array_is_plain(from->dtype) ? tare_dtype_bits(from->dtype) / 8 : 1;
    return from->writable && (uintptr_t)from->data % width == 0;
}

PyObject *array_copy(framework kind, owner *self, const tare_tensor *at)
{
    piece from = piece_of(self, at);
    if (array_check(kind, from.dtype) != 0 || piece_read(&from, self, at) != 0) return NULL;
    PyObject *made = array_make(kind, &from);
    Py_DECREF(from.base);
    return made;
}

PyObject *array_of(framework kind, owner *self, const tare_tensor *at)
{
    piece from = piece_of(self, at);
    bool copy = from.data == NULL || (kind == FRAMEWORK_TORCH && !fits_torch(&from));
    if (copy && (array_check(kind, from.dtype) != 0 || piece_read(&from, self, at) != 0))
        return NULL;
    if (kind == FRAMEWORK_NUMPY) from.writable = false;
    PyObject *made = array_make(kind, &from);
    if (copy) Py_DECREF(from.base);
    return made;
}
