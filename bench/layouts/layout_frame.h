/* What every candidate stands on: the records, the names, and how names share their text. */
#ifndef LAYOUT_FRAME_H
#define LAYOUT_FRAME_H

#include <cstdlib>
#include <string_view>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "layout_text.h"

namespace layout
{

struct Record {
    uint64_t offset;
    uint32_t layout, shard;
    uint32_t name, prefix, suffix;
    uint16_t prefix_size, suffix_size;
};
static_assert(sizeof(Record) == 32, "two records a cache line");

/* What is left of a record when the slots hold the name's texts: its shard in the high bits of the
 * offset, the name's size from where the next name starts. */
struct SmallRecord {
    uint64_t offset;
    uint32_t layout, name;
};

enum class Cut { First, Last, Lcp, None };

struct Plan {
    Cut cut;
    bool narrow; /* small records */
    bool hashed;
};

inline uint64_t seed = 0x9e3779b97f4a7c15u; /* a variable, as in the library */
constexpr uint32_t NoId = 0xffff;           /* ids have run out, or the text is too long for one */
constexpr size_t PadFront = 16, PadBack = 64;

static inline uint64_t hash_name(const char *name, size_t size)
{
    return XXH3_64bits_withSeed(name, size, seed);
}

template <class T>
static T *allocate(size_t count)
{
    size_t size = (count * sizeof(T) + 63) / 64 * 64;
    return static_cast<T *>(std::aligned_alloc(64, size > 0 ? size : 64));
}

template <class T>
static T *allocate_zero(size_t count)
{
    T *memory = allocate<T>(count);
    std::memset(static_cast<void *>(memory), 0, count * sizeof(T));
    return memory;
}

struct Text {
    uint32_t offset, size;
};

/* One side's distinct texts. Sharing is best effort: a text may have several ids. */
struct Dictionary {
    static constexpr uint32_t Ways = 4;
    Text *texts = nullptr;
    uint16_t *cache = nullptr;
    uint32_t count = 1, limit = 0, mask = 0; /* id 0 never matches */

    void open(size_t names)
    {
        limit = names + 2 < NoId ? uint32_t(names + 2) : NoId;
        uint32_t slots = 64;
        while (slots < 2 * limit) slots *= 2;
        mask = slots - 1;
        texts = allocate<Text>(limit);
        cache = allocate_zero<uint16_t>(slots + Ways);
        texts[0] = {0, 0x7fffffff};
    }

    uint32_t intern(const char *blob, uint32_t offset, uint32_t size)
    {
        if (count == limit) return NoId; /* no more hashing for names that share nothing */
        uint32_t at = uint32_t(hash_name(blob + offset, size)) & mask;
        uint32_t way = 0;
        for (; way < Ways && cache[at + way] != 0; way++) {
            const Text &text = texts[cache[at + way]];
            if (text.size == size && equal_in_blob(blob + text.offset, blob + offset, size))
                return cache[at + way];
        }
        texts[count] = {offset, size};
        cache[at + (way < Ways ? way : 0)] = uint16_t(count);
        return count++;
    }

    void close_cache()
    {
        std::free(cache);
        cache = nullptr;
    }
};

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes up to and with the dot after the first (or last) component that is a number; 0: none. */
static inline size_t cut_number(const char *name, size_t size, bool last)
{
    size_t cut = 0;
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(name[i]) || (i > 0 && name[i - 1] != '.')) continue;
        size_t end = i;
        while (end < size && is_digit(name[end])) end++;
        if (end < size && name[end] == '.') {
            cut = end + 1;
            if (!last) return cut;
        }
        i = end;
    }
    return cut;
}

struct Frame {
    size_t count = 0, blob_size = 0;
    char *memory = nullptr, *blob = nullptr;
    Record *records_memory = nullptr, *records = nullptr;
    SmallRecord *small_memory = nullptr, *small = nullptr;
    uint64_t *hashes = nullptr; /* while building */
    uint32_t *pairs = nullptr;  /* while building: suffix id << 16 | prefix id; 0: whole */
    Dictionary prefixes, suffixes;
    uint64_t shared_text = 0;

    Frame() = default;
    Frame(const Frame &) = delete;
    Frame &operator=(const Frame &) = delete;
    /* Tells `sink` of every name once it is copied and split: its number, hash and pair. */
    template <class Sink>
    void build_into(const std::vector<std::string_view> &names, Plan plan, Sink &sink);
    void build(const std::vector<std::string_view> &names, Plan plan);
    ~Frame()
    {
        clear();
    }
    void clear();
    uint32_t name_at(size_t i) const
    {
        return small != nullptr ? small[i].name : records[i].name;
    }
    size_t name_size(size_t i) const
    {
        return name_at(i + 1) - name_at(i) - 1;
    }
    const char *name(size_t i) const
    {
        return blob + name_at(i);
    }
    uint64_t offset(size_t i) const
    {
        return small ? small[i].offset : records[i].offset;
    }
    size_t record_size() const
    {
        return small ? sizeof(SmallRecord) : sizeof(Record);
    }
    size_t text_size() const
    {
        return (prefixes.count + suffixes.count) * sizeof(Text);
    }

  private:
    struct Splitter {
        std::vector<uint16_t> next; /* the suffix that last followed a suffix */
        uint32_t prefix = 0, suffix = 0, before = 0;
    };
    uint32_t split(Cut cut, Splitter &splitter, uint32_t name, uint32_t size);
    uint32_t cut_off(Cut cut, const Splitter &splitter, uint32_t name, uint32_t size) const;
    void open(const std::vector<std::string_view> &names, bool narrow);
    void set(size_t i, uint64_t offset, uint32_t name, uint32_t size, uint32_t pair);
};

