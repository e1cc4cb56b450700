/* Many tensors into one block. The GIL is given up until the library tells how far it is. */
#include "tarepy.h"

#include <string.h>

#include <time.h>

#define REPORT_SECONDS 0.05

typedef struct loading {
    PyObject *progress; /* to call with (done, total), or NULL */
    PyThreadState *thread;
    double reported;
    bool failed; /* an exception is set */
} loading;

typedef struct wanted {
    PyObject *names;             /* a list of str; NULL: all */
    const tare_tensor **tensors; /* NULL: all */
    slice_part *parts;           /* NULL: whole ones */
    tare_slice *slices;          /* the same as the library has them */
    size_t count;
} wanted;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Where signals are looked at, so that Ctrl-C stops a load. Not at every chunk: taking the GIL
 * waits for whatever other thread has it. */
static int report(void *context, uint64_t done, uint64_t total)
{
    loading *self = context;
    double time = now();
    if (time - self->reported < REPORT_SECONDS && done != 0 && done != total) return 0;
    self->reported = time;
    PyEval_RestoreThread(self->thread);
    self->failed = PyErr_CheckSignals() != 0;
    if (!self->failed && self->progress != NULL) {
        PyObject *answer = PyObject_CallFunction(self->progress, "KK", (unsigned long long)done,
                                                 (unsigned long long)total);
        self->failed = answer == NULL;
        Py_XDECREF(answer);
    }
    self->thread = PyEval_SaveThread();
    return self->failed;
}

static tare_block *load_block(owner *self, const wanted *list, const tare_load_options *options,
                              PyObject *progress)
{
    loading context = {.progress = progress};
    tare_load_options how = *options;
    tare_block *block;
    tare_error error;
    how.progress = report;
    how.progress_context = &context;
    context.thread = PyEval_SaveThread();
    tare_status status = tare_load(self->model, list->tensors, list->count, &how, &block, &error);
    PyEval_RestoreThread(context.thread);
    if (context.failed) return NULL;
    if (status != TARE_OK) error_raise(&error, self->safe);
    return block;
}

static const tare_tensor *tensor_at(const owner *self, const wanted *list, size_t i)
{
    return list->tensors != NULL ? list->tensors[i] : tare_at(self->model, i);
}

static int check_dtypes(const owner *self, const wanted *list, framework kind)
{
    uint64_t seen = 0; /* dtypes, of which there are fewer than 64 */
    for (size_t i = 0; i < list->count; i++) {
        tare_dtype dtype = tare_describe(self->model, tensor_at(self, list, i)).dtype;
        if ((seen >> dtype & 1) != 0) continue;
        seen |= UINT64_C(1) << dtype;
        if (array_check(kind, dtype) != 0) return -1;
    }
    return 0;
}

void load_place(piece *made, const tare_block *block, size_t i)
{
    const tare_device *device = tare_block_device(block);
    made->data = tare_block_data(block, i);
    made->size = tare_block_size(block, i);
    if (device == NULL) return;
    const tare_device_info place = tare_device_describe(device);
    made->device_kind = (int)place.kind;
    made->device_number = (int)place.number;
}

static PyObject *make_dict(owner *self, const wanted *list, framework kind, memory *block)
{
    PyObject *made = PyDict_New();
    for (size_t i = 0; made != NULL && i < list->count; i++) {
        const tare_info info = tare_describe(self->model, tensor_at(self, list, i));
        const slice_part *part = list->parts != NULL ? &list->parts[i] : NULL;
        bool whole = part == NULL || part->start == NULL;
        piece from = {.base = (PyObject *)block,
                      .shape = whole ? info.shape : part->shape,
                      .rank = whole ? info.rank : part->rank,
                      .dtype = info.dtype,
                      .writable = true};
        load_place(&from, block->block, i);
        PyObject *name = list->names != NULL ? PyList_GetItem(list->names, (Py_ssize_t)i)
                                             : text_decode(info.name, info.name_size);
        PyObject *array = name != NULL ? array_make(kind, &from) : NULL;
        if (array == NULL || PyDict_SetItem(made, name, array) != 0) Py_CLEAR(made);
        if (list->names == NULL) Py_XDECREF(name);
        Py_XDECREF(array);
    }
    return made;
}

static PyObject *load_list(owner *self, const wanted *list, framework kind,
                           tare_load_options *options, PyObject *progress)
{
    if (check_dtypes(self, list, kind) != 0) return NULL;
    options->slices = list->slices;
    tare_block *block = load_block(self, list, options, progress);
    memory *loaded = block != NULL ? memory_of_block(block) : NULL;
    if (loaded == NULL) return NULL;
    PyObject *made = make_dict(self, list, kind, loaded);
    Py_DECREF(loaded);
    return made;
}

PyObject *load_all(owner *self, framework kind, tare_device *device)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.device = device;
    const wanted all = {.count = tare_count(self->model)};
    return load_list(self, &all, kind, &options, NULL);
}

