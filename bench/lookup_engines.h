/*
 * The engines of bench_lookup. Every one owns its names: copying them is part of building it, as a
 * reader of headers must keep them somewhere. Values are a uint32_t place in the list, unless said
 * otherwise. The containers are templates and inline into the timing loops; tare is called through
 * its C functions in libtare.a, as any user calls it.
 *
 * C++17's std::unordered_map cannot be asked for a string_view when its keys are strings: its
 * caller holds ready-made strings, which costs nothing in the loop. A view-keyed one stands beside.
 */
#ifndef TARE_BENCH_LOOKUP_ENGINES_H
#define TARE_BENCH_LOOKUP_ENGINES_H

#include "lookup_frame.h"

#include <absl/container/flat_hash_map.h>
#include <absl/strings/string_view.h>

#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
#include <boost/unordered/unordered_flat_map.hpp>
#define TARE_BENCH_BOOST 1
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace lookup
{

/* tare */

class TareBase
{
  public:
    using Query = tare_string;
    static constexpr uint64_t absent = 0;
    static constexpr size_t count_max = no_limit;

    TareBase() = default;
    TareBase(const TareBase &) = delete;
    TareBase &operator=(const TareBase &) = delete;
    ~TareBase()
    {
        tare_close(model_);
    }

    uint64_t find(const Query &query) const
    {
        return token(tare_find(model_, query.data, query.size));
    }

    void find_many(const Query *queries, size_t count, uint64_t *tokens) const
    {
        static_assert(sizeof(uint64_t) == sizeof(const tare_tensor *));
        tare_find_many(model_, queries, count, reinterpret_cast<const tare_tensor **>(tokens));
    }

  protected:
    static uint64_t token(const tare_tensor *tensor)
    {
        return reinterpret_cast<uint64_t>(tensor);
    }
    static const tare_tensor *tensor(uint64_t token)
    {
        return reinterpret_cast<const tare_tensor *>(token);
    }

    void check(tare_status status, const tare_error &error) const
    {
        if (status == TARE_OK) return;
        std::fprintf(stderr, "bench_lookup: tare: %s\n", error.message);
        std::exit(1);
    }

    tare_model *model_ = nullptr;
};

/* Opened from a safetensors file in memory, so that building it parses the header. */
struct Tare : TareBase {
    static constexpr const char *name = "tare";

    explicit Tare(const Workload &workload) : order_(workload.file_order())
    {
        const std::string &file = workload.file();
        tare_options options = TARE_OPTIONS_INIT;
        options.header_size_max = file.size();
        tare_error error;
        check(tare_open_bytes(file.data(), file.size(), &options, &model_, &error), error);
    }

    uint32_t number(uint64_t token) const
    {
        return order_[tare_index_of(model_, tensor(token))];
    }
    uint64_t offset(uint64_t token) const
    {
        return tare_offset(model_, tensor(token));
    }

    const std::vector<uint32_t> &order_;
};

/* Made from the same list of names that the containers are built from. Its tensors have no data:
 * offsets come from the caller's records, as they do for the containers. */
struct TarePairs : TareBase {
    static constexpr const char *name = "tare_pairs";

    explicit TarePairs(const Workload &workload) : records_(workload.records())
    {
        const std::vector<tare_pair> &pairs = workload.pairs();
        tare_error error;
        check(tare_open_pairs(pairs.data(), pairs.size(), nullptr, &model_, &error), error);
    }

    uint32_t number(uint64_t token) const
    {
        return (uint32_t)tare_index_of(model_, tensor(token));
    }
    uint64_t offset(uint64_t token) const
    {
        return records_[number(token)].offset;
    }

    const std::vector<Record> &records_;
};

/* Engines that find a number */

class NumberBase
{
  public:
    static constexpr uint64_t absent = UINT32_MAX;
    static constexpr size_t count_max = no_limit;

    explicit NumberBase(const Workload &workload) : records_(workload.records().data()) {}
    uint32_t number(uint64_t token) const
    {
        return (uint32_t)token;
    }
    uint64_t offset(uint64_t token) const
    {
        return records_[token].offset;
    }

  private:
    const Record *records_;
};

/* Names end to end in memory of the table's own, for tables whose keys are views. */
class OwnNames
{
  public:
    explicit OwnNames(const names_list &list) : text_(new char[list.text_size]), list_(list)
    {
        std::memcpy(text_.get(), list.text, list.text_size);
    }

    template <class View, class Take>
    void each(Take take) const
    {
        const char *name = text_.get();
        for (size_t i = 0; i < list_.count; i++) {
            size_t size = list_.tensors[i].name_size;
            take(View(name, size), (uint32_t)i);
            name += size + 1;
        }
    }

  private:
    std::unique_ptr<char[]> text_;
    const names_list &list_;
};

/* The design that tare replaces: a list of (name, value) gone through from its start, sizes
 * compared before bytes. */
class Linear : public NumberBase
{
  public:
    static constexpr const char *name = "linear";
    static constexpr size_t count_max = 100000;
    using Query = std::string_view;

    explicit Linear(const Workload &workload) : NumberBase(workload)
    {
        const names_list &list = workload.list();
        entries_.reserve(list.count);
        for (size_t i = 0; i < list.count; i++)
            entries_.emplace_back(std::string(list.tensors[i].name, list.tensors[i].name_size), i);
    }

    uint64_t find(const Query &query) const
    {
        for (const auto &entry : entries_)
            if (entry.first.size() == query.size() &&
                std::memcmp(entry.first.data(), query.data(), query.size()) == 0)
                return entry.second;
        return absent;
    }

  private:
    std::vector<std::pair<std::string, uint32_t>> entries_;
};

class SortedBsearch : public NumberBase
{
  public:
    static constexpr const char *name = "sorted_bsearch";
    using Query = std::string_view;

    explicit SortedBsearch(const Workload &workload) : NumberBase(workload), names_(workload.list())
    {
        entries_.reserve(workload.list().count);
        names_.each<std::string_view>(
            [&](std::string_view key, uint32_t value) { entries_.emplace_back(key, value); });
        std::sort(entries_.begin(), entries_.end());
    }

    uint64_t find(const Query &query) const
    {
        auto at = std::lower_bound(
            entries_.begin(), entries_.end(), query,
            [](const auto &entry, const Query &wanted) { return entry.first < wanted; });
        return at != entries_.end() && at->first == query ? at->second : absent;
    }

  private:
    OwnNames names_;
    std::vector<std::pair<std::string_view, uint32_t>> entries_;
};

template <class Map>
class StringMap : public NumberBase
{
  public:
    using Query = std::string;

    explicit StringMap(const Workload &workload) : NumberBase(workload)
    {
        const names_list &list = workload.list();
        if constexpr (!std::is_same_v<Map, std::map<std::string, uint32_t>>)
            map_.reserve(list.count);
        for (size_t i = 0; i < list.count; i++)
            map_.emplace(std::string(list.tensors[i].name, list.tensors[i].name_size), i);
    }

    uint64_t find(const Query &query) const
    {
        auto at = map_.find(query);
        return at != map_.end() ? at->second : absent;
    }

  private:
    Map map_;
};

struct StdMap : StringMap<std::map<std::string, uint32_t>> {
    static constexpr const char *name = "std_map";
    using StringMap::StringMap;
};

struct StdUnorderedMap : StringMap<std::unordered_map<std::string, uint32_t>> {
    static constexpr const char *name = "std_unordered_map";
    using StringMap::StringMap;
};

template <class View, class Map>
class ViewMap : public NumberBase
{
  public:
    using Query = View;

    explicit ViewMap(const Workload &workload) : NumberBase(workload), names_(workload.list())
    {
        map_.reserve(workload.list().count);
        names_.each<View>([&](View key, uint32_t value) { map_.emplace(key, value); });
    }

    uint64_t find(const Query &query) const
    {
        auto at = map_.find(query);
        return at != map_.end() ? at->second : absent;
    }

  private:
    OwnNames names_;
    Map map_;
};

struct StdUnorderedMapView
    : ViewMap<std::string_view, std::unordered_map<std::string_view, uint32_t>> {
    static constexpr const char *name = "std_unordered_map_view";
    using ViewMap::ViewMap;
};

struct AbslFlatHashMap
    : ViewMap<absl::string_view, absl::flat_hash_map<absl::string_view, uint32_t>> {
    static constexpr const char *name = "absl_flat_hash_map";
    using ViewMap::ViewMap;
};

/* Finds a pointer to {place, offset} in the slot: the offset needs no further memory. */
class AbslFlatHashMapInline
{
  public:
    static constexpr const char *name = "absl_flat_hash_map_inline";
    static constexpr uint64_t absent = 0;
    static constexpr size_t count_max = no_limit;
    using Query = absl::string_view;

    explicit AbslFlatHashMapInline(const Workload &workload) : names_(workload.list())
    {
        const std::vector<Record> &records = workload.records();
        map_.reserve(workload.list().count);
        names_.each<absl::string_view>([&](absl::string_view key, uint32_t value) {
            map_.emplace(key, Value{value, records[value].offset});
        });
    }

    uint64_t find(const Query &query) const
    {
        auto at = map_.find(query);
        return at != map_.end() ? reinterpret_cast<uint64_t>(&at->second) : absent;
    }

    uint32_t number(uint64_t token) const
    {
        return reinterpret_cast<const Value *>(token)->number;
    }
    uint64_t offset(uint64_t token) const
    {
        return reinterpret_cast<const Value *>(token)->offset;
    }

  private:
    struct Value {
        uint32_t number;
        uint64_t offset;
    };

    OwnNames names_;
    absl::flat_hash_map<absl::string_view, Value> map_;
};

#ifdef TARE_BENCH_BOOST
struct Xxh3 {
    using is_avalanching = void; /* tells boost not to mix once more */
    size_t operator()(std::string_view name) const
    {
        return XXH3_64bits(name.data(), name.size());
    }
};

struct BoostUnorderedFlatMap
    : ViewMap<std::string_view, boost::unordered_flat_map<std::string_view, uint32_t>> {
    static constexpr const char *name = "boost_unordered_flat_map";
    using ViewMap::ViewMap;
};

struct BoostUnorderedFlatMapXxh3
    : ViewMap<std::string_view, boost::unordered_flat_map<std::string_view, uint32_t, Xxh3>> {
    static constexpr const char *name = "boost_unordered_flat_map_xxh3";
    using ViewMap::ViewMap;
};
#endif

/* The engine table. */
constexpr EngineRow engines[] = {
    row<Tare>(),
    row<TarePairs>(),
    row<Linear>(),
    row<SortedBsearch>(),
    row<StdMap>(),
    row<StdUnorderedMap>(),
    row<StdUnorderedMapView>(),
    row<AbslFlatHashMap>(),
    row<AbslFlatHashMapInline>(),
#ifdef TARE_BENCH_BOOST
    row<BoostUnorderedFlatMap>(),
    row<BoostUnorderedFlatMapXxh3>(),
#endif
};

} // namespace lookup

#endif
