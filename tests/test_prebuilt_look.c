/* Index files that are damaged, or lie: whatever stands in them, calls come back, with errors,
 * misses or wrong facts, and hand out nothing that is not there. The files are in heap blocks of
 * just their size, so that AddressSanitizer sees a look beyond. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/temp_files.h"

enum {
    SHARDS,
    SHARD_NAMES,
    PREFIXES,
    SUFFIXES,
    LAYOUTS,
    COMMONS,
    WIDE,
    TABLE,
    RECORDS,
    TEXT,
    KEYS,
    KEY_ORDER,
    KEY_TEXT,
    VALUES,
    VALUE_BYTES
};

static const build_tensor some[] = {
    {"model.layers.0.mlp.up_proj.weight", 0, "F32", "[2,2]", 16},
    {"model.layers.0.mlp.down_proj.weight", 0, "BF16", "[4,2]", 16},
    {"model.layers.1.mlp.up_proj.weight", 0, "F32", "[2,2]", 16},
    {"b", 0, "U8", "[3]", 3},
    {"scalar", 0, "U8", "[]", 1},
    {"empty", 0, "F32", "[0,7]", 0},
};

#define GGUF_WORDS                                           \
    GGUF_HEAD("2", "5")                                      \
    GGUF_TEXT("general.architecture", "llama")               \
    GGUF_U32("block_count", "7")                             \
    "\"tokens\" 4:9 4:8 8:3 \"one\" \"two\" \"three\" "      \
    "\"scores\" 4:9 4:6 8:2 4:1 4:2 " GGUF_U16("short", "3") \
        GGUF_TENSOR("blk.0.weight", "8", "0", "0")           \
            GGUF_TENSOR("blk.1.weight", "4", "0", "32") "p32 d48"

static temp_path folder;
static build_text files[2];

static void make_files(void)
{
    folder = temp_folder_make();
    files[0] = build_file(some, 6, "{\"format\":\"pt\",\"a\\\\b\":\"some text\"}");
    files[1] = gguf_text(GGUF_WORDS, NULL);
}

static void remove_files(void)
{
    temp_folder_remove(&folder);
    build_free(&files[0]);
    build_free(&files[1]);
}

TestSuite(prebuilt_look, .init = make_files, .fini = remove_files, .timeout = 240);

static index_image make_index(const build_text *file)
{
    tare_model *model = expect_open_bytes("the model", file);
    index_image image = index_make(model, temp_join(&folder, "an.idx").text);
    tare_close(model);
    return image;
}

/* The model of that file, by that index and no other way. */
static tare_model *open_with(const char *what, const index_image *image, const build_text *file)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image->bytes;
    options.index_size = image->size;
    tare_status status = tare_open_bytes(file->data, file->size, &options, &model, &error);
    expect_opened(what, status, model, &error);
    return model;
}

Test(prebuilt_look, what_is_whole_says_what_headers_say)
{
    for (size_t i = 0; i < 2; i++) {
        index_image image = make_index(&files[i]);
        cr_expect_eq(index_use(&image, files[i].data, files[i].size), TARE_OK);
        tare_model *parsed = expect_open_bytes("parsed", &files[i]);
        tare_model *model = open_with("with an index", &image, &files[i]);
        expect_same_models("with an index", parsed, model);
        tare_close(model);
        tare_close(parsed);
        index_free(&image);
    }
}

Test(prebuilt_look, every_file_that_is_cut_short_is_refused)
{
    for (size_t i = 0; i < 2; i++) {
        index_image image = make_index(&files[i]);
        for (size_t size = 0; size < image.size; size++) {
            index_image cut = index_copy(image.bytes, size);
            cr_expect_eq(index_use(&cut, files[i].data, files[i].size), TARE_E_PREBUILT,
                         "cut to %zu", size);
            index_seal(&cut);
            cr_expect_eq(index_use(&cut, files[i].data, files[i].size), TARE_E_PREBUILT,
                         "cut to %zu and sealed", size);
            index_free(&cut);
        }
        index_free(&image);
    }
}

/* One that lies has all digests right: nothing but checks at use keeps it within bounds. */
static void change_every_byte(const build_text *file, int sealed, uint8_t how)
{
    index_image image = make_index(file);
    size_t refused = 0;
    for (size_t at = 0; at < image.size; at++) {
        index_image changed = index_copy(image.bytes, image.size);
        changed.bytes[at] ^= how;
        if (sealed) index_seal(&changed);
        refused += index_use(&changed, file->data, file->size) != TARE_OK;
        index_free(&changed);
    }
    /* All of the head, and the shards. */
    if (!sealed) cr_expect_geq(refused, 448 + 64, "%zu refused", refused);
    index_free(&image);
}

