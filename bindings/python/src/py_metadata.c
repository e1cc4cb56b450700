#include "tarepy.h"

#include <string.h>

static PyObject *value_object(tare_value value);

static PyObject *array_object(tare_value value)
{
    PyObject *list = PyList_New(0);
    for (tare_value item; list != NULL && tare_value_next(&value, &item);) {
        PyObject *made = value_object(item);
        if (made == NULL || PyList_Append(list, made) != 0) Py_CLEAR(list);
        Py_XDECREF(made);
    }
    return list;
}

static PyObject *value_object(tare_value value)
{
    uint64_t whole;
    int64_t with_sign;
    double number;
    int truth;
    tare_string text;
    if (value.kind == TARE_KIND_ARRAY) return array_object(value);
    if (tare_value_string(value, &text) == TARE_OK) return text_decode(text.data, text.size);
    if (tare_value_bool(value, &truth) == TARE_OK) return PyBool_FromLong(truth);
    if (tare_value_u64(value, &whole) == TARE_OK) return PyLong_FromUnsignedLongLong(whole);
    if (tare_value_i64(value, &with_sign) == TARE_OK) return PyLong_FromLongLong(with_sign);
    if (tare_value_f64(value, &number) == TARE_OK) return PyFloat_FromDouble(number);
    Py_RETURN_NONE; /* of a damaged index file */
}

static int add(PyObject *to, tare_string key, tare_value value)
{
    PyObject *name = text_decode(key.data, key.size);
    int there = name != NULL ? PyDict_Contains(to, name) : -1;
    PyObject *made = there == 0 ? value_object(value) : NULL;
    int failed = there < 0 || (there == 0 && (made == NULL || PyDict_SetItem(to, name, made) != 0));
    Py_XDECREF(name);
    Py_XDECREF(made);
    return failed ? -1 : 0;
}

PyObject *metadata_dict(const tare_model *from)
{
    PyObject *made = PyDict_New();
    tare_string key;
    for (size_t i = 0; made != NULL && tare_metadata_at(from, i, &key, NULL, NULL); i++)
        if (add(made, key, tare_metadata_value_at(from, i)) != 0) Py_CLEAR(made);
    return made;
}
