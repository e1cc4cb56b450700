/*
 * Ways to keep names. A store is built from the names in the order of the file and has
 *
 *     static constexpr const char *label;
 *     static constexpr bool is_lazy;     // the first call for a name costs more than later ones
 *     static constexpr bool is_kept;     // what get returns is terminated and stays valid
 *     string_view get(size_t i, char *buffer);   // name i, in the caller's buffer if need be
 *     void walk(use);                    // all names in order
 *     NameBytes bytes() const;
 *
 * All of them cut names into parts while they take them up, since the table compares parts.
 */
#ifndef NAMES_STORES_H
#define NAMES_STORES_H

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "names_parts.h"

namespace layout
{

using Names = std::vector<std::string_view>;

constexpr size_t BufferSize = 8192; /* of a caller: the longest name and Overrun */

/* What names take: place or pair, text, and all that leads to them. */
struct NameBytes {
    size_t taken;   /* from the allocator, when built */
    size_t touched; /* of that, written */
    size_t all;     /* taken, after every name was asked for */
};

inline size_t text_size(const Names &names)
{
    size_t size = 0;
    for (std::string_view name : names) size += name.size() + 1;
    return size;
}

template <class Store, class Use>
void walk_each(Store &store, size_t count, Use use)
{
    char buffer[BufferSize];
    for (size_t i = 0; i < count; i++) use(store.get(i, buffer));
}

/* Of fresh memory: how its pages are wanted. */
inline char *advise(char *memory, size_t size, int advice)
{
    uintptr_t page = 4096, start = (uintptr_t(memory) + page - 1) / page * page;
    uintptr_t end = (uintptr_t(memory) + size) / page * page;
    if (advice != 0 && start < end) madvise(reinterpret_cast<void *>(start), end - start, advice);
    return memory;
}

/* 1. What the library does, with pages as they come; with other advice to see what they cost. */
template <int Advice>
struct FullText {
    static constexpr const char *label = Advice == MADV_POPULATE_WRITE ? "the same, pages at once"
                                         : Advice == MADV_HUGEPAGE     ? "the same, huge pages"
                                                                       : "full text";
    static constexpr bool is_lazy = false, is_kept = true;
    std::unique_ptr<char[]> text;
    std::vector<uint32_t> places; /* in the library part of the record */
    std::vector<Text> prefixes, suffixes;

    explicit FullText(const Names &names)
        : text(advise(new char[text_size(names)], text_size(names), Advice))
    {
        Cutter<FullPlace> cutter(names.size(), {text.get()});
        std::vector<uint32_t> pairs; /* for the table */
        pairs.reserve(names.size());
        places.reserve(names.size() + 1);
        uint32_t at = 0;
        for (std::string_view name : names) {
            std::memcpy(text.get() + at, name.data(), name.size());
            text[at + name.size()] = '\0';
            pairs.push_back(cutter.cut({text.get() + at, name.size()}));
            places.push_back(at);
            at += uint32_t(name.size() + 1);
        }
        places.push_back(at);
        prefixes = {cutter.prefixes.parts.begin(), cutter.prefixes.parts.end()};
        suffixes = {cutter.suffixes.parts.begin(), cutter.suffixes.parts.end()};
    }
    std::string_view get(size_t i, char *) const
    {
        return {text.get() + places[i], places[i + 1] - places[i] - 1};
    }
    template <class Use>
    void walk(Use use) const
    {
        walk_each(*this, places.size() - 1, use);
    }
    NameBytes bytes() const
    {
        size_t size = places.back() + (places.size() - 1) * sizeof(uint32_t);
        return {size, size, size};
    }
};

/* 2. The caller brings the memory. */
struct Composed : Parts {
    static constexpr const char *label = "parts, composed for the caller";
    static constexpr bool is_lazy = false, is_kept = false;
    using Parts::Parts;
    std::string_view get(size_t i, char *buffer) const
    {
        return {buffer, compose(i, buffer)};
    }
    template <class Use>
    void walk(Use use) const
    {
        walk_each(*this, pairs.size(), use);
    }
    NameBytes bytes() const
    {
        return {Parts::bytes(), Parts::bytes(), Parts::bytes()};
    }
};

constexpr size_t Group = 64;

/* 3. A group is composed when the first of its names is asked for, and kept. Two threads may
 * compose one group; the first to publish it wins. Without memory there is no name to return. */
struct LazyGroups : Parts {
    static constexpr const char *label = "parts, groups of 64 composed on demand";
    static constexpr bool is_lazy = true, is_kept = true;
    struct Block {
        uint32_t starts[Group + 1];
        char *text() /* behind it */
        {
            return reinterpret_cast<char *>(this + 1);
        }
    };
    size_t groups;
    std::unique_ptr<std::atomic<Block *>[]> blocks;

