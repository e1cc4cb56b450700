/* Layout study for the name index: which table, which cut of names, which comparison. One process,
 * every contender built, their loops interleaved repetition by repetition; medians and minima. */
#include <algorithm>
#include <cstdio>
#include <map>
#include <random>

#include "layout_cuckoo.h"
#include "layout_engine.h"

#include "layout_offset.h"
#include "layout_ordinary.h"
#include "layout_peers.h"
#include "layout_tagged.h"
#include "layout_two_lines.h"
#include "model_names.h"

using namespace layout;

namespace
{

using EngineList = std::vector<std::unique_ptr<Engine>>;

template <class Table, Cut How = Cut::First>
void add(EngineList &list, const char *label)
{
    constexpr bool Narrow = !std::is_same_v<typename Ours<Table>::Found, const Record *>;
    list.emplace_back(new EngineOf<Ours<Table>, How, Narrow, false>(label));
}

using Best = CompareMasked;

void add_tables(EngineList &list)
{
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
    add<PairTwoLines<Best, 65>>(list, "pair8 2 lines .65");
    add<PairTwoLines<Best, 75>>(list, "pair8 2 lines .75");
    add<PairTwoLines<Best, 85>>(list, "pair8 2 lines .85");
    add<PairTagged<Best, SlotNumber, 60>>(list, "pair8 tagged .60");
    add<PairTagged<Best, SlotNumber, 75>>(list, "pair8 tagged .75");
    add<PairTagged<Best, SlotOffset, 60>>(list, "pair16 tagged .60");
    add<PairTagged<Best, SlotOffset, 75>>(list, "pair16 tagged .75");
    add<PairOffset<Best, 60>>(list, "pair16 line4 .60");
    add<PairPilot<Best, 85>>(list, "pair8 phf .85");
}

void add_finalists(EngineList &list)
{
    add<Ordinary<LineStore, 50>>(list, "lines .50");
    add<Ordinary<LineStore, 62>>(list, "lines .62");
    add<Ordinary<LineStore, 75>>(list, "lines .75");
    add<Ordinary<LineStore, 62, Record>>(list, "lines .62 record32");
    add<Ordinary<TagStore, 50>>(list, "tags .50");
    add<Ordinary<TagStore, 62>>(list, "tags .62");
    add<Ordinary<TagStore, 75>>(list, "tags .75");
}

void add_cuts(EngineList &list)
{
    add<SlotsBucket<Best, 16, 70>, Cut::First>(list, "line16 cut first");
    add<SlotsBucket<Best, 16, 70>, Cut::Last>(list, "line16 cut last");
    add<SlotsBucket<Best, 16, 70>, Cut::Lcp>(list, "line16 cut lcp");
    add<SlotsBucket<Best, 16, 70>, Cut::None>(list, "line16 no cut");
    add<PairBucket<Best, 8, 75>, Cut::First>(list, "pair8 cut first");
    add<PairBucket<Best, 8, 75>, Cut::Last>(list, "pair8 cut last");
    add<PairBucket<Best, 8, 75>, Cut::Lcp>(list, "pair8 cut lcp");
    add<PairBucket<Best, 8, 75>, Cut::None>(list, "pair8 no cut");
}

void add_compares(EngineList &list)
{
    add<PairBucket<CompareMemcmp, 8, 75>>(list, "pair8 memcmp");
    add<PairBucket<CompareWords, 8, 75>>(list, "pair8 words");
    add<PairBucket<CompareWindows, 8, 75>>(list, "pair8 windows");
    add<PairBucket<CompareMasked, 8, 75>>(list, "pair8 masked");
    add<SlotsBucket<CompareMemcmp, 16, 70>>(list, "line16 memcmp");
    add<SlotsBucket<CompareWords, 16, 70>>(list, "line16 words");
    add<SlotsBucket<CompareWindows, 16, 70>>(list, "line16 windows");
    add<SlotsBucket<CompareMasked, 16, 70>>(list, "line16 masked");
}

void add_peers(EngineList &list)
{
    list.emplace_back(new EngineOf<Peer<PeerAbsl>, Cut::None, false, false>("absl"));
    list.emplace_back(new EngineOf<Peer<PeerAbslInline>, Cut::None, false, false>("absl inline"));
    list.emplace_back(new EngineOf<Peer<PeerScan>, Cut::None, false, false>("scan"));
    list.emplace_back(new EngineOf<Peer<FloorHash>, Cut::None, false, true>("floor hash"));
    list.emplace_back(new EngineOf<Peer<FloorLoad>, Cut::None, false, true>("floor hash+load"));
}

std::unique_ptr<char[]> pack(std::vector<std::string_view> &views)
{
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
                     const std::vector<std::string_view> &misses)
{
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

double median(std::vector<double> times)
{
    if (times.empty()) return 0;
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

void print(const EngineList &list, size_t count)
{
    std::printf("%-20s", "");
    for (int p = 0; p < Patterns; p++) std::printf(" %13s", PatternName[p]);
    std::printf(" %7s %7s\n", "table", "all B");
    for (const auto &engine : list) {
        std::printf("%-20s", engine->name.c_str());
        if (!engine->usable) {
            std::printf(" cannot be built\n");
            continue;
        }
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
           const std::vector<std::string_view> &misses, const std::string &what, int repetitions,
           const char *only)
{
    EngineList list;
    if (what == "tables" || what == "all") add_tables(list);
    if (what == "finalists" || what == "all") add_finalists(list);
    if (what == "cuts" || what == "all") add_cuts(list);
    if (what == "compares" || what == "all") add_compares(list);
    add_peers(list);
    list.erase(std::remove_if(list.begin(), list.end(),
                              [only](const auto &engine) {
                                  return engine->name.find(only) == std::string::npos;
                              }),
               list.end());
    Queries queries = make_queries(names, misses);
    std::map<std::pair<Cut, bool>, Frame> frames;
    for (auto &engine : list) {
        Plan plan = engine->plan();
        Frame &frame = frames[{plan.cut, plan.narrow}];
        if (frame.count == 0) frame.build(names, {plan.cut, plan.narrow, true});
        if (engine->open(frame) && repetitions > 0 && !engine->check(frame, queries)) {
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
    if (repetitions <= 0) {
        for (auto &engine : list) {
            if (engine->usable) engine->run(repetitions == 0 ? Hit : Miss, queries);
        }
        return;
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

/*
 * bench_layouts [SET or FILE] [tables|finalists|cuts|compares|all] [REPETITIONS] [PART OF A LABEL]
 *
 * prints ns a name, median/minimum, and bytes a name: of the table, and with records and names.
 * 0 repetitions look every name up once, -1 every absent one, untimed, for a count of instructions:
 *
 *     valgrind --tool=callgrind --toggle-collect='*::many(*' bench_layouts L finalists 0 'tags .62'
 */
int main(int count, char **arguments)
{
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
    study(set, names, misses, what, repetitions, count > 4 ? arguments[4] : "");
    names_free(&made);
    names_free(&absent);
    return 0;
}
