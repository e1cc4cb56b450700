/*
 * XXH3 of names, inline. Those of usual size, 17 to 64 bytes, are hashed by the formula of XXH3 for
 * that size alone, with the seed worked into the secret beforehand: a quarter fewer instructions
 * for the same value as XXH3_64bits_withSeed, which does the others. A test compares them.
 */
#ifndef TAREI_NAME_HASH_H
#define TAREI_NAME_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "check.h"
#include "index.h"

static inline void tarei_name_seed_init(tarei_name_seed *to, uint64_t seed)
{
    to->seed = seed;
    for (size_t i = 0; i < TAREI_NAME_SEED_WORDS; i += 2) {
        to->words[i] = tarei_load_le64(XXH3_kSecret + 8 * i) + seed;
        to->words[i + 1] = tarei_load_le64(XXH3_kSecret + 8 * i + 8) - seed;
    }
}

/* The sum with 16 more bytes mixed in. */
static inline uint64_t tarei_name_hash_mix(uint64_t sum, const char *bytes, const uint64_t *words)
{
    sum += XXH3_mul128_fold64(tarei_load_le64(bytes) ^ words[0],
                              tarei_load_le64(bytes + 8) ^ words[1]);
#if defined(__GNUC__)
    __asm__("" : "+r"(sum)); /* one product after the other, or too few registers are left */
#endif
    return sum;
}

/* Of 17 to 64 bytes. */
static inline uint64_t tarei_name_hash_usual(const tarei_name_seed *seed, const char *name,
                                             size_t size)
{
    const char *last = name + size - 16;
    uint64_t sum = tarei_name_hash_mix(size * XXH_PRIME64_1, name, seed->words);
    sum = tarei_name_hash_mix(sum, last, seed->words + 2);
    if (size > 32) {
        sum = tarei_name_hash_mix(sum, name + 16, seed->words + 4);
        sum = tarei_name_hash_mix(sum, last - 16, seed->words + 6);
    }
    return XXH3_avalanche(sum);
}

static inline uint64_t tarei_name_hash(const tarei_name_seed *seed, const char *name, size_t size)
{
    return tarei_name_is_usual(size) ? tarei_name_hash_usual(seed, name, size)
                                     : XXH3_64bits_withSeed(name, size, seed->seed);
}

#endif
