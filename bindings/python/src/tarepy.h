/*
 * What the files of the extension share. It sees the library through tare.h only.
 *
 *   py_module.c   the module: open, near names, what is imported when it is needed
 *   py_owner.c    what keeps bytes alive: an open model, or memory that was loaded
 *   py_model.c    Model, a mapping        py_metadata.c  its metadata as Python values
 *   py_tensor.c   Tensor, and its buffer
 *   py_array.c    arrays of numpy and torch over bytes that are there
 *   py_dlpack.c   the same for everybody else
 *   py_slice.c    indices to a box, and the box to an array
 *   py_step.c     boxes with steps
 *   py_load.c     many tensors into one block
 *   py_device.c   GPUs to load to, and tensors in their memory
 *   py_save.c     files and bytes of safetensors
 *   py_safe.c     safe_open as the package safetensors has it
 *   py_error.c    errors of the library to exceptions
 *
 * The module has one state for the process: it does not support subinterpreters. All of it runs
 * under the GIL but for calls that read, which give it up. Other threads run then, and whenever a
 * call imports something; so what can be closed holds a reference to its owner for every call, and
 * functions that take an owner rely on that.
 */
#ifndef TAREPY_H
#define TAREPY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "tare.h"

/* What help() shows, with the arguments as inspect.signature() reads them. */
#define TAREPY_DOC(signature, text) signature "\n--\n\n" text

/* A method with arguments by keyword, in a PyMethodDef. */
#define TAREPY_WORDS(call) (PyCFunction)(void (*)(void)) call, METH_VARARGS | METH_KEYWORDS

enum { RANK_MAX = 64 }; /* of arrays, as numpy has it */

/* Calls shorter than this keep the GIL. */
#define TAREPY_SHORT_SIZE ((uint64_t)256 << 10)

/* ------------------------------------------------------------------------------------------------
 * py_owner.c
 */

/* An open model. Tensors, arrays and buffers hold a reference; a Model's close() drops its own. */
typedef struct owner {
    PyObject_HEAD tare_model *model;
    Py_buffer view;  /* of the object whose bytes were opened; view.obj NULL for files */
    Py_buffer index; /* of the object that has the index file, likewise */
    bool writable;   /* bytes in memory may be written to without harm to a file */
    bool safe;       /* its errors are the exceptions of tare.safetensors */
} owner;

/* Memory that tensors were read into. */
typedef struct memory {
    PyObject_HEAD tare_block *block; /* or NULL, and then */
    void *data;
    uint64_t size; /* bytes of data */
} memory;

/* How to open. */
typedef struct opening {
    uint32_t backing;     /* TARE_BACKING_* */
    uint32_t index;       /* TARE_INDEX_*, and */
    uint32_t index_check; /* TARE_INDEX_BY_* */
    PyObject *index_file; /* a path, or an object with a buffer; NULL: where it is by itself */
    uint64_t header_size_max, tensor_count_max, rank_max, name_size_max, metadata_size_max;
} opening;

/* Opens what `source` is: a path, or an object with a buffer. */
owner *owner_open(PyObject *source, const opening *how, bool safe);

/* One reference more. */
static inline owner *owner_keep(owner *self)
{
    Py_INCREF((PyObject *)self);
    return self;
}

/* Takes the block over, also when it fails. */
memory *memory_of_block(tare_block *block);

/* `size` bytes, aligned to 64. */
memory *memory_new(uint64_t size);

int owner_add_types(void);

/* The name of a dtype. A damaged index file can make it none. */
static inline const char *dtype_text(tare_dtype dtype)
{
    const char *name = tare_dtype_name(dtype);
    return name != NULL ? name : "unknown";
}

/* ------------------------------------------------------------------------------------------------
 * py_array.c
 */

/* DEVICE: objects of our own, for tensors that are not in memory of the host. */
typedef enum framework { FRAMEWORK_NUMPY, FRAMEWORK_TORCH, FRAMEWORK_DEVICE } framework;

/* What an array is made of; `base` keeps `data` alive. Dtypes whose elements have no whole bytes of
 * their own become arrays of uint8. */