Test(prebuilt_look, every_byte_changed)
{
    change_every_byte(&files[0], 0, 0x01);
    change_every_byte(&files[0], 0, 0x80);
}

Test(prebuilt_look, every_byte_changed_and_sealed)
{
    change_every_byte(&files[0], 1, 0x01);
    change_every_byte(&files[0], 1, 0xFF);
}

Test(prebuilt_look, every_byte_of_typed_values_changed)
{
    change_every_byte(&files[1], 0, 0x40);
    change_every_byte(&files[1], 1, 0x01);
    change_every_byte(&files[1], 1, 0x80);
}

Test(prebuilt_look, any_numbers_anywhere)
{
    static const uint64_t words[] = {0,
                                     1,
                                     0x3F,
                                     0x7FFFFFFF,
                                     0x80000000,
                                     0xFFFFFFFF,
                                     0xFFFFFFFFFFFFFFFF,
                                     0x8000000000000000,
                                     0x0000400000000000};
    for (size_t i = 0; i < 2; i++) {
        index_image image = make_index(&files[i]);
        for (size_t at = index_section_offset(&image, SHARDS); at + 8 <= image.size; at += 4)
            for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
                index_image changed = index_copy(image.bytes, image.size);
                memcpy(changed.bytes + at, &words[w], at % 8 == 0 ? 8 : 4);
                index_seal(&changed);
                index_use(&changed, files[i].data, files[i].size);
                index_free(&changed);
            }
        index_free(&image);
    }
}

/* ------------------------------------------------------------------------------------------------
 * Lies about one tensor
 */

typedef struct lie {
    const char *what;
    int section;
    size_t at; /* of the first record, or its layout */
    uint64_t value;
    size_t size;
} lie;

static const lie lies[] = {
    {"a shard that is not there", RECORDS, 0, (uint64_t)1 << 46, 8},
    {"the last shard that a record can name", RECORDS, 0, ~UINT64_C(0) << 46, 8},
    {"an offset behind the end of the shard", RECORDS, 0, 1 << 20, 8},
    {"an offset within the header", RECORDS, 0, 8, 8},
    {"a layout behind all layouts", RECORDS, 8, 0xFFFFFFFF, 4},
    {"a layout of which only a word is left", RECORDS, 8, 100000, 4},
    {"a size that is not that of its shape", LAYOUTS, 0, 17, 8},
    {"a size of 2^64-1", LAYOUTS, 0, ~UINT64_C(0), 8},
    {"a dtype that is none", LAYOUTS, 8, 0, 4},
    {"another dtype that is none", LAYOUTS, 8, 0xFFFF, 4},
    {"a rank beyond 64", LAYOUTS, 12, 65, 4},
    {"a rank beyond the layouts", LAYOUTS, 12, 60, 4},
    {"a shape beyond 64 bits", LAYOUTS, 16, ~UINT64_C(0), 8},
    {"one of which 64 bits are right", LAYOUTS, 16, (UINT64_C(1) << 63) + 2, 8},
};

