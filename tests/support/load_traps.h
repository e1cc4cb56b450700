/*
 * Memory of which every load is noticed, one instruction after the other, so that what others may
 * do to a mapped file at any time can be done at each time that makes a difference: before the
 * first load, the second, and so on. x86-64 Linux.
 */
#ifndef LOAD_TRAPS_H
#define LOAD_TRAPS_H

#include <stddef.h>
#include <stdint.h>

/* So many bytes, zeros, that end where a page ends that cannot be read; `size` is a multiple of
 * 64. There is one such memory at a time; NULL where loads cannot be noticed. */
uint8_t *load_traps_take(size_t size);
void load_traps_give(void);

/* From now on loads are counted. Before load number `at`, from 1, `change` is called with 0, and
 * before the next one with 1; from then on nothing is noticed any more. */
void load_traps_begin(size_t at, void (*change)(int step));

/* How many loads there were, and were noticed. */
size_t load_traps_end(void);

#endif