PyObject *load_one(owner *self, framework kind, const tare_tensor *at, tare_device *device)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    const wanted one = {.tensors = &at, .count = 1};
    options.device = device;
    PyObject *made = load_list(self, &one, kind, &options, NULL);
    PyObject *values = made != NULL ? PyDict_Values(made) : NULL;
    PyObject *array = values != NULL ? PyList_GetItem(values, 0) : NULL;
    Py_XINCREF(array);
    Py_XDECREF(values);
    Py_XDECREF(made);
    return array;
}

memory *load_slice(owner *self, const tare_tensor *at, const tare_slice *part, tare_device *device)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    const wanted one = {.tensors = &at, .count = 1};
    options.device = device;
    options.slices = part;
    tare_block *block = load_block(self, &one, &options, NULL);
    return block != NULL ? memory_of_block(block) : NULL;
}

/* ------------------------------------------------------------------------------------------------
 * Arguments
 */

/* Replaces tensors among the names by their names. */
static int take_name(PyObject *names, Py_ssize_t i)
{
    PyObject *item = PyList_GetItem(names, i);
    if (!tensor_is(item)) return 0;
    PyObject *name = PyObject_GetAttrString(item, "name");
    return name != NULL ? PyList_SetItem(names, i, name) : -1;
}

static int take_names(const owner *self, PyObject *names, wanted *list)
{
    list->count = tare_count(self->model);
    if (names == Py_None) return 0;
    if (PyUnicode_Check(names)) {
        PyErr_SetString(PyExc_TypeError, "names is an iterable of names, not one: [name]");
        return -1;
    }
    list->names = PySequence_List(names);
    if (list->names == NULL) return -1;
    list->count = (size_t)PyList_Size(list->names);
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is listed */
    list->tensors = PyMem_Malloc((list->count + 1) * sizeof *list->tensors);
    if (list->tensors == NULL) PyErr_NoMemory();
    for (size_t i = 0; list->tensors != NULL && i < list->count; i++) {
        if (take_name(list->names, (Py_ssize_t)i) != 0) return -1;
        list->tensors[i] = model_find(self, PyList_GetItem(list->names, (Py_ssize_t)i));
        if (list->tensors[i] == NULL) return -1;
    }
    return list->tensors != NULL ? 0 : -1;
}

/* A new dict of what `slices` has, by names: tensors may stand for theirs. */
static PyObject *slices_by_name(PyObject *slices)
{
    PyObject *items = PyMapping_Items(slices), *made = items != NULL ? PyDict_New() : NULL;
    for (Py_ssize_t i = 0; made != NULL && i < PyList_Size(items); i++) {
        PyObject *item = PyList_GetItem(items, i), *name = NULL, *key = NULL;
        PyObject *pair = PySequence_Tuple(item);
        if (pair != NULL && PyArg_ParseTuple(pair, "OO", &name, &key) != 0) {
            PyObject *text = tensor_is(name) ? PyObject_GetAttrString(name, "name") : name;
            if (text == NULL || PyDict_SetItem(made, text, key) != 0) Py_CLEAR(made);
            if (text != name) Py_XDECREF(text);
        } else {
            Py_CLEAR(made);
        }
        Py_XDECREF(pair);
    }
    Py_XDECREF(items);
    return made;
}

/* A name that nothing is loaded by would leave a tensor whole that was to be cut. */
static int refuse_unused(const owner *self, PyObject *slices, PyObject *used)
{
    PyObject *name, *key;
    Py_ssize_t at = 0;
    while (PyDict_Next(slices, &at, &name, &key)) {
        int known = PySet_Contains(used, name);
        if (known > 0) continue;
        if (known == 0 && model_find(self, name) != NULL)
            PyErr_Format(PyExc_ValueError, "slices has %R, which is not among names", name);
        return -1;
    }
    return 0;
}

static int take_parts(const owner *self, PyObject *slices, wanted *list)
{
    PyObject *used = PySet_New(NULL);
    int failed = used == NULL;
    for (size_t i = 0; failed == 0 && i < list->count; i++) {
        const tare_tensor *at = tensor_at(self, list, i);
        tare_string text = tare_name(self->model, at);
        PyObject *name = text_decode(text.data, text.size);
        PyObject *key = name != NULL ? PyDict_GetItemWithError(slices, name) : NULL;
        failed = name == NULL || (key == NULL && PyErr_Occurred() != NULL);
        if (key != NULL) {
            Py_INCREF(key);
            failed = PySet_Add(used, name) != 0 || slice_take(&list->parts[i], self, at, key) != 0;
            Py_DECREF(key);
        }
        list->slices[i] = (tare_slice){list->parts[i].start, list->parts[i].stop};
        Py_XDECREF(name);
    }
    if (failed == 0) failed = refuse_unused(self, slices, used);
    Py_XDECREF(used);
    return failed != 0 ? -1 : 0;
}

