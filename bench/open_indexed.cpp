#include "open_indexed.h"

#include "tare.h"
#ifdef TARE_BENCH_RUST
#include "rust_peers.h"
#endif

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace opening
{

namespace
{

using Clock = std::chrono::steady_clock;

constexpr int process_count = 8;

[[noreturn]] void fail(const char *what, const std::string &path)
{
    std::fprintf(stderr, "bench_open: %s: %s\n", path.c_str(), what);
    std::exit(1);
}

const std::string &path_of(const SetFiles &files, IndexedWay way)
{
    return way.sharded ? files.folder : files.single;
}

/* Not where tare_open looks by itself: other engines must not find it. */
std::string index_path_of(const SetFiles &files, IndexedWay way)
{
    return path_of(files, way) + (way.sharded ? ".shards.idx" : ".idx");
}

tare_options options_of(IndexedWay way, const std::string &index_path)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.index = way.indexed ? TARE_INDEX_REQUIRE : TARE_INDEX_NEVER;
    options.index_path = way.indexed ? index_path.c_str() : nullptr;
    return options;
}

/* Makes the index file, once a run, and tells a name from the middle of the model. */
std::string prepare(const SetFiles &files, IndexedWay way)
{
    static std::map<std::string, std::string> made;
    const std::string &path = path_of(files, way);
    std::string key = way.indexed ? index_path_of(files, way) : path;
    if (made.count(key) != 0) return made[key];
    tare_options options = TARE_OPTIONS_INIT;
    options.index = TARE_INDEX_NEVER;
    tare_model *model;
    tare_error error;
    if (tare_open(path.c_str(), &options, &model, &error) != TARE_OK) fail(error.message, path);
    if (way.indexed &&
        tare_index_save(model, index_path_of(files, way).c_str(), nullptr, &error) != TARE_OK)
        fail(error.message, path);
    tare_string name = tare_name(model, tare_at(model, tare_count(model) / 2));
    std::string copy(name.data, name.size);
    tare_close(model);
    made[key] = copy;
    return copy;
}

/* Its pages are clean and mapped by nobody, so that they go. */
void drop_cache(const std::string &path)
{
    int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0 || posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) fail("not dropped", path);
    close(file);
}

tare_model *open_and_find(const std::string &path, const tare_options &options,
                          const std::string &name)
{
    tare_model *model;
    tare_error error;
    if (tare_open(path.c_str(), &options, &model, &error) != TARE_OK) fail(error.message, path);
    const tare_tensor *tensor = tare_find(model, name.data(), name.size());
    if (tensor == nullptr || tare_data(model, tensor) == nullptr) fail("not found", path);
    return model;
}

/* Bytes that only this process has in memory. */
uint64_t private_size()
{
    FILE *rollup = std::fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    uint64_t sum = 0;
    unsigned long long kib;
    if (rollup == nullptr) return 0;
    while (std::fgets(line, sizeof line, rollup) != nullptr)
        if (std::sscanf(line, "Private_Clean: %llu", &kib) == 1 ||
            std::sscanf(line, "Private_Dirty: %llu", &kib) == 1)
            sum += kib * 1024;
    std::fclose(rollup);
    return sum;
}

struct Meeting {
    std::atomic<int> arrived[3];
    std::atomic<uint64_t> own[process_count];
};

/* Waits until all are there. */
void meet(Meeting *meeting, int which)
{
    meeting->arrived[which]++;
    while (meeting->arrived[which] < process_count) usleep(200);
}

[[noreturn]] void be_one(Meeting *meeting, int number, const std::string &path,
                         const tare_options &options, const std::string &name)
{
    /* What the program's own first steps take, its heap and stack being copies after the fork, is
     * not the model's: it is opened twice, and the second time counts. */
    open_and_find(path, options, name);
    private_size();
    meet(meeting, 0);
    uint64_t before = private_size();
    open_and_find(path, options, name);
    meet(meeting, 1);
    uint64_t now = private_size();
    meeting->own[number] = now > before ? now - before : 0;
    meet(meeting, 2);
    _exit(0);
}

} // namespace

void open_indexed(benchmark::State &state, const SetFiles &files, IndexedWay way)
{
    std::string name = prepare(files, way), index_path = index_path_of(files, way);
    const std::string &path = path_of(files, way);
    tare_options options = options_of(way, index_path);
    for (auto _ : state) {
        if (way.cold) drop_cache(index_path);
        tare_model *model;
        Clock::time_point start = Clock::now();
        if (way.first)
            model = open_and_find(path, options, name);
        else if (tare_open(path.c_str(), &options, &model, nullptr) != TARE_OK)
            fail("not opened", path);
        state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count());
        if (tare_count(model) != files.count) fail("another number of tensors", path);
        tare_close(model);
    }
    struct stat facts;
    if (way.indexed && stat(index_path.c_str(), &facts) == 0)
        state.counters["index_file_size"] = double(facts.st_size);
}

#ifdef TARE_BENCH_RUST
void open_crate(benchmark::State &state, const SetFiles &files)
{
    std::string name = prepare(files, {false, false, false, true});
    for (auto _ : state) {
        Clock::time_point start = Clock::now();
        void *file = rust_file_open(files.single.data(), files.single.size());
        uint64_t place = file != nullptr ? rust_file_find(file, name.data(), name.size()) : 0;
        state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count());
        if (place == 0) fail("refused by the safetensors crate", files.single);
        rust_file_free(file);
    }
}
#endif

void open_in_eight(benchmark::State &state, const SetFiles &files, IndexedWay way)
{
    std::string name = prepare(files, way), index_path = index_path_of(files, way);
    tare_options options = options_of(way, index_path);
    void *memory =
        mmap(nullptr, sizeof(Meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("no memory", index_path);
    auto *meeting = static_cast<Meeting *>(memory);
    uint64_t most = 0;
    for (auto _ : state) {
        new (meeting) Meeting{};
        Clock::time_point start = Clock::now();
        for (int i = 0; i < process_count; i++)
            if (fork() == 0) be_one(meeting, i, path_of(files, way), options, name);
        for (int i = 0; i < process_count; i++) {
            int status;
            if (wait(&status) < 0 || status != 0) fail("a process failed", index_path);
        }
        state.SetIterationTime(std::chrono::duration<double>(Clock::now() - start).count());
        for (int i = 0; i < process_count; i++) most = std::max<uint64_t>(most, meeting->own[i]);
    }
    state.counters["private_size"] = double(most);
    munmap(memory, sizeof(Meeting));
}

} // namespace opening
