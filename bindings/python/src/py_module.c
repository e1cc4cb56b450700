#include "tarepy.h"

#include <string.h>

static PyObject *this_module;

/* ------------------------------------------------------------------------------------------------
 * Helpers of all files
 */

PyObject *text_decode(const char *data, size_t size)
{
    return PyUnicode_DecodeUTF8(data, (Py_ssize_t)size, "surrogateescape");
}

int text_encode(PyObject *text, tare_string *bytes, PyObject **kept)
{
    Py_ssize_t size = 0;
    *kept = NULL;
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "a name is a str, not %R", (PyObject *)Py_TYPE(text));
        return -1;
    }
    bytes->data = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes->data == NULL) { /* lone surrogates */
        PyErr_Clear();
        *kept = PyUnicode_AsEncodedString(text, "utf-8", "surrogateescape");
        if (*kept == NULL) PyErr_Clear(); /* others than text_decode makes: no file has them */
        if (*kept == NULL) *kept = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
        if (*kept == NULL) return -1;
        bytes->data = PyBytes_AsString(*kept);
        size = PyBytes_Size(*kept);
    }
    bytes->size = (size_t)size;
    return 0;
}

PyObject *module_attribute(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    if (imported == NULL) return NULL;
    PyObject *found = PyObject_GetAttrString(imported, name);
    Py_DECREF(imported);
    return found;
}

int module_add_type(PyType_Spec *spec, PyTypeObject **type)
{
    PyObject *made = PyType_FromSpec(spec);
    if (made == NULL) return -1;
    *type = (PyTypeObject *)made; /* this reference stays */
    const char *dot = strrchr(spec->name, '.');
    Py_INCREF(made);
    if (PyModule_AddObject(this_module, dot + 1, made) == 0) return 0;
    Py_DECREF(made);
    return -1;
}

void *object_new(PyTypeObject *type)
{
    return PyType_GenericAlloc(type, 0);
}

void object_free(void *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_Free(self);
    Py_DECREF(type);
}

PyObject *object_refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args, (void)kwargs;
    PyErr_Format(PyExc_TypeError, "%R is not made by hand: use tare.open()", (PyObject *)type);
    return NULL;
}

PyObject *object_refuse_pickle(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyErr_Format(PyExc_TypeError,
                 "%R cannot be pickled: it is an open file. Pickle its path and open it again, or "
                 "arrays: Tensor.numpy()",
                 (PyObject *)Py_TYPE(self));
    return NULL;
}

/* ------------------------------------------------------------------------------------------------
 * The module
 */

/* The number of a word in the list; 0, or an exception. */
static int take_word(const char *word, const char *name, const char *const *list, uint32_t *number)
{
    for (uint32_t i = 0; list[i] != NULL; i++) {
        if (strcmp(word, list[i]) != 0) continue;
        *number = i;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "%s cannot be '%s'", name, word);
    return -1;
}

/* For PyArg_Parse. The library has 0 for its own limit, which here is None. */
static int take_limit(PyObject *object, void *place)
{
    uint64_t *limit = place;
    if (object == Py_None) return 1;
    *limit = PyLong_AsUnsignedLongLong(object);
    if (!PyErr_Occurred() && *limit != 0) return 1;
    if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_OverflowError))
        PyErr_SetString(PyExc_ValueError, "a limit is from 1 to 2**64 - 1");
    return 0;
}

static PyObject *module_open(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static const char *const uses[] = {"auto", "never", "require", NULL}; /* TARE_INDEX_* */
    static const char *const checks[] = {"time", "header", NULL};         /* TARE_INDEX_BY_* */
    static char *words[] = {"source",
                            "mmap",
                            "index",
                            "index_file",
                            "index_check",
                            "header_size_max",
                            "tensor_count_max",
                            "rank_max",
                            "name_size_max",
                            "metadata_size_max",
                            NULL};
    PyObject *source, *mmap = Py_None, *file = Py_None;
    const char *index = uses[0], *check = checks[0];
    opening how = {.backing = TARE_BACKING_AUTO};
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "O|$OsOsO&O&O&O&O&:open", words, &source, &mmap, &index, &file, &check,
            take_limit, &how.header_size_max, take_limit, &how.tensor_count_max, take_limit,
            &how.rank_max, take_limit, &how.name_size_max, take_limit, &how.metadata_size_max) ||
        take_word(index, "index", uses, &how.index) != 0 ||
        take_word(check, "index_check", checks, &how.index_check) != 0)
        return NULL;
    if (file != Py_None) how.index_file = file;
    if (mmap != Py_None) {
        int wanted = PyObject_IsTrue(mmap);
        if (wanted < 0) return NULL;
        how.backing = wanted ? TARE_BACKING_MAP : TARE_BACKING_READ;
    }
    return model_open(source, &how);
}

static PyMethodDef module_methods[] = {
    {"open", TAREPY_WORDS(module_open),
     TAREPY_DOC("open($module, /, source, *, mmap=None, index='auto', index_file=None, "
                "index_check='time', header_size_max=None, tensor_count_max=None, rank_max=None, "
                "name_size_max=None, metadata_size_max=None)",
                "Opens a model: a Model.\n\n"
                "source: the path of a safetensors or GGUF file, of a shard index, or of a folder "
                "that\n  holds one model; or an object with the bytes of a file.\n"
                "mmap: False reads tensors when they are asked for, True raises where the file "
                "cannot be\n  mapped, None maps it if that can be.\n"
                "index: 'auto' uses an index file of Model.save_index() if there is one that fits; "
                "'never'\n  reads the headers; 'require' raises without one.\n"
                "index_file: the path or the bytes of that file; None: Model.index_path.\n"
                "index_check: how it is told to be that of the model: by 'time' of modification "
                "and\n  size of its files, or by 'header', which is read and compared.\n"
                "header_size_max, tensor_count_max, rank_max, name_size_max, metadata_size_max: "
                "a model\n  with more is refused. Bytes of a shard's header and of a name, "
                "dimensions of a tensor,\n  bytes of all keys and values; None: the library's "
                "own limits.")},
    {"save", save_call, METH_VARARGS,
     TAREPY_DOC("save($module, path, specs, metadata, align, /)",
                "What tare.save() and tare.save_file() call.")},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tare._tare",
    .m_size = -1,
    .m_methods = module_methods,
};

PyMODINIT_FUNC PyInit__tare(void);

PyMODINIT_FUNC PyInit__tare(void)
{
    this_module = PyModule_Create(&module_def);
    if (this_module == NULL) return NULL;
    if (owner_add_types() == 0 && tensor_add_types() == 0 && model_add_types() == 0 &&
        safe_add_types() == 0 && device_add_types() == 0 &&
        PyModule_AddStringConstant(this_module, "__version__", tare_version()) == 0)
        return this_module;
    Py_CLEAR(this_module);
    return NULL;
}