typedef struct piece {
    PyObject *base;
    void *data;
    const uint64_t *shape;
    uint64_t size; /* bytes */
    uint32_t rank;
    tare_dtype dtype;
    bool writable;
    int device_kind; /* as DLPack numbers them; 0 is memory of the host */
    int device_number;
} piece;

/* The facts of a tensor over bytes of its model or, where it has none in memory, without data. */
piece piece_of(owner *self, const tare_tensor *tensor);

/* Copies a piece's shape to room for RANK_MAX sizes, since that of an index file may change, and
 * checks that it takes just the piece's bytes; 0, or an exception. Shapes beyond RANK_MAX stay:
 * index files have none. */
int piece_settle(piece *made, uint64_t *shape);

/* Gives a piece memory of its own with the tensor's bytes. The caller drops piece->base. */
int piece_read(piece *made, const owner *self, const tare_tensor *tensor);

PyObject *array_make(framework kind, const piece *from);

/* An array of the tensor, where its bytes lie if that can be, else of a copy. One of numpy is
 * read-only; torch has no such tensors, and what is written to one of its is seen by all others. */
PyObject *array_of(framework kind, owner *self, const tare_tensor *tensor);

/* An array of bytes of its own. */
PyObject *array_copy(framework kind, owner *self, const tare_tensor *tensor);

/* Raises, before work is done, what array_make would raise about that dtype. */
int array_check(framework kind, tare_dtype dtype);

/* The shape of the uint8 array that stands for a dtype without elements of whole bytes: rows as
 * bytes. Returns the rank. */
uint32_t array_byte_shape(const piece *from, uint64_t *shape);

/* Whether elements have whole bytes of their own. */
bool array_is_plain(tare_dtype dtype);

PyObject *array_shape(const uint64_t *shape, uint32_t rank); /* a tuple */

/* ------------------------------------------------------------------------------------------------
 * py_dlpack.c
 */

/* A capsule over the piece; with `bytes` a dtype of one byte is told as uint8. */
PyObject *dlpack_capsule(const piece *from, bool bytes, bool versioned);

/* What `__dlpack__` returns. */
PyObject *dlpack_export(owner *self, const tare_tensor *tensor, PyObject *args, PyObject *kwargs);

/* The same of a piece on a device. */
PyObject *dlpack_export_device(const piece *from, PyObject *args, PyObject *kwargs);

/* ------------------------------------------------------------------------------------------------
 * py_device.c
 */

/* A device for the time of a call, or longer: meanwhile it is not given back. */
typedef struct device_use {
    tare_device *device; /* NULL: the host */
    PyObject *kept;      /* the Device that it is of */
} device_use;

/* Takes a Device, or what names one; NULL, None and "cpu" are the host. 0, or an exception. */
int device_begin(device_use *use, PyObject *object);

/* The same once more, which device_end ends by itself. */
device_use device_again(const device_use *use);
void device_end(device_use *use);

PyObject *device_tensor_make(const piece *from);
int device_add_types(void);

/* ------------------------------------------------------------------------------------------------
 * py_slice.c, py_step.c
 */

/* What a key spans of a tensor. Of a dimension that is from `start` to `stop`, `count` indices,
 * `step` apart; the first of them is the last one before `stop` where that is negative. */
typedef struct box {
    uint64_t shape[RANK_MAX]; /* of the tensor */
    uint64_t start[RANK_MAX], stop[RANK_MAX], count[RANK_MAX];
    int64_t step[RANK_MAX];
    uint64_t made[2 * RANK_MAX]; /* of the result: without integers, with None */
    uint32_t rank, made_rank;
    tare_dtype dtype;
    bool safe;
    tare_string name; /* of the tensor, where it is one of many: pairs are indices then */
} box;

/* What is wanted of a box of `size` bytes, packed. Where elements are no whole bytes the last
 * dimension has no step. */
memory *step_read(const owner *self, const tare_tensor *at, const box *b, uint64_t size);

/* tensor[key] of the framework: reads the box that the key spans, and no more. To memory of the
 * device, if that is not NULL and there are no steps: *host says whether it is the host's. */
