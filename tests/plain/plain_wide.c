/* A sparse file of 5 GiB, mapped, read and from an index file: what lies beyond 4 GiB is found and
 * read, where addresses are narrower than 64 bits, too; what cannot be addressed there is refused
 * with a status of its own. */
#define _FILE_OFFSET_BITS 64
#define _XOPEN_SOURCE 700 /* pwrite */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "plain_check.h"
#include "support/index_probe.h"
#include "support/temp_files.h"
#include "tare.h"

#define WIDE_SIZE ((uint64_t)5 << 30)

static const uint64_t wide_size = WIDE_SIZE;
static const char last[] = "the end";
static const char behind[] = "behind";

static const int is_narrow = sizeof(size_t) < sizeof(uint64_t);

/* "wide", whose last bytes are `last`, and "behind". The rest is a hole. */
static temp_path write_model(const temp_path *folder)
{
    static const char header[] =
        "{\"wide\":{\"dtype\":\"U8\",\"shape\":[5368709120],\"data_offsets\":"
        "[0,5368709120]},\"behind\":{\"dtype\":\"U8\",\"shape\":[7],"
        "\"data_offsets\":[5368709120,5368709127]}}";
    temp_path path =
        temp_write_built(folder, "m.safetensors", build_raw(header, sizeof header - 1, 0));
    off_t end = (off_t)(8 + sizeof header - 1 + WIDE_SIZE);
    int file = open(path.text, O_WRONLY);
    PLAIN_CHECK(file >= 0);
    PLAIN_CHECK(pwrite(file, last, sizeof last, end - (off_t)sizeof last) == sizeof last);
    PLAIN_CHECK(pwrite(file, behind, sizeof behind, end) == sizeof behind);
    PLAIN_CHECK(close(file) == 0);
    return path;
}

static void read_ends(const tare_model *model)
{
    const tare_tensor *wide = tare_find(model, "wide", 4), *after = tare_find(model, "behind", 6);
    uint64_t start = WIDE_SIZE - sizeof last, size;
    char target[sizeof last];
    PLAIN_CHECK(wide != NULL && after != NULL && tare_size(model, wide) == WIDE_SIZE);
    PLAIN_CHECK(tare_describe(model, after).offset > WIDE_SIZE);
    PLAIN_CHECK(tare_read(model, after, target, sizeof behind, NULL) == TARE_OK);
    PLAIN_CHECK(memcmp(target, behind, sizeof behind) == 0);
    PLAIN_CHECK(tare_slice_size(model, wide, &start, NULL, &size, NULL) == TARE_OK);
    PLAIN_CHECK(size == sizeof last);
    PLAIN_CHECK(tare_read_slice(model, wide, &start, NULL, target, sizeof last, NULL) == TARE_OK);
    PLAIN_CHECK(memcmp(target, last, sizeof last) == 0);
    const char *data = tare_data(model, after);
    PLAIN_CHECK((data == NULL) == (tare_shard_at(model, 0).backing == TARE_BACKING_READ));
    if (data != NULL) PLAIN_CHECK(memcmp(data, behind, sizeof behind) == 0);
}

static void load_ends(const tare_model *model)
{
    const tare_tensor *wide = tare_find(model, "wide", 4), *after = tare_find(model, "behind", 6);
    const tare_tensor *both[] = {wide, after};
    uint64_t start = WIDE_SIZE - sizeof last;
    tare_slice slices[] = {{.start = &start}, {0}};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    tare_error error;
    options.slices = slices;
    PLAIN_CHECK(tare_load(model, both, 2, &options, &block, NULL) == TARE_OK);
    PLAIN_CHECK(memcmp(tare_block_data(block, 0), last, sizeof last) == 0);
    PLAIN_CHECK(memcmp(tare_block_data(block, 1), behind, sizeof behind) == 0);
    tare_block_close(block);
    if (!is_narrow) return; /* 5 GiB of memory are too much for a test */
    PLAIN_CHECK(tare_load(model, NULL, 0, NULL, &block, &error) == TARE_E_LIMIT && block == NULL);
    PLAIN_CHECK(strlen(error.message) != 0);
    const tare_tensor *many[2049]; /* and 4 GiB of what lies between them */
    for (size_t i = 0; i < 2049; i++) many[i] = after;
    options.slices = NULL;
    options.alignment = (size_t)2 << 20;
    PLAIN_CHECK(tare_load(model, many, 2049, &options, &block, NULL) == TARE_E_LIMIT);
}

