/* `tare load --slice NAME=BOX`: NAME is a pattern, BOX has an item for each dimension. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* START:STOP, of which both may be left out, or RANK/COUNT. */
typedef struct item {
    bool share;
    uint64_t start; /* or the rank */
    uint64_t stop;  /* or how many */
    bool to_end;
} item;

static bool parse_number(const char **text, uint64_t *number)
{
    char *end;
    if (**text < '0' || **text > '9') return false;
    errno = 0;
    *number = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0;
}

/* Behind the item, or NULL. */
static const char *parse_item(const char *text, item *made)
{
    *made = (item){.to_end = true};
    bool number = *text != ':';
    if (number && !parse_number(&text, &made->start)) return NULL;
    if (*text == '/' && number) {
        text++;
        made->share = true;
        bool good = parse_number(&text, &made->stop) && made->start < made->stop;
        return good ? text : NULL;
    }
    if (*text++ != ':') return NULL;
    if (*text == ',' || *text == '\0') return text;
    made->to_end = false;
    return parse_number(&text, &made->stop) ? text : NULL;
}

/* Names hold `=` now and then, boxes never. */
static const char *box_text(const char *text)
{
    const char *equals = strrchr(text, '=');
    return equals != NULL && equals != text ? equals + 1 : NULL;
}

bool boxes_check(const char *text)
{
    item made;
    const char *at = box_text(text);
    while (at != NULL && (at = parse_item(at, &made)) != NULL && *at == ',') at++;
    return at != NULL && *at == '\0';
}

/* The last that fits, or -1; marks all that do. */
static int find(char *const *patterns, int count, const char *name, bool *used)
{
    int found = -1;
    for (int i = 0; i < count; i++) {
        if (fnmatch(patterns[i], name, 0) != 0) continue;
        used[i] = true;
        found = i;
    }
    return found;
}

/* Shares are as even as can be, the larger ones first. */
static void place(const item *from, uint64_t size, uint64_t *start, uint64_t *stop)
{
    *start = from->start;
    *stop = from->to_end ? size : from->stop;
    if (!from->share) return;
    uint64_t each = size / from->stop, more = size % from->stop;
    *start = from->start * each + (from->start < more ? from->start : more);
    *stop = *start + each + (from->start < more);
}

/* The box of one tensor, with which the library finds fault. */
static bool make_box(const tare_model *model, const tare_tensor *tensor, const char *text,
                     uint64_t *start, uint64_t *stop)
{
    tare_info info = tare_describe(model, tensor);
    uint32_t axis = 0;
    for (const char *at = text; at != NULL && *at != '\0'; axis++) {
        item made;
        at = parse_item(at, &made);
        if (at != NULL && *at == ',') at++;
        if (axis < info.rank) place(&made, info.shape[axis], &start[axis], &stop[axis]);
    }
    if (axis > info.rank) {
        char shown[256];
        text_escape((tare_string){info.name, info.name_size}, shown, sizeof shown);
        cli_message("tensor '%s' has %lu dimensions, --slice %lu", shown, (unsigned long)info.rank,
                    (unsigned long)axis);
        return false;
    }
    for (; axis < info.rank; axis++) {
        start[axis] = 0;
        stop[axis] = info.shape[axis];
    }
    return true;
}

static bool add(const tare_model *model, const tare_tensor *tensor, const char *text,
                uint64_t *numbers, tare_slice *slice, uint64_t *size)
{
    tare_error error;
    uint32_t rank = tare_describe(model, tensor).rank;
    if (!make_box(model, tensor, text, numbers, numbers + rank)) return false;
    *slice = (tare_slice){numbers, numbers + rank};
    if (tare_slice_size(model, tensor, slice->start, slice->stop, size, &error) == TARE_OK)
        return true;
    cli_message("--slice: %s", error.message);
    return false;
}

static bool fill(const tare_model *model, char *const *texts, char *const *patterns, int count,
                 selection *what, boxes *made, bool *used)
{
    uint64_t *numbers = made->numbers;
    what->size = 0;
    for (size_t i = 0; i < what->count; i++) {
        const tare_tensor *tensor = what->tensors[i];
        uint64_t size = tare_size(model, tensor);
        int found = find(patterns, count, tare_name(model, tensor).data, used);
        if (found >= 0) {
            if (!add(model, tensor, box_text(texts[found]), numbers, &made->slices[i], &size))
                return false;
            numbers += 2 * (size_t)tare_describe(model, tensor).rank;
            made->count++;
        }
        what->size += size;
    }
    for (int i = 0; i < count; i++) {
        char shown[256];
        if (used[i]) continue;
        text_escape(text_of(texts[i]), shown, sizeof shown);
        cli_message("--slice %s: no tensor that is loaded has such a name", shown);
        return false;
    }
    return true;
}

#if defined(__GNUC__) && __GNUC__ >= 10 && !defined(__clang__) /* loses what an array holds */
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

bool boxes_make(const tare_model *model, char *const *texts, int count, selection *what,
                boxes *made)
{
    size_t number_count = 0;
    *made = (boxes){0};
    if (count == 0) return true;
    char **patterns = calloc((size_t)count, sizeof *patterns);
    bool *used = calloc((size_t)count, sizeof *used);
    for (size_t i = 0; i < what->count; i++)
        number_count += 2 * (size_t)tare_describe(model, what->tensors[i]).rank;
    made->slices = calloc(what->count + 1, sizeof *made->slices);
    made->numbers = calloc(number_count + 1, sizeof *made->numbers);
    bool good = patterns != NULL && used != NULL && made->slices != NULL && made->numbers != NULL;
    for (int i = 0; i < count && good; i++) {
        patterns[i] = strndup(texts[i], (size_t)(box_text(texts[i]) - 1 - texts[i]));
        good = patterns[i] != NULL;
    }
    if (good)
        good = fill(model, texts, patterns, count, what, made, used);
    else
        cli_message("out of memory");
    for (int i = 0; i < count && patterns != NULL; i++) free(patterns[i]);
    free(patterns);
    free(used);
    return good;
}

void boxes_free(boxes *made)
{
    free(made->slices);
    free(made->numbers);
    *made = (boxes){0};
}
