/* Names near to one that is not there, for messages. */
#include <stdbool.h>
#include <string.h>

#include "internal.h"

/* A candidate's score is 64 an edit. A name that has the same components as what was asked for, and
 * more before or after them, counts as one edit (two if both) and a little for each further byte;
 * so does one that has fewer before. */
enum { SCORE_EDIT = 64, SCORE_NONE = 1 << 20 };

typedef struct candidates {
    tare_string names[TARE_SUGGEST_COUNT];
    unsigned scores[TARE_SUGGEST_COUNT];
    size_t count;
} candidates;

static unsigned fold(char letter)
{
    unsigned code = (unsigned char)letter;
    return code >= 'A' && code <= 'Z' ? code + 32 : code;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Takes away what both begin and end with: most names of a model differ little from one another. */
static void strip_common(tare_string *a, tare_string *b)
{
    while (a->size > 0 && b->size > 0 && fold(*a->data) == fold(*b->data)) {
        a->data++, b->data++;
        a->size--, b->size--;
    }
    while (a->size > 0 && b->size > 0 && fold(a->data[a->size - 1]) == fold(b->data[b->size - 1])) {
        a->size--, b->size--;
    }
}

uint32_t tare_name_distance(tare_string a, tare_string b, uint32_t bound)
{
    size_t difference = a.size > b.size ? a.size - b.size : b.size - a.size;
    if (bound > TARE_SUGGEST_SIZE_MAX) bound = TARE_SUGGEST_SIZE_MAX;
    if (difference > bound || a.size > TARE_SUGGEST_SIZE_MAX || b.size > TARE_SUGGEST_SIZE_MAX) {
        return bound + 1;
    }
    strip_common(&a, &b);
    unsigned rows[3][TARE_SUGGEST_SIZE_MAX + 1];
    for (size_t j = 0; j <= b.size; j++) rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.size; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];
        const unsigned *above2 = rows[(i + 1) % 3];
        size_t first = i > bound ? i - bound : 1;
        size_t last = i + bound < b.size ? i + bound : b.size;
        unsigned row_least = row[first - 1] = first == 1 ? (unsigned)i : bound + 1;
        for (size_t j = first; j <= last; j++) {
            bool same = fold(a.data[i - 1]) == fold(b.data[j - 1]);
            /* The band moves by one from row to row, so that what it reads was filled in.
             * NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
            unsigned best = least(above[j - 1] + !same, row[j - 1] + 1);
            /* Beyond the band the row above was not filled in. */
            if (j < i + bound || i == 1) best = least(best, above[j] + 1);
            if (i > 1 && j > 1 && fold(a.data[i - 1]) == fold(b.data[j - 2]) &&
                fold(a.data[i - 2]) == fold(b.data[j - 1])) {
                best = least(best, above2[j - 2] + 1);
            }
            row[j] = best;
            row_least = least(row_least, best);
        }
        if (row_least > bound) return bound + 1;
    }
    /* In the band, since sizes differ by `bound` at most.
     * NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
    return least(rows[a.size % 3][b.size], bound + 1);
}

static bool is_separator(char letter)
{
    return letter == '.' || letter == '/';
}

/* Where `part` lies in `name` between separators, or SIZE_MAX. */
static size_t find_component(tare_string name, tare_string part, bool open_end)
{
    for (size_t at = 0; at + part.size <= name.size; at++) {
        if (at > 0 && !is_separator(name.data[at - 1])) continue;
        if (memcmp(name.data + at, part.data, part.size) != 0) continue;
        size_t end = at + part.size;
        if (open_end || end == name.size || is_separator(name.data[end])) return at;
    }
    return SIZE_MAX;
}

/* Whether the last components of `name` are `part`. */
static bool has_tail(tare_string name, tare_string part)
{
    return part.size > 0 && part.size < name.size &&
           is_separator(name.data[name.size - part.size - 1]) &&
           memcmp(name.data + name.size - part.size, part.data, part.size) == 0;
}

/* The start of `name` that stands against `prefix`: as many whole components, then as much of the
 * next as the prefix has of its own. */
static tare_string matching_start(tare_string name, tare_string prefix)
{
    size_t whole = 0;
    size_t tail = 0;
    for (size_t i = 0; i < prefix.size; i++) {
        whole += is_separator(prefix.data[i]);
        tail = is_separator(prefix.data[i]) ? 0 : tail + 1;
    }
    size_t end = 0;
    for (; end < name.size && whole > 0; end++) whole -= is_separator(name.data[end]);
    while (end < name.size && tail > 0 && !is_separator(name.data[end])) end++, tail--;
    return (tare_string){name.data, end};
}

