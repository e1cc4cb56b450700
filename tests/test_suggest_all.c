/*
 * Names near to one that is not there, against a second implementation: slow and plain, by the
 * rules at tare_suggest and in suggest.c. It fills whole tables, and keeps every name and score.
 */
#include <stdlib.h>
#include <string.h>

#include "support/expect.h"
#include "support/temp_files.h"

enum { NAME_MAX_SIZE = 700, NAMES_MAX = 8, FAR = 1000000 };

static char lower(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* With every place of the table filled in. */
static uint32_t plain_distance(tare_string a, tare_string b)
{
    static uint32_t table[TARE_SUGGEST_SIZE_MAX + 1][TARE_SUGGEST_SIZE_MAX + 1];
    for (size_t i = 0; i <= a.size; i++) {
        for (size_t j = 0; j <= b.size; j++) {
            if (i == 0 || j == 0) {
                table[i][j] = (uint32_t)(i + j);
                continue;
            }
            char x = lower(a.data[i - 1]), y = lower(b.data[j - 1]);
            uint32_t best = table[i - 1][j - 1] + (x != y);
            best = smaller(best, smaller(table[i - 1][j], table[i][j - 1]) + 1);
            if (i > 1 && j > 1 && x == lower(b.data[j - 2]) && y == lower(a.data[i - 2]))
                best = smaller(best, table[i - 2][j - 2] + 1);
            table[i][j] = best;
        }
    }
    return table[a.size][b.size];
}

/* The text number `number` of those of two letters, the shortest first; in capitals where a bit of
 * `capitals` says so. */
static tare_string text_of(uint32_t number, uint32_t letters, uint32_t capitals, char *room)
{
    size_t size = 0;
    for (; number != 0; number = (number - 1) / letters, capitals >>= 1) {
        char letter = (char)('a' + (number - 1) % letters);
        room[size++] = (capitals & 1) != 0 ? (char)(letter - 'a' + 'A') : letter;
    }
    return (tare_string){room, size};
}

static void check_distances(uint32_t letters, uint32_t count, uint32_t bound_max)
{
    char rooms[2][16];
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < count; j++) {
            tare_string a = text_of(i, letters, 0, rooms[0]);
            tare_string b = text_of(j, letters, i ^ j, rooms[1]);
            uint32_t wanted = plain_distance(a, b);
            for (uint32_t bound = 0; bound <= bound_max; bound++) {
                uint32_t got = tare_name_distance(a, b, bound);
                if (got != smaller(wanted, bound + 1))
                    cr_assert(false, "%.*s, %.*s within %u: %u, not %u", (int)a.size, a.data,
                              (int)b.size, b.data, bound, got, wanted);
            }
        }
    }
}

/* Of two letters up to six of them, and of three up to four. */
Test(suggest_all, distances_of_all_short_texts)
{
    check_distances(2, 127, 7);
    check_distances(3, 121, 5);
}

static bool separates(char letter)
{
    return letter == '.' || letter == '/';
}

/* Whether `part` stands in `name` at `at` as whole components, or with an open end. */
static bool stands_at(tare_string name, size_t at, tare_string part, bool open_end)
{
    if (at + part.size > name.size || (at > 0 && !separates(name.data[at - 1]))) return false;
    for (size_t i = 0; i < part.size; i++)
        if (name.data[at + i] != part.data[i]) return false;
    return open_end || at + part.size == name.size || separates(name.data[at + part.size]);
}

/* Of a prefix: up to where the asked text ends in the name; without it, as many whole components as
 * were asked for and of the next as many letters. */
static tare_string start_of(tare_string name, tare_string asked)
{
    for (size_t at = 0; at < name.size; at++)
        if (stands_at(name, at, asked, true)) return (tare_string){name.data, at + asked.size};
    size_t components = 0, letters = 0, end = 0;
    for (size_t i = 0; i < asked.size; i++) components += separates(asked.data[i]);
    for (size_t i = asked.size; i > 0 && !separates(asked.data[i - 1]); i--) letters++;
    while (components > 0 && end < name.size)
        if (separates(name.data[end++])) components--;
    while (letters > 0 && end < name.size && !separates(name.data[end])) end++, letters--;
    return (tare_string){name.data, end};
}

static uint32_t score_more(size_t edits, size_t more)
{
    return (uint32_t)(64 * edits + (more < 63 ? more : 63));
}

