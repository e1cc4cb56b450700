/* safe_open as the package safetensors has it; tare/safetensors tells what differs. */
#include "tarepy.h"

#include <string.h>

static PyTypeObject *open_type, *slice_type;

typedef struct opened {
    PyObject_HEAD owner *owner; /* NULL once closed */
    PyObject *device;           /* where tensors of torch go; NULL: where they are */
    device_use use;             /* the same, where the library loads to it */
    framework kind;
} opened;

/* What get_slice returns. */
typedef struct slice {
    PyObject_HEAD owner *owner;
    PyObject *device;
    device_use use;
    const tare_tensor *at;
    framework kind;
} slice;

/* ------------------------------------------------------------------------------------------------
 * Opening
 */

static int fail(const char *format, PyObject *object)
{
    PyErr_Clear();
    PyObject *text = PyUnicode_FromFormat(format, object);
    if (text != NULL) error_raise_named("RequestError", true, text);
    Py_XDECREF(text);
    return -1;
}

static int is_one_of(const char *name, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(name, *list) == 0) return 1;
    return 0;
}

static int take_framework(opened *self, PyObject *object)
{
    static const char *const numpys[] = {"np", "numpy", NULL};
    static const char *const torches[] = {"pt", "torch", "pytorch", NULL};
    Py_ssize_t size;
    const char *name = PyUnicode_AsUTF8AndSize(object, &size);
    if (name == NULL) return -1;
    if (is_one_of(name, numpys))
        self->kind = FRAMEWORK_NUMPY;
    else if (is_one_of(name, torches))
        self->kind = FRAMEWORK_TORCH;
    else
        return fail("framework %S is invalid: 'pt' and 'np' are there", object);
    if (self->kind == FRAMEWORK_NUMPY) return 0;
    PyObject *torch = PyImport_ImportModule("torch");
    Py_XDECREF(torch);
    return torch != NULL ? 0 : -1;
}

/* A GPU of CUDA. Where the library finds no driver torch is asked, who may know more. */
static int use_device(opened *self)
{
    PyObject *text = PyObject_Str(self->device);
    const char *name = text != NULL ? PyUnicode_AsUTF8AndSize(text, NULL) : NULL;
    bool cuda = name != NULL && (PyLong_Check(self->device) || strncmp(name, "cuda", 4) == 0);
    Py_XDECREF(text);
    if (name == NULL) return -1;
    if (cuda && device_begin(&self->use, self->device) != 0) PyErr_Clear();
    return 0;
}

/* Whether torch has a name for it; which GPUs are there shows when tensors are asked for. */
static bool is_device(PyObject *device)
{
    if (PyLong_Check(device)) return PyLong_AsLong(device) >= 0;
    PyObject *type = module_attribute("torch", "device");
    PyObject *made = type != NULL ? PyObject_CallFunctionObjArgs(type, device, NULL) : NULL;
    Py_XDECREF(type);
    Py_XDECREF(made);
    return made != NULL;
}

static int take_device(opened *self, PyObject *device)
{
    if (device == NULL || device == Py_None) return 0;
    if (PyUnicode_Check(device) && PyUnicode_CompareWithASCIIString(device, "cpu") == 0) return 0;
    PyObject *text = PyObject_Str(device);
    if (text == NULL) return -1;
    bool cpu = PyUnicode_CompareWithASCIIString(text, "cpu") == 0;
    Py_DECREF(text);
    if (cpu) return 0;
    if (self->kind == FRAMEWORK_NUMPY)
        return fail("Device %S is not supported for framework numpy", device);
    if (!is_device(device)) return fail("device %S is invalid", device);
    Py_INCREF(device);
    self->device = device;
    return use_device(self);
}

static int take_backend(PyObject *name, uint32_t *backing)
{
    if (name == NULL || PyUnicode_CompareWithASCIIString(name, "mmap") == 0) return 0;
    *backing = TARE_BACKING_READ;
    if (PyUnicode_CompareWithASCIIString(name, "pread") == 0) return 0;
    return fail("backend %S is invalid: 'mmap' and 'pread' are there", name);
}

