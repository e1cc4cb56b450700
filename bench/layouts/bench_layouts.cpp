/* Layout study for the name index: which table, which cut of names, which comparison. One process,
 * every contender built, their loops interleaved repetition by repetition; medians and minima. */
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "layout_cuckoo.h"
#include "layout_pair.h"
#include "layout_peers.h"
#include "names.h"

using namespace layout;

namespace {

enum Pattern { Hit, Miss, Dependent, DependentRecord, Batch, Build, Patterns };
const char *const PatternName[] = {"hit", "miss", "dep", "d+rec", "batch", "build"};

struct Queries {
    std::vector<std::string_view> hits, misses;
    std::vector<uint32_t> numbers;
    std::unique_ptr<char[]> hit_text, miss_text;
};

double now() {
    using namespace std::chrono;
    return double(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

void keep(uint64_t value) {
    asm volatile("" : : "r"(value) : "memory");
}

/* Zero that the processor can only know once `value` is there. */
uint64_t zero_after(uint64_t value) {
    asm volatile("and $0, %0" : "+r"(value));
    return value;
}

template <class Table> struct Ours : Table {
    static constexpr bool Batched = true;
    using Found = decltype(std::declval<Table>().lookup(0, nullptr, 0));
    __attribute__((noinline)) Found find(const char *name, size_t size) const {
        return this->lookup(hash_name(name, size), name, size);
    }
    __attribute__((noinline)) void find_many(const std::string_view *names, size_t count,
                                             Found *out) const {
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

template <class Table> struct Peer : Table {
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

template <class Contender, Cut How, bool Narrow, bool Floor> struct EngineOf : Engine {
    std::unique_ptr<Contender> table;

    explicit EngineOf(const char *label) { name = label; }
    Plan plan() const override { return {How, Narrow, How != Cut::None || Contender::Batched}; }

    bool open(const Frame &frame) override {
        table.reset(new Contender);
        usable = table->build(frame);
        frame_size = frame.blob_size + frame.count * frame.record_size();
        table_size = usable ? table->table_size() : 0;
        return usable;
    }

    bool check(const Frame &frame, const Queries &queries) const override {
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

    uint64_t many(const std::vector<std::string_view> &names) const {
        uint64_t sum = 0;
        for (const auto &one : names) sum += uint64_t(table->find(one.data(), one.size()));
        return sum;
    }

    uint64_t chain(const std::vector<std::string_view> &names, bool record) const {
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

    void run(Pattern pattern, const Queries &queries) override {
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

    void build(const std::vector<std::string_view> &names) override {
        double start = now();
        Frame frame;
        frame.build(names, plan());
        Contender fresh;
        keep(fresh.build(frame));
        times[Build].push_back((now() - start) / double(names.size()));
    }
};

/* absl keeps string_views of names that must be copied too, but needs no texts and no XXH3. */
using EngineList = std::vector<std::unique_ptr<Engine>>;

template <class Table, Cut How = Cut::First> void add(EngineList &list, const char *label) {
    constexpr bool Narrow = !std::is_same_v<typename Ours<Table>::Found, const Record *>;
    list.emplace_back(new EngineOf<Ours<Table>, How, Narrow, false>(label));
}

using Best = CompareMasked;

void add_tables(EngineList &list) {
    add<SlotsLinear<Best, 35>>(list, "lp4 .35");
    add<SlotsLinear<Best, 70>>(list, "lp4 .70");
    add<SlotsBucket<Best, 4, 35>>(list, "bucket4 .35");
    add<SlotsBucket<Best, 4, 60>>(list, "bucket4 .60");
    add<SlotsBucket<Best, 16, 70>>(list, "line16 .70");
    add<SlotsCuckoo<Best, 40>>(list, "cuckoo4 .40");
    add<SlotsPilot<Best, 85>>(list, "phf4 .85");
    add<RecordPilot<Best, 85>>(list, "phf-record .85");
    add<PairBucket<Best, 4, 35>>(list, "pair8 bucket4 .35");
    add<PairBucket<Best, 4, 50>>(list, "pair8 bucket4 .50");
    add<PairBucket<Best, 4, 65>>(list, "pair8 bucket4 .65");
    add<PairBucket<Best, 8, 60>>(list, "pair8 line8 .60");
    add<PairBucket<Best, 8, 75>>(list, "pair8 line8 .75");
    add<PairTagged<Best, SlotNumber, 60>>(list, "pair8 tagged .60");
    add<PairTagged<Best, SlotNumber, 75>>(list, "pair8 tagged .75");
    add<PairTagged<Best, SlotOffset, 60>>(list, "pair16 tagged .60");
    add<PairTagged<Best, SlotOffset, 75>>(list, "pair16 tagged .75");
    add<PairLine<Best, 60>>(list, "pair16 line4 .60");
    add<PairPilot<Best, 85>>(list, "pair8 phf .85");
}

void add_cuts(EngineList &list) {
    add<SlotsBucket<Best, 4, 50>, Cut::First>(list, "bucket4 cut first");
    add<SlotsBucket<Best, 4, 50>, Cut::Last>(list, "bucket4 cut last");
    add<SlotsBucket<Best, 4, 50>, Cut::Lcp>(list, "bucket4 cut lcp");
    add<SlotsBucket<Best, 4, 50>, Cut::None>(list, "bucket4 no cut");
    add<PairBucket<Best, 4, 50>, Cut::First>(list, "pair8 cut first");
    add<PairBucket<Best, 4, 50>, Cut::Last>(list, "pair8 cut last");
    add<PairBucket<Best, 4, 50>, Cut::None>(list, "pair8 no cut");
}

void add_compares(EngineList &list) {
    add<PairBucket<CompareMemcmp, 4, 50>>(list, "pair8 memcmp");
    add<PairBucket<CompareWords, 4, 50>>(list, "pair8 words");
    add<PairBucket<CompareWindows, 4, 50>>(list, "pair8 windows");
    add<PairBucket<CompareMasked, 4, 50>>(list, "pair8 masked");
    add<SlotsBucket<CompareMemcmp, 4, 50>>(list, "bucket4 memcmp");
    add<SlotsBucket<CompareWords, 4, 50>>(list, "bucket4 words");
    add<SlotsBucket<CompareWindows, 4, 50>>(list, "bucket4 windows");
    add<SlotsBucket<CompareMasked, 4, 50>>(list, "bucket4 masked");
}

void add_peers(EngineList &list) {
    list.emplace_back(new EngineOf<Peer<PeerAbsl>, Cut::None, false, false>("absl"));
    list.emplace_back(new EngineOf<Peer<PeerAbslInline>, Cut::None, false, false>("absl inline"));
    list.emplace_back(new EngineOf<Peer<PeerScan>, Cut::None, false, false>("scan"));
    list.emplace_back(new EngineOf<Peer<FloorHash>, Cut::None, false, true>("floor hash"));
    list.emplace_back(new EngineOf<Peer<FloorLoad>, Cut::None, false, true>("floor hash+load"));
}

std::unique_ptr<char[]> pack(std::vector<std::string_view> &views) {
    size_t size = 0, at = 0;
    for (const auto &view : views) size += view.size();
    std::unique_ptr<char[]> text(new char[size + 1]);
    for (auto &view : views) {
        std::memcpy(text.get() + at, view.data(), view.size());
        view = std::string_view(text.get() + at, view.size());
        at += view.size();
    }
    return text;
}

Queries make_queries(const std::vector<std::string_view> &names,
                     const std::vector<std::string_view> &misses) {
    Queries queries;
    std::mt19937_64 random(1);
    size_t count = std::min<size_t>(std::max<size_t>(names.size(), 32768), 262144);
    std::vector<uint32_t> numbers;
    while (numbers.size() < count) {
        for (uint32_t i = 0; i < names.size(); i++) numbers.push_back(i);
    }
    std::shuffle(numbers.begin(), numbers.end(), random);
    numbers.resize(count);
    for (uint32_t number : numbers) {
        queries.hits.push_back(names[number]);
        queries.misses.push_back(misses[random() % misses.size()]);
    }
    queries.numbers = std::move(numbers);
    queries.hit_text = pack(queries.hits);
    queries.miss_text = pack(queries.misses);
    return queries;
}

double median(std::vector<double> times) {
    if (times.empty()) return 0;
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

void print(const EngineList &list, size_t count) {
    std::printf("%-20s", "");
    for (int p = 0; p < Patterns; p++) std::printf(" %13s", PatternName[p]);
    std::printf(" %7s %7s\n", "table", "all B");
    for (const auto &engine : list) {
        if (!engine->usable) continue;
        std::printf("%-20s", engine->name.c_str());
        for (const auto &times : engine->times) {
            if (times.empty()) {
                std::printf(" %13s", "-");
            } else {
                double least = *std::min_element(times.begin(), times.end());
                std::printf(" %6.1f/%6.1f", median(times), least);
            }
        }
        std::printf(" %7.1f %7.1f\n", double(engine->table_size) / double(count),
                    double(engine->table_size + engine->frame_size) / double(count));
    }
}

void study(const char *title, const std::vector<std::string_view> &names,
           const std::vector<std::string_view> &misses, const std::string &what, int repetitions) {
    EngineList list;
    if (what == "tables" || what == "all") add_tables(list);
    if (what == "cuts" || what == "all") add_cuts(list);
    if (what == "compares" || what == "all") add_compares(list);
    add_peers(list);
    Queries queries = make_queries(names, misses);
    std::map<std::pair<Cut, bool>, Frame> frames;
    for (auto &engine : list) {
        Plan plan = engine->plan();
        Frame &frame = frames[{plan.cut, plan.narrow}];
        if (frame.count == 0) frame.build(names, {plan.cut, plan.narrow, true});
        if (engine->open(frame) && !engine->check(frame, queries)) {
            std::printf("%s: WRONG\n", engine->name.c_str());
            std::exit(1);
        }
    }
    std::printf("\n%s: %zu names, %zu queries\n", title, names.size(), queries.hits.size());
    const char *const labels[] = {"first", "last", "lcp", "none"};
    for (const auto &[key, frame] : frames) {
        if (key.second || key.first == Cut::None) continue;
        std::printf("  cut %s: %u prefixes, %u suffixes, %.0f KB\n", labels[int(key.first)],
                    frame.prefixes.count - 1, frame.suffixes.count - 1,
                    double(frame.shared_text) / 1024);
    }
    for (int repetition = 0; repetition < repetitions; repetition++) {
        for (int pattern = 0; pattern < Build; pattern++) {
            for (auto &engine : list) {
                if (engine->usable) engine->run(Pattern(pattern), queries);
            }
        }
        if (names.size() > 500000 && repetition >= 3) continue;
        for (auto &engine : list) {
            if (engine->usable) engine->build(names);
        }
    }
    print(list, names.size());
}

} // namespace

/* bench_layouts [SET or FILE] [tables|cuts|compares|all] [REPETITIONS] */
int main(int count, char **arguments) {
    const char *set = count > 1 ? arguments[1] : "L";
    std::string what = count > 2 ? arguments[2] : "all";
    int repetitions = count > 3 ? std::atoi(arguments[3]) : 9;
    names_list made = {}, absent = {};
    if ((names_make(set, &made) != 0 && names_read(set, &made) != 0) ||
        names_misses(&made, 1, &absent) != 0) {
        std::fprintf(stderr, "%s: no such set of names\n", set);
        return 1;
    }
    std::vector<std::string_view> names, misses;
    for (size_t i = 0; i < made.count; i++) {
        names.emplace_back(made.tensors[i].name, made.tensors[i].name_size);
        misses.emplace_back(absent.tensors[i].name, absent.tensors[i].name_size);
    }
    study(set, names, misses, what, repetitions);
    names_free(&made);
    names_free(&absent);
    return 0;
}
