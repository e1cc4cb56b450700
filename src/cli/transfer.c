#include "cli.h"

#include <stdio.h>

#include "latency.h"

static uint64_t start;

/* "1.5 GiB of 4.0 GiB, 2.31 GB/s, 0:01 left" */
static void describe(uint64_t done, uint64_t total, uint64_t elapsed, char *target, size_t size)
{
    char some[TEXT_HUMAN_SIZE];
    char all[TEXT_HUMAN_SIZE];
    text_human(done, some);
    text_human(total, all);
    int used = snprintf(target, size, "%s of %s", some, all);
    if (done == 0 || elapsed == 0) return;
    double rate = (double)done / (double)elapsed; /* bytes a nanosecond are GB/s */
    double left = (double)(total - done) / rate / 1e9;
    unsigned long seconds = left < 1e9 ? (unsigned long)(left + 0.5) : 1000000000ul;
    used += snprintf(target + used, size - (size_t)used, ", %.2f GB/s, ", rate);
    if (seconds >= 3600)
        used += snprintf(target + used, size - (size_t)used, "%lu:%02lu", seconds / 3600,
                         seconds / 60 % 60);
    else
        used += snprintf(target + used, size - (size_t)used, "%lu", seconds / 60);
    snprintf(target + used, size - (size_t)used, ":%02lu left", seconds % 60);
}

int transfer_progress(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    char what[128];
    if (stop_signal() != 0) return 1;
    if (total == 0 || !progress_due()) return 0;
    describe(done, total, latency_now() - start, what, sizeof what);
    progress_show(what, (double)done / (double)total);
    return 0;
}

void transfer_start(void)
{
    start = latency_now();
    progress_start();
    stop_start();
}

void transfer_end(void)
{
    stop_end();
    progress_end();
}

int transfer_status(tare_status status, const tare_error *error)
{
    if (status == TARE_OK) return CLI_OK;
    if (status == TARE_E_CANCELLED) return transfer_stopped();
    cli_message("%s", error->message);
    return CLI_FAILED;
}

int transfer_stopped(void)
{
    cli_message("stopped");
    return CLI_SIGNALLED + stop_signal();
}

int transfer_hash(const cli_options *options, const tare_model *model, const selection *wanted,
                  tare_digest *out)
{
    tare_error error;
    tare_load_options how = options->load;
    how.progress = transfer_progress;
    transfer_start();
    tare_status status = tare_hash_many(model, wanted->tensors, wanted->count, &how, out, &error);
    transfer_end();
    return transfer_status(status, &error);
}
