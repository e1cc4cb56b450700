/* Work that several threads share for as long as one call lasts. There is no pool between calls:
 * starting a thread costs some ten microseconds, and a library that keeps threads must tell when
 * they end. */
#ifndef TAREI_POOL_H
#define TAREI_POOL_H

#include <stdint.h>

#define TAREI_POOL_THREADS_MAX 1024u

/*
 * Calls work(context, number) on up to `thread_count` threads at once, and returns when all of them
 * have returned. Number 0 is this thread, the others are those behind it. Where the host gives
 * fewer threads, fewer calls are made; the work must come to an end with any number of them.
 */
void tarei_pool_run(uint32_t thread_count, void (*work)(void *context, uint32_t number),
                    void *context);

#endif
