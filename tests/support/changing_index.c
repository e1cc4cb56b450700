#include "changing_index.h"

#include <stdlib.h>
#include <string.h>

#include "expect.h"
#include "load_traps.h"

/* What it becomes: the other model's; bytes that make no sense; the other's for one load. */
enum { OTHER, ONES, OTHER_ONCE, CHANGE_COUNT };

changing_index changing;

static index_image good, images[CHANGE_COUNT];
static int wanted; /* the change to be made */

static index_image index_of(const temp_path *path, tare_digest *digests)
{
    tare_model *model = expect_open_path("parsed", path->text, TARE_BACKING_AUTO);
    index_image image = index_make(model, temp_join(&changing.folder, "made").text);
    for (size_t i = 0; digests != NULL && i < 2; i++)
        cr_assert_eq(tare_hash(model, tare_at(model, i), &digests[i], NULL), TARE_OK);
    tare_close(model);
    return image;
}

void changing_make(build_text file, build_text other)
{
    changing.folder = temp_folder_make();
    changing.file = file;
    changing.path = temp_write_text(&changing.folder, "model", &file);
    const temp_path other_path = temp_write_built(&changing.folder, "other", other);
    good = index_of(&changing.path, changing.digests);
    images[OTHER] = index_of(&other_path, NULL);
    cr_assert_eq(good.size, images[OTHER].size);
    images[ONES] = index_copy(good.bytes, good.size);
    memset(images[ONES].bytes, 0xFF, good.size);
    images[OTHER_ONCE] = index_copy(images[OTHER].bytes, good.size);
    changing.mapped = (index_image){load_traps_take(good.size), good.size};
}

void changing_drop(void)
{
    load_traps_give();
    for (size_t i = 0; i < CHANGE_COUNT; i++) index_free(&images[i]);
    index_free(&good);
    build_free(&changing.file);
    temp_folder_remove(&changing.folder);
}

tare_status changing_open(const index_image *image, uint32_t index_check, uint64_t rank_max,
                          tare_model **model, tare_error *error)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image->bytes;
    options.index_size = image->size;
    options.index_check = index_check;
    options.rank_max = rank_max;
    if (changing.from_path) return tare_open(changing.path.text, &options, model, error);
    return tare_open_bytes(changing.file.data, changing.file.size, &options, model, error);
}

static void change(int step)
{
    const index_image *image = step == 1 && wanted == OTHER_ONCE ? &good : &images[wanted];
    memcpy(changing.mapped.bytes, image->bytes, image->size);
    changing.changed = true;
}

size_t changing_run(void (*use)(uint32_t how), uint32_t how, bool opened)
{
    tare_error error = expect_poison();
    size_t loads = 0;
    for (wanted = 0; wanted < CHANGE_COUNT; wanted++) {
        size_t at = 0;
        do {
            memcpy(changing.mapped.bytes, good.bytes, good.size);
            changing.model = NULL;
            changing.changed = false;
            if (opened)
                cr_assert_eq(changing_open(&changing.mapped, 0, 0, &changing.model, &error),
                             TARE_OK);
            load_traps_begin(++at, change);
            use(how);
            load_traps_end();
            tare_close(changing.model);
        } while (changing.changed);
        loads += at - 1;
    }
    return loads;
}

bool changing_fine(tare_status status, const tare_error *error)
{
    cr_assert_eq(status, error->status);
    cr_assert(status == TARE_OK || error->message[0] != 0);
    cr_assert(status == TARE_OK || changing.changed, "%s", error->message);
    return status == TARE_OK;
}

void changing_inside(const void *bytes, uint64_t size)
{
    const uint8_t *at = bytes, *index = changing.mapped.bytes;
    if (size == 0) return;
    cr_assert(at >= index && size <= (size_t)(index + changing.mapped.size - at));
}

void *changing_take(uint64_t size)
{
    cr_assert_lt(size, 1000);
    void *taken = malloc(size != 0 ? (size_t)size : 1);
    cr_assert_not_null(taken);
    return taken;
}
