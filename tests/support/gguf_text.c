#include "gguf_text.h"

#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "expect.h"
#include "reader_probe.h"

static void add_number(build_text *text, size_t size, uint64_t value)
{
    for (; size > 0; size--, value >>= 8) {
        char byte = (char)value;
        build_add(text, &byte, 1);
    }
}

/* Text between `quote`s, so often; returns what is behind it. */
static const char *add_quoted(build_text *text, const char *at, uint64_t times)
{
    char quote = *at++;
    const char *end = strchr(at, quote);
    size_t size = (size_t)(end - at);
    if (quote == '"') add_number(text, 8, size * times);
    for (; times > 0; times--) build_add(text, at, size);
    return end + 1;
}

/* One word that is no number and no quoted text; returns what is behind it. */
static const char *add_filling(build_text *text, const char *word)
{
    char *end;
    uint64_t number = strtoull(word + 1, &end, 10);
    while (*word == 'p' && text->size % number != 0) build_add(text, "", 1);
    for (; *word == 'd' && number > 0; number--) {
        char byte = (char)build_byte(text->size);
        build_add(text, &byte, 1);
    }
    return end;
}

static const char *add_word(build_text *text, const char *word)
{
    if (*word == 'p' || *word == 'd') return add_filling(text, word);
    if (*word == '\'' || *word == '"') return add_quoted(text, word, 1);
    char *end;
    uint64_t number = strtoull(word, &end, 10);
    if (*end == '"') return add_quoted(text, end, number);
    if (*end != ':') abort(); /* a slip in a test */
    add_number(text, (size_t)number, strtoull(end + 1, &end, 10));
    return end;
}

build_text gguf_text(const char *words, size_t *mark)
{
    build_text text = {0};
    size_t marked = SIZE_MAX;
    while (*words != 0) {
        if (*words == '^') marked = text.size;
        words = *words == '^' || *words == ' ' ? words + 1 : add_word(&text, words);
    }
    if (mark != NULL) *mark = marked;
    return text;
}

static void check_verdict(const gguf_damage *row, size_t mark, tare_status status,
                          tare_model *model, const tare_error *error)
{
    if (row->status == TARE_OK) {
        expect_opened(row->what, status, model, error);
    } else {
        cr_assert_neq(mark, SIZE_MAX, "%s: the row has no ^", row->what);
        expect_refused(row->what, row->status, mark, status, model, error);
        cr_expect_eq(error->shard, 0, "%s: shard %u", row->what, error->shard);
    }
    if (status == TARE_OK) tare_close(model);
}

void gguf_damage_check(const gguf_damage *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t mark;
        build_text file = gguf_text(rows[i].words, &mark);
        tare_model *model;
        tare_error error;
        tare_status status = damage_open(&file, &model, &error);
        check_verdict(&rows[i], mark, status, model, &error);
        reader_probe probe;
        reader_probe_init(&probe, file.data, file.size, 5);
        model = expect_no_model();
        error = expect_poison();
        status = tare_open_reader(&probe.reader, NULL, &model, &error);
        check_verdict(&rows[i], mark, status, model, &error);
        cr_expect_eq(probe.mistakes, 0, "%s: the reader is asked for what is not there",
                     rows[i].what);
        build_free(&file);
    }
}

tare_model *gguf_open(const char *words, build_text *file)
{
    *file = gguf_text(words, NULL);
    return expect_open_bytes(words, file);
}
