/* Tags of 2 bytes apart from the slots: eight tags are one comparison, a miss looks at nothing
 * else, and the line of slots is fetched at the same time. A slot may hold the offset too. */
#ifndef LAYOUT_TAGGED_H
#define LAYOUT_TAGGED_H

#include "layout_pair.h"

namespace layout
{

struct SlotNumber {
    uint32_t number, pair;
    static const bool Placed = false;
};
struct SlotOffset {
    uint32_t number, pair;
    uint64_t offset;
    static const bool Placed = true;
};

template <class Compare, class Slot, int Load>
struct PairTagged {
    static constexpr uint32_t Slots = 8, Bound = 32;
    static constexpr uint16_t Over = 1; /* in the last tag: the bucket overflowed */
    typedef typename std::conditional<Slot::Placed, Slot, SmallRecord>::type Found;
    const Frame *frame = nullptr;
    uint16_t *tags = nullptr;
    Slot *slots = nullptr;
    uint32_t *order = nullptr; /* where slots are what callers hold: tensor order */
    uint32_t range = 0;

    ~PairTagged()
    {
        std::free(tags);
        std::free(slots);
        std::free(order);
    }
    size_t table_size() const
    {
        size_t placed = Slot::Placed ? frame->count * sizeof(uint32_t) : 0;
        if (Slot::Placed) placed -= frame->count * sizeof(uint64_t); /* not in the record as well */
        return (range + Bound) * Slots * (sizeof(uint16_t) + sizeof(Slot)) + placed +
               frame->text_size();
    }

    /* Bit 1 tells a name from an empty slot, bit 0 is the mark. */
    static uint16_t tag_of(uint64_t hash)
    {
        return uint16_t((hash >> 48 & 0xfffc) | 2);
    }

    static uint32_t match(const uint16_t *bucket, uint16_t tag)
    {
        __m128i eight = _mm_load_si128(reinterpret_cast<const __m128i *>(bucket));
        __m128i same =
            _mm_cmpeq_epi16(_mm_and_si128(eight, _mm_set1_epi16(-2)), _mm_set1_epi16(int16_t(tag)));
        return uint32_t(_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())));
    }

    static void fill(Slot &slot, uint32_t number, uint32_t pair, uint64_t offset)
    {
        slot.number = number;
        slot.pair = pair;
        if constexpr (Slot::Placed) slot.offset = offset;
    }

    bool build(const Frame &from)
    {
        frame = &from;
        range = uint32_t(from.count * 100 / (Load * Slots) + 1);
        tags = allocate_zero<uint16_t>((range + Bound) * Slots);
        slots = allocate<Slot>((range + Bound) * Slots);
        if (Slot::Placed) order = allocate<uint32_t>(from.count);
        for (size_t i = 0; i < from.count; i++) {
            uint32_t at = scale(uint32_t(from.hashes[i]), range), end = at + Bound;
            while (tags[at * Slots + Slots - 1] != 0) {
                tags[at * Slots + Slots - 1] |= Over;
                if (++at == end) return false;
            }
            at *= Slots;
            while (tags[at] != 0) at++;
            tags[at] = tag_of(from.hashes[i]);
            fill(slots[at], uint32_t(i), from.pairs[i], from.offset(i));
            if (Slot::Placed) order[i] = at;
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        uint32_t at = scale(uint32_t(hash), range);
        __builtin_prefetch(&tags[at * Slots]);
        __builtin_prefetch(&slots[at * Slots]);
        if (Slot::Placed) __builtin_prefetch(&slots[at * Slots + Slots / 2]);
    }
    void prefetch_record(uint64_t) const {}

    const Found *lookup(uint64_t hash, const char *name, size_t size) const
    {
        for (uint32_t at = scale(uint32_t(hash), range);; at++) {
            const uint16_t *bucket = tags + at * Slots;
            const Slot *line = slots + at * Slots;
            if (!Slot::Placed) __builtin_prefetch(line);
            uint32_t found = match(bucket, tag_of(hash));
            for (; found != 0; found &= found - 1) {
                const Slot *slot = line + __builtin_ctz(found);
                if (!pair_is<Compare>(frame, slot->pair, slot->number + 1, name, size)) continue;
                if constexpr (Slot::Placed)
                    return slot;
                else
                    return &frame->small[slot->number];
            }
            if ((bucket[Slots - 1] & Over) == 0) return nullptr;
        }
    }
};

} // namespace layout

#endif
