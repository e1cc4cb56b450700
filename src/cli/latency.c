#define _POSIX_C_SOURCE 200809L
#include "latency.h"

#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    WARM_SAMPLES = 256, /* before each turn, uncounted: other names were in the caches */
    CLOCK_READINGS = 4096,
    CLOCK_READINGS_MOST = CLOCK_READINGS / 20 * 19,
    COLUMNS_MAX = 64, /* of a histogram */
    LEVELS = 8
};

uint64_t latency_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static unsigned log_of(uint64_t value)
{
    unsigned log = 0;
    while (value >>= 1) log++;
    return log;
}

/* Where a value is counted: as it is, or by its highest LATENCY_BITS + 1 bits. */
static size_t fine_of(uint64_t value)
{
    const uint64_t beyond = UINT64_C(1) << LATENCY_LOG_MAX;
    size_t shift = 0;
    if (value >= beyond) value = beyond - 1;
    while (value >> shift >= 2u << LATENCY_BITS) shift++;
    return (shift << LATENCY_BITS) + (size_t)(value >> shift);
}

/* The least value that is counted at `fine`. */
static uint64_t fine_start(size_t fine)
{
    size_t line = fine >> LATENCY_BITS;
    size_t shift = line > 1 ? line - 1 : 0;
    return (uint64_t)(fine - (shift << LATENCY_BITS)) << shift;
}

static void add(latency *to, uint64_t value)
{
    if (to->samples == 0 || value < to->min) to->min = value;
    if (value > to->max) to->max = value;
    to->samples++;
    to->sum += value;
    to->fine[fine_of(value)]++;
}

/* The largest value counted where the sample of that rank, from 1, is. */
static uint64_t value_at(const latency *taken, uint64_t rank)
{
    size_t fine = 0;
    uint64_t passed = taken->fine[0];
    while (passed < rank) passed += taken->fine[++fine];
    uint64_t last = fine_start(fine + 1) - 1;
    return last < taken->max ? last : taken->max;
}

double latency_quantile(const latency *taken, double share)
{
    double exact = share * (double)taken->samples;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0) rank++;
    uint64_t value = value_at(taken, rank < taken->samples ? rank : taken->samples);
    return (double)(value > taken->min ? value : taken->min) / taken->names;
}

double latency_mean(const latency *taken)
{
    return (double)taken->sum / (double)taken->samples / taken->names;
}

/* `names` is a power of two, so that no fine count lies in two buckets. */
void latency_buckets(const latency *taken, uint64_t buckets[LATENCY_BUCKET_COUNT])
{
    memset(buckets, 0, LATENCY_BUCKET_COUNT * sizeof *buckets);
    for (size_t i = 0; i < LATENCY_FINE_COUNT; i++) {
        if (taken->fine[i] == 0) continue;
        uint64_t value = fine_start(i);
        unsigned log = log_of(value);
        unsigned names_log = log_of(taken->names);
        size_t bucket = 0;
        if (value >= taken->names) {
            bucket = 1 + 4 * (size_t)(log - names_log) + (size_t)(((value << 2) >> log) & 3);
        }
        buckets[bucket] += taken->fine[i];
    }
}

double latency_bucket_start(unsigned bucket)
{
    if (bucket == 0) return 0;
    unsigned quarter = (bucket - 1) % 4;
    return (double)(UINT64_C(1) << ((bucket - 1) / 4)) * (1 + quarter / 4.0);
}

/* Times spinning for so many turns, which takes ever more time, CLOCK_READINGS times in all. */
static void time_spinning(latency *scratch, unsigned turns_max)
{
    volatile unsigned spun = 0;
    memset(scratch, 0, sizeof *scratch);
    for (unsigned i = 0; i < CLOCK_READINGS; i++) {
        uint64_t start = latency_now();
        for (unsigned turn = i % (turns_max + 1); turn > 0; turn--) spun = 3 * spun + 1;
        add(scratch, latency_now() - start);
    }
}

