#include "tarepy.h"

static PyTypeObject *model_type, *iterator_type;

PyObject *model_open(PyObject *source, const opening *how)
{
    owner *opened = owner_open(source, how, false);
    if (opened == NULL) return NULL;
    model *self = object_new(model_type);
    if (self != NULL)
        self->owner = opened;
    else
        Py_DECREF(opened);
    return (PyObject *)self;
}

static int model_visit(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((model *)object)->owner);
    Py_VISIT(((model *)object)->metadata);
    Py_VISIT(Py_TYPE(object));
    return 0;
}

static int model_clear(PyObject *object)
{
    Py_CLEAR(((model *)object)->owner);
    Py_CLEAR(((model *)object)->metadata);
    return 0;
}

static void model_free(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    model_clear(object);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

/* A reference for the time of a call: any code that Python runs meanwhile, on this thread or
 * another, may close the model. NULL with an exception once closed. */
static owner *hold(PyObject *object)
{
    owner *found = ((model *)object)->owner;
    if (found != NULL) return owner_keep(found);
    error_raise_closed(false);
    return NULL;
}

static void let_go(owner *self)
{
    Py_DECREF(self);
}

/* ------------------------------------------------------------------------------------------------
 * A mapping
 */

const tare_tensor *model_find(const owner *self, PyObject *name)
{
    tare_string text;
    PyObject *kept;
    if (text_encode(name, &text, &kept) != 0) return NULL;
    const tare_tensor *found = tare_find(self->model, text.data, text.size);
    Py_XDECREF(kept);
    if (found == NULL) error_raise_missing(self, name);
    return found;
}

static PyObject *get_item(PyObject *object, PyObject *name)
{
    owner *self = hold(object);
    if (self == NULL) return NULL;
    const tare_tensor *found = model_find(self, name);
    PyObject *made = found != NULL ? tensor_new(self, found) : NULL;
    let_go(self);
    return made;
}

/* A tensor, or NULL without an exception. */
static const tare_tensor *look(const owner *self, PyObject *name)
{
    tare_string text;
    PyObject *kept;
    if (text_encode(name, &text, &kept) != 0) return NULL;
    const tare_tensor *found = tare_find(self->model, text.data, text.size);
    Py_XDECREF(kept);
    return found;
}

static int contains(PyObject *object, PyObject *name)
{
    owner *self = hold(object);
    if (self == NULL) return -1;
    bool there = PyUnicode_Check(name) && look(self, name) != NULL; /* others: as in a dict */
    let_go(self);
    return PyErr_Occurred() ? -1 : there;
}

static PyObject *get(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"key", "default", NULL};
    PyObject *name, *otherwise = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:get", words, &name, &otherwise))
        return NULL;
    owner *self = hold(object);
    if (self == NULL) return NULL;
    const tare_tensor *found = look(self, name);
    PyObject *made = found != NULL ? tensor_new(self, found) : NULL;
    let_go(self);
    if (made != NULL || PyErr_Occurred()) return made;
    Py_INCREF(otherwise);
    return otherwise;
}

static Py_ssize_t length(PyObject *object)
{
    owner *self = hold(object);
    if (self == NULL) return -1;
    Py_ssize_t count = (Py_ssize_t)tare_count(self->model);
    let_go(self);
    return count;
}

static PyObject *name_of(const owner *self, const tare_tensor *at)
{
    tare_string name = tare_name(self->model, at);
    return text_decode(name.data, name.size);
}

PyObject *model_names(const owner *self)
{
    size_t count = tare_count(self->model);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *name = name_of(self, tare_at(self->model, i));
        if (name == NULL || PyList_SetItem(list, (Py_ssize_t)i, name) != 0) Py_CLEAR(list);
    }
    return list;
}

/* What Mapping has: views of collections.abc, which ask this object again. */
static PyObject *view(PyObject *self, const char *kind)
{
    if (((model *)self)->owner == NULL) return error_raise_closed(false);
    PyObject *type = module_attribute("collections.abc", kind);
    PyObject *made = type != NULL ? PyObject_CallFunctionObjArgs(type, self, NULL) : NULL;
    Py_XDECREF(type);
    return made;
}