static bool is_listed(const candidates *found, tare_string name)
{
    for (size_t i = 0; i < found->count; i++) {
        if (found->names[i].size == name.size &&
            memcmp(found->names[i].data, name.data, name.size) == 0) {
            return true;
        }
    }
    return false;
}

static void add(candidates *found, tare_string name, unsigned score)
{
    size_t at = found->count < TARE_SUGGEST_COUNT ? found->count++ : TARE_SUGGEST_COUNT - 1;
    for (; at > 0 && found->scores[at - 1] > score; at--) {
        found->names[at] = found->names[at - 1];
        found->scores[at] = found->scores[at - 1];
    }
    found->names[at] = name;
    found->scores[at] = score;
}

/* Scores below this one make a place in the list. */
static unsigned score_limit(const candidates *found)
{
    return found->count < TARE_SUGGEST_COUNT ? SCORE_NONE : found->scores[TARE_SUGGEST_COUNT - 1];
}

/* What `more` bytes before or after count beside the edits. */
static unsigned score_bytes(size_t more)
{
    return more < SCORE_EDIT ? (unsigned)more : SCORE_EDIT - 1;
}

/* A name that has all of what was asked for, or lacks only its first components. */
static unsigned score_components(tare_string name, tare_string asked, size_t at)
{
    if (has_tail(asked, name)) return SCORE_EDIT + score_bytes(asked.size - name.size);
    if (at == SIZE_MAX) return SCORE_NONE;
    bool at_end = at == 0 || at + asked.size == name.size;
    return (at_end ? 1u : 2u) * SCORE_EDIT + score_bytes(name.size - asked.size);
}

static unsigned score_edits(tare_string name, tare_string asked, unsigned bound)
{
    unsigned edits = tare_name_distance(name, asked, bound);
    return edits <= bound ? edits * SCORE_EDIT : SCORE_NONE;
}

/* The name without its first component, such as "model.", against what was asked for. */
static unsigned score_tail(tare_string name, tare_string asked, unsigned bound)
{
    size_t head = 0;
    while (head < name.size && !is_separator(name.data[head])) head++;
    if (head == name.size || bound == 0) return SCORE_NONE;
    tare_string tail = {name.data + head + 1, name.size - head - 1};
    return SCORE_EDIT + score_edits(tail, asked, bound - 1);
}

static void consider(candidates *found, tare_string name, tare_string asked, bool as_prefix,
                     unsigned bound)
{
    unsigned limit = score_limit(found);
    if (limit == 0 || (name.size > TARE_SUGGEST_SIZE_MAX && !as_prefix)) return;
    if (name.size > TARE_SUGGEST_SIZE_MAX) name.size = TARE_SUGGEST_SIZE_MAX;
    tare_string candidate = as_prefix ? matching_start(name, asked) : name;
    size_t at = find_component(name, asked, as_prefix);
    if (as_prefix && at != SIZE_MAX) candidate.size = at + asked.size;
    bound = least(bound, (limit - 1) / SCORE_EDIT);
    unsigned score = score_components(candidate, asked, at);
    score = least(score, score_edits(candidate, asked, bound));
    if (!as_prefix) score = least(score, score_tail(name, asked, bound));
    if (score < limit && !is_listed(found, candidate)) add(found, candidate, score);
}

size_t tare_suggest(const tare_model *model, const char *name, size_t name_size, uint32_t flags,
                    tare_string *out)
{
    candidates found = {.count = 0};
    for (size_t i = 0; i < TARE_SUGGEST_COUNT; i++) out[i] = (tare_string){NULL, 0};
    if (name_size > 0 && name_size <= TARE_SUGGEST_SIZE_MAX) {
        bool as_prefix = (flags & TARE_SUGGEST_PREFIX) != 0;
        unsigned bound = least(5, 1 + (unsigned)name_size / 5);
        size_t count = tare_count(model);
        for (size_t i = 0; i < count; i++) {
            tare_string other = tare_name(model, tare_at(model, i));
            consider(&found, other, (tare_string){name, name_size}, as_prefix, bound);
        }
    }
    /* Those that are as near as the nearest: more would only distract. */
    size_t count = 0;
    while (count < found.count &&
           found.scores[count] / SCORE_EDIT == found.scores[0] / SCORE_EDIT) {
        out[count] = found.names[count];
        count++;
    }
    return count;
}
