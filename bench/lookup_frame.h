/*
 * The frame of bench_lookup: what engines are built from and asked, and the loops that ask them. An
 * engine is a class like this, in one of the headers that lookup_engines.h names:
 *
 *     struct Engine : EngineDefaults {
 *         static constexpr const char *name;       // as it stands in benchmark names
 *         static constexpr uint64_t absent;        // the token of a name that is not there
 *         using Query = ...;                       // a caller's ready-made name
 *         explicit Engine(const Workload &);       // this is what build/ times
 *         uint64_t find(const Query &) const;      // a token; below 2^63
 *         uint32_t number(uint64_t token) const;   // the place in the list, for checks
 *         uint64_t offset(uint64_t token) const;   // the tensor's data offset
 *         void find_many(const Query *, size_t count, uint64_t *tokens) const;   // may be left out
 *         void add_counters(benchmark::State &) const;    // to build's figures; may be left out
 *     };
 *
 * A token is whatever the container finds: a value, or a pointer to it.
 */
#ifndef TARE_BENCH_LOOKUP_FRAME_H
#define TARE_BENCH_LOOKUP_FRAME_H

#include "lookup_machine.h"
#include "lookup_workload.h"

#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <type_traits>
#include <unordered_map>

namespace lookup
{

constexpr size_t no_limit = SIZE_MAX;

/* One bit for each pattern; `patterns` in lookup_patterns.h gives their names. */
enum : unsigned {
    FIND_HIT = 1 << 0,
    FIND_MISS = 1 << 1,
    FIND_ORDER = 1 << 2,
    FIND_DEPENDENT = 1 << 3,
    FIND_OFFSET = 1 << 4,
    FIND_MANY = 1 << 5,
    FIND_MANY_16 = 1 << 6,
    FIND_THREADS = 1 << 7,
    FIND_COLD = 1 << 8,
    BUILD = 1 << 9,
    ONE_SHOT = 1 << 10,
    ALL_PATTERNS = (1 << 11) - 1,
    MANY_PATTERNS = FIND_MANY | FIND_MANY_16, /* only where there is such a call */
};

/* What an engine declares anew where it differs. */
struct EngineDefaults {
    static constexpr unsigned patterns = ALL_PATTERNS & ~MANY_PATTERNS;
    static constexpr size_t count_max = no_limit; /* larger sets are left out */
    static constexpr bool is_scan = false;        /* looks at one name after another */
    static constexpr bool is_floor = false;       /* finds nothing: there is nothing to check */
    static constexpr bool is_swept = false;       /* stands in the chart of times over counts */
    static constexpr bool is_tare = false;
};

inline size_t heap_size()
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* What the heap holds more for an engine, which is built only for that: in a thread, since malloc
 * counts as held what a thread keeps for itself when it is freed, until that ends. */
template <class Engine>
size_t heap_size_of(const Workload &workload)
{
    std::unique_ptr<Engine> engine;
    run_in_thread([] {}); /* what threads leave behind for the next */
    size_t before = heap_size();
    run_in_thread([&] { engine = std::make_unique<Engine>(workload); });
    size_t after = heap_size();
    return after > before ? after - before : 0;
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
        state.counters["heap_bytes_per_name"] = heap_size_per_name_;
    }

    void find_misses(benchmark::State &state)
    {
        find(state, misses_, miss_at_);
    }

    void find_in_order(benchmark::State &state)
    {
        find(state, workload_.ordered<Query>(), order_at_);
    }

    /* The next name's place depends on the token that was found. */
    void find_dependent(benchmark::State &state)
    {
        const Query *queries = hits_.data();
        time(state, hits_.size(), hit_at_, [&](size_t at) {
            for (size_t i = 0; i < chunk; i++) at += 1 + zero_after(engine_->find(queries[at]));
            return at;
        });
    }

