/* What an index file holds: the same for the same model, and what docs/format_index.md says. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prebuilt.h"
#include "support/alloc_probe.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/set_models.h"
#include "support/temp_files.h"

static temp_path folder;

static void make_folder(void)
{
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_build, .init = make_folder, .fini = remove_folder);

static const build_tensor some[] = {{"layers.0.a", 0, "F32", "[2,2]", 16},
                                    {"layers.1.a", 0, "F32", "[2,2]", 16},
                                    {"b", 0, "U8", "[3]", 3}};

static void check_same(const char *what, const index_image *a, const index_image *b)
{
    cr_assert_eq(a->size, b->size, "%s", what);
    cr_expect_eq(memcmp(a->bytes, b->bytes, a->size), 0, "%s", what);
}

Test(prebuilt_build, the_same_model_gives_the_same_file)
{
    temp_path path =
        temp_write_built(&folder, "m.safetensors", build_file(some, 3, "{\"k\":\"v\"}"));
    temp_path at = temp_join(&folder, "an.idx");
    index_image images[3];
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    for (int i = 0; i < 3; i++) { /* with other seeds and backings, and from an index file */
        options.flags = TARE_SEED_FIXED;
        options.seed = (uint64_t)i;
        options.backing = i == 0 ? TARE_BACKING_READ : TARE_BACKING_MAP;
        options.index = i == 2 ? TARE_INDEX_REQUIRE : TARE_INDEX_NEVER;
        options.index_path = i == 2 ? at.text : NULL;
        cr_assert_eq(tare_open(path.text, &options, &model, NULL), TARE_OK);
        images[i] = index_make(model, at.text);
        tare_close(model);
    }
    check_same("seed", &images[0], &images[1]);
    check_same("from an index file", &images[0], &images[2]);
    for (int i = 0; i < 3; i++) index_free(&images[i]);
}

/* Opened as a path, as a folder, and as a name in the folder one is in. */
Test(prebuilt_build, the_same_however_the_list_of_shards_is_called)
{
    static const char list[] = "{\"weight_map\":{\"layers.0.a\":\"1.safetensors\","
                               "\"layers.1.a\":\"2.safetensors\"}}";
    temp_path path = temp_write(&folder, "model.safetensors.index.json", list, sizeof list - 1);
    temp_write_built(&folder, "1.safetensors", build_file(&some[0], 1, NULL));
    temp_write_built(&folder, "2.safetensors", build_file(&some[1], 1, NULL));
    const char *const ways[] = {path.text, folder.text, "model.safetensors.index.json", "."};
    index_image images[4];
    cr_assert_eq(chdir(folder.text), 0);
    for (size_t i = 0; i < 4; i++) {
        tare_model *model;
        cr_assert_eq(tare_open(ways[i], NULL, &model, NULL), TARE_OK);
        images[i] = index_make(model, "an.idx");
        tare_close(model);
        check_same(ways[i], &images[0], &images[i]);
    }
    for (size_t i = 0; i < 4; i++) index_free(&images[i]);
}

Test(prebuilt_build, the_same_from_an_index_file_of_typed_values_and_many_names)
{
    build_text files[2] = {
        gguf_text(GGUF_HEAD("1", "3") GGUF_TEXT("b", "text")
                      GGUF_U16("a", "7") "\"tokens\" 4:9 4:8 8:2 \"x\" \"yz\" " GGUF_TENSOR(
                          "t", "8", "0", "0") "p32 d32",
                  NULL)};
    name_set set = name_set_deepseek();
    files[1] = set_build_shard(&set, 0);
    for (int i = 0; i < 2; i++) {
        tare_model *parsed = expect_open_bytes("parsed", &files[i]), *model;
        index_image image = index_make(parsed, temp_join(&folder, "a").text);
        tare_options options = TARE_OPTIONS_INIT;
        options.index = TARE_INDEX_REQUIRE;
        options.index_bytes = image.bytes;
        options.index_size = image.size;
        cr_assert_eq(tare_open_bytes(files[i].data, files[i].size, &options, &model, NULL),
                     TARE_OK);
        index_image again = index_make(model, temp_join(&folder, "b").text);
        check_same("again", &image, &again);
        index_free(&again);
        tare_close(model);
        tare_close(parsed);
        index_free(&image);
        build_free(&files[i]);
    }
    name_set_free(&set);
}

