/*
 * An index file that somebody else changes while a model is used: at the n-th load of a byte of it,
 * for every n, in every function that takes a model. Whatever happens between two loads is the same
 * as if it happened just before the second one, so that no moment is left out. Each call gives its
 * answer, a wrong one maybe, or an error; AddressSanitizer watches the caller's memory and the
 * model's, pages around the index those who look beyond it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/changing_index.h"
#include "support/expect.h"
#include "support/gguf_text.h"
#include "support/index_probe.h"
#include "support/os_faults.h"

enum { RANK_MAX = 64 };

/* Two models of which each fact has another value in the other, but not the places of facts. */
static const build_tensor tensors[][2] = {
    {{"a.0", 0, "F32", "[4,2]", 32}, {"a.1", 0, "U8", "[2,9]", 18}},
    {{"b.0", 0, "U8", "[9,2]", 18}, {"b.1", 0, "F32", "[2,4]", 32}}};
static const char *const metadata[] = {"{\"key\":\"text\"}", "{\"yek\":\"more\"}"};

#define WORDS(key, other, first, second)                           \
    GGUF_HEAD("2", "3")                                            \
    GGUF_U32(key, "7")                                             \
    "\"" other "\" 4:9 4:8 8:2 \"" first "\" \"" second "\" "      \
    "\"n\" 4:9 4:6 8:2 4:1 4:2 " GGUF_TENSOR("a.0", "8", "0", "0") \
        GGUF_TENSOR("a.1", "4", "0", "32") "p32 d48"

static const char *const words[] = {WORDS("key", "w", "one", "three"),
                                    WORDS("yek", "v", "three", "one")};

static void make_safetensors(void)
{
    changing_make(build_file(tensors[0], 2, metadata[0]), build_file(tensors[1], 2, metadata[1]));
}

static void make_gguf(void)
{
    changing_make(gguf_text(words[0], NULL), gguf_text(words[1], NULL));
}

/* ------------------------------------------------------------------------------------------------
 * Finding and facts
 */

static const tare_tensor *first(void)
{
    return tare_at(changing.model, 0);
}

static void use_find(uint32_t unused)
{
    (void)unused;
    const tare_tensor *found = tare_find(changing.model, "a.1", 3);
    cr_assert(found != NULL || changing.changed);
    cr_assert(found == NULL || tare_index_of(changing.model, found) < tare_count(changing.model));
}

static void use_key(uint32_t unused)
{
    (void)unused;
    const tare_key key = tare_key_make(changing.model, "a.1", 3);
    const tare_tensor *found = tare_find_key(changing.model, &key);
    cr_assert(found != NULL || changing.changed);
}

static void use_many(uint32_t unused)
{
    static const tare_string names[] = {{"a.1", 3}, {"no", 2}};
    const tare_tensor *many[2];
    (void)unused;
    size_t count = tare_find_many(changing.model, names, 2, many);
    cr_assert(count == 1 || changing.changed);
}

static void use_order(uint32_t unused)
{
    size_t count = 0;
    (void)unused;
    tare_range range = tare_prefix(changing.model, "a.1", 3);
    for (const tare_tensor *t; (t = tare_next(changing.model, &range)) != NULL; count++)
        cr_assert_lt(tare_index_of(changing.model, t), tare_count(changing.model));
    cr_assert(count == 1 || (changing.changed && count <= 2));
}

static void use_suggest(uint32_t flags)
{
    tare_string out[TARE_SUGGEST_COUNT];
    size_t count = tare_suggest(changing.model, "a.2", 3, flags, out);
    for (size_t i = 0; i < count; i++) changing_inside(out[i].data, out[i].size);
}

static void use_describe(uint32_t unused)
{
    (void)unused;
    tare_info info = tare_describe(changing.model, first());
    tare_shard_info shard = tare_shard_at(changing.model, info.shard);
    changing_inside(info.shape, info.rank * sizeof *info.shape);
    changing_inside(info.name, info.name_size);
    cr_assert(info.size <= shard.size && info.offset <= shard.size - info.size);
}

static void use_facts(uint32_t unused)
{
    (void)unused;
    tare_string name = tare_name(changing.model, first());
    changing_inside(name.data, name.size);
    cr_assert_leq(tare_size(changing.model, first()), changing.file.size);
    cr_assert_leq(tare_offset(changing.model, first()), changing.file.size);
}

