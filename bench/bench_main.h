/* What both benchmark programs share: default flags, facts about the build for the JSON, options of
 * their own. */
#ifndef TARE_BENCH_BENCH_MAIN_H
#define TARE_BENCH_BENCH_MAIN_H

#include "tare.h"

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace bench
{

/* Takes every argument that starts with `prefix` out of the list and returns what follows it. */
inline std::vector<std::string> take_options(int *count, char **arguments,
                                             const std::string &prefix)
{
    std::vector<std::string> values;
    int kept = 0;
    for (int i = 0; i < *count; i++) {
        std::string argument = arguments[i];
        if (i > 0 && argument.compare(0, prefix.size(), prefix) == 0)
            values.push_back(argument.substr(prefix.size()));
        else
            arguments[kept++] = arguments[i];
    }
    *count = kept;
    arguments[kept] = nullptr;
    return values;
}

/* Ten interleaved repetitions unless the command line says otherwise: the last flag counts. */
inline int run(int argument_count, char **arguments)
{
    static char repetitions[] = "--benchmark_repetitions=10";
    static char interleaving[] = "--benchmark_enable_random_interleaving=true";
    static char min_time[] = "--benchmark_min_time=0.05";
    static char display[] = "--benchmark_display_aggregates_only=true";
    std::vector<char *> all = {arguments[0], repetitions, interleaving, min_time, display};
    all.insert(all.end(), arguments + 1, arguments + argument_count);
    int count = (int)all.size();
    all.push_back(nullptr);

    benchmark::AddCustomContext("tare_version", tare_version());
    benchmark::AddCustomContext("tare_linkage", "static, called through its C functions");
    benchmark::AddCustomContext("compiler", TARE_BENCH_COMPILER);
    benchmark::AddCustomContext("compiler_flags", TARE_BENCH_FLAGS);
    benchmark::Initialize(&count, all.data());
    if (benchmark::ReportUnrecognizedArguments(count, all.data())) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

} // namespace bench

#endif
