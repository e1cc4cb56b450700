/* The strings of __metadata__ and the typed values of GGUF. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/gguf_text.h"

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

/* ------------------------------------------------------------------------------------------------
 * GGUF
 */

#define ARRAY(kind, count) "4:9 4:" kind " 8:" count " "

static tare_model *open_typed(build_text *file)
{
    return gguf_open(
        GGUF_HEAD("1", "10") GGUF_TEXT("name", "a model") GGUF_U32(
            "count", "32") "\"signed\" 4:5 4:-5 \"rate\" 4:6 4:1069547520 \"flag\" 4:7 1:2 "
                           "\"words\" " ARRAY(
                               "8", "3") "\"one\" \"\" \"three\" "
                                         "\"numbers\" " ARRAY("5", "2") "4:1 4:-2 \"none\" " ARRAY(
                                             "8", "0") "\"empty\" 4:8 8:0 \"big\" 4:10 "
                                                       "8:-1 " GGUF_TENSOR("t", "1", "24",
                                                                           "0") "p32 d1",
        file);
}

Test(metadata, of_gguf_has_kinds)
{
    build_text file;
    tare_model *model = open_typed(&file);
    static const struct {
        const char *key;
        tare_kind kind, item_kind;
        uint64_t count;
    } wanted[] = {
        {"name", TARE_KIND_STRING, 0, 1},
        {"count", TARE_KIND_U32, 0, 1},
        {"signed", TARE_KIND_I32, 0, 1},
        {"rate", TARE_KIND_F32, 0, 1},
        {"flag", TARE_KIND_BOOL, 0, 1},
        {"words", TARE_KIND_ARRAY, TARE_KIND_STRING, 3},
        {"numbers", TARE_KIND_ARRAY, TARE_KIND_I32, 2},
        {"none", TARE_KIND_ARRAY, TARE_KIND_STRING, 0},
        {"empty", TARE_KIND_STRING, 0, 1},
        {"big", TARE_KIND_U64, 0, 1},
    };
    check_none_beyond(model, 10);
    cr_expect_eq(tare_metadata_value_at(model, 10).kind, 0);
    for (size_t i = 0; i < 10; i++) {
        const char *key = wanted[i].key;
        tare_value value = tare_metadata_value_at(model, i);
        tare_value found = tare_metadata_value(model, key, strlen(key));
        cr_expect_eq(value.kind, wanted[i].kind, "%s", key);
        cr_expect_eq(value.item_kind, wanted[i].item_kind, "%s", key);
        cr_expect_eq(value.count, wanted[i].count, "%s", key);
        cr_expect_eq(found.data, value.data, "%s", key);
        cr_expect_not_null(value.data, "%s", key);
        tare_string name, text;
        cr_expect_eq(tare_metadata_at(model, i, &name, &text, NULL), 1);
        cr_expect_str_eq(name.data, key);
        cr_expect_eq(text.data != NULL, value.kind == TARE_KIND_STRING, "%s", key);
        cr_expect_eq(tare_metadata_find(model, key, strlen(key)).data, text.data, "%s", key);
        if (text.data != NULL) cr_expect_eq(text.data[text.size], 0, "%s", key);
    }
    tare_close(model);
    build_free(&file);
}

Test(metadata, of_gguf_is_had_as_the_type_that_is_wanted)
{
    build_text file;
    tare_model *model = open_typed(&file);
    tare_error error = expect_poison();
    uint64_t u;
    int64_t s;
    double f;
    int b;
    tare_string text;
    tare_value array;
    cr_expect_eq(tare_metadata_u64(model, "count", 5, &u, &error), TARE_OK);
    cr_expect_eq(u, 32);
    cr_expect_eq(error.status, TARE_OK);
    cr_expect_eq(error.message[0], 0);
    cr_expect_eq(tare_metadata_u64(model, "big", 3, &u, NULL), TARE_OK);
    cr_expect_eq(u, UINT64_MAX);
    cr_expect_eq(tare_metadata_i64(model, "signed", 6, &s, NULL), TARE_OK);
    cr_expect_eq(s, -5);
    cr_expect_eq(tare_metadata_f64(model, "rate", 4, &f, NULL), TARE_OK);
    cr_expect_eq(f, 1.5);
    cr_expect_eq(tare_metadata_bool(model, "flag", 4, &b, NULL), TARE_OK);
    cr_expect_eq(b, 1);
    cr_expect_eq(tare_metadata_string(model, "name", 4, &text, NULL), TARE_OK);
    cr_expect_str_eq(text.data, "a model");
    cr_expect_eq(tare_metadata_array(model, "words", 5, &array, NULL), TARE_OK);
    cr_expect_eq(array.count, 3);
    cr_expect_eq(tare_metadata_array(model, "none", 4, &array, NULL), TARE_OK);
    cr_expect_eq(array.count, 0);
    tare_close(model);
    build_free(&file);
}

static void check_refused(tare_status status, tare_status wanted, const char *key,
                          const tare_error *error)
{
    cr_expect_eq(status, wanted, "%s", tare_status_name(status));
    cr_expect_eq(error->status, wanted);
    cr_expect_eq(error->shard, wanted == TARE_E_KIND ? 0 : TARE_NO_SHARD);
    expect_message(key, key, error);
}

