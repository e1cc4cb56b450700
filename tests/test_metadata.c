/* The strings of __metadata__, as src/lookup.c hands them out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"

static tare_model *open_with(const char *metadata, build_text *file)
{
    build_tensor one = {"t", 0, "U8", "[1]", 1};
    *file = build_file(&one, 1, metadata);
    return expect_open_bytes(metadata ? metadata : "none", file);
}

static void check_entry(const tare_model *model, size_t index, tare_string key, tare_string value)
{
    tare_string found_key = {NULL, 9}, found_value = {NULL, 9};
    uint32_t shard = 77;
    cr_assert_eq(tare_metadata_at(model, index, &found_key, &found_value, &shard), 1);
    cr_assert_eq(found_key.size, key.size, "key %zu", index);
    cr_assert_eq(found_value.size, value.size, "value %zu", index);
    cr_expect_arr_eq(found_key.data, key.data, key.size, "key %zu", index);
    cr_expect_arr_eq(found_value.data, value.data, value.size, "value %zu", index);
    cr_expect_eq(found_key.data[key.size], 0, "key %zu has no terminator", index);
    cr_expect_eq(found_value.data[value.size], 0, "value %zu has no terminator", index);
    cr_expect_eq(shard, 0);
    tare_string by_key = tare_metadata_find(model, key.data, key.size);
    cr_expect_eq(by_key.data, found_value.data, "key %zu finds another value", index);
    cr_expect_eq(by_key.size, found_value.size);
}

static void check_none_beyond(const tare_model *model, size_t count)
{
    cr_assert_eq(tare_metadata_count(model), count);
    static const size_t beyond[] = {0, 1, 1000};
    for (size_t i = 0; i < 3; i++) {
        tare_string key = {"x", 1}, value = {"x", 1};
        cr_expect_eq(tare_metadata_at(model, count + beyond[i], &key, &value, NULL), 0);
        cr_expect_null(key.data);
        cr_expect_eq(key.size, 0);
        cr_expect_null(value.data);
        cr_expect_eq(value.size, 0);
    }
    cr_expect_eq(tare_metadata_at(model, SIZE_MAX, NULL, NULL, NULL), 0);
}

Test(metadata, is_listed_in_the_order_of_the_file)
{
    build_text file;
    tare_model *model = open_with("{\"z\":\"1\",\"a\":\"2\",\"m\":\"3\"}", &file);
    check_entry(model, 0, (tare_string){"z", 1}, (tare_string){"1", 1});
    check_entry(model, 1, (tare_string){"a", 1}, (tare_string){"2", 1});
    check_entry(model, 2, (tare_string){"m", 1}, (tare_string){"3", 1});
    check_none_beyond(model, 3);
    tare_close(model);
    build_free(&file);
}

Test(metadata, that_is_absent_empty_or_null_has_no_entries)
{
    static const char *const forms[] = {NULL, "{}", "null", " { } "};
    for (size_t i = 0; i < 4; i++) {
        build_text file;
        tare_model *model = open_with(forms[i], &file);
        check_none_beyond(model, 0);
        cr_expect_null(tare_metadata_find(model, "format", 6).data);
        cr_expect_null(tare_metadata_find(model, "", 0).data);
        cr_expect_null(tare_metadata_find(model, NULL, 0).data);
        tare_close(model);
        build_free(&file);
    }
}

Test(metadata, of_pairs_there_is_none)
{
    tare_pair pair = {"a", 1, "x", 1};
    tare_model *model = expect_no_model();
    cr_assert_eq(tare_open_pairs(&pair, 1, NULL, &model, NULL), TARE_OK);
    check_none_beyond(model, 0);
    tare_close(model);
}

Test(metadata, strings_are_unescaped_and_may_hold_anything)
{
    build_text file;
    tare_model *model =
        open_with("{\"\":\"\",\"\\u0000\":\"a\\u0000b\",\"\\n\\\"\":\"\\ud83e\\udd99\","
                  "\"\xC3\xA9\":\"\\u00e9\",\"__metadata__\":\"t\",\"t\":\"x\"}",
                  &file);
    check_entry(model, 0, (tare_string){"", 0}, (tare_string){"", 0});
    check_entry(model, 1, (tare_string){"\0", 1}, (tare_string){"a\0b", 3});
    check_entry(model, 2, (tare_string){"\n\"", 2}, (tare_string){"\xf0\x9f\xa6\x99", 4});
    check_entry(model, 3, (tare_string){"\xC3\xA9", 2}, (tare_string){"\xC3\xA9", 2});
    check_entry(model, 4, (tare_string){"__metadata__", 12}, (tare_string){"t", 1});
    check_entry(model, 5, (tare_string){"t", 1}, (tare_string){"x", 1});
    check_none_beyond(model, 6);
    cr_expect_eq(tare_metadata_find(model, NULL, 0).size, 0);
    cr_expect_not_null(tare_metadata_find(model, NULL, 0).data);
    cr_expect_null(tare_metadata_find(model, "T", 1).data);
    cr_expect_null(tare_metadata_find(model, "\0\0", 2).data);
    tare_close(model);
    build_free(&file);
}

Test(metadata, outputs_that_nobody_wants_may_be_null)
{
    build_text file;
    tare_model *model = open_with("{\"k\":\"v\"}", &file);
    tare_string key, value;
    uint32_t shard;
    cr_expect_eq(tare_metadata_at(model, 0, NULL, NULL, NULL), 1);
    cr_expect_eq(tare_metadata_at(model, 0, &key, NULL, NULL), 1);
    cr_expect_str_eq(key.data, "k");
    cr_expect_eq(tare_metadata_at(model, 0, NULL, &value, NULL), 1);
    cr_expect_str_eq(value.data, "v");
    cr_expect_eq(tare_metadata_at(model, 0, NULL, NULL, &shard), 1);
    cr_expect_eq(shard, 0);
    tare_close(model);
    build_free(&file);
}

Test(metadata, of_many_keys_is_found_by_each)
{
    enum { COUNT = 5000 };
    build_text metadata = {0}, file;
    build_addf(&metadata, "{");
    for (unsigned i = 0; i < COUNT; i++)
        build_addf(&metadata, "%s\"key %u\":\"value %u\"", i ? "," : "", i * 7919 % COUNT, i);
    build_addf(&metadata, "}");
    tare_model *model = open_with(metadata.data, &file);
    for (unsigned i = 0; i < COUNT; i++) {
        char key[32], value[32];
        int key_size = snprintf(key, sizeof key, "key %u", i * 7919 % COUNT);
        int value_size = snprintf(value, sizeof value, "value %u", i);
        check_entry(model, i, (tare_string){key, (size_t)key_size},
                    (tare_string){value, (size_t)value_size});
    }
    check_none_beyond(model, COUNT);
    tare_close(model);
    build_free(&metadata);
    build_free(&file);
}

Test(metadata, and_tensors_of_one_name_do_not_meet)
{
    build_text file;
    tare_model *model = open_with("{\"t\":\"metadata\"}", &file);
    cr_expect_eq(tare_count(model), 1);
    cr_expect_not_null(tare_find(model, "t", 1));
    cr_expect_null(tare_find(model, "metadata", 8));
    cr_expect_str_eq(tare_metadata_find(model, "t", 1).data, "metadata");
    tare_close(model);
    build_free(&file);
}