static PyObject *open_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"filename", "framework", "device", "backend", NULL};
    PyObject *filename, *framework_name, *device = NULL, *backend = NULL;
    opening how = {.backing = TARE_BACKING_AUTO};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OU|O$U:safe_open", words, &filename,
                                     &framework_name, &device, &backend))
        return NULL;
    if (!PyUnicode_Check(filename) && !PyObject_HasAttrString(filename, "__fspath__"))
        return PyErr_Format(PyExc_TypeError, "filename is a str or a path, not %R",
                            (PyObject *)Py_TYPE(filename));
    opened *self = object_new(type);
    if (self == NULL) return NULL;
    if (take_framework(self, framework_name) == 0 && take_device(self, device) == 0 &&
        take_backend(backend, &how.backing) == 0)
        self->owner = owner_open(filename, &how, true);
    if (self->owner != NULL) return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static int open_clear(PyObject *object)
{
    Py_CLEAR(((opened *)object)->owner);
    Py_CLEAR(((opened *)object)->device);
    device_end(&((opened *)object)->use);
    return 0;
}

static int open_visit(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((opened *)object)->owner);
    Py_VISIT(((opened *)object)->device);
    Py_VISIT(Py_TYPE(object));
    return 0;
}

static void open_free(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    open_clear(object);
    freefunc give = (freefunc)PyType_GetSlot(type, Py_tp_free);
    give(object);
    Py_DECREF(type);
}

