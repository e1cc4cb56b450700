#include "latency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPENS_MAX = 1000,
    OPENS_FEW = 5,     /* so many may take half of the time; with more an eighth is enough */
    KIND_COUNT = 8,    /* rows of the table */
    GROUP = 8,         /* names of a sample that tells throughput */
    TURN_NS = 10000000 /* kinds take turns of about so long, so that a disturbance hits them all */
};

static const struct {
    const char *name;
    latency_call call;
    bool absent;
    uint32_t names; /* a sample */
} kinds[KIND_COUNT] = {
    {"hit", LATENCY_FIND, false, 1},        {"hit", LATENCY_FIND, false, GROUP},
    {"miss", LATENCY_FIND, true, 1},        {"miss", LATENCY_FIND, true, GROUP},
    {"key", LATENCY_FIND_KEY, false, 1},    {"key", LATENCY_FIND_KEY, false, GROUP},
    {"many", LATENCY_FIND_MANY, false, 16}, {"many", LATENCY_FIND_MANY, false, 256},
};

typedef struct bench {
    const cli_options *options;
    const char *path;
    uint64_t start;  /* of it all */
    uint64_t budget; /* ns */
    tare_model *model;
    tare_stat cost;
    size_t open_count;
    uint64_t open_first;
    uint64_t opens[OPENS_MAX]; /* ns, sorted in the end */
    latency_clock clock;
    query_list hits;
    query_list misses;
    tare_key *keys;    /* of the hits */
    latency *taken;    /* KIND_COUNT of them */
    size_t kind_count; /* that have samples: none without a tensor */
} bench;

static int compare_times(const void *first, const void *second)
{
    uint64_t a = *(const uint64_t *)first;
    uint64_t b = *(const uint64_t *)second;
    return (a > b) - (a < b);
}

/* Opens the model again and again; the last one stays open. */
static bool measure_opens(bench *made)
{
    tare_options options = cli_open_options(made->options);
    options.backing = made->options->backing; /* mapped, as most programs have it */
    options.seed = made->options->seed;
    if (made->options->given & OPTION_SEED) options.flags = TARE_SEED_FIXED;
    uint64_t elapsed = 0;
    do {
        double share = (double)elapsed / (double)made->budget;
        progress_show("opening", share < 0.5 ? share : 0.5);
        tare_close(made->model);
        tare_error error;
        uint64_t start = latency_now();
        tare_status status = tare_open(made->path, &options, &made->model, &error);
        uint64_t end = latency_now();
        if (status != TARE_OK) {
            progress_end();
            cli_report(made->path, &error, false);
            return false;
        }
        made->opens[made->open_count++] = end - start;
        elapsed = end - made->start;
    } while (made->open_count < OPENS_MAX &&
             elapsed < made->budget / (made->open_count < OPENS_FEW ? 2 : 8));
    made->open_first = made->opens[0];
    qsort(made->opens, made->open_count, sizeof *made->opens, compare_times);
    made->cost.struct_size = sizeof made->cost;
    tare_model_stat(made->model, &made->cost);
    return true;
}

/* A clock of coarse steps needs more names a sample to tell what eight take. */
static uint32_t group_size(uint32_t names, latency_clock clock)
{
    while (names > 1 && names < QUERY_STEP && clock.step > names) names *= 2;
    return names;
}

/* False when memory ran out. */
static bool prepare(bench *made)
{
    uint64_t random = made->options->seed;
    made->taken = calloc(KIND_COUNT, sizeof *made->taken);
    if (made->taken == NULL) return false;
    made->clock = latency_measure_clock(&made->taken[0]);
    if (tare_count(made->model) == 0) return true;
    if (!queries_hits(made->model, &random, &made->hits)) return false;
    if (!queries_misses(made->model, &random, &made->hits, &made->misses)) return false;
    made->keys = malloc(made->hits.count * sizeof *made->keys);
    if (made->keys == NULL) return false;
    for (size_t i = 0; i < made->hits.count; i++) {
        tare_string name = made->hits.names[i];
        made->keys[i] = i < made->hits.own ? tare_key_make(made->model, name.data, name.size)
                                           : made->keys[i - made->hits.own];
    }
    memset(made->taken, 0, KIND_COUNT * sizeof *made->taken);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        latency *taken = &made->taken[i];
        taken->label = kinds[i].name;
        taken->call = kinds[i].call;
        taken->model = made->model;
        taken->queries = kinds[i].absent ? &made->misses : &made->hits;
        taken->keys = made->keys;
        taken->clock_cost = made->clock.cost;
        taken->names = group_size(kinds[i].names, made->clock);
    }
    made->kind_count = KIND_COUNT;
    return true;
}

static void measure_finds(bench *made)
{
    uint64_t now = latency_now();
    /* Finds get what opening left, and half of the time at least. */
    uint64_t end = made->start + made->budget;
    if (end < now + made->budget / 2) end = now + made->budget / 2;
    uint64_t rounds = (end - now) / ((uint64_t)KIND_COUNT * TURN_NS) + 1;
    uint64_t turn = (end - now) / rounds / KIND_COUNT;
    for (uint64_t round = 0; round < rounds && (round == 0 || now < end); round++) {
        for (size_t i = 0; i < KIND_COUNT; i++) {
            uint64_t passed = latency_now() - made->start;
            double share = (double)passed / (double)(end - made->start);
            progress_show("finding", share);
            latency_take(&made->taken[i], turn);
        }
        now = latency_now();
    }
}

static void print_time(double ns)
{
    if (ns >= 1e6)
        out_format("%.2f ms", ns / 1e6);
    else
        out_format("%.1f us", ns / 1e3);
}

