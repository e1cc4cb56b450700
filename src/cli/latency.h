/* What `tare bench` measures with: the names it asks for, timing, and histograms. */
#ifndef TARE_CLI_LATENCY_H
#define TARE_CLI_LATENCY_H

#include "cli.h"

/* queries.c: names in memory of their own, end to end in the order in which they are asked for */

/* Lists are a multiple of this long, so that no sample of up to so many names wraps around. */
#define QUERY_STEP 1024u

typedef struct query_list {
    tare_string *names;
    size_t count; /* a multiple of QUERY_STEP */
    size_t own;   /* the first so many have text of their own; the others repeat them */
    char *text;
} query_list;

/* Names of all tensors in random order, or of a random choice of them where they are very many;
 * again and again, each time in another order, where they are few. The model must have a tensor.
 * False when memory ran out. */
bool queries_hits(const tare_model *model, uint64_t *random, query_list *hits);

/* For each name of `hits` one that resembles it and that no tensor has. */
bool queries_misses(const tare_model *model, uint64_t *random, const query_list *hits,
                    query_list *misses);

void queries_free(query_list *list);

/* progress.c: a bar on stderr if that is a terminal; nothing is left of it once it ends, be it by a
 * signal */

void progress_start(void);
bool progress_due(void); /* the bar is shown and old enough to be drawn again */
void progress_show(const char *what, double share); /* 0 to 1 */
void progress_end(void);

/* latency.c: timing, and a histogram of samples */

/* Values below 2 << LATENCY_BITS are counted exactly, larger ones to 1 in 1 << LATENCY_BITS. */
#define LATENCY_BITS 9
#define LATENCY_LOG_MAX 40
#define LATENCY_FINE_COUNT ((LATENCY_LOG_MAX - LATENCY_BITS + 1) << LATENCY_BITS)

/* Buckets for showing: one below 1 ns, then four an octave. */
#define LATENCY_BUCKET_COUNT (1 + 4 * LATENCY_LOG_MAX)

typedef enum latency_call { LATENCY_FIND, LATENCY_FIND_KEY, LATENCY_FIND_MANY } latency_call;

/* What is timed, and the samples taken of it. */
typedef struct latency {
    const char *label;
    latency_call call;
    const tare_model *model;
    const query_list *queries;
    const tare_key *keys; /* of `queries`, for LATENCY_FIND_KEY */
    uint64_t clock_cost;  /* ns, taken off every sample */
    uint32_t names;       /* a sample: a power of two up to QUERY_STEP */
    size_t at;            /* the name to ask for next */

    uint64_t samples;
    uint64_t sum; /* ns of all samples */
    uint64_t min; /* ns of one */
    uint64_t max;
    uint64_t fine[LATENCY_FINE_COUNT];
} latency;

typedef struct latency_clock {
    uint64_t cost; /* ns from one reading to the next */
    uint64_t step; /* ns by which readings differ if they do, the least */
} latency_clock;

uint64_t latency_now(void); /* ns */
latency_clock latency_measure_clock(latency *scratch);

/* Takes samples for about so long, at least one. */
void latency_take(latency *taken, uint64_t duration);

/* ns a name, below or at which `share` of the samples are, 0 to 1. There must be samples. */
double latency_quantile(const latency *taken, double share);
double latency_mean(const latency *taken);

/* Counts the samples of each bucket, by ns a name. */
void latency_buckets(const latency *taken, uint64_t buckets[LATENCY_BUCKET_COUNT]);

/* Where a bucket starts, in ns a name; the one before ends there. */
double latency_bucket_start(unsigned bucket);

/* The label and how many names a sample has: the start of a line about it. */
void latency_print_label(const latency *taken);

/* Draws histograms on one axis, a line each: columns for buckets, in blocks where the locale has
 * them, else in ASCII. */
void latency_draw(const latency *taken, size_t count);

#endif