static PyObject *keys(PyObject *self, PyObject *unused)
{
    (void)unused;
    return view(self, "KeysView");
}

static PyObject *values(PyObject *self, PyObject *unused)
{
    (void)unused;
    return view(self, "ValuesView");
}

static PyObject *items(PyObject *self, PyObject *unused)
{
    (void)unused;
    return view(self, "ItemsView");
}

/* Names in the order of the file, of a model that may be closed meanwhile. */
typedef struct iterator {
    PyObject_HEAD owner *owner;
    size_t at;
} iterator;

static PyObject *iterate(PyObject *object)
{
    owner *of = hold(object);
    iterator *self = of != NULL ? object_new(iterator_type) : NULL;
    if (self != NULL)
        self->owner = of;
    else if (of != NULL)
        let_go(of);
    return (PyObject *)self;
}

static PyObject *next(PyObject *object)
{
    iterator *self = (iterator *)object;
    const tare_tensor *at = tare_at(self->owner->model, self->at);
    if (at == NULL) return NULL;
    self->at++;
    return name_of(self->owner, at);
}

static void iterator_free(PyObject *object)
{
    Py_DECREF(((iterator *)object)->owner);
    object_free(object);
}

/* ------------------------------------------------------------------------------------------------
 * What else there is to a model
 */

static PyObject *prefix(PyObject *object, PyObject *text)
{
    tare_string start;
    PyObject *kept;
    if (text_encode(text, &start, &kept) != 0) return NULL;
    owner *self = hold(object);
    PyObject *list = self != NULL ? PyList_New(0) : NULL;
    tare_range range = {0};
    if (list != NULL) range = tare_prefix(self->model, start.data, start.size);
    for (const tare_tensor *at; list != NULL && (at = tare_next(self->model, &range)) != NULL;) {
        PyObject *name = name_of(self, at);
        if (name == NULL || PyList_Append(list, name) != 0) Py_CLEAR(list);
        Py_XDECREF(name);
    }
    if (self != NULL) let_go(self);
    Py_XDECREF(kept);
    return list;
}

static PyObject *get_metadata(PyObject *object, void *unused)
{
    (void)unused;
    model *self = (model *)object;
    owner *of = hold(object);
    if (of == NULL) return NULL;
    PyObject *proxy = self->metadata;
    Py_XINCREF(proxy);
    if (proxy == NULL) {
        PyObject *made = metadata_dict(of->model);
        proxy = made != NULL ? PyDictProxy_New(made) : NULL;
        Py_XDECREF(made);
    }
    /* Another thread may have made one meanwhile, or closed the model. */
    if (proxy != NULL && self->metadata == NULL && self->owner != NULL) {
        Py_INCREF(proxy);
        self->metadata = proxy;
    }
    let_go(of);
    return proxy;
}

static PyObject *get_shards(PyObject *object, void *unused)
{
    (void)unused;
    owner *self = hold(object);
    if (self == NULL) return NULL;
    size_t count = tare_shard_count(self->model);
    PyObject *made = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; made != NULL && i < count; i++) {
        tare_string name = tare_shard_at(self->model, i).name;
        PyObject *text = PyUnicode_DecodeFSDefaultAndSize(name.data, (Py_ssize_t)name.size);
        if (text == NULL || PyTuple_SetItem(made, (Py_ssize_t)i, text) != 0) Py_CLEAR(made);
    }
    let_go(self);
    return made;
}

static PyObject *load(PyObject *object, PyObject *args, PyObject *kwargs)
{
    owner *self = hold(object);
    if (self == NULL) return NULL;
    PyObject *made = load_call(self, args, kwargs);
    let_go(self);
    return made;
}

/* ------------------------------------------------------------------------------------------------
 * Index files
 */

typedef tare_status index_call(const tare_model *model, const char *path,
                               const tare_index_options *options, tare_error *error);

