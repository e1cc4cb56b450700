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

static PyObject *module_open(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"source", "mmap", NULL};
    PyObject *source, *mmap = Py_None;
    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:open", words, &source, &mmap)) return NULL;
    uint32_t backing = TARE_BACKING_AUTO;
    if (mmap != Py_None) {
        int wanted = PyObject_IsTrue(mmap);
        if (wanted < 0) return NULL;
        backing = wanted ? TARE_BACKING_MAP : TARE_BACKING_READ;
    }
    return model_open(source, backing);
}

static PyObject *module_dtype_bits(PyObject *module, PyObject *name)
{
    tare_string text;
    PyObject *kept;
    (void)module;
    if (text_encode(name, &text, &kept) != 0) return NULL;
    tare_dtype dtype = tare_dtype_find(text.data, text.size);
    Py_XDECREF(kept);
    return PyLong_FromUnsignedLong(dtype != 0 ? tare_dtype_bits(dtype) : 0);
}

static PyMethodDef module_methods[] = {
    {"open", (PyCFunction)(void (*)(void))module_open, METH_VARARGS | METH_KEYWORDS, NULL},
    {"save", save_call, METH_VARARGS, NULL},
    {"dtype_bits", module_dtype_bits, METH_O, NULL},
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
