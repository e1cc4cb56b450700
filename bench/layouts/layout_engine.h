/* How contenders are called and timed. */
#ifndef LAYOUT_ENGINE_H
#define LAYOUT_ENGINE_H

#include <chrono>
#include <memory>
#include <string>
#include <type_traits>

#include "layout_frame.h"

namespace layout
{

enum Pattern { Hit, Miss, Dependent, DependentRecord, Batch, Build, Patterns };
const char *const PatternName[] = {"hit", "miss", "dep", "d+rec", "batch", "build"};

struct Queries {
    std::vector<std::string_view> hits, misses;
    std::vector<uint32_t> numbers;
    std::unique_ptr<char[]> hit_text, miss_text;
};

static inline double now()
{
    using namespace std::chrono;
    return double(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

static inline void keep(uint64_t value)
{
    asm volatile("" : : "r"(value) : "memory");
}

/* Zero that the processor can only know once `value` is there. */
static inline uint64_t zero_after(uint64_t value)
{
    asm volatile("and $0, %0" : "+r"(value));
    return value;
}

template <class Table>
struct Ours : Table {
    static constexpr bool Batched = true;
    using Found = decltype(std::declval<Table>().lookup(0, nullptr, 0));
    __attribute__((noinline)) Found find(const char *name, size_t size) const
    {
        return this->lookup(hash_name(name, size), name, size);
    }
    __attribute__((noinline)) void find_many(const std::string_view *names, size_t count,
                                             Found *out) const
    {
        uint64_t hashes[16];
        for (size_t i = 0; i < count; i++) {
            hashes[i] = hash_name(names[i].data(), names[i].size());
            this->prefetch(hashes[i]);
        }
        for (size_t i = 0; i < count; i++) this->prefetch_record(hashes[i]);
        for (size_t i = 0; i < count; i++)
            out[i] = this->lookup(hashes[i], names[i].data(), names[i].size());
    }
};

template <class Table>
struct Peer : Table {
    static constexpr bool Batched = false;
};

struct Engine {
    std::string name;
    std::vector<double> times[Patterns];
    bool usable = true;
    size_t table_size = 0;
    virtual ~Engine() {}
    virtual bool open(const Frame &frame) = 0;
    virtual bool check(const Frame &frame, const Queries &queries) const = 0;
    virtual void run(Pattern pattern, const Queries &queries) = 0;
    virtual void build(const std::vector<std::string_view> &names) = 0;
    virtual Plan plan() const = 0;
    size_t frame_size = 0;
};

/* In one pass over the names where the contender can, else the frame first and then the table. */
template <class Table>
auto build_one(Table &table, Frame &frame, const std::vector<std::string_view> &names, Plan plan,
               int) -> decltype(table.build_with(frame, names, plan))
{
    return table.build_with(frame, names, plan);
}
template <class Table>
bool build_one(Table &table, Frame &frame, const std::vector<std::string_view> &names, Plan plan,
               long)
{
    frame.build(names, plan);
    return table.build(frame);
}

template <class Contender, Cut How, bool Narrow, bool Floor>
struct EngineOf : Engine {
    std::unique_ptr<Contender> table;

    explicit EngineOf(const char *label)
    {
        name = label;
    }
    Plan plan() const override
    {
        return {How, Narrow, How != Cut::None || Contender::Batched};
    }

    bool open(const Frame &frame) override
    {
        table.reset(new Contender);
        usable = table->build(frame);
        frame_size = frame.blob_size + frame.count * frame.record_size();
        table_size = usable ? table->table_size() : 0;
        return usable;
    }

    bool check(const Frame &frame, const Queries &queries) const override
    {
        if (Floor) return true;
        for (size_t i = 0; i < queries.hits.size(); i += frame.count < 10000 ? 29 : 1) {
            auto *record = table->find(queries.hits[i].data(), queries.hits[i].size());
            if (record == nullptr || record->offset != frame.offset(queries.numbers[i]))
                return false;
            const auto &miss = queries.misses[i];
            if (table->find(miss.data(), miss.size()) != nullptr) return false;
        }
        return true;
    }

    __attribute__((noinline)) uint64_t many(const std::vector<std::string_view> &names) const
    {
        uint64_t sum = 0;
        for (const auto &one : names) sum += uint64_t(table->find(one.data(), one.size()));
        return sum;
    }

    uint64_t chain(const std::vector<std::string_view> &names, bool record) const
    {
        uint64_t zero = 0;
        for (const auto &one : names) {
            auto *found = table->find(one.data() + zero, one.size());
            if constexpr (Floor) {
                zero = zero_after(uint64_t(found));
            } else {
                zero = zero_after(record ? found->offset : uint64_t(found));
            }
        }
        return zero;
    }

    void run(Pattern pattern, const Queries &queries) override
    {
        const auto &names = pattern == Miss ? queries.misses : queries.hits;
        double start = now();
        if (pattern == Hit || pattern == Miss) {
            keep(many(names));
        } else if (pattern == Dependent || pattern == DependentRecord) {
            keep(chain(names, pattern == DependentRecord));
        } else if constexpr (Contender::Batched) {
            typename Contender::Found out[16];
            for (size_t i = 0; i + 16 <= names.size(); i += 16) {
                table->find_many(&names[i], 16, out);
                keep(uint64_t(out[0]) + uint64_t(out[15]));
            }
        } else {
            return;
        }
        times[pattern].push_back((now() - start) / double(names.size()));
    }

    void build(const std::vector<std::string_view> &names) override
    {
        double start = now();
        Frame frame;
        Contender fresh;
        keep(build_one(fresh, frame, names, plan(), 0));
        times[Build].push_back((now() - start) / double(names.size()));
    }
};

} // namespace layout

#endif