PyObject *slice_read(framework kind, owner *self, const tare_tensor *tensor, PyObject *key,
                     tare_device *device, bool *host);

/* A box of one of many tensors, and the shape of its array. PyMem_Free(start) frees all. */
typedef struct slice_part {
    uint64_t *start; /* NULL: the whole tensor */
    uint64_t *stop;
    uint64_t *shape;
    uint32_t rank; /* of the array */
} slice_part;

/* Takes tensor[key], without steps, and with (start, stop) for a dimension. 0, or an exception. */
int slice_take(slice_part *made, const owner *self, const tare_tensor *tensor, PyObject *key);

/* ------------------------------------------------------------------------------------------------
 * py_tensor.c, py_model.c, py_metadata.c, py_load.c, py_save.c, py_safe.c
 */

typedef struct tensor {
    PyObject_HEAD owner *owner;
    const tare_tensor *at;
    bool raw; /* its buffer is bytes, whatever the dtype */
} tensor;

PyObject *tensor_new(owner *self, const tare_tensor *at);
bool tensor_is(PyObject *object); /* whether it is a Tensor */
int tensor_add_types(void);

typedef struct model {
    PyObject_HEAD owner *owner; /* NULL once closed */
    PyObject *metadata;         /* NULL until it is asked for */
} model;

PyObject *model_open(PyObject *source, const opening *how);
PyObject *model_names(const owner *self); /* a list, in the order of the file */
int model_add_types(void);

/* The tensor of that name, or NULL with an exception: TypeError for what is no str, KeyError with
 * near names. */
const tare_tensor *model_find(const owner *self, PyObject *name);

/* A dict; the first shard that has a key counts. */
PyObject *metadata_dict(const tare_model *from);

/* Into one block; a dict. `device` may be NULL. */
PyObject *load_all(owner *self, framework kind, tare_device *device);

/* One tensor, by itself. */
PyObject *load_one(owner *self, framework kind, const tare_tensor *at, tare_device *device);

/* A box of one to a device; NULL with an exception. */
memory *load_slice(owner *self, const tare_tensor *at, const tare_slice *part, tare_device *device);

/* Where in the block, and on which device, the bytes of number `i` are. */
void load_place(piece *made, const tare_block *block, size_t i);
PyObject *load_call(owner *self, PyObject *args, PyObject *kwargs);

PyObject *save_call(PyObject *module, PyObject *args);

int safe_add_types(void);

/* ------------------------------------------------------------------------------------------------
 * py_error.c
 */

/* The exception that the error stands for. */
PyObject *error_object(const tare_error *error, bool safe);

/* Raises it; always NULL. */
PyObject *error_raise(const tare_error *error, bool safe);

/* Raises that no tensor has that name, with near ones; always NULL. */
PyObject *error_raise_missing(const owner *in, PyObject *name);

/* Raises an exception of tare.errors, or of tare.safetensors, by its name; always NULL. */
PyObject *error_raise_named(const char *name, bool safe, PyObject *message);

PyObject *error_raise_closed(bool safe);

/* ------------------------------------------------------------------------------------------------
 * py_module.c
 */

/* Text of a file: UTF-8, with bytes that are none as lone surrogates, as os.fsdecode has them. */
PyObject *text_decode(const char *data, size_t size);

/* The bytes of a str. Fails with TypeError for another object. *kept, if it is not NULL afterwards,
 * is to be dropped when they were used. */
int text_encode(PyObject *text, tare_string *bytes, PyObject **kept);

/* An attribute of a module, imported now; a new reference. */
PyObject *module_attribute(const char *module, const char *name);

/* Makes a type of the spec, adds it to the module and keeps it in *type. */
int module_add_type(PyType_Spec *spec, PyTypeObject **type);

/* An object of a type whose fields beyond the head are all zero. */
void *object_new(PyTypeObject *type);

/* Frees one, and drops its type. */
void object_free(void *self);

/* tp_new of what is only made here. */
PyObject *object_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* __reduce__ of what holds an open file. */
PyObject *object_refuse_pickle(PyObject *self, PyObject *unused);

#endif
