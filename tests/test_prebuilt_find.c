/* Finding in the table of an index file: the same as in one made from headers, for every set of
 * names, whatever layout the table has. */
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/index_probe.h"
#include "support/set_models.h"
#include "support/temp_files.h"

enum { TABLE_SECTION = 7, TABLE_AT = 48, REACH_AT = 56, SORTED = 3 };

static temp_path folder;

static void make_folder(void)
{
    folder = temp_folder_make();
}

static void remove_folder(void)
{
    temp_folder_remove(&folder);
}

TestSuite(prebuilt_find, .init = make_folder, .fini = remove_folder, .timeout = 240);

static tare_model *open_with(const build_text *file, const index_image *image)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_REQUIRE;
    options.index_bytes = image->bytes;
    options.index_size = image->size;
    tare_model *model = expect_no_model();
    tare_error error = expect_poison();
    tare_status status = tare_open_bytes(file->data, file->size, &options, &model, &error);
    expect_opened("indexed", status, model, &error);
    return model;
}

static size_t index_or_none(const tare_model *model, const tare_tensor *tensor)
{
    return tensor != NULL ? tare_index_of(model, tensor) : NAME_ABSENT;
}

static void check_name(const char *what, const tare_model *a, const tare_model *b, const char *name,
                       size_t size)
{
    size_t wanted = index_or_none(a, tare_find(a, name, size));
    tare_key key = tare_key_make(b, name, size);
    cr_expect_eq(index_or_none(b, tare_find(b, name, size)), wanted, "%s: %.*s", what, (int)size,
                 name);
    cr_expect_eq(index_or_none(b, tare_find_key(b, &key)), wanted, "%s: %.*s", what, (int)size,
                 name);
}

static void check_many(const char *what, const tare_model *a, const tare_model *b,
                       const name_set *set)
{
    const tare_tensor **outs[2] = {calloc(set->count + 1, sizeof *outs[0]),
                                   calloc(set->count + 1, sizeof *outs[1])};
    cr_expect_eq(tare_find_many(a, set->names, set->count, outs[0]), set->count, "%s", what);
    cr_expect_eq(tare_find_many(b, set->names, set->count, outs[1]), set->count, "%s", what);
    for (size_t i = 0; i < set->count; i++)
        if (tare_index_of(a, outs[0][i]) != tare_index_of(b, outs[1][i]))
            cr_expect_fail("%s: many, name %zu", what, i);
    free(outs[0]);
    free(outs[1]);
}

static void check_prefix(const char *what, const tare_model *a, const tare_model *b,
                         tare_string prefix)
{
    tare_range ranges[2] = {tare_prefix(a, prefix.data, prefix.size),
                            tare_prefix(b, prefix.data, prefix.size)};
    for (;;) {
        const tare_tensor *x = tare_next(a, &ranges[0]), *y = tare_next(b, &ranges[1]);
        if (index_or_none(a, x) != index_or_none(b, y)) {
            cr_expect_fail("%s: prefix %.*s", what, (int)prefix.size, prefix.data);
            return;
        }
        if (x == NULL) return;
    }
}

static void check_set(const char *what, const tare_model *a, const tare_model *b,
                      const name_set *set)
{
    size_t room = 1;
    for (size_t i = 0; i < set->count; i++)
        if (set->names[i].size >= room) room = set->names[i].size + 2;
    char *target = malloc(room + 1);
    for (size_t i = 0; i < set->count; i++) {
        const tare_string *name = &set->names[i];
        check_name(what, a, b, name->data, name->size);
        if (i % 7 != 0) continue;
        for (unsigned way = 0; way < NAME_LOOK_ALIKE_COUNT; way++) {
            size_t size = name_look_alike(name, way, target);
            if (size != NAME_ABSENT) check_name(what, a, b, target, size);
        }
        if (i % 4001 == 0)
            for (size_t size = 0; size <= name->size && size < 40; size += 3)
                check_prefix(what, a, b, (tare_string){name->data, size});
    }
    check_many(what, a, b, set);
    free(target);
}

Test(prebuilt_find, every_set_of_names_is_found_alike)
{
    for (size_t i = 0; i < name_set_kind_count; i++) {
        const name_set_kind *kind = &name_set_kinds[i];
        if (!kind->utf8) continue;
        name_set set = kind->make();
        for (size_t n = 0; n < set.count; n++) set.shards[n] = 0;
        build_text file = set_build_shard(&set, 0);
        tare_model *parsed = expect_open_bytes(kind->what, &file);
        index_image image = index_make(parsed, temp_join(&folder, "an.idx").text);
        tare_model *model = open_with(&file, &image);
        check_set(kind->what, parsed, model, &set);
        tare_close(model);
        tare_close(parsed);
        index_free(&image);
        build_free(&file);
        name_set_free(&set);
    }
}

