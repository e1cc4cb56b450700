/* Memory that loaders write to, and what the process has of it. */
#ifndef TARE_BENCH_LOAD_MEMORY_H
#define TARE_BENCH_LOAD_MEMORY_H

#include "load_frame.h"

#include "tare.h"

#include <chrono>

namespace load
{

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr uint64_t huge_page = 2 << 20;

/* Memory that the kernel has to make when it is written to: aligned to 2 MiB, in pages of one kind
 * as far as the kernel goes along. */
class FreshMemory
{
  public:
    FreshMemory(uint64_t size, bool huge);
    ~FreshMemory();
    FreshMemory(const FreshMemory &) = delete;
    FreshMemory &operator=(const FreshMemory &) = delete;

    unsigned char *data()
    {
        return data_;
    }

  private:
    void *mapping_;
    uint64_t mapped_;
    unsigned char *data_;
};

/* Memory that is there already, huge pages where they are to be had, the same for every caller.
 * Aligned to 2 MiB. Children do not get it. */
unsigned char *reused_memory(uint64_t size);

/* Takes so much memory and gives it back, since a host that took free memory from this machine has
 * to give it again before a load is timed: such pages are ten times slower to have. Where Linux
 * reports free pages to the host (page_reporting), it does so two seconds after some became free.
 * The memory is held until that has happened, so that it does not happen while a load is timed. */
void take_and_give_back(uint64_t size);

/* While there is a meter, tare's engines hand these hooks to the library. */
struct Meter {
    uint64_t now = 0;
    uint64_t most = 0;
    tare_allocator hooks();
};
extern Meter *meter;

struct MemoryUse {
    int64_t peak_beyond = -1;  /* bytes that the process grew by at most, beyond the block */
    int64_t hooks_beyond = -1; /* the same by the allocation hooks, of engines that have them */
    int64_t metadata = -1;     /* Loaded::metadata_size */
    int64_t huge = -1;         /* bytes of anonymous memory in huge pages at the end */
};

/* Runs an engine once more in a child process and looks at what that takes. */
MemoryUse measure_memory(const EngineRow &engine, const Job &job);

/* The same for an engine that did so elsewhere already: a field of /proc/PID/status in bytes. */
int64_t status_field(const char *field);

} // namespace load

#endif
