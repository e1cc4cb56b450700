/* Eight threads use one model at once, each in an order of its own. Built with ThreadSanitizer
 * too. */
#include <pthread.h>
#include <string.h>

#include "plain_check.h"
#include "support/name_sets.h"
#include "support/set_models.h"
#include "support/temp_files.h"

enum { THREAD_COUNT = 8, ROUNDS = 3 };

typedef struct work {
    pthread_t thread;
    const tare_model *model;
    const name_set *set;
    const size_t *places;
    unsigned number;
} work;

static void find_all(const work *w)
{
    size_t count = w->set->count;
    for (size_t i = 0; i < count; i++) {
        size_t at = (i * 7919 + w->number * 104729) % count;
        const tare_string *name = &w->set->names[at];
        const tare_tensor *tensor = tare_find(w->model, name->data, name->size);
        tare_key key = tare_key_make(w->model, name->data, name->size);
        PLAIN_CHECK(tensor == tare_at(w->model, w->places[at]));
        PLAIN_CHECK(tare_find_key(w->model, &key) == tensor);
        PLAIN_CHECK(tare_find(w->model, name->data, name->size - 1) == NULL);
        tare_info info = tare_describe(w->model, tensor);
        PLAIN_CHECK(info.name_size == name->size && info.size == set_tensor_size(at));
    }
}

static void read_all(const work *w)
{
    for (size_t i = 0; i < w->set->count; i += 3) {
        size_t at = (i * 31 + w->number * 17) % w->set->count, size = set_tensor_size(at);
        const tare_tensor *tensor = tare_at(w->model, w->places[at]);
        char target[2];
        tare_error error;
        PLAIN_CHECK(tare_read(w->model, tensor, target, size, &error) == TARE_OK);
        const void *data = tare_data(w->model, tensor);
        if (data != NULL) PLAIN_CHECK(memcmp(data, target, size) == 0);
        PLAIN_CHECK(tare_read(w->model, tensor, target, 3, &error) == TARE_E_TARGET_SIZE);
    }
}

static void list_all(const work *w)
{
    const tare_tensor **out = calloc(w->set->count, sizeof *out);
    PLAIN_CHECK(out != NULL);
    PLAIN_CHECK(tare_find_many(w->model, w->set->names, w->set->count, out) == w->set->count);
    free(out);
    size_t listed = 0;
    tare_range range = tare_prefix(w->model, "model.layers.1", 14);
    for (const tare_tensor *t; (t = tare_next(w->model, &range)) != NULL;)
        listed += strncmp(tare_name(w->model, t).data, "model.layers.1", 14) == 0;
    PLAIN_CHECK(listed == 341); /* lines of mixtral-8x22b.tsv: layers 1 and 10 to 19 */
    PLAIN_CHECK(tare_metadata_find(w->model, "format", 6).data != NULL);
    tare_stat stat = {.struct_size = sizeof stat};
    tare_model_stat(w->model, &stat);
    PLAIN_CHECK(stat.memory_size != 0);
}

static int stop_at_end(void *context, uint64_t done, uint64_t total)
{
    const work *w = context;
    return done == total && w->number % 4 == 3;
}

/* Threads that hash on threads, and give advice, while others read slices. */
static void hash_all(work *w)
{
    size_t count = tare_count(w->model);
    tare_digest *digests = calloc(count, sizeof *digests), digest;
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.threads = 3;
    options.progress = stop_at_end;
    options.progress_context = w;
    PLAIN_CHECK(digests != NULL);
    tare_status status = tare_hash_many(w->model, NULL, 0, &options, digests, NULL);
    PLAIN_CHECK(status == (w->number % 4 == 3 ? TARE_E_CANCELLED : TARE_OK));
    for (size_t i = w->number; i < count && status == TARE_OK; i += 50) {
        PLAIN_CHECK(tare_hash(w->model, tare_at(w->model, i), &digest, NULL) == TARE_OK);
        PLAIN_CHECK(digest.low == digests[i].low && digest.high == digests[i].high);
    }
    free(digests);
    const tare_tensor *list[] = {tare_at(w->model, count / 2), tare_at(w->model, w->number)};
    uint32_t advice = w->number % 3 + TARE_ADVISE_WILL_NEED;
    PLAIN_CHECK(tare_advise(w->model, list, 2, advice, NULL) == TARE_OK);
    for (size_t i = w->number; i < count; i += 20) {
        const tare_tensor *tensor = tare_at(w->model, i);
        const uint64_t start = tare_size(w->model, tensor) / 2;
        char target[2], whole[2];
        size_t size = (size_t)tare_size(w->model, tensor);
        PLAIN_CHECK(tare_read(w->model, tensor, whole, size, NULL) == TARE_OK);
        PLAIN_CHECK(tare_read_slice(w->model, tensor, &start, NULL, target, size - (size_t)start,
                                    NULL) == TARE_OK);
        PLAIN_CHECK(memcmp(target, whole + start, size - (size_t)start) == 0);
    }
}

