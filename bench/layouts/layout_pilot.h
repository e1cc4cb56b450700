/* Perfect hashing by pilots: a byte for about 3 names, found while building, sends every name to a
 * slot of its own. Over slots of 4 bytes, over slots with text ids, or over the records. */
#ifndef LAYOUT_PILOT_H
#define LAYOUT_PILOT_H

#include "layout_slots.h"

namespace layout
{

struct Pilots {
    static constexpr uint32_t Group = 3;
    uint8_t *pilots = nullptr;
    uint32_t groups = 0, range = 0;

    ~Pilots()
    {
        std::free(pilots);
    }

    static uint32_t place(uint64_t hash, uint32_t pilot, uint32_t range)
    {
        uint32_t mixed = (uint32_t(hash >> 32) ^ (pilot * 0x9e3779b9u)) * 0x85ebca6bu;
        return scale(mixed ^ mixed >> 15, range);
    }
    uint32_t group(uint64_t hash) const
    {
        return scale(uint32_t(hash), groups);
    }
    uint32_t position(uint64_t hash) const
    {
        return place(hash, pilots[group(hash)], range);
    }

    bool place_group(const uint64_t *hashes, const uint32_t *members, uint32_t size,
                     uint64_t *taken, uint8_t &pilot) const
    {
        uint32_t at[64];
        if (size > 64) return false;
        for (uint32_t trial = 0; trial < 256; trial++) {
            uint32_t placed = 0;
            for (; placed < size; placed++) {
                uint32_t slot = place(hashes[members[placed]], trial, range);
                if (taken[slot >> 6] >> (slot & 63) & 1) break;
                taken[slot >> 6] |= uint64_t(1) << (slot & 63);
                at[placed] = slot;
            }
            if (placed == size) {
                pilot = uint8_t(trial);
                return true;
            }
            while (placed-- > 0) taken[at[placed] >> 6] &= ~(uint64_t(1) << (at[placed] & 63));
        }
        return false;
    }

    bool build(const uint64_t *hashes, size_t count, int load)
    {
        groups = uint32_t(count / Group + 1);
        range = uint32_t(count * 100 / unsigned(load) + 4);
        pilots = allocate_zero<uint8_t>(groups);
        std::vector<uint32_t> start(groups + 1, 0), members(count), order(groups);
        for (size_t i = 0; i < count; i++) start[group(hashes[i])]++;
        uint32_t sizes[65] = {0}, sum = 0;
        for (uint32_t g = 0; g < groups; g++) {
            uint32_t size = start[g];
            if (size > 63) return false;
            sizes[63 - size + 1]++;
            start[g] = sum += size;
        }
        start[groups] = sum;
        for (size_t i = count; i-- > 0;) members[--start[group(hashes[i])]] = uint32_t(i);
        for (int i = 1; i < 65; i++) sizes[i] += sizes[i - 1];
        for (uint32_t g = 0; g < groups; g++) order[sizes[63 - (start[g + 1] - start[g])]++] = g;
        std::vector<uint64_t> taken(range / 64 + 1, 0);
        for (uint32_t g : order) {
            uint32_t size = start[g + 1] - start[g];
            if (!place_group(hashes, &members[start[g]], size, taken.data(), pilots[g]))
                return false;
        }
        return true;
    }
};

template <class Compare, int Load>
struct SlotsPilot {
    const Frame *frame = nullptr;
    uint32_t *slots = nullptr;
    uint32_t mask = 0;
    Pilots pilots;

    ~SlotsPilot()
    {
        std::free(slots);
    }
    size_t table_size() const
    {
        return pilots.range * sizeof(uint32_t) + pilots.groups;
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        if (!pilots.build(from.hashes, from.count, Load)) return false;
        slots = allocate_zero<uint32_t>(pilots.range);
        for (size_t i = 0; i < from.count; i++) {
            uint64_t hash = from.hashes[i];
            slots[pilots.position(hash)] = (uint32_t(hash >> 32) & ~mask) | uint32_t(i + 1);
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&slots[pilots.position(hash)]);
    }
    void prefetch_record(uint64_t hash) const
    {
        uint32_t slot = slots[pilots.position(hash)];
        __builtin_prefetch(&frame->records[int32_t(slot & mask) - 1]);
    }

    const Record *lookup(uint64_t hash, const char *name, size_t size) const
    {
        uint32_t slot = slots[pilots.position(hash)];
        if (((slot ^ uint32_t(hash >> 32)) & ~mask) != 0) return nullptr;
        const Record *record = &frame->records[int32_t(slot & mask) - 1];
        return record_is<Compare>(*record, frame->blob, name, size) ? record : nullptr;
    }
};

/* The records stand where their names hash to; tensor order is a permutation beside them. */
template <class Compare, int Load>
struct RecordPilot {
    const Frame *frame = nullptr;
    Record *records = nullptr;
    uint32_t *order = nullptr;
    Pilots pilots;

    ~RecordPilot()
    {
        std::free(records);
        std::free(order);
    }
    size_t table_size() const
    {
        size_t spare = (pilots.range - frame->count) * sizeof(Record);
        return spare + frame->count * sizeof(uint32_t) + pilots.groups;
    }

    bool build(const Frame &from)
    {
        frame = &from;
        if (!pilots.build(from.hashes, from.count, Load)) return false;
        records = allocate<Record>(pilots.range);
        order = allocate<uint32_t>(from.count);
        for (uint32_t i = 0; i < pilots.range; i++) records[i] = from.records[-1];
        for (size_t i = 0; i < from.count; i++) {
            order[i] = pilots.position(from.hashes[i]);
            records[order[i]] = from.records[i];
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&records[pilots.position(hash)]);
    }
    void prefetch_record(uint64_t) const {}

    const Record *lookup(uint64_t hash, const char *name, size_t size) const
    {
        const Record *record = &records[pilots.position(hash)];
        return record_is<Compare>(*record, frame->blob, name, size) ? record : nullptr;
    }
};

} // namespace layout

#endif
