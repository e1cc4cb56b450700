/*
 * Loading tensors: from the path of a model to their bytes in memory.
 *
 *     warm/ENGINE/SET           all tensors, the file in the page cache
 *     warm_subset/ENGINE/SET    a random fifth of them in random order
 *     cold/ENGINE/SET           all tensors, no page of the file in the page cache
 *     cold_subset/ENGINE/SET
 *
 * SET is large (few tensors) or small (91,985 tensors). An iteration is one load, in real time;
 * giving memory back is not timed. The counter open_s is that part of the time which passed before
 * the engine knew where its tensors are; what an engine is given ready is not timed at all. Before
 * each iteration it is made sure, with mincore, that the page cache has all of the file or nothing,
 * and so much memory (when cold, for the page cache too) is taken, held until the system has told
 * its host of what was free before, and given back: a host that took memory away must give it
 * again, for which engines are not to blame. The first time that an engine loads something its
 * bytes are compared with the file's, and its need of memory is measured in a run of its own. The
 * allocator keeps nothing back between iterations: every load gets memory that the kernel has to
 * make anew.
 */
#include "load_files.h"
#include "load_memory.h"

#include "bench_main.h"

#include <malloc.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <set>

namespace
{

using namespace load;

struct Settings {
    std::string folder = TARE_BENCH_DATA;
    std::string python;
    uint64_t sizes[2] = {256 << 20, 256 << 20};
};

constexpr const char *sets[] = {"large", "small"};

struct Model {
    Job whole, some;
};

std::vector<unsigned> thread_counts()
{
    cpu_set_t own;
    unsigned all = 1;
    if (sched_getaffinity(0, sizeof own, &own) == 0) all = unsigned(CPU_COUNT(&own));
    std::set<unsigned> counts = {1, 2, all};
    return {counts.begin(), counts.end()};
}

/* Once for every engine and job: are its bytes right, and what memory does it need? */
void examine(benchmark::State &state, const EngineRow &engine, const Job &job, bool measured,
             std::unique_ptr<Loaded> &loaded)
{
    static std::set<std::pair<const EngineRow *, const Job *>> examined;
    if (!examined.insert({&engine, &job}).second) return;
    MemoryUse use;
    use.peak_beyond = loaded->peak_elsewhere();
    if (engine.checked && checksum_of(job, *loaded) != job.checksum)
        fail("loads other bytes than the file's", engine.name);
    if (!measured) return;
    if (use.peak_beyond < 0) {
        loaded.reset();
        use = measure_memory(engine, job);
    }
    const std::pair<const char *, int64_t> figures[] = {{"peak_beyond", use.peak_beyond},
                                                        {"hooks_beyond", use.hooks_beyond},
                                                        {"metadata", use.metadata},
                                                        {"huge", use.huge}};
    for (const auto &[name, value] : figures)
        if (value >= 0) state.counters[name] = double(value);
}

void prepare(const EngineRow &engine, const Job &job, bool cold)
{
    if (cold && make_cold(job.path) != 0) fail("its pages stay in the page cache", job.path);
    if (!cold && !make_warm(job.path)) fail("its pages do not stay in the page cache", job.path);
    take_and_give_back(engine.copies * job.size + job.size / 8 + (cold ? job.file_size : 0));
}

void run(benchmark::State &state, const EngineRow &engine, const Job &job, unsigned in)
{
    for (auto _ : state) {
        prepare(engine, job, (in & (COLD | COLD_SUBSET)) != 0);
        Timing timing;
        std::unique_ptr<Loaded> loaded = engine.run(job, timing);
        state.SetIterationTime(timing.open + timing.load);
        state.counters["open_s"] = timing.open;
        examine(state, engine, job, (engine.measured & in) != 0, loaded);
    }
    state.SetBytesProcessed(int64_t(state.iterations()) * int64_t(job.size));
    state.counters["bytes"] = double(job.size);
    state.counters["tensors"] = double(job.tensors.size());
}

void register_row(const EngineRow &engine, const Model &model, bool can_be_cold)
{
    static const std::pair<unsigned, const char *> states[] = {{WARM, "warm/"},
                                                               {WARM_SUBSET, "warm_subset/"},
                                                               {COLD, "cold/"},
                                                               {COLD_SUBSET, "cold_subset/"}};
    for (const auto &[in, text] : states) {
        if ((engine.states & in) == 0) continue;
        if ((in & (COLD | COLD_SUBSET)) != 0 && !can_be_cold) continue;
        const Job &job = (in & WHOLE) != 0 ? model.whole : model.some;
        benchmark::RegisterBenchmark(
            (text + engine.name + "/" + job.set).c_str(),
            [&engine, &job, in = in](benchmark::State &state) { run(state, engine, job, in); })
            ->UseManualTime()
            ->Iterations(1)
            ->Unit(benchmark::kMillisecond);
    }
}

/* Only the set that the filter asks for is made: models take time and room. */
void register_set(const Settings &settings, size_t set, std::deque<EngineRow> &engines)
{
    static std::deque<Model> models;
    std::string path = make_model(settings.folder, sets[set], settings.sizes[set]);
    models.push_back({make_job(sets[set], path, true), make_job(sets[set], path, false)});
    const Model &model = models.back();
    reused_memory(model.whole.file_size + 4096);

    bool direct = reads_directly(path), cold = make_cold(path) == 0;
    PeerText text;
    std::vector<unsigned> threads = thread_counts();
    for (std::vector<EngineRow> rows :
         {tare_engines(threads, direct), peer_engines(settings.python, model.whole.file_size, text),
          floor_engines(threads, direct)})
        for (EngineRow &row : rows) engines.push_back(std::move(row));
    for (const EngineRow &engine : engines) register_row(engine, model, cold);
    std::string counts;
    for (unsigned count : threads) counts += (counts.empty() ? "" : ", ") + std::to_string(count);
    benchmark::AddCustomContext("threads", counts);
    benchmark::AddCustomContext("rust", text.rust);
    benchmark::AddCustomContext("python", text.python);
    benchmark::AddCustomContext("cp", text.cp);
    benchmark::AddCustomContext("cold",
                                cold ? "pages dropped with posix_fadvise, none left by mincore"
                                     : "left out: the file system keeps pages in memory");
    benchmark::AddCustomContext("direct", direct ? "O_DIRECT" : "left out: no O_DIRECT here");
}

uint64_t size_option(int *count, char **arguments, const std::string &prefix, uint64_t size)
{
    for (const std::string &text : bench::take_options(count, arguments, prefix))
        size = std::strtoull(text.c_str(), nullptr, 10);
    return size;
}

} // namespace

int main(int argument_count, char **arguments)
{
    mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* setting it also keeps it from growing */
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    std::signal(SIGPIPE, SIG_IGN);
    Settings settings;
    for (const std::string &folder : bench::take_options(&argument_count, arguments, "--data="))
        settings.folder = folder;
    for (const std::string &path : bench::take_options(&argument_count, arguments, "--python="))
        settings.python = path;
    settings.sizes[0] = size_option(&argument_count, arguments, "--large_size=", settings.sizes[0]);
    settings.sizes[1] = size_option(&argument_count, arguments, "--small_size=", settings.sizes[1]);
    std::vector<std::string> wanted = bench::take_options(&argument_count, arguments, "--set=");
    mkdir(settings.folder.c_str(), 0777);
    std::deque<EngineRow> engines;
    std::string set = wanted.empty() ? "large" : wanted.back();
    if (set != "large" && set != "small") fail("no such set; there are large and small", set);
    register_set(settings, set == "small", engines);
    return bench::run(argument_count, arguments);
}
