/* Several processes load to the same two devices at once, each the share of its rank, as a
 * tensor-parallel runtime of one process a rank does. Each has contexts, pinned memory and streams
 * of its own, within the bound that it asked for, and gives them back whatever becomes of the
 * others. With the driver that the tests build. */
#define _DEFAULT_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "plain_check.h"
#include "support/fake_cuda.h"
#include "support/load_models.h"

enum { RANK_COUNT = 6, STOPPED_RANK = 2, FAILING_RANK = 3, LOST_RANK = 5, SECONDS_MAX = 120 };

/* Its smallest slots are of 64 KiB and a page, twice. */
#define STAGING_SIZE_MAX ((uint64_t)600 << 10)

/* What all processes see. */
typedef struct shared {
    atomic_uint loading; /* ranks whose load has begun */
    uint64_t pin_size_max[RANK_COUNT];
    uint64_t staging_size[RANK_COUNT];
} shared;

typedef struct rank {
    shared *all;
    const tare_model *model;
    uint64_t start[LOAD_TENSOR_COUNT];
    uint64_t stop[LOAD_TENSOR_COUNT];
    tare_slice slices[LOAD_TENSOR_COUNT];
    unsigned number;
    int met;
} rank;

/* No load goes on before all have begun. */
static int on_progress(void *context, uint64_t done, uint64_t total)
{
    rank *self = context;
    if (!self->met) {
        self->met = 1;
        atomic_fetch_add(&self->all->loading, 1);
        while (atomic_load(&self->all->loading) < RANK_COUNT) sched_yield();
        /* It ends in the middle of its load, with all that it has. */
        if (self->number == LOST_RANK) raise(SIGKILL);
    }
    return self->number == STOPPED_RANK && done > total / 2;
}

static void take_share(rank *self)
{
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) {
        uint64_t size = tare_size(self->model, tare_at(self->model, i));
        self->start[i] = size * self->number / RANK_COUNT;
        self->stop[i] = size * (self->number + 1) / RANK_COUNT;
        self->slices[i] = (tare_slice){&self->start[i], &self->stop[i]};
    }
}

static void check_share(const rank *self, const tare_block *block, int device)
{
    for (size_t i = 0; i < LOAD_TENSOR_COUNT; i++) {
        static char wanted[LOAD_SIZE_MAX];
        size_t size = (size_t)(self->stop[i] - self->start[i]);
        uintptr_t data = (uintptr_t)tare_block_data(block, i);
        PLAIN_CHECK(tare_block_size(block, i) == size);
        if (size == 0) continue;
        const void *found = fake_cuda_look(data, size);
        PLAIN_CHECK(tare_read_slice(self->model, tare_at(self->model, i), &self->start[i],
                                    &self->stop[i], wanted, size, NULL) == TARE_OK);
        PLAIN_CHECK(found != NULL && memcmp(found, wanted, size) == 0);
        PLAIN_CHECK(fake_cuda_device_of(data) == device);
    }
}

static tare_status load_share(rank *self, tare_device *device)
{
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    tare_block *block;
    options.device = device;
    options.threads = 4;
    options.chunk_size = 1 << 16;
    options.slices = self->slices;
    options.progress = on_progress;
    options.progress_context = self;
    tare_status status = tare_load(self->model, NULL, 0, &options, &block, NULL);
    if (status == TARE_OK) check_share(self, block, (int)tare_device_describe(device).number);
    tare_block_close(block);
    return status;
}

static void run_rank(rank *self)
{
    tare_device *device;
    tare_device_options options = TARE_DEVICE_OPTIONS_INIT;
    options.staging_size_max = STAGING_SIZE_MAX;
    alarm(SECONDS_MAX);
    take_share(self);
    const char *name = self->number % 2 == 0 ? "cuda:0" : "cuda:1";
    PLAIN_CHECK(tare_device_open(name, &options, &device, NULL) == TARE_OK);
    PLAIN_CHECK(fake_cuda()->retained == 1);
    if (self->number == FAILING_RANK) {
        fake_cuda()->fail_call = FAKE_EventRecord;
        fake_cuda()->fail_at = 1;
        fake_cuda()->fail_result = FAKE_E_ODD;
    }
    tare_status status = load_share(self, device);
    PLAIN_CHECK(status == (self->number == STOPPED_RANK   ? TARE_E_CANCELLED
                           : self->number == FAILING_RANK ? TARE_E_DEVICE
                                                          : TARE_OK));
    PLAIN_CHECK(fake_cuda()->pushed == 0 && fake_cuda()->blocks == 0);
    self->all->pin_size_max[self->number] = fake_cuda()->pin_size_max;
    self->all->staging_size[self->number] = tare_device_describe(device).staging_size;
    PLAIN_CHECK(fake_cuda()->pin_size == self->all->staging_size[self->number]);
    tare_device_close(device);
    PLAIN_CHECK(fake_cuda_clean());
}

int main(void)
{
    static load_models models;
    pid_t children[RANK_COUNT];
    shared *all =
        mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    PLAIN_CHECK(all != MAP_FAILED);
    load_models_open(&models);
    for (unsigned i = 0; i < RANK_COUNT; i++) {
        children[i] = fork();
        PLAIN_CHECK(children[i] >= 0);
        if (children[i] != 0) continue;
        static rank self;
        self = (rank){.all = all, .number = i};
        self.model = models.way[i % 2 == 0 ? LOAD_SHARDS : LOAD_READ];
        run_rank(&self);
        load_models_leave(&models);
        _exit(0);
    }
    for (unsigned i = 0; i < RANK_COUNT; i++) {
        int status = -1;
        PLAIN_CHECK(waitpid(children[i], &status, 0) == children[i]);
        PLAIN_CHECK(status == (i == LOST_RANK ? SIGKILL : 0));
        if (i == LOST_RANK) continue;
        PLAIN_CHECK(all->pin_size_max[i] > 0 && all->pin_size_max[i] <= STAGING_SIZE_MAX);
        PLAIN_CHECK(all->staging_size[i] > 0 && all->staging_size[i] <= STAGING_SIZE_MAX);
    }
    /* This process opened no device, and has nothing of what the others had. */
    PLAIN_CHECK(fake_cuda()->call_count == 0 && fake_cuda_clean());
    load_models_close(&models);
    munmap(all, sizeof *all);
    return 0;
}
