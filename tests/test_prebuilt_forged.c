/* Index files as whoever forges one would make them: sealed, with digests that are right, and with
 * names and parts that lead elsewhere or nowhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/set_models.h"
#include "support/temp_files.h"

/* Of docs/format_index.md. */
enum { SHARD_NAMES = 1, PREFIX_SECTION = 2, SUFFIX_SECTION = 3, TABLE_SECTION = 7 };
enum { LAYOUT_SECTION = 4, RECORD_SECTION = 8, TEXT_SECTION = 9, KEY_SECTION = 10 };
enum { PART_SIZE = 8, LINE_SIZE = 64, RECORD_NAME_AT = 12 };
enum { SHARD_COUNT_AT = 40, ORIGIN_AT = 44, NAMES_SIZE_AT = 64 + 24 + 8 };
enum { SHARD_AT = 448, NAME_AT = 48, NAME_SIZE_AT = 52, SHARD_SIZE = 64 };

static const build_tensor two[] = {{"a", 0, "F32", "[2,2]", 16}, {"b", 0, "U8", "[3]", 3}};

static temp_path folder, path;

static void make_file(void)
{
    folder = temp_folder_make();
    path = temp_write_built(&folder, "m.safetensors", build_file(two, 2, "{\"k\":\"v\"}"));
}

static void remove_file(void)
{
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_forged, .init = make_file, .fini = remove_file, .timeout = 120);

#define PART(number)             \
    GGUF_HEAD("1", "3")          \
    GGUF_U16("split.no", number) \
    GGUF_U16("split.count", "2") \
    "\"split.tensors.count\" 4:5 4:2 " GGUF_TENSOR("t" number, "8", "0", "0") "p32 d32"

static tare_model *open_parsed(const char *at)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    options.index = TARE_INDEX_NEVER;
    tare_status status = tare_open(at, &options, &model, &error);
    expect_opened(at, status, model, &error);
    return model;
}

/* Saves the index of a model, and takes a copy of what is then in the file of that name. */
static index_image save_index(const char *at, const char *name)
{
    size_t size;
    tare_error error = expect_poison();
    tare_model *model = open_parsed(at);
    cr_assert_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
    uint8_t *bytes = temp_read(temp_join(&folder, name).text, &size);
    index_image image = index_copy(bytes, size);
    free(bytes);
    return image;
}

/* The index beside the model is refused where it is required, and passed over where it is not. */
static void check_refused(const char *what, const char *at, tare_status wanted, const char *says)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(at, &options, &model, &error);
    expect_opened(what, status, model, &error);
    cr_expect_eq(tare_index_status(model, &error), wanted, "%s: %s", what, error.message);
    tare_close(model);
    options.index = TARE_INDEX_REQUIRE;
    status = tare_open(at, &options, &model, &error);
    expect_status(what, wanted, status, model, &error);
    expect_message(what, says, &error);
}

