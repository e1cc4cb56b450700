/*
 * Loads the tensors under a prefix, or all, into one block of memory, with progress and a way to
 * stop, and uses them after the model is closed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tare.h"

enum { ALIGNMENT = 256 }; /* as a device wants it */

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Runs on the thread that called tare_load. */
static int on_progress(void *context, uint64_t done, uint64_t total)
{
    int *last = context;
    int percent = total != 0 ? (int)(100.0 * (double)done / (double)total) : 100;
    if (percent / 10 != *last / 10) fprintf(stderr, "%d%%\n", percent);
    *last = percent;
    return interrupted; /* not zero stops the load */
}

static size_t list_prefix(const tare_model *model, const char *prefix, const tare_tensor **list)
{
    size_t count = 0;
    tare_range range = tare_prefix(model, prefix, strlen(prefix));
    for (const tare_tensor *next; (next = tare_next(model, &range)) != NULL;) list[count++] = next;
    return count;
}

static void print_sums(const tare_block *block)
{
    for (size_t i = 0; i < tare_block_count(block); i++) {
        const unsigned char *bytes = tare_block_data(block, i);
        uint64_t sum = 0;
        for (size_t at = 0; at < tare_block_size(block, i); at++) sum += bytes[at];
        printf("tensor %zu: %zu bytes at a multiple of %d add up to %" PRIu64 "\n", i,
               tare_block_size(block, i), (uintptr_t)bytes % ALIGNMENT == 0 ? ALIGNMENT : 1, sum);
    }
}

int main(int count, char **arguments)
{
    if (count < 2 || count > 3) {
        fprintf(stderr, "usage: %s MODEL [PREFIX]\n", arguments[0]);
        return 2;
    }
    tare_model *model;
    tare_error error;
    if (tare_open(arguments[1], NULL, &model, &error) != TARE_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    signal(SIGINT, interrupt);
    int percent = 0;
    tare_load_options options = TARE_LOAD_OPTIONS_INIT;
    options.alignment = ALIGNMENT;
    options.progress = on_progress;
    options.progress_context = &percent;
    tare_block *block = NULL;
    const tare_tensor **list = malloc((tare_count(model) + 1) * sizeof *list);
    if (list != NULL) {
        size_t wanted = list_prefix(model, count == 3 ? arguments[2] : "", list);
        if (tare_load(model, list, wanted, &options, &block, &error) != TARE_OK)
            fprintf(stderr, "%s\n", error.message);
    }
    free(list);
    tare_close(model);
    if (block == NULL) return 1;
    print_sums(block);
    tare_block_close(block);
    return 0;
}
