/* Slots of 4 bytes, tag bits above, record number + 1 in the low bits: linear probing, and buckets
 * of 4 or 16 slots that overflow into the next one. */
#ifndef LAYOUT_SLOTS_H
#define LAYOUT_SLOTS_H

#include <emmintrin.h>

#include "layout_compare.h"

namespace layout
{

static inline uint32_t scale(uint32_t hash, uint32_t range)
{
    return uint32_t((uint64_t(hash) * range) >> 32);
}

/* Bits that hold 0..count, and one more for the mark of a bucket that overflowed. */
static inline uint32_t number_mask(size_t count)
{
    uint32_t mask = 1;
    while (mask < count) mask = mask << 1 | 1;
    return mask;
}

template <class Compare, int Load>
struct SlotsLinear {
    static constexpr uint32_t Bound = 512;
    const Frame *frame = nullptr;
    uint32_t *slots = nullptr;
    uint32_t range = 0, mask = 0;

    ~SlotsLinear()
    {
        std::free(slots);
    }
    size_t table_size() const
    {
        return (range + Bound) * sizeof(uint32_t);
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        range = uint32_t(from.count * 100 / Load + 1);
        slots = allocate_zero<uint32_t>(range + Bound);
        for (size_t i = 0; i < from.count; i++) {
            uint32_t at = scale(uint32_t(from.hashes[i]), range), end = at + Bound - 1;
            while (slots[at] != 0) {
                if (++at == end) return false;
            }
            slots[at] = (uint32_t(from.hashes[i] >> 32) & ~mask) | uint32_t(i + 1);
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&slots[scale(uint32_t(hash), range)]);
    }
    void prefetch_record(uint64_t hash) const
    {
        uint32_t at = scale(uint32_t(hash), range);
        __builtin_prefetch(&frame->records[int32_t(slots[at] & mask) - 1]);
    }

    const Record *lookup(uint64_t hash, const char *name, size_t size) const
    {
        uint32_t tag = uint32_t(hash >> 32), keep = mask;
        for (const uint32_t *slot = slots + scale(uint32_t(hash), range);; slot++) {
            uint32_t differ = *slot ^ tag;
            if ((differ & ~keep) == 0) {
                const Record *record = &frame->records[int32_t(*slot & keep) - 1];
                if (record_is<Compare>(*record, frame->blob, name, size)) return record;
            }
            if (*slot == 0) return nullptr;
        }
    }
};

template <class Compare, int Slots, int Load>
struct SlotsBucket {
    static constexpr uint32_t Bound = 256 / Slots;
    const Frame *frame = nullptr;
    uint32_t *slots = nullptr;
    uint32_t range = 0, mask = 0, mark = 0; /* mark: in the last slot, the bucket overflowed */

    ~SlotsBucket()
    {
        std::free(slots);
    }
    size_t table_size() const
    {
        return (range + Bound) * Slots * sizeof(uint32_t);
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        mark = mask + 1;
        range = uint32_t(from.count * 100 / (Load * Slots) + 1);
        slots = allocate_zero<uint32_t>((range + Bound) * Slots);
        for (size_t i = 0; i < from.count; i++) {
            uint32_t *bucket = slots + scale(uint32_t(from.hashes[i]), range) * Slots;
            uint32_t *end = bucket + Bound * Slots;
            while (bucket[Slots - 1] != 0) {
                bucket[Slots - 1] |= mark;
                bucket += Slots;
                if (bucket == end) return false;
            }
            while (*bucket != 0) bucket++;
            *bucket = (uint32_t(from.hashes[i] >> 32) & ~(mask | mark)) | uint32_t(i + 1);
        }
        return true;
    }

    static uint32_t match(const uint32_t *bucket, uint32_t tag, uint32_t keep)
    {
        __m128i want = _mm_set1_epi32(int(tag & keep)), bits = _mm_set1_epi32(int(keep));
        uint32_t found = 0;
        for (int i = 0; i < Slots; i += 4) {
            __m128i four = _mm_load_si128(reinterpret_cast<const __m128i *>(bucket + i));
            __m128i same = _mm_cmpeq_epi32(_mm_and_si128(four, bits), want);
            found |= uint32_t(_mm_movemask_ps(_mm_castsi128_ps(same))) << i;
        }
        return found;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&slots[scale(uint32_t(hash), range) * Slots]);
    }
    void prefetch_record(uint64_t hash) const
    {
        const uint32_t *bucket = slots + scale(uint32_t(hash), range) * Slots;
        uint32_t found = match(bucket, uint32_t(hash >> 32), ~(mask | mark));
        if (found != 0)
            __builtin_prefetch(&frame->records[int32_t(bucket[__builtin_ctz(found)] & mask) - 1]);
    }

    const Record *lookup(uint64_t hash, const char *name, size_t size) const
    {
        const uint32_t *bucket = slots + scale(uint32_t(hash), range) * Slots;
        for (;; bucket += Slots) {
            uint32_t found = match(bucket, uint32_t(hash >> 32), ~(mask | mark));
            for (; found != 0; found &= found - 1) {
                uint32_t number = bucket[__builtin_ctz(found)] & mask;
                const Record *record = &frame->records[int32_t(number) - 1];
                if (record_is<Compare>(*record, frame->blob, name, size)) return record;
            }
            if ((bucket[Slots - 1] & mark) == 0) return nullptr;
        }
    }
};

} // namespace layout

#endif