    /* The next name's place depends on the data offset of the tensor that was found. */
    void find_offset(benchmark::State &state)
    {
        const Query *queries = hits_.data();
        time(state, hits_.size(), hit_at_, [&](size_t at) {
            for (size_t i = 0; i < chunk; i++)
                at += 1 + zero_after(engine_->offset(engine_->find(queries[at])));
            return at;
        });
    }

    /* `batch` names a call; `batch` divides `chunk`. */
    void find_many(benchmark::State &state, size_t batch)
    {
        std::vector<uint64_t> tokens(batch);
        uint64_t sum = 0;
        time(state, hits_.size(), hit_at_, [&](size_t at) {
            for (size_t end = at + chunk; at < end; at += batch) {
                engine_->find_many(&hits_[at], batch, tokens.data());
                for (uint64_t token : tokens) sum += token;
            }
            return at;
        });
        benchmark::DoNotOptimize(sum);
    }

    const Engine &engine() const
    {
        return *engine_;
    }
    const std::vector<Query> &hits() const
    {
        return hits_;
    }

    /* Names of one iteration of the benchmark library's loop; few where each takes long. */
    static constexpr size_t chunk = Engine::is_scan ? 16 : 256;

  private:
    explicit Lane(const Workload &workload)
        : workload_(workload), hits_(workload.hits<Query>()), misses_(workload.misses<Query>())
    {
        heap_size_per_name_ =
            double(heap_size_of<Engine>(workload)) / double(workload.list().count);
        engine_ = std::make_unique<Engine>(workload);
        if constexpr (!Engine::is_floor) check();
    }

    /* Every name must be found, every look-alike rejected; a scan of a large set is sampled. */
    void check() const
    {
        size_t count = workload_.list().count;
        size_t stride = Engine::is_scan ? count / 50000 * (count / 5000) + 1 : 1;
        for (size_t i = 0; i < hits_.size(); i += stride) check_token(engine_->find(hits_[i]), i);
        for (size_t i = 0; i < misses_.size(); i += stride)
            if (engine_->find(misses_[i]) != Engine::absent)
                wrong_answer(Engine::name, "finds", view(misses_[i]));
        if constexpr ((Engine::patterns & MANY_PATTERNS) != 0) {
            std::vector<uint64_t> tokens(hits_.size());
            engine_->find_many(hits_.data(), hits_.size(), tokens.data());
            for (size_t i = 0; i < hits_.size(); i++) check_token(tokens[i], i);
        }
    }

    void check_token(uint64_t token, size_t i) const
    {
        std::string_view name = view(hits_[i]);
        if (token == Engine::absent) wrong_answer(Engine::name, "misses", name);
        uint32_t number = workload_.hit_numbers()[i];
        if (engine_->number(token) != number)
            wrong_answer(Engine::name, "finds another tensor for", name);
        if (engine_->offset(token) != workload_.records()[number].offset)
            wrong_answer(Engine::name, "has a wrong offset for", name);
    }

    void find(benchmark::State &state, const std::vector<Query> &queries, size_t &start)
    {
        uint64_t sum = 0;
        time(state, queries.size(), start, [&](size_t at) {
            for (size_t end = at + chunk; at < end; at++) sum += engine_->find(queries[at]);
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
        /* Tables of larger sets do not fit the caches anyway. */
        size_t at = start, warm_up = stream_size <= 100000 ? stream_size : 20000;
        if (Engine::is_scan) warm_up = chunk;
        for (size_t done = 0; done < warm_up; done += chunk)
            at = find_chunk(at + chunk > stream_size ? 0 : at);
        for (auto _ : state) at = find_chunk(at + chunk > stream_size ? 0 : at);
        start = at;
        state.SetItemsProcessed(int64_t(state.iterations() * chunk));
    }

    const Workload &workload_;
    const std::vector<Query> &hits_;
    const std::vector<Query> &misses_;
    std::unique_ptr<Engine> engine_;
    double heap_size_per_name_;
    size_t hit_at_ = 0;
    size_t miss_at_ = 0;
    size_t order_at_ = 0;
};

} // namespace lookup

#endif