static int take_slices(const owner *self, PyObject *object, wanted *list)
{
    if (object == Py_None) return 0;
    if (!PyObject_HasAttrString(object, "items")) {
        PyErr_SetString(PyExc_TypeError, "slices is a mapping of names to indices");
        return -1;
    }
    PyObject *slices = slices_by_name(object);
    if (slices == NULL) return -1;
    int failed = 0;
    if (PyDict_Size(slices) != 0) {
        list->parts = PyMem_Calloc(list->count + 1, sizeof *list->parts);
        list->slices = PyMem_Calloc(list->count + 1, sizeof *list->slices);
        if (list->parts != NULL && list->slices != NULL) {
            failed = take_parts(self, slices, list);
        } else {
            PyErr_NoMemory();
            failed = -1;
        }
    }
    Py_DECREF(slices);
    return failed;
}

static void wanted_free(wanted *list)
{
    for (size_t i = 0; list->parts != NULL && i < list->count; i++)
        PyMem_Free(list->parts[i].start);
    PyMem_Free(list->parts);
    PyMem_Free(list->slices);
    PyMem_Free(list->tensors);
    Py_XDECREF(list->names);
}

static int take_number(PyObject *object, const char *name, unsigned long most,
                       unsigned long *number)
{
    if (object == Py_None) return 0;
    *number = PyLong_AsUnsignedLong(object);
    if (!PyErr_Occurred() && *number > 0 && *number <= most) return 0;
    if (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_OverflowError))
        PyErr_Format(PyExc_ValueError, "%s is from 1 to %lu", name, most);
    return -1;
}

/* `name` NULL: what is there without any. */
static int take_framework(const char *name, bool host, framework *kind)
{
    *kind = host ? FRAMEWORK_NUMPY : FRAMEWORK_DEVICE;
    if (name == NULL) return 0;
    if (strcmp(name, "numpy") == 0 && host) return 0;
    if (strcmp(name, "numpy") == 0) {
        PyErr_SetString(PyExc_ValueError, "numpy has no arrays in the memory of a device");
        return -1;
    }
    *kind = FRAMEWORK_TORCH;
    if (strcmp(name, "torch") == 0) return 0;
    PyErr_Format(PyExc_ValueError, "framework is 'numpy' or 'torch', not '%s'", name);
    return -1;
}

/* What to call, or NULL: a new reference. `True` stands for a bar of tqdm, if that is there. */
static int take_progress(PyObject *object, PyObject **progress)
{
    *progress = NULL;
    if (object == Py_None || object == Py_False) return 0;
    if (object != Py_True) {
        Py_INCREF(object);
        *progress = object;
        return 0;
    }
    PyObject *make = module_attribute("tare._progress", "bar");
    PyObject *made = make != NULL ? PyObject_CallFunctionObjArgs(make, NULL) : NULL;
    Py_XDECREF(make);
    if (made == NULL) return -1;
    if (made == Py_None)
        Py_DECREF(made);
    else
        *progress = made;
    return 0;
}

/* Ends the bar, also after a failure, which stays the exception. */
static void end_progress(PyObject *progress)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *done = PyObject_CallMethod(progress, "close", NULL);
    if (done == NULL) PyErr_Clear();
    Py_XDECREF(done);
    PyErr_Restore(type, value, trace);
}

PyObject *load_call(owner *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"names",     "align",  "threads", "progress", "direct",
                            "framework", "device", "slices",  NULL};
    PyObject *names = Py_None, *align = Py_None, *threads = Py_None, *progress = Py_None;
    PyObject *direct = Py_None, *device = Py_None, *slices = Py_None, *call = NULL, *made = NULL;
    const char *name = NULL;
    unsigned long alignment = 0, thread_count = 0; /* the library's own */
    framework kind;
    wanted list = {0};
    device_use use;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOOOO$zOO:load", words, &names, &align,
                                     &threads, &progress, &direct, &name, &device, &slices) ||
        take_number(align, "align", 2 << 20, &alignment) != 0 ||
        take_number(threads, "threads", 1024, &thread_count) != 0)
        return NULL;
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.alignment = alignment;
    options.threads = (uint32_t)thread_count;
    int past = direct != Py_None ? PyObject_IsTrue(direct) : 2;
    if (past < 0) return NULL;
    options.io = past == 2 ? TARE_IO_AUTO : past == 1 ? TARE_IO_DIRECT : TARE_IO_BUFFERED;
    if (device_begin(&use, device) != 0) return NULL;
    options.device = use.device;
    if (take_framework(name, use.device == NULL, &kind) == 0 &&
        take_names(self, names, &list) == 0 && take_slices(self, slices, &list) == 0 &&
        take_progress(progress, &call) == 0) {
        made = load_list(self, &list, kind, &options, call);
        if (call != NULL && progress == Py_True) end_progress(call);
    }
    Py_XDECREF(call);
    wanted_free(&list);
    device_end(&use);
    return made;
}
