/* Opens a model, finds every tensor by name in random order, and compares the time with that of the
 * linear scan over a list of names that tare replaces. Every answer is checked. */
#define _POSIX_C_SOURCE 200809L

#include "model_names.h"
#include "tare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPEN_SECONDS 0.5
#define FIND_SECONDS 0.5
#define SCAN_SECONDS 1.0
#define SCANS_AT_LEAST 64

/* The caller's names: copies in memory of their own, packed in the order they will be asked for. */
struct queries {
    size_t count;
    char *text;
    tare_string *names;
    const tare_tensor **tensors; /* the right answers */
};

/* What tare replaces: a list of (name, data) whose names are strings on the heap, as Rust's
 * Vec<(String, &[u8])> or C++'s vector<pair<string, span>> hold them. */
struct entry {
    char *name;
    size_t name_size;
    const tare_tensor *tensor;
};

/* `memory`, which must not be NULL. */
static void *check(void *memory)
{
    if (memory == NULL) {
        fputs("demo: no memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void *take(size_t size)
{
    return check(malloc(size == 0 ? 1 : size));
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static struct queries make_queries(const tare_model *model)
{
    struct queries queries = {.count = tare_count(model)};
    uint32_t *order = check(names_order(queries.count, 1));
    size_t text_size = 0;
    for (size_t i = 0; i < queries.count; i++)
        text_size += tare_name(model, tare_at(model, i)).size;
    char *text = queries.text = take(text_size);
    queries.names = take(queries.count * sizeof *queries.names);
    queries.tensors = take(queries.count * sizeof *queries.tensors);
    for (size_t i = 0; i < queries.count; i++) {
        const tare_tensor *tensor = tare_at(model, order[i]);
        tare_string name = tare_name(model, tensor);
        memcpy(text, name.data, name.size);
        queries.names[i] = (tare_string){text, name.size};
        queries.tensors[i] = tensor;
        text += name.size;
    }
    free(order);
    return queries;
}

static void free_queries(struct queries *queries)
{
    free(queries->text);
    free(queries->names);
    free(queries->tensors);
}

static struct entry *make_entries(const tare_model *model)
{
    size_t count = tare_count(model);
    struct entry *entries = take(count * sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        const tare_tensor *tensor = tare_at(model, i);
        tare_string name = tare_name(model, tensor);
        entries[i] = (struct entry){take(name.size), name.size, tensor};
        memcpy(entries[i].name, name.data, name.size);
    }
    return entries;
}

static void free_entries(struct entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) free(entries[i].name);
    free(entries);
}

static const tare_tensor *scan(const struct entry *entries, size_t count, const char *name,
                               size_t name_size)
{
    for (size_t i = 0; i < count; i++)
        if (entries[i].name_size == name_size && memcmp(entries[i].name, name, name_size) == 0)
            return entries[i].tensor;
    return NULL;
}

/* Seconds a lookup, or a negative number after a wrong answer. */
static double time_finds(const tare_model *model, const struct queries *queries)
{
    size_t done = 0, wrong = 0;
    double start = now(), seconds;
    do {
        for (size_t i = 0; i < queries->count; i++) {
            tare_string name = queries->names[i];
            wrong += tare_find(model, name.data, name.size) != queries->tensors[i];
        }
        done += queries->count;
        seconds = now() - start;
    } while (seconds < FIND_SECONDS);
    return wrong == 0 ? seconds / (double)done : -1;
}

/* The same over as many names as fit in the time; `out_done` says how many. */
static double time_scans(const struct entry *entries, const struct queries *queries,
                         size_t *out_done)
{
    size_t done = 0, wrong = 0;
    double start = now(), seconds;
    do {
        size_t i = done++ % queries->count;
        tare_string name = queries->names[i];
        wrong += scan(entries, queries->count, name.data, name.size) != queries->tensors[i];
        seconds = done % 16 == 0 ? now() - start : 0;
    } while (seconds < SCAN_SECONDS || done < SCANS_AT_LEAST);
    *out_done = done;
    return wrong == 0 ? seconds / (double)done : -1;
}

/* The fastest of several opens; leaves the last one open. */
static double time_opens(const char *path, tare_model **out)
{
    double fastest = 0, start = now();
    *out = NULL;
    for (int i = 0; i < 3 || (now() - start < OPEN_SECONDS && i < 100); i++) {
        tare_error error;
        tare_close(*out);
        double before = now();
        if (tare_open(path, NULL, out, &error) != TARE_OK) {
            fprintf(stderr, "demo: %s\n", error.message);
            return -1;
        }
        double seconds = now() - before;
        if (i == 0 || seconds < fastest) fastest = seconds;
    }
    return fastest;
}

/* Printing */

static const char *format_count(size_t count, char *text, size_t room)
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%zu", count);
    size_t at = 0;
    for (int i = 0; i < size && at + 2 < room; i++) {
        if (i > 0 && (size - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

static const char *format_time(double seconds, char *text, size_t room)
{
    static const char *const units[] = {"s", "ms", "us", "ns"};
    int unit = 0;
    while (unit < 3 && seconds < 1) seconds *= 1000, unit++;
    int decimals = seconds < 10 ? 2 : seconds < 100 ? 1 : 0;
    snprintf(text, room, "%.*f %s", decimals, seconds, units[unit]);
    return text;
}

static void print_row(const char *label, const char *value, const char *note)
{
    printf("  %-22s %12s%s%s\n", label, value, *note == '\0' ? "" : "   ", note);
}

static void print_lookups(double found, double scanned, size_t scans)
{
    char text[40], note[96], count[32];
    print_row("lookup, tare_find", format_time(found, text, sizeof text),
              "every name, in random order");
    snprintf(note, sizeof note, "%s of those names", format_count(scans, count, sizeof count));
    print_row("lookup, linear scan", format_time(scanned, text, sizeof text), note);
    format_count((size_t)(scanned / found + 0.5), count, sizeof count);
    snprintf(text, sizeof text, "%s x", count);
    print_row("ratio", text, "every answer checked");
}

static int run_lookups(const tare_model *model)
{
    struct queries queries = make_queries(model);
    size_t wrong = 0, scans = 0;
    for (size_t i = 0; i < queries.count; i++) { /* also warms the caches */
        tare_string asked = queries.names[i];
        const tare_tensor *tensor = tare_find(model, asked.data, asked.size);
        tare_string name = tensor == NULL ? (tare_string){"", 0} : tare_name(model, tensor);
        wrong += tensor != queries.tensors[i] || name.size != asked.size ||
                 memcmp(name.data, asked.data, asked.size) != 0;
    }
    if (wrong == 0 && queries.count > 0) {
        struct entry *entries = make_entries(model);
        double found = time_finds(model, &queries);
        double scanned = time_scans(entries, &queries, &scans);
        free_entries(entries, queries.count);
        wrong = found < 0 || scanned < 0;
        if (wrong == 0) print_lookups(found, scanned, scans);
    }
    free_queries(&queries);
    if (wrong != 0) fprintf(stderr, "demo: a lookup gave a wrong answer\n");
    return wrong == 0 ? 0 : 1;
}

int main(int argument_count, char **arguments)
{
    if (argument_count != 2 || arguments[1][0] == '-') {
        fputs("usage: demo MODEL\n\nTimes opening the model and finding its tensors by name.\n",
              stderr);
        return 2;
    }
    tare_model *model;
    double seconds = time_opens(arguments[1], &model);
    if (seconds < 0) return 1;
    char text[32];
    printf("%s\n", arguments[1]);
    print_row("tensors", format_count(tare_count(model), text, sizeof text), "");
    print_row("shards", format_count(tare_shard_count(model), text, sizeof text), "");
    print_row("open", format_time(seconds, text, sizeof text), "fastest of several, files cached");
    int status = run_lookups(model);
    tare_close(model);
    return status;
}