/* All of it, by the digest in its head: files that are there already stay those of their models. */
Test(prebuilt_build, the_file_is_what_it_was_when_the_format_was_made)
{
    enum { DIGEST_AT = 424 };
    static const uint64_t wanted[] = {UINT64_C(0xf0f7c62eb2613c04), UINT64_C(0x29ece6e5abd23d40),
                                      UINT64_C(0x3f797f511dedf777)};
    name_set set = name_set_qwen();
    build_text files[] = {build_file(some, 3, "{\"k\":\"v\"}"),
                          gguf_text(GGUF_HEAD("1", "2") GGUF_TEXT("b", "text") GGUF_U16("a", "7")
                                        GGUF_TENSOR("t", "8", "0", "0") "p32 d32",
                                    NULL),
                          set_build_shard(&set, 0)};
    for (int i = 0; i < 3; i++) {
        tare_model *model = expect_open_bytes("parsed", &files[i]);
        index_image image = index_make(model, temp_join(&folder, "a").text);
        uint64_t digest;
        memcpy(&digest, image.bytes + DIGEST_AT, sizeof digest);
        cr_expect_eq(digest, wanted[i], "file %d: %#" PRIx64, i, digest);
        index_free(&image);
        tare_close(model);
        build_free(&files[i]);
    }
    name_set_free(&set);
}

/* One number of the page: "| 24 | 8 | `seed` |" and its like, and the section's row. */
static void check_documented(const char *page, size_t offset, size_t size, const char *name)
{
    char row[128];
    snprintf(row, sizeof row, "| %zu | %zu | `%s` |", offset, size, name);
    cr_expect_not_null(strstr(page, row), "docs/format_index.md lacks: %s", row);
}