static void use_backing(const temp_path *path, uint32_t backing, uint32_t index)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    options.backing = backing;
    options.index = index;
    tare_status status = tare_open(path->text, &options, &model, &error);
    if (is_narrow && backing == TARE_BACKING_MAP) {
        PLAIN_CHECK(status == TARE_E_MAP && model == NULL && strlen(error.message) != 0);
        return;
    }
    PLAIN_CHECK(status == TARE_OK);
    bool indexed = index == TARE_INDEX_AUTO && plain_little_endian();
    PLAIN_CHECK((tare_index_status(model, NULL) == TARE_OK) == indexed);
    read_ends(model);
    load_ends(model);
    uint32_t used =
        is_narrow || backing == TARE_BACKING_READ ? TARE_BACKING_READ : TARE_BACKING_MAP;
    PLAIN_CHECK(tare_shard_at(model, 0).backing == used);
    tare_close(model);
}

static void save_index(const temp_path *path)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    options.index = TARE_INDEX_NEVER;
    PLAIN_CHECK(tare_open(path->text, &options, &model, NULL) == TARE_OK);
    tare_status wanted = plain_little_endian() ? TARE_OK : TARE_E_UNSUPPORTED;
    PLAIN_CHECK(tare_index_save(model, NULL, NULL, NULL) == wanted);
    tare_close(model);
}

/* Of 5 GiB, for a header of one: such an index file there may be. */
static void write_wide_index(const char *path)
{
    enum { FILE_SIZE_AT = 16, LAST_SIZE_AT = 64 + 14 * 24 + 8, DATA_OFFSET_AT = 40 };
    const uint64_t header_size = (uint64_t)1 << 30;
    size_t size;
    void *bytes = temp_read(path, &size);
    index_image image = index_copy(bytes, size);
    uint64_t last_size = WIDE_SIZE - index_section_offset(&image, 14);
    memcpy(image.bytes + FILE_SIZE_AT, &wide_size, sizeof wide_size);
    memcpy(image.bytes + LAST_SIZE_AT, &last_size, sizeof last_size);
    memcpy(image.bytes + index_section_offset(&image, 0) + DATA_OFFSET_AT, &header_size,
           sizeof header_size);
    index_seal(&image);
    int file = open(path, O_WRONLY);
    PLAIN_CHECK(file >= 0 && write(file, image.bytes, image.size) == (ssize_t)image.size);
    PLAIN_CHECK(ftruncate(file, (off_t)WIDE_SIZE) == 0 && close(file) == 0);
    index_free(&image);
    free(bytes);
}

/* It is mapped, or passed over where it can be neither mapped nor read. */
static void use_wide_index(const temp_path *path, const char *index_path)
{
    write_wide_index(index_path);
    tare_status wanted = is_narrow ? TARE_E_LIMIT : TARE_OK;
    for (uint32_t index = TARE_INDEX_AUTO; index <= TARE_INDEX_REQUIRE; index++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        tare_error error;
        options.index = index;
        options.header_size_max = 0x7FFFFFFF;
        tare_status status = tare_open(path->text, &options, &model, &error);
        PLAIN_CHECK(status == (index == TARE_INDEX_REQUIRE ? wanted : TARE_OK));
        PLAIN_CHECK((model != NULL) == (status == TARE_OK));
        if (model != NULL && index != TARE_INDEX_NEVER)
            PLAIN_CHECK(tare_index_status(model, &error) == wanted);
        if (is_narrow && index != TARE_INDEX_NEVER)
            PLAIN_CHECK(strstr(error.message, "larger than what this host can address") != NULL);
        if (model != NULL && wanted != TARE_OK) read_ends(model);
        tare_close(model);
    }
}

int main(void)
{
    temp_path folder = temp_folder_make(), path = write_model(&folder);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++)
        use_backing(&path, backing, TARE_INDEX_NEVER);
    save_index(&path);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++)
        use_backing(&path, backing, TARE_INDEX_AUTO);
    if (plain_little_endian())
        use_wide_index(&path, temp_join(&folder, "m.safetensors.tareidx").text);
    temp_folder_remove(&folder);
    return 0;
}
