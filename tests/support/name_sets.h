/*
 * Sets of names to find, names that look like them, and a second opinion on which is which that
 * shares nothing with the library's index.
 */
#ifndef NAME_SETS_H
#define NAME_SETS_H

#include <stddef.h>
#include <stdint.h>

#include "tare.h"

typedef struct name_set {
    tare_string *names; /* each in memory of its own */
    uint32_t *shards;   /* of each name; all 0 where the set has none */
    uint32_t *sorted;   /* places of the names in byte order */
    size_t count;
    size_t capacity;
} name_set;

typedef struct name_set_kind {
    const char *what;
    name_set (*make)(void);
    int utf8; /* so that a safetensors file can hold them */
} name_set_kind;

extern const name_set_kind name_set_kinds[];
extern const size_t name_set_kind_count;

/* The sets that tests name. Free them. Names are distinct. */
name_set name_set_deepseek(void);   /* about 92,000, in the manner of a DeepSeek-V3 */
name_set name_set_collisions(void); /* 2,000 with one XXH64 value under every seed */
name_set name_set_qwen(void);       /* 22,213 of a published model, with their shards */
name_set name_set_mixtral(void);    /* 1,739 likewise */
name_set name_set_text(void);       /* 1,000 random ones of printable ASCII */
name_set name_set_groups(size_t count, size_t group); /* so many share their first eight bytes */
void name_set_free(name_set *set);

#define NAME_ABSENT SIZE_MAX

/* Place of the name: by binary search, and by looking at every one. */
size_t name_set_find(const name_set *set, const char *name, size_t size);
size_t name_set_scan(const name_set *set, const char *name, size_t size);

/* Byte order, the shorter first where one is the start of the other. */
int name_compare(const char *a, size_t a_size, const char *b, size_t b_size);

/* The name changed in one of several ways, such as a byte less or another case. `target` has room
 * for one byte more than the name. NAME_ABSENT where that way does not apply. */
enum { NAME_LOOK_ALIKE_COUNT = 9 };
size_t name_look_alike(const tare_string *name, unsigned way, char *target);

/* Places 0 to count-1 in an order that looks random and is always the same. Free it. */
uint32_t *name_shuffle(size_t count);

/* xorshift64* (Vigna): the same numbers on every host. `state` is not 0. */
uint64_t name_random(uint64_t *state);

#endif