Test(prebuilt_build, the_page_about_the_format_has_every_field_where_it_is)
{
    size_t size;
    char *bytes = temp_read(TARE_TEST_DATA "/../../docs/format_index.md", &size);
    char *page = calloc(size + 1, 1);
    memcpy(page, bytes, size);
    free(bytes);
#define HEAD(field)                                              \
    check_documented(page, offsetof(tarei_prebuilt_head, field), \
                     sizeof((tarei_prebuilt_head *)NULL)->field, #field)
    HEAD(magic), HEAD(order), HEAD(version), HEAD(file_size), HEAD(seed), HEAD(tensor_count);
    HEAD(key_count), HEAD(shard_count), HEAD(origin), HEAD(table), HEAD(line_count), HEAD(reach);
    HEAD(reseeds), HEAD(sections), HEAD(digest), HEAD(unused);
#define SHARD(field)                                              \
    check_documented(page, offsetof(tarei_prebuilt_shard, field), \
                     sizeof((tarei_prebuilt_shard *)NULL)->field, #field)
    SHARD(size), SHARD(modified_s), SHARD(modified_ns), SHARD(digest), SHARD(data_offset);
    SHARD(name), SHARD(name_size), SHARD(format), SHARD(padding);
#define VALUE(field)                                              \
    check_documented(page, offsetof(tarei_prebuilt_value, field), \
                     sizeof((tarei_prebuilt_value *)NULL)->field, #field)
    VALUE(kind), VALUE(item_kind), VALUE(count), VALUE(place), VALUE(size);
    check_documented(page, 0, 8, "where"), check_documented(page, 8, 4, "layout");
    check_documented(page, 12, 4, "name");
    static const char *const sections[TAREI_SECTION_COUNT] = {
        "shards",  "shard names",  "prefixes", "suffixes", "layouts",
        "commons", "wide commons", "table",    "records",  "text",
        "keys",    "key order",    "key text", "values",   "value bytes"};
    for (size_t i = 0; i < TAREI_SECTION_COUNT; i++) {
        char row[64];
        snprintf(row, sizeof row, "%zu. **%s**", i, sections[i]);
        cr_expect_not_null(strstr(page, row), "docs/format_index.md lacks: %s", row);
    }
    free(page);
}

/* Bytes of a small file that are as the page says, without the library's own names for them. */
Test(prebuilt_build, bytes_are_where_the_page_says)
{
    build_text file = build_file(some, 3, "{\"k\":\"v\"}");
    tare_model *model = expect_open_bytes("parsed", &file);
    index_image image = index_make(model, temp_join(&folder, "a").text);
    const uint8_t *at = image.bytes;
    cr_expect_arr_eq(at, "TareIdx\x1a\1\2\3\4\1\0\0\0", 16);
    cr_expect_eq(at[32], 3, "tensors");
    cr_expect_eq(at[36], 1, "keys");
    cr_expect_eq(at[40], 1, "shards");
    cr_expect_eq(at[44], 1, "one file");
    cr_expect_eq(at[48], 1, "small lines");
    cr_expect_eq(index_section_offset(&image, 0), 448);
    const char *text = (const char *)at + index_section_offset(&image, 9);
    cr_expect_eq(index_section_size(&image, 9), 24);
    cr_expect_arr_eq(text, "layers.0.a\0layers.1.a\0b", 24);
    const char *values = (const char *)at + index_section_offset(&image, 14);
    cr_expect_arr_eq(values, "v", 2);
    cr_expect_arr_eq((const char *)at + index_section_offset(&image, 12), "k", 2);
    uint64_t where;
    memcpy(&where, at + index_section_offset(&image, 8) + 16, 8);
    cr_expect_eq(where, tare_offset(model, tare_at(model, 1)));
    cr_expect_arr_eq(at + index_section_offset(&image, 10), (const char[12]){0}, 12, "the key's");
    index_free(&image);
    tare_close(model);
    build_free(&file);
}

Test(prebuilt_build, more_than_64_dimensions_are_refused)
{
    for (int rank = 64; rank <= 65; rank++) {
        build_text shape = {0};
        for (int i = 0; i < rank; i++) build_addf(&shape, "%s1", i == 0 ? "[" : ",");
        build_addf(&shape, "]");
        build_add(&shape, "", 1);
        const build_tensor one = {"deep", 0, "U8", shape.data, 1};
        build_text file = build_file(&one, 1, NULL);
        tare_model *model = expect_open_bytes("deep", &file);
        tare_error error = expect_poison();
        tare_status status = tare_index_save(model, temp_join(&folder, "a").text, NULL, &error);
        cr_expect_eq(status, rank == 64 ? TARE_OK : TARE_E_LIMIT, "%s", error.message);
        if (rank == 65) expect_message("deep", "'deep'", &error);
        tare_close(model);
        build_free(&file);
        build_free(&shape);
    }
}

Test(prebuilt_build, memory_may_run_out_at_any_call)
{
    build_text file = build_file(some, 3, "{\"k\":\"v\"}");
    tare_model *model = expect_open_bytes("parsed", &file);
    temp_path at = temp_join(&folder, "a");
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    alloc_probe probe;
    options.allocator = &probe.hooks;
    for (int check = 0; check < 2; check++)
        for (size_t fail_at = 1;; fail_at++) {
            alloc_probe_init(&probe);
            probe.fail_at = fail_at;
            tare_error error = expect_poison();
            tare_status status = check ? tare_index_check(model, at.text, &options, &error)
                                       : tare_index_save(model, at.text, &options, &error);
            cr_expect_eq(status, probe.refused != 0 ? TARE_E_MEMORY : TARE_OK, "%zu: %s", fail_at,
                         error.message);
            cr_expect_eq(probe.block_count + probe.mistakes, 0, "at %zu", fail_at);
            if (probe.refused == 0) break;
            cr_expect_eq(temp_entry_count(&folder), (size_t)check, "at %zu", fail_at);
        }
    tare_close(model);
    build_free(&file);
}

/* ------------------------------------------------------------------------------------------------
 * From an index file that lies
 */

enum {
    MANY = 1000,
    RECORDS = 8,
    TEXT = 9,
    KEYS = 10,
    KEY_TEXT = 12,
    VALUES = 13,
    VALUE_BYTES = 14
};

static build_text build_many(void)
{
    static char names[MANY][32];
    static build_tensor tensors[MANY];
    build_text metadata = {0};
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "layers.%d.weight", i);
        tensors[i] = (build_tensor){names[i], 0, "U8", "[1]", 1};
        build_addf(&metadata, "%s\"key%d\":\"%d\"", i == 0 ? "{" : ",", i, i);
    }
    build_addf(&metadata, "}");
    build_text file = build_file(tensors, MANY, metadata.data);
    build_free(&metadata);
    return file;
}

/* Every second name is all of the text: the next one begins where that ends. */
static void stretch_names(index_image *image, unsigned records, unsigned text)
{
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t place = i % 2 != 0 ? (uint32_t)index_section_size(image, text) : 0;
        memcpy(image->bytes + index_section_offset(image, records) + i * 16 + 12, &place, 4);
    }
}

