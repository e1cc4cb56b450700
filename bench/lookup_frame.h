/*
 * The frame of bench_lookup: what engines are built from and asked, and the one set of loops that
 * times them. An engine is a class of lookup_engines.h:
 *
 *     struct Engine {
 *         static constexpr const char *name;       // as it stands in benchmark names
 *         static constexpr uint64_t absent;        // the token of a name that is not there
 *         static constexpr size_t count_max;       // no_limit, but for scans
 *         using Query = ...;                       // a caller's ready-made name
 *         explicit Engine(const Workload &);       // this is what build/ times
 *         uint64_t find(const Query &) const;      // a token; below 2^63
 *         uint32_t number(uint64_t token) const;   // the place in the list, for checks
 *         uint64_t offset(uint64_t token) const;   // the tensor's data offset
 *         void find_many(const Query *, size_t count, uint64_t *tokens) const;   // may be left out
 *     };
 *
 * A token is whatever the container finds: a value, or a pointer to it.
 */
#ifndef TARE_BENCH_LOOKUP_FRAME_H
#define TARE_BENCH_LOOKUP_FRAME_H

#include "lookup_workload.h"

#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <unordered_map>

namespace lookup
{

constexpr size_t no_limit = SIZE_MAX;

template <class Engine, class = void>
struct has_find_many : std::false_type {
};
template <class Engine>
struct has_find_many<Engine, std::void_t<decltype(&Engine::find_many)>> : std::true_type {
};

inline size_t heap_size()
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

inline std::string_view view(const tare_string &name)
{
    return {name.data, name.size};
}

template <class Query>
std::string_view view(const Query &name)
{
    return {name.data(), name.size()};
}

/* Always 0, which neither the compiler nor the processor knows before `value` is there. */
inline uint64_t zero_after(uint64_t value)
{
    asm volatile("" : "+r"(value));
    return value >> 63;
}

[[noreturn]] inline void wrong_answer(const char *engine, const char *what, std::string_view name)
{
    std::fprintf(stderr, "bench_lookup: %s %s '%.*s'\n", engine, what, (int)name.size(),
                 name.data());
    std::exit(1);
}

/* An engine built over a workload, checked, and where each of its streams has got to. */
template <class Engine>
class Lane
{
  public:
    using Query = typename Engine::Query;

    /* Lanes live as long as the process, so that repetitions find the same table. */
    static Lane &of(const Workload &workload)
    {
        static std::unordered_map<const Workload *, std::unique_ptr<Lane>> lanes;
        std::unique_ptr<Lane> &lane = lanes[&workload];
        if (lane == nullptr) lane.reset(new Lane(workload));
        return *lane;
    }

    void find_hits(benchmark::State &state)
    {
        find(state, hits_, hit_at_);
    }

    void find_misses(benchmark::State &state)
    {
        find(state, misses_, miss_at_);
    }

    /* The next name's place depends on the token that was found. */
    void find_dependent(benchmark::State &state)
    {
        const Query *queries = hits_.data();
        time(state, hits_.size(), hit_at_, [&](size_t at) {
            for (size_t i = 0; i < chunk_; i++) at += 1 + zero_after(engine_->find(queries[at]));
            return at;
        });
    }

    /* The next name's place depends on the data offset of the tensor that was found. */
    void find_offset(benchmark::State &state)
    {
        const Query *queries = hits_.data();
        time(state, hits_.size(), hit_at_, [&](size_t at) {
            for (size_t i = 0; i < chunk_; i++)
                at += 1 + zero_after(engine_->offset(engine_->find(queries[at])));
            return at;
        });
    }

    /* `batch` names a call where the engine has such a call, else its loop. */
    void find_many(benchmark::State &state, size_t batch)
    {
        if constexpr (has_find_many<Engine>::value) {
            std::vector<uint64_t> tokens(batch);
            uint64_t sum = 0;
            time(state, hits_.size(), hit_at_, [&](size_t at) {
                for (size_t end = at + chunk_; at < end; at += batch) {
                    engine_->find_many(&hits_[at], batch, tokens.data());
                    for (uint64_t token : tokens) sum += token;
                }
                return at;
            });
            benchmark::DoNotOptimize(sum);
        } else {
            (void)batch;
            find(state, hits_, hit_at_);
        }
    }

    double heap_size_per_name() const
    {
        return heap_size_per_name_;
    }

  private:
    explicit Lane(const Workload &workload)
        : hits_(workload.hits<Query>()), misses_(workload.misses<Query>())
    {
        size_t before = heap_size();
        engine_ = std::make_unique<Engine>(workload);
        heap_size_per_name_ = double(heap_size() - before) / double(workload.list().count);
        bool sampled = Engine::count_max != no_limit && workload.list().count > 10000;
        check(workload, sampled ? 97 : 1);
    }