/* The mean of all but the highest twentieth, which were interrupted. */
static uint64_t clock_cost(latency *scratch)
{
    uint64_t sum = 0;
    uint64_t counted = 0;
    time_spinning(scratch, 0);
    for (size_t fine = 0; counted < CLOCK_READINGS_MOST; fine++) {
        sum += scratch->fine[fine] * fine_start(fine);
        counted += scratch->fine[fine];
    }
    return (sum + counted / 2) / counted;
}

/*
 * Some counters stand for 10 or 40 ns, whatever clock_getres says. Times that grow little by little
 * then come in clusters of one or two values, each a step from the next.
 */
static uint64_t clock_step(latency *scratch)
{
    enum { TURNS_MAX = 255 };
    uint64_t seen = 0;
    uint64_t clusters = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t previous = 0;
    uint64_t passed = 0;
    time_spinning(scratch, TURNS_MAX);
    for (size_t fine = 0; passed < CLOCK_READINGS_MOST; fine++) {
        passed += scratch->fine[fine];
        if (scratch->fine[fine] == 0) continue;
        uint64_t value = fine_start(fine);
        if (seen == 0) first = value;
        if (seen == 0 || value > previous + 1) {
            last = value;
            clusters++;
        }
        previous = value;
        seen++;
    }
    if (clusters < 2 || 2 * seen > previous - first) return 1;
    return (last - first) / (clusters - 1);
}

latency_clock latency_measure_clock(latency *scratch)
{
    struct timespec resolution;
    latency_clock measured = {clock_cost(scratch), clock_step(scratch)};
    clock_getres(CLOCK_MONOTONIC, &resolution);
    uint64_t claimed = (uint64_t)resolution.tv_nsec;
    if (resolution.tv_sec == 0 && claimed > measured.step) measured.step = claimed;
    return measured;
}

/* Each of these times `names` finds from `at` on. `any` depends on all that was found. */

static uint64_t time_find(const latency *taken, uintptr_t *any)
{
    const tare_string *names = taken->queries->names + taken->at;
    uint64_t start = latency_now();
    for (uint32_t i = 0; i < taken->names; i++) {
        *any |= (uintptr_t)tare_find(taken->model, names[i].data, names[i].size);
    }
    return latency_now() - start;
}

static uint64_t time_find_key(const latency *taken, uintptr_t *any)
{
    const tare_key *keys = taken->keys + taken->at;
    uint64_t start = latency_now();
    for (uint32_t i = 0; i < taken->names; i++) {
        *any |= (uintptr_t)tare_find_key(taken->model, &keys[i]);
    }
    return latency_now() - start;
}

static uint64_t time_find_many(const latency *taken, uintptr_t *any)
{
    static const tare_tensor *found[QUERY_STEP];
    const tare_string *names = taken->queries->names + taken->at;
    uint64_t start = latency_now();
    tare_find_many(taken->model, names, taken->names, found);
    uint64_t passed = latency_now() - start;
    *any |= (uintptr_t)found[taken->names - 1];
    return passed;
}

/*
 * Times one sample and moves on. Where the next name lies is made to depend on what was found, by a
 * bit that is never set in a pointer: a processor that looks ahead cannot begin with it early, just
 * as one that runs a program whose next name depends on the last tensor.
 */
static uint64_t take_sample(latency *taken)
{
    static uint64_t (*const calls[])(const latency *, uintptr_t *) = {
        [LATENCY_FIND] = time_find,
        [LATENCY_FIND_KEY] = time_find_key,
        [LATENCY_FIND_MANY] = time_find_many,
    };
    uintptr_t any = 0;
    uint64_t passed = calls[taken->call](taken, &any);
    taken->at += taken->names + (any & 1);
    if (taken->at + taken->names > taken->queries->count) taken->at = 0;
    return passed > taken->clock_cost ? passed - taken->clock_cost : 0;
}

