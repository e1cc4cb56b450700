/* Exact comparison of short texts. */
#ifndef LAYOUT_TEXT_H
#define LAYOUT_TEXT_H

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace layout
{

/* 16 bytes; texts are compared in windows of which the last overlaps the one before. */
typedef uint64_t Window __attribute__((vector_size(16)));

static inline Window window_at(const char *text)
{
    Window window;
    std::memcpy(&window, text, sizeof window);
    return window;
}

static inline bool window_zero(Window window)
{
    return (window[0] | window[1]) == 0;
}

static inline uint64_t word_at(const char *text)
{
    uint64_t word;
    std::memcpy(&word, text, sizeof word);
    return word;
}

static inline uint32_t half_at(const char *text)
{
    uint32_t half;
    std::memcpy(&half, text, sizeof half);
    return half;
}

static inline bool equal_small(const char *a, const char *b, size_t size)
{
    if (size >= 8) {
        size_t last = size - 8;
        return ((word_at(a) ^ word_at(b)) | (word_at(a + last) ^ word_at(b + last))) == 0;
    }
    if (size >= 4) {
        size_t last = size - 4;
        return ((half_at(a) ^ half_at(b)) | (half_at(a + last) ^ half_at(b + last))) == 0;
    }
    for (size_t i = 0; i < size; i++) {
        if (a[i] != b[i]) return false;
    }
    return true;
}

static inline bool equal_windows(const char *a, const char *b, size_t size)
{
    if (size < 16) return equal_small(a, b, size);
    size_t last = size - 16;
    Window differ = window_at(a + last) ^ window_at(b + last);
    for (size_t i = 0; i < last; i += 16) differ |= window_at(a + i) ^ window_at(b + i);
    return window_zero(differ);
}

/* Bytes to keep: the first k at KeepFirst + 16 - k, the last k at KeepLast + k. */
alignas(64) static const
    char KeepFirst[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
alignas(64) static const
    char KeepLast[32] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

/* Both lie in the blob, where 16 bytes may be read from any byte of a name. */
static inline bool equal_in_blob(const char *a, const char *b, size_t size)
{
    if (size > 48) return equal_windows(a, b, size);
    Window differ = window_at(a) ^ window_at(b);
    if (size < 16) return window_zero(differ & window_at(KeepFirst + 16 - size));
    size_t last = size - 16, middle = last < 16 ? last : 16;
    differ |= window_at(a + middle) ^ window_at(b + middle);
    differ |= window_at(a + last) ^ window_at(b + last);
    return window_zero(differ);
}

} // namespace layout

#endif