    explicit LazyGroups(const Names &names)
        : Parts(names), groups((names.size() + Group - 1) / Group),
          blocks(new std::atomic<Block *>[groups]())
    {
    }
    ~LazyGroups()
    {
        for (size_t i = 0; i < groups; i++) std::free(blocks[i].load());
    }
    std::string_view get(size_t i, char *)
    {
        Block *block = blocks[i / Group].load(std::memory_order_acquire);
        if (__builtin_expect(block == nullptr, 0)) block = compose_group(i / Group);
        if (block == nullptr) return {};
        uint32_t start = block->starts[i % Group], end = block->starts[i % Group + 1];
        return {block->text() + start, end - start - 1};
    }
    template <class Use>
    void walk(Use use)
    {
        walk_each(*this, pairs.size(), use);
    }
    NameBytes bytes() const
    {
        size_t size = Parts::bytes() + groups * sizeof(Block *), all = size;
        for (size_t i = 0; i < groups; i++) all += block_size(i);
        return {size, size, all};
    }

  private:
    size_t end_of(size_t group) const
    {
        return std::min((group + 1) * Group, pairs.size());
    }
    size_t block_size(size_t group) const
    {
        size_t size = sizeof(Block) + Overrun;
        for (size_t i = group * Group; i < end_of(group); i++) size += size_of(i) + 1;
        return size;
    }
    __attribute__((noinline)) Block *compose_group(size_t group)
    {
        auto *made = static_cast<Block *>(std::malloc(block_size(group)));
        if (made == nullptr) return nullptr;
        uint32_t at = 0, slot = 0;
        for (size_t i = group * Group; i < end_of(group); i++) {
            made->starts[slot++] = at;
            at += uint32_t(compose(i, made->text() + at) + 1);
        }
        made->starts[slot] = at;
        Block *before = nullptr;
        if (blocks[group].compare_exchange_strong(before, made, std::memory_order_acq_rel,
                                                  std::memory_order_acquire))
            return made;
        std::free(made);
        return before;
    }
};

/* 3, with memory for all names taken when built, though not touched, so that no call can fail. It
 * needs a place and a pair for each name, and a thread may have to wait for another. */
struct ReservedGroups : Parts {
    static constexpr const char *label = "the groups, into memory taken when built";
    static constexpr bool is_lazy = true, is_kept = true;
    enum : uint8_t { Bare, Busy, Ready };
    size_t groups;
    std::vector<uint32_t> places;
    std::unique_ptr<char[]> text;
    std::unique_ptr<std::atomic<uint8_t>[]> states;

    explicit ReservedGroups(const Names &names)
        : Parts(names), groups((names.size() + Group - 1) / Group),
          text(new char[text_size(names)]), states(new std::atomic<uint8_t>[groups]())
    {
        uint32_t at = 0;
        places.reserve(names.size() + 1);
        for (std::string_view name : names) {
            places.push_back(at);
            at += uint32_t(name.size() + 1);
        }
        places.push_back(at);
    }
    std::string_view get(size_t i, char *)
    {
        if (__builtin_expect(states[i / Group].load(std::memory_order_acquire) != Ready, 0))
            compose_group(i / Group);
        return {text.get() + places[i], places[i + 1] - places[i] - 1};
    }
    template <class Use>
    void walk(Use use)
    {
        walk_each(*this, pairs.size(), use);
    }
    NameBytes bytes() const
    {
        size_t touched = Parts::bytes() + pairs.size() * sizeof(uint32_t) + groups;
        return {touched + places.back(), touched, touched + places.back()};
    }