static uint32_t plain_score(tare_string name, tare_string asked, bool as_prefix)
{
    uint32_t bound = smaller(5, 1 + (uint32_t)(asked.size / 5)), score = FAR;
    uint32_t edits = plain_distance(name, asked);
    if (edits <= bound) score = 64 * edits;
    for (size_t at = 0; at < name.size; at++) {
        if (!stands_at(name, at, asked, false)) continue;
        bool inside = at > 0 && at + asked.size < name.size;
        score = smaller(score, score_more(inside ? 2 : 1, name.size - asked.size));
        break; /* where it stands first */
    }
    if (asked.size > name.size && name.size > 0 &&
        stands_at(asked, asked.size - name.size, name, false))
        score = smaller(score, score_more(1, asked.size - name.size));
    for (size_t i = 0; i < name.size && !as_prefix; i++) {
        if (!separates(name.data[i])) continue;
        edits = 1 + plain_distance((tare_string){name.data + i + 1, name.size - i - 1}, asked);
        if (edits <= bound) score = smaller(score, 64 * edits);
        break;
    }
    return score;
}

typedef struct results {
    tare_string names[NAMES_MAX];
    uint32_t scores[NAMES_MAX];
    size_t count;
} results;

static void add(results *found, tare_string name, uint32_t score)
{
    size_t at = found->count;
    for (size_t i = 0; i < found->count; i++)
        if (name.size == found->names[i].size &&
            memcmp(name.data, found->names[i].data, name.size) == 0)
            return;
    for (found->count++; at > 0 && found->scores[at - 1] > score; at--) {
        found->names[at] = found->names[at - 1];
        found->scores[at] = found->scores[at - 1];
    }
    found->names[at] = name;
    found->scores[at] = score;
}

/* All that are near, the nearest first, and of the same score in the order of the model. */
static size_t plain_suggest(const tare_model *model, tare_string asked, bool as_prefix,
                            results *found)
{
    found->count = 0;
    for (size_t i = 0; i < tare_count(model); i++) {
        tare_string name = tare_name(model, tare_at(model, i));
        if (name.size > TARE_SUGGEST_SIZE_MAX) {
            if (!as_prefix) continue;
            name.size = TARE_SUGGEST_SIZE_MAX;
        }
        if (as_prefix) name = start_of(name, asked);
        uint32_t score = plain_score(name, asked, as_prefix);
        if (score != FAR) add(found, name, score);
    }
    size_t count = 0;
    while (count < found->count && count < TARE_SUGGEST_COUNT &&
           found->scores[count] / 64 == found->scores[0] / 64)
        count++;
    return count;
}

static void check_suggestions(const tare_model *model, tare_string asked)
{
    for (uint32_t flags = 0; flags <= TARE_SUGGEST_PREFIX; flags++) {
        results wanted;
        tare_string out[TARE_SUGGEST_COUNT];
        size_t wanted_count = plain_suggest(model, asked, flags != 0, &wanted);
        size_t count = tare_suggest(model, asked.data, asked.size, flags, out);
        if (count != wanted_count)
            cr_assert(false, "'%.*s', %u: %zu of them, not %zu", (int)asked.size, asked.data, flags,
                      count, wanted_count);
        for (size_t i = 0; i < count && i < wanted_count; i++)
            if (out[i].size != wanted.names[i].size ||
                memcmp(out[i].data, wanted.names[i].data, out[i].size) != 0)
                cr_assert(false, "'%.*s', %u: %zu is '%.*s', not '%.*s'", (int)asked.size,
                          asked.data, flags, i, (int)out[i].size, out[i].data,
                          (int)wanted.names[i].size, wanted.names[i].data);
    }
}

static uint32_t chance(uint32_t limit)
{
    static uint64_t state = 20010911;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33) % limit;
}

/* Of few letters, and at times as long as what counts beside the edits. */
static void add_component(char *name)
{
    static const char *const parts[] = {"a", "b", "ab", "ba", "abc", "layers", "abcde", "1", ""};
    size_t size = strlen(name), more = chance(40) == 0 ? 58 + chance(10) : 0;
    memset(name + size, 'x', more);
    strcpy(name + size + more, parts[chance(9)]);
}

static void make_name(char *name)
{
    name[0] = 0;
    for (uint32_t left = 1 + chance(4); left > 0; left--) {
        add_component(name);
        if (left > 1) strcat(name, chance(4) != 0 ? "." : "/");
    }
}

static void edit(char *name)
{
    size_t size = strlen(name), at = size > 0 ? chance((uint32_t)size) : 0;
    char letter = "abAB.xl0"[chance(8)], held = name[at];
    switch (size == 0 ? 0 : chance(5)) {
    case 0: memmove(name + at + 1, name + at, size - at + 1), name[at] = letter; return;
    case 1: memmove(name + at, name + at + 1, size - at); return;
    case 2: name[at] = letter; return;
    case 3: name[at] = held >= 'a' && held <= 'z' ? (char)(held - 'a' + 'A') : held; return;
    default:
        if (at > 0) name[at] = name[at - 1], name[at - 1] = held;
    }
}

/* With more components in front and behind, or with an edit or two. */
static void make_near(char *name, const char *other)
{
    bool inside = chance(4) == 0;
    strcat(strcat(strcpy(name, inside ? "b/" : ""), other), inside ? ".x" : "");
    for (uint32_t left = inside ? 0 : 1 + chance(2); left > 0; left--) edit(name);
}

