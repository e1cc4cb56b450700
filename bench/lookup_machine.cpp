#include "lookup_machine.h"

#include <benchmark/benchmark.h>

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace lookup
{

/* sysconf is wrong about some virtual machines; the benchmark library reads what Linux says. */
size_t evicted_size()
{
    constexpr size_t mebibyte = 1 << 20;
    size_t largest = 0;
    for (const benchmark::CPUInfo::CacheInfo &cache : benchmark::CPUInfo::Get().caches)
        largest = std::max(largest, (size_t)cache.size);
    return std::clamp(largest * 4, 64 * mebibyte, 512 * mebibyte);
}

void evict_caches()
{
    static const std::vector<uint64_t> memory(evicted_size() / sizeof(uint64_t), 1);
    uint64_t sum = 0;
    for (size_t i = 0; i < memory.size(); i += 64 / sizeof(uint64_t)) sum += memory[i];
    benchmark::DoNotOptimize(sum);
}

bool move_to_processor(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)processor, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

/* The process may be bound to one processor, which binds threads only until they ask for
 * another. */
int other_processor()
{
    static const int found = [] {
        int here = sched_getcpu(), other = -1;
        long count = std::min(sysconf(_SC_NPROCESSORS_CONF), (long)CPU_SETSIZE);
        std::thread([&] {
            for (int i = 0; i < count && other < 0; i++)
                if (i != here && move_to_processor(i)) other = i;
        }).join();
        return other;
    }();
    return found;
}

void run_in_thread(const std::function<void()> &what)
{
    auto run = [](void *context) -> void * {
        (*static_cast<const std::function<void()> *>(context))();
        return nullptr;
    };
    pthread_t thread;
    if (pthread_create(&thread, nullptr, run, const_cast<std::function<void()> *>(&what)) != 0) {
        std::fprintf(stderr, "bench_lookup: no thread\n");
        std::exit(1);
    }
    pthread_join(thread, nullptr);
}

} // namespace lookup
