/* Opens a model in every way there is, finds, reads, saves, closes, and fails to open damaged
 * ones. */
#include <string.h>

#include "plain_check.h"
#include "support/name_sets.h"
#include "support/reader_probe.h"
#include "support/set_models.h"
#include "support/temp_files.h"

static void use_model(const tare_model *model, const name_set *set, const size_t *places)
{
    const tare_tensor **out = calloc(set->count + 1, sizeof *out);
    PLAIN_CHECK(out != NULL && tare_count(model) == set->count);
    for (size_t i = 0; i < set->count; i++) {
        const tare_string *name = &set->names[i];
        const tare_tensor *tensor = tare_find(model, name->data, name->size);
        tare_key key = tare_key_make(model, name->data, name->size);
        char target[2] = {0};
        PLAIN_CHECK(tensor != NULL && tensor == tare_at(model, places ? places[i] : i));
        PLAIN_CHECK(tare_find_key(model, &key) == tensor);
        PLAIN_CHECK(tare_size(model, tensor) == set_tensor_size(i));
        PLAIN_CHECK(tare_read(model, tensor, target, set_tensor_size(i), NULL) == TARE_OK);
        const char *data = tare_data(model, tensor);
        if (data != NULL) PLAIN_CHECK(memcmp(data, target, set_tensor_size(i)) == 0);
    }
    PLAIN_CHECK(tare_find(model, "no such name", 12) == NULL);
    PLAIN_CHECK(tare_find_many(model, set->names, set->count, out) == set->count);
    size_t listed = 0;
    tare_range range = tare_prefix(model, "", 0);
    while (tare_next(model, &range) != NULL) listed++;
    PLAIN_CHECK(listed == set->count);
    free(out);
}

/* All tensors, to a file and to what can be none. */
static void use_saving(const tare_model *model, const name_set *set, const temp_path *folder)
{
    tare_save_tensor *tensors = calloc(set->count, sizeof *tensors);
    PLAIN_CHECK(tensors != NULL);
    for (size_t i = 0; i < set->count; i++) {
        tensors[i].model = model;
        tensors[i].tensor = tare_at(model, i);
    }
    temp_path path = temp_join(folder, "saved.safetensors");
    tare_model *saved;
    PLAIN_CHECK(tare_save(path.text, tensors, set->count, NULL, NULL) == TARE_OK);
    PLAIN_CHECK(tare_save(path.text, tensors, set->count, NULL, NULL) == TARE_E_EXISTS);
    PLAIN_CHECK(tare_save(folder->text, tensors, set->count, NULL, NULL) == TARE_E_WRITE);
    PLAIN_CHECK(tare_open(path.text, NULL, &saved, NULL) == TARE_OK);
    PLAIN_CHECK(tare_count(saved) == set->count);
    for (size_t i = 0; i < set->count; i++)
        PLAIN_CHECK(tare_find(saved, set->names[i].data, set->names[i].size) != NULL);
    tare_close(saved);
    free(tensors);
}

static void use_file(const name_set *set)
{
    build_text file = set_build_shard(set, 0);
    temp_path folder = temp_folder_make();
    temp_path path = temp_write_text(&folder, "m.safetensors", &file);
    tare_model *model;
    PLAIN_CHECK(tare_open_bytes(file.data, file.size, NULL, &model, NULL) == TARE_OK);
    use_model(model, set, NULL);
    PLAIN_CHECK(strcmp(tare_metadata_find(model, "format", 6).data, "pt") == 0);
    tare_close(model);
    for (uint32_t backing = TARE_BACKING_AUTO; backing <= TARE_BACKING_READ; backing++) {
        tare_options options = TARE_OPTIONS_INIT;
        options.backing = backing;
        PLAIN_CHECK(tare_open(path.text, &options, &model, NULL) == TARE_OK);
        use_model(model, set, NULL);
        tare_close(model);
    }
    reader_probe probe;
    reader_probe_init(&probe, file.data, file.size, 1000);
    PLAIN_CHECK(tare_open_reader(&probe.reader, NULL, &model, NULL) == TARE_OK);
    use_model(model, set, NULL);
    use_saving(model, set, &folder);
    tare_close(model);
    temp_folder_remove(&folder);
    build_free(&file);
}

static void use_pairs(const name_set *set)
{
    tare_model *model;
    PLAIN_CHECK(set_open_pairs(set, NULL, &model, NULL) == TARE_OK);
    use_model(model, set, NULL);
    tare_close(model);
}

static void use_shards(void)
{
    name_set set = name_set_mixtral();
    size_t *places = set_shard_places(&set);
    temp_path folder = temp_folder_make();
    tare_model *model;
    set_write_shards(&set, &folder);
    PLAIN_CHECK(tare_open(folder.text, NULL, &model, NULL) == TARE_OK);
    use_model(model, &set, places);
    tare_close(model);
    temp_folder_remove(&folder);
    name_set_free(&set);
    free(places);
}

/* Every header cut short at every place: nothing may stay allocated, which leak checkers see. */
static void use_damage(void)
{
    build_tensor tensor = {"t", 0, "F32", "[2,2]", 16};
    build_text file = build_file(&tensor, 1, "{\"k\":\"v\"}");
    for (size_t size = 0; size < file.size; size++) {
        tare_model *model;
        void *cut = temp_copy(file.data, size);
        PLAIN_CHECK(tare_open_bytes(cut, size, NULL, &model, NULL) != TARE_OK && model == NULL);
        free(cut);
    }
    for (size_t size = 0; size < file.size - 8 - 16; size++) {
        tare_model *model;
        build_text cut = build_raw(file.data + 8, size, 0);
        tare_status status = tare_open_bytes(cut.data, cut.size, NULL, &model, NULL);
        PLAIN_CHECK(status != TARE_OK && model == NULL);
        build_free(&cut);
    }
    build_free(&file);
}

int main(void)
{
    name_set text = name_set_text(), collisions = name_set_collisions();
    use_file(&text);
    use_file(&collisions);
    use_pairs(&text);
    use_pairs(&collisions);
    use_shards();
    use_damage();
    name_set_free(&text);
    name_set_free(&collisions);
    return 0;
}
