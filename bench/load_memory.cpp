#include "load_memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace load
{

Meter *meter = nullptr;

namespace
{

void *map_memory(uint64_t size)
{
    void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("no memory for " + std::to_string(size) + " bytes", "mmap");
    return memory;
}

unsigned char *align_up(void *memory)
{
    return reinterpret_cast<unsigned char *>((uintptr_t(memory) + huge_page - 1) &
                                             ~uintptr_t(huge_page - 1));
}

void *meter_allocate(void *context, size_t size, size_t alignment)
{
    auto *here = static_cast<Meter *>(context);
    void *memory = nullptr;
    if (posix_memalign(&memory, std::max(alignment, sizeof(void *)), size) != 0) return nullptr;
    here->now += size;
    here->most = std::max(here->most, here->now);
    return memory;
}

void meter_release(void *context, void *memory, size_t size, size_t)
{
    static_cast<Meter *>(context)->now -= size;
    std::free(memory);
}

/* A line "Field:   123 kB" of a file of /proc/self, in bytes; -1 without it. */
int64_t proc_field(const char *path, const char *field)
{
    FILE *file = std::fopen(path, "r");
    if (file == nullptr) return -1;
    char line[256];
    int64_t value = -1;
    size_t size = std::strlen(field);
    while (value < 0 && std::fgets(line, sizeof line, file) != nullptr)
        if (std::strncmp(line, field, size) == 0 && line[size] == ':')
            value = std::strtoll(line + size + 1, nullptr, 10) * 1024;
    std::fclose(file);
    return value;
}

bool forget_peak()
{
    FILE *file = std::fopen("/proc/self/clear_refs", "w");
    if (file == nullptr) return false;
    bool written = std::fputs("5", file) >= 0;
    return std::fclose(file) == 0 && written;
}

MemoryUse look(const EngineRow &engine, const Job &job)
{
    MemoryUse use;
    Meter own;
    Timing timing;
    malloc_trim(0); /* memory that is free already would hide what the engine takes */
    if (!forget_peak()) return use;
    int64_t before = status_field("VmRSS"),
            huge = proc_field("/proc/self/smaps_rollup", "AnonHugePages");
    std::unique_ptr<Loaded> loaded = engine.run(job, timing);
    int64_t block = int64_t(loaded->block_size());
    use.peak_beyond = std::max(int64_t(0), status_field("VmHWM") - before - block);
    use.huge = std::max(int64_t(0), proc_field("/proc/self/smaps_rollup", "AnonHugePages") - huge);
    use.metadata = loaded->metadata_size();
    loaded.reset();
    meter = &own; /* a run of its own, since memory from hooks is in pages of another kind */
    loaded = engine.run(job, timing);
    if (own.most > 0) use.hooks_beyond = int64_t(own.most) - block;
    return use;
}

} // namespace

FreshMemory::FreshMemory(uint64_t size, bool huge)
    : mapping_(map_memory(size + huge_page)), mapped_(size + huge_page), data_(align_up(mapping_))
{
    madvise(data_, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

FreshMemory::~FreshMemory()
{
    munmap(mapping_, mapped_);
}

unsigned char *reused_memory(uint64_t size)
{
    static unsigned char *memory = nullptr;
    static uint64_t room = 0;
    if (size > room) {
        if (room > 0) fail("reused memory is asked for in growing sizes", "bench_load");
        room = size;
        memory = align_up(map_memory(size + huge_page));
        madvise(memory, size, MADV_HUGEPAGE);
        madvise(memory, size, MADV_DONTFORK);
        std::memset(memory, 1, size);
    }
    return memory;
}

void take_and_give_back(uint64_t size)
{
    static const bool reported = access("/sys/module/page_reporting", F_OK) == 0;
    FreshMemory memory(size, true);
    for (uint64_t at = 0; at < size; at += 4096) memory.data()[at] = 1;
    if (reported) std::this_thread::sleep_for(std::chrono::milliseconds(2200));
}

tare_allocator Meter::hooks()
{
    return {sizeof(tare_allocator), this, meter_allocate, meter_release};
}

int64_t status_field(const char *field)
{
    return proc_field("/proc/self/status", field);
}

MemoryUse measure_memory(const EngineRow &engine, const Job &job)
{
    MemoryUse use;
    int ends[2];
    if (pipe(ends) != 0) fail("no pipe", "bench_load");
    pid_t child = fork();
    if (child < 0) fail("no child process", "bench_load");
    if (child == 0) {
        use = look(engine, job);
        ssize_t written = write(ends[1], &use, sizeof use);
        _exit(written == ssize_t(sizeof use) ? 0 : 1);
    }
    close(ends[1]);
    if (read(ends[0], &use, sizeof use) != ssize_t(sizeof use))
        fail("its memory could not be measured", engine.name);
    close(ends[0]);
    waitpid(child, nullptr, 0);
    return use;
}

} // namespace load
