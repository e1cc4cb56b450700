/*
 * Opening models, their files in the page cache: from a path to a model that can be asked.
 *
 *     open/tare/SET                   tare_open of one file
 *     open/tare_sharded/SET           tare_open of the folder of shards
 *     open/tare_read_backing/SET      tare_open of one file, never mapped
 *     open/read_only/SET              the floor: the header's bytes read into fresh memory
 *     open/read_and_scan_quotes/SET   the same, and memchr from quote to quote over them
 *     open/cjson_parse/SET            cJSON_ParseWithLength alone, the header being in memory
 *     open/tare_first/SET             tare_open, tare_find of one name, tare_data
 *     open/indexed/SET                tare_open with an index file; _first, _sharded as above
 *     open/indexed_cold/SET           indexed_first, the index file not in the page cache
 *     open/indexed_processes/SET      eight processes at once: how much memory is each one's own
 *     open/tare_processes/SET         the same without an index file
 *     open/safetensors_crate/SET      the crate's deserialize of a mapped file, and one
 *                                     tensor(name)
 *     open/safetensors_python/SET     safe_open and one get_slice, in a process of its own
 *     open/gguf_loop/SET              a plain reader in the style of ggml's: gguf_loop.h
 *     open/gguf_python/SET            the Python package gguf, in a process of its own
 *
 * SET is S, M, L, 1000, shards_74 (139,000 tensors in 74 shards), or million: 1,700,000 tensors of
 * no elements in a header of the largest size; or gguf_300, gguf_5900, gguf_40000: GGUF files of so
 * many tensors, and gguf_vocabulary: one of 300 and a vocabulary of 128,000 tokens. gguf_python is
 * there where --python= names a Python that has the package. An iteration is one opening; closing,
 * and giving memory back, is not timed. The allocator is told to keep nothing back between
 * iterations: every opening gets memory the kernel has to make anew, as the one opening in a
 * program's life does.
 */
#include "bench_main.h"
#include "gguf_loop.h"
#include "open_files.h"
#include "open_indexed.h"

#include <benchmark/benchmark.h>
#include <cjson/cJSON.h>

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

namespace
{

using opening::SetFiles;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

[[noreturn]] void fail(const char *what, const std::string &path)
{
    std::fprintf(stderr, "bench_open: %s: %s\n", path.c_str(), what);
    std::exit(1);
}

/* An allocator that knows how much is out, and how much was at most. */

struct Meter {
    size_t now = 0;
    size_t most = 0;
};

void *meter_allocate(void *context, size_t size, size_t alignment)
{
    auto *meter = static_cast<Meter *>(context);
    void *memory = nullptr;
    if (posix_memalign(&memory, std::max(alignment, sizeof(void *)), size) != 0) return nullptr;
    meter->now += size;
    meter->most = std::max(meter->most, meter->now);
    return memory;
}

void meter_release(void *context, void *memory, size_t size, size_t)
{
    static_cast<Meter *>(context)->now -= size;
    std::free(memory);
}

/* tare */

tare_model *open_checked(const std::string &path, const tare_options &options, uint64_t count)
{
    tare_model *model;
    tare_error error;
    if (tare_open(path.c_str(), &options, &model, &error) != TARE_OK) fail(error.message, path);
    if (tare_count(model) != count) fail("opened with another number of tensors", path);
    return model;
}

/* What one opening takes and leaves, by the model's own account and by its allocator. */
void report_memory(benchmark::State &state, const std::string &path, tare_options options,
                   uint64_t count)
{
    Meter meter;
    tare_allocator allocator = {sizeof allocator, &meter, meter_allocate, meter_release};
    options.allocator = &allocator;
    tare_model *model = open_checked(path, options, count);
    tare_stat stat = {};
    stat.struct_size = sizeof stat;
    tare_model_stat(model, &stat);
    state.counters["memory_peak"] = double(meter.most);
    state.counters["memory_held"] = double(meter.now);
    state.counters["memory_names"] = double(stat.name_size);
    state.counters["memory_shapes"] = double(stat.shape_size);
    state.counters["memory_records"] = double(stat.record_size);
    state.counters["memory_index"] = double(stat.index_size);
    state.counters["bytes_per_tensor"] =
        double(meter.now - stat.name_size - stat.shape_size) / double(count);
    tare_close(model);
    if (meter.now != 0) fail("tare_close left memory", path);
}

/* Pages that the kernel had to make for this process, or to show it, so far. */
long page_faults()
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_minflt : 0;
}