/* Neither is in the index any more. */
static void use_model(uint32_t unused)
{
    tare_stat stat = {.struct_size = sizeof stat};
    tare_error error = expect_poison();
    (void)unused;
    tare_model_stat(changing.model, &stat);
    cr_assert_eq(stat.index_file_size, changing.mapped.size);
    cr_assert_eq(tare_shard_count(changing.model), 1);
    cr_assert_eq(tare_index_status(changing.model, &error), TARE_OK);
    cr_assert_eq(tare_index_path(changing.model).data != NULL, changing.from_path);
}

/* ------------------------------------------------------------------------------------------------
 * Metadata
 */

static void use_entries(uint32_t unused)
{
    tare_string key, text;
    uint32_t shard;
    (void)unused;
    cr_assert_leq(tare_metadata_count(changing.model), 3);
    for (size_t i = 0; tare_metadata_at(changing.model, i, &key, &text, &shard); i++) {
        cr_assert(shard == 0 || (changing.changed && shard == TARE_NO_SHARD));
        changing_inside(key.data, key.size);
        changing_inside(text.data, text.size);
    }
}

static void use_items(uint32_t index)
{
    tare_value item, value = tare_metadata_value_at(changing.model, index);
    changing_inside(value.data, value.size);
    while (tare_value_next(&value, &item)) changing_inside(item.data, item.size);
}

static void use_values(uint32_t unused)
{
    (void)unused;
    tare_string text = tare_metadata_find(changing.model, "key", 3);
    changing_inside(text.data, text.size);
    tare_value value = tare_metadata_value(changing.model, "key", 3);
    changing_inside(value.data, value.size);
}

/* A failure looks again at what it tells of. */
static void use_typed(uint32_t kind)
{
    tare_error error = expect_poison();
    tare_string text;
    tare_value value;
    uint64_t u64;
    int64_t i64;
    double f64;
    int truth;
    tare_status status;
    switch (kind) {
    case TARE_KIND_U64: status = tare_metadata_u64(changing.model, "key", 3, &u64, &error); break;
    case TARE_KIND_I64: status = tare_metadata_i64(changing.model, "key", 3, &i64, &error); break;
    case TARE_KIND_F64: status = tare_metadata_f64(changing.model, "key", 3, &f64, &error); break;
    case TARE_KIND_BOOL:
        status = tare_metadata_bool(changing.model, "key", 3, &truth, &error);
        break;
    case TARE_KIND_STRING:
        status = tare_metadata_string(changing.model, "key", 3, &text, &error);
        changing_inside(text.data, text.size);
        break;
    default:
        status = tare_metadata_array(changing.model, "key", 3, &value, &error);
        changing_inside(value.data, value.size);
    }
    cr_assert_eq(status, error.status);
    cr_assert(status == TARE_OK || status == TARE_E_KIND || status == TARE_E_ABSENT);
}

/* ------------------------------------------------------------------------------------------------
 * Bytes
 */

static void use_data(uint32_t unused)
{
    (void)unused;
    cr_assert(tare_data(changing.model, first()) != NULL || changing.changed);
    cr_assert(tare_alignment(changing.model, first()) != 0 || changing.changed);
}

/* As many bytes as were told of are there. */
static void use_data_at(uint32_t unused)
{
    uint64_t size = tare_size(changing.model, first());
    const uint8_t *data = tare_data_at(changing.model, first(), 0, (size_t)size);
    (void)unused;
    cr_assert(data != NULL || changing.changed);
    if (data == NULL) return;
    void *copy = changing_take(size);
    memcpy(copy, data, (size_t)size);
    free(copy);
}

static void use_ready(uint32_t all)
{
    tare_error error = expect_poison();
    changing_fine(tare_ready(changing.model, all != 0 ? NULL : first(), &error), &error);
}

static void use_read(uint32_t unused)
{
    tare_error error = expect_poison();
    uint64_t size = tare_size(changing.model, first());
    void *target = changing_take(size);
    (void)unused;
    changing_fine(tare_read(changing.model, first(), target, (size_t)size, &error), &error);
    free(target);
}

static void use_read_at(uint32_t unused)
{
    tare_error error = expect_poison();
    size_t size = (size_t)tare_size(changing.model, first()) / 2;
    void *target = changing_take(size);
    (void)unused;
    changing_fine(tare_read_at(changing.model, first(), size, target, size, &error), &error);
    free(target);
}

static const uint64_t start[RANK_MAX] = {0, 1}, stop[RANK_MAX] = {2, 2};

