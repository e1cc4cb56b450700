/* Study of how names are kept: in full, or in fewer bytes. Stores of the same names run in turn,
 * repetition by repetition; medians are printed, and all times are written to a file. */
#include "model_file.h"
#include "tare.h"

#include <malloc.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <iomanip>
#include <map>
#include <numeric>
#include <random>
#include <sstream>

#include "layout_engine.h"
#include "names_records.h"
#include "names_stores.h"

using namespace layout;

namespace
{

using Times = std::map<std::string, std::vector<double>>; /* ns an item, by what was timed */

constexpr size_t PassSize = 100000; /* items of a timed pass, at least */

/* Names as tare_at has them, and what tare holds for them. */
struct Opened {
    model_shard shard = {};
    tare_model *model = nullptr;
    Names names; /* in the model's text */
    Facts facts;
    tare_stat stat = {};
    std::vector<uint32_t> order; /* a random one */
    size_t rounds = 1;           /* of all names in a pass */
};

/* Processor time of this thread, ns: others that share the processor do not count. */
double spent()
{
    timespec time = {};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return double(time.tv_sec) * 1e9 + double(time.tv_nsec);
}

int64_t read_header(void *context, uint64_t offset, void *target, size_t size)
{
    std::memcpy(target, static_cast<model_shard *>(context)->header + offset, size);
    return int64_t(size);
}

tare_model *open_model(model_shard &shard)
{
    tare_reader reader = {sizeof reader, &shard, read_header, shard.header_size + shard.data_size};
    tare_model *model = nullptr;
    if (tare_open_reader(&reader, nullptr, &model, nullptr) != TARE_OK) give_up("cannot open");
    return model;
}

Opened open_set(const std::string &set)
{
    Opened opened;
    names_list list = {};
    if (names_make(set.c_str(), &list) != 0 && names_read(set.c_str(), &list) != 0)
        give_up("no such set of names");
    if (model_shard_make(&list, 0, list.count, MODEL_DATA_TRUE, nullptr, &opened.shard) != 0)
        give_up("cannot make a header");
    names_free(&list);
    const tare_model *model = opened.model = open_model(opened.shard);
    opened.stat.struct_size = sizeof opened.stat;
    tare_model_stat(model, &opened.stat);

    Facts &facts = opened.facts;
    std::map<std::pair<uint32_t, std::vector<uint64_t>>, uint32_t> layouts;
    for (size_t i = 0; i < tare_count(model); i++) {
        tare_info info = tare_describe(model, tare_at(model, i));
        std::vector<uint64_t> shape(info.shape, info.shape + info.rank);
        auto made = layouts.insert({{uint32_t(info.dtype), shape}, uint32_t(layouts.size())});
        if (made.second) facts.sizes.push_back(info.size);
        facts.layouts.push_back(made.first->second);
        facts.offsets.push_back(info.offset);
        opened.names.emplace_back(info.name, info.name_size);
        if (info.name_size + 1 + Overrun > BufferSize) give_up("a name is too long");
    }
    opened.order.resize(opened.names.size());
    std::iota(opened.order.begin(), opened.order.end(), 0u);
    std::shuffle(opened.order.begin(), opened.order.end(), std::mt19937_64(1));
    opened.rounds = PassSize / opened.names.size() + 1;
    return opened;
}

/* ------------------------------------------------------------------------------------------------
 * What is timed
 */

struct Lane {
    std::string label;
    Times times;
    NameBytes bytes = {};
    virtual ~Lane() {}
    virtual void check() = 0;
    virtual void repeat() = 0;
};

/* Runs `pass` over all items in rounds, once untimed. */
template <class Pass>
void time_pass(Times &times, const char *what, const Opened &opened, Pass pass)
{
    pass();
    double start = spent();
    for (size_t round = 0; round < opened.rounds; round++) pass();
    times[what].push_back((spent() - start) / double(opened.rounds * opened.names.size()));
}

/* Reading a name is its XXH3: all of its bytes are looked at. */
void read_name(std::string_view name)
{
    keep(hash_name(name.data(), name.size()));
}

template <class Store>
struct StoreLane : Lane {
    const Opened &opened;
    Store store;

    explicit StoreLane(const Opened &from) : opened(from), store(from.names)
    {
        label = Store::label;
    }

    void check_names(Store &fresh) const
    {
        char buffer[BufferSize];
        const Names &names = opened.names;
        auto same = [](std::string_view name, std::string_view wanted) {
            if (name != wanted || name.data()[name.size()] != '\0') give_up("a wrong name");
        };
        Names kept(names.size());
        for (uint32_t i : opened.order) same(kept[i] = fresh.get(i, buffer), names[i]);
        size_t at = 0;
        fresh.walk([&](std::string_view name) { same(name, names[at++]); });
        if (at != names.size()) give_up("not all names");
        if (Store::is_kept)
            for (size_t i = 0; i < names.size(); i++) same(kept[i], names[i]);
    }

