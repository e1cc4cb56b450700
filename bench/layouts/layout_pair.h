/* Slots of 8 bytes: tag and record number, and the ids of the name's prefix and suffix. A find
 * verifies the name from the slot and the shared texts; the record itself is not touched. */
#ifndef LAYOUT_PAIR_H
#define LAYOUT_PAIR_H

#include "layout_pilot.h"

namespace layout {

template <class Compare>
static inline bool pair_is(const Frame *frame, uint32_t pair, uint32_t number, const char *name,
                           size_t size) {
    const Text &head = frame->prefixes.texts[pair & 0xffff];
    const Text &tail = frame->suffixes.texts[pair >> 16];
    if (__builtin_expect(size_t(head.size) + tail.size == size, 1))
        return Compare::equal(name, size, frame->blob + head.offset, head.size,
                              frame->blob + tail.offset, tail.size);
    if (pair != 0 || number == 0) return false;
    return frame->name_size(number - 1) == size &&
           equal_windows(frame->name(number - 1), name, size);
}

template <class Compare, int Slots, int Load> struct PairBucket {
    static constexpr uint32_t Bound = 128 / Slots;
    struct Bucket {
        uint32_t keys[Slots], pairs[Slots];
    };
    const Frame *frame = nullptr;
    Bucket *buckets = nullptr;
    uint32_t range = 0, mask = 0, mark = 0;

    ~PairBucket() { std::free(buckets); }
    size_t table_size() const { return (range + Bound) * sizeof(Bucket) + frame->text_size(); }

    bool build(const Frame &from) {
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

    void prefetch(uint64_t hash) const {
        __builtin_prefetch(&buckets[scale(uint32_t(hash), range)]);
    }
    void prefetch_record(uint64_t) const {}

    const SmallRecord *lookup(uint64_t hash, const char *name, size_t size) const {
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

/* Tags of 2 bytes apart from the slots: eight tags are one comparison, a miss looks at nothing
 * else, and the line of slots is fetched at the same time. A slot may hold the offset too. */
struct SlotNumber {
    uint32_t number, pair;
    static const bool Placed = false;
};
struct SlotOffset {
    uint32_t number, pair;
    uint64_t offset;
    static const bool Placed = true;
};

template <class Compare, class Slot, int Load> struct PairTagged {
    static constexpr uint32_t Slots = 8, Bound = 16;
    static constexpr uint16_t Over = 1; /* in the last tag: the bucket overflowed */
    typedef typename std::conditional<Slot::Placed, Slot, SmallRecord>::type Found;
    const Frame *frame = nullptr;
    uint16_t *tags = nullptr;
    Slot *slots = nullptr;
    uint32_t *order = nullptr; /* where slots are what callers hold: tensor order */
    uint32_t range = 0;

    ~PairTagged() {
        std::free(tags);
        std::free(slots);
        std::free(order);
    }
    size_t table_size() const {
        size_t placed = Slot::Placed ? frame->count * sizeof(uint32_t) : 0;
        if (Slot::Placed) placed -= frame->count * sizeof(uint64_t); /* not in the record as well */
        return (range + Bound) * Slots * (sizeof(uint16_t) + sizeof(Slot)) + placed +
               frame->text_size();
    }

    /* Bit 1 tells a name from an empty slot, bit 0 is the mark. */
    static uint16_t tag_of(uint64_t hash) { return uint16_t((hash >> 48 & 0xfffc) | 2); }

    static uint32_t match(const uint16_t *bucket, uint16_t tag) {
        __m128i eight = _mm_load_si128(reinterpret_cast<const __m128i *>(bucket));
        __m128i same = _mm_cmpeq_epi16(_mm_and_si128(eight, _mm_set1_epi16(-2)),
                                       _mm_set1_epi16(int16_t(tag)));
        return uint32_t(_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())));
    }

    static void fill(Slot &slot, uint32_t number, uint32_t pair, uint64_t offset) {
        slot.number = number;
        slot.pair = pair;
        if constexpr (Slot::Placed) slot.offset = offset;
    }

    bool build(const Frame &from) {
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

    void prefetch(uint64_t hash) const {
        uint32_t at = scale(uint32_t(hash), range);
        __builtin_prefetch(&tags[at * Slots]);
        __builtin_prefetch(&slots[at * Slots]);
        if (Slot::Placed) __builtin_prefetch(&slots[at * Slots + Slots / 2]);
    }
    void prefetch_record(uint64_t) const {}

    const Found *lookup(uint64_t hash, const char *name, size_t size) const {
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

/* One line of 64 bytes: four names with tag, number, text ids and offset. */
template <class Compare, int Load> struct PairLine {
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

    ~PairLine() {
        std::free(buckets);
        std::free(order);
    }
    size_t table_size() const {
        return (range + Bound) * sizeof(Bucket) + frame->text_size() -
               frame->count * sizeof(uint32_t);
    }

    bool build(const Frame &from) {
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

    void prefetch(uint64_t hash) const {
        __builtin_prefetch(&buckets[scale(uint32_t(hash), range)]);
    }
    void prefetch_record(uint64_t) const {}

    const Slot *lookup(uint64_t hash, const char *name, size_t size) const {
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

template <class Compare, int Load> struct PairPilot {
    struct Slot {
        uint32_t key, pair;
    };
    const Frame *frame = nullptr;
    Slot *slots = nullptr;
    uint32_t mask = 0;
    Pilots pilots;

    ~PairPilot() { std::free(slots); }
    size_t table_size() const {
        return pilots.range * sizeof(Slot) + pilots.groups + frame->text_size();
    }

    bool build(const Frame &from) {
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

    void prefetch(uint64_t hash) const { __builtin_prefetch(&slots[pilots.position(hash)]); }
    void prefetch_record(uint64_t) const {}

    const SmallRecord *lookup(uint64_t hash, const char *name, size_t size) const {
        const Slot &slot = slots[pilots.position(hash)];
        if (((slot.key ^ uint32_t(hash >> 32)) & ~mask) != 0) return nullptr;
        uint32_t number = slot.key & mask;
        return pair_is<Compare>(frame, slot.pair, number, name, size) ? &frame->small[number - 1]
                                                                      : nullptr;
    }
};

} // namespace layout

#endif