/* A file by itself has one shard, without a name of its own. */
Test(prebuilt_forged, the_index_of_one_file_that_names_any_is_refused)
{
    const uint64_t names_size = 2;
    const uint32_t name_size = 1, one_file = 1, two_shards = 2;
    index_image image = save_index(path.text, "m.safetensors.tareidx");
    memcpy(image.bytes + SHARD_AT + NAME_SIZE_AT, &name_size, 4);
    memcpy(image.bytes + NAMES_SIZE_AT, &names_size, 8);
    static const struct {
        char name; /* all of it */
        const char *says;
    } rows[] = {{'x', "damaged: a name"}, {1, "damaged: a name"}, {0, "of a shard cannot be"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        image.bytes[index_section_offset(&image, SHARD_NAMES)] = (uint8_t)rows[i].name;
        index_seal(&image);
        temp_write(&folder, "m.safetensors.tareidx", image.bytes, image.size);
        check_refused("a name", path.text, TARE_E_PREBUILT, rows[i].says);
    }
    index_free(&image);
    /* That of a list of one shard has what two files would take. */
    temp_path list = temp_make_folder(&folder, "list");
    temp_write_built(&folder, "list/1.safetensors", build_file(two, 2, NULL));
    build_text text = {0};
    build_addf(&text, "{\"weight_map\":{\"a\":\"1.safetensors\"}}");
    temp_write_built(&folder, "list/m.safetensors.index.json", text);
    image = save_index(list.text, "list/tare.idx");
    memcpy(image.bytes + SHARD_COUNT_AT, &two_shards, 4);
    memcpy(image.bytes + ORIGIN_AT, &one_file, 4);
    index_seal(&image);
    temp_write(&folder, "m.safetensors.tareidx", image.bytes, image.size);
    check_refused("two shards", path.text, TARE_E_STALE, "another model");
    index_free(&image);
}

/* What an index says of shards, and their names, are compared with their digests before all else. */
Test(prebuilt_forged, lists_of_shards_and_their_names_have_digests)
{
    static const char list_name[] = "list/m.safetensors.index.json";
    temp_path list = temp_make_folder(&folder, "list");
    temp_write_built(&folder, "list/1.safetensors", build_file(two, 2, NULL));
    build_text text = {0};
    build_addf(&text, "{\"weight_map\":{\"a\":\"1.safetensors\"}}");
    temp_write_built(&folder, list_name, text);
    index_image image = save_index(list.text, "list/tare.idx");
    for (unsigned section = 0; section <= SHARD_NAMES; section++) {
        const uint64_t begin = index_section_offset(&image, section);
        const uint64_t size = index_section_size(&image, section);
        cr_assert_gt(size, 0);
        for (uint64_t at = begin; at < begin + size; at++) {
            image.bytes[at] ^= 1;
            temp_write(&folder, "list/tare.idx", image.bytes, image.size);
            check_refused("a byte of it", list.text, TARE_E_PREBUILT,
                          "its shards do not have their digest");
            image.bytes[at] ^= 1;
        }
    }
    index_free(&image);
}

/* That of one file without the file. */
static index_image make_empty(uint32_t origin)
{
    const uint32_t none = 0;
    const uint64_t no_size = 0;
    index_image image = save_index(path.text, "m.safetensors.tareidx");
    memcpy(image.bytes + ORIGIN_AT, &origin, 4);
    memmove(image.bytes + SHARD_AT, image.bytes + SHARD_AT + SHARD_SIZE,
            image.size - SHARD_AT - SHARD_SIZE);
    uint64_t size = image.size -= SHARD_SIZE;
    memcpy(image.bytes + 16, &size, 8);
    memcpy(image.bytes + SHARD_COUNT_AT, &none, 4);
    memcpy(image.bytes + 64 + 8, &no_size, 8);
    for (unsigned i = 1; i < INDEX_SECTION_COUNT; i++) {
        uint64_t offset = index_section_offset(&image, i) - SHARD_SIZE;
        memcpy(image.bytes + 64 + i * 24, &offset, 8);
    }
    index_image made = index_copy(image.bytes, image.size);
    index_free(&image);
    index_seal(&made);
    return made;
}

/* One of no files can be of any model: it is replaced, as a damaged one is. */
Test(prebuilt_forged, an_index_of_no_files_is_of_no_model)
{
    enum { ONE_FILE = 1, PARTS = 3 };
    index_image image = make_empty(ONE_FILE);
    temp_write(&folder, "m.safetensors.tareidx", image.bytes, image.size);
    check_refused("no files", path.text, TARE_E_STALE, "another model");
    index_free(&image);
    tare_model *model = open_parsed(path.text);
    tare_error error = expect_poison();
    cr_expect_eq(tare_index_save(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    cr_expect_eq(tare_index_check(model, NULL, NULL, &error), TARE_OK, "%s", error.message);
    tare_close(model);
    image = make_empty(PARTS);
    temp_write_built(&folder, "q-00001-of-00002.gguf", gguf_text(PART("0"), NULL));
    temp_path part = temp_write_built(&folder, "q-00002-of-00002.gguf", gguf_text(PART("1"), NULL));
    temp_write(&folder, "tare.idx", image.bytes, image.size);
    check_refused("no parts", part.text, TARE_E_STALE, "another model");
    index_free(&image);
}

/* Names of parts follow from the one that was opened, whatever the index says. */
Test(prebuilt_forged, parts_of_other_names_are_another_model)
{
    static const struct {
        const char *name; /* that the index has for the first part */
        uint32_t skip;    /* bytes of it that are not the name's */
    } rows[] = {{"q-00001-of-0000x.gguf", 0}, {"q-00002-of-00002.gguf", 0},
                {"q-00001-of-00003.gguf", 0}, {"q-00001-of-00002.gguf", 1},
                {"x-00001-of-00002.gguf", 0}, {"q/00001-of-00002.gguf", 0}};
    temp_path first =
        temp_write_built(&folder, "q-00001-of-00002.gguf", gguf_text(PART("0"), NULL));
    temp_write_built(&folder, "q-00002-of-00002.gguf", gguf_text(PART("1"), NULL));
    index_image good = save_index(first.text, "tare.idx");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        index_image image = index_copy(good.bytes, good.size);
        uint32_t name, name_size;
        memcpy(&name, image.bytes + SHARD_AT + NAME_AT, 4);
        memcpy(&name_size, image.bytes + SHARD_AT + NAME_SIZE_AT, 4);
        cr_assert_eq(name_size, strlen(rows[i].name));
        memcpy(image.bytes + index_section_offset(&image, SHARD_NAMES) + name, rows[i].name,
               name_size);
        name += rows[i].skip;
        name_size -= rows[i].skip;
        memcpy(image.bytes + SHARD_AT + NAME_AT, &name, 4);
        memcpy(image.bytes + SHARD_AT + NAME_SIZE_AT, &name_size, 4);
        index_seal(&image);
        temp_write(&folder, "tare.idx", image.bytes, image.size);
        check_refused(rows[i].name, first.text, TARE_E_STALE, "another model");
        index_free(&image);
    }
    index_free(&good);
}

/* ------------------------------------------------------------------------------------------------
 * Parts of names
 */

static tare_options options_with(const index_image *image)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image->bytes;
    options.index_size = image->size;
    return options;
}

static tare_model *open_with_bytes(const build_text *file, const index_image *image)
{
    tare_options options = options_with(image);
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_bytes(file->data, file->size, &options, &model, &error);
    expect_opened("indexed", status, model, &error);
    return model;
}

/* Writes a number over one of each so many bytes of a section, as whoever forges a file would. */
static void spoil(index_image *image, unsigned section, size_t at, size_t step, uint32_t number)
{
    uint8_t *bytes = image->bytes + index_section_offset(image, section);
    size_t size = index_section_size(image, section);
    for (; at + sizeof number <= size; at += step) memcpy(bytes + at, &number, sizeof number);
}

Test(prebuilt_forged, what_no_shard_can_be_is_refused)
{
    enum { SIZE_AT = 0, DATA_AT = 40, FORMAT_AT = 56 };
    index_image image = save_index(path.text, "m.safetensors.tareidx");
    uint64_t file_size, names_size = index_section_size(&image, SHARD_NAMES);
    memcpy(&file_size, image.bytes + SHARD_AT + SIZE_AT, 8);
    const struct {
        const char *what;
        size_t at;
        uint64_t value;
        size_t size;
    } rows[] = {
        {"more than 64 TiB", SIZE_AT, (UINT64_C(1) << 46) + 1, 8},
        {"2^64-1 bytes", SIZE_AT, UINT64_MAX, 8},
        {"data behind its end", DATA_AT, file_size + 1, 8},
        {"data at 2^64-1", DATA_AT, UINT64_MAX, 8},
        {"pairs", FORMAT_AT, TARE_FORMAT_PAIRS, 4},
        {"no format", FORMAT_AT, TARE_FORMAT_GGUF + 1, 4},
        {"a name behind all names", NAME_AT, names_size, 4},
        {"a name at 2^32-1", NAME_AT, UINT32_MAX, 4},
        {"a name without an end", NAME_SIZE_AT, names_size, 4},
        {"a name of 2^32-1 bytes", NAME_SIZE_AT, UINT32_MAX, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        index_image forged = index_copy(image.bytes, image.size);
        memcpy(forged.bytes + SHARD_AT + rows[i].at, &rows[i].value, rows[i].size);
        index_seal(&forged);
        temp_write(&folder, "m.safetensors.tareidx", forged.bytes, forged.size);
        check_refused(rows[i].what, path.text, TARE_E_PREBUILT, "of a shard cannot be");
        index_free(&forged);
    }
    index_free(&image);
}

/* Pairs of parts that are not there, and parts that are nowhere, beyond the text, or of another
 * name, lead to no tensor; what is read for them lies in the file, which AddressSanitizer sees. */
Test(prebuilt_forged, parts_that_cannot_be_are_no_names)
{
    name_set set = name_set_qwen(); /* so many that tables hold pairs of parts */
    for (size_t n = 0; n < set.count; n++) set.shards[n] = 0;
    build_text file = set_build_shard(&set, 0);
    tare_model *parsed = expect_open_bytes("parsed", &file);
    index_image good = index_make(parsed, temp_join(&folder, "an.idx").text);
    uint32_t text_size = (uint32_t)index_section_size(&good, TEXT_SECTION);
    const struct {
        const char *what;
        unsigned section;
        size_t at, step;
        uint32_t number;
    } rows[] = {
        {"a first part that is not there", TABLE_SECTION, 32, LINE_SIZE, 0x0000FFFE},
        {"a second part that is not there", TABLE_SECTION, 32, LINE_SIZE, 0xFFFE0000},
        {"prefixes beyond all text", PREFIX_SECTION, 0, PART_SIZE, UINT32_MAX},
        {"prefixes at the last byte", PREFIX_SECTION, 0, PART_SIZE, text_size - 1},
        {"prefixes of other names", PREFIX_SECTION, 0, PART_SIZE, 1},
        {"suffixes beyond all text", SUFFIX_SECTION, 0, PART_SIZE, UINT32_MAX},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        index_image image = index_copy(good.bytes, good.size);
        tare_model *model = open_with_bytes(&file, &image);
        size_t found = 0;
        size_t places = rows[r].section == TABLE_SECTION ? 8 : 1; /* pairs of a line */
        for (size_t i = 0; i < places; i++)
            spoil(&image, rows[r].section, rows[r].at + 4 * i, rows[r].step, rows[r].number);
        for (size_t i = 0; i < set.count; i++)
            found += tare_find(model, set.names[i].data, set.names[i].size) != NULL;
        cr_expect_lt(found, set.count / 2, "%s: %zu of %zu found", rows[r].what, found, set.count);
        tare_close(model);
        index_free(&image);
    }
    tare_close(parsed);
    index_free(&good);
    build_free(&file);
    name_set_free(&set);
}

/* ------------------------------------------------------------------------------------------------
 * What changes meanwhile
 */

/* Hooks of which one call writes something else over bytes that are in use: what another process
 * may do to an index file at any time, at a time that can be told. */
typedef struct meddler {
    tare_allocator hooks;
    size_t calls, at;
    void *target;
    const void *bytes;
    size_t size;
} meddler;

static void *allocate(void *context, size_t size, size_t alignment)
{
    meddler *self = context;
    if (++self->calls == self->at) memcpy(self->target, self->bytes, self->size);
    return aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
}

static void release(void *context, void *memory, size_t size, size_t alignment)
{
    (void)context, (void)size, (void)alignment;
    free(memory);
}

static meddler make_meddler(size_t at, void *target, const void *bytes, size_t size)
{
    return (meddler){.hooks = {sizeof(tare_allocator), NULL, allocate, release},
                     .at = at,
                     .target = target,
                     .bytes = bytes,
                     .size = size};
}

static tare_model *open_indexed(const index_image *image)
{
    tare_options options = options_with(image);
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open(path.text, &options, &model, &error);
    expect_opened("indexed", status, model, &error);
    return model;
}

/* Its bytes could not be read, and by then it leads out of the model. */
Test(prebuilt_forged, a_tensor_may_be_led_astray_before_its_failure_is_told)
{
    index_image image = save_index(path.text, "m.safetensors.tareidx");
    tare_model *model = open_indexed(&image);
    const tare_tensor *tensor = tare_find(model, "a", 1);
    tare_error failure = expect_poison(), error = expect_poison();
    tarei_error_system(&failure, TARE_E_READ, EIO, 0, "cannot read", "m.safetensors");
    cr_expect_eq(tarei_bytes_fail(model, tensor, &failure, &error), TARE_E_READ);
    expect_message("as it was", "m.safetensors': tensor 'a': ", &error);
    cr_expect_eq(error.shard, 0);
    memset(image.bytes + index_section_offset(&image, RECORD_SECTION), 0xFF,
           (size_t)index_section_size(&image, RECORD_SECTION));
    error = expect_poison();
    cr_expect_eq(tarei_bytes_fail(model, tensor, &failure, &error), TARE_E_READ);
    cr_expect_eq(error.status, TARE_E_READ);
    cr_expect_eq(error.system_error, EIO);
    tare_close(model);
    index_free(&image);
}

/* The first name begins later than it did, and as it did once room was taken for all of them. */
Test(prebuilt_forged, names_may_become_longer_while_another_index_is_made)
{
    static const unsigned sections[] = {RECORD_SECTION, KEY_SECTION};
    static const build_tensor named[] = {{"some.long.name", 0, "U8", "[2]", 2},
                                         {"some.other.name", 0, "U8", "[3]", 3}};
    temp_write_built(&folder, "m.safetensors",
                     build_file(named, 2, "{\"first\":\"\",\"key\":\"\"}"));
    index_image image = save_index(path.text, "m.safetensors.tareidx");
    temp_path made = temp_join(&folder, "made");
    for (size_t s = 0; s < 2; s++) {
        uint8_t *place = image.bytes + index_section_offset(&image, sections[s]) + RECORD_NAME_AT;
        uint32_t whole, cut;
        memcpy(&whole, place, sizeof whole);
        cut = whole + 3;
        bool seen = false;
        for (size_t at = 1;; at++) {
            tare_index_options options = TARE_INDEX_OPTIONS_INIT;
            meddler self = make_meddler(at, place, &whole, sizeof whole);
            tare_error error = expect_poison();
            memcpy(place, &cut, sizeof cut);
            self.hooks.context = &self;
            options.allocator = &self.hooks;
            options.flags = TARE_SAVE_REPLACE;
            tare_model *model = open_indexed(&image);
            tare_status status = tare_index_save(model, made.text, &options, &error);
            tare_close(model);
            if (self.calls < at) break;
            if (status != TARE_OK) expect_status("longer", TARE_E_CHANGED, status, NULL, &error);
            seen = seen || status == TARE_E_CHANGED;
        }
        cr_expect(seen, "section %u", sections[s]);
        memcpy(place, &whole, sizeof whole);
    }
    index_free(&image);
}

/* The shape that slices were counted by becomes another, of which there are more runs, or which the
 * slice is no part of. */
Test(prebuilt_forged, shapes_may_change_while_slices_of_them_are_loaded)
{
    enum { SHAPE_AT = 16 };
    static const uint64_t first[] = {8, 1}, others[][2] = {{4, 2}, {2, 4}};
    static const uint64_t start[] = {0, 0}, stop[] = {4, 1};
    static const build_tensor one = {"w", 0, "F32", "[4,2]", 32};
    const tare_slice slice = {start, stop};
    temp_write_built(&folder, "m.safetensors", build_file(&one, 1, NULL));
    index_image image = save_index(path.text, "m.safetensors.tareidx");
    uint8_t *shape = image.bytes + index_section_offset(&image, LAYOUT_SECTION) + SHAPE_AT;
    for (size_t o = 0; o < 2; o++) {
        bool seen = false;
        for (size_t at = 1;; at++) {
            tare_load_options options = TARE_LOAD_OPTIONS_INIT;
            meddler self = make_meddler(at, shape, others[o], sizeof others[o]);
            tare_block *block = NULL;
            tare_error error = expect_poison();
            memcpy(shape, first, sizeof first);
            self.hooks.context = &self;
            options.allocator = &self.hooks;
            options.slices = &slice;
            tare_model *model = open_indexed(&image);
            const tare_tensor *tensor = tare_at(model, 0);
            tare_status status = tare_load(model, &tensor, 1, &options, &block, &error);
            tare_block_close(block);
            tare_close(model);
            if (self.calls < at) break;
            cr_expect(status == TARE_OK || status == (o == 0 ? TARE_E_CHANGED : TARE_E_ARGUMENT),
                      "%s", error.message);
            seen = seen || status != TARE_OK;
        }
        cr_expect(seen, "shape %zu", o);
    }
    index_free(&image);
}