/* Calls it without the GIL. `path` NULL or None: where tare_open looks. */
static PyObject *call_index(PyObject *object, PyObject *path, uint32_t flags, index_call *call)
{
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    PyObject *encoded = NULL;
    tare_error error;
    tare_status status;
    options.flags = flags;
    if (path != NULL && path != Py_None && !PyUnicode_FSConverter(path, &encoded)) return NULL;
    const char *text = encoded != NULL ? PyBytes_AsString(encoded) : NULL;
    owner *self = hold(object);
    if (self != NULL) {
        Py_BEGIN_ALLOW_THREADS status = call(self->model, text, &options, &error);
        Py_END_ALLOW_THREADS if (status != TARE_OK) error_raise(&error, false);
        let_go(self);
    }
    Py_XDECREF(encoded);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static PyObject *save_index(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"path", "replace", NULL};
    PyObject *path = NULL;
    int replace = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$p:save_index", words, &path, &replace))
        return NULL;
    return call_index(self, path, replace ? TARE_SAVE_REPLACE : 0, tare_index_save);
}

static PyObject *check_index(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"path", NULL};
    PyObject *path = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:check_index", words, &path)) return NULL;
    return call_index(self, path, 0, tare_index_check);
}

static PyObject *get_index_path(PyObject *object, void *unused)
{
    (void)unused;
    owner *self = hold(object);
    if (self == NULL) return NULL;
    tare_string path = tare_index_path(self->model);
    PyObject *made = Py_None;
    if (path.data != NULL)
        made = PyUnicode_DecodeFSDefaultAndSize(path.data, (Py_ssize_t)path.size);
    else
        Py_INCREF(made);
    let_go(self);
    return made;
}

static PyObject *get_index_error(PyObject *object, void *unused)
{
    (void)unused;
    tare_error error;
    owner *self = hold(object);
    if (self == NULL) return NULL;
    PyObject *made = Py_None;
    if (tare_index_status(self->model, &error) != TARE_OK)
        made = error_object(&error, false);
    else
        Py_INCREF(made);
    let_go(self);
    return made;
}

/* ------------------------------------------------------------------------------------------------
 * Its end
 */

static PyObject *get_closed(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((model *)self)->owner == NULL);
}

static PyObject *close_model(PyObject *self, PyObject *unused)
{
    (void)unused;
    model_clear(self);
    Py_RETURN_NONE;
}

static PyObject *enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (((model *)self)->owner == NULL) return error_raise_closed(false);
    Py_INCREF(self);
    return self;
}

static PyObject *leave(PyObject *self, PyObject *args)
{
    (void)args;
    return close_model(self, NULL);
}

static PyObject *represent(PyObject *object)
{
    owner *self = ((model *)object)->owner;
    if (self == NULL) return PyUnicode_FromString("<tare.Model, closed>");
    owner_keep(self);
    tare_string name = tare_shard_at(self->model, 0).name;
    PyObject *text = PyUnicode_DecodeFSDefaultAndSize(name.data, (Py_ssize_t)name.size),
             *made = NULL;
    size_t shards = tare_shard_count(self->model);
    if (text != NULL)
        made = PyUnicode_FromFormat("<tare.Model %R: %zu tensors, %zu shard%s>", text,
                                    tare_count(self->model), shards, shards == 1 ? "" : "s");
    Py_XDECREF(text);
    let_go(self);
    return made;
}

/* ------------------------------------------------------------------------------------------------
 * Types
 */

