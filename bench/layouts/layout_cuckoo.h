/* Two candidate slots of 4 bytes; both are loaded, the one whose tag matches is chosen without a
 * branch. Sets that cannot be placed within the bound of moves make the build fail. */
#ifndef LAYOUT_CUCKOO_H
#define LAYOUT_CUCKOO_H

#include "layout_slots.h"

namespace layout
{

template <class Compare, int Load>
struct SlotsCuckoo {
    static constexpr uint32_t Moves = 500;
    const Frame *frame = nullptr;
    uint32_t *slots = nullptr;
    uint32_t range = 0, mask = 0;

    ~SlotsCuckoo()
    {
        std::free(slots);
    }
    size_t table_size() const
    {
        return range * sizeof(uint32_t);
    }

    uint32_t first(uint64_t hash) const
    {
        return scale(uint32_t(hash), range);
    }
    uint32_t second(uint64_t hash) const
    {
        return scale(uint32_t(hash >> 16), range);
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        range = uint32_t(from.count * 100 / Load + 2);
        slots = allocate_zero<uint32_t>(range);
        for (size_t i = 0; i < from.count; i++) {
            uint32_t number = uint32_t(i + 1);
            uint64_t hash = from.hashes[i];
            uint32_t at = first(hash);
            if (slots[at] != 0 && slots[second(hash)] == 0) at = second(hash);
            for (uint32_t moves = 0;; moves++) {
                uint32_t held = slots[at];
                slots[at] = (uint32_t(hash >> 32) & ~mask) | number;
                if (held == 0) break;
                if (moves == Moves) return false;
                number = held & mask;
                hash = from.hashes[number - 1];
                at = first(hash) == at ? second(hash) : first(hash);
            }
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&slots[first(hash)]);
        __builtin_prefetch(&slots[second(hash)]);
    }
    uint32_t choose(uint64_t hash, uint32_t &other) const
    {
        uint32_t a = slots[first(hash)], b = slots[second(hash)];
        uint32_t differ = (uint32_t(hash >> 32) ^ a) & ~mask;
        other = differ == 0 ? b : a;
        return differ == 0 ? a : b;
    }
    void prefetch_record(uint64_t hash) const
    {
        uint32_t other, slot = choose(hash, other);
        __builtin_prefetch(&frame->records[int32_t(slot & mask) - 1]);
    }

    const Record *lookup(uint64_t hash, const char *name, size_t size) const
    {
        uint32_t other, slot = choose(hash, other), tag = uint32_t(hash >> 32);
        for (int tries = 0; tries < 2; tries++, slot = other) {
            if (((slot ^ tag) & ~mask) != 0) return nullptr;
            const Record *record = &frame->records[int32_t(slot & mask) - 1];
            if (record_is<Compare>(*record, frame->blob, name, size)) return record;
        }
        return nullptr;
    }
};

} // namespace layout

#endif
