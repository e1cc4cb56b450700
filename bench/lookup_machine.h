/* What bench_lookup asks of the machine: caches without the table in them, another processor. */
#ifndef TARE_BENCH_LOOKUP_MACHINE_H
#define TARE_BENCH_LOOKUP_MACHINE_H

#include <cstddef>

namespace lookup
{

/* Bytes that evict_caches reads: four times the last level, 64 to 512 MiB. */
size_t evicted_size();

void evict_caches();

/* A processor other than the one that the main thread is on; -1 if there is none to be had. */
int other_processor();

/* The calling thread runs there from now on; false if the system refuses. */
bool move_to_processor(int processor);

} // namespace lookup

#endif