static void use_slice_size(uint32_t unused)
{
    tare_error error = expect_poison();
    uint64_t size;
    (void)unused;
    if (changing_fine(tare_slice_size(changing.model, first(), start, stop, &size, &error), &error))
        cr_assert_leq(size, changing.file.size);
}

/* Four bytes an element, two elements, or four bytes and two before. */
static void use_read_slice(uint32_t unused)
{
    tare_error error = expect_poison();
    bool flat = changing.file.data[0] == 'G';
    size_t size = flat ? 4 : 8;
    void *target = changing_take(size);
    (void)unused;
    changing_fine(tare_read_slice(changing.model, first(), flat ? start + 1 : start,
                                  flat ? stop + 1 : stop, target, size, &error),
                  &error);
    free(target);
}

static void use_hash(uint32_t unused)
{
    tare_digest out;
    tare_error error = expect_poison();
    (void)unused;
    changing_fine(tare_hash(changing.model, first(), &out, &error), &error);
}

static void use_hash_many(uint32_t flags)
{
    tare_digest out[2];
    tare_error error = expect_poison();
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.flags = flags;
    changing_fine(tare_hash_many(changing.model, NULL, 0, &options, out, &error), &error);
}

static void use_advise(uint32_t advice)
{
    tare_error error = expect_poison();
    const tare_tensor *list[] = {tare_at(changing.model, 1), tare_at(changing.model, 0)};
    tare_status status = tare_advise(changing.model, list, 2, advice, &error);
    if (status != TARE_E_LIMIT) changing_fine(status, &error); /* of what may be locked */
}

enum { VERIFIED = 16, SLICED = 32, DIRECT = 64 };

/* Options by bits: flags as they are, and the above. */
static tare_load_options load_options(uint32_t how)
{
    static const tare_slice slices[] = {{start, stop}, {NULL, NULL}};
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.flags = how & (TARE_LOAD_DROP_BEHIND | TARE_LOAD_SMALL_PAGES);
    options.io = (how & DIRECT) != 0 ? TARE_IO_DIRECT : TARE_IO_AUTO;
    if ((how & VERIFIED) != 0) options.digests = changing.digests;
    if ((how & SLICED) != 0) options.slices = slices;
    return options;
}

static void use_load(uint32_t how)
{
    tare_error error = expect_poison();
    tare_load_options options = load_options(how);
    tare_block *block = NULL;
    const tare_tensor *list[] = {tare_at(changing.model, 0), tare_at(changing.model, 1)};
    bool loaded = changing_fine(
        tare_load(changing.model, (how & SLICED) != 0 ? list : NULL, 2, &options, &block, &error),
        &error);
    cr_assert_eq(loaded, block != NULL);
    tare_block_close(block);
}

/* Into memory of the sizes that were told before. */
static void use_load_into(uint32_t how)
{
    tare_error error = expect_poison();
    tare_load_options options = load_options(how);
    const tare_tensor *list[] = {tare_at(changing.model, 1), tare_at(changing.model, 0)};
    size_t sizes[2];
    void *targets[2];
    for (size_t i = 0; i < 2; i++) {
        sizes[i] = (size_t)tare_size(changing.model, list[i]);
        targets[i] = changing_take(sizes[i]);
    }
    options.target_sizes = sizes;
    changing_fine(tare_load_into(changing.model, list, targets, 2, &options, &error), &error);
    for (size_t i = 0; i < 2; i++) free(targets[i]);
}

/* ------------------------------------------------------------------------------------------------
 * Writing and opening
 */

typedef struct saving {
    tare_save_tensor tensors[2];
    tare_save_metadata metadata[5];
    tare_save_options options;
} saving;

/* Also by names and strings of the model's that the caller hands in. */
static void plan_saving(saving *s)
{
    *s = (saving){.options = TARE_SAVE_OPTIONS_INIT};
    for (size_t i = 0; i < 2; i++)
        s->tensors[i] =
            (tare_save_tensor){.model = changing.model, .tensor = tare_at(changing.model, i)};
    tare_string name = tare_name(changing.model, tare_at(changing.model, 0));
    s->tensors[0].name = name.data;
    s->tensors[0].name_size = name.size;
    s->options.flags = TARE_SAVE_REPLACE;
    s->options.metadata = s->metadata;
    for (size_t i = 0; i < tare_metadata_count(changing.model); i++) {
        tare_save_metadata *entry = &s->metadata[s->options.metadata_count];
        tare_metadata_at(changing.model, i, &entry->key, &entry->value, NULL);
        s->options.metadata_count += entry->value.data != NULL;
    }
}

