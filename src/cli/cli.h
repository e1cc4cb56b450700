/* What the files of the `tare` program share. It sees the library through tare.h only. */
#ifndef TARE_CLI_H
#define TARE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tare.h"

#if defined(__GNUC__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

/* Exit statuses. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_SIGNALLED = 128 }; /* + the signal */

/* options.c: the command line */

#define OPTION_JSON 0x1u
#define OPTION_BACKING 0x2u
#define OPTION_VALUES 0x4u
#define OPTION_FORCE 0x8u
#define OPTION_ALL 0x10u
#define OPTION_SECONDS 0x20u
#define OPTION_SEED 0x40u
#define OPTION_THREADS 0x80u
#define OPTION_DIRECT 0x100u
#define OPTION_BUFFERED 0x200u
#define OPTION_CHUNK 0x400u
#define OPTION_IN_FLIGHT 0x800u
#define OPTION_DROP_BEHIND 0x1000u
#define OPTION_ALIGN 0x2000u
#define OPTION_OUTPUT 0x4000u
#define OPTION_ONLY 0x8000u
#define OPTION_SHARD_SIZE 0x10000u
#define OPTION_RAW 0x20000u
#define OPTION_DEVICE 0x40000u
#define OPTION_HELP 0x80000u
#define OPTION_VERSION 0x100000u
#define OPTION_INDEX 0x200000u
#define OPTION_NO_INDEX 0x400000u
#define OPTION_LIMIT 0x800000u
#define OPTION_INDEX_CHECK 0x1000000u
#define OPTION_SLICE 0x2000000u

typedef struct cli_options {
    unsigned given;       /* OPTION_* that were there */
    uint32_t backing;     /* TARE_BACKING_*, to measure */
    uint64_t value_count; /* of --values */
    double seconds;       /* to measure */
    uint64_t seed;
    tare_load_options load; /* its numbers and flags as given */
    const char *device;     /* its name */
    const char *output;
    const char *index;    /* an index file */
    uint32_t index_check; /* TARE_INDEX_BY_* */
    tare_options limits;  /* what --limit says, and defaults */
    char **only;          /* prefixes, as often as --only was there */
    int only_count;
    char **slices; /* NAME=BOX, as often as --slice was there */
    int slice_count;
    uint64_t shard_size; /* bytes */
    char **operands;     /* what is no option, in order */
    int operand_count;
} cli_options;

/* Takes argv apart; operands point into it, in their order. CLI_OK or CLI_USAGE. Free it in any
 * case. */
int options_parse(cli_options *options, int argc, char **argv);
void options_free(cli_options *options);

/* Prints the options of `accepts`, a line each. */
void options_help(unsigned accepts);

/* Says which alignments there are; CLI_USAGE. */
int options_bad_align(uint64_t number);

/* The long name of one OPTION_* bit, for messages. */
const char *options_name(unsigned option);

static inline bool options_json(const cli_options *options)
{
    return (options->given & OPTION_JSON) != 0;
}

/* main.c and cmd_*.c: the commands */

typedef struct cli_command {
    const char *name;
    const char *summary;
    const char *operands; /* for the usage line */
    const char *text;     /* for --help */
    const char *example;
    int operand_min;
    int operand_max;
    unsigned accepts; /* OPTION_* */
    int (*run)(const cli_options *options);
} cli_command;

int cmd_ls(const cli_options *options);
int cmd_show(const cli_options *options);
int cmd_cat(const cli_options *options);
int cmd_meta(const cli_options *options);
int cmd_check(const cli_options *options);
int cmd_stat(const cli_options *options);
int cmd_bench(const cli_options *options);
int cmd_load(const cli_options *options);
int cmd_hash(const cli_options *options);
int cmd_verify(const cli_options *options);
int cmd_pack(const cli_options *options);
int cmd_index(const cli_options *options);

/* cli_model.c: what commands do with a model */

/* Writes one line to stderr, "tare: " before it, after all that stdout was given. */
void cli_message(const char *format, ...) CLI_PRINTF(1, 2);

/* What the options say of opening. Nothing is mapped: no command touches tensors through a mapping,
 * and an index file that is read cannot change, nor be cut short, between two looks at it. */
tare_options cli_open_options(const cli_options *options);

/* "BF16"; "?" for what is none, as in an index file that is damaged. */
const char *cli_dtype_name(tare_dtype dtype);

/* Whether this is one part of a split GGUF file, opened without the others since its name does not
 * lead to them: which, from 1, and of how many. */
bool cli_is_part(const tare_model *model, uint64_t *number, uint64_t *count);

/* Opens a model, or says why not and returns NULL. `seconds` may be NULL. Says so if an index file
 * is there and not used, or if the model is a part of one. */
tare_model *cli_open(const cli_options *options, const char *path, double *seconds);

/* The same for commands that read every byte: never with an index file, where a flipped bit would
 * lead to other bytes. */
