/*
 * A hash that collides on purpose. src/index.c is compiled again with it (TAREI_HASH) for the
 * program that includes this, so that every open and find of that program goes through it.
 */
#ifndef COLLIDING_HASH_H
#define COLLIDING_HASH_H

#include <stddef.h>
#include <stdint.h>

enum colliding_kind {
    COLLIDING_NOT,   /* a fair hash */
    COLLIDING_ALL,   /* one value */
    COLLIDING_SLOTS, /* one slot, fair tags */
    COLLIDING_LAST,  /* the last slot, so that probes go on at the first */
    COLLIDING_TAGS,  /* fair slots, one tag */
    COLLIDING_START, /* one value for all names that start with the same eight bytes */
};

/* The first `bad_seeds` seeds collide in that way, and later ones are fair. */
void colliding_set(enum colliding_kind kind, unsigned bad_seeds);

uint64_t colliding_hash(const void *name, size_t size, uint64_t seed);

#endif
