/*
 * The containers of C++ as engines of bench_lookup. They are templates and inline into the timing
 * loops. Every one owns its names: copying them is part of building it, as a reader of headers must
 * keep them somewhere. Values are a uint32_t place in the list, unless said otherwise.
 *
 * C++17's std::unordered_map cannot be asked for a string_view when its keys are strings: its
 * caller holds ready-made strings, which costs nothing in the loop. A view-keyed one stands beside.
 */
#ifndef TARE_BENCH_LOOKUP_CONTAINERS_H
#define TARE_BENCH_LOOKUP_CONTAINERS_H

#include "lookup_frame.h"

#include <absl/container/flat_hash_map.h>
#include <absl/strings/string_view.h>

#if __has_include(<boost/unordered/unordered_flat_map.hpp>)
#include <boost/unordered/unordered_flat_map.hpp>
#include <boost/version.hpp>
#define TARE_BENCH_BOOST BOOST_LIB_VERSION
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

/* Engines that find a number */

class NumberBase : public EngineDefaults
{
  public:
    static constexpr uint64_t absent = UINT32_MAX;

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
    static constexpr bool is_scan = true;
    static constexpr bool is_swept = true;
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
    static constexpr bool is_swept = true;
    using ViewMap::ViewMap;
};

struct AbslFlatHashMap
    : ViewMap<absl::string_view, absl::flat_hash_map<absl::string_view, uint32_t>> {
    static constexpr const char *name = "absl_flat_hash_map";
    static constexpr bool is_swept = true;
    using ViewMap::ViewMap;
};

/* Finds a pointer to {place, offset} in the slot: the offset needs no further memory. */
class AbslFlatHashMapInline : public EngineDefaults
{
  public:
    static constexpr const char *name = "absl_flat_hash_map_inline";
    static constexpr uint64_t absent = 0;
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
struct Xxh3Hash {
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
    : ViewMap<std::string_view, boost::unordered_flat_map<std::string_view, uint32_t, Xxh3Hash>> {
    static constexpr const char *name = "boost_unordered_flat_map_xxh3";
    static constexpr bool is_swept = true;
    using ViewMap::ViewMap;
};
#endif

} // namespace lookup

#endif