Test(prebuilt_look, a_record_that_leads_astray_is_an_empty_tensor)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const lie *one = &lies[i];
        index_image image = make_index(&files[0]);
        size_t at = index_section_offset(&image, (unsigned)one->section);
        if (one->section == LAYOUTS) {
            uint32_t layout;
            memcpy(&layout, image.bytes + index_section_offset(&image, RECORDS) + 8, 4);
            at += layout * (size_t)8;
        }
        memcpy(image.bytes + at + one->at, &one->value, one->size);
        index_seal(&image);
        cr_expect_eq(index_use(&image, files[0].data, files[0].size), TARE_OK, "%s", one->what);
        tare_model *model = open_with(one->what, &image, &files[0]);
        tare_error error;
        const tare_tensor *first = tare_at(model, 0);
        tare_info info = tare_describe(model, first);
        cr_expect_eq(info.dtype, 0, "%s", one->what);
        cr_expect_eq(info.shard, TARE_NO_SHARD, "%s", one->what);
        cr_expect_eq(info.size + info.offset + info.rank + info.name_size, 0, "%s", one->what);
        cr_expect_eq(tare_size(model, first) + tare_offset(model, first), 0, "%s", one->what);
        cr_expect_null(tare_data(model, first), "%s", one->what);
        char byte;
        uint64_t size = 1;
        tare_block *block;
        cr_expect_eq(tare_ready(model, first, &error), TARE_E_PREBUILT, "%s", one->what);
        expect_message(one->what, "tensor '", &error);
        cr_expect_eq(tare_read(model, first, &byte, 1, &error), TARE_E_PREBUILT, "%s", one->what);
        cr_expect_eq(tare_slice_size(model, first, NULL, NULL, &size, &error), TARE_E_PREBUILT);
        cr_expect_eq(size, 0);
        cr_expect_eq(tare_load(model, &first, 1, NULL, &block, &error), TARE_E_PREBUILT);
        cr_expect_eq(tare_load(model, NULL, 0, NULL, &block, &error), TARE_E_PREBUILT);
        cr_expect_eq(tare_advise(model, NULL, 0, TARE_ADVISE_WILL_NEED, &error), TARE_E_PREBUILT);
        tare_digest digest;
        cr_expect_eq(tare_hash(model, first, &digest, &error), TARE_E_PREBUILT, "%s", one->what);
        cr_expect_eq(tare_index_save(model, temp_join(&folder, "b").text, NULL, &error),
                     TARE_E_PREBUILT, "%s", one->what);
        /* The others are as they were, but for those that share a layout. */
        cr_expect_not_null(tare_find(model, "b", 1), "%s", one->what);
        cr_expect_eq(tare_ready(model, tare_find(model, "b", 1), &error), TARE_OK);
        tare_close(model);
        index_free(&image);
    }
}

/* Of an empty tensor, whose size follows from its first dimension whatever comes behind it. */
Test(prebuilt_look, a_shape_ends_where_the_layouts_end)
{
    for (uint32_t more = 0; more < 2; more++) {
        index_image image = make_index(&files[0]);
        tare_model *model = open_with("as it was", &image, &files[0]);
        size_t number = tare_index_of(model, tare_find(model, "empty", 5));
        tare_close(model);
        uint32_t place;
        memcpy(&place, image.bytes + index_section_offset(&image, RECORDS) + number * 16 + 8, 4);
        uint32_t words = (uint32_t)(index_section_size(&image, LAYOUTS) / 8);
        uint32_t rank = words - place - 2 + more;
        memcpy(image.bytes + index_section_offset(&image, LAYOUTS) + place * 8 + 12, &rank, 4);
        index_seal(&image);
        model = open_with("another rank", &image, &files[0]);
        tare_info info = tare_describe(model, tare_at(model, number));
        cr_expect_eq(info.rank, more == 0 ? rank : 0);
        cr_expect_eq(info.dtype, more == 0 ? TARE_DTYPE_F32 : 0);
        tare_close(model);
        index_free(&image);
    }
}

/* Bytes that fill up the section are zeros, as terminators are. */
Test(prebuilt_look, a_string_ends_where_the_bytes_of_values_end)
{
    enum { PLACE = 16, SIZE = 24 };
    static const char key[] = "general.architecture";
    for (uint64_t more = 0; more < 3; more++) {
        index_image image = make_index(&files[1]);
        uint8_t *values = image.bytes + index_section_offset(&image, VALUES);
        uint64_t place, all = index_section_size(&image, VALUE_BYTES);
        memcpy(&place, values + PLACE, 8);
        uint64_t size = all - place - 1 + more;
        memcpy(values + SIZE, &size, 8);
        index_seal(&image);
        tare_model *model = open_with("another size", &image, &files[1]);
        tare_value value = tare_metadata_value(model, key, sizeof key - 1);
        cr_expect_eq(value.size, more == 0 ? size : 0);
        cr_expect_eq(value.data == NULL, more != 0);
        tare_close(model);
        index_free(&image);
    }
}