static void use_save(uint32_t unused)
{
    saving s;
    tare_model *saved;
    tare_error error = expect_poison();
    const temp_path path = temp_join(&changing.folder, "saved");
    (void)unused;
    plan_saving(&s);
    if (!changing_fine(tare_save(path.text, s.tensors, 2, &s.options, &error), &error)) return;
    tare_status status = tare_open(path.text, NULL, &saved, &error);
    expect_opened("saved", status, saved, &error);
    cr_assert_eq(tare_count(saved), 2);
    tare_close(saved);
}

static void use_save_bytes(uint32_t unused)
{
    saving s;
    tare_model *saved;
    tare_error error = expect_poison();
    uint64_t size;
    (void)unused;
    plan_saving(&s);
    if (!changing_fine(tare_save_bytes(s.tensors, 2, &s.options, NULL, 0, &size, &error), &error))
        return;
    void *bytes = changing_take(size);
    if (changing_fine(tare_save_bytes(s.tensors, 2, &s.options, bytes, (size_t)size, NULL, &error),
                      &error)) {
        tare_status status = tare_open_bytes(bytes, (size_t)size, NULL, &saved, &error);
        expect_opened("saved", status, saved, &error);
        tare_close(saved);
    }
    free(bytes);
}

/* It is for models whose headers were read. */
static void use_index_check(uint32_t unused)
{
    tare_error error = expect_poison();
    (void)unused;
    cr_assert_eq(tare_index_check(changing.model, "made", NULL, &error), TARE_E_ARGUMENT);
}

static void use_index_save(uint32_t unused)
{
    size_t size;
    tare_model *model;
    tare_error error = expect_poison();
    const temp_path path = temp_join(&changing.folder, "indexed");
    tare_index_options options = TARE_INDEX_OPTIONS_INIT;
    (void)unused;
    options.flags = TARE_SAVE_REPLACE;
    if (!changing_fine(tare_index_save(changing.model, path.text, &options, &error), &error))
        return;
    uint8_t *bytes = temp_read(path.text, &size);
    index_image image = index_copy(bytes, size);
    tare_status status = changing_open(&image, TARE_INDEX_BY_TIME, 0, &model, &error);
    expect_opened("indexed", status, model, &error);
    cr_assert_eq(index_use_model(model), 2);
    tare_close(model);
    index_free(&image);
    free(bytes);
}

static void use_open(uint32_t check)
{
    tare_error error = expect_poison();
    if (changing_fine(
            changing_open(&changing.mapped, check, check == 0 ? 0 : 9, &changing.model, &error),
            &error))
        cr_assert_not_null(changing.model);
}

static void use_close(uint32_t unused)
{
    (void)unused;
    tare_close(changing.model);
    changing.model = NULL;
}

/* ------------------------------------------------------------------------------------------------
 * All of them
 */

