/* Index files that are cut short while they are opened, which is SIGBUS for whoever looks at a
 * mapping of one. */
#define _XOPEN_SOURCE 700
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

static temp_path folder, index_path;

static void make_folder(void)
{
    folder = temp_folder_make();
    os_without_disk = 1;
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_cut, .init = make_folder, .fini = remove_folder, .timeout = 120);

/* At index_path, which is its usual place. */
static void save_index(const char *at)
{
    tare_options never = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    unlink(index_path.text); /* only index files are replaced */
    never.index = TARE_INDEX_NEVER;
    cr_assert_eq(tare_open(at, &never, &model, NULL), TARE_OK);
    cr_assert_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
}

/* An allocator that cuts the index file short at one of its calls. */
typedef struct cutter {
    tare_allocator hooks;
    size_t calls, cut_at;
    off_t size; /* that is left */
} cutter;

static void *allocate(void *context, size_t size, size_t alignment)
{
    cutter *self = context;
    if (++self->calls == self->cut_at) cr_assert_eq(truncate(index_path.text, self->size), 0);
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void release(void *context, void *memory, size_t size, size_t alignment)
{
    (void)context, (void)size, (void)alignment;
    free(memory);
}

/* A list of so many shards that a copy of what its index says of them takes memory of its own. */
static temp_path write_shards(void)
{
    enum { SHARD_COUNT = 100 };
    char list[64 * SHARD_COUNT] = "{\"weight_map\":{", name[32];
    size_t size = strlen(list);
    for (int i = 0; i < SHARD_COUNT; i++) {
        snprintf(name, sizeof name, "s%d.safetensors", i);
        const build_tensor one = {name, 0, "U8", "[3]", 3};
        temp_write_built(&folder, name, build_file(&one, 1, NULL));
        size += (size_t)snprintf(list + size, sizeof list - size, "\"%s\":\"%s\"%s", name, name,
                                 i + 1 < SHARD_COUNT ? "," : "}}");
    }
    return temp_write(&folder, "l.safetensors.index.json", list, size);
}

/* Where the names of its shards end, which are read; the rest is left to who looks at it. */
static off_t end_of_names(void)
{
    size_t size;
    uint8_t *bytes = temp_read(index_path.text, &size);
    index_image image = index_copy(bytes, size);
    off_t end = (off_t)index_section_offset(&image, 2);
    index_free(&image);
    free(bytes);
    return end;
}

Test(prebuilt_cut, at_any_call_of_the_allocator_is_no_signal)
{
    temp_path list = write_shards();
    index_path = temp_join(&folder, "tare.idx");
    save_index(list.text);
    const off_t behind = end_of_names();
    for (int way = 0; way < 4; way++) {
        size_t used = 0, at = 1;
        for (bool cut = true; cut; at++) {
            cutter self = {.hooks = {sizeof(tare_allocator), NULL, allocate, release},
                           .cut_at = at,
                           .size = way % 2 != 0 ? behind : 0};
            tare_options options = TARE_OPTIONS_INIT;
            tare_model *model;
            tare_error error;
            self.hooks.context = &self;
            options.allocator = &self.hooks;
            options.rank_max = way / 2 != 0 ? 9 : 0;
            save_index(list.text);
            tare_status status = tare_open(list.text, &options, &model, &error);
            cr_expect_eq(status, TARE_OK, "%d, %zu: %s", way, at, error.message);
            used += tare_index_status(model, NULL) == TARE_OK;
            tare_close(model);
            cut = self.calls >= at;
        }
        cr_expect_gt(at, 3);
        cr_expect_gt(used, 0);
    }
}

#define PART(number)             \
    GGUF_HEAD("1", "2")          \
    GGUF_U16("split.no", number) \
    GGUF_U16("split.count", "2") GGUF_TENSOR("t" number, "1", "24", "0") "p32 d1"

static temp_path write_split(void)
{
    temp_path split = temp_make_folder(&folder, "split");
    temp_write_built(&split, "m-00001-of-00002.gguf", gguf_text(PART("0"), NULL));
    temp_write_built(&split, "m-00002-of-00002.gguf", gguf_text(PART("1"), NULL));
    return split;
}

static size_t map_count;

static void cut_mapped(void)
{
    map_count++;
    cr_assert_eq(truncate(index_path.text, 0), 0);
}

/* With no limits and with each, by time and by header. `own`: mappings of the model itself. */
static void check_unseen(const char *at, const char *index, const char *name, size_t own)
{
    static const size_t limits[] = {0, offsetof(tare_options, rank_max),
                                    offsetof(tare_options, name_size_max),
                                    offsetof(tare_options, metadata_size_max)};
    const uint64_t most = 1000;
    index_path = temp_join(&folder, index);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (uint32_t check = TARE_INDEX_BY_TIME; check <= TARE_INDEX_BY_HEADER; check++) {
            tare_options options = TARE_OPTIONS_INIT;
            tare_model *model = expect_no_model();
            tare_error error = expect_poison();
            options.index = TARE_INDEX_REQUIRE;
            options.index_check = check;
            if (i != 0) memcpy((char *)&options + limits[i], &most, sizeof most);
            save_index(at);
            map_count = 0;
            os_fault.after_map = cut_mapped;
            tare_status status = tare_open(at, &options, &model, &error);
            os_fault.after_map = NULL;
            expect_opened(at, status, model, &error);
            cr_expect_eq(map_count, own + (i == 0), "%s: %zu mappings", at, map_count);
            if (i != 0) cr_expect_not_null(tare_find(model, name, strlen(name)), "%s", at);
            tare_close(model);
        }
}

Test(prebuilt_cut, as_soon_as_it_is_mapped_is_not_noticed)
{
    static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};
    temp_path one = temp_write_built(&folder, "m.safetensors", build_file(two, 2, "{\"k\":\"v\"}"));
    temp_path gguf = temp_write_built(&folder, "m.gguf", gguf_text(PART("0"), NULL));
    check_unseen(one.text, "m.safetensors.tareidx", "b", 1);
    check_unseen(gguf.text, "m.gguf.tareidx", "t0", 1);
    check_unseen(write_shards().text, "tare.idx", "s7.safetensors", 0);
    check_unseen(write_split().text, "split/tare.idx", "t1", 0);
}
