/* Two candidate lines of eight slots: the second is looked at only where the first is marked as
 * having overflowed, and no name is ever anywhere else. */
#ifndef LAYOUT_TWO_LINES_H
#define LAYOUT_TWO_LINES_H

#include "layout_pair.h"

namespace layout
{

template <class Compare, int Load>
struct PairTwoLines {
    static constexpr uint32_t Moves = 500;
    typedef typename PairBucket<Compare, 8, Load>::Bucket Line;
    const Frame *frame = nullptr;
    Line *lines = nullptr;
    uint32_t range = 0, mask = 0, mark = 0;

    ~PairTwoLines()
    {
        std::free(lines);
    }
    size_t table_size() const
    {
        return range * sizeof(Line) + frame->text_size();
    }

    uint32_t first(uint64_t hash) const
    {
        return scale(uint32_t(hash), range);
    }
    uint32_t second(uint64_t hash) const
    {
        return scale(uint32_t(hash >> 16) * 0x9e3779b1u, range);
    }

    static bool put(Line &line, uint32_t key, uint32_t pair)
    {
        if (line.keys[7] != 0) return false;
        int at = 0;
        while (line.keys[at] != 0) at++;
        line.keys[at] = key;
        line.pairs[at] = pair;
        return true;
    }

    /* Both lines are full: the name takes a place in one, what was there moves to its other. */
    bool move(uint32_t at, uint32_t key, uint32_t pair)
    {
        for (uint32_t moves = 0; moves < Moves; moves++) {
            Line &line = lines[at];
            uint32_t way = moves * 5 % 7; /* not the one that carries the mark */
            std::swap(line.keys[way], key);
            std::swap(line.pairs[way], pair);
            uint64_t hash = frame->hashes[(key & mask) - 1];
            lines[first(hash)].keys[7] |= mark;
            at = at == first(hash) ? second(hash) : first(hash);
            if (put(lines[at], key, pair)) return true;
        }
        return false;
    }

    bool build(const Frame &from)
    {
        frame = &from;
        mask = number_mask(from.count);
        mark = mask + 1;
        range = uint32_t(from.count * 100 / (Load * 8) + 2);
        lines = allocate_zero<Line>(range);
        for (size_t i = 0; i < from.count; i++) {
            uint64_t hash = from.hashes[i];
            uint32_t key = (uint32_t(hash >> 32) & ~(mask | mark)) | uint32_t(i + 1);
            Line &line = lines[first(hash)];
            if (put(line, key, from.pairs[i])) continue;
            line.keys[7] |= mark;
            if (put(lines[second(hash)], key, from.pairs[i])) continue;
            if (!move(second(hash), key, from.pairs[i])) return false;
        }
        return true;
    }

    void prefetch(uint64_t hash) const
    {
        __builtin_prefetch(&lines[first(hash)]);
    }
    void prefetch_record(uint64_t) const {}

    const SmallRecord *in_line(const Line &line, uint64_t hash, const char *name, size_t size) const
    {
        uint32_t found =
            SlotsBucket<Compare, 8, Load>::match(line.keys, uint32_t(hash >> 32), ~(mask | mark));
        for (; found != 0; found &= found - 1) {
            int at = __builtin_ctz(found);
            uint32_t number = line.keys[at] & mask;
            if (pair_is<Compare>(frame, line.pairs[at], number, name, size))
                return &frame->small[number - 1];
        }
        return nullptr;
    }

    const SmallRecord *lookup(uint64_t hash, const char *name, size_t size) const
    {
        const Line &line = lines[first(hash)];
        const SmallRecord *record = in_line(line, hash, name, size);
        if (record != nullptr || (line.keys[7] & mark) == 0) return record;
        return in_line(lines[second(hash)], hash, name, size);
    }
};

} // namespace layout

#endif