void open_tare(benchmark::State &state, const std::string &path, uint32_t backing, uint64_t count)
{
    tare_options options = TARE_OPTIONS_INIT;
    options.backing = backing;
    long faults = 0;
    for (auto _ : state) {
        long before = page_faults();
        Clock::time_point start = Clock::now();
        tare_model *model;
        tare_status status = tare_open(path.c_str(), &options, &model, nullptr);
        state.SetIterationTime(seconds_since(start));
        faults += page_faults() - before;
        if (status != TARE_OK || tare_count(model) != count) fail("not opened", path);
        tare_close(model);
    }
    report_memory(state, path, options, count);
    state.counters["page_faults"] = double(faults) / double(state.iterations());
}

void open_single(benchmark::State &state, const SetFiles &files)
{
    open_tare(state, files.single, TARE_BACKING_AUTO, files.count);
}

void open_sharded(benchmark::State &state, const SetFiles &files)
{
    open_tare(state, files.folder, TARE_BACKING_AUTO, files.count);
}

void open_read_backing(benchmark::State &state, const SetFiles &files)
{
    open_tare(state, files.single, TARE_BACKING_READ, files.count);
}

/* The floors */

/* Reads the header into memory mapped anew, as any reader of it must. */
char *read_header(const SetFiles &files)
{
    int file = open(files.single.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat facts;
    uint64_t size;
    if (file < 0 || fstat(file, &facts) != 0 || pread(file, &size, sizeof size, 0) != 8)
        fail("not read", files.single);
    void *memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("no memory", files.single);
    if (pread(file, memory, size, 8) != (ssize_t)size) fail("not read", files.single);
    close(file);
    return static_cast<char *>(memory);
}

uint64_t count_quotes(const char *text, size_t size)
{
    const char *end = text + size;
    uint64_t count = 0;
    while (text < end) {
        auto *quote = static_cast<const char *>(std::memchr(text, '"', size_t(end - text)));
        if (quote == nullptr) break;
        count++;
        text = quote + 1;
    }
    return count;
}

void read_only(benchmark::State &state, const SetFiles &files)
{
    for (auto _ : state) {
        Clock::time_point start = Clock::now();
        char *header = read_header(files);
        state.SetIterationTime(seconds_since(start));
        benchmark::DoNotOptimize(header[files.header_size - 9]);
        munmap(header, files.header_size - 8);
    }
}

void read_and_scan_quotes(benchmark::State &state, const SetFiles &files)
{
    for (auto _ : state) {
        Clock::time_point start = Clock::now();
        char *header = read_header(files);
        uint64_t quotes = count_quotes(header, files.header_size - 8);
        state.SetIterationTime(seconds_since(start));
        if (quotes != files.quotes) fail("quotes miscounted", files.single);
        munmap(header, files.header_size - 8);
    }
}

void cjson_parse(benchmark::State &state, const SetFiles &files)
{
    std::string header = opening::read_start(files.single, files.header_size).substr(8);
    for (auto _ : state) {
        Clock::time_point start = Clock::now();
        cJSON *tree = cJSON_ParseWithLength(header.data(), header.size());
        state.SetIterationTime(seconds_since(start));
        if (tree == nullptr) fail("cJSON refuses the header", files.single);
        cJSON_Delete(tree);
    }
}

/* GGUF */

void gguf_loop(benchmark::State &state, const SetFiles &files)
{
    for (auto _ : state) {
        struct gguf_loop loop;
        Clock::time_point start = Clock::now();
        int good = gguf_loop_open(files.single.c_str(), &loop);
        state.SetIterationTime(seconds_since(start));
        if (!good || loop.tensor_count != files.count) fail("not read by gguf_loop", files.single);
        gguf_loop_close(&loop);
    }
}

std::string python; /* one that has the package gguf */

/* One opening, after that of a small file that warms the package up. */
void run_python(benchmark::State &state, const SetFiles &files, const char *script,
                const char *warm_name, const char *form)
{
    std::string warm = files.single.substr(0, files.single.rfind('/')) + warm_name;
    std::string paths = " '" + warm + "' '" + files.single + "'";
    std::string command = "'" + python + "' -B '" TARE_BENCH_SOURCE "/" + script + "'" + paths;
    for (auto _ : state) {
        FILE *output = popen(command.c_str(), "r");
        double taken;
        unsigned long long count = 0;
        if (output == nullptr || std::fscanf(output, form, &taken, &count) != 2 ||
            pclose(output) != 0)
            fail("not read by the Python package", files.single);
        if (count != files.count) fail("read otherwise by the Python package", files.single);
        state.SetIterationTime(taken * 1e-9);
    }
}

void gguf_python(benchmark::State &state, const SetFiles &files)
{
    run_python(state, files, "time_gguf.py", "/300-0.gguf", "%*u %*u %lf %llu");
}

void safetensors_python(benchmark::State &state, const SetFiles &files)
{
    run_python(state, files, "time_safetensors.py", "/S.safetensors", "%lf %llu");
}

/* With an index file, and what it is compared with */

void tare_first(benchmark::State &state, const SetFiles &files)
{
    opening::open_indexed(state, files, {files.single.empty(), false, false, true});
}

void indexed(benchmark::State &state, const SetFiles &files)
{
    opening::open_indexed(state, files, {files.single.empty(), true, false, false});
}

void indexed_first(benchmark::State &state, const SetFiles &files)
{
    opening::open_indexed(state, files, {files.single.empty(), true, false, true});
}

void indexed_sharded(benchmark::State &state, const SetFiles &files)
{
    opening::open_indexed(state, files, {true, true, false, true});
}

void indexed_cold(benchmark::State &state, const SetFiles &files)
{
    opening::open_indexed(state, files, {files.single.empty(), true, true, true});
}

void tare_processes(benchmark::State &state, const SetFiles &files)
{
    opening::open_in_eight(state, files, {files.single.empty(), false, false, true});
}

void indexed_processes(benchmark::State &state, const SetFiles &files)
{
    opening::open_in_eight(state, files, {files.single.empty(), true, false, true});
}

/* The sets, by what an engine must be able to do. */
enum : unsigned { SAFETENSORS = 1, MILLION = 2, GGUF = 4, FEW = 8, SHARDS = 16 };
constexpr unsigned ANY = SAFETENSORS | MILLION | GGUF | FEW | SHARDS;

struct SetRow {
    const char *label;
    unsigned needs;
    size_t tensors, tokens; /* of GGUF */
};

constexpr SetRow sets[] = {
    {"S", SAFETENSORS, 0, 0},       {"M", SAFETENSORS, 0, 0},
    {"L", SAFETENSORS, 0, 0},       {"million", MILLION, 0, 0},
    {"1000", FEW, 1000, 0},         {"shards_74", SHARDS, 139000, 0},
    {"gguf_300", GGUF, 300, 0},     {"gguf_5900", GGUF, 5900, 0},
    {"gguf_40000", GGUF, 40000, 0}, {"gguf_vocabulary", GGUF, 300, 128000},
};

/* The engine table: another engine is a line here. */
struct EngineRow {
    const char *name;
    void (*run)(benchmark::State &, const SetFiles &);
    unsigned does;
};

constexpr EngineRow engines[] = {
    {"tare", open_single, SAFETENSORS | MILLION | GGUF},
    {"tare_sharded", open_sharded, SAFETENSORS},
    {"tare_read_backing", open_read_backing, SAFETENSORS | GGUF},
    {"read_only", read_only, SAFETENSORS | MILLION},
    {"read_and_scan_quotes", read_and_scan_quotes, SAFETENSORS | MILLION},
    {"cjson_parse", cjson_parse, SAFETENSORS},
    {"tare_first", tare_first, ANY},
    {"indexed", indexed, ANY},
    {"indexed_first", indexed_first, ANY},
    {"indexed_sharded", indexed_sharded, SAFETENSORS},
    {"indexed_cold", indexed_cold, ANY},
    {"tare_processes", tare_processes, SAFETENSORS | MILLION | SHARDS},
    {"indexed_processes", indexed_processes, SAFETENSORS | MILLION | SHARDS},
#ifdef TARE_BENCH_RUST
    {"safetensors_crate", opening::open_crate, SAFETENSORS | MILLION | FEW},
#endif
    {"safetensors_python", safetensors_python, SAFETENSORS},
    {"gguf_loop", gguf_loop, GGUF},
    {"gguf_python", gguf_python, GGUF},
};

SetFiles make_files(const std::string &data_folder, const SetRow &set)
{
    switch (set.needs) {
    case MILLION: return opening::make_million_file(data_folder);
    case FEW: return opening::make_count_file(data_folder, set.tensors, 0);
    case SHARDS: return opening::make_count_file(data_folder, set.tensors, 74);
    case GGUF:
        opening::make_gguf_file(data_folder, 300, 0); /* what Python is warmed up with */
        return opening::make_gguf_file(data_folder, set.tensors, set.tokens);
    default:
        opening::make_set_files(data_folder, "S"); /* what Python is warmed up with */
        return opening::make_set_files(data_folder, set.label);
    }
}

const SetFiles &files_of(const std::string &data_folder, const SetRow &set)
{
    static std::unordered_map<std::string, SetFiles> made;
    auto at = made.find(set.label);
    if (at == made.end()) at = made.emplace(set.label, make_files(data_folder, set)).first;
    return at->second;
}

void register_one(const std::string &data_folder, const EngineRow &engine, const SetRow &set)
{
    std::string name = std::string("open/") + engine.name + "/" + set.label;
    auto *made = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State &state) {
        const SetFiles &files = files_of(data_folder, set);
        engine.run(state, files);
        state.counters["header_size"] = double(files.header_size);
        state.counters["tensors"] = double(files.count);
    });
    made->UseManualTime()->Unit(benchmark::kMillisecond);
    if (engine.run == gguf_python || engine.run == safetensors_python)
        made->Iterations(1)->Repetitions(3); /* seconds each */
    if (engine.run == tare_processes || engine.run == indexed_processes)
        made->Iterations(1)->Repetitions(1); /* of which memory is told */
}

void register_all(const std::string &data_folder)
{
    for (const SetRow &set : sets)
        for (const EngineRow &engine : engines) {
            if ((engine.does & set.needs) == 0) continue;
            if ((engine.run == gguf_python || engine.run == safetensors_python) && python.empty())
                continue;
            register_one(data_folder, engine, set);
        }
}

} // namespace

int main(int argument_count, char **arguments)
{
    mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* setting it also keeps it from growing */
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    std::string data_folder = TARE_BENCH_DATA;
    for (const std::string &folder : bench::take_options(&argument_count, arguments, "--data="))
        data_folder = folder;
    for (const std::string &path : bench::take_options(&argument_count, arguments, "--python="))
        python = path;
    mkdir(data_folder.c_str(), 0777);
    register_all(data_folder);
    benchmark::AddCustomContext("rust", TARE_BENCH_RUST_TEXT);
    return bench::run(argument_count, arguments);
}
