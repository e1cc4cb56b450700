/* Slots of 8 bytes: tag and record number, and the ids of the name's prefix and suffix. A find
 * verifies the name from the slot and the shared texts; the record itself is not touched. */
#ifndef LAYOUT_PAIR_H
#define LAYOUT_PAIR_H

#include "layout_pilot.h"

namespace layout
{

template <class Compare>
static inline bool pair_is(const Frame *frame, uint32_t pair, uint32_t number, const char *name,
                           size_t size)
{
    const Text &head = frame->prefixes.texts[pair & 0xffff];
    const Text &tail = frame->suffixes.texts[pair >> 16];
    if (__builtin_expect(size_t(head.size) + tail.size == size, 1))
        return Compare::equal(name, size, frame->blob + head.offset, head.size,
                              frame->blob + tail.offset, tail.size);
    if (pair != 0 || number == 0) return false;
    return frame->name_size(number - 1) == size &&
           equal_windows(frame->name(number - 1), name, size);
}

template <class Compare, int Slots, int Load>
struct PairBucket {
    static constexpr uint32_t Bound = 256 / Slots;
    struct Bucket {
        uint32_t keys[Slots], pairs[Slots];
    };
    const Frame *frame = nullptr;
    Bucket *buckets = nullptr;
    uint32_t range = 0, mask = 0, mark = 0;

    ~PairBucket()
    {
        std::free(buckets);
    }
    size_t table_size() const
    {
        return (range + Bound) * sizeof(Bucket) + frame->text_size();
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        mark = mask + 1;
        range = uint32_t(from.count * 100 / (Load * Slots) + 1);
        buckets = allocate_zero<Bucket>(range + Bound);
        for (size_t i = 0; i < from.count; i++) {
            Bucket *bucket = buckets + scale(uint32_t(from.hashes[i]), range);
            Bucket *end = bucket + Bound;
            while (bucket->keys[Slots - 1] != 0) {
                bucket->keys[Slots - 1] |= mark;
                if (++bucket == end) return false;
            }
            int at = 0;
            while (bucket->keys[at] != 0) at++;
            uint32_t tag = uint32_t(from.hashes[i] >> 32) & ~(mask | mark);
            bucket->keys[at] = tag | uint32_t(i + 1);
            bucket->pairs[at] = from.pairs[i];
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&buckets[scale(uint32_t(hash), range)]);
    }
    void prefetch_record(uint64_t) const {}

    const SmallRecord *lookup(uint64_t hash, const char *name, size_t size) const
    {
        const Bucket *bucket = buckets + scale(uint32_t(hash), range);
        for (;; bucket++) {
            uint32_t found = SlotsBucket<Compare, Slots, Load>::match(
                bucket->keys, uint32_t(hash >> 32), ~(mask | mark));
            for (; found != 0; found &= found - 1) {
                int at = __builtin_ctz(found);
                uint32_t number = bucket->keys[at] & mask;
                if (pair_is<Compare>(frame, bucket->pairs[at], number, name, size))
                    return &frame->small[number - 1];
            }
            if ((bucket->keys[Slots - 1] & mark) == 0) return nullptr;
        }
    }
};

template <class Compare, int Load>
struct PairPilot {
    struct Slot {
        uint32_t key, pair;
    };
    const Frame *frame = nullptr;
    Slot *slots = nullptr;
    uint32_t mask = 0;
    Pilots pilots;

    ~PairPilot()
    {
        std::free(slots);
    }
    size_t table_size() const
    {
        return pilots.range * sizeof(Slot) + pilots.groups + frame->text_size();
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        if (!pilots.build(from.hashes, from.count, Load)) return false;
        slots = allocate_zero<Slot>(pilots.range);
        for (size_t i = 0; i < from.count; i++) {
            uint64_t hash = from.hashes[i];
            uint32_t tag = uint32_t(hash >> 32) & ~mask;
            slots[pilots.position(hash)] = {tag | uint32_t(i + 1), from.pairs[i]};
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&slots[pilots.position(hash)]);
    }
    void prefetch_record(uint64_t) const {}

    const SmallRecord *lookup(uint64_t hash, const char *name, size_t size) const
    {
        const Slot &slot = slots[pilots.position(hash)];
        if (((slot.key ^ uint32_t(hash >> 32)) & ~mask) != 0) return nullptr;
        uint32_t number = slot.key & mask;
        return pair_is<Compare>(frame, slot.pair, number, name, size) ? &frame->small[number - 1]
                                                                      : nullptr;
    }
};

} // namespace layout

#endif