Test(metadata, of_another_kind_or_absent_is_told_by_key)
{
    build_text file;
    tare_model *model = open_typed(&file);
    tare_error error;
    uint64_t u = 1;
    int64_t s = 1;
    double f = 1;
    int b = 1;
    tare_string text = {"x", 1};
    tare_value array = {.kind = 1};
    check_refused(tare_metadata_u64(model, "signed", 6, &u, &error), TARE_E_KIND, "signed", &error);
    check_refused(tare_metadata_u64(model, "name", 4, &u, &error), TARE_E_KIND, "name", &error);
    check_refused(tare_metadata_i64(model, "big", 3, &s, &error), TARE_E_KIND, "big", &error);
    check_refused(tare_metadata_f64(model, "count", 5, &f, &error), TARE_E_KIND, "count", &error);
    check_refused(tare_metadata_bool(model, "count", 5, &b, &error), TARE_E_KIND, "bool", &error);
    check_refused(tare_metadata_string(model, "words", 5, &text, &error), TARE_E_KIND, "array",
                  &error);
    check_refused(tare_metadata_array(model, "name", 4, &array, &error), TARE_E_KIND, "string",
                  &error);
    cr_expect(u == 0 && s == 0 && f == 0 && b == 0 && text.data == NULL && array.kind == 0);
    check_refused(tare_metadata_u64(model, "Count", 5, &u, &error), TARE_E_ABSENT, "Count", &error);
    check_refused(tare_metadata_array(model, "words", 4, &array, &error), TARE_E_ABSENT, "word",
                  &error);
    check_refused(tare_metadata_string(model, NULL, 0, &text, &error), TARE_E_ABSENT, "''", &error);
    cr_expect_eq(tare_metadata_u64(model, "no", 2, &u, NULL), TARE_E_ABSENT);
    tare_close(model);
    build_free(&file);
}

Test(metadata, arrays_are_walked_without_a_copy)
{
    build_text file;
    tare_model *model = open_typed(&file);
    static const char *const wanted[] = {"one", "", "three"};
    tare_value words = tare_metadata_value(model, "words", 5), item;
    cr_expect_geq((const char *)words.data, file.data);
    cr_expect_lt((const char *)words.data, file.data + file.size);
    for (size_t i = 0; i < 3; i++) {
        tare_string text;
        cr_assert_eq(tare_value_next(&words, &item), 1);
        cr_assert_eq(tare_value_string(item, &text), TARE_OK);
        cr_assert_eq(text.size, strlen(wanted[i]));
        cr_expect_arr_eq(text.data, wanted[i], text.size);
    }
    cr_expect_eq(tare_value_next(&words, &item), 0);
    cr_expect_eq(tare_metadata_value(model, "words", 5).count, 3, "the model's own stays whole");
    tare_close(model);
    build_free(&file);
}

Test(metadata, of_safetensors_is_of_kind_string)
{
    build_text file;
    tare_model *model = open_with("{\"n\":\"3\"}", &file);
    tare_value value = tare_metadata_value(model, "n", 1);
    tare_string text;
    uint64_t number;
    cr_expect_eq(value.kind, TARE_KIND_STRING);
    cr_expect_eq(value.count, 1);
    cr_expect_eq(tare_metadata_string(model, "n", 1, &text, NULL), TARE_OK);
    cr_expect_str_eq(text.data, "3");
    cr_expect_eq(tare_metadata_u64(model, "n", 1, &number, NULL), TARE_E_KIND);
    cr_expect_eq(tare_metadata_u64(model, "m", 1, &number, NULL), TARE_E_ABSENT);
    cr_expect_eq(tare_metadata_value_at(model, 0).data, value.data);
    cr_expect_eq(tare_metadata_value_at(model, 1).kind, 0);
    cr_expect_eq(tare_shard_at(model, 0).format, TARE_FORMAT_SAFETENSORS);
    tare_close(model);
    build_free(&file);
}

Test(metadata, a_message_says_whether_a_kind_or_a_number_is_wrong)
{
    build_text file;
    tare_model *model = open_typed(&file);
    tare_error error = expect_poison();
    uint64_t u;
    int64_t s;
    int b;
    tare_metadata_u64(model, "name", 4, &u, &error);
    expect_message("name", "'name': is of kind string, not an integer", &error);
    tare_metadata_u64(model, "rate", 4, &u, &error);
    expect_message("rate", "'rate': is of kind f32, not an integer", &error);
    tare_metadata_u64(model, "signed", 6, &u, &error);
    expect_message("signed", "'signed': its i32 does not fit in u64", &error);
    tare_metadata_i64(model, "big", 3, &s, &error);
    expect_message("big", "'big': its u64 does not fit in i64", &error);
    tare_metadata_bool(model, "count", 5, &b, &error);
    expect_message("count", "'count': is of kind u32, not bool", &error);
    tare_close(model);
    build_free(&file);
}
