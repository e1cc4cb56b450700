/* The patterns of bench_lookup: those that lookup_frame.h times in a loop, those that are timed by
 * hand here, and the table of all. */
#ifndef TARE_BENCH_LOOKUP_PATTERNS_H
#define TARE_BENCH_LOOKUP_PATTERNS_H

#include "lookup_frame.h"
#include "lookup_machine.h"

#include <atomic>
#include <chrono>
#include <thread>

namespace lookup
{

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class Engine, class = void>
struct has_counters : std::false_type {
};
template <class Engine>
struct has_counters<Engine, std::void_t<decltype(&Engine::add_counters)>> : std::true_type {
};

/* From the ready list of names to a table that can be asked; giving it back is not timed. */
template <class Engine>
void build(benchmark::State &state, const Workload &workload)
{
    for (auto _ : state) {
        Clock::time_point start = Clock::now();
        auto engine = std::make_unique<Engine>(workload);
        benchmark::DoNotOptimize(engine.get());
        state.SetIterationTime(seconds_since(start));
    }
    state.SetItemsProcessed(int64_t(state.iterations() * workload.list().count));
    if constexpr (has_counters<Engine>::value)
        Lane<Engine>::of(workload).engine().add_counters(state);
}

/* A table built, and every name found in it once, in random order. */
template <class Engine>
void one_shot(benchmark::State &state, const Workload &workload)
{
    const auto &queries = Lane<Engine>::of(workload).hits();
    size_t count = workload.list().count;
    for (auto _ : state) {
        Clock::time_point start = Clock::now();
        auto engine = std::make_unique<Engine>(workload);
        uint64_t sum = 0;
        for (size_t i = 0; i < count; i++) sum += engine->find(queries[i]);
        benchmark::DoNotOptimize(sum);
        state.SetIterationTime(seconds_since(start));
    }
    state.SetItemsProcessed(int64_t(state.iterations() * count));
}

/* One name, after memory larger than the caches was read. The caller's own name is in the caches:
 * it has just been made. */
template <class Engine>
void find_cold(benchmark::State &state, const Workload &workload)
{
    static size_t at = 0;
    const auto &queries = Lane<Engine>::of(workload).hits();
    const Engine &engine = Lane<Engine>::of(workload).engine();
    for (auto _ : state) {
        const auto &query = queries[at++ % queries.size()];
        evict_caches();
        uint64_t sum = 0;
        for (char byte : view(query)) sum += (unsigned char)byte;
        benchmark::DoNotOptimize(sum);
        benchmark::DoNotOptimize(Clock::now());
        Clock::time_point start = Clock::now();
        uint64_t token = engine.find(query);
        benchmark::DoNotOptimize(token);
        state.SetIterationTime(seconds_since(start));
    }
    state.SetItemsProcessed(int64_t(state.iterations()));
}

/* Two threads ask one table at once; an item is a lookup of one of them. */
template <class Engine>
class TwoThreads
{
  public:
    explicit TwoThreads(const Workload &workload) : lane_(Lane<Engine>::of(workload)) {}

    void run(benchmark::State &state)
    {
        ask_both(); /* the other processor's caches have yet to see the table */
        for (auto _ : state) state.SetIterationTime(ask_both());
        state.SetItemsProcessed(int64_t(state.iterations() * names_each));
    }

  private:
    static constexpr size_t names_each = Lane<Engine>::chunk * 128;

    /* Seconds that the slower one took. */
    double ask_both()
    {
        std::atomic<int> waiting{2};
        double other_seconds = 0;
        std::thread other([&] {
            move_to_processor(other_processor());
            other_seconds = ask(waiting, lane_.hits().size() / 2);
        });
        double seconds = ask(waiting, 0);
        other.join();
        return std::max(seconds, other_seconds);
    }

    double ask(std::atomic<int> &waiting, size_t at) const
    {
        const auto &queries = lane_.hits();
        waiting.fetch_sub(1);
        while (waiting.load() != 0) {}
        Clock::time_point start = Clock::now();
        uint64_t sum = 0;
        for (size_t i = 0; i < names_each; i++) {
            sum += lane_.engine().find(queries[at]);
            if (++at == queries.size()) at = 0;
        }
        benchmark::DoNotOptimize(sum);
        return seconds_since(start);
    }

    const Lane<Engine> &lane_;
};

struct Pattern {
    const char *name;
    unsigned bit;
    bool timed_by_hand;
};

/* Another pattern is a bit in lookup_frame.h, a line here, and a case in run_pattern. */
constexpr Pattern patterns[] = {
    {"find_hit", FIND_HIT, false},         {"find_miss", FIND_MISS, false},
    {"find_order", FIND_ORDER, false},     {"find_dependent", FIND_DEPENDENT, false},
    {"find_offset", FIND_OFFSET, false},   {"find_many", FIND_MANY, false},
    {"find_many_16", FIND_MANY_16, false}, {"find_threads", FIND_THREADS, true},
    {"find_cold", FIND_COLD, true},        {"build", BUILD, true},
    {"one_shot", ONE_SHOT, true},
};

/* Each lookup that is cold costs milliseconds of getting cold. */
constexpr int64_t cold_lookups = 3;

template <class Engine>
void run_pattern(benchmark::State &state, unsigned pattern, const Workload &workload)
{
    if constexpr (!Engine::is_floor) {
        if (pattern == BUILD) return build<Engine>(state, workload);
        if (pattern == ONE_SHOT) return one_shot<Engine>(state, workload);
    }
    if (pattern == FIND_COLD) return find_cold<Engine>(state, workload);
    if (pattern == FIND_THREADS) return TwoThreads<Engine>(workload).run(state);
    Lane<Engine> &lane = Lane<Engine>::of(workload);
    if constexpr ((Engine::patterns & MANY_PATTERNS) != 0) {
        if (pattern == FIND_MANY) return lane.find_many(state, 256);
        if (pattern == FIND_MANY_16) return lane.find_many(state, 16);
    }
    switch (pattern) {
    case FIND_HIT: return lane.find_hits(state);
    case FIND_MISS: return lane.find_misses(state);
    case FIND_ORDER: return lane.find_in_order(state);
    case FIND_DEPENDENT: return lane.find_dependent(state);
    case FIND_OFFSET: return lane.find_offset(state);
    }
    state.SkipWithError("this engine has no such pattern");
}

/* What is worth its time for a set of so many names: scans cost most there, and so does building a
 * dozen tables again and again. */
template <class Engine>
constexpr unsigned patterns_at(size_t count, bool sweep)
{
    if (count > Engine::count_max) return 0;
    if (sweep) return Engine::is_swept ? Engine::patterns & (FIND_HIT | FIND_DEPENDENT) : 0;
    unsigned left_out = 0;
    if (Engine::is_scan && count > 10000) left_out |= ONE_SHOT;
    if (Engine::is_scan && count > 100000) left_out |= ~(FIND_HIT | FIND_MISS | FIND_DEPENDENT);
    if (!Engine::is_swept && !Engine::is_tare && count > 100000) left_out |= BUILD | ONE_SHOT;
    return Engine::patterns & ~left_out;
}

/* One row of the engine table. */
struct EngineRow {
    const char *name;
    unsigned (*patterns_at)(size_t count, bool sweep);
    void (*run)(benchmark::State &, unsigned pattern, const Workload &);
};

template <class Engine>
constexpr EngineRow row()
{
    return {Engine::name, patterns_at<Engine>, run_pattern<Engine>};
}

} // namespace lookup

#endif