tare_model *cli_open_headers(const cli_options *options, const char *path);

/* Whether there is an index file that is not used, and why. False also where none was looked
 * for. */
bool cli_index_unused(const tare_model *model, tare_error *why);

/* Says why `path` was not opened, with the status and its place if `with_status`. */
void cli_report(const char *path, const tare_error *error, bool with_status);

/* The same of a file that the error calls `path` and the user `shown`. */
void cli_report_as(const char *shown, const char *path, const tare_error *error);

/* The tensor of that name, as it is or as `tare ls` prints it escaped; or says which names come
 * near and returns NULL. */
const tare_tensor *cli_find(const tare_model *model, const char *path, const char *name);

/* Says that no tensor's name starts with `prefix`, and which prefixes come near. */
void cli_explain_prefix(const tare_model *model, const char *path, const char *prefix);

/* The file of a shard for tables: without the folder where the model is one file. */
tare_string cli_shard_label(const tare_model *model, uint32_t shard);

/* The number of elements of a shape. */
uint64_t cli_element_count(const tare_info *info);

/* The largest power of two that divides an offset, at most a page: a mapping promises no more. */
#define CLI_PAGE_SIZE 4096u
uint32_t cli_offset_alignment(uint64_t offset);

/* stop.c: signals that stop work instead of ending the program */

/* From here on the first SIGINT, SIGTERM or SIGHUP is only remembered. */
void stop_start(void);
int stop_signal(void); /* or 0 */
void stop_end(void);

/* Removes the bar of progress.c, if one is shown, until it is drawn again. */
void progress_hide(void);

/* text.c: text from files made fit to print */

#define TEXT_HUMAN_SIZE 16u
#define TEXT_U64_SIZE 21u

/* A stretch of text as it may be printed: controls, terminal escapes, characters that reorder or
 * hide text, and invalid UTF-8 are escaped; so is the backslash, so that nothing is ambiguous. */
typedef struct text_piece {
    const char *data;
    size_t size;
    size_t width; /* columns */
    char buffer[12];
} text_piece;

/* Makes the piece at the start of `text` (not empty) and returns how many bytes of it that took. */
size_t text_next(tare_string text, text_piece *piece);

/* Reads one character of UTF-8 and returns its size; UINT32_MAX and 1 for a byte that is none. */
size_t text_decode(tare_string text, uint32_t *code);

/* Whether a character must not reach a terminal as it is. */
bool text_is_unsafe(uint32_t code);

tare_string text_of(const char *text);
size_t text_width(tare_string text); /* columns of its escaped form */

/* Writes the escaped form to `target`, terminated; cut with "..." where it does not fit. */
const char *text_escape(tare_string text, char *target, size_t target_size);

/* Undoes the escapes in place of `target` (at least text.size bytes). False if there is none, or
 * one that text_escape does not write. */
bool text_unescape(tare_string text, char *target, size_t *target_size);

size_t text_u64(uint64_t value, char target[TEXT_U64_SIZE]);    /* decimal; returns its size */
size_t text_human(uint64_t size, char target[TEXT_HUMAN_SIZE]); /* "1.5 KiB"; returns its size */
bool text_starts_with(tare_string text, const char *start);
int text_compare(tare_string a, tare_string b);         /* byte by byte */
int text_compare_natural(tare_string a, tare_string b); /* "layers.9" before "layers.10" */

/* output.c: stdout */

typedef enum out_style { STYLE_HEAD, STYLE_DTYPE, STYLE_GOOD, STYLE_KEY } out_style;

void out_start(void); /* decides about colour */
void out_bytes(const void *data, size_t size);
void out_string(const char *text);
void out_escaped(tare_string text); /* from a file: as text_next makes it */
void out_format(const char *format, ...) CLI_PRINTF(1, 2);
void out_spaces(size_t count);
void out_u64(uint64_t value);
void out_human(uint64_t size);
void out_shape(const uint64_t *shape, uint32_t rank);
size_t out_shape_width(const uint64_t *shape, uint32_t rank);
void out_style_on(out_style style);
void out_style_off(void);
void out_key(const char *key); /* "key     " at the start of a line of facts */

/* Writes past the buffer, without a copy. False when stdout is gone. */
bool out_direct(const void *data, size_t size);

void out_flush(void);

/* Sends what follows to that descriptor, until out_restore, which gives back the errno of what
 * failed there, or 0. */
void out_divert(int descriptor);
int out_restore(void);

bool out_stopped(void); /* stdout is gone: what follows is dropped */

/* Writes what is left, and closes it; CLI_FAILED, and says so, if anything was lost but for a closed
 * pipe. */
int out_finish(void);

/* json_out.c: the same as JSON */