Test(prebuilt_find, real_name_lists_in_shards_are_found_alike)
{
    name_set (*const makes[])(void) = {name_set_qwen, name_set_mixtral};
    for (size_t i = 0; i < 2; i++) {
        name_set set = makes[i]();
        temp_path at = temp_make_folder(&folder, i == 0 ? "qwen" : "mixtral");
        set_write_shards(&set, &at);
        tare_model *parsed, *model;
        tare_error error;
        tare_options options = TARE_OPTIONS_INIT;
        cr_assert_eq(tare_open(at.text, NULL, &parsed, &error), TARE_OK, "%s", error.message);
        cr_assert_eq(tare_index_save(parsed, NULL, NULL, &error), TARE_OK, "%s", error.message);
        options.index = TARE_INDEX_REQUIRE;
        cr_assert_eq(tare_open(at.text, &options, &model, &error), TARE_OK, "%s", error.message);
        check_set("real names", parsed, model, &set);
        expect_same_models("real names", parsed, model);
        tare_stat stats[2] = {{.struct_size = sizeof stats[0]}, {.struct_size = sizeof stats[0]}};
        tare_model_stat(model, &stats[1]);
        cr_expect_leq(stats[1].probe_max, 64);
        tare_close(model);
        tare_close(parsed);
        name_set_free(&set);
    }
}

static int compare_names(const void *x, const void *y)
{
    const tare_string *a = x, *b = y;
    return name_compare(a->data, a->size, b->data, b->size);
}

/* What a table would be if the names defeated hashing, which no set of names does by itself:
 * numbers in the order of their names. The section is cut to that, and what follows moves up. */
static index_image make_sorted(const index_image *image, const tare_model *model)
{
    size_t count = tare_count(model);
    tare_string *names = calloc(count + 1, sizeof *names);
    for (size_t i = 0; i < count; i++) names[i] = tare_name(model, tare_at(model, i));
    qsort(names, count, sizeof *names, compare_names);
    size_t at = index_section_offset(image, TABLE_SECTION);
    size_t behind = index_section_offset(image, TABLE_SECTION + 1);
    size_t size = count * 4, room = (size + 63) / 64 * 64;
    index_image made = index_copy(image->bytes, image->size);
    made.size = image->size - (behind - at) + room;
    memset(made.bytes + at, 0, room);
    memmove(made.bytes + at + room, image->bytes + behind, image->size - behind);
    for (size_t i = 0; i < count; i++) {
        uint32_t number =
            (uint32_t)tare_index_of(model, tare_find(model, names[i].data, names[i].size));
        memcpy(made.bytes + at + 4 * i, &number, 4);
    }
    uint64_t total = made.size, table_size = size;
    uint32_t kind = SORTED, reach = 20;
    memcpy(made.bytes + 16, &total, 8);
    memcpy(made.bytes + TABLE_AT, &kind, 4);
    memcpy(made.bytes + REACH_AT, &reach, 4);
    memcpy(made.bytes + 64 + TABLE_SECTION * 24 + 8, &table_size, 8);
    for (unsigned i = TABLE_SECTION + 1; i < INDEX_SECTION_COUNT; i++) {
        uint64_t offset = index_section_offset(&made, i) - (behind - at) + room;
        memcpy(made.bytes + 64 + i * 24, &offset, 8);
    }
    index_image exact = index_copy(made.bytes, made.size);
    index_free(&made);
    index_seal(&exact);
    free(names);
    return exact;
}

Test(prebuilt_find, names_in_order_are_found_and_end_on_anything)
{
    name_set set = name_set_text();
    for (size_t n = 0; n < set.count; n++) set.shards[n] = 0;
    build_text file = set_build_shard(&set, 0);
    tare_model *parsed = expect_open_bytes("parsed", &file);
    index_image image = index_make(parsed, temp_join(&folder, "an.idx").text);
    index_image sorted = make_sorted(&image, parsed);
    tare_model *model = open_with(&file, &sorted);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(model, &stat);
    cr_expect_eq(stat.index_sorted, 1);
    check_set("sorted", parsed, model, &set);
    for (unsigned fill = 0; fill < 256; fill += 85) {
        memset(sorted.bytes + index_section_offset(&sorted, TABLE_SECTION), (int)fill,
               index_section_size(&sorted, TABLE_SECTION));
        for (size_t i = 0; i < set.count; i++)
            tare_find(model, set.names[i].data, set.names[i].size);
    }
    tare_close(model);
    tare_close(parsed);
    index_free(&sorted);
    index_free(&image);
    build_free(&file);
    name_set_free(&set);
}