static void print_facts(const bench *made)
{
    size_t count = tare_count(made->model), middle = made->open_count / 2;
    out_key("model");
    out_style_on(STYLE_KEY);
    out_escaped(text_of(made->path));
    out_style_off();
    out_string("\n");
    out_key("tensors");
    out_format("%zu\n", count);
    out_key("open time");
    out_string("best ");
    print_time((double)made->opens[0]);
    out_string(", median ");
    print_time((double)made->opens[middle]);
    out_string(", first ");
    print_time((double)made->open_first);
    out_format(" of %zu\n", made->open_count);
    cost_print(made->model, &made->cost);
    out_key("clock");
    out_format("%llu ns a reading, taken off each sample; steps of %llu ns\n",
               (unsigned long long)made->clock.cost, (unsigned long long)made->clock.step);
}

static void print_ns(double ns)
{
    if (ns < 999.95)
        out_format(" %8.1f", ns);
    else
        out_format(" %8.0f", ns);
}

static void print_table(const bench *made)
{
    static const double shares[] = {0.5, 0.9, 0.99, 0.999};
    out_string("\n");
    out_style_on(STYLE_HEAD);
    out_string(
        "FIND  NAMES      MIN      P50      P90      P99    P99.9      MAX     MEAN   SAMPLES");
    out_style_off();
    out_string("\n");
    for (size_t i = 0; i < made->kind_count; i++) {
        const latency *taken = &made->taken[i];
        latency_print_label(taken);
        print_ns((double)taken->min / taken->names);
        for (size_t j = 0; j < sizeof shares / sizeof *shares; j++) {
            print_ns(latency_quantile(taken, shares[j]));
        }
        print_ns((double)taken->max / taken->names);
        print_ns(latency_mean(taken));
        out_format(" %9llu\n", (unsigned long long)taken->samples);
    }
    out_style_on(STYLE_HEAD);
    out_string("ns a name; a sample is the time of so many NAMES, divided by them\n");
    out_style_off();
}

static void json_number(const char *key, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.3f", value);
    json_key(key);
    json_raw(text);
}

static void json_facts(const bench *made)
{
    json_key("model");
    json_text(made->path);
    json_line();
    json_field("tensors", tare_count(made->model));
    json_number("seconds", made->options->seconds);
    json_key("seed");
    if (made->options->given & OPTION_SEED)
        json_u64(made->options->seed);
    else
        json_raw("null");
    json_line();
    json_key("opens");
    json_open('{');
    json_field("count", made->open_count);
    json_field("best_ns", made->opens[0]);
    json_field("median_ns", made->opens[made->open_count / 2]);
    json_field("first_ns", made->open_first);
    json_close('}');
    json_line();
    cost_json(made->model, &made->cost);
    json_line();
    json_key("clock");
    json_open('{');
    json_field("cost_ns", made->clock.cost);
    json_field("step_ns", made->clock.step);
    json_close('}');
    json_line();
}

static void json_buckets(const latency *taken)
{
    uint64_t buckets[LATENCY_BUCKET_COUNT];
    latency_buckets(taken, buckets);
    json_key("buckets");
    json_open('[');
    for (unsigned i = 0; i < LATENCY_BUCKET_COUNT; i++) {
        if (buckets[i] == 0) continue;
        json_line();
        json_open('{');
        json_number("from_ns", latency_bucket_start(i));
        json_number("to_ns", latency_bucket_start(i + 1));
        json_field("samples", buckets[i]);
        json_close('}');
    }
    json_close(']');
}

static void print_json(const bench *made)
{
    json_open('{');
    json_facts(made);
    json_key("finds");
    json_open('[');
    for (size_t i = 0; i < made->kind_count; i++) {
        const latency *taken = &made->taken[i];
        json_line();
        json_open('{');
        json_key("find");
        json_text(taken->label);
        json_field("names", taken->names);
        json_field("samples", taken->samples);
        json_number("min_ns", (double)taken->min / taken->names);
        json_number("p50_ns", latency_quantile(taken, 0.5));
        json_number("p90_ns", latency_quantile(taken, 0.9));
        json_number("p99_ns", latency_quantile(taken, 0.99));
        json_number("p999_ns", latency_quantile(taken, 0.999));
        json_number("max_ns", (double)taken->max / taken->names);
        json_number("mean_ns", latency_mean(taken));
        json_buckets(taken);
        json_close('}');
    }
    json_close(']');
    json_close('}');
    json_end();
}

static void report(const bench *made)
{
    if (options_json(made->options)) {
        print_json(made);
        return;
    }
    print_facts(made);
    if (made->kind_count == 0) return;
    print_table(made);
    out_string("\n");
    latency_draw(made->taken, made->kind_count);
}

/* False after it said why. */
static bool measure(bench *made)
{
    bool opened = measure_opens(made);
    bool prepared = opened && prepare(made);
    if (prepared && made->kind_count > 0) measure_finds(made);
    progress_end();
    if (opened && !prepared) {
        cli_message("no memory to ask for %zu tensors", tare_count(made->model));
    }
    return prepared;
}

int cmd_bench(const cli_options *options)
{
    bench *made = calloc(1, sizeof *made);
    if (made == NULL) {
        cli_message("no memory to measure");
        return CLI_FAILED;
    }
    made->options = options;
    made->path = options->operands[0];
    made->budget = (uint64_t)(options->seconds * 1e9);
    made->start = latency_now();
    progress_start();
    bool measured = measure(made);
    if (measured) report(made);
    queries_free(&made->hits);
    queries_free(&made->misses);
    free(made->keys);
    free(made->taken);
    tare_close(made->model);
    free(made);
    return measured ? CLI_OK : CLI_FAILED;
}
