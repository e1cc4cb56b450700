#include "cli.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct option {
    unsigned bit;
    char letter; /* or 0 */
    const char *name;
    const char *argument; /* or NULL */
    const char *text;
} option;

static const option table[] = {
    {OPTION_JSON, 0, "json", NULL, "print JSON"},
    {OPTION_BACKING, 0, "backing", "HOW", "how bytes are reached: map, read or auto (default)"},
    {OPTION_VALUES, 'n', "values", "COUNT", "how many values to decode (default 8)"},
    {OPTION_FORCE, 0, "force", NULL, "write raw bytes to a terminal, or over what is there"},
    {OPTION_ALL, 0, "all", NULL, "every group of layers, every item of an array"},
    {OPTION_SECONDS, 0, "seconds", "NUMBER", "how long to measure, about (default 2)"},
    {OPTION_SEED, 0, "seed", "NUMBER", "ask for the same names in the same order, hash alike"},
    {OPTION_THREADS, 0, "threads", "COUNT", "how many threads work (default: as fits)"},
    {OPTION_DIRECT, 0, "direct", NULL, "read past the page cache"},
    {OPTION_BUFFERED, 0, "buffered", NULL, "read through the page cache"},
    {OPTION_CHUNK, 0, "chunk", "SIZE", "how much one read asks for at most: 4K to 1G"},
    {OPTION_IN_FLIGHT, 0, "in-flight", "SIZE", "how much all reads at one time ask for at most"},
    {OPTION_DROP_BEHIND, 0, "drop-behind", NULL, "leave nothing in the page cache"},
    {OPTION_ALIGN, 0, "align", "SIZE", "where data begins is a multiple of this, up to 2M"},
    {OPTION_DEVICE, 0, "device", "NAME", "load into the memory of a GPU, such as cuda:0"},
    {OPTION_SLICE, 0, "slice", "NAME=BOX",
     "load a part: W=0:8,16:32, *=RANK/COUNT; again for more"},
    {OPTION_OUTPUT, 'o', "output", "OUT", "where to write"},
    {OPTION_ONLY, 0, "only", "PREFIX", "take tensors whose names start so; may be given again"},
    {OPTION_SHARD_SIZE, 0, "shard-size", "SIZE", "begin a new file before so much, such as 5GB"},
    {OPTION_RAW, 0, "raw-quantized", NULL, "store dtypes that safetensors lacks as U8"},
    {OPTION_INDEX, 0, "index", "FILE", "open with this index file, or fail"},
    {OPTION_NO_INDEX, 0, "no-index", NULL, "read headers, also where there is an index file"},
    {OPTION_INDEX_CHECK, 0, "index-check", "HOW", "an index file fits by time (default) or header"},
    {OPTION_LIMIT, 0, "limit", "WHAT=N", "refuse a model with more; header=8M, tensors=1000, ..."},
    {OPTION_HELP, 'h', "help", NULL, "print this help"},
    {OPTION_VERSION, 0, "version", NULL, "print the version"},
};
enum { TABLE_COUNT = sizeof table / sizeof *table };

const char *options_name(unsigned bit)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (table[i].bit == bit) return table[i].name;
    }
    return "";
}

void options_help(unsigned accepts)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if ((table[i].bit & accepts) == 0) continue;
        const char *argument = table[i].argument != NULL ? table[i].argument : "";
        const char letter[] = {'-', table[i].letter, ',', '\0'};
        out_format("  %-3s --%s%s%s", table[i].letter ? letter : "", table[i].name,
                   *argument ? " " : "", argument);
        out_spaces(16 - strlen(table[i].name) - strlen(argument) - (*argument != '\0'));
        out_format("%s\n", table[i].text);
    }
}

static const option *find_name(const char *name, size_t size)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (strlen(table[i].name) == size && memcmp(table[i].name, name, size) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

static const option *find_letter(char letter)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (table[i].letter == letter) return &table[i];
    }
    return NULL;
}

static int unknown_option(const char *argument, tare_string name)
{
    char shown[128];
    const char *near = NULL;
    unsigned bound = 2;
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        unsigned edits = tare_name_distance(text_of(table[i].name), name, bound);
        if (edits > bound || edits >= strlen(table[i].name)) continue;
        near = table[i].name;
        if (edits == 0) break;
        bound = edits - 1;
    }
    text_escape(text_of(argument), shown, sizeof shown);
    if (near != NULL)
        cli_message("unknown option '%s'; did you mean '--%s'?", shown, near);
    else
        cli_message("unknown option '%s'; 'tare --help' lists them", shown);
    return CLI_USAGE;
}

static int parse_word(const option *found, const char *value, const char *const *words,
                      uint32_t count, const char *meaning, uint32_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(value, words[i]) == 0) {
            *out = i;
            return CLI_OK;
        }
    }
    char shown[128];
    cli_message("--%s is %s, not '%s'", found->name, meaning,
                text_escape(text_of(value), shown, sizeof shown));
    return CLI_USAGE;
}

