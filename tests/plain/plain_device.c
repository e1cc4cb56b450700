/* Several threads load to two devices at once, two to each, with digests and without, and stop some
 * loads. With the driver that the tests build; with ThreadSanitizer too. */
#include <pthread.h>
#include <string.h>

#include "plain_check.h"
#include "support/fake_cuda.h"
#include "support/load_models.h"

enum { LOADER_COUNT = 4, ROUNDS = 12 };

typedef struct loader {
    pthread_t thread;
    const load_models *models;
    const tare_digest *digests;
    tare_device *device;
    unsigned number;
} loader;

static int stop_half_way(void *context, uint64_t done, uint64_t total)
{
    const loader *self = context;
    return self->number / 2 == 1 && done > total / 2;
}

static void check(const tare_model *model, const tare_block *block)
{
    for (size_t i = 0; i < tare_block_count(block); i++) {
        size_t size = tare_block_size(block, i);
        if (size == 0) continue;
        const void *bytes = fake_cuda_look((uintptr_t)tare_block_data(block, i), size);
        PLAIN_CHECK(bytes != NULL && load_right(model, tare_at(model, i), bytes));
    }
}

static void *run(void *context)
{
    loader *self = context;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int way = (int)((round + self->number) % LOAD_SHARDS);
        const tare_model *model = self->models->way[way];
        tare_load_options options = TARE_LOAD_OPTIONS_INIT;
        tare_block *block;
        options.device = self->device;
        options.threads = 1 + (round + self->number) % 4;
        options.chunk_size = (uint64_t)8192 << round % 4;
        if (round % 2 == 0) options.digests = self->digests;
        options.progress = stop_half_way;
        options.progress_context = self;
        tare_status status = tare_load(model, NULL, 0, &options, &block, NULL);
        PLAIN_CHECK(status == (self->number / 2 == 1 ? TARE_E_CANCELLED : TARE_OK));
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
    tare_device *devices[2];
    load_models_open(&models);
    PLAIN_CHECK(tare_hash_many(models.way[LOAD_MEMORY], NULL, 0, NULL, digests, NULL) == TARE_OK);
    PLAIN_CHECK(tare_device_open("cuda:0", NULL, &devices[0], NULL) == TARE_OK);
    PLAIN_CHECK(tare_device_open("cuda:1", NULL, &devices[1], NULL) == TARE_OK);
    for (unsigned i = 0; i < LOADER_COUNT; i++) {
        loaders[i] = (loader){.models = &models, .digests = digests, .number = i};
        loaders[i].device = devices[i % 2];
        PLAIN_CHECK(pthread_create(&loaders[i].thread, NULL, run, &loaders[i]) == 0);
    }
    for (unsigned i = 0; i < LOADER_COUNT; i++)
        PLAIN_CHECK(pthread_join(loaders[i].thread, NULL) == 0);
    tare_device_close(devices[0]);
    tare_device_close(devices[1]);
    PLAIN_CHECK(fake_cuda_clean());
    load_models_close(&models);
    return 0;
}
