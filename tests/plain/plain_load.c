/* Several threads load from one model at once, each with threads of its own, in every way, with
 * digests and in slices, stop some loads, and look tensors up meanwhile. Built with ThreadSanitizer
 * too. */
#include <pthread.h>
#include <string.h>

#include "plain_check.h"
#include "support/load_models.h"

enum { LOADER_COUNT = 4, ROUNDS = 12 };

typedef struct loader {
    pthread_t thread;
    const load_models *models;
    const tare_digest *digests; /* of the models of one file */
    unsigned number;
} loader;

static int stop_half_way(void *context, uint64_t done, uint64_t total)
{
    const loader *self = context;
    const tare_model *model = self->models->way[LOAD_SHARDS];
    PLAIN_CHECK(tare_find(model, "t15", 3) != NULL && tare_find(model, "t99", 3) == NULL);
    return self->number % 2 == 1 && done > total / 2;
}

static void check(const tare_model *model, const tare_block *block)
{
    for (size_t i = 0; i < tare_block_count(block); i++)
        PLAIN_CHECK(load_right(model, tare_at(model, i), tare_block_data(block, i)));
}

static void load_into(const tare_model *model, const tare_load_options *options)
{
    void *targets[LOAD_TENSOR_COUNT];
    char *room = malloc(LOAD_TENSOR_COUNT * (size_t)LOAD_SIZE_MAX);
    PLAIN_CHECK(room != NULL);
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) targets[i] = room + i * (size_t)LOAD_SIZE_MAX;
    PLAIN_CHECK(tare_load_into(model, NULL, targets, 0, options, NULL) == TARE_OK);
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++)
        PLAIN_CHECK(load_right(model, tare_at(model, i), targets[i]));
    free(room);
}

/* The second half of every tensor, against what is read of it. */
static void load_halves(const tare_model *model, tare_load_options options)
{
    static _Thread_local char half[LOAD_SIZE_MAX];
    uint64_t starts[LOAD_TENSOR_COUNT];
    tare_slice slices[LOAD_TENSOR_COUNT];
    tare_block *block;
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) {
        starts[i] = tare_size(model, tare_at(model, i)) / 2;
        slices[i] = (tare_slice){.start = &starts[i]};
    }
    options.digests = NULL;
    options.slices = slices;
    PLAIN_CHECK(tare_load(model, NULL, 0, &options, &block, NULL) == TARE_OK);
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        size_t size = (size_t)(tare_size(model, tensor) - starts[i]);
        PLAIN_CHECK(tare_block_size(block, i) == size);
        PLAIN_CHECK(tare_read_slice(model, tensor, &starts[i], NULL, half, size, NULL) == TARE_OK);
        PLAIN_CHECK(size == 0 || memcmp(tare_block_data(block, i), half, size) == 0);
    }
    tare_block_close(block);
}

static void *run(void *context)
{
    loader *self = context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int way =
            (int)((round + self->number) % LOAD_READER); /* probes of readers are not atomic */
        const tare_model *model = self->models->way[way];
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.threads = 1 + (round + self->number) % 4;
        options.chunk_size = (uint64_t)4096 << round % 5;
        options.io = round % 3;
        options.flags = round % 2 * TARE_LOAD_DROP_BEHIND;
        if (way != LOAD_SHARDS && round % 4 != 3) options.digests = self->digests;
        if (round % 4 == 2) {
            load_into(model, &options);
            load_halves(model, options);
            continue;
        }
        options.progress = stop_half_way;
        options.progress_context = self;
        tare_status status = tare_load(model, NULL, 0, &options, &block, NULL);
        PLAIN_CHECK(status == (self->number % 2 == 1 ? TARE_E_CANCELLED : TARE_OK));
        if (status == TARE_OK) check(model, block);
        tare_block_close(block);
    }
    return NULL;
}

int main(void)
{
    static load_models models;
    static loader loaders[LOADER_COUNT];
    static tare_digest digests[LOAD_TENSOR_COUNT];
    load_models_open(&models);
    PLAIN_CHECK(tare_hash_many(models.way[LOAD_MEMORY], NULL, 0, NULL, digests, NULL) == TARE_OK);
    for (unsigned i = 0; i < LOADER_COUNT; i++) {
        loaders[i] = (loader){.models = &models, .digests = digests, .number = i};
        PLAIN_CHECK(pthread_create(&loaders[i].thread, NULL, run, &loaders[i]) == 0);
    }
    for (unsigned i = 0; i < LOADER_COUNT; i++)
        PLAIN_CHECK(pthread_join(loaders[i].thread, NULL) == 0);
    load_models_close(&models);
    return 0;
}
