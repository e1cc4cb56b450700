#include "corpus_list.h"

#include <stdlib.h>
#include <string.h>

#include "temp_files.h"

enum { FIELD_MAX = 8 };

static void *take(size_t size)
{
    void *memory = calloc(1, size ? size : 1);
    if (memory == NULL) abort();
    return memory;
}

/* A file with each tab and line end made a terminator; *lines is how many lines. */
static char *read_lines(const char *path, size_t *size, size_t *lines)
{
    void *bytes = temp_read(path, size);
    char *text = take(*size + 1);
    memcpy(text, bytes, *size);
    free(bytes);
    *lines = 0;
    for (size_t i = 0; i < *size; i++) *lines += text[i] == '\n';
    return text;
}

/* Cuts the line at `text` into its fields and returns where the next one starts. */
static char *read_fields(char *text, char *fields[FIELD_MAX], size_t *count)
{
    *count = 0;
    for (;;) {
        if (*count == FIELD_MAX) abort();
        fields[(*count)++] = text;
        text += strcspn(text, "\t\n");
        char end = *text;
        *text++ = 0;
        if (end != '\t') return text;
    }
}

/* Hex digits to the bytes they stand for, in place; "-" is no bytes. */
static size_t unhex(char *text)
{
    size_t size = 0;
    if (strcmp(text, "-") == 0) return 0;
    for (size_t i = 0; text[i] && text[i + 1]; i += 2) {
        char digits[3] = {text[i], text[i + 1], 0};
        text[size++] = (char)strtoul(digits, NULL, 16);
    }
    return size;
}

static uint64_t *read_shape(const char *text, uint32_t *rank)
{
    uint64_t *shape = take((strlen(text) + 1) * sizeof *shape);
    *rank = 0;
    if (strcmp(text, "-") == 0) return shape;
    for (;;) {
        char *end;
        shape[(*rank)++] = strtoull(text, &end, 10);
        if (*end != ',') return shape;
        text = end + 1;
    }
}

/* "2:6162,-" to the items "ab" and "". */
static corpus_item *read_items(char *text, size_t *count)
{
    char *at;
    *count = strtoull(text, &at, 10);
    corpus_item *items = take(*count * sizeof *items);
    for (size_t i = 0; i < *count; i++) {
        char *item = ++at;
        at += strcspn(at, ",");
        *at = 0;
        items[i] = (corpus_item){item, unhex(item)};
    }
    return items;
}

static void read_cases(corpus_list *list)
{
    size_t size, lines, count;
    char *fields[FIELD_MAX];
    char *at = read_lines(TARE_TEST_DATA "/corpus/manifest.tsv", &size, &lines);
    list->text[0] = at;
    list->cases = take(lines * sizeof *list->cases);
    for (; lines > 0; lines--) {
        at = read_fields(at, fields, &count);
        if (count != 4) abort();
        list->cases[list->case_count++] = (corpus_case){
            .path = fields[0],
            .rule = fields[3],
            .is_index = strcmp(fields[1], "index") == 0,
            .is_gguf = strcmp(fields[1], "gguf") == 0,
            .accept = strcmp(fields[2], "accept") == 0,
        };
    }
}

static void read_facts(corpus_list *list)
{
    size_t size, lines, count;
    char *fields[FIELD_MAX];
    char *at = read_lines(TARE_TEST_DATA "/corpus/expect.tsv", &size, &lines);
    list->text[1] = at;
    list->facts = take(lines * sizeof *list->facts);
    for (; lines > 0; lines--) {
        at = read_fields(at, fields, &count);
        corpus_fact *fact = &list->facts[list->fact_count++];
        fact->path = fields[0];
        fact->name = fields[2];
        fact->name_size = unhex(fields[2]);
        if (strcmp(fields[1], "metadata") == 0 && count == 6) {
            fact->is_array = fields[3][0] == '[';
            fact->dtype = fields[3] + fact->is_array;
            fact->shard = (uint32_t)strtoul(fields[4], NULL, 10);
            fact->items = read_items(fields[5], &fact->item_count);
        } else if (count == 8) {
            fact->dtype = fields[3];
            fact->shape = read_shape(fields[4], &fact->rank);
            fact->shard = (uint32_t)strtoul(fields[5], NULL, 10);
            fact->offset = strtoull(fields[6], NULL, 10);
            fact->size = strtoull(fields[7], NULL, 10);
        } else {
            abort();
        }
    }
}

corpus_list corpus_read(void)
{
    corpus_list list = {0};
    read_cases(&list);
    read_facts(&list);
    return list;
}

void corpus_free(corpus_list *list)
{
    for (size_t i = 0; i < list->fact_count; i++) {
        free(list->facts[i].shape);
        free(list->facts[i].items);
    }
    free(list->facts);
    free(list->cases);
    free(list->text[0]);
    free(list->text[1]);
    memset(list, 0, sizeof *list);
}