/* A caller reads as many items as a value says to have, so its bytes must be as many. */
Test(prebuilt_look, a_value_whose_size_is_not_that_of_its_items_is_none)
{
    enum { VALUE_SIZE = 32, COUNT = 8, BYTES = 24 };
    static const struct {
        const char *what, *key;
        size_t entry, at; /* of the value, the field that lies */
        uint64_t number;
    } rows[] = {
        {"the truth", NULL, 3, COUNT, 2},
        {"an item more", "scores", 3, COUNT, 3},
        {"an item less", "scores", 3, COUNT, 1},
        {"items of 2^64 bytes and 8", "scores", 3, COUNT, (UINT64_C(1) << 62) + 2},
        {"bytes of one item", "scores", 3, BYTES, 4},
        {"a string more, of no bytes that are there", NULL, 2, COUNT, 4},
        {"strings of which not even the sizes are there", "tokens", 2, COUNT, 5},
        {"2^61 strings", "tokens", 2, COUNT, UINT64_C(1) << 61},
        {"2^64-1 strings", "tokens", 2, COUNT, UINT64_MAX},
        {"a number twice", "block_count", 1, COUNT, 2},
        {"a number of two bytes", "block_count", 1, BYTES, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        index_image image = make_index(&files[1]);
        uint8_t *values = image.bytes + index_section_offset(&image, VALUES);
        memcpy(values + rows[i].entry * VALUE_SIZE + rows[i].at, &rows[i].number, 8);
        index_seal(&image);
        tare_model *model = open_with(rows[i].what, &image, &files[1]);
        for (size_t e = 0; e < 3; e++) {
            static const char *const keys[] = {"block_count", "tokens", "scores"};
            const char *key = keys[e];
            bool lied = rows[i].key != NULL && strcmp(key, rows[i].key) == 0;
            tare_value value = tare_metadata_value(model, key, strlen(key));
            cr_expect_eq(value.kind == 0, lied, "%s: %s", rows[i].what, key);
            cr_expect_eq(value.data == NULL, lied, "%s: %s", rows[i].what, key);
        }
        tare_close(model);
        index_free(&image);
    }
}

/* The last place at which two items of four bytes end before the last byte, and those behind it. */
Test(prebuilt_look, a_value_lies_within_the_bytes_of_values)
{
    enum { VALUE_SIZE = 32, PLACE = 16, ENTRY = 3, SIZE = 8 };
    for (uint64_t back = 0; back < 2 * SIZE; back++) {
        index_image image = make_index(&files[1]);
        uint64_t place = index_section_size(&image, VALUE_BYTES) - back;
        uint8_t *values = image.bytes + index_section_offset(&image, VALUES);
        memcpy(values + ENTRY * VALUE_SIZE + PLACE, &place, 8);
        index_seal(&image);
        tare_model *model = open_with("a place", &image, &files[1]);
        tare_value value = tare_metadata_value(model, "scores", 6);
        cr_expect_eq(value.kind, back > SIZE ? TARE_KIND_ARRAY : 0, "%d before the end", (int)back);
        tare_close(model);
        index_free(&image);
    }
}

/* One that is put at their end, or of which words come behind it, where another section begins. */
Test(prebuilt_look, a_layout_lies_within_the_layouts)
{
    enum { LAYOUT_AT = 8 };
    const struct {
        uint64_t size;
        uint32_t dtype, rank;
        uint64_t shape[2];
    } scalar = {1, TARE_DTYPE_U8, 0, {0, 0}}, row = {3, TARE_DTYPE_U8, 1, {3, 0}};
    static const struct {
        int back; /* words before the end */
        bool is_row, fits;
    } rows[] = {{2, false, true}, {1, false, false}, {0, false, false}, {-1, false, false},
                {3, true, true},  {2, true, false},  {1, true, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        index_image image = make_index(&files[0]);
        uint32_t words = (uint32_t)(index_section_size(&image, LAYOUTS) / 8);
        uint32_t place = words - (uint32_t)rows[i].back;
        uint8_t *layouts = image.bytes + index_section_offset(&image, LAYOUTS);
        memcpy(layouts + place * (size_t)8, rows[i].is_row ? &row : &scalar, 24);
        memcpy(image.bytes + index_section_offset(&image, RECORDS) + LAYOUT_AT, &place, 4);
        index_seal(&image);
        tare_model *model = open_with("a layout", &image, &files[0]);
        tare_info info = tare_describe(model, tare_at(model, 0));
        cr_expect_eq(info.size, !rows[i].fits ? 0 : rows[i].is_row ? 3 : 1, "row %zu", i);
        cr_expect_eq(info.dtype, rows[i].fits ? TARE_DTYPE_U8 : 0, "row %zu", i);
        tare_close(model);
        index_free(&image);
    }
}

Test(prebuilt_look, a_file_that_changes_while_it_is_mapped_stays_within_bounds)
{
    index_image image = make_index(&files[0]);
    tare_model *model = open_with("before", &image, &files[0]);
    tare_error error;
    index_image kept = index_copy(image.bytes, image.size);
    for (unsigned fill = 0; fill < 256; fill += 51)
        for (unsigned section = 0; section < INDEX_SECTION_COUNT; section++) {
            memset(image.bytes + index_section_offset(&image, section), (int)fill,
                   index_section_size(&image, section));
            index_use_model(model);
            tare_index_save(model, temp_join(&folder, "b").text, NULL, &error);
            memcpy(image.bytes, kept.bytes, kept.size);
        }
    memset(image.bytes, 0xFF, image.size);
    cr_expect_eq(index_use_model(model), 0);
    tare_close(model);
    index_free(&kept);
    index_free(&image);
}

/* ------------------------------------------------------------------------------------------------
 * Between two looks of one call
 */

typedef struct change {
    const tare_model *model;
    index_image *image;
    const char *name; /* of the tensor whose record leads outside from then on */
    uint64_t after;   /* bytes that are done before */
    size_t calls;
} change;

static int make_change(void *context, uint64_t done, uint64_t total)
{
    change *self = context;
    (void)total;
    if (done < self->after || self->calls++ != 0) return 0;
    size_t at = tare_index_of(self->model, tare_find(self->model, self->name, strlen(self->name)));
    memset(self->image->bytes + index_section_offset(self->image, RECORDS) + at * 16, 0xFF, 16);
    return 0;
}

/* The plan of a load is made by then, so that it is read all the same; what it is called in the
 * error is not. */
Test(prebuilt_look, a_digest_that_is_wrong_names_no_shard_that_is_not_there)
{
    index_image image = make_index(&files[0]);
    tare_model *model = open_with("before", &image, &files[0]);
    const tare_tensor *tensor = tare_find(model, "b", 1);
    change now = {model, &image, "b", 0, 0};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_digest digest;
    cr_assert_eq(tare_hash(model, tensor, &digest, NULL), TARE_OK);
    digest.low ^= 1;
    options.digests = &digest;
    options.threads = 1;
    options.progress = make_change;
    options.progress_context = &now;
    tare_block *block;
    tare_error error = expect_poison();
    cr_expect_eq(tare_load(model, &tensor, 1, &options, &block, &error), TARE_E_DIGEST);
    cr_expect_eq(now.calls, 1);
    cr_expect_eq(error.status, TARE_E_DIGEST);
    cr_expect_eq(error.shard, TARE_NO_SHARD);
    cr_expect_eq(error.offset, TARE_NO_OFFSET);
    expect_message("changed", "its digest is", &error);
    cr_expect_null(block);
    tare_close(model);
    index_free(&image);
}

/* Pages are dropped when all are hashed, of tensors that still lead somewhere. */
Test(prebuilt_look, pages_of_what_leads_nowhere_any_more_are_not_dropped)
{
    static const build_tensor large[] = {{"a", 0, "U8", "[100]", 100},
                                         {"z", 0, "U8", "[5000000]", 5000000}};
    temp_path path = temp_write_built(&folder, "large", build_file(large, 2, NULL));
    tare_options options = TARE_OPTIONS_INIT;
    tare_load_options how = TARE_LOAD_OPTIONS_INIT;
    tare_model *model = expect_open_path("large", path.text, TARE_BACKING_READ);
    index_image image = index_make(model, temp_join(&folder, "an.idx").text);
    tare_digest wanted[2], out[2];
    cr_assert_eq(tare_hash_many(model, NULL, 0, NULL, wanted, NULL), TARE_OK);
    tare_close(model);
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image.bytes;
    options.index_size = image.size;
    options.backing = TARE_BACKING_READ;
    cr_assert_eq(tare_open(path.text, &options, &model, NULL), TARE_OK);
    change now = {model, &image, "a", 4000000, 0};
    how.flags = TARE_LOAD_DROP_BEHIND;
    how.threads = 1;
    how.progress = make_change;
    how.progress_context = &now;
    const tare_tensor *list[] = {tare_find(model, "a", 1), tare_find(model, "z", 1)};
    cr_expect_eq(tare_hash_many(model, list, 2, &how, out, NULL), TARE_OK);
    cr_expect_gt(now.calls, 0);
    cr_expect_arr_eq(out, wanted, sizeof out);
    cr_expect_eq(tare_ready(model, list[0], NULL), TARE_E_PREBUILT);
    tare_close(model);
    index_free(&image);
}