void latency_take(latency *taken, uint64_t duration)
{
    uint64_t start = latency_now();
    unsigned warm = 0;
    while (warm < WARM_SAMPLES && latency_now() - start < duration / 8) {
        take_sample(taken);
        warm++;
    }
    do {
        add(taken, take_sample(taken));
    } while (latency_now() - start < duration);
}

void latency_print_label(const latency *taken)
{
    out_style_on(STYLE_DTYPE);
    out_format("%-4s", taken->label);
    out_style_off();
    out_format(" %6lu", (unsigned long)taken->names);
}

/* The bucket in which the sample of that rank, from 0, is. */
static unsigned bucket_at(const uint64_t buckets[LATENCY_BUCKET_COUNT], uint64_t rank)
{
    unsigned bucket = 0;
    for (uint64_t passed = buckets[0]; passed <= rank; passed += buckets[bucket]) bucket++;
    return bucket;
}

/* Chooses the buckets that are drawn: all but one sample in a thousand at either end of a line gets
 * a column of its own, if there is room. */
static void choose_columns(const latency *taken, size_t count, unsigned *first, unsigned *last)
{
    *first = LATENCY_BUCKET_COUNT - 1;
    *last = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t buckets[LATENCY_BUCKET_COUNT];
        latency_buckets(&taken[i], buckets);
        unsigned low = bucket_at(buckets, taken[i].samples / 1000);
        unsigned high = bucket_at(buckets, taken[i].samples - 1 - taken[i].samples / 1000);
        if (low < *first) *first = low;
        if (high > *last) *last = high;
    }
    /* From a whole octave on, where a label can stand. */
    if (*first > 0) *first = (*first - 1) / 4 * 4 + 1;
    if (*last >= *first + COLUMNS_MAX) *last = *first + COLUMNS_MAX - 1;
}

static void draw_axis(unsigned first, unsigned last)
{
    out_style_on(STYLE_HEAD);
    out_string("NS A NAME   ");
    for (unsigned i = first; i <= last; i++) {
        static const char *const units[] = {"", "k", "M", "G"};
        char text[16];
        if (i == 0) out_string(" ");
        if (i % 4 != 1) continue;
        /* The last bucket with a label is 157.
         * NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
        snprintf(text, sizeof text, "%u%s", 1u << i / 4 % 10, units[i / 40]);
        out_format("%-4s", text);
    }
    out_style_off();
    out_string("\n");
}

/* Each column is as high as its share of the highest, and seen if there is anything in it. What is
 * beyond the columns is in the outermost. */
static void draw_columns(const latency *taken, unsigned first, unsigned last, bool blocks)
{
    static const char ascii[] = ".:-=+*#@";
    uint64_t buckets[LATENCY_BUCKET_COUNT];
    uint64_t highest = 1;
    unsigned end = first;
    latency_buckets(taken, buckets);
    for (unsigned i = 0; i < first; i++) buckets[first] += buckets[i];
    for (unsigned i = last + 1; i < LATENCY_BUCKET_COUNT; i++) buckets[last] += buckets[i];
    for (unsigned i = first; i <= last; i++) {
        if (buckets[i] > highest) highest = buckets[i];
        if (buckets[i] > 0) end = i;
    }
    for (unsigned i = first; i <= end; i++) {
        uint64_t level = (buckets[i] * LEVELS + highest - 1) / highest;
        const char block[] = {'\xE2', '\x96', (char)(0x80 + level)}; /* U+2581 to U+2588 */
        if (level == 0)
            out_string(" ");
        else if (blocks)
            out_bytes(block, sizeof block);
        else
            out_bytes(&ascii[level - 1], 1);
    }
}

void latency_draw(const latency *taken, size_t count)
{
    unsigned first;
    unsigned last;
    bool blocks = setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    choose_columns(taken, count, &first, &last);
    draw_axis(first, last);
    for (size_t i = 0; i < count; i++) {
        latency_print_label(&taken[i]);
        out_string(" ");
        draw_columns(&taken[i], first, last, blocks);
        out_string("\n");
    }
}
