/*
 * Finding tensors by name: tare beside the containers that programs use for it.
 *
 *     find_hit/ENGINE/SET        names that are there, random independent order
 *     find_miss/ENGINE/SET       look-alike names that are not
 *     find_dependent/ENGINE/SET  the next name depends on what was found
 *     find_offset/ENGINE/SET     the next name depends on the data offset of what was found
 *     find_many/ENGINE/SET       256 names a call; find_many_16: 16 names a call
 *     build/ENGINE/SET           from the list of names to the table; an item is a name
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
    std::string source;
};

constexpr size_t set_limit = 4000000; /* places are uint32_t and tokens stay far below 2^63 */

/* Sets are made when first used: a filter that leaves XL out does not pay for it. */
const lookup::Workload &workload_of(const SetSource &set)
{
    static std::unordered_map<std::string, std::unique_ptr<lookup::Workload>> made;
    std::unique_ptr<lookup::Workload> &workload = made[set.label];
    if (workload == nullptr) workload = std::make_unique<lookup::Workload>(set.label, set.source);
    return *workload;
}

size_t count_of(const SetSource &set)
{
    names_list list;
    int failed = names_read(set.source.c_str(), &list);
    if (failed != 0) {
        std::fprintf(stderr, "bench_lookup: %s: %s\n", set.source.c_str(), std::strerror(failed));
        std::exit(1);
    }
    size_t count = list.count;
    names_free(&list);
    return count;
}

/* "names/mixtral-8x22b.index.json" -> "mixtral-8x22b" */
std::string label_of(const std::string &path)
{
    std::string name = path.substr(path.find_last_of('/') + 1);
    return name.substr(0, name.find(".index.json"));
}

void register_all(const SetSource &set, size_t count)
{
    for (const lookup::EngineRow &engine : lookup::engines) {
        if (count > engine.count_max || count > set_limit) continue;
        for (const lookup::Pattern &pattern : lookup::patterns) {
            std::string name = std::string(pattern.name) + "/" + engine.name + "/" + set.label;
            benchmark::internal::Benchmark *made = benchmark::RegisterBenchmark(
                name.c_str(), [&engine, &pattern, &set](benchmark::State &state) {
                    engine.run(state, pattern, workload_of(set));
                });
            if (pattern.timed_by_hand) made->UseManualTime();
        }
    }
}

} // namespace

int main(int argument_count, char **arguments)
{
    std::vector<std::string> files =
        bench::take_options(&argument_count, arguments, "--names_file=");
    std::deque<SetSource> sets; /* registered benchmarks refer to its members */
    sets = {{"S", "S"}, {"M", "M"}, {"L", "L"}, {"XL", "XL"}};
    constexpr size_t counts[] = {323, 5900, 91985, 993417};
    for (size_t i = 0; i < 4; i++) register_all(sets[i], counts[i]);
    for (const std::string &file : files) {
        sets.push_back({label_of(file), file});
        register_all(sets.back(), count_of(sets.back()));
    }
    return bench::run(argument_count, arguments);
}