/* A name of the model with edits, with components more or fewer in front or behind. */
static void make_asked(char *asked, const char *name)
{
    const char *dot = strchr(name, '.');
    strcpy(asked, name);
    uint32_t way = chance(6);
    if (way == 0) make_name(asked);
    if (way == 1 && dot != NULL) strcpy(asked, dot + 1);
    if (way == 2 && strrchr(asked, '.') != NULL) strrchr(asked, '.')[chance(2)] = 0;
    if (way == 3) strcat(strcpy(asked, "ab."), name);
    for (uint32_t left = chance(4); left > 0; left--) edit(asked);
}

Test(suggest_all, suggestions_are_those_of_the_plain_way)
{
    for (uint32_t round = 0; round < 800; round++) {
        char names[NAMES_MAX][NAME_MAX_SIZE], asked[NAME_MAX_SIZE];
        tare_pair pairs[NAMES_MAX];
        size_t count = 0;
        for (uint32_t left = 1 + chance(NAMES_MAX); left > 0; left--) {
            bool again = false;
            if (count > 0 && chance(2) == 0)
                make_near(names[count], names[chance((uint32_t)count)]);
            else
                make_name(names[count]);
            for (size_t i = 0; i < count; i++) again |= strcmp(names[i], names[count]) == 0;
            pairs[count] = (tare_pair){names[count], strlen(names[count]), "", 0};
            count += !again;
        }
        tare_model *model = expect_no_model();
        cr_assert_eq(tare_open_pairs(pairs, count, NULL, &model, NULL), TARE_OK);
        for (uint32_t left = 8; left > 0; left--) {
            make_asked(asked, names[chance((uint32_t)count)]);
            if (asked[0] == 0) continue;
            char *copy = temp_copy(asked, strlen(asked)); /* for AddressSanitizer */
            check_suggestions(model, (tare_string){copy, strlen(asked)});
            free(copy);
        }
        tare_close(model);
    }
}

/* Of two that go on behind it by so many bytes, around what counts as an edit. */
Test(suggest_all, what_comes_behind_counts_byte_by_byte_up_to_an_edit)
{
    char names[2][NAME_MAX_SIZE];
    for (size_t first = 60; first < 68; first++) {
        for (size_t second = 60; second < 68; second++) {
            memset(names, 'x', sizeof names);
            memcpy(names[0], "ab.y", 4);
            memcpy(names[1], "ab.z", 4);
            tare_pair pairs[] = {{names[0], first + 2, "", 0}, {names[1], second + 2, "", 0}};
            tare_model *model = expect_no_model();
            cr_assert_eq(tare_open_pairs(pairs, 2, NULL, &model, NULL), TARE_OK);
            check_suggestions(model, (tare_string){"ab", 2});
            tare_close(model);
        }
    }
}

Test(suggest_all, more_before_and_behind_is_as_far_as_two_edits)
{
    const tare_pair pairs[] = {{"x.abcde.y", 9, "", 0}, {"abxxe", 5, "", 0}};
    tare_model *model = expect_no_model();
    tare_string out[TARE_SUGGEST_COUNT];
    cr_assert_eq(tare_open_pairs(pairs, 2, NULL, &model, NULL), TARE_OK);
    cr_assert_eq(tare_suggest(model, "abcde", 5, 0, out), 2);
    cr_expect_eq(out[0].size, 5, "without more bytes");
    check_suggestions(model, (tare_string){"abcde", 5});
    tare_close(model);
}

/* A byte shorter and longer than what is looked at, with what is asked for in the last places. */
Test(suggest_all, of_the_longest_names)
{
    static const char *const ends[] = {"", "a", ".a", "/ab.c"};
    char name[NAME_MAX_SIZE], asked[NAME_MAX_SIZE];
    for (size_t size = TARE_SUGGEST_SIZE_MAX - 2; size <= TARE_SUGGEST_SIZE_MAX + 2; size++) {
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
            memset(name, 'x', size);
            strcpy(name + size - strlen(ends[i]), ends[i]);
            tare_model *model = expect_no_model();
            tare_pair pair = {name, size, "", 0};
            cr_assert_eq(tare_open_pairs(&pair, 1, NULL, &model, NULL), TARE_OK);
            check_suggestions(model, (tare_string){"a", 1});
            check_suggestions(model, (tare_string){"ab", 2});
            for (size_t asked_size = size - 1; i == 0 && asked_size <= TARE_SUGGEST_SIZE_MAX;
                 asked_size++) {
                memset(asked, 'x', asked_size);
                asked[asked_size - 3] = 'y';
                check_suggestions(model, (tare_string){asked, asked_size});
            }
            tare_close(model);
        }
    }
}