inline void Frame::clear()
{
    std::free(memory);
    std::free(records_memory);
    std::free(small_memory);
    std::free(hashes);
    std::free(pairs);
    std::free(prefixes.texts);
    std::free(suffixes.texts);
}

inline uint32_t Frame::cut_off(Cut cut, const Splitter &splitter, uint32_t name,
                               uint32_t size) const
{
    if (cut != Cut::Lcp) return uint32_t(cut_number(blob + name, size, cut == Cut::Last));
    uint32_t length = 0;
    if (name == 0) return 0;
    while (length < size && blob[splitter.before + length] == blob[name + length]) length++;
    return length;
}

/* The ids of a name's texts, or 0 for a name that is compared whole. The prefix is mostly that of
 * the name before, the suffix the one that followed the same suffix the last time. */
inline uint32_t Frame::split(Cut cut, Splitter &splitter, uint32_t name, uint32_t size)
{
    const Text &held = prefixes.texts[splitter.prefix];
    if (cut != Cut::First || held.size == 0 || held.size >= size ||
        !equal_in_blob(blob + held.offset, blob + name, held.size)) {
        uint32_t length = cut_off(cut, splitter, name, size);
        uint32_t id = length < 65536 ? prefixes.intern(blob, name, length) : NoId;
        splitter.prefix = id == NoId ? 0 : id;
        if (id == NoId) return 0;
    }
    uint32_t left = prefixes.texts[splitter.prefix].size, right = size - left;
    uint32_t id = splitter.next[splitter.suffix];
    const Text &text = suffixes.texts[id];
    if (text.size != right || !equal_in_blob(blob + text.offset, blob + name + left, right)) {
        id = right < 65536 ? suffixes.intern(blob, name + left, right) : NoId;
        if (id == NoId) return 0;
        splitter.next[splitter.suffix] = uint16_t(id);
    }
    splitter.suffix = id;
    splitter.before = name;
    return id << 16 | splitter.prefix;
}

inline void Frame::open(const std::vector<std::string_view> &names, bool narrow)
{
    count = names.size();
    size_t total = 0;
    for (const auto &name : names) total += name.size() + 1;
    blob_size = total + PadFront + PadBack;
    memory = static_cast<char *>(std::malloc(blob_size));
    std::memset(memory, 0, PadFront);
    std::memset(memory + PadFront + total, 0, PadBack);
    blob = memory + PadFront;
    /* Empty slots lead to record -1, which matches nothing. */
    if (narrow) {
        small_memory = allocate<SmallRecord>(count + 5);
        small = small_memory + 4;
        small[-1] = {0, 0, 0};
        small[count] = {0, 0, uint32_t(total)};
    } else {
        records_memory = allocate<Record>(count + 3);
        records = records_memory + 2;
        records[-1] = {0, 0, 0, 0, 0, 0, 0xffff, 0xffff};
        records[count] = {0, 0, 0, uint32_t(total), 0, 0, 0xffff, 0xffff};
    }
    prefixes.open(count);
    suffixes.open(count);
}

inline void Frame::set(size_t i, uint64_t offset, uint32_t name, uint32_t size, uint32_t pair)
{
    if (small != nullptr) {
        small[i] = {offset, 0, name};
        return;
    }
    records[i] = {offset, 0, 0, name, name, name, 0, uint16_t(size)};
    if (pair == 0) return;
    const Text &head = prefixes.texts[pair & 0xffff], &tail = suffixes.texts[pair >> 16];
    records[i].prefix = head.offset;
    records[i].suffix = tail.offset;
    records[i].prefix_size = uint16_t(head.size);
    records[i].suffix_size = uint16_t(tail.size);
}

template <class Sink>
void Frame::build_into(const std::vector<std::string_view> &names, Plan plan, Sink &sink)
{
    open(names, plan.narrow);
    Splitter splitter;
    splitter.next.assign(suffixes.limit, 0);
    uint64_t offset = 0;
    uint32_t at = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t size = uint32_t(names[i].size());
        std::memcpy(blob + at, names[i].data(), size);
        blob[at + size] = 0;
        uint32_t pair = plan.cut == Cut::None ? 0 : split(plan.cut, splitter, at, size);
        set(i, offset, at, size, pair);
        if (plan.hashed) sink.add(i, hash_name(blob + at, size), pair);
        offset += 64 + size;
        at += size + 1;
    }
    prefixes.close_cache();
    suffixes.close_cache();
    for (uint32_t i = 1; i < prefixes.count; i++) shared_text += prefixes.texts[i].size;
    for (uint32_t i = 1; i < suffixes.count; i++) shared_text += suffixes.texts[i].size;
}

inline void Frame::build(const std::vector<std::string_view> &names, Plan plan)
{
    struct Keep {
        uint64_t *hashes;
        uint32_t *pairs;
        void add(size_t i, uint64_t hash, uint32_t pair)
        {
            hashes[i] = hash;
            pairs[i] = pair;
        }
    };
    hashes = allocate<uint64_t>(names.size());
    pairs = allocate<uint32_t>(names.size());
    Keep keep = {hashes, pairs};
    build_into(names, plan, keep);
}

} // namespace layout

#endif