    /* Every name must be found, every look-alike rejected; a scan of a large set is sampled. */
    void check(const Workload &workload, size_t stride) const
    {
        for (size_t i = 0; i < hits_.size(); i += stride)
            check_token(workload, engine_->find(hits_[i]), i);
        for (size_t i = 0; i < misses_.size(); i += stride)
            if (engine_->find(misses_[i]) != Engine::absent)
                wrong_answer(Engine::name, "finds", view(misses_[i]));
        if constexpr (has_find_many<Engine>::value) {
            std::vector<uint64_t> tokens(hits_.size());
            engine_->find_many(hits_.data(), hits_.size(), tokens.data());
            for (size_t i = 0; i < hits_.size(); i++) check_token(workload, tokens[i], i);
        }
    }

    void check_token(const Workload &workload, uint64_t token, size_t i) const
    {
        std::string_view name = view(hits_[i]);
        if (token == Engine::absent) wrong_answer(Engine::name, "misses", name);
        if (engine_->number(token) != workload.hit_numbers()[i])
            wrong_answer(Engine::name, "finds another tensor for", name);
        if (engine_->offset(token) != workload.records()[workload.hit_numbers()[i]].offset)
            wrong_answer(Engine::name, "has a wrong offset for", name);
    }

    void find(benchmark::State &state, const std::vector<Query> &queries, size_t &start)
    {
        uint64_t sum = 0;
        time(state, queries.size(), start, [&](size_t at) {
            for (size_t end = at + chunk_; at < end; at++) sum += engine_->find(queries[at]);
            return at;
        });
        benchmark::DoNotOptimize(sum);
    }

    /* Times `find_chunk`, which asks for the chunk of names at a place of the stream and returns
     * the place behind it. Repetitions of other engines came before: a pass over the stream,
     * not timed, brings the table back into the caches. */
    template <class FindChunk>
    void time(benchmark::State &state, size_t stream_size, size_t &start, FindChunk find_chunk)
    {
        size_t at = start;
        for (size_t done = 0; done < std::min(stream_size, warm_up_); done += chunk_)
            at = find_chunk(at + chunk_ > stream_size ? 0 : at);
        for (auto _ : state) at = find_chunk(at + chunk_ > stream_size ? 0 : at);
        start = at;
        state.SetItemsProcessed(int64_t(state.iterations() * chunk_));
    }

    /* Names of one iteration of the benchmark library's loop; few where each takes long. */
    static constexpr size_t chunk_ = Engine::count_max == no_limit ? 256 : 16;
    static constexpr size_t warm_up_ = Engine::count_max == no_limit ? 100000 : 16;

    const std::vector<Query> &hits_;
    const std::vector<Query> &misses_;
    std::unique_ptr<Engine> engine_;
    double heap_size_per_name_;
    size_t hit_at_ = 0;
    size_t miss_at_ = 0;
};

/* From the ready list of names to a table that can be asked; giving it back is not timed. */
template <class Engine>
void build(benchmark::State &state, const Workload &workload)
{
    using clock = std::chrono::steady_clock;
    for (auto _ : state) {
        clock::time_point start = clock::now();
        auto engine = std::make_unique<Engine>(workload);
        benchmark::DoNotOptimize(engine.get());
        state.SetIterationTime(std::chrono::duration<double>(clock::now() - start).count());
    }
    state.SetItemsProcessed(int64_t(state.iterations() * workload.list().count));
    state.counters["heap_bytes_per_name"] = Lane<Engine>::of(workload).heap_size_per_name();
}

struct Pattern {
    const char *name;
    size_t batch; /* for find_many */
    bool timed_by_hand;
};

/* Another pattern is a line here and a case in run_pattern. */
constexpr Pattern patterns[] = {
    {"find_hit", 0, false},    {"find_miss", 0, false},   {"find_dependent", 0, false},
    {"find_offset", 0, false}, {"find_many", 256, false}, {"find_many_16", 16, false},
    {"build", 0, true},
};

template <class Engine>
void run_pattern(benchmark::State &state, const Pattern &pattern, const Workload &workload)
{
    std::string_view name = pattern.name;
    if (name == "build") {
        build<Engine>(state, workload);
        return;
    }
    Lane<Engine> &lane = Lane<Engine>::of(workload);
    if (name == "find_hit") lane.find_hits(state);
    if (name == "find_miss") lane.find_misses(state);
    if (name == "find_dependent") lane.find_dependent(state);
    if (name == "find_offset") lane.find_offset(state);
    if (pattern.batch != 0) lane.find_many(state, pattern.batch);
}

/* One row of the engine table. */
struct EngineRow {
    const char *name;
    size_t count_max;
    void (*run)(benchmark::State &, const Pattern &, const Workload &);
};

template <class Engine>
constexpr EngineRow row()
{
    return {Engine::name, Engine::count_max, run_pattern<Engine>};
}

} // namespace lookup

#endif
