/*
 * Memory that changes as soon as it was looked at. What includes this before anything else (the
 * option -include) loads through it what it should load once: a second look, whichever way, finds
 * something else.
 */
#ifndef FICKLE_H
#define FICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "check.h"

/* From now on every number grows by so much, wrapping, once it is loaded. */
void fickle_begin(uint64_t change);

/* All is as it was. Returns how many numbers were loaded. */
size_t fickle_end(void);

uint32_t fickle_32(const uint32_t *from);
uint64_t fickle_64(const uint64_t *from);

#define tarei_once_32(from) fickle_32(from)
#define tarei_once_64(from) fickle_64(from)

#endif
