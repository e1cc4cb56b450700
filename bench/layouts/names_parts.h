/* Names cut into shared parts as the library cuts them (src/names.c): behind the first number. */
#ifndef NAMES_PARTS_H
#define NAMES_PARTS_H

#include <cstdio>
#include <string>

#include "layout_frame.h"

namespace layout
{

constexpr size_t Overrun = 16; /* bytes that copy_over reads and writes behind, less one */

/* In steps of 16 bytes: what it writes too much is written over by what comes next. */
inline void copy_over(char *to, const char *from, size_t size)
{
    for (size_t i = 0; i < size; i += 16) std::memcpy(to + i, from + i, 16);
}

inline bool same_text(std::string_view a, std::string_view b)
{
    return a.size() == b.size() && equal_windows(a.data(), b.data(), a.size());
}

[[noreturn]] inline void give_up(const char *what)
{
    std::fprintf(stderr, "bench_names: %s\n", what);
    std::exit(1);
}

/* Where parts have their text when names are not stored in full. */
struct SharedText {
    std::string text;
    const char *data() const
    {
        return text.data();
    }
    uint32_t place_of(std::string_view part)
    {
        text += part;
        return uint32_t(text.size() - part.size());
    }
};

/* Where names are: a part is where it was first seen. */
struct FullPlace {
    const char *text;
    const char *data() const
    {
        return text;
    }
    uint32_t place_of(std::string_view part) const
    {
        return uint32_t(part.data() - text);
    }
};

/* Prefixes, or suffixes, by number; number 0 is no part. */
template <class Home>
struct Side {
    static constexpr uint32_t Ways = 4;
    std::vector<Text> parts;
    std::vector<uint16_t> cache;

    explicit Side(size_t names)
    {
        size_t limit = names + 1 < NoId ? names + 1 : NoId, slots = 64;
        while (slots < 2 * limit) slots *= 2;
        parts.reserve(limit);
        parts.push_back({0, UINT32_MAX});
        cache.assign(slots + Ways, 0);
    }

    std::string_view at(const Home &home, uint32_t number) const
    {
        return {home.data() + parts[number].offset, parts[number].size};
    }

    uint32_t find(Home &home, std::string_view part)
    {
        uint16_t *ways = &cache[hash_name(part.data(), part.size()) & (cache.size() - Ways - 1)];
        uint32_t way = 0;
        for (; way < Ways && ways[way] != 0; way++)
            if (same_text(at(home, ways[way]), part)) return ways[way];
        if (parts.size() == NoId) give_up("names with more than 65,534 parts of one kind");
        ways[way < Ways ? way : 0] = uint16_t(parts.size());
        parts.push_back({home.place_of(part), uint32_t(part.size())});
        return uint32_t(parts.size() - 1);
    }
};

/* The prefix is mostly that of the name before, the suffix the one that came behind the same suffix
 * the last time. */
template <class Home>
class Cutter
{
  public:
    Home home;
    Side<Home> prefixes, suffixes;

    Cutter(size_t names, Home at) : home(std::move(at)), prefixes(names), suffixes(names)
    {
        follows.assign(prefixes.parts.capacity(), 0);
    }

    /* The pair of a name, prefix number in the low half. */
    uint32_t cut(std::string_view name)
    {
        uint32_t size = prefixes.parts[prefix].size;
        if (size == 0 || size > name.size() ||
            !same_text(prefixes.at(home, prefix), name.substr(0, size))) {
            size = uint32_t(cut_number(name.data(), name.size(), false));
            prefix = prefixes.find(home, name.substr(0, size));
        }
        std::string_view left = name.substr(size);
        uint32_t number = follows[suffix];
        if (number == 0 || !same_text(suffixes.at(home, number), left)) {
            number = suffixes.find(home, left);
            follows[suffix] = uint16_t(number);
        }
        suffix = number;
        return number << 16 | prefix;
    }

  private:
    std::vector<uint16_t> follows;
    uint32_t prefix = 0, suffix = 0;
};

/* All that is kept of names that are not stored in full: 4 bytes each, and the parts. */
struct Parts {
    std::vector<uint32_t> pairs;
    std::vector<Text> prefixes, suffixes;
    std::string text;

    explicit Parts(const std::vector<std::string_view> &names)
    {
        Cutter<SharedText> cutter(names.size(), {});
        pairs.reserve(names.size());
        for (std::string_view name : names) pairs.push_back(cutter.cut(name));
        prefixes = {cutter.prefixes.parts.begin(), cutter.prefixes.parts.end()};
        suffixes = {cutter.suffixes.parts.begin(), cutter.suffixes.parts.end()};
        text = std::move(cutter.home.text);
        text.append(Overrun, '\0');
    }

    size_t size_of(size_t i) const
    {
        return prefixes[pairs[i] & 0xffff].size + suffixes[pairs[i] >> 16].size;
    }

    /* Writes up to Overrun bytes behind the terminator. */
    size_t compose(size_t i, char *out) const
    {
        const Text prefix = prefixes[pairs[i] & 0xffff], suffix = suffixes[pairs[i] >> 16];
        copy_over(out, text.data() + prefix.offset, prefix.size);
        copy_over(out + prefix.size, text.data() + suffix.offset, suffix.size);
        size_t size = prefix.size + suffix.size;
        out[size] = '\0';
        return size;
    }

    /* The parts' places and sizes count with the table, which has them whatever the names are. */
    size_t bytes() const
    {
        return pairs.size() * sizeof(uint32_t) + text.size();
    }
};

} // namespace layout

#endif