/* The threads come upon shards in orders of their own, before anything else is asked. */
static void touch_all(const work *w)
{
    for (size_t i = 0; i < w->set->count; i++) {
        size_t at = (i * 131 + w->number * 977) % w->set->count;
        const tare_tensor *tensor = tare_at(w->model, w->places[at]);
        const char *data = tare_data(w->model, tensor);
        PLAIN_CHECK((data != NULL) == (tare_shard_at(w->model, 0).backing == TARE_BACKING_MAP ||
                                       set_tensor_size(at) == 0));
        tare_alignment(w->model, tensor);
    }
}

static void *run(void *context)
{
    work *w = context;
    touch_all(w);
    for (unsigned round = 0; round < ROUNDS; round++) {
        find_all(w);
        read_all(w);
        list_all(w);
        hash_all(w);
    }
    return NULL;
}

static void use_at_once(const tare_model *model, const name_set *set, const size_t *places)
{
    work works[THREAD_COUNT];
    for (unsigned i = 0; i < THREAD_COUNT; i++) {
        works[i] = (work){.model = model, .set = set, .places = places, .number = i};
        PLAIN_CHECK(pthread_create(&works[i].thread, NULL, run, &works[i]) == 0);
    }
    for (unsigned i = 0; i < THREAD_COUNT; i++)
        PLAIN_CHECK(pthread_join(works[i].thread, NULL) == 0);
}

/* From an index file, whose shards nobody has opened yet: these threads do. */
static void use_indexed(const char *folder, uint32_t backing, const name_set *set,
                        const size_t *places)
{
    tare_options options = TARE_OPTIONS_INIT;
    tare_model *model;
    tare_error error;
    options.backing = backing;
    options.index = TARE_INDEX_REQUIRE;
    for (unsigned round = 0; round < ROUNDS; round++) {
        PLAIN_CHECK(tare_open(folder, &options, &model, &error) == TARE_OK);
        PLAIN_CHECK(tare_index_status(model, NULL) == TARE_OK);
        use_at_once(model, set, places);
        PLAIN_CHECK(tare_ready(model, NULL, &error) == TARE_OK);
        tare_close(model);
    }
}

int main(void)
{
    name_set set = name_set_mixtral();
    size_t *places = set_shard_places(&set);
    temp_path folder = temp_folder_make();
    set_write_shards(&set, &folder);
    for (uint32_t backing = TARE_BACKING_MAP; backing <= TARE_BACKING_READ; backing++) {
        tare_options options = TARE_OPTIONS_INIT;
        tare_model *model;
        options.backing = backing;
        options.index = TARE_INDEX_NEVER;
        PLAIN_CHECK(tare_open(folder.text, &options, &model, NULL) == TARE_OK);
        use_at_once(model, &set, places);
        /* Big-endian hosts have no index files. */
        tare_status wanted = plain_little_endian() ? TARE_OK : TARE_E_UNSUPPORTED;
        PLAIN_CHECK(tare_index_save(model, NULL, NULL, NULL) == wanted);
        tare_close(model);
        if (wanted == TARE_OK) use_indexed(folder.text, backing, &set, places);
    }
    temp_folder_remove(&folder);
    name_set_free(&set);
    free(places);
    return 0;
}
