/*
 * Files that change while a model of them is open: every way that tare.h has to read bytes of a
 * file comes to the same end, the bytes that were there or the same status.
 */
#define _XOPEN_SOURCE 700 /* symlink, truncate */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "support/expect.h"
#include "support/fake_cuda.h"
#include "support/os_faults.h"
#include "support/temp_files.h"

enum { WAY_SIZE = 4 };

static temp_path folder;
static uint8_t right[WAY_SIZE]; /* the bytes of each tensor */

static void make_folder(void)
{
    os_without_disk = 1;
    folder = temp_folder_make();
    for (size_t i = 0; i < WAY_SIZE; i++) right[i] = build_byte(i);
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

/* Nothing here may wait: a test that does is ended, and fails. */
TestSuite(changing_files, .init = make_folder, .fini = remove_folder, .timeout = 120);

static temp_path write_model(const char *name, const char *tensor)
{
    build_tensor made = {tensor, 0, "U8", "[4]", 4};
    return temp_write_built(&folder, name, build_file(&made, 1, NULL));
}

/* ------------------------------------------------------------------------------------------------
 * What happens to a file
 */

static void swap_by_name(const char *path)
{
    temp_path other = write_model("other", "x");
    cr_assert_eq(rename(other.text, path), 0);
}

static void put_fifo(const char *path)
{
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
}

static void put_link(const char *path)
{
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/dev/zero", path), 0);
}

static void remove_it(const char *path)
{
    cr_assert_eq(unlink(path), 0);
}

static void cut_it(const char *path)
{
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(truncate(path, status.st_size - 2), 0);
}

static void empty_it(const char *path)
{
    cr_assert_eq(truncate(path, 0), 0);
}

/* ------------------------------------------------------------------------------------------------
 * All ways to read a tensor without its mapping: all that tare.h has
 */

static tare_status way_read(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    return tare_read(model, tensor, bytes, WAY_SIZE, NULL);
}

static tare_status way_read_at(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    tare_status status = tare_read_at(model, tensor, 0, bytes, 3, NULL);
    tare_status last = tare_read_at(model, tensor, 3, bytes + 3, 1, NULL);
    return status == TARE_OK ? last : status;
}

static tare_status way_slice(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    return tare_read_slice(model, tensor, NULL, NULL, bytes, WAY_SIZE, NULL);
}

/* A load that is to give those bytes, or nothing. */
static tare_status load(const tare_model *model, const tare_tensor *tensor,
                        const tare_load_options *how, uint8_t *bytes)
{
    tare_block *block = (void *)&block;
    tare_status status = tare_load(model, &tensor, 1, how, &block, NULL);
    cr_expect_eq(status == TARE_OK, block != NULL);
    if (status != TARE_OK) return status;
    const void *data = tare_block_data(block, 0);
    if (how != NULL && how->device != NULL) data = fake_cuda_look((uintptr_t)data, WAY_SIZE);
    cr_assert_not_null(data);
    memcpy(bytes, data, WAY_SIZE);
    tare_block_close(block);
    return status;
}

static tare_status way_load(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    return load(model, tensor, NULL, bytes);
}

static tare_status way_load_direct(const tare_model *model, const tare_tensor *tensor,
                                   uint8_t *bytes)
{
    tare_load_options how = TARE_LOAD_OPTIONS_INIT;
    how.io = TARE_IO_DIRECT;
    return load(model, tensor, &how, bytes);
}

static tare_status way_load_slice(const tare_model *model, const tare_tensor *tensor,
                                  uint8_t *bytes)
{
    const tare_slice whole = {NULL, NULL};
    tare_load_options how = TARE_LOAD_OPTIONS_INIT;
    how.slices = &whole;
    return load(model, tensor, &how, bytes);
}

/* Damage of the file is told before a digest that differs. */
static tare_status way_load_verified(const tare_model *model, const tare_tensor *tensor,
                                     uint8_t *bytes)
{
    tare_digest digest;
    tare_load_options how = TARE_LOAD_OPTIONS_INIT;
    tare_hash(model, tensor, &digest, NULL);
    how.digests = &digest;
    return load(model, tensor, &how, bytes);
}

static tare_status way_load_to_device(const tare_model *model, const tare_tensor *tensor,
                                      uint8_t *bytes)
{
    tare_load_options how = TARE_LOAD_OPTIONS_INIT;
    cr_assert_eq(tare_device_open("cuda:0", NULL, &how.device, NULL), TARE_OK);
    tare_status status = load(model, tensor, &how, bytes);
    tare_device_close(how.device);
    return status;
}

static tare_status way_load_into(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    void *const targets[] = {bytes};
    return tare_load_into(model, &tensor, targets, 1, NULL, NULL);
}

static tare_status digest_of(tare_status status, const tare_digest *digest, uint8_t *bytes)
{
    XXH128_hash_t wanted = XXH3_128bits(right, WAY_SIZE);
    if (status == TARE_OK && digest->low == wanted.low64 && digest->high == wanted.high64)
        memcpy(bytes, right, WAY_SIZE);
    return status;
}

static tare_status way_hash(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    tare_digest digest;
    return digest_of(tare_hash(model, tensor, &digest, NULL), &digest, bytes);
}

static tare_status way_hash_many(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    tare_digest digest;
    return digest_of(tare_hash_many(model, &tensor, 1, NULL, &digest, NULL), &digest, bytes);
}

/* The data are what a file of one tensor ends with. */
static tare_status way_save(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    const tare_save_tensor row = {.model = model, .tensor = tensor};
    temp_path to = temp_join(&folder, "saved");
    tare_status status = tare_save(to.text, &row, 1, NULL, NULL);
    cr_expect_eq(status == TARE_OK, access(to.text, F_OK) == 0);
    if (status != TARE_OK) return status;
    size_t size;
    uint8_t *file = temp_read(to.text, &size);
    memcpy(bytes, file + size - WAY_SIZE, WAY_SIZE);
    free(file);
    cr_assert_eq(unlink(to.text), 0);
    return status;
}

static tare_status way_save_bytes(const tare_model *model, const tare_tensor *tensor,
                                  uint8_t *bytes)
{
    const tare_save_tensor row = {.model = model, .tensor = tensor};
    uint8_t file[256];
    uint64_t size;
    cr_assert_eq(tare_save_bytes(&row, 1, NULL, NULL, 0, &size, NULL), TARE_OK);
    cr_assert_leq(size, sizeof file);
    tare_status status = tare_save_bytes(&row, 1, NULL, file, (size_t)size, &size, NULL);
    if (status == TARE_OK) memcpy(bytes, file + size - WAY_SIZE, WAY_SIZE);
    return status;
}

/* This one brings bytes in and gives none. */
static tare_status way_populate(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes)
{
    memcpy(bytes, right, WAY_SIZE);
    return tare_advise(model, &tensor, 1, TARE_ADVISE_POPULATE, NULL);
}

static const struct {
    const char *what;
    tare_status (*read)(const tare_model *model, const tare_tensor *tensor, uint8_t *bytes);
} ways[] = {
    {"read", way_read},
    {"read in two parts", way_read_at},
    {"read as a slice", way_slice},
    {"loaded", way_load},
    {"loaded past the page cache", way_load_direct},
    {"loaded as a slice", way_load_slice},
    {"loaded with a digest", way_load_verified},
    {"loaded to a device", way_load_to_device},
    {"loaded into", way_load_into},
    {"hashed", way_hash},
    {"hashed as one of many", way_hash_many},
    {"saved", way_save},
    {"saved into memory", way_save_bytes},
    {"populated", way_populate},
};

/* Each must come to the same end: the right bytes, or that status. */
static void check_reads(const char *what, const tare_model *model, const tare_tensor *tensor,
                        tare_status wanted)
{
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        uint8_t bytes[WAY_SIZE] = {9, 9, 9, 9};
        tare_status status = ways[i].read(model, tensor, bytes);
        cr_expect_eq(status, wanted, "%s, %s: %s", what, ways[i].what, tare_status_name(status));
        if (status == TARE_OK)
            cr_expect_eq(memcmp(bytes, right, WAY_SIZE), 0, "%s, %s", what, ways[i].what);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Each of them after each change
 */

static void prepare_sharded(void)
{
    static const char index[] =
        "{\"weight_map\":{\"0\":\"0.safetensors\",\"a\":\"s.safetensors\"}}";
    write_model("0.safetensors", "0");
    temp_write(&folder, "m.safetensors.index.json", index, sizeof index - 1);
}

Test(changing_files, are_errors_or_the_old_ones)
{
    static const struct {
        const char *what;
        void (*change)(const char *path);
        tare_status kept;    /* of a model whose headers were read: the file stays open */
        tare_status indexed; /* of one from an index file, which opens it when it is wanted */
    } rows[] = {
        {"replaced", swap_by_name, TARE_OK, TARE_E_CHANGED},
        {"a FIFO now", put_fifo, TARE_OK, TARE_E_OPEN},
        {"a link to a device now", put_link, TARE_OK, TARE_E_OPEN},
        {"removed", remove_it, TARE_OK, TARE_E_OPEN},
        {"cut", cut_it, TARE_E_CHANGED, TARE_E_CHANGED},
        {"emptied", empty_it, TARE_E_CHANGED, TARE_E_CHANGED},
    };
    static const uint32_t backings[] = {TARE_BACKING_AUTO, TARE_BACKING_MAP, TARE_BACKING_READ};
    for (size_t i = 0; i < 3 * sizeof rows / sizeof rows[0]; i++) {
        for (uint32_t index = TARE_INDEX_NEVER; index <= TARE_INDEX_REQUIRE; index++) {
            tare_model *model;
            prepare_sharded();
            temp_path shard = write_model("s.safetensors", "a");
            cr_assert_eq(tare_open(folder.text, NULL, &model, NULL), TARE_OK);
            cr_assert_eq(tare_index_save(model, NULL, NULL, NULL), TARE_OK);
            tare_close(model);
            tare_options options = TARE_OPTIONS_INIT;
            options.backing = backings[i % 3];
            options.index = index;
            tare_error error = expect_poison();
            tare_status status = tare_open(folder.text, &options, &model, &error);
            expect_opened(rows[i / 3].what, status, model, &error);
            rows[i / 3].change(shard.text);
            check_reads(rows[i / 3].what, model, tare_find(model, "a", 1),
                        index == TARE_INDEX_NEVER ? rows[i / 3].kept : rows[i / 3].indexed);
            check_reads("the other shard", model, tare_find(model, "0", 1), TARE_OK);
            tare_close(model);
            remove_folder();
            make_folder();
        }
    }
}
