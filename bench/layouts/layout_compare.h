/* Exact comparison of prefix + suffix with the caller's bytes, reading nothing outside either.
 * Stored text may be read up to 16 bytes before and 64 bytes after (the blob is padded). */
#ifndef LAYOUT_COMPARE_H
#define LAYOUT_COMPARE_H

#include "layout_frame.h"

namespace layout
{

struct CompareMemcmp {
    static bool equal(const char *name, size_t, const char *prefix, size_t prefix_size,
                      const char *suffix, size_t suffix_size)
    {
        return std::memcmp(name, prefix, prefix_size) == 0 &&
               std::memcmp(name + prefix_size, suffix, suffix_size) == 0;
    }
};

struct CompareWords {
    static bool part(const char *a, const char *b, size_t size)
    {
        if (size < 8) return equal_small(a, b, size);
        size_t last = size - 8;
        uint64_t differ = word_at(a + last) ^ word_at(b + last);
        for (size_t i = 0; i < last; i += 8) differ |= word_at(a + i) ^ word_at(b + i);
        return differ == 0;
    }
    static bool equal(const char *name, size_t, const char *prefix, size_t prefix_size,
                      const char *suffix, size_t suffix_size)
    {
        return part(name, prefix, prefix_size) && part(name + prefix_size, suffix, suffix_size);
    }
};

struct CompareWindows {
    static bool equal(const char *name, size_t, const char *prefix, size_t prefix_size,
                      const char *suffix, size_t suffix_size)
    {
        return equal_windows(name, prefix, prefix_size) &&
               equal_windows(name + prefix_size, suffix, suffix_size);
    }
};

/* A fixed number of windows, masked where a part is shorter than one: no branch on lengths. */
struct CompareMasked {
    static size_t least(size_t a, size_t b)
    {
        return a < b ? a : b;
    }
    static bool equal(const char *name, size_t size, const char *prefix, size_t prefix_size,
                      const char *suffix, size_t suffix_size)
    {
        if (__builtin_expect(size < 16 || prefix_size > 32 || suffix_size > 64, 0))
            return CompareWindows::equal(name, size, prefix, prefix_size, suffix, suffix_size);
        size_t kept = least(prefix_size, 16), second = prefix_size - kept;
        Window head = (window_at(name) ^ window_at(prefix)) |
                      (window_at(name + second) ^ window_at(prefix + second));
        head &= window_at(KeepFirst + 16 - kept);
        size_t kept_last = least(suffix_size, 16), back = suffix_size - kept_last;
        const char *a = name + size - back - 16, *b = suffix + suffix_size - back - 16;
        Window tail = (window_at(a) ^ window_at(b)) | (window_at(a + back) ^ window_at(b + back));
        size_t one = least(16, back), two = least(32, back);
        tail |=
            (window_at(a + one) ^ window_at(b + one)) | (window_at(a + two) ^ window_at(b + two));
        tail &= window_at(KeepLast + kept_last);
        return window_zero(head | tail);
    }
};

template <class Compare>
static inline bool record_is(const Record &record, const char *blob, const char *name, size_t size)
{
    size_t left = record.prefix_size, right = record.suffix_size;
    return left + right == size &&
           Compare::equal(name, size, blob + record.prefix, left, blob + record.suffix, right);
}

} // namespace layout

#endif