static int parse_backing(cli_options *options, const option *found, const char *value)
{
    static const char *const words[] = {
        [TARE_BACKING_AUTO] = "auto", [TARE_BACKING_MAP] = "map", [TARE_BACKING_READ] = "read"};
    return parse_word(found, value, words, 3, "map, read or auto", &options->backing);
}

static int parse_index_check(cli_options *options, const option *found, const char *value)
{
    static const char *const words[] = {
        [TARE_INDEX_BY_TIME] = "time", [TARE_INDEX_BY_HEADER] = "header"};
    return parse_word(found, value, words, 2, "time or header", &options->index_check);
}

static int parse_u64(const option *found, const char *value, const char *meaning, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end != '\0' || errno != 0) {
        char shown[128];
        cli_message("--%s is a %s, not '%s'", found->name, meaning,
                    text_escape(text_of(value), shown, sizeof shown));
        return CLI_USAGE;
    }
    *out = number;
    return CLI_OK;
}

/* A number of bytes, or of units: K, M, G, T or KiB and so on of 1024, KB and so on of 1000. */
static int parse_size(const option *found, const char *value, uint64_t *out)
{
    static const char letters[] = "KMGT";
    char *end;
    errno = 0;
    uint64_t number = strtoull(value, &end, 10);
    bool fits = *value >= '0' && *value <= '9' && errno == 0;
    const char *letter = *end != '\0' ? strchr(letters, *end) : NULL;
    if (letter != NULL) {
        uint64_t base = end[1] == 'B' ? 1000 : 1024;
        end += end[1] == 'B' ? 2 : end[1] == 'i' && end[2] == 'B' ? 3 : 1;
        for (long i = letter - letters; i >= 0; i--) {
            fits &= number <= UINT64_MAX / base;
            number *= base;
        }
    }
    if (!fits || *end != '\0') {
        char shown[128];
        cli_message("--%s is a size such as 65536, 64K, 512MiB or 5GB, not '%s'", found->name,
                    text_escape(text_of(value), shown, sizeof shown));
        return CLI_USAGE;
    }
    *out = number;
    return CLI_OK;
}

static int add_text(char ***list, int *count, char *value)
{
    char **grown = realloc(*list, ((size_t)*count + 1) * sizeof *grown);
    if (grown == NULL) {
        cli_message("out of memory");
        return CLI_FAILED;
    }
    *list = grown;
    grown[(*count)++] = value;
    return CLI_OK;
}

static int parse_slice(cli_options *options, char *value)
{
    if (boxes_check(value)) return add_text(&options->slices, &options->slice_count, value);
    char shown[128];
    cli_message("--slice is NAME=START:STOP,... or NAME=RANK/COUNT,..., not '%s'",
                text_escape(text_of(value), shown, sizeof shown));
    return CLI_USAGE;
}

static int parse_seconds(cli_options *options, const char *value)
{
    const double seconds_min = 0.1;
    const double seconds_max = 3600;
    char *end;
    double seconds = strtod(value, &end);
    /* strtod also takes blanks, signs, exponents, "inf" and "nan". */
    if (value[strspn(value, "0123456789.")] != '\0' || *end != '\0' || seconds < seconds_min ||
        seconds > seconds_max) {
        char shown[128];
        cli_message("--seconds is a number from %g to %g, not '%s'", seconds_min, seconds_max,
                    text_escape(text_of(value), shown, sizeof shown));
        return CLI_USAGE;
    }
    options->seconds = seconds;
    return CLI_OK;
}

/* Of what the library takes. */
static int check_range(const option *found, uint64_t number, bool good, const char *range)
{
    if (good) return CLI_OK;
    cli_message("--%s is %s, not %llu", found->name, range, (unsigned long long)number);
    return CLI_USAGE;
}

int options_bad_align(uint64_t number)
{
    cli_message("--align is a power of two up to 2M, for pack from 8, not %llu",
                (unsigned long long)number);
    return CLI_USAGE;
}

/* WHAT=NUMBER. */
static int parse_limit(tare_options *limits, const option *found, const char *value)
{
    static const struct {
        const char *name;
        size_t place;
    } names[] = {{"header", offsetof(tare_options, header_size_max)},
                 {"tensors", offsetof(tare_options, tensor_count_max)},
                 {"rank", offsetof(tare_options, rank_max)},
                 {"name", offsetof(tare_options, name_size_max)},
                 {"metadata", offsetof(tare_options, metadata_size_max)}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size = strlen(names[i].name);
        if (strncmp(value, names[i].name, size) != 0 || value[size] != '=') continue;
        uint64_t number, most = i == 0 ? INT32_MAX : UINT64_MAX;
        int status = parse_size(found, value + size + 1, &number);
        if (status != CLI_OK) return status;
        memcpy((char *)limits + names[i].place, &number, sizeof number);
        return check_range(found, number, number >= 1 && number <= most,
                           "at least 1, for header at most 2147483647");
    }
    char shown[128];
    cli_message("--limit is header=N, tensors=N, rank=N, name=N or metadata=N, not '%s'",
                text_escape(text_of(value), shown, sizeof shown));
    return CLI_USAGE;
}

