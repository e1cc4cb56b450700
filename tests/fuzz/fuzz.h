/*
 * Fuzz targets. Each fuzz_<target>.c defines LLVMFuzzerTestOneInput, which takes any bytes as one
 * input and ends the program where the library breaks a promise. libFuzzer makes inputs up
 * (./x fuzz TARGET SECONDS); fuzz_replay.c gives it those of a folder, with any compiler.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libFuzzer's own changes, and what a target may have in their place: both return the new size. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);

#define FUZZ_CHECK(condition)                                                         \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "%s:%d: %s is not so\n", __FILE__, __LINE__, #condition); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

/*
 * Opens the file in memory, and through a reader that answers in pieces of `piece` bytes; both must
 * come to the same verdict, with memory in proportion to `size`. A model is asked everything there
 * is to ask: what it says must agree with itself, and every byte that it hands out is read.
 * Returns whether the file was accepted.
 */
int fuzz_file(const uint8_t *data, size_t size, size_t piece);

/* The same of the bytes where they lie, in memory alone. */
int fuzz_bytes(const uint8_t *data, size_t size);

/* The most that opening a file of so many bytes may take from hooks at one time. */
uint64_t fuzz_memory_bound(uint64_t size);

/* Everything of an open model, of a file of that many bytes; 0 for pairs. */
void fuzz_model(const tare_model *model, uint64_t file_size);

/* A copy of just that size, so that AddressSanitizer sees the first byte too far. Free it. */
void *fuzz_copy(const uint8_t *data, size_t size);

#endif