static void stretch_values(index_image *image)
{
    const uint64_t all[] = {0, index_section_size(image, VALUE_BYTES) - 1};
    for (uint32_t i = 0; i < MANY; i++)
        memcpy(image->bytes + index_section_offset(image, VALUES) + i * 32 + 16, all, 16);
}

/* Text that stands there once is not taken a thousand times. */
Test(prebuilt_build, names_and_values_take_no_more_than_the_text_they_stand_in)
{
    build_text file = build_many();
    tare_model *parsed = expect_open_bytes("many", &file), *model;
    temp_path at = temp_join(&folder, "an.idx");
    index_image good = index_make(parsed, at.text);
    size_t honest_size = 0;
    for (int lie = 0; lie < 4; lie++) {
        index_image image = index_copy(good.bytes, good.size);
        if (lie == 1) stretch_names(&image, RECORDS, TEXT);
        if (lie == 2) stretch_names(&image, KEYS, KEY_TEXT);
        if (lie == 3) stretch_values(&image);
        index_seal(&image);
        tare_options options = TARE_OPTIONS_INIT;
        options.index = TARE_INDEX_REQUIRE;
        options.index_bytes = image.bytes;
        options.index_size = image.size;
        cr_assert_eq(tare_open_bytes(file.data, file.size, &options, &model, NULL), TARE_OK);
        alloc_probe probe;
        tare_error error = expect_poison();
        tare_index_options how = TARE_INDEX_OPTIONS_INIT;
        alloc_probe_init(&probe);
        how.allocator = &probe.hooks;
        how.flags = TARE_SAVE_REPLACE;
        tare_status status = tare_index_save(model, at.text, &how, &error);
        cr_expect_eq(status, lie == 0 ? TARE_OK : TARE_E_PREBUILT, "%d: %s", lie, error.message);
        if (lie != 0) expect_message("a lie", "names or values are longer than the text", &error);
        if (lie == 0) honest_size = probe.peak_size;
        cr_expect_leq(probe.peak_size, honest_size, "%d: %zu", lie, probe.peak_size);
        cr_expect_eq(probe.block_count + probe.mistakes, 0);
        tare_close(model);
        index_free(&image);
    }
    tare_close(parsed);
    index_free(&good);
    build_free(&file);
}
