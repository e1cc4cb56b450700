/* The two stores that the short path was measured with: lines of eight slots. */
#ifndef LAYOUT_LINE_H
#define LAYOUT_LINE_H

#include "layout_pair.h"

namespace layout
{

/* Tag, number and pair in one cache line. */
struct LineStore {
    struct Line {
        uint32_t keys[8], pairs[8];
    };
    Line *lines = nullptr;
    uint32_t number_bits = 0, tag_bits = 0; /* between the two: the mark */

    ~LineStore()
    {
        std::free(lines);
    }
    static constexpr size_t line_size()
    {
        return sizeof(Line);
    }
    void open(size_t count, uint32_t range)
    {
        number_bits = number_mask(count);
        tag_bits = ~(number_bits << 1 | 1);
        lines = allocate_zero<Line>(range);
    }
    void prefetch(uint32_t line) const
    {
        __builtin_prefetch(&lines[line]);
    }
    uint32_t match(uint32_t line, uint64_t hash) const
    {
        return SlotsBucket<CompareWindows, 8, 50>::match(lines[line].keys, uint32_t(hash >> 32),
                                                         tag_bits);
    }
    uint32_t match_free(uint32_t line) const
    {
        return SlotsBucket<CompareWindows, 8, 50>::match(lines[line].keys, 0, ~0u);
    }
    bool overflowed(uint32_t line) const
    {
        return (lines[line].keys[7] & (number_bits + 1)) != 0;
    }
    void overflow(uint32_t line)
    {
        lines[line].keys[7] |= number_bits + 1;
    }
    void set(uint32_t line, uint32_t at, uint64_t hash, uint32_t number, uint32_t pair)
    {
        lines[line].keys[at] = (uint32_t(hash >> 32) & tag_bits) | number;
        lines[line].pairs[at] = pair;
    }
    uint32_t number(uint32_t line, uint32_t at) const
    {
        return lines[line].keys[at] & number_bits;
    }
    uint32_t pair(uint32_t line, uint32_t at) const
    {
        return lines[line].pairs[at];
    }
};

/* Tags of 2 bytes apart, so that a miss looks at little memory; number and pair in a line. */
struct TagStore {
    struct Line {
        uint16_t tags[8]; /* 0: free; bit 1 set: taken; bit 0 of the last: overflowed */
    };
    struct Slot {
        uint32_t number, pair;
    };
    Line *lines = nullptr;
    Slot *slots = nullptr;

    ~TagStore()
    {
        std::free(lines);
        std::free(slots);
    }
    static constexpr size_t line_size()
    {
        return sizeof(Line) + 8 * sizeof(Slot);
    }
    void open(size_t, uint32_t range)
    {
        lines = allocate_zero<Line>(range);
        slots = allocate<Slot>(size_t(range) * 8);
    }
    void prefetch(uint32_t line) const
    {
        __builtin_prefetch(&lines[line]);
        __builtin_prefetch(&slots[size_t(line) * 8]);
    }
    static uint32_t lanes(__m128i same)
    {
        return uint32_t(_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128())));
    }
    __m128i tags(uint32_t line) const
    {
        return _mm_load_si128(reinterpret_cast<const __m128i *>(&lines[line]));
    }
    uint32_t match(uint32_t line, uint64_t hash) const
    {
        __m128i want = _mm_set1_epi16(int16_t(hash >> 48 | 3));
        return lanes(_mm_cmpeq_epi16(_mm_or_si128(tags(line), _mm_set1_epi16(1)), want));
    }
    uint32_t match_free(uint32_t line) const
    {
        return lanes(_mm_cmpeq_epi16(tags(line), _mm_setzero_si128()));
    }
    bool overflowed(uint32_t line) const
    {
        return (lines[line].tags[7] & 1) != 0;
    }
    void overflow(uint32_t line)
    {
        lines[line].tags[7] |= 1;
    }
    void set(uint32_t line, uint32_t at, uint64_t hash, uint32_t number, uint32_t pair)
    {
        lines[line].tags[at] = uint16_t((hash >> 48 & 0xfffe) | 2);
        slots[size_t(line) * 8 + at] = {number, pair};
    }
    uint32_t number(uint32_t line, uint32_t at) const
    {
        return slots[size_t(line) * 8 + at].number;
    }
    uint32_t pair(uint32_t line, uint32_t at) const
    {
        return slots[size_t(line) * 8 + at].pair;
    }
};

} // namespace layout

#endif
