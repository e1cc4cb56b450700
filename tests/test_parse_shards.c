/*
 * The text of a shard index: rules X-... of docs/format_safetensors.md with status and place. Rows
 * are read as build_marked does: ' is ", @ is a zero byte, ^ stands before the byte that the error
 * must name. Every row finds a.safetensors (tensors a and aa) and b.safetensors (b) in its folder.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/temp_files.h"

typedef struct row {
    const char *what;
    const char *index;
    tare_status status;
} row;

static temp_path folder;

static void make_shards(void)
{
    static const build_tensor a[] = {{"a", 0, "U8", "[1]", 1}, {"aa", 0, "U8", "[2]", 2}};
    static const build_tensor b[] = {{"b", 0, "F32", "[]", 4}};
    folder = temp_folder_make();
    temp_write_built(&folder, "a.safetensors", build_file(a, 2, NULL));
    temp_write_built(&folder, "b.safetensors", build_file(b, 1, NULL));
}

static void remove_shards(void)
{
    temp_folder_remove(&folder);
}

TestSuite(parse_shards, .init = make_shards, .fini = remove_shards);

static tare_status open_index(const build_text *text, tare_model **model, tare_error *error)
{
    temp_path path = temp_write_text(&folder, "m.safetensors.index.json", text);
    *model = expect_no_model();
    *error = expect_poison();
    return tare_open(path.text, NULL, model, error);
}

static void check_rows(const row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t mark;
        build_text text = build_marked(rows[i].index, &mark);
        tare_model *model;
        tare_error error;
        tare_status status = open_index(&text, &model, &error);
        if (rows[i].status == TARE_OK) {
            expect_opened(rows[i].what, status, model, &error);
        } else {
            cr_assert_neq(mark, SIZE_MAX, "%s: the row has no ^", rows[i].what);
            expect_refused(rows[i].what, rows[i].status, mark, status, model, &error);
            cr_expect_eq(error.shard, TARE_NO_SHARD, "%s: shard %" PRIu32, rows[i].what,
                         error.shard);
        }
        if (status == TARE_OK) tare_close(model);
        build_free(&text);
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof rows / sizeof rows[0])
#define ALL "'a':'a.safetensors','aa':'a.safetensors','b':'b.safetensors'"
#define MAP(lines) "{'weight_map':{" lines "}}"

Test(parse_shards, x_json_refuses_what_is_no_json)
{
    static const row rows[] = {
        {"nothing", "^", TARE_E_JSON},
        {"space", " \n^", TARE_E_JSON},
        {"a byte order mark", "^\xEF\xBB\xBF{'weight_map':{" ALL "}}", TARE_E_INDEX},
        {"cut", "{'weight_map':{'a':'a.safetensors'^", TARE_E_JSON},
        {"cut before the map", "{'weight_map':^", TARE_E_JSON},
        {"cut before a shard", "{'weight_map':{'a':^", TARE_E_JSON},
        {"cut in a shard", "{'weight_map':{'a':^'a.safe", TARE_E_JSON},
        {"text behind", MAP(ALL) "\n^x", TARE_E_JSON},
        {"a zero byte behind", MAP(ALL) "^@", TARE_E_JSON},
        {"a comma behind", MAP(ALL ",^"), TARE_E_JSON},
        {"no colon", MAP("'a'^'a.safetensors'"), TARE_E_JSON},
        {"no comma", MAP("'a':'a.safetensors'^'b':'b.safetensors'"), TARE_E_JSON},
        {"NaN", "{'metadata':{'total_size':^NaN},'weight_map':{" ALL "}}", TARE_E_JSON},
        {"a bad escape", MAP("'^\\x':'a.safetensors'"), TARE_E_JSON},
        {"a bad escape in a shard", MAP("'a':'^\\x.safetensors'"), TARE_E_JSON},
        {"x_utf8: a name", MAP("'^\xFF':'a.safetensors'"), TARE_E_UTF8},
        {"x_utf8: a shard", MAP("'a':'^\xC0\x80.safetensors'"), TARE_E_UTF8},
        {"x_utf8: elsewhere", "{'metadata':'^\xED\xA0\x80','weight_map':{" ALL "}}", TARE_E_UTF8},
        {"space around", " \t\r\n{ 'weight_map' : { 'a' : 'a.safetensors' } } \n", TARE_OK},
    };
    CHECK_ROWS(rows);
}

Test(parse_shards, x_map_wants_a_map_of_names_to_files)
{
    static const row rows[] = {
        {"an array", "^[]", TARE_E_INDEX},
        {"a string", "^'x'", TARE_E_INDEX},
        {"null", "^null", TARE_E_INDEX},
        {"no map", "^{}", TARE_E_INDEX},
        {"metadata only", "^{'metadata':{}}", TARE_E_INDEX},
        {"a map in another case", "^{'Weight_map':{}}", TARE_E_INDEX},
        {"a map that is null", "{'weight_map':^null}", TARE_E_INDEX},
        {"a map that is an array", "{'weight_map':^[]}", TARE_E_INDEX},
        {"a map that is a string", "{'weight_map': ^'a.safetensors'}", TARE_E_INDEX},
        {"a shard that is null", MAP("'a':^null"), TARE_E_INDEX},
        {"a shard that is a number", MAP("'a':^1"), TARE_E_INDEX},
        {"a shard that is an array", MAP("'a':^['a.safetensors']"), TARE_E_INDEX},
        {"a shard that is an object", MAP("'a': ^{'file':'a.safetensors'}"), TARE_E_INDEX},
        {"a later shard", MAP("'a':'a.safetensors','b':^true"), TARE_E_INDEX},
        {"x_dup: two maps", "{'weight_map':{},^'weight_map':{}}", TARE_E_DUPLICATE},
        {"x_dup: two maps, one escaped", "{'weight_map':{},^'weight\\u005fmap':{}}",
         TARE_E_DUPLICATE},
        {"empty", MAP(""), TARE_OK},
        {"escaped", "{'weight\\u005fmap':{" ALL "}}", TARE_OK},
        {"x_meta: other members", "{'x':[1],'weight_map':{" ALL "},'metadata':{'a':[]},'y':null}",
         TARE_OK},
        {"x_total: of any kind", "{'metadata':{'total_size':1.5},'weight_map':{" ALL "}}", TARE_OK},
    };
    CHECK_ROWS(rows);
}

Test(parse_shards, x_path_keeps_shards_in_the_folder)
{
#define SHARD(name) MAP("'a':'a.safetensors','b':^'" name "'")
    static const row rows[] = {
        {"empty", SHARD(""), TARE_E_SHARD_NAME},
        {"a dot", SHARD("."), TARE_E_SHARD_NAME},
        {"two dots", SHARD(".."), TARE_E_SHARD_NAME},
        {"above", SHARD("../b.safetensors"), TARE_E_SHARD_NAME},
        {"above, escaped", SHARD("\\u002e\\u002e\\u002fb.safetensors"), TARE_E_SHARD_NAME},
        {"above, with an escaped slash", SHARD("..\\/b.safetensors"), TARE_E_SHARD_NAME},
        {"above in the middle", SHARD("x/../../b.safetensors"), TARE_E_SHARD_NAME},
        {"here in front", SHARD("./b.safetensors"), TARE_E_SHARD_NAME},
        {"here in the middle", SHARD("x/./b.safetensors"), TARE_E_SHARD_NAME},
        {"absolute", SHARD("/b.safetensors"), TARE_E_SHARD_NAME},
        {"absolute twice", SHARD("//host/b.safetensors"), TARE_E_SHARD_NAME},
        {"two slashes", SHARD("x//b.safetensors"), TARE_E_SHARD_NAME},
        {"a slash behind", SHARD("b.safetensors/"), TARE_E_SHARD_NAME},
        {"a backslash", SHARD("x\\\\b.safetensors"), TARE_E_SHARD_NAME},
        {"a drive", SHARD("C:b.safetensors"), TARE_E_SHARD_NAME},
        {"a stream", SHARD("b:x.safetensors"), TARE_E_SHARD_NAME},
        {"a scheme", SHARD("file:///b.safetensors"), TARE_E_SHARD_NAME},
        {"a zero byte", SHARD("b.safetensors\\u0000"), TARE_E_SHARD_NAME},
        {"a zero byte inside", SHARD("b\\u0000.safetensors"), TARE_E_SHARD_NAME},
        {"a line end", SHARD("b\\n.safetensors"), TARE_E_SHARD_NAME},
        {"byte 7F", SHARD("\x7F.safetensors"), TARE_E_SHARD_NAME},
        {"x_ext: a pickle", SHARD("b.bin"), TARE_E_SHARD_NAME},
        {"x_ext: none", SHARD("safetensors"), TARE_E_SHARD_NAME},
        {"x_ext: another case", SHARD("b.SafeTensors"), TARE_E_SHARD_NAME},
        {"x_ext: another behind", SHARD("b.safetensors.pt"), TARE_E_SHARD_NAME},
        {"x_ext: the index itself", SHARD("m.safetensors.index.json"), TARE_E_SHARD_NAME},
        {"the first of all", MAP("'a':^'/a.safetensors','b':'../b.safetensors'"),
         TARE_E_SHARD_NAME},
    };
    CHECK_ROWS(rows);
}

Test(parse_shards, x_path_bounds_the_size_of_a_name)
{
    for (size_t size = 4096; size <= 4097; size++) {
        build_text text = {0};
        build_addf(&text, "{\"weight_map\":{\"a\":\"");
        for (size_t i = 0; i < size - 12; i++) build_add(&text, i % 100 == 99 ? "/" : "x", 1);
        build_addf(&text, ".safetensors\"}}");
        tare_model *model;
        tare_error error;
        tare_status status = open_index(&text, &model, &error);
        if (size > 4096)
            expect_refused("4,097 bytes", TARE_E_SHARD_NAME, 19, status, model, &error);
        else
            expect_status("4,096 bytes", TARE_E_OPEN, status, model, &error);
        build_free(&text);
    }
}

Test(parse_shards, more_than_2_to_the_18_shards_are_beyond_the_limit)
{
    build_text text = {0};
    build_addf(&text, "{\"weight_map\":{");
    for (unsigned i = 0; i <= 1u << 18; i++)
        build_addf(&text, "%s\"%x\":\"%x.safetensors\"", i ? "," : "", i, i);
    build_addf(&text, "}}");
    tare_model *model;
    tare_error error;
    tare_status status = open_index(&text, &model, &error);
    expect_refused("262,145 shards", TARE_E_LIMIT, TARE_NO_OFFSET, status, model, &error);
    build_free(&text);
}

Test(parse_shards, x_path_lets_other_names_through)
{
    static const char *const names[] = {
        "sub/b.safetensors",   "s u b/b.safetensors",   ".hidden.safetensors",
        "...safetensors",      "..b.safetensors",       "mod\xC3\xA8le-\xC3\xA9.safetensors",
        "sub/x:y.safetensors", "sub/..x/b.safetensors", "~.safetensors",
        "%2e%2e.safetensors",  "-.safetensors",         ".safetensors",
    };
    build_tensor b = {"b", 0, "F32", "[]", 4};
    temp_make_folder(&folder, "sub");
    temp_make_folder(&folder, "s u b");
    temp_make_folder(&folder, "sub/..x");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        temp_write_built(&folder, names[i], build_file(&b, 1, NULL));
        build_text text = {0};
        build_addf(&text, "{\"weight_map\":{\"b\":");
        build_add_quoted(&text, names[i], strlen(names[i]));
        build_addf(&text, "}}");
        tare_model *model;
        tare_error error;
        tare_status status = open_index(&text, &model, &error);
        expect_opened(names[i], status, model, &error);
        cr_expect_eq(tare_shard_count(model), 1);
        cr_expect_str_eq(tare_shard_at(model, 0).name.data, names[i]);
        tare_close(model);
        build_free(&text);
    }
}

Test(parse_shards, x_listed_refuses_names_that_their_shard_lacks)
{
    static const row rows[] = {
        {"nowhere", MAP("'a':'a.safetensors',^'c':'b.safetensors'"), TARE_E_SHARD_TENSOR},
        {"in the other shard", MAP("'a':'a.safetensors','b':'b.safetensors',^'aa':'b.safetensors'"),
         TARE_E_SHARD_TENSOR},
        {"escaped", MAP("'a':'a.safetensors',^'\\u0063':'b.safetensors'"), TARE_E_SHARD_TENSOR},
        {"cut by a zero byte", MAP("^'a\\u0000':'a.safetensors'"), TARE_E_SHARD_TENSOR},
        {"metadata", MAP("^'__metadata__':'a.safetensors'"), TARE_E_SHARD_TENSOR},
        {"x_dup: listed twice", MAP("'a':'a.safetensors',^'a':'a.safetensors'"), TARE_E_DUPLICATE},
        {"x_dup: listed twice, once escaped",
         MAP("'\\u0061':'a.safetensors','aa':'a.safetensors',^'a':'a.safetensors'"),
         TARE_E_DUPLICATE},
        {"x_extra: in a shard and not listed", MAP("'aa':'a.safetensors','b':'b.safetensors'"),
         TARE_OK},
        {"listed with escapes", MAP("'\\u0061\\u0061':'a.safetensors'"), TARE_OK},
        {"a shard in two spellings", MAP("'a':'a.safetensors','aa':'\\u0061.safetensors'"),
         TARE_OK},
    };
    CHECK_ROWS(rows);
}

Test(parse_shards, x_depth_bounds_nesting)
{
    for (unsigned depth = 126; depth <= 127; depth++) {
        build_text text = {0};
        build_addf(&text, "{\"x\":");
        for (unsigned i = 0; i < depth; i++) build_addf(&text, "[");
        for (unsigned i = 0; i < depth; i++) build_addf(&text, "]");
        build_addf(&text, ",\"weight_map\":{}}");
        tare_model *model;
        tare_error error;
        tare_status status = open_index(&text, &model, &error);
        if (depth == 126) {
            expect_opened("126 arrays", status, model, &error);
            tare_close(model);
        } else {
            expect_refused("127 arrays", TARE_E_DEPTH, 5 + 126, status, model, &error);
        }
        build_free(&text);
    }
}

Test(parse_shards, shards_are_numbered_in_the_order_of_their_names)
{
    static const char index[] = "{\"weight_map\":{\"b\":\"b.safetensors\",\"a\":\"a.safetensors\","
                                "\"aa\":\"a.safetensors\"}}";
    build_text text = {0};
    build_add(&text, index, sizeof index - 1);
    tare_model *model;
    tare_error error;
    tare_status status = open_index(&text, &model, &error);
    expect_opened("order", status, model, &error);
    cr_assert_eq(tare_shard_count(model), 2);
    cr_expect_str_eq(tare_shard_at(model, 0).name.data, "a.safetensors");
    cr_expect_str_eq(tare_shard_at(model, 1).name.data, "b.safetensors");
    static const char *const names[] = {"a", "aa", "b"};
    for (size_t i = 0; i < 3; i++)
        cr_expect_str_eq(tare_name(model, tare_at(model, i)).data, names[i]);
    tare_close(model);
    build_free(&text);
}