static opened *check_open(PyObject *object)
{
    opened *self = (opened *)object;
    if (self->owner != NULL) return self;
    error_raise_closed(true);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Tensors
 */

/* On the device that was asked for. Takes `made` over. */
static PyObject *move(PyObject *made, PyObject *device)
{
    if (made == NULL || device == NULL) return made;
    PyObject *moved = PyObject_CallMethod(made, "to", "O", device);
    Py_DECREF(made);
    return moved;
}

/* What one call works with. Reading lets other threads run, and one may close the file
 * meanwhile. */
typedef struct held {
    owner *owner;
    PyObject *device;
    device_use use;
    framework kind;
} held;

static int hold(held *all, PyObject *object)
{
    opened *self = check_open(object);
    if (self == NULL) return -1;
    *all = (held){owner_keep(self->owner), self->device, device_again(&self->use), self->kind};
    Py_XINCREF(all->device);
    return 0;
}

static void let_go(held *all)
{
    device_end(&all->use);
    Py_XDECREF(all->device);
    Py_DECREF(all->owner);
}

/* numpy's are copies, each the caller's own; torch's lie where they are mapped. */
static PyObject *tensor_of(const held *all, const tare_tensor *at)
{
    if (all->use.device != NULL) return load_one(all->owner, all->kind, at, all->use.device);
    if (all->kind == FRAMEWORK_NUMPY) return array_copy(all->kind, all->owner, at);
    return move(array_of(all->kind, all->owner, at), all->device);
}

/* The one argument of a call, `name`, also by keyword; borrowed. */
static PyObject *take_name(const char *call, PyObject *const *args, Py_ssize_t count,
                           PyObject *words)
{
    Py_ssize_t named = words != NULL ? PyTuple_Size(words) : 0;
    if (count + named == 1 &&
        (named == 0 || PyUnicode_CompareWithASCIIString(PyTuple_GetItem(words, 0), "name") == 0))
        return args[0];
    return PyErr_Format(PyExc_TypeError, "%s() takes one argument, name", call);
}

static PyObject *get_tensor(PyObject *object, PyObject *const *args, Py_ssize_t count,
                            PyObject *words)
{
    held all;
    PyObject *name = take_name("get_tensor", args, count, words);
    if (name == NULL || hold(&all, object) != 0) return NULL;
    const tare_tensor *at = model_find(all.owner, name);
    PyObject *made = at != NULL ? tensor_of(&all, at) : NULL;
    let_go(&all);
    return made;
}

static PyObject *tensors_one_by_one(const held *all)
{
    const tare_model *source = all->owner->model;
    size_t count = tare_count(source);
    PyObject *made = PyDict_New();
    for (size_t i = 0; made != NULL && i < count; i++) {
        tare_string text = tare_name(source, tare_at(source, i));
        PyObject *name = text_decode(text.data, text.size);
        PyObject *array = tensor_of(all, tare_at(source, i));
        if (name == NULL || array == NULL || PyDict_SetItem(made, name, array) != 0) Py_CLEAR(made);
        Py_XDECREF(name);
        Py_XDECREF(array);
    }
    return made;
}

/* All of them: numpy's, and those on a device, in one block, as a load; torch's where they are
 * mapped. */
static PyObject *get_tensors(PyObject *object, PyObject *unused)
{
    (void)unused;
    held all;
    if (hold(&all, object) != 0) return NULL;
    bool block = all.kind == FRAMEWORK_NUMPY || all.use.device != NULL;
    PyObject *made =
        block ? load_all(all.owner, all.kind, all.use.device) : tensors_one_by_one(&all);
    let_go(&all);
    return made;
}

static PyObject *get_slice(PyObject *object, PyObject *const *args, Py_ssize_t count,
                           PyObject *words)
{
    held all;
    PyObject *name = take_name("get_slice", args, count, words);
    if (name == NULL || hold(&all, object) != 0) return NULL;
    const tare_tensor *at = model_find(all.owner, name);
    slice *made = at != NULL ? object_new(slice_type) : NULL;
    if (made != NULL) {
        Py_XINCREF(all.device);
        made->owner = owner_keep(all.owner);
        made->device = all.device;
        made->use = device_again(&all.use);
        made->kind = all.kind;
        made->at = at;
    }
    let_go(&all);
    return (PyObject *)made;
}

static PyObject *offset_keys(PyObject *object, PyObject *unused)
{
    (void)unused;
    held all;
    if (hold(&all, object) != 0) return NULL;
    PyObject *names = model_names(all.owner);
    let_go(&all);
    return names;
}

static PyObject *keys(PyObject *object, PyObject *unused)
{
    PyObject *names = offset_keys(object, unused);
    if (names != NULL && PyList_Sort(names) != 0) Py_CLEAR(names);
    return names;
}

static PyObject *metadata(PyObject *object, PyObject *unused)
{
    (void)unused;
    held all;
    if (hold(&all, object) != 0) return NULL;
    PyObject *made = Py_None;
    if (tare_metadata_count(all.owner->model) != 0)
        made = metadata_dict(all.owner->model);
    else
        Py_INCREF(made);
    let_go(&all);
    return made;
}

static PyObject *enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *leave(PyObject *self, PyObject *args)
{
    (void)args;
    open_clear(self);
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------------------------
 * Slices
 */

static void slice_free(PyObject *object)
{
    slice *self = (slice *)object;
    Py_DECREF(self->owner);
    Py_XDECREF(self->device);
    device_end(&self->use);
    object_free(self);
}

static PyObject *slice_shape(PyObject *object, PyObject *unused)
{
    (void)unused;
    const slice *self = (const slice *)object;
    const tare_info info = tare_describe(self->owner->model, self->at);
    PyObject *shape = array_shape(info.shape, info.rank);
    PyObject *list = shape != NULL ? PySequence_List(shape) : NULL;
    Py_XDECREF(shape);
    return list;
}

static PyObject *slice_dtype(PyObject *object, PyObject *unused)
{
    (void)unused;
    const slice *self = (const slice *)object;
    return PyUnicode_FromString(dtype_text(tare_describe(self->owner->model, self->at).dtype));
}

static PyObject *slice_item(PyObject *object, PyObject *key)
{
    const slice *self = (const slice *)object;
    bool host;
    PyObject *made = slice_read(self->kind, self->owner, self->at, key, self->use.device, &host);
    return made == NULL || !host ? made : move(made, self->device);
}

/* ------------------------------------------------------------------------------------------------
 * Types
 */

#define NAMED(call) (PyCFunction)(void (*)(void)) call, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef open_methods[] = {
    {"get_tensor", NAMED(get_tensor),
     TAREPY_DOC("get_tensor($self, /, name)", "The tensor of that name, whole.")},
    {"get_tensors", get_tensors, METH_NOARGS,
     TAREPY_DOC("get_tensors($self, /)", "All tensors: a dict.")},
    {"get_slice", NAMED(get_slice),
     TAREPY_DOC("get_slice($self, /, name)",
                "What reads parts of that tensor: file.get_slice(name)[2:4, :8].")},
    {"keys", keys, METH_NOARGS, TAREPY_DOC("keys($self, /)", "The names, sorted: a list.")},
    {"offset_keys", offset_keys, METH_NOARGS,
     TAREPY_DOC("offset_keys($self, /)", "The names in the order of the file: a list.")},
    {"metadata", metadata, METH_NOARGS,
     TAREPY_DOC("metadata($self, /)", "What the file says beside tensors: a dict, or None.")},
    {"__enter__", enter, METH_NOARGS, TAREPY_DOC("__enter__($self, /)", "The file itself.")},
    {"__exit__", leave, METH_VARARGS,
     TAREPY_DOC("__exit__($self, kind, error, trace, /)", "Closes the file.")},
    {"__reduce__", object_refuse_pickle, METH_NOARGS,
     TAREPY_DOC("__reduce__($self, /)", "Raises: an open file cannot be pickled.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot open_slots[] = {
    {Py_tp_doc,
     (void *)TAREPY_DOC("safe_open(filename, framework, device='cpu', *, backend='mmap')",
                        "Opens a file lazily and returns tensors as asked.\n\n"
                        "filename: a path, also of a GGUF file, a shard index, or a folder.\n"
                        "framework: 'np' or 'pt'.\n"
                        "device: where tensors of torch go.\n"
                        "backend: 'mmap' maps the file, 'pread' reads what is asked for.")},
    {Py_tp_new, (void *)open_new},
    {Py_tp_dealloc, (void *)open_free},
    {Py_tp_traverse, (void *)open_visit},
    {Py_tp_clear, (void *)open_clear},
    {Py_tp_methods, open_methods},
    {0, NULL},
};

static PyType_Spec open_spec = {
    "tare._tare.safe_open",
    sizeof(opened),
    0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    open_slots,
};

static PyMethodDef slice_methods[] = {
    {"get_shape", slice_shape, METH_NOARGS,
     TAREPY_DOC("get_shape($self, /)", "The shape of the tensor: a list.")},
    {"get_dtype", slice_dtype, METH_NOARGS,
     TAREPY_DOC("get_dtype($self, /)", "The dtype of the tensor: 'BF16'.")},
    {"__reduce__", object_refuse_pickle, METH_NOARGS,
     TAREPY_DOC("__reduce__($self, /)", "Raises: a part of an open file cannot be pickled.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slice_slots[] = {
    {Py_tp_doc, (void *)"What safe_open.get_slice() gives: indices read the part that they span."},
    {Py_tp_new, (void *)object_refuse_new},
    {Py_tp_dealloc, (void *)slice_free},
    {Py_tp_methods, slice_methods},
    {Py_mp_subscript, (void *)slice_item},
    {0, NULL},
};

static PyType_Spec slice_spec = {
    "tare._tare.PySafeSlice", sizeof(slice), 0, Py_TPFLAGS_DEFAULT, slice_slots,
};

int safe_add_types(void)
{
    return module_add_type(&open_spec, &open_type) == 0 ? module_add_type(&slice_spec, &slice_type)
                                                        : -1;
}
