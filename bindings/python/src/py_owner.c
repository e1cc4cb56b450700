#include "tarepy.h"

#include <stdlib.h>

static PyTypeObject *owner_type, *memory_type;

/* ------------------------------------------------------------------------------------------------
 * Models
 */

static void owner_free(PyObject *object)
{
    owner *self = (owner *)object;
    PyObject_GC_UnTrack(object);
    tare_close(self->model);
    if (self->view.obj != NULL) PyBuffer_Release(&self->view);
    if (self->index.obj != NULL) PyBuffer_Release(&self->index);
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

/* The objects whose bytes were opened may lead back here. */
static int owner_visit(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((owner *)object)->view.obj);
    Py_VISIT(((owner *)object)->index.obj);
    Py_VISIT(Py_TYPE(object));
    return 0;
}

/* A path as the system has it in *path, or else a buffer in *view; 0, or an exception. */
static int take_bytes(PyObject *from, PyObject **path, Py_buffer *view, const char *what)
{
    *path = NULL;
    if (PyUnicode_Check(from) || PyObject_HasAttrString(from, "__fspath__"))
        return PyUnicode_FSConverter(from, path) ? 0 : -1;
    if (PyObject_GetBuffer(from, view, PyBUF_SIMPLE) == 0) return 0;
    view->obj = NULL;
    if (!PyObject_CheckBuffer(from))
        PyErr_Format(PyExc_TypeError, "a path or the bytes of %s are opened, not %R", what,
                     (PyObject *)Py_TYPE(from));
    return -1;
}

static tare_status open_path(owner *self, PyObject *path, tare_options *options, tare_error *error)
{
    tare_status status;
    options->flags = TARE_COPY_ON_WRITE; /* so that nobody can crash by writing to an array */
    self->writable = true;
    Py_BEGIN_ALLOW_THREADS status = tare_open(PyBytes_AsString(path), options, &self->model, error);
    Py_END_ALLOW_THREADS return status;
}

/* With the GIL: other threads should not write to the bytes meanwhile. */
static tare_status open_view(owner *self, tare_options *options, tare_error *error)
{
    self->writable = !self->view.readonly;
    return tare_open_bytes(self->view.buf, (size_t)self->view.len, options, &self->model, error);
}

static int open_source(owner *self, PyObject *source, tare_options *options)
{
    tare_error error;
    PyObject *path;
    if (take_bytes(source, &path, &self->view, "a file") != 0) return -1;
    tare_status status =
        path != NULL ? open_path(self, path, options, &error) : open_view(self, options, &error);
    Py_XDECREF(path);
    if (status == TARE_OK) return 0;
    error_raise(&error, self->safe);
    return -1;
}

owner *owner_open(PyObject *source, const opening *how, bool safe)
{
    tare_options options = TARE_OPTIONS_INIT;
    PyObject *index_path = NULL;
    owner *self = object_new(owner_type);
    if (self == NULL) return NULL;
    self->safe = safe;
    options.backing = how->backing;
    options.index = how->index;
    options.index_check = how->index_check;
    options.header_size_max = how->header_size_max;
    options.tensor_count_max = how->tensor_count_max;
    options.rank_max = how->rank_max;
    options.name_size_max = how->name_size_max;
    options.metadata_size_max = how->metadata_size_max;
    int failed = how->index_file != NULL
                     ? take_bytes(how->index_file, &index_path, &self->index, "an index file")
                     : 0;
    if (index_path != NULL) options.index_path = PyBytes_AsString(index_path);
    options.index_bytes = self->index.buf;
    options.index_size = (size_t)self->index.len;
    if (failed == 0) failed = open_source(self, source, &options);
    Py_XDECREF(index_path);
    if (failed == 0) return self;
    Py_DECREF(self);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Memory
 */

static void memory_free(PyObject *object)
{
    memory *self = (memory *)object;
    tare_block_close(self->block);
    free(self->data);
    object_free(self);
}

memory *memory_of_block(tare_block *block)
{
    memory *self = object_new(memory_type);
    if (self != NULL)
        self->block = block;
    else
        tare_block_close(block);
    return self;
}

memory *memory_new(uint64_t size)
{
    memory *self = object_new(memory_type);
    if (self == NULL) return NULL;
    if (size < 4096) /* aligned enough for every dtype, and sooner found */
        self->data = malloc((size_t)size + 1);
    else if (size < SIZE_MAX - 64)
        self->data = aligned_alloc(64, ((size_t)size + 64) & ~(size_t)63);
    self->size = size;
    if (self->data != NULL) return self;
    Py_DECREF(self);
    PyErr_NoMemory();
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Types
 */

static PyType_Slot owner_slots[] = {
    {Py_tp_new, (void *)object_refuse_new},
    {Py_tp_dealloc, (void *)owner_free},
    {Py_tp_traverse, (void *)owner_visit},
    {0, NULL},
};

static PyType_Spec owner_spec = {
    "tare._tare.Owner", sizeof(owner), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, owner_slots,
};

static PyType_Slot memory_slots[] = {
    {Py_tp_new, (void *)object_refuse_new},
    {Py_tp_dealloc, (void *)memory_free},
    {0, NULL},
};

static PyType_Spec memory_spec = {
    "tare._tare.Memory", sizeof(memory), 0, Py_TPFLAGS_DEFAULT, memory_slots,
};

int owner_add_types(void)
{
    return module_add_type(&owner_spec, &owner_type) == 0
               ? module_add_type(&memory_spec, &memory_type)
               : -1;
}
