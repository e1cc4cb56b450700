/* What nearly every test asks of an open call, as Criterion assertions. `what` names the case. */
#ifndef EXPECT_H
#define EXPECT_H

#include <criterion/criterion.h>
#include <stdint.h>

#include "builder.h"
#include "tare.h"

/* An error that tests hand to a call: filled with bytes that no call leaves. */
tare_error expect_poison(void);

/* Something that is not NULL, for outputs that must become NULL. */
tare_model *expect_no_model(void);

/* The call succeeded, and so says the error; ends the test if not. */
void expect_opened(const char *what, tare_status status, const tare_model *model,
                   const tare_error *error);

/* The call failed with that status and place, the model is NULL, the message fit to print. */
void expect_refused(const char *what, tare_status wanted, uint64_t offset, tare_status status,
                    const tare_model *model, const tare_error *error);

/* The same whatever the place is. */
void expect_status(const char *what, tare_status wanted, tare_status status,
                   const tare_model *model, const tare_error *error);

/* The message holds this text. */
void expect_message(const char *what, const char *text, const tare_error *error);

/* The model's tensor at `index` has these facts; offset counts from the start of the shard. */
void expect_tensor(const char *what, const tare_model *model, size_t index, const char *name,
                   size_t name_size, const char *dtype, const uint64_t *shape, uint32_t rank,
                   uint64_t offset, uint64_t size);

/* tare_data (where there is some) and tare_read of the tensor give these bytes. */
void expect_bytes(const char *what, const tare_model *model, const tare_tensor *tensor,
                  const void *bytes, size_t size);

/* Both models list the same tensors with the same facts and bytes, and the same metadata. */
void expect_same_models(const char *what, const tare_model *a, const tare_model *b);

/* Opens bytes, or a path, with options that are the defaults otherwise; ends the test where that
 * fails. The bytes stay the caller's. */
tare_model *expect_open_bytes(const char *what, const build_text *file);
tare_model *expect_open_path(const char *what, const char *path, uint32_t backing);

#endif