void json_open(char bracket); /* '{' or '[' */
void json_close(char bracket);
void json_line(void); /* what follows starts a line */
void json_key(const char *key);
void json_name(tare_string key);    /* the same for text from files */
void json_string(tare_string text); /* invalid UTF-8 becomes U+FFFD */
void json_text(const char *text);
void json_u64(uint64_t value);
void json_bool(bool value);
void json_raw(const char *text); /* a value that is JSON already */
void json_end(void);             /* ends the document with a newline */
void json_shape(const uint64_t *shape, uint32_t rank);
void json_field(const char *key, uint64_t value);

/* The members that tell one tensor: name, dtype, shape, size, offset, shard, file. */
void json_tensor(const tare_model *model, const tare_info *info);

/* selection.c: tensors by prefixes */

typedef struct selection {
    const tare_tensor **tensors; /* each once, in the order of the model */
    size_t count;
    uint64_t size; /* bytes of all */
} selection;

/* Whether a name starts with one of the prefixes; any does if there is none. */
bool selection_matches(tare_string name, char **prefixes, int prefix_count);

/* All tensors that match. Says why and returns false when memory ran out or one of the prefixes
 * matches nothing. Free it. */
bool selection_make(const tare_model *model, const char *path, char **prefixes, int prefix_count,
                    selection *made);
void selection_free(selection *made);

/* load_boxes.c: parts of tensors */

typedef struct boxes {
    tare_slice *slices; /* one for each tensor of a selection, or NULL */
    uint64_t *numbers;  /* what they point to */
    size_t count;       /* of tensors in part */
} boxes;

/* Whether it is NAME=BOX. */
bool boxes_check(const char *text);

/* What these texts ask for of each tensor; what->size becomes that. False after saying why not.
 * Free it in any case. */
bool boxes_make(const tare_model *model, char *const *texts, int count, selection *what,
                boxes *made);
void boxes_free(boxes *made);

/* transfer.c: work on many bytes: a bar, and a signal that stops it */

/* From its start to its end SIGINT, SIGTERM and SIGHUP make the next progress say that the work
 * must stop; a second one ends the program. */
void transfer_start(void);
int transfer_progress(void *context, uint64_t done, uint64_t total); /* for options; any context */
void transfer_end(void);

/* Says why the work failed, and returns the exit status for that. */
int transfer_status(tare_status status, const tare_error *error);
int transfer_stopped(void); /* the same where a signal stopped it */

/* The digests of tensors, as `tare hash` and `tare verify` want them; an exit status. */
int transfer_hash(const cli_options *options, const tare_model *model, const selection *wanted,
                  tare_digest *out);

/* manifest.c: digests of tensors as lines of text */

#define MANIFEST_DIGEST_SIZE 33u

typedef struct manifest_line {
    tare_string name;
    tare_digest digest;
} manifest_line;

typedef struct manifest {
    manifest_line *lines;
    size_t count;
    char *text; /* what the names are in */
} manifest;

/* 32 hexadecimal digits. */
void manifest_digest(tare_digest digest, char target[MANIFEST_DIGEST_SIZE]);

void manifest_write_line(const manifest_line *line);

/* Reads a file, "-" for standard input. Says why not and returns false. Free it in any case. */
bool manifest_read(const char *path, manifest *made);
void manifest_free(manifest *made);

/* decode.c: values of the plain dtypes */

#define DECODE_TEXT_SIZE 64u

/* Prints element `index` of a tensor's bytes; for JSON as a JSON value. Not of quantized ones. */
void decode_value(tare_dtype dtype, const unsigned char *data, uint64_t index, bool json,
                  char target[DECODE_TEXT_SIZE]);

/* values.c: typed values of metadata */

/* Prints a value. Of an array the first few items, long ones cut, unless `all`. */
void values_print(tare_value value, bool all);

/* "u32", or "string[3]" for an array; its width when not to `print`. */
size_t values_kind(tare_value value, bool print);

/* The members "kind", "item_kind" for an array, and "value", in full. */
void values_json(tare_value value);

/* The order of two values, whatever it is: 0 only where kind and bytes are the same. */
int values_compare(tare_value a, tare_value b);

/* cost.c: what a model costs, as lines and as the members "memory", "index" and "index_file" */

void cost_print(const tare_model *model, const tare_stat *cost);
void cost_json(const tare_model *model, const tare_stat *cost);

/* groups.c: tensors by layer */

typedef struct group {
    tare_string key;  /* "model.layers.3." */
    size_t stem_size; /* of the key, without its number */
    bool numbered;    /* the key ends in a number */
    size_t folded;    /* groups that were folded into this one, itself included */
    uint64_t tensors;
    uint64_t size;
} group;

typedef struct group_list {
    group *groups;
    size_t count;
    size_t capacity;
} group_list;

/* Groups all tensors, in natural order. False when memory ran out. */
bool groups_make(const tare_model *model, group_list *list);

/* Folds groups that differ only in their number into one. */
void groups_fold(group_list *list);

void groups_free(group_list *list);

#endif
