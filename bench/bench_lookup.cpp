/*
 * Finding tensors by name: tare beside the tables that programs use for it.
 *
 *     find_hit/ENGINE/SET        names that are there, random independent order
 *     find_miss/ENGINE/SET       look-alike names that are not
 *     find_order/ENGINE/SET      names in the order of the file
 *     find_dependent/ENGINE/SET  the next name depends on what was found
 *     find_offset/ENGINE/SET     the next name depends on the data offset of what was found
 *     find_many/ENGINE/SET       256 names a call; find_many_16: 16 names a call
 *     find_threads/ENGINE/SET    two threads at once, each on a processor
 *     find_cold/ENGINE/SET       one name after the caches were emptied
 *     build/ENGINE/SET           from the list of names to the table; an item is a name
 *     one_shot/ENGINE/SET        the same and every name found once; an item is a name
 *
 * An item is a lookup: 1e9 / items_per_second is nanoseconds a lookup. Every engine is checked on
 * every name and every look-alike before it is timed.
 */
#include "lookup_engines.h"

#include "bench_main.h"

#include <deque>

namespace
{

struct SetSource {
    std::string label;
    std::string source; /* for names_make or names_read */
    size_t count;
    bool sweep;
};

constexpr size_t set_limit = NAMES_COUNT_MAX; /* places are uint32_t */

/* Sets are made when first used: a filter that leaves XL out does not pay for it. */
const lookup::Workload &workload_of(const SetSource &set)
{
    static std::unordered_map<std::string, std::unique_ptr<lookup::Workload>> made;
    std::unique_ptr<lookup::Workload> &workload = made[set.label];
    if (workload == nullptr) workload = std::make_unique<lookup::Workload>(set.label, set.source);
    return *workload;
}

/* "names/mixtral-8x22b.index.json" -> "mixtral-8x22b" */
std::string label_of(const std::string &path)
{
    std::string name = path.substr(path.find_last_of('/') + 1);
    for (const char *end : {".index.json", ".tsv", ".txt"}) name = name.substr(0, name.find(end));
    return name;
}

SetSource set_of_file(const std::string &path)
{
    names_list list;
    int failed = names_read(path.c_str(), &list);
    if (failed != 0) {
        std::fprintf(stderr, "bench_lookup: %s: %s\n", path.c_str(), std::strerror(failed));
        std::exit(1);
    }
    size_t count = list.count;
    names_free(&list);
    return {label_of(path), path, count, false};
}

void register_all(const SetSource &set)
{
    if (set.count > set_limit) return;
    for (const lookup::EngineRow &engine : lookup::engines) {
        unsigned wanted = engine.patterns_at(set.count, set.sweep);
        for (const lookup::Pattern &pattern : lookup::patterns) {
            if ((wanted & pattern.bit) == 0) continue;
            if (pattern.bit == lookup::FIND_THREADS && lookup::other_processor() < 0) continue;
            std::string name = std::string(pattern.name) + "/" + engine.name + "/" + set.label;
            benchmark::internal::Benchmark *made = benchmark::RegisterBenchmark(
                name.c_str(), [&engine, &pattern, &set](benchmark::State &state) {
                    engine.run(state, pattern.bit, workload_of(set));
                });
            if (pattern.timed_by_hand) made->UseManualTime();
            if (pattern.bit == lookup::FIND_COLD) made->Iterations(lookup::cold_lookups);
        }
    }
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* What the engines come from; an engine that is missing is said to be. */
void add_context()
{
#ifdef ABSL_LTS_RELEASE_VERSION
    benchmark::AddCustomContext("absl",
                                TEXT(ABSL_LTS_RELEASE_VERSION) ", " TARE_BENCH_ABSL_LINKAGE);
#else
    benchmark::AddCustomContext("absl", "not a release");
#endif
#ifdef TARE_BENCH_BOOST
    benchmark::AddCustomContext("boost", TARE_BENCH_BOOST);
#else
    benchmark::AddCustomContext("boost", "left out: no Boost of 1.81 or newer");
#endif
#ifdef TARE_BENCH_UTHASH
    benchmark::AddCustomContext("uthash", TEXT(TARE_BENCH_UTHASH));
#else
    benchmark::AddCustomContext("uthash", "left out: no uthash.h");
#endif
    benchmark::AddCustomContext("rust", TARE_BENCH_RUST_TEXT);
    benchmark::AddCustomContext("evicted_bytes", std::to_string(lookup::evicted_size()));
}

} // namespace

int main(int argument_count, char **arguments)
{
    std::vector<std::string> files =
        bench::take_options(&argument_count, arguments, "--names_file=");
    std::deque<SetSource> sets = {/* registered benchmarks refer to its members */
                                  {"S", "S", 323, false},
                                  {"M", "M", 5900, false},
                                  {"L", "L", 91985, false},
                                  {"XL", "XL", 993417, false}};
    for (size_t count = 10; count <= 1000000; count *= 10)
        sets.push_back({std::to_string(count), std::to_string(count), count, true});
    for (const std::string &file : files) sets.push_back(set_of_file(file));
    for (const SetSource &set : sets) register_all(set);
    add_context();
    return bench::run(argument_count, arguments);
}