    /* Two threads ask a fresh store for every name at once. */
    void check() override
    {
        Store fresh(opened.names);
        std::thread other([&] { check_names(fresh); });
        check_names(fresh);
        other.join();
        bytes = fresh.bytes();
    }

    void repeat() override
    {
        double start = spent(), count = double(opened.names.size());
        auto built = std::make_unique<Store>(opened.names);
        times["build"].push_back((spent() - start) / count);
        if (Store::is_lazy) {
            start = spent();
            built->walk(read_name);
            times["first_order"].push_back((spent() - start) / count);
            built = std::make_unique<Store>(opened.names);
            start = spent();
            for (size_t i = 0; i < opened.names.size(); i += Group)
                read_name(built->get(i, nullptr));
            times["first_of_group"].push_back((spent() - start) * double(Group) / count);
        }
        built.reset();
        time_pass(times, "order", opened, [&] { store.walk(read_name); });
        time_pass(times, "random", opened, [&] {
            char buffer[BufferSize];
            for (uint32_t i : opened.order) read_name(store.get(i, buffer));
        });
    }
};

template <class Records>
struct RecordLane : Lane {
    const Opened &opened;
    Records records;

    explicit RecordLane(const Opened &from) : opened(from), records(from.facts)
    {
        label = Records::label;
    }
    void check() override
    {
        for (uint32_t i : opened.order)
            if (records.offset(i) != opened.facts.offsets[i]) give_up("a wrong offset");
        bytes = {records.bytes(), records.bytes(), records.bytes()};
    }
    void repeat() override
    {
        time_pass(times, "order", opened, [&] {
            for (size_t i = 0; i < opened.order.size(); i++) keep(records.offset(i));
        });
        time_pass(times, "random", opened, [&] {
            for (uint32_t i : opened.order) keep(records.offset(i));
        });
    }
};

/* The library's whole open of the same header, to see what a build weighs in it. */
struct OpenLane : Lane {
    Opened &opened;

