/* What tests of loads to devices of the fake driver begin and end with. */
#ifndef EXPECT_DEVICE_H
#define EXPECT_DEVICE_H

#include "expect.h"
#include "fake_cuda.h"

static inline tare_device *expect_device(const char *name)
{
    tare_device *device = NULL;
    tare_error error = expect_poison();
    cr_assert_eq(tare_device_open(name, NULL, &device, &error), TARE_OK, "%s", error.message);
    return device;
}

static inline void expect_device_clean(const char *what)
{
    cr_assert(fake_cuda_clean(), "%s: %s", what, fake_cuda()->mistake);
}

#endif