  private:
    __attribute__((noinline)) void compose_group(size_t group)
    {
        uint8_t before = Bare;
        if (!states[group].compare_exchange_strong(before, Busy, std::memory_order_acquire)) {
            while (states[group].load(std::memory_order_acquire) != Ready)
                std::this_thread::yield();
            return;
        }
        size_t end = std::min((group + 1) * Group, pairs.size());
        for (size_t i = group * Group; i < end; i++) { /* nothing behind the group is touched */
            char buffer[BufferSize];
            std::memcpy(text.get() + places[i], buffer, compose(i, buffer) + 1);
        }
        states[group].store(Ready, std::memory_order_release);
    }
};

/* 4. Bytes in common with the name before, how many more, and these; each group starts anew. */
template <size_t Count>
struct FrontCoded {
    static constexpr const char *label =
        Count == 16 ? "front coded in groups of 16" : "front coded in groups of 64";
    static constexpr bool is_lazy = false, is_kept = false;
    size_t count, parts_size;
    std::vector<uint32_t> starts;
    std::string coded;

    explicit FrontCoded(const Names &names) : count(names.size())
    {
        Cutter<SharedText> cutter(names.size(), {});
        std::vector<uint32_t> pairs; /* for the table */
        pairs.reserve(names.size());
        std::string_view before;
        for (size_t i = 0; i < count; i++) {
            pairs.push_back(cutter.cut(names[i]));
            if (i % Count == 0) starts.push_back(uint32_t(coded.size())), before = {};
            add(before, names[i]);
            before = names[i];
        }
        coded.append(Overrun, '\0');
        coded.shrink_to_fit();
        parts_size = cutter.home.text.size();
    }
    std::string_view get(size_t i, char *buffer) const
    {
        const char *at = coded.data() + starts[i / Count];
        size_t size = 0;
        for (size_t left = i % Count + 1; left > 0; left--) size = next(at, buffer);
        return {buffer, size};
    }
    template <class Use>
    void walk(Use use) const
    {
        char buffer[BufferSize];
        const char *at = coded.data();
        for (size_t i = 0; i < count; i++) use(std::string_view(buffer, next(at, buffer)));
    }
    NameBytes bytes() const
    {
        size_t size = coded.size() + starts.size() * sizeof(uint32_t) + parts_size;
        return {size, size, size};
    }

  private:
    static constexpr unsigned char Large = 255; /* four bytes follow */

    void put_size(size_t size)
    {
        uint32_t large = uint32_t(size);
        coded += char(size < Large ? size : Large);
        if (size >= Large) coded.append(reinterpret_cast<const char *>(&large), sizeof large);
    }
    void add(std::string_view before, std::string_view name)
    {
        size_t common = 0, most = std::min(before.size(), name.size());
        while (common + 8 <= most && word_at(&before[common]) == word_at(&name[common]))
            common += 8;
        while (common < most && before[common] == name[common]) common++;
        put_size(common);
        put_size(name.size() - common);
        coded += name.substr(common);
    }
    static uint32_t take_size(const char *&at)
    {
        uint32_t size = static_cast<unsigned char>(*at++);
        if (size < Large) return size;
        std::memcpy(&size, at, sizeof size);
        at += sizeof size;
        return size;
    }
    static size_t next(const char *&at, char *buffer)
    {
        size_t common = take_size(at), more = take_size(at);
        copy_over(buffer + common, at, more);
        at += more;
        buffer[common + more] = '\0';
        return common + more;
    }
};

} // namespace layout

#endif
