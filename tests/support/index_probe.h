/* Index files in memory: made, damaged, made to fit again, and used for all that they can be. */
#ifndef INDEX_PROBE_H
#define INDEX_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "tare.h"

/* An index file, in as many bytes and at a multiple of 64, so that AddressSanitizer sees all reads
 * beyond it and the library copies nothing. */
typedef struct index_image {
    uint8_t *bytes;
    size_t size;
} index_image;

/* That of a model, which is saved to `path` on the way. Ends the program where it cannot be. */
index_image index_make(const tare_model *model, const char *path);
index_image index_copy(const void *bytes, size_t size);
void index_free(index_image *image);

enum { INDEX_SECTION_COUNT = 15 };

/* Of docs/format_index.md. */
uint64_t index_section_offset(const index_image *image, unsigned section);
uint64_t index_section_size(const index_image *image, unsigned section);

/* Gives head and sections the digests of what they hold now, as whoever forges one would. */
void index_seal(index_image *image);

/* Asks a model for everything that it can tell and do, whatever it is made of: every call must come
 * back, and what it hands out must be there to be read. Ends the program where it is not. Returns
 * how many tensors could be read. */
size_t index_use_model(const tare_model *model);

/* Opens bytes of a model with an index, and uses what comes of it. Returns the status of
 * REQUIRE. */
tare_status index_use(const index_image *image, const void *model, size_t model_size);

/* The same of several files. */
tare_status index_use_files(const index_image *image, const tare_file *files, size_t count);

/* The same, but what the index says is moved by a record once the model is open. It is as before
 * when this returns. */
void index_use_moved(const index_image *image, const tare_file *files, size_t count);

#endif
