/* One line of 64 bytes: four names with tag, number, text ids and offset. */
#ifndef LAYOUT_OFFSET_H
#define LAYOUT_OFFSET_H

#include "layout_pair.h"

namespace layout
{

template <class Compare, int Load>
struct PairOffset {
    static constexpr uint32_t Bound = 32;
    struct Slot {
        uint64_t offset;
    };
    struct Bucket {
        uint32_t keys[4], pairs[4];
        Slot slots[4];
    };
    const Frame *frame = nullptr;
    Bucket *buckets = nullptr;
    uint32_t *order = nullptr;
    uint32_t range = 0, mask = 0, mark = 0;

    ~PairOffset()
    {
        std::free(buckets);
        std::free(order);
    }
    size_t table_size() const
    {
        return (range + Bound) * sizeof(Bucket) + frame->text_size() -
               frame->count * sizeof(uint32_t);
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        mark = mask + 1;
        range = uint32_t(from.count * 100 / (Load * 4) + 1);
        buckets = allocate_zero<Bucket>(range + Bound);
        order = allocate<uint32_t>(from.count);
        for (size_t i = 0; i < from.count; i++) {
            uint32_t at = scale(uint32_t(from.hashes[i]), range), end = at + Bound;
            while (buckets[at].keys[3] != 0) {
                buckets[at].keys[3] |= mark;
                if (++at == end) return false;
            }
            Bucket &bucket = buckets[at];
            uint32_t way = 0, tag = uint32_t(from.hashes[i] >> 32) & ~(mask | mark);
            while (bucket.keys[way] != 0) way++;
            bucket.keys[way] = tag | uint32_t(i + 1);
            bucket.pairs[way] = from.pairs[i];
            bucket.slots[way].offset = from.offset(i);
            order[i] = at * 4 + way;
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&buckets[scale(uint32_t(hash), range)]);
    }
    void prefetch_record(uint64_t) const {}

    const Slot *lookup(uint64_t hash, const char *name, size_t size) const
    {
        const Bucket *bucket = buckets + scale(uint32_t(hash), range);
        for (;; bucket++) {
            uint32_t found = SlotsBucket<Compare, 4, Load>::match(
                bucket->keys, uint32_t(hash >> 32), ~(mask | mark));
            for (; found != 0; found &= found - 1) {
                int at = __builtin_ctz(found);
                uint32_t number = bucket->keys[at] & mask;
                if (pair_is<Compare>(frame, bucket->pairs[at], number, name, size))
                    return &bucket->slots[at];
            }
            if ((bucket->keys[3] & mark) == 0) return nullptr;
        }
    }
};

} // namespace layout

#endif