static PyGetSetDef model_members[] = {
    {"metadata", get_metadata, NULL, "What the files say beside tensors, as a read-only mapping.",
     NULL},
    {"shards", get_shards, NULL, "The names of its files, in the order that Tensor.shard counts.",
     NULL},
    {"index_path", get_index_path, NULL,
     "Where save_index() puts the index file, and open() looks for it; None for bytes.", NULL},
    {"index_error", get_index_error, NULL,
     "None for a model from an index file, else the TareError that tells why it is not.", NULL},
    {"closed", get_closed, NULL, "Whether it was closed.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef model_methods[] = {
    {"get", TAREPY_WORDS(get),
     TAREPY_DOC("get($self, /, key, default=None)", "The tensor of that name, or `default`.")},
    {"keys", keys, METH_NOARGS, TAREPY_DOC("keys($self, /)", "A view of the names.")},
    {"values", values, METH_NOARGS, TAREPY_DOC("values($self, /)", "A view of the tensors.")},
    {"items", items, METH_NOARGS, TAREPY_DOC("items($self, /)", "A view of names and tensors.")},
    {"prefix", prefix, METH_O,
     TAREPY_DOC("prefix($self, prefix, /)",
                "A list of the names that start so, in the order of the file.")},
    {"load", TAREPY_WORDS(load),
     TAREPY_DOC("load($self, /, names=None, align=None, threads=None, progress=None, direct=None, "
                "*, framework=None, device=None, slices=None)",
                "Reads tensors into one block of memory: a dict of arrays.\n\n"
                "names: an iterable of names or tensors; None is all.\n"
                "align: bytes that each is aligned to, a power of two up to 2 MiB; None is 64.\n"
                "threads: how many read; None leaves it to the library.\n"
                "progress: True for a bar of tqdm, or a function of bytes done and in all.\n"
                "direct: whether to read past the page cache; None takes the faster way.\n"
                "framework: 'numpy' or 'torch'.\n"
                "device: a GPU to load to: a Device, 'cuda:0', a number, a torch.device.\n"
                "slices: a mapping of names to the part that is read of each: an index without\n"
                "steps, as tensor[...] takes it, or (start, stop) for each dimension.")},
    {"save_index", TAREPY_WORDS(save_index),
     TAREPY_DOC("save_index($self, /, path=None, *, replace=False)",
                "Writes the index file, with which open() need not read headers.\n\n"
                "path: where to; None is where open() looks for it: index_path.\n"
                "replace: whether it may take the place of a file that is no index file.")},
    {"check_index", TAREPY_WORDS(check_index),
     TAREPY_DOC("check_index($self, /, path=None)",
                "Raises unless the index file is what save_index() would write now. The model\n"
                "must have been opened with index='never'.")},
    {"close", close_model, METH_NOARGS,
     TAREPY_DOC("close($self, /)",
                "Ends the use of the model. Tensors and arrays that are there stay as they are.")},
    {"__enter__", enter, METH_NOARGS, TAREPY_DOC("__enter__($self, /)", "The model itself.")},
    {"__exit__", leave, METH_VARARGS,
     TAREPY_DOC("__exit__($self, kind, error, trace, /)", "Closes the model.")},
    {"__reduce__", object_refuse_pickle, METH_NOARGS,
     TAREPY_DOC("__reduce__($self, /)", "Raises: an open file cannot be pickled.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot model_slots[] = {
    {Py_tp_doc, (void *)"An open model: a read-only mapping of names to tensors, in the order of "
                        "the file. open() makes them."},
    {Py_tp_new, (void *)object_refuse_new},
    {Py_tp_dealloc, (void *)model_free},
    {Py_tp_traverse, (void *)model_visit},
    {Py_tp_clear, (void *)model_clear},
    {Py_tp_repr, (void *)represent},
    {Py_tp_iter, (void *)iterate},
    {Py_tp_getset, model_members},
    {Py_tp_methods, model_methods},
    {Py_mp_length, (void *)length},
    {Py_mp_subscript, (void *)get_item},
    {Py_sq_contains, (void *)contains},
    {0, NULL},
};

static PyType_Spec model_spec = {
    "tare._tare.Model", sizeof(model), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, model_slots,
};

static PyType_Slot iterator_slots[] = {
    {Py_tp_new, (void *)object_refuse_new},
    {Py_tp_dealloc, (void *)iterator_free},
    {Py_tp_iter, (void *)PyObject_SelfIter},
    {Py_tp_iternext, (void *)next},
    {0, NULL},
};

static PyType_Spec iterator_spec = {
    "tare._tare.NameIterator", sizeof(iterator), 0, Py_TPFLAGS_DEFAULT, iterator_slots,
};

int model_add_types(void)
{
    return module_add_type(&model_spec, &model_type) == 0
               ? module_add_type(&iterator_spec, &iterator_type)
               : -1;
}
