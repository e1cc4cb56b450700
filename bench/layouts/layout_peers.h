/* Baselines: abseil's map, a linear scan, and floors that no lookup can go under. */
#ifndef LAYOUT_PEERS_H
#define LAYOUT_PEERS_H

#include <absl/container/flat_hash_map.h>

#include "layout_frame.h"

namespace layout
{

/* The map holds the number of a record that lies in an array beside it. */
struct PeerAbsl {
    absl::flat_hash_map<std::string_view, uint32_t> map;
    const Frame *frame = nullptr;

    size_t table_size() const
    {
        return map.capacity() * 25;
    }
    bool build(const Frame &from)
    {
        frame = &from;
        map.reserve(from.count);
        for (size_t i = 0; i < from.count; i++) {
            map.emplace(std::string_view(from.name(i), from.name_size(i)), uint32_t(i));
        }
        return true;
    }
    const Record *find(const char *name, size_t size) const
    {
        auto found = map.find(std::string_view(name, size));
        return found == map.end() ? nullptr : &frame->records[found->second];
    }
};

/* The map holds the record: what a caller would do who only wants the offset. */
struct PeerAbslInline {
    struct Value {
        uint64_t offset;
        uint32_t index;
    };
    absl::flat_hash_map<std::string_view, Value> map;

    size_t table_size() const
    {
        return map.capacity() * 33;
    }
    bool build(const Frame &from)
    {
        map.reserve(from.count);
        for (size_t i = 0; i < from.count; i++) {
            map.emplace(std::string_view(from.name(i), from.name_size(i)),
                        Value{from.offset(i), uint32_t(i)});
        }
        return true;
    }
    const Value *find(const char *name, size_t size) const
    {
        auto found = map.find(std::string_view(name, size));
        return found == map.end() ? nullptr : &found->second;
    }
};

struct PeerScan {
    const Frame *frame = nullptr;

    size_t table_size() const
    {
        return 0;
    }
    bool build(const Frame &from)
    {
        frame = &from;
        return from.count < 10000;
    }
    const Record *find(const char *name, size_t size) const
    {
        for (size_t i = 0; i < frame->count; i++) {
            if (frame->name_size(i) == size && std::memcmp(frame->name(i), name, size) == 0)
                return &frame->records[i];
        }
        return nullptr;
    }
};

/* Not lookups: the hash alone, and the hash with one load from an array of 16 bytes a name. */
struct FloorHash {
    size_t table_size() const
    {
        return 0;
    }
    bool build(const Frame &)
    {
        return true;
    }
    __attribute__((noinline)) const Record *find(const char *name, size_t size) const
    {
        return reinterpret_cast<const Record *>(hash_name(name, size));
    }
};

struct FloorLoad {
    uint64_t *lines = nullptr;
    uint32_t range = 0;

    ~FloorLoad()
    {
        std::free(lines);
    }
    size_t table_size() const
    {
        return size_t(range) * 16;
    }
    bool build(const Frame &from)
    {
        range = uint32_t(from.count);
        lines = allocate_zero<uint64_t>(range * 2);
        return true;
    }
    __attribute__((noinline)) const Record *find(const char *name, size_t size) const
    {
        uint64_t hash = hash_name(name, size);
        uint32_t at = uint32_t((uint64_t(uint32_t(hash)) * range) >> 32);
        return reinterpret_cast<const Record *>(lines[at * 2] + 1);
    }
};

} // namespace layout

#endif
