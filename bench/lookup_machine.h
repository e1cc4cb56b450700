/* What bench_lookup asks of the machine: caches without the table in them, another processor,
 * another thread. */
#ifndef TARE_BENCH_LOOKUP_MACHINE_H
#define TARE_BENCH_LOOKUP_MACHINE_H

#include <cstddef>
#include <functional>

namespace lookup
{

/* Bytes that evict_caches reads: four times the last level, 64 to 512 MiB. */
size_t evicted_size();

void evict_caches();

/* A processor other than the one that the main thread is on; -1 if there is none to be had. */
int other_processor();

/* The calling thread runs there from now on; false if the system refuses. */
bool move_to_processor(int processor);

/* Returns when it has run in a thread of its own, for which nothing is allocated. */
void run_in_thread(const std::function<void()> &what);

} // namespace lookup

#endif