    explicit OpenLane(Opened &from) : opened(from)
    {
        label = "tare_open_reader";
    }
    void check() override {}
    void repeat() override
    {
        double start = spent();
        tare_model *model = open_model(opened.shard);
        times["open"].push_back((spent() - start) / double(opened.names.size()));
        tare_close(model);
    }
};

using Lanes = std::vector<std::unique_ptr<Lane>>;

/* ------------------------------------------------------------------------------------------------
 * What comes out
 */

double median(std::vector<double> times)
{
    std::sort(times.begin(), times.end());
    return times.empty() ? 0 : (times[(times.size() - 1) / 2] + times[times.size() / 2]) / 2;
}

std::string text_of(const Times &times)
{
    std::ostringstream text;
    text << std::setprecision(4);
    for (const auto &[what, values] : times) {
        text << (text.tellp() > 0 ? ", " : "") << '"' << what << "\": [";
        for (size_t i = 0; i < values.size(); i++) text << (i > 0 ? ", " : "") << values[i];
        text << ']';
    }
    return "{" + text.str() + "}";
}

/* Bytes a tensor beside the records and all that leads to a name: table, parts, shapes, groups. */
double rest_of(const Opened &opened)
{
    const tare_stat &stat = opened.stat;
    return double(stat.memory_size - stat.name_size - stat.record_size) /
           double(opened.names.size());
}

/* `beside` is what a tensor takes beside what the lane holds. */
std::string row(const Lane &lane, size_t count, double beside)
{
    auto each = [count](size_t bytes) { return double(bytes) / double(count); };
    std::printf("%-42s %6.2f %6.2f %6.2f %6.1f", lane.label.c_str(), each(lane.bytes.taken),
                each(lane.bytes.touched), each(lane.bytes.all), beside + each(lane.bytes.taken));
    for (const char *what : {"build", "order", "random", "first_order", "first_of_group", "open"}) {
        auto found = lane.times.find(what);
        if (found == lane.times.end())
            std::printf(" %8s", "-");
        else
            std::printf(" %8.1f", median(found->second));
    }
    std::printf("\n");
    std::ostringstream text;
    text << "   {\"what\": \"" << lane.label << "\", \"bytes_taken\": " << lane.bytes.taken
         << ", \"bytes_touched\": " << lane.bytes.touched << ", \"bytes_all\": " << lane.bytes.all
         << ",\n    \"times_ns\": " << text_of(lane.times) << "}";
    return text.str();
}

std::string study(const std::string &set, size_t repetitions)
{
    Opened opened = open_set(set);
    size_t count = opened.names.size();
    Lanes lanes;
    lanes.emplace_back(new OpenLane(opened));
    lanes.emplace_back(new StoreLane<FullText<0>>(opened));
    lanes.emplace_back(new StoreLane<FullText<MADV_POPULATE_WRITE>>(opened));
    lanes.emplace_back(new StoreLane<FullText<MADV_HUGEPAGE>>(opened));
    lanes.emplace_back(new StoreLane<Composed>(opened));
    lanes.emplace_back(new StoreLane<LazyGroups>(opened));
    lanes.emplace_back(new StoreLane<ReservedGroups>(opened));
    lanes.emplace_back(new StoreLane<FrontCoded<16>>(opened));
    lanes.emplace_back(new StoreLane<FrontCoded<64>>(opened));
    size_t stores = lanes.size();
    lanes.emplace_back(new RecordLane<PlainRecords>(opened));
    lanes.emplace_back(new RecordLane<SummedRecords<16>>(opened));
    lanes.emplace_back(new RecordLane<SummedRecords<64>>(opened));
    for (auto &lane : lanes) lane->check();
    for (size_t i = 0; i < repetitions; i++)
        for (auto &lane : lanes) lane->repeat();

    std::string label = set.substr(set.rfind('/') + 1);
    double rest = rest_of(opened), each = 1 / double(count);
    double record = double(lanes[stores]->bytes.taken) * each;
    double name = double(lanes[1]->bytes.taken) * each;
    std::printf("\n%s: %zu names; bytes and ns a name, beside names and records %.1f bytes\n%-42s "
                "%6s %6s %6s %6s %8s %8s %8s %8s %8s %8s\n",
                label.c_str(), count, rest, "", "taken", "wrote", "all", "total", "build", "order",
                "random", "first", "of group", "open");
    const tare_stat &stat = opened.stat;
    std::ostringstream text;
    text << "  {\"set\": \"" << label << "\", \"names\": " << count
         << ", \"header_size\": " << opened.shard.header_size
         << ", \"memory_size\": " << stat.memory_size << ", \"name_size\": " << stat.name_size
         << ", \"record_size\": " << stat.record_size << ", \"index_size\": " << stat.index_size
         << ", \"shape_size\": " << stat.shape_size << ", \"lanes\": [\n";
    for (size_t i = 0; i < lanes.size(); i++)
        text << row(*lanes[i], count, rest + (i < stores ? record : name))
             << (i + 1 < lanes.size() ? ",\n" : "]}");
    lanes.clear();
    tare_close(opened.model);
    model_shard_free(&opened.shard);
    return text.str();
}

std::string line_of(const char *path, const std::string &key)
{
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        if (line.compare(0, key.size(), key) == 0) return line.substr(line.find(':') + 2);
    return "";
}

std::string facts_of_run(size_t repetitions)
{
    utsname system = {};
    uname(&system);
    double load[3] = {};
    getloadavg(load, 3);
    std::time_t clock = std::time(nullptr);
    char date[32];
    std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&clock));
    std::ostringstream text;
    text << " \"what\": \"names\",\n \"date\": \"" << date << "\",\n \"machine\": \""
         << line_of("/proc/cpuinfo", "model name") << ", " << sysconf(_SC_NPROCESSORS_ONLN)
         << " processors\",\n \"caches\": \"L1d " << sysconf(_SC_LEVEL1_DCACHE_SIZE) << ", L2 "
         << sysconf(_SC_LEVEL2_CACHE_SIZE) << ", L3 " << sysconf(_SC_LEVEL3_CACHE_SIZE)
         << "\",\n \"kernel\": \"" << system.sysname << ' ' << system.release << ' '
         << system.machine << "\",\n \"load_average_before\": " << load[0]
         << ",\n \"compiler\": \"" TARE_BENCH_COMPILER "\",\n \"compiler_flags\": "
         << "\"" TARE_BENCH_FLAGS "\",\n \"tare_version\": \"" << tare_version()
         << "\",\n \"cache_state\": \"warm: an untimed pass before each timed one; building, "
            "opening and first calls into memory fresh from the kernel\",\n"
         << " \"method\": \"stores in turn, " << repetitions
         << " repetitions, processor time of the thread\",\n"
         << " \"unit\": \"ns a name; first_of_group: ns a call\",\n";
    return text.str();
}

} // namespace

/*
 * bench_names OUT.json [REPETITIONS] [SET or FILE]...
 *
 * prints bytes a name of what leads to a name (taken when built; of that, written; taken once all
 * names were asked for) or of records, what that makes in total with the other, the table, parts
 * and shapes, and the medians of times.
 */
int main(int count, char **arguments)
{
    if (count < 2) give_up("usage: bench_names OUT.json [REPETITIONS] [SET or FILE]...");
    mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* setting it also keeps it from growing */
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    size_t repetitions = count > 2 ? size_t(std::atoi(arguments[2])) : 15;
    std::vector<std::string> sets(arguments + std::min(count, 3), arguments + count);
    if (sets.empty())
        sets = {"L", "M", TARE_BENCH_NAMES "/mixtral-8x22b.tsv",
                TARE_BENCH_NAMES "/qwen3.5-25b-moe.tsv"};
    std::string text = "{\n" + facts_of_run(repetitions) + " \"sets\": [\n";
    for (size_t i = 0; i < sets.size(); i++)
        text += study(sets[i], repetitions) + (i + 1 < sets.size() ? ",\n" : "\n ]\n}\n");
    std::ofstream file(arguments[1]);
    if (!(file << text).flush()) give_up("cannot write the file");
    return 0;
}