static int parse_load_value(tare_load_options *load, const option *found, const char *value)
{
    uint64_t number;
    int status = found->bit == OPTION_THREADS ? parse_u64(found, value, "count", &number)
                                              : parse_size(found, value, &number);
    if (status != CLI_OK) return status;
    bool power = (number & (number - 1)) == 0;
    switch (found->bit) {
    case OPTION_THREADS:
        load->threads = (uint32_t)number;
        return check_range(found, number, number >= 1 && number <= 1024, "from 1 to 1024");
    case OPTION_CHUNK:
        load->chunk_size = number;
        return check_range(found, number, number >= 4096 && number <= UINT64_C(1) << 30,
                           "from 4K to 1G");
    case OPTION_IN_FLIGHT:
        load->flight_size_max = number;
        return check_range(found, number, number >= 4096, "at least 4K");
    default:
        load->alignment = (size_t)number;
        return number >= 1 && number <= 2u << 20 && power ? CLI_OK : options_bad_align(number);
    }
}

static void take_flag(cli_options *options, const option *found)
{
    switch (found->bit) {
    case OPTION_DIRECT: options->load.io = TARE_IO_DIRECT; break;
    case OPTION_BUFFERED: options->load.io = TARE_IO_BUFFERED; break;
    case OPTION_DROP_BEHIND: options->load.flags |= TARE_LOAD_DROP_BEHIND; break;
    default: break;
    }
}

static int parse_value(cli_options *options, const option *found, char *value)
{
    switch (found->bit) {
    case OPTION_BACKING: return parse_backing(options, found, value);
    case OPTION_INDEX_CHECK: return parse_index_check(options, found, value);
    case OPTION_VALUES: return parse_u64(found, value, "count", &options->value_count);
    case OPTION_SECONDS: return parse_seconds(options, value);
    case OPTION_DEVICE: options->device = value; return CLI_OK;
    case OPTION_OUTPUT: options->output = value; return CLI_OK;
    case OPTION_INDEX: options->index = value; return CLI_OK;
    case OPTION_ONLY: return add_text(&options->only, &options->only_count, value);
    case OPTION_SLICE: return parse_slice(options, value);
    case OPTION_LIMIT: return parse_limit(&options->limits, found, value);
    case OPTION_SHARD_SIZE: return parse_size(found, value, &options->shard_size);
    case OPTION_SEED: return parse_u64(found, value, "whole number", &options->seed);
    case OPTION_THREADS:
    case OPTION_CHUNK:
    case OPTION_IN_FLIGHT:
    case OPTION_ALIGN: return parse_load_value(&options->load, found, value);
    default: return CLI_OK;
    }
}

/* Takes the option at argv[*at], and its argument, which may be the next of argv. */
static int take_option(cli_options *options, int argc, char **argv, int *at)
{
    char *argument = argv[*at];
    const option *found;
    char *value = NULL;
    tare_string name;
    if (argument[1] == '-') {
        name = text_of(argument + 2);
        char *equals = strchr(argument + 2, '=');
        if (equals != NULL) name.size = (size_t)(equals - name.data);
        found = find_name(name.data, name.size);
        value = equals != NULL ? equals + 1 : NULL;
    } else {
        name = text_of(argument + 1);
        found = find_letter(argument[1]);
        if (argument[2] != '\0') value = argument + 2;
    }
    if (found == NULL) return unknown_option(argument, name);
    if (found->argument == NULL && value != NULL) {
        if (argument[1] != '-') return unknown_option(argument, name);
        cli_message("--%s takes no value", found->name);
        return CLI_USAGE;
    }
    if (found->argument != NULL && value == NULL) {
        if (*at + 1 >= argc) {
            cli_message("--%s needs a value: %s", found->name, found->argument);
            return CLI_USAGE;
        }
        value = argv[++*at];
    }
    options->given |= found->bit;
    if ((~options->given & (OPTION_DIRECT | OPTION_BUFFERED)) == 0) {
        cli_message("--direct and --buffered exclude each other");
        return CLI_USAGE;
    }
    if ((~options->given & (OPTION_INDEX | OPTION_NO_INDEX)) == 0) {
        cli_message("--index and --no-index exclude each other");
        return CLI_USAGE;
    }
    if (value != NULL) return parse_value(options, found, value);
    take_flag(options, found);
    return CLI_OK;
}

int options_parse(cli_options *options, int argc, char **argv)
{
    *options = (cli_options){.backing = TARE_BACKING_AUTO,
                             .value_count = 8,
                             .seconds = 2,
                             .load = TARE_LOAD_OPTIONS_INIT,
                             .limits = TARE_OPTIONS_INIT,
                             .operands = argv};
    bool ended = false;
    for (int at = 1; at < argc; at++) {
        char *argument = argv[at];
        if (ended || argument[0] != '-' || argument[1] == '\0') {
            /* Never overtakes `at`: the program's own name made room for one. */
            argv[options->operand_count++] = argument;
        } else if (strcmp(argument, "--") == 0) {
            ended = true;
        } else {
            int status = take_option(options, argc, argv, &at);
            if (status != CLI_OK) return status;
        }
    }
    return CLI_OK;
}

void options_free(cli_options *options)
{
    free(options->only);
    free(options->slices);
    options->only = options->slices = NULL;
}
