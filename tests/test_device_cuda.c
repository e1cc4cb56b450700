#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/fake_cuda.h"

void *__real_dlopen(const char *name, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlsym(void *library, const char *name);

static const char *opened_instead;
static const char *missing;

void *__wrap_dlopen(const char *name, int flags)
{
    return __real_dlopen(opened_instead != NULL ? opened_instead : name, flags);
}

void *__wrap_dlsym(void *library, const char *name)
{
    return missing != NULL && strcmp(name, missing) == 0 ? NULL : __real_dlsym(library, name);
}

TestSuite(device_cuda, .init = fake_cuda_reset, .timeout = 60);

static tare_device *expect_no_device(void)
{
    static char room;
    return (tare_device *)(void *)&room;
}

static void expect_refused_device(const char *what, tare_status wanted, const char *name,
                                  const char *text)
{
    tare_device *device = expect_no_device();
    tare_error error = expect_poison();
    tare_status status = tare_device_open(name, NULL, &device, &error);
    expect_status(what, wanted, status, NULL, &error);
    cr_expect_null(device, "%s", what);
    expect_message(what, text, &error);
    cr_expect(fake_cuda_clean(), "%s: %s", what, fake_cuda()->mistake);
}

static tare_device *open_device(const char *name)
{
    tare_device *device = expect_no_device();
    tare_error error = expect_poison();
    tare_status status = tare_device_open(name, NULL, &device, &error);
    cr_assert_eq(status, TARE_OK, "%s: %s", name, error.message);
    cr_assert_eq(error.status, TARE_OK);
    return device;
}

Test(device_cuda, without_a_driver_it_says_what_was_looked_for)
{
    opened_instead = "libtare-has-no-such-library.so.1";
    expect_refused_device("no library", TARE_E_UNSUPPORTED, "cuda:0", "no driver: ");
    expect_refused_device("no library", TARE_E_UNSUPPORTED, "cuda:0", opened_instead);
}

Test(device_cuda, a_function_that_is_missing_is_named)
{
    static const char *const names[] = {"cuInit",
                                        "cuGetErrorName",
                                        "cuDeviceGetCount",
                                        "cuDeviceGet",
                                        "cuDeviceGetName",
                                        "cuDeviceGetAttribute",
                                        "cuDevicePrimaryCtxRetain",
                                        "cuDevicePrimaryCtxRelease_v2",
                                        "cuCtxGetCurrent",
                                        "cuCtxGetDevice",
                                        "cuCtxPushCurrent_v2",
                                        "cuCtxPopCurrent_v2",
                                        "cuMemAlloc_v2",
                                        "cuMemFree_v2",
                                        "cuMemHostAlloc",
                                        "cuMemFreeHost",
                                        "cuMemHostRegister_v2",
                                        "cuMemHostUnregister",
                                        "cuMemcpyHtoDAsync_v2",
                                        "cuStreamCreate",
                                        "cuStreamSynchronize",
                                        "cuStreamDestroy_v2",
                                        "cuEventCreate",
                                        "cuEventRecord",
                                        "cuEventSynchronize",
                                        "cuEventElapsedTime",
                                        "cuEventDestroy_v2"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[80];
        snprintf(text, sizeof text, "has no %s: the driver is too old", names[i]);
        missing = names[i];
        expect_refused_device(names[i], TARE_E_UNSUPPORTED, "cuda:0", text);
    }
    cr_expect_eq(fake_cuda()->call_count, 0);
}

Test(device_cuda, a_driver_that_cannot_start_is_unsupported)
{
    static const struct {
        int result;
        const char *text;
    } rows[] = {
        {FAKE_E_NO_DEVICE, "cuda:0: cuInit: CUDA_ERROR_NO_DEVICE (100)"},
        {FAKE_E_NOT_INITIALIZED, "cuda:0: cuInit: CUDA_ERROR_NOT_INITIALIZED (3)"},
        {FAKE_E_ODD, "cuda:0: cuInit: an unknown error (12345)"},
        {FAKE_E_NAMELESS, "cuda:0: cuInit: an unknown error (12346)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fake_cuda_reset();
        fake_cuda()->fail_at = 1;
        fake_cuda()->fail_result = rows[i].result;
        expect_refused_device(rows[i].text, TARE_E_UNSUPPORTED, "cuda:0", rows[i].text);
    }
    fake_cuda_reset();
    fake_cuda()->fail_at = 1;
    expect_refused_device("current", TARE_E_UNSUPPORTED, "cuda", "cuda: cuInit: ");
}

Test(device_cuda, a_device_that_is_not_there_is_unsupported)
{
    expect_refused_device("2", TARE_E_UNSUPPORTED, "cuda:2", "no device 2: the driver has 2");
    expect_refused_device("9999", TARE_E_UNSUPPORTED, "cuda:9999", "no device 9999");
    fake_cuda()->device_count = 0;
    expect_refused_device("none", TARE_E_UNSUPPORTED, "cuda", "no device 0: the driver has 0");
}

Test(device_cuda, the_primary_context_is_taken_where_there_is_no_other)
{
    tare_device *device = open_device("cuda");
    tare_device *second = open_device("cuda:1");
    cr_expect_eq(fake_cuda()->retained, 2);
    cr_expect_null(fake_cuda_current());
    cr_expect_eq(tare_device_describe(device).number, 0);
    cr_expect_eq(tare_device_describe(second).number, 1);
    tare_device_close(device);
    tare_device_close(second);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device_cuda, the_current_context_is_used_and_left_as_it_was)
{
    void *context = fake_cuda_context(1);
    fake_cuda_set_current(context);
    tare_device *device = open_device("cuda"); /* whichever the context is of */
    tare_device *same = open_device("cuda:1");
    cr_expect_eq(tare_device_describe(device).number, 1);
    cr_expect_eq(tare_device_describe(same).number, 1);
    cr_expect_eq(fake_cuda()->retained, 0);
    tare_device *other = open_device("cuda:0"); /* not the current one's */
    cr_expect_eq(fake_cuda()->retained, 1);
    double rate = 0;
    cr_expect_eq(tare_device_measure(device, 1, &rate, NULL), TARE_OK);
    cr_expect_eq(tare_device_measure(other, 1, &rate, NULL), TARE_OK);
    cr_expect_eq(fake_cuda_current(), context);
    tare_device_close(device);
    tare_device_close(same);
    tare_device_close(other);
    cr_expect_eq(fake_cuda_current(), context);
    fake_cuda_set_current(NULL);
    fake_cuda_context_free(context);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

Test(device_cuda, results_become_statuses_and_keep_their_names)
{
    static const struct {
        int result;
        tare_status status;
        const char *text;
    } rows[] = {
        {FAKE_E_MEMORY, TARE_E_MEMORY,
         "cuda:1: cuMemHostRegister_v2: CUDA_ERROR_OUT_OF_MEMORY (2)"},
        {FAKE_E_NOT_SUPPORTED, TARE_E_UNSUPPORTED, "CUDA_ERROR_NOT_SUPPORTED (801)"},
        {FAKE_E_ADDRESS, TARE_E_DEVICE, "CUDA_ERROR_ILLEGAL_ADDRESS (700)"},
        {FAKE_E_ODD, TARE_E_DEVICE, "an unknown error (12345)"},
    };
    tare_device *device = open_device("cuda:1");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tare_error error = expect_poison();
        double rate = 1;
        fake_cuda_reset();
        fake_cuda()->fail_call = FAKE_MemHostRegister;
        fake_cuda()->fail_at = 1;
        fake_cuda()->fail_result = rows[i].result;
        tare_status status = tare_device_measure(device, 0, &rate, &error);
        expect_status(rows[i].text, rows[i].status, status, NULL, &error);
        expect_message(rows[i].text, rows[i].text, &error);
        cr_expect_eq(rate, 0);
    }
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}

/* What is pinned then is memory of the driver's. */
Test(device_cuda, memory_that_is_there_may_be_none_to_pin)
{
    static const int calls[] = {FAKE_MemHostAlloc, FAKE_MemFreeHost, FAKE_MemHostRegister,
                                FAKE_MemHostUnregister};
    for (int no_register = 0; no_register < 2; no_register++) {
        double rate;
        fake_cuda_reset();
        fake_cuda()->no_register = no_register;
        tare_device *device = open_device("cuda:0");
        cr_assert_eq(tare_device_measure(device, 1, &rate, NULL), TARE_OK);
        for (int i = 0; i < 4; i++)
            cr_expect_eq(fake_cuda()->calls[calls[i]], (i < 2) == no_register, "%d %d", i,
                         no_register);
        fake_cuda()->fail_call = calls[no_register ? 0 : 2];
        fake_cuda()->fail_at = 2;
        fake_cuda()->fail_result = FAKE_E_MEMORY;
        cr_expect_eq(tare_device_measure(device, 1, &rate, NULL), TARE_E_MEMORY);
        tare_device_close(device);
        cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
    }
}

Test(device_cuda, every_call_of_opening_may_fail)
{
    void *context = fake_cuda_context(1);
    for (int with_context = 0; with_context < 2; with_context++)
        for (size_t at = 1;; at++) {
            alloc_probe probe;
            tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
            tare_device *device = expect_no_device();
            tare_error error = expect_poison();
            alloc_probe_init(&probe);
            options.allocator = &probe.hooks;
            fake_cuda_reset();
            fake_cuda()->fail_at = at;
            fake_cuda_set_current(with_context ? context : NULL);
            tare_status status = tare_device_open("cuda", &options, &device, &error);
            cr_assert_eq(fake_cuda_current(), with_context ? context : NULL);
            size_t failed = fake_cuda()->failed;
            tare_device_close(device);
            cr_assert_eq(status == TARE_OK, failed == 0, "%zu: %s", at, error.message);
            cr_assert_eq(probe.block_count + probe.mistakes, 0, "%zu", at);
            cr_assert(fake_cuda_clean(), "%zu: %s", at, fake_cuda()->mistake);
            if (failed == 0) break;
            cr_assert_null(device);
            cr_assert_eq(status, at == 1 ? TARE_E_UNSUPPORTED : TARE_E_DEVICE);
        }
    fake_cuda_set_current(NULL);
    fake_cuda_context_free(context);
}

Test(device_cuda, nothing_is_measured_where_its_context_is_refused)
{
    tare_device *device = open_device("cuda:0");
    tare_error error = expect_poison();
    double rate = 1;
    fake_cuda_reset();
    fake_cuda()->fail_call = FAKE_CtxPushCurrent;
    fake_cuda()->fail_at = 1;
    tare_status status = tare_device_measure(device, 1, &rate, &error);
    expect_status("refused", TARE_E_DEVICE, status, NULL, &error);
    expect_message("refused", "cuda:0: cuCtxPushCurrent_v2: ", &error);
    cr_expect_eq(rate, 0);
    fake_cuda_reset();
    tare_device_close(device);
    cr_expect(fake_cuda_clean(), "%s", fake_cuda()->mistake);
}
