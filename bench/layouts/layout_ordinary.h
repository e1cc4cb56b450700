/* The recommended layout: slots with text ids in lines of eight, with a short path for what names
 * are like (16 bytes or more, ordinary lengths of both parts, found in the first line by the first
 * tag that matches) and everything else out of line. */
#ifndef LAYOUT_ORDINARY_H
#define LAYOUT_ORDINARY_H

#include "layout_line.h"

namespace layout
{

template <class Store, int Load, class Found = SmallRecord>
struct Ordinary {
    static constexpr uint32_t PrefixMax = 32, SuffixMax = 48, Long = 0x80000000u;
    static constexpr uint32_t Ahead = 8, Bound = 32;
    Store store;
    const Frame *frame = nullptr;
    Text *prefixes = nullptr, *suffixes = nullptr; /* with Long in sizes beyond those */
    const char *blob = nullptr;
    const Found *records = nullptr; /* before the first */
    uint32_t range = 0;

    ~Ordinary()
    {
        std::free(prefixes);
        std::free(suffixes);
    }
    size_t table_size() const
    {
        return (range + Bound) * Store::line_size() + frame->text_size();
    }

    static Text *marked(const Dictionary &from, uint32_t size_max)
    {
        Text *texts = allocate<Text>(from.count);
        for (uint32_t i = 0; i < from.count; i++) {
            texts[i] = from.texts[i];
            if (texts[i].size > size_max) texts[i].size |= Long;
        }
        return texts;
    }

    void open(size_t count)
    {
        range = uint32_t(count * 100 / (Load * 8) + 1);
        store.open(count, range + Bound);
    }

    bool put(uint32_t number, uint64_t hash, uint32_t pair)
    {
        uint32_t line = scale(uint32_t(hash), range), end = line + Bound;
        uint32_t free = store.match_free(line);
        while (__builtin_expect(free == 0, 0)) {
            store.overflow(line);
            if (++line == end) return false;
            free = store.match_free(line);
        }
        store.set(line, uint32_t(__builtin_ctz(free)), hash, number, pair);
        return true;
    }

    void finish(const Frame &from)
    {
        frame = &from;
        prefixes = marked(from.prefixes, PrefixMax);
        suffixes = marked(from.suffixes, SuffixMax);
        blob = from.blob;
        if constexpr (sizeof(Found) == sizeof(Record)) {
            records = from.records - 1;
        } else {
            records = from.small - 1;
        }
    }

    bool build(const Frame &from)
    {
        open(from.count);
        for (size_t i = 0; i < from.count; i++) {
            if (!put(uint32_t(i + 1), from.hashes[i], from.pairs[i])) return false;
        }
        finish(from);
        return true;
    }

    /* Places a name some names after its line was asked for. */
    struct Placer {
        Ordinary *table;
        bool placed;
        uint64_t hashes[Ahead];
        uint32_t pairs[Ahead];

        void put(size_t i)
        {
            placed &= table->put(uint32_t(i + 1), hashes[i % Ahead], pairs[i % Ahead]);
        }
        void add(size_t i, uint64_t hash, uint32_t pair)
        {
            if (i >= Ahead) put(i - Ahead);
            table->prefetch(hash);
            hashes[i % Ahead] = hash;
            pairs[i % Ahead] = pair;
        }
    };

    bool build_with(Frame &from, const std::vector<std::string_view> &names, Plan plan)
    {
        open(names.size());
        Placer placer = {this, true, {0}, {0}};
        from.build_into(names, plan, placer);
        size_t count = names.size();
        for (size_t i = count > Ahead ? count - Ahead : 0; i < count; i++) placer.put(i);
        finish(from);
        return placer.placed;
    }

    void prefetch(uint64_t hash) const
    {
        store.prefetch(scale(uint32_t(hash), range));
    }
    void prefetch_record(uint64_t) const {}

    /* size >= 16, prefix.size <= 32, suffix.size <= 48. */
    static bool same(const char *name, size_t size, const char *prefix, size_t prefix_size,
                     const char *suffix, size_t suffix_size)
    {
        Window head = window_at(name) ^ window_at(prefix);
        if (prefix_size <= 16) {
            head &= window_at(KeepFirst + 16 - prefix_size);
        } else {
            size_t second = prefix_size - 16;
            head |= window_at(name + second) ^ window_at(prefix + second);
        }
        size_t kept = CompareMasked::least(suffix_size, 16), back = suffix_size - kept;
        size_t middle = CompareMasked::least(back, 16);
        const char *a = name + size - 16 - back, *b = suffix + suffix_size - 16 - back;
        Window tail = (window_at(a) ^ window_at(b)) | (window_at(a + back) ^ window_at(b + back)) |
                      (window_at(a + middle) ^ window_at(b + middle));
        return window_zero(head | (tail & window_at(KeepLast + kept)));
    }

    __attribute__((noinline)) const Found *lookup_any(uint64_t hash, const char *name,
                                                      size_t size) const
    {
        for (uint32_t line = scale(uint32_t(hash), range);; line++) {
            for (uint32_t found = store.match(line, hash); found != 0; found &= found - 1) {
                uint32_t at = uint32_t(__builtin_ctz(found)), number = store.number(line, at);
                if (pair_is<CompareWindows>(frame, store.pair(line, at), number, name, size))
                    return records + number;
            }
            if (!store.overflowed(line)) return nullptr;
        }
    }

    __attribute__((always_inline)) const Found *lookup(uint64_t hash, const char *name,
                                                       size_t size) const
    {
        uint32_t line = scale(uint32_t(hash), range), found = store.match(line, hash);
        if (found == 0) return store.overflowed(line) ? lookup_any(hash, name, size) : nullptr;
        uint32_t at = uint32_t(__builtin_ctz(found)), pair = store.pair(line, at);
        Text head = prefixes[pair & 0xffff], tail = suffixes[pair >> 16];
        if (size >= 16 && head.size + tail.size == size &&
            same(name, size, blob + head.offset, head.size, blob + tail.offset, tail.size))
            return records + store.number(line, at);
        return lookup_any(hash, name, size);
    }
};

} // namespace layout

#endif