static const struct subject {
    const char *calls; /* with spaces around each */
    void (*use)(uint32_t how);
    uint32_t how;
    bool bytes; /* the way to them matters */
} subjects[] = {
    {" tare_find tare_index_of tare_count ", use_find, 0, 0},
    {" tare_key_make tare_find_key ", use_key, 0, 0},
    {" tare_find_many ", use_many, 0, 0},
    {" tare_prefix tare_next tare_at ", use_order, 0, 0},
    {" tare_suggest ", use_suggest, 0, 0},
    {"", use_suggest, TARE_SUGGEST_PREFIX, 0},
    {" tare_describe tare_shard_at ", use_describe, 0, 0},
    {" tare_name tare_size tare_offset ", use_facts, 0, 0},
    {" tare_model_stat tare_shard_count tare_index_status tare_index_path ", use_model, 0, 1},
    {" tare_metadata_count tare_metadata_at ", use_entries, 0, 0},
    {" tare_metadata_value_at tare_value_next ", use_items, 0, 0},
    {"", use_items, 1, 0},
    {"", use_items, 2, 0},
    {" tare_metadata_find tare_metadata_value ", use_values, 0, 0},
    {" tare_metadata_u64 ", use_typed, TARE_KIND_U64, 0},
    {" tare_metadata_i64 ", use_typed, TARE_KIND_I64, 0},
    {" tare_metadata_f64 ", use_typed, TARE_KIND_F64, 0},
    {" tare_metadata_bool ", use_typed, TARE_KIND_BOOL, 0},
    {" tare_metadata_string ", use_typed, TARE_KIND_STRING, 0},
    {" tare_metadata_array ", use_typed, TARE_KIND_ARRAY, 0},
    {" tare_data tare_alignment ", use_data, 0, 1},
    {" tare_data_at ", use_data_at, 0, 1},
    {" tare_ready ", use_ready, 0, 1},
    {"", use_ready, 1, 0},
    {" tare_read ", use_read, 0, 1},
    {" tare_read_at ", use_read_at, 0, 1},
    {" tare_slice_size ", use_slice_size, 0, 0},
    {" tare_read_slice ", use_read_slice, 0, 1},
    {" tare_hash ", use_hash, 0, 1},
    {" tare_hash_many ", use_hash_many, 0, 1},
    {"", use_hash_many, TARE_LOAD_DROP_BEHIND, 1},
    {" tare_advise ", use_advise, TARE_ADVISE_WILL_NEED, 1},
    {"", use_advise, TARE_ADVISE_DO_NOT_NEED, 1},
    {"", use_advise, TARE_ADVISE_POPULATE, 1},
    {"", use_advise, TARE_ADVISE_LOCK, 1},
    {"", use_advise, TARE_ADVISE_UNLOCK, 1},
    {" tare_load ", use_load, 0, 1},
    {"", use_load, DIRECT | TARE_LOAD_SMALL_PAGES, 1},
    {"", use_load, VERIFIED | TARE_LOAD_DROP_BEHIND, 1},
    {"", use_load, SLICED, 1},
    {" tare_load_into ", use_load_into, 0, 1},
    {"", use_load_into, DIRECT, 1},
    {" tare_save ", use_save, 0, 1},
    {" tare_save_bytes ", use_save_bytes, 0, 1},
    {" tare_index_save ", use_index_save, 0, 0},
    {" tare_open tare_open_bytes ", use_open, TARE_INDEX_BY_TIME, 1},
    {"", use_open, TARE_INDEX_BY_HEADER, 0},
    {" tare_index_check ", use_index_check, 0, 0},
    {" tare_close ", use_close, 0, 1},
};

enum { SUBJECT_COUNT = sizeof subjects / sizeof subjects[0] };

static void run_all(void)
{
    size_t loads = 0;
    if (changing.mapped.bytes == NULL) cr_skip("loads are not noticed here");
    os_without_disk = 1;
    for (size_t i = 0; i < SUBJECT_COUNT; i++) {
        const struct subject *s = &subjects[i];
        for (int from_path = 0; from_path <= s->bytes; from_path++) {
            changing.from_path = from_path != 0;
            loads += changing_run(s->use, s->how, s->use != use_open);
        }
    }
    cr_expect_gt(loads, 3000);
}

TestSuite(prebuilt_changes, .timeout = 240);

/* What takes no model, and opens none with an index. */
static const char elsewhere[] =
    " tare_block_close tare_block_count tare_block_data tare_block_device tare_block_memory"
    " tare_block_size tare_device_close tare_device_describe tare_device_measure tare_device_open"
    " tare_dtype_bits tare_dtype_block_count tare_dtype_block_size tare_dtype_can_save"
    " tare_dtype_find tare_dtype_name tare_kind_name tare_list_files tare_name_distance"
    " tare_open_files tare_open_pairs tare_open_reader tare_status_name tare_status_text"
    " tare_value_bool tare_value_f64 tare_value_i64 tare_value_string tare_value_u64"
    " tare_version ";

Test(prebuilt_changes, every_function_that_takes_a_model_is_tried)
{
    char name[128], word[131];
    FILE *file = fopen(TARE_SYMBOLS, "r");
    cr_assert_not_null(file);
    while (fscanf(file, "%127s", name) == 1) {
        snprintf(word, sizeof word, " %s ", name);
        bool found = strstr(elsewhere, word) != NULL;
        for (size_t i = 0; i < SUBJECT_COUNT; i++)
            found = found || strstr(subjects[i].calls, word) != NULL;
        cr_expect(found, "%s", name);
    }
    fclose(file);
}

Test(prebuilt_changes, between_any_two_loads, .init = make_safetensors, .fini = changing_drop)
{
    run_all();
}

Test(prebuilt_changes, between_any_two_loads_of_typed_values, .init = make_gguf,
     .fini = changing_drop)
{
    run_all();
}
