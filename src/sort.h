#ifndef TAREI_SORT_H
#define TAREI_SORT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Sorts `count` numbers: a stable merge sort that starts from the runs which are in order already,
 * so that n numbers in r runs take about n * log2(r) comparisons. libc's qsort may allocate behind
 * the hooks of a model, and may be quadratic. `scratch` has room for `count` numbers.
 */
void tarei_sort(uint32_t *items, uint32_t *scratch, uint32_t count,
                int (*compare)(const void *context, uint32_t a, uint32_t b), const void *context);

/* Which of two texts comes first, as memcmp tells; the shorter one where the other goes on. Either
 * may be NULL at size 0. */
int tarei_sort_compare(const void *a, size_t a_size, const void *b, size_t b_size);

#endif
